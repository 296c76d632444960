"""A limit to the time that a variant's code takes, since it may never end."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SECONDS = 180.0  # for reading a file, building a small model, or checking one property: usually a second or two


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raises ``TimeoutError`` in a block that takes longer than ``SECONDS``.

    In the main thread of a process with SIGALRM (not on Windows) only; code that does not return to Python goes on.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"does not end within {SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1.0)  # again each second: the code may catch the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
