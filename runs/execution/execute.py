"""Executes runs stage by stage, the longest first; skips finished ones.

A run that raises or crashes its worker is recorded as failed; the others go on. SIGINT and SIGTERM ask the runs to save
checkpoints; a second signal ends them at once. In both cases the same call later resumes from there.
"""

import contextlib
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from archbench.runs.execution.progress_file import ProgressWriter
from archbench.runs.executors.executor import Executor, ExecutorOptions, On, opened
from archbench.runs.executors.worker import OUTPUT
from archbench.runs.plans.messages import Capacity, Ended, Event, Interrupted, LogLine, Notify, PlannedRun, Progress
from archbench.runs.store import disk, lease, misplaced, store
from archbench.tasks.base import files

__all__ = ["Ended", "Event", "Interrupted", "Outcome", "PlannedRun", "Progress", "execute"]

ERROR = "error.txt"
GRACE_SECONDS = 30.0  # for saving checkpoints after a signal
EVENT_SECONDS = 0.2  # between looks at signals
LEASE_POLL_SECONDS = 1.0  # between looks at the leases of other processes


@dataclass(frozen=True)
class Outcome:
    """How the runs ended, by name. ``signal`` interrupted them; ``full`` is the message about a full disk.

    A run is also unfinished if only its worker received SIGTERM. ``waiting`` is the number of runs that wait for
    unfinished trials or pretrainings. ``causes`` has one line on why each run failed, ``errors`` lines about other
    failures.
    """

    skipped: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    signal: int | None = None
    full: str = ""
    errors: tuple[str, ...] = ()
    causes: Mapping[str, str] = field(default_factory=dict)
    waiting: int = 0

    @property
    def status(self) -> int:
        """The exit status: 0, 1 where a run failed or was left out, 128 + the signal."""
        if self.signal is not None:
            return 128 + self.signal
        return int(bool(self.failed or self.unfinished or self.full or self.errors))


def execute(
    plans: Sequence[PlannedRun],
    root: Path,
    jobs: int | None,
    notify: Notify,
    work: str = "archbench.runs.execution.work:perform",
    gpus: Sequence[str] = (),
    on: On = "local",
    gpu_share: float = 0.0,
) -> Outcome:
    """Performs every unfinished run of ``plans``, ``jobs`` at a time; each writes ``root/runs/<run>/``.

    ``on``, ``work``, ``gpus`` and ``gpu_share`` as in ``executors.executor``. ``notify`` receives all events, in this
    process; it must not raise.
    """
    unique = {plan.run: plan for plan in plans}
    held = {run: other for run in unique if (other := lease.holder(store.run_folder(root, run)))}
    for run in unique.keys() - held.keys():
        if line := misplaced.set_aside(root, run):
            notify(LogLine(run, line))
    skipped = tuple(run for run in unique if store.is_finished(store.run_folder(root, run), weights=True))
    waiting = [plan for run, plan in unique.items() if run not in skipped and run not in held]
    for run in skipped:
        shutil.rmtree(store.run_folder(root, run) / "checkpoint", ignore_errors=True)  # of one killed at its very end
        notify(Ended(run, "skipped"))
    for plan in waiting:
        if different := store.modified_files(store.run_folder(root, plan.run), weights=True):
            notify(LogLine(plan.run, f"{different[0]} has changed since the run was finished; training it again"))
        _record_unfinished(root, plan)
    waiting.sort(key=lambda plan: (plan.stage, -plan.expected_seconds))
    if len(skipped) == len(unique):
        return Outcome(skipped)
    executor = opened(
        on,
        ExecutorOptions(
            root,
            jobs if jobs is None else min(max(jobs, 1), sum(plan.devices for plan in waiting) or 1),
            work,
            gpus,
            gpu_share,
        ),
    )
    notify(Capacity(executor.jobs))
    progress = ProgressWriter(root, min(executor.jobs, len(unique) - len(skipped)))
    director = _Director(root, notify, executor, deque(waiting), progress, unique)
    for run, other in held.items():
        if run not in skipped:
            director.watch(run, str(other))
    with _signals() as caught:
        director.run(caught)
    return director.outcome(tuple(unique), skipped, caught)


@dataclass
class _Director:
    """The state of one ``execute``: waiting runs, those that other processes perform, outcomes."""

    root: Path
    notify: Notify
    executor: Executor
    waiting: deque[PlannedRun]
    progress: ProgressWriter
    plans: Mapping[str, PlannedRun]
    watched: dict[str, lease.LeaseMonitor] = field(default_factory=dict)
    polled: float = 0.0
    ended: dict[str, Ended] = field(default_factory=dict)
    full: str = ""
    deadline: float | None = None

    def run(self, caught: list[int]) -> None:
        if self.waiting or self.watched:
            self.progress.save()
        try:
            while self._has_work(caught) or self.executor.is_busy():
                if self._has_work(caught):
                    self._poll_watched()
                    self.executor.start(self.waiting)
                for event in self.executor.events(EVENT_SECONDS):
                    self._end(event) if isinstance(event, Ended) else self._tell(event)
                self.progress.save_when_due()
                if caught and self._stopping(caught):
                    break
        finally:
            self.executor.close()
            self.progress.close()

    def outcome(self, order: tuple[str, ...], skipped: tuple[str, ...], caught: list[int]) -> Outcome:
        def with_status(status: str) -> tuple[str, ...]:
            return tuple(run for run in order if run in self.ended and self.ended[run].status == status)

        done, failed = with_status("done"), with_status("failed")
        unfinished = tuple(run for run in order if run not in {*skipped, *done, *failed})
        causes = {run: self.ended[run].error for run in failed}
        return Outcome(skipped, done, failed, unfinished, caught[0] if caught else None, self.full, causes=causes)

    def watch(self, run: str, holder: str) -> None:
        """Follow a run that another process trains, until it ends or its lease is stale."""
        self.watched[run] = lease.LeaseMonitor(store.run_folder(self.root, run))
        self.notify(LogLine(run, f"{holder} is running it; waiting for it to end"))

    def _has_work(self, caught: list[int]) -> bool:
        return bool(self.waiting or self.watched) and not caught and not self.full

    def _poll_watched(self) -> None:
        """Poll watched runs once a second; a released run is either finished or queued again."""
        if not self.watched or time.monotonic() - self.polled < LEASE_POLL_SECONDS:
            return
        self.polled = time.monotonic()
        for run, monitor in list(self.watched.items()):
            with contextlib.suppress(OSError):  # a file system that is away for a moment
                holder = monitor.poll()
                if holder is not None:
                    self._tell(holder.progress(run))
                    continue
                finished = store.is_finished(store.run_folder(self.root, run), weights=True)
                del self.watched[run]
                if finished:
                    self._end(Ended(run, "done"))
                else:
                    self.waiting.append(self.plans[run])

    def _end(self, event: Ended) -> None:
        folder = store.run_folder(self.root, event.run)
        if event.status == "held":
            self.progress.hear(event)
            self.watch(event.run, event.error or "another process")
            return
        # a worker that died after its run had finished
        if event.status == "failed" and store.is_finished(folder, weights=True):
            event = Ended(event.run, "done")
        if event.status == "done" and not store.is_finished(folder):
            event = Ended(event.run, "failed", "the run ended without a finished record")
        if event.status == "failed":
            self._record_failed(self.plans[event.run], event)
        _remove_if_empty(folder / OUTPUT)
        if event.full and not self.full:
            self.full = event.full
            self.executor.stop()
        self.ended[event.run] = event
        self._tell(event)

    def _tell(self, event: Event) -> None:
        self.progress.hear(event)
        self.notify(event)

    def _record_failed(self, plan: PlannedRun, event: Ended) -> None:
        folder = store.run_folder(self.root, plan.run)
        try:
            files.write_text(folder / ERROR, event.traceback or event.error)
            store.write_record(folder, {**plan.row(), "status": "failed", "error": event.error})
        except OSError as error:
            if error.errno not in disk.FULL:
                raise
            self.full = str(error.strerror)

    def _stopping(self, caught: list[int]) -> bool:
        """Asks the runs to stop, once; true when they have, were signalled again or took too long."""
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE_SECONDS
            self.executor.stop()
        return not self.executor.is_busy() or len(caught) > 1 or time.monotonic() > self.deadline


def _record_unfinished(root: Path, plan: PlannedRun) -> None:
    folder = store.run_folder(root, plan.run)
    if lease.is_live(folder) or store.is_finished(folder, weights=True):  # since it was looked at
        return
    store.write_record(folder, {**plan.row(), "status": "unfinished"})
    (folder / ERROR).unlink(missing_ok=True)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGINTs and SIGTERMs without acting on them; only the main thread can catch them."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _remove_if_empty(path: Path) -> None:
    if path.is_file() and not path.stat().st_size:
        path.unlink()
