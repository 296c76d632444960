"""One run as a job of a cluster: what a node performs, in a worker process like those of ``local``."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archbench.runs.executors import worker as workers
from archbench.runs.machine import child
from archbench.runs.plans.messages import Ended, LogLine, PlannedRun
from archbench.runs.store import lease, store
from archbench.tasks.base.errors import one_line

STOP = ".stop"  # in the folder of the comparison: all its jobs save a checkpoint and end
POLL_SECONDS = 0.5


@dataclass
class Result:
    """How a job ended, and the lines that it reported."""

    ended: Ended
    lines: list[LogLine] = field(default_factory=list)


@dataclass
class Job:
    """Performs one run on the node where it is called; engines send it there by pickle, perhaps several times.

    ``root`` is the folder of the comparison, on a file system that all nodes share.
    """

    plan: PlannedRun
    root: str
    work: str
    stopping: bool = False
    worker: workers.Worker | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        return store.run_folder(Path(self.root), self.plan.run)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "worker": None, "stopping": False}

    def __call__(self) -> Result:
        """Waits until no other process performs the run, then performs it unless it is finished."""
        if not (self.folder / store.RECORD).is_file():
            text = "not found on this node; --out must be on a file system shared by all nodes"
            return Result(Ended(self.plan.run, "failed", f"{self.folder}: {text}"))
        monitor, lines = lease.LeaseMonitor(self.folder), list[LogLine]()
        while True:
            while self._is_held(monitor):
                if self._stop_requested():
                    return Result(Ended(self.plan.run, "interrupted"), lines)
                time.sleep(POLL_SECONDS)
            ended = self._attempt(lines)
            if ended.status != "held":
                return Result(ended, lines)

    def stop(self) -> None:
        """Asks the run to save a checkpoint and end, and waits until it has."""
        self.stopping = True
        if self.worker is not None:
            self._follow(self.worker, [])

    def _is_held(self, monitor: lease.LeaseMonitor) -> bool:
        """True if another process holds the run, or while the file system is away."""
        try:
            return monitor.poll() is not None
        except OSError:
            return True

    def _attempt(self, lines: list[LogLine]) -> Ended:
        try:
            self.worker = workers.start(self.work, 0, self.folder, child.ONE_THREAD, self.plan.variables)
            self.worker.assign(self.plan, self.folder)
            return self._follow(self.worker, lines)
        except OSError as error:
            return Ended(self.plan.run, "failed", one_line(error))
        finally:
            if self.worker is not None:
                self.worker.kill() if self.worker.plan else self.worker.close()
                lease.clear_dead(self.folder)
            self.worker = None

    def _follow(self, worker: workers.Worker, lines: list[LogLine]) -> Ended:
        """Receives messages until the run has ended; an interrupt asks it to stop."""
        asked = False
        while True:
            try:
                if not asked and self._stop_requested():
                    asked = True
                    worker.ask_to_stop()
                if not worker.connection.poll(POLL_SECONDS):
                    continue
                event = worker.connection.recv()
            except KeyboardInterrupt:
                self.stopping = True
                continue
            except (EOFError, OSError):
                ended = workers.died(worker, Path(self.root))
                worker.plan = None
                return ended or Ended(self.plan.run, "interrupted")
            if isinstance(event, LogLine):
                lines.append(event)
            if isinstance(event, Ended):
                worker.plan = None
                return event

    def _stop_requested(self) -> bool:
        return self.stopping or (Path(self.root) / STOP).exists()


def perform(job: Job) -> Result:
    """Calls ``job``; a function by name, which engines import on the node."""
    return job()
