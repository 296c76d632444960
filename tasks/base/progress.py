"""How long work tells its progress."""

from collections.abc import Callable

Say = Callable[[str], None]  # takes one line for the user
