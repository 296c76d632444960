"""Limits to what a variant's code does to this process: it may never end, change folder or streams, leave threads."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SECONDS = 180.0  # for reading a file, building a small model, or checking one property: usually a second or two


threads: list[threading.Thread] = []  # that such code started and that would hold up the end of the process


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raises ``TimeoutError`` in a block that takes longer than ``SECONDS``; folder and streams are put back.

    The limit holds in the main thread of a process with SIGALRM (not on Windows) only; code that does not return to
    Python goes on. Threads that the block leaves behind come into ``threads``.
    """
    folder, present, streams = os.getcwd(), set(threading.enumerate()), (sys.stdout, sys.stderr)
    try:
        with _timed():
            yield
    finally:
        threads.extend(thread for thread in threading.enumerate() if thread not in present and not thread.daemon)
        sys.stdout, sys.stderr = streams
        _back_to(folder)


def _back_to(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise OSError(f"the current folder, {folder}, cannot be entered any more: {error.strerror}") from error


@contextlib.contextmanager
def _timed() -> Iterator[None]:
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
