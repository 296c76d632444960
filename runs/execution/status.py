"""The status of a comparison, from its files alone: writes nothing, asks no process, does not load torch."""

import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from archbench.runs.execution import progress_file
from archbench.runs.execution.progress import aligned, duration, slowness, some_runs
from archbench.runs.execution.progress_file import RunProgress, SavedProgress
from archbench.runs.plans.messages import bounded
from archbench.runs.store import lease, locks, store

STATES = ("done", "at work", "waiting", "failed", "diverged", "interrupted")
LISTED = ("at work", "interrupted", "failed", "diverged")  # in the table of the text
MOST_ROWS = 20
FRESH_SECONDS = 60.0  # where the file system has no locks, a run heard of since then counts as at work
SCORING_SHARE = 0.1  # of a run's time, where its record has no expected times
TOOK = ("train_seconds", "score_seconds", "generate_seconds")
HEAD = ("run", "status", "progress", "where", "last heard", "details")
PHASES = {"data": "preparing", "train": "training", "score": "scoring"}


@dataclass(frozen=True)
class RunStatus:
    """One run: ``share`` is of its tokens, ``scored`` of its examples; ``seconds`` is the time so far.

    ``scoring_share`` is the expected share of scoring in its time. ``silent_seconds`` is the time since the last sign
    of life of a run at work, ``cause`` one line on why a run failed or diverged, ``host`` the machine where it is at
    work.
    """

    run: str
    dataset: str
    architecture: str
    seed: int | None
    trial: bool
    status: str
    phase: str = ""
    share: float = 0.0
    scored: float = 0.0
    tokens_per_second: float = 0.0
    silent_seconds: float | None = None
    seconds: float | None = None
    expected_seconds: float | None = None
    scoring_share: float = SCORING_SHARE
    cause: str = ""
    host: str = ""

    @property
    def fraction(self) -> float:
        """The fraction of the run's time that is over, 0 to 1."""
        return (1 - self.scoring_share) * self.share + self.scoring_share * self.scored


@dataclass(frozen=True)
class Status:
    """A comparison: ``working`` says whether a ``compare`` holds its folder now, None if that cannot be told.

    ``after_trials`` counts the runs that the outcome of trials decides, which are not planned yet. ``seconds_left`` is
    None while no run has finished. ``reporting``: all runs have ended, and the report is being written.
    """

    folder: str
    name: str
    command: str
    working: bool | None
    jobs: int
    runs: tuple[RunStatus, ...] = ()
    after_trials: int = 0
    seconds_left: float | None = None
    reporting: bool = False

    def with_status(self, status: str) -> list[RunStatus]:
        return [run for run in self.runs if run.status == status]

    def to_json(self) -> dict[str, Any]:
        counts = {status: len(self.with_status(status)) for status in STATES}
        return {**asdict(self), "counts": counts, "runs": [asdict(run) for run in self.runs]}


def read(root: Path, now: float | None = None) -> Status:
    """The status of the comparison in ``root`` at ``now`` (seconds since 1970); raises ``InputError`` without one."""
    now = time.time() if now is None else now
    working = locks.is_locked(root)
    if working and not (root / "experiment.json").is_file():
        return Status(str(root), "", "", working, 0)
    head, saved = store.read_experiment(root), progress_file.read(root)
    entries = [entry for entry in head.get("entries") or () if isinstance(entry, dict)]
    trials = {entry.get("run") for entry in entries if entry.get("role") == "trial"}
    rows, later = head.get("rows") or {}, head.get("later") or {}
    runs = tuple(
        _run(root, run, rows.get(run) or {}, run in trials, saved, working, now) for run in dict.fromkeys(head["runs"])
    )
    left = seconds_left(runs, saved.jobs, later.get("expected_seconds", 0.0))
    after = later.get("runs", 0)
    reporting = not working and bool(locks.is_locked(root, locks.REPORT_LOCK))
    return Status(str(root), head["name"], head["command"], working, saved.jobs, runs, after, left, reporting)


def _run(
    root: Path, run: str, labels: Mapping[str, Any], trial: bool, saved: SavedProgress, working: bool | None, now: float
) -> RunStatus:
    folder = store.run_folder(root, run)
    row = store.peek_record(folder)
    known = {**row, **labels}
    status = row.get("status")
    progress = saved.runs.get(run, RunProgress(working=False))
    state: dict[str, Any] = {"status": status}
    if status in store.FINISHED or status == "failed":
        cause = str(row.get("error") or "") if status != "done" else ""
        state |= {"seconds": _took(run, row, saved), "cause": bounded(" ".join(cause.split()))}
        state |= {"share": 1.0, "scored": 1.0} if status == "done" else {}
    else:
        state = _unfinished(folder, progress, working, now)
    return RunStatus(
        run=run,
        dataset=str(known.get("dataset", "")),
        architecture=str(known.get("architecture", "")),
        seed=known.get("seed"),
        trial=trial,
        expected_seconds=_positive(row.get("expected_seconds")),
        scoring_share=_scoring_share(row),
        **state,
    )


def _unfinished(folder: Path, progress: RunProgress, working: bool | None, now: float) -> dict[str, Any]:
    """At work, interrupted or waiting; a run resumes at its share if it has a checkpoint, else from the beginning."""
    silent = max(now - progress.heard, 0.0)
    holder, since_heartbeat = _lease_holder(folder, now)
    if holder and not (working and progress.working):  # compare has ended; the job on the cluster is still running
        now_at = progress.after(holder.progress(""), now)
        silent, progress = since_heartbeat, replace(now_at, tokens_per_second=holder.tokens_per_second)
    if holder or (progress.working and (working or (working is None and silent < FRESH_SECONDS))):
        facts = {key: getattr(progress, key) for key in ("phase", "share", "scored", "tokens_per_second", "seconds")}
        return {"status": "at work", "silent_seconds": silent, "host": holder.host if holder else "", **facts}
    resumes = os.path.exists(folder / "checkpoint")
    begun = bool(progress.heard) or resumes
    kept = {"share": progress.share, "seconds": progress.seconds} if resumes and progress.heard else {}
    return {"status": "interrupted" if begun and not working else "waiting", **kept}


def _lease_holder(folder: Path, now: float) -> tuple[lease.Holder | None, float]:
    """The holder of the lease, None if it is stale, and the seconds since its last heartbeat."""
    holder = lease.holder(folder)
    if holder is None:
        return None, 0.0
    silent = max(now - lease.last_heartbeat(folder, holder), 0.0)
    return (holder, silent) if silent < (holder.stale or lease.stale_seconds()) else (None, silent)


def _took(run: str, row: Mapping[str, Any], saved: SavedProgress) -> float | None:
    """Seconds of a finished run: what its directing process measured, else what its record says of its parts."""
    if run in saved.seconds:
        return saved.seconds[run]
    parts = [_positive(row.get(key)) for key in TOOK]
    return sum(part for part in parts if part is not None) or None


def _scoring_share(row: Mapping[str, Any]) -> float:
    """The expected share of scoring in a run's time."""
    scoring, whole = row.get("expected_scoring_seconds"), _positive(row.get("expected_seconds"))
    if whole is None or not isinstance(scoring, int | float):
        return SCORING_SHARE
    return min(max(float(scoring) / whole, 0.0), 1.0)


def _positive(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return float(value) if number else None


def seconds_left(runs: Sequence[RunStatus], jobs: int, later: float = 0.0) -> float | None:
    """Time left for all runs that have not ended, with ``jobs`` workers; None while no run has finished.

    A run is expected to take as long as finished runs of its architecture on its data set, else as all finished
    runs, in proportion to planned times if known. ``later`` are expected seconds of runs that are not planned yet.
    """
    done = [run for run in runs if run.status == "done" and run.seconds]
    unended = [run for run in runs if run.status in ("at work", "interrupted", "waiting")]
    if not unended and not later:
        return 0.0
    if not done:
        return None
    left = [_expected(run, done) * (1 - run.fraction) for run in unended]
    left_later = later * _slowness_of(done)
    return max((sum(left) + left_later) / max(jobs, 1), max(left, default=0.0))


def _slowness_of(done: Sequence[RunStatus]) -> float:
    return slowness([(run.seconds or 0.0, run.expected_seconds) for run in done if run.expected_seconds])


def _expected(run: RunStatus, done: Sequence[RunStatus]) -> float:
    alike = [other for other in done if (other.dataset, other.architecture) == (run.dataset, run.architecture)] or done
    if run.expected_seconds and any(other.expected_seconds for other in alike):
        return run.expected_seconds * _slowness_of(alike)
    return sum(other.seconds or 0.0 for other in alike) / len(alike)


def text(status: Status) -> str:
    """The status as plain text: a line for each group, then a table of the runs that say more."""
    if not status.name:
        return f"{status.folder}: no runs are planned yet\n{_holder(status)}"
    groups = [(name, _count(status, name)) for name in STATES if name != "interrupted" or status.with_status(name)]
    lines = [f"{status.folder}: {status.name}, {some_runs(len(status.runs))}", _holder(status)]
    lines += aligned([(name, f" {count}") for name, count in [*groups, ("time left", _left(status))]]).splitlines()
    if table := [_line(run) for name in LISTED for run in status.with_status(name)]:
        lines += ["", aligned(_without_empty([HEAD, *table[:MOST_ROWS]]))]
    if len(table) > MOST_ROWS:
        lines.append(f"and {len(table) - MOST_ROWS} more; --json lists all")
    if not status.working and any(status.with_status(name) for name in ("waiting", "interrupted", "failed")):
        lines += ["", f"to resume: {status.command}"]
    return "\n".join(lines)


def _without_empty(table: Sequence[Sequence[str]]) -> list[list[str]]:
    """A table, its head first, without columns that are empty below the head."""
    kept = [column for column in range(len(table[0])) if any(row[column] for row in table[1:])]
    return [[row[column] for column in kept] for row in table]


def _holder(status: Status) -> str:
    if status.working is None:
        return "unknown whether compare is running in this folder (this file system has no locks)"
    jobs = f", {status.jobs} job{'s' if status.jobs > 1 else ''}" if status.working and status.jobs else ""
    if status.reporting:
        return "the report is being written"
    return f"compare is running in this folder{jobs}" if status.working else "compare is not running in this folder"


def _count(status: Status, name: str) -> str:
    runs = status.with_status(name)
    trials = sum(run.trial for run in runs)
    count = f"{len(runs)} ({trials} trial{'s' if trials > 1 else ''})" if trials else str(len(runs))
    if name == "waiting" and status.after_trials:
        count += f"; {status.after_trials} more after trials or pretrainings"
    return count


def _left(status: Status) -> str:
    if status.seconds_left is None:
        return "no estimate yet"
    if not status.seconds_left:
        return "none: all runs have ended"
    about = f"about {duration(status.seconds_left)}"
    return about if status.working is not False else f"{about} once resumed"


def _line(run: RunStatus) -> list[str]:
    progress = f"{100 * run.share:.0f}%"
    if run.status == "at work":
        part = f"{100 * run.scored:.0f}%" if run.phase == "score" else progress
        speed = f"{run.tokens_per_second:,.0f} tokens/s" if run.tokens_per_second else ""
        phase = f"{PHASES.get(run.phase, run.phase)} {part}"
        where = "" if run.host == platform.node() else run.host
        return [run.run, run.status, phase, where, f"{duration(run.silent_seconds or 0.0)} ago", speed]
    if run.status == "interrupted":
        kept = "resumes from its checkpoint" if run.share else "starts from the beginning"
        return [run.run, run.status, f"training {progress}", "", "", kept]
    return [run.run, run.status, "", "", "", run.cause]
