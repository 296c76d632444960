"""Runs plans on worker processes of one thread each: by stage, the longest first; skips finished ones.

A run that raises or crashes its worker is recorded as failed; the others go on. SIGINT and SIGTERM ask the workers to
save checkpoints; a second signal ends them at once. In both cases the same call later resumes from there.
"""

import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType

from archbench.runs.base import child, misplaced, store
from archbench.runs.base.messages import Ended, Event, Interrupted, LogLine, Notify, PlannedRun, Progress
from archbench.runs.execution.heartbeat import ProgressWriter
from archbench.runs.execution.worker import OUTPUT, Worker, start
from archbench.tasks.base import files

__all__ = ["Ended", "Event", "Interrupted", "Outcome", "PlannedRun", "Progress", "execute"]

ERROR = "error.txt"
GRACE_SECONDS = 30.0  # for saving checkpoints after a signal
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Outcome:
    """How the runs ended, by name. ``signal`` interrupted them; ``full`` is the message about a full disk.

    A run is also unfinished if only its worker received SIGTERM. ``causes`` has one line on why each run failed,
    ``errors`` lines about other failures.
    """

    skipped: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    signal: int | None = None
    full: str = ""
    errors: tuple[str, ...] = ()
    causes: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The exit status: 0, 1 where a run failed or was left out, 128 + the signal."""
        if self.signal is not None:
            return 128 + self.signal
        return int(bool(self.failed or self.unfinished or self.full or self.errors))


def execute(
    plans: Sequence[PlannedRun],
    root: Path,
    jobs: int,
    notify: Notify,
    work: str = "archbench.runs.execution.work:perform",
    gpus: Sequence[str] = (),
) -> Outcome:
    """Performs every unfinished run of ``plans``, ``jobs`` at a time; each writes ``root/runs/<run>/``.

    ``work`` names ``perform(plan, folder, notify, stop)`` as "module:function". With ``gpus`` each worker sees one of
    them. ``notify`` hears of all progress in this process; it must not raise.
    """
    unique = {plan.run: plan for plan in plans}
    for run in unique:
        if line := misplaced.set_aside(root, run):
            notify(LogLine(run, line))
    skipped = tuple(run for run in unique if store.is_finished(store.run_folder(root, run), weights=True))
    waiting = [plan for run, plan in unique.items() if run not in skipped]
    for run in skipped:
        shutil.rmtree(store.run_folder(root, run) / "checkpoint", ignore_errors=True)  # of one killed at its very end
        notify(Ended(run, "skipped"))
    for plan in waiting:
        if different := store.changed(store.run_folder(root, plan.run), weights=True):
            notify(LogLine(plan.run, f"{different[0]} has changed since the run was finished; it is done again"))
        _record_unfinished(root, plan)
    waiting.sort(key=lambda plan: (plan.stage, -plan.expected_seconds))
    director = _Director(
        root, notify, work, gpus, deque(waiting), ProgressWriter(root, min(max(jobs, 1), len(waiting)))
    )
    with _signals() as caught:
        director.run(director.progress.jobs, caught)
    return director.outcome(tuple(unique), skipped, caught)


@dataclass
class _Director:
    """The state of one ``execute``: waiting runs, workers, outcomes."""

    root: Path
    notify: Notify
    work: str
    gpus: Sequence[str]
    waiting: deque[PlannedRun]
    progress: ProgressWriter
    workers: dict[int, Worker] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    full: str = ""
    deadline: float | None = None

    def run(self, jobs: int, caught: list[int]) -> None:
        if self.waiting:
            self.progress.save()
        try:
            while self._go_on(caught) or self._busy():
                if self._go_on(caught):
                    self._dispatch(jobs)
                self._hear()
                self.progress.save_when_due()
                if caught and self._stopping(caught):
                    break
        finally:
            for worker in list(self.workers.values()):
                worker.kill() if worker.plan else worker.close()
            self.progress.close()

    def outcome(self, order: tuple[str, ...], skipped: tuple[str, ...], caught: list[int]) -> Outcome:
        def with_status(status: str) -> tuple[str, ...]:
            return tuple(run for run in order if run in self.ended and self.ended[run].status == status)

        done, failed = with_status("done"), with_status("failed")
        unfinished = tuple(run for run in order if run not in {*skipped, *done, *failed})
        causes = {run: self.ended[run].error for run in failed}
        return Outcome(skipped, done, failed, unfinished, caught[0] if caught else None, self.full, causes=causes)

    def _go_on(self, caught: list[int]) -> bool:
        return bool(self.waiting) and not caught and not self.full

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.plan]

    def _dispatch(self, jobs: int) -> None:
        """Gives every free or new worker its next run."""
        for slot in range(jobs):
            if not self.waiting:
                return
            worker = self.workers.get(slot)
            if worker is not None and worker.plan is not None:
                continue
            plan = self._next(worker)
            folder = store.run_folder(self.root, plan.run)
            if worker is not None and not worker.may_take(plan):
                worker.close()
                worker = None
            if worker is None:
                worker = self.workers[slot] = start(self.work, slot, folder, self._environment(slot))
            worker.assign(plan, folder)

    def _next(self, worker: Worker | None) -> PlannedRun:
        """The first waiting run; for a worker that loaded a user's code, the first of that code in the same stage."""
        plan = self.waiting[0]
        if worker and worker.code:
            same_stage = (waiting for waiting in self.waiting if waiting.stage == plan.stage)
            plan = next((waiting for waiting in same_stage if worker.may_take(waiting)), plan)
        self.waiting.remove(plan)
        return plan

    def _environment(self, slot: int) -> Mapping[str, str]:
        visible = {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}
        return child.ONE_THREAD | visible

    def _hear(self) -> None:
        """Takes one message from every worker that has one, or notices its death."""
        ready = wait([worker.connection for worker in self.workers.values()], timeout=POLL_SECONDS)
        for worker in [worker for worker in self.workers.values() if worker.connection in ready]:
            try:
                event = worker.connection.recv()
            except (EOFError, OSError):
                self._died(worker)
                continue
            if isinstance(event, Ended):
                self._end(worker, event)
            else:
                self._tell(event)

    def _end(self, worker: Worker, event: Ended) -> None:
        plan, worker.plan = worker.plan, None
        assert plan is not None
        folder = store.run_folder(self.root, plan.run)
        if event.status == "done" and not store.is_finished(folder):
            event = Ended(plan.run, "failed", "the run ended without a finished record")
        interrupted = event.status == "interrupted"  # it would stop every later run too
        broken = event.status == "failed" and self.gpus  # after an error on a GPU nothing works there in that process
        if (interrupted or broken) and self.workers.get(worker.slot) is worker:
            self.workers.pop(worker.slot).close()
        if event.status == "failed":
            self._record_failed(plan, event)
        _remove_if_empty(folder / OUTPUT)
        self.full = self.full or event.full
        self.ended[plan.run] = event
        self._tell(event)

    def _tell(self, event: Event) -> None:
        self.progress.hear(event)
        self.notify(event)

    def _died(self, worker: Worker) -> None:
        status = worker.close()
        del self.workers[worker.slot]
        if worker.plan:
            output = _tail(store.run_folder(self.root, worker.plan.run) / OUTPUT)
            self._end(worker, Ended(worker.plan.run, "failed", f"worker died ({child.how(status)})", output))

    def _record_failed(self, plan: PlannedRun, event: Ended) -> None:
        folder = store.run_folder(self.root, plan.run)
        try:
            files.write_text(folder / ERROR, event.traceback or event.error)
            store.write_record(folder, {**plan.row(), "status": "failed", "error": event.error})
        except OSError as error:
            if error.errno not in store.FULL:
                raise
            self.full = str(error.strerror)

    def _stopping(self, caught: list[int]) -> bool:
        """Asks the workers to stop, once; true when they have, were signalled again or took too long."""
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE_SECONDS
            for worker in self._busy():
                worker.ask_to_stop()
        return not self._busy() or len(caught) > 1 or time.monotonic() > self.deadline


def _record_unfinished(root: Path, plan: PlannedRun) -> None:
    folder = store.run_folder(root, plan.run)
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


def _tail(path: Path, size: int = 4000) -> str:
    """The end of what a run printed."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - size, 0))
        return file.read().decode(errors="replace")


def _remove_if_empty(path: Path) -> None:
    if path.is_file() and not path.stat().st_size:
        path.unlink()
