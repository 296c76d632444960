"""Limits to what a variant's code does to this process: it may never end, change folder or streams, leave threads."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SECONDS = 180.0  # of CPU time to read a file, build a small model, or check one property: usually a second or two
WAITING = 5.0  # times as long by the clock: on a busy machine, or for code that sleeps

threads: list[threading.Thread] = []  # that such code started and that would hold up the end of the process


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raises ``TimeoutError`` in a block that takes more than ``SECONDS`` of CPU time; folder and streams are put back.

    By the clock, it may take ``WAITING`` times as long. The limits hold in the main thread of a process with SIGALRM
    only (not on Windows); code that does not return to Python goes on. Threads that the block leaves behind come into
    ``threads``.
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

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, WAITING * SECONDS)}

    def end(number: int, frame: FrameType | None) -> None:
        limit = f"{timers[signal.Signals(number)][1]:g} s"
        raise TimeoutError(f"does not end within {limit}{' of CPU time' * (number == signal.SIGPROF)}")

    before = {number: signal.signal(number, end) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds, 1.0)  # again each second: the code may catch the first
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
