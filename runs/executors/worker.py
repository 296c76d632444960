"""A single-threaded worker process that executes runs one after another and ends with its executor."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from archbench.runs.machine import child
from archbench.runs.machine.own_process import FailedError
from archbench.runs.plans.messages import Ended, Event, Interrupted, LogLine, Notify, PlannedRun, Progress
from archbench.runs.store import disk, lease, store
from archbench.tasks.base.errors import one_line

OUTPUT = "output.txt"
PROGRESS_SECONDS = 0.1


@dataclass
class Worker:
    """The parent's end of a worker. ``plan`` is its current run; ``slot`` decides its GPU.

    ``variables`` are those that the experiment adds to its environment.
    """

    process: subprocess.Popen[bytes]
    connection: Connection
    slot: int
    variables: Mapping[str, str] = field(default_factory=dict)
    plan: PlannedRun | None = None

    def assign(self, plan: PlannedRun, folder: Path) -> None:
        """Hands ``plan`` to the worker; a worker that has died is noticed when it is waited for."""
        self.plan = plan
        self._send((plan, str(folder.absolute())))

    def ask_to_stop(self) -> None:
        """Asks the current run to save a checkpoint and end."""
        self._send("stop")

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> int:
        """Ends the worker, by force if needed; its exit status, negative for a signal."""
        self.connection.close()
        return child.wait_or_kill(self.process)

    def _send(self, message: object) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(message)


def start(work: str, slot: int, folder: Path, environment: Mapping[str, str], variables: Mapping[str, str]) -> Worker:
    """A new worker for ``work`` ("module:function"); what it prints before its first run goes there, to ``folder``.

    It performs only runs with these ``variables``.
    """
    call = "archbench.runs.executors.worker:serve"
    with open(folder / OUTPUT, "ab") as output:
        return Worker(*child.start(call, (work,), environment, output, variables), slot, variables)


def died(worker: Worker, root: Path) -> Ended | None:
    """Outcome of the run of a worker that has ended, None if it had none; closes the worker."""
    status = worker.close()
    if worker.plan is None:
        return None
    if status == lease.LOST:
        return Ended(worker.plan.run, "held")
    folder = store.run_folder(root, worker.plan.run)
    lease.clear_dead(folder)
    output = _tail(folder / OUTPUT)
    return Ended(worker.plan.run, "failed", f"worker died ({child.describe_exit(status)})", output)


def serve(connection: Connection, work: str) -> None:
    """The life of a worker: takes runs from the connection until it closes."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Slurm's to the job, which asks for a stop
    jobs: queue.SimpleQueue[tuple[PlannedRun, str]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, jobs, stop), daemon=True).start()
    while True:
        plan, folder = jobs.get()
        _send(connection, _attempt(work, plan, Path(folder), _notifier(connection), stop.is_set))


def _listen(connection: Connection, jobs: "queue.SimpleQueue[Any]", stop: threading.Event) -> None:
    """Receives the parent's messages; if the parent is gone, ends this process at once."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        if message == "stop":
            stop.set()
        else:
            jobs.put(message)


def _attempt(work: str, plan: PlannedRun, folder: Path, notify: Notify, stop: Callable[[], bool]) -> Ended:
    _redirect(folder / OUTPUT)
    try:
        with lease.acquire(folder) as held:
            if not store.is_finished(folder, weights=True):  # by another process, a moment ago
                notify(Progress(plan.run, "data"))
                child.load_function(work)(plan, folder, held.reporting_progress(notify), held.checking_lease(stop))
    except lease.Held as other:
        return Ended(plan.run, "held", str(other.holder))
    except Interrupted:
        return Ended(plan.run, "interrupted")
    except FailedError as error:
        return Ended(plan.run, "failed", str(error), error.traceback)
    except Exception as error:
        full = str(error.strerror) if isinstance(error, OSError) and error.errno in disk.FULL else ""
        return Ended(plan.run, "failed", one_line(error), traceback.format_exc(), full)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return Ended(plan.run, "done")


def _notifier(connection: Connection) -> Notify:
    """Forwards messages, and progress at most every ``PROGRESS_SECONDS`` unless the phase changes."""
    latest: tuple[float, str] = (0.0, "")

    def notify(event: Event) -> None:
        nonlocal latest
        if isinstance(event, Progress):
            now = time.monotonic()
            if event.phase == latest[1] and now - latest[0] < PROGRESS_SECONDS:
                return
            latest = (now, event.phase)
        if isinstance(event, LogLine):
            print(event.line, flush=True)
        _send(connection, event)

    return notify


def _send(connection: Connection, event: Event) -> None:
    try:
        connection.send(event)
    except OSError:
        os._exit(0)  # the parent has gone


def _tail(path: Path, size: int = 4000) -> str:
    """The end of what a run printed."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - size, 0))
        return file.read().decode(errors="replace")


def _redirect(path: Path) -> None:
    """Everything printed from here on, by C code too, goes to ``path``."""
    sys.stdout.flush()
    sys.stderr.flush()
    with open(path, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
