"""A process for the code of one user's variant: nothing else is computed in it, and no other process imports the code.

It is asked for calls of archbench's functions, which import the variant and return plain values.
"""

import contextlib
import io
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Literal

from archbench.architectures.catalogue import sandbox
from archbench.runs.machine import child
from archbench.runs.plans.messages import Event, Interrupted, LogLine, Notify, Progress
from archbench.runs.store import disk
from archbench.tasks.base.errors import InputError, one_line

POLL_SECONDS = 0.1
STANDARD_ERROR = 2  # where such a process prints


class FailedError(Exception):
    """A call in another process failed: what it raised there, in a line, and the ``traceback``; or its end."""

    def __init__(self, line: str, traceback: str = "") -> None:
        super().__init__(line)
        self.traceback = traceback


class OwnProcess:
    """Starts at the first call; close it, or use it as a context."""

    def __init__(self) -> None:
        self._started: tuple[subprocess.Popen[bytes], Connection] | None = None

    def __enter__(self) -> "OwnProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(
        self,
        function: str,
        *arguments: Any,
        notify: Notify = lambda event: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Any:
        """The result of ``function`` ("module:function"), which gets ``arguments``, ``notify`` and ``stop``.

        Events are handed to ``notify`` here. Raises what it raises there if that is an ``InputError``, ``Interrupted``
        or the ``OSError`` of a full disk, else ``FailedError``, also where the process ends.
        """
        process, connection = self._started = self._started or _start()
        is_asked = False
        with contextlib.suppress(OSError):  # it has ended
            connection.send((function, arguments))
        while True:
            if not is_asked and stop():
                is_asked = True
                process.terminate()
            if not connection.poll(POLL_SECONDS):
                continue
            message = self._received(connection)
            if isinstance(message, _Result):
                return message.value_or_error()
            if message is None:
                break
            notify(message)
        status = self._end()
        if is_asked:
            raise Interrupted
        raise FailedError(f"its code ends its process ({child.describe_exit(status)})")

    def _received(self, connection: Connection) -> "Progress | LogLine | _Result | None":
        """The next message; None where the process has ended."""
        with contextlib.suppress(Exception):
            try:
                message = _Messages(io.BytesIO(connection.recv_bytes())).load()
            except (EOFError, OSError):
                return None
            if isinstance(message, Progress | LogLine | _Result):
                return message
        self.close()
        raise FailedError("its process sends what is no result")

    def close(self) -> None:
        """Ends the process, also one that is at work."""
        if self._started is not None:
            self._started[0].kill()
            self._end()

    def _end(self) -> int:
        """Waits for the process, which has no more to do, and returns its exit status."""
        assert self._started is not None
        (process, connection), self._started = self._started, None
        connection.close()
        return child.wait_or_kill(process)


# The classes of messages. Others are not unpickled: making them could run the variant's code here.
MESSAGES = {
    "archbench.runs.plans.messages": ("Progress", "LogLine"),
    "archbench.runs.machine.own_process": ("_Result",),
    "archbench.runs.execution.work": ("Trained",),
    "archbench.runs.scoring.score": ("Predictions", "InRounds"),
    "numpy": ("ndarray", "dtype"),
    **dict.fromkeys(("numpy._core.multiarray", "numpy.core.multiarray"), ("_reconstruct", "scalar")),
    **dict.fromkeys(("numpy._core.numeric", "numpy.core.numeric"), ("_frombuffer",)),
}


class _Messages(pickle.Unpickler):
    """Reads messages of these classes; raises ``UnpicklingError`` for others."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in MESSAGES.get(module, ()):
            raise pickle.UnpicklingError(f"{module}.{name} is no message")
        return super().find_class(module, name)


@dataclass(frozen=True)
class _Result:
    """A call's value, or its error in words: an error itself might be of a class that the variant's file defines."""

    value: Any = None
    kind: Literal["", "input", "interrupted", "full", "other"] = ""
    line: str = ""
    traceback: str = ""
    number: int = 0  # of the system's error where the disk is full

    def value_or_error(self) -> Any:
        if self.kind == "input":
            raise InputError(self.line)
        if self.kind == "interrupted":
            raise Interrupted
        if self.kind == "full":
            raise OSError(self.number, self.line)
        if self.kind == "other":
            raise FailedError(self.line, self.traceback)
        return self.value


def serve(connection: Connection, seconds: str) -> None:
    """The main loop of the process; ``seconds`` is the limit for each piece of the variant's own code."""
    sandbox.SECONDS = float(seconds)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm's to the job, which asks for a stop
    while True:
        function, arguments = connection.recv()
        connection.send(_result(function, arguments, connection.send, stop.is_set))
        sys.stderr.flush()


def _start() -> tuple[subprocess.Popen[bytes], Connection]:
    return child.start(f"{__name__}:serve", (str(sandbox.SECONDS),), child.ONE_THREAD, STANDARD_ERROR)


def _result(
    function: str, arguments: tuple[Any, ...], notify: Callable[[Event], None], stop: Callable[[], bool]
) -> _Result:
    try:
        return _Result(child.load_function(function)(*arguments, notify=notify, stop=stop))
    except InputError as error:
        return _Result(kind="input", line=str(error))
    except Interrupted:
        return _Result(kind="interrupted")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in disk.FULL:
            return _Result(kind="full", line=str(error.strerror), number=error.errno)
        return _Result(kind="other", line=one_line(error), traceback=traceback.format_exc())
