"""Runs as jobs of an engine that starts them on other machines; their progress is read from the leases of the runs."""

import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from archbench.runs.executors.executor import ExecutorOptions
from archbench.runs.executors.job import STOP, Job, Result
from archbench.runs.plans.messages import Ended, Event, PlannedRun, Progress
from archbench.runs.store import lease, store

POLL_SECONDS = 3.0
LEASES_PER_POLL = 100  # leases read per poll; a shared file system serves a few thousand files per second


class Engine(Protocol):
    """A service that starts jobs. ``slots`` is the number of jobs at a time, ``queue`` how many it takes at once."""

    slots: int
    queue: int

    def submit(self, jobs: Sequence[Job]) -> Sequence[Any]:
        """Submit ``jobs``, or the first of them if it takes no more; a handle for each, which can be a key."""
        ...

    def ended(self, handles: Sequence[Any], seconds: float) -> Mapping[Any, Result | str]:
        """The jobs that have ended, waiting up to ``seconds`` for one: the result, or why there is none."""
        ...

    def cancel(self, handles: Sequence[Any]) -> None:
        """End these jobs at once."""
        ...

    def close(self) -> None: ...


class Cluster:
    """An executor that keeps up to ``engine.queue`` jobs with an engine."""

    def __init__(self, engine: Engine, options: ExecutorOptions) -> None:
        self.engine, self.options = engine, options
        self.jobs = engine.slots
        self.handles: dict[Any, PlannedRun] = {}
        self.progress: dict[str, Progress] = {}
        self.polled, self.position = time.monotonic(), 0
        self._stop_file.unlink(missing_ok=True)

    def start(self, waiting: deque[PlannedRun]) -> None:
        plans = [waiting.popleft() for _ in range(min(len(waiting), self.engine.queue - len(self.handles)))]
        if plans:
            root = str(self.options.root.absolute())
            handles = self.engine.submit([Job(plan, root, self.options.work) for plan in plans])
            self.handles |= dict(zip(handles, plans, strict=False))
            waiting.extendleft(reversed(plans[len(handles) :]))

    def events(self, seconds: float) -> list[Event]:
        if not self.handles:
            time.sleep(seconds)
            return []
        events: list[Event] = []
        for handle, result in self.engine.ended(list(self.handles), seconds).items():
            plan = self.handles.pop(handle)
            events += self._result(plan, result)
        if time.monotonic() - self.polled > POLL_SECONDS:
            self.polled = time.monotonic()
            events += self._progress()
        return events

    def is_busy(self) -> bool:
        return bool(self.handles)

    def stop(self) -> None:
        """Running jobs notice a file; those that wait for a node are cancelled."""
        self._stop_file.touch()
        running = {plan.run for plan in self.handles.values() if lease.is_live(self._folder(plan.run))}
        waiting = [handle for handle, plan in self.handles.items() if plan.run not in running]
        self.engine.cancel(waiting)
        for handle in waiting:
            del self.handles[handle]

    def close(self) -> None:
        self.engine.cancel(list(self.handles))
        self.engine.close()
        self.handles = {}

    @property
    def _stop_file(self) -> Path:
        return self.options.root / STOP

    def _folder(self, run: str) -> Path:
        return store.run_folder(self.options.root, run)

    def _result(self, plan: PlannedRun, result: Result | str) -> list[Event]:
        if isinstance(result, Result):
            return [*result.lines, result.ended]
        if store.is_finished(self._folder(plan.run)):  # the engine lost the result; the run's folder is complete
            return [Ended(plan.run, "done")]
        if self._stop_file.exists():
            return [Ended(plan.run, "interrupted")]
        if other := lease.holder(self._folder(plan.run)):  # of another attempt
            return [Ended(plan.run, "held", str(other))]
        return [Ended(plan.run, "failed", result)]

    def _progress(self) -> list[Event]:
        """New progress in the leases of running jobs, some of them at a time."""
        plans = list(self.handles.values())
        polled = [plans[(self.position + offset) % len(plans)] for offset in range(min(len(plans), LEASES_PER_POLL))]
        self.position = (self.position + len(polled)) % max(len(plans), 1)
        events: list[Event] = []
        for plan in polled:
            with contextlib.suppress(OSError):
                holder = lease.holder(self._folder(plan.run))
                if holder is not None and self.progress.get(plan.run) != (now := holder.progress(plan.run)):
                    self.progress[plan.run] = now
                    events.append(now)
        return events
