"""How long work reports its progress."""

from collections.abc import Callable

Say = Callable[[str], None]  # takes one line for the user
