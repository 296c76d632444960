"""``DIR/.progress.json``: the progress of running runs, as last reported to the parent process, for ``status``.

No outcome depends on this file, and it has no hash. Times are in seconds since 1970.
"""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from archbench.runs.plans.messages import Ended, Event, Progress
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

FILE = ".progress.json"
EVERY_SECONDS = 3.0


@dataclass(frozen=True)
class RunProgress:
    """Progress of an unfinished run: ``share`` of its tokens and, while it is scored, ``scored`` of its examples.

    ``began`` is when its worker took it, ``heard`` its last sign of life, ``spent`` the seconds of earlier attempts.
    """

    phase: str = "data"
    share: float = 0.0
    scored: float = 0.0
    tokens_per_second: float = 0.0
    began: float = 0.0
    heard: float = 0.0
    spent: float = 0.0
    working: bool = True

    @property
    def seconds(self) -> float:
        """Spent on this run by all attempts."""
        return self.spent + (max(self.heard - self.began, 0.0) if self.working else 0.0)

    def after(self, event: Progress, now: float) -> "RunProgress":
        part = min(event.done / event.total, 1.0) if event.total else 0.0
        begun = self if self.working else replace(self, began=now, working=True)
        share = {"train": part, "score": 1.0}.get(event.phase, begun.share)  # while data are prepared: the checkpoint's
        scored, speed = part if event.phase == "score" else 0.0, event.tokens_per_second or 0.0
        return replace(begun, phase=event.phase, share=share, scored=scored, tokens_per_second=speed, heard=now)

    def paused(self) -> "RunProgress":
        return replace(self, spent=self.seconds, working=False)


@dataclass(frozen=True)
class SavedProgress:
    """The workers of the latest comparison, its unfinished runs, and the seconds that each finished run took."""

    jobs: int = 1
    runs: Mapping[str, RunProgress] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def read(root: Path) -> SavedProgress:
    """Progress saved last in ``root``; empty where there is no file, or none that can be read."""
    try:
        value = sealed.read_json(root / FILE)
        runs = {str(run): _run_progress(entry) for run, entry in value["runs"].items()}
        seconds = {str(run): _finite(spent) for run, spent in value["seconds"].items()}
        return SavedProgress(max(int(value["jobs"]), 1), runs, seconds)
    except (InputError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return SavedProgress()


def pause(root: Path) -> None:
    """Marks runs that a killed comparison left "at work" as stopped; the caller holds the lock of ``root``."""
    left = read(root)
    if any(run.working for run in left.runs.values()):
        _write(root, replace(left, runs={name: run.paused() for name, run in left.runs.items()}))


class ProgressWriter:
    """Receives the events of a comparison and writes the file at most every ``EVERY_SECONDS``."""

    def __init__(self, root: Path, jobs: int, clock: Callable[[], float] = time.time) -> None:
        known = read(root)
        self.root, self.jobs, self.clock = root, jobs, clock
        self.runs = {name: run.paused() for name, run in known.runs.items()}
        self.seconds = dict(known.seconds)
        self.saved, self.changed = time.monotonic(), False

    def hear(self, event: Event) -> None:
        now = self.clock()
        if isinstance(event, Progress):
            self.runs[event.run] = self.runs.get(event.run, RunProgress(began=now)).after(event, now)
        elif isinstance(event, Ended) and event.run in self.runs:
            run = replace(self.runs.pop(event.run), heard=now)
            if event.status == "interrupted":
                self.runs[event.run] = run.paused()
            elif event.status == "done":
                self.seconds[event.run] = run.seconds
        else:
            return
        self.changed = True

    def save_when_due(self) -> None:
        if self.changed and time.monotonic() - self.saved >= EVERY_SECONDS:
            self.save()

    def close(self) -> None:
        """Writes the final state of every run when the comparison ends; runs still training then were killed."""
        if self.changed:
            self.runs = {name: run.paused() for name, run in self.runs.items()}
            self.save()

    def save(self) -> None:
        self.saved, self.changed = time.monotonic(), False
        _write(self.root, SavedProgress(self.jobs, self.runs, self.seconds))


def _write(root: Path, progress: SavedProgress) -> None:
    with contextlib.suppress(OSError):  # a comparison goes on without it; a full disk shows elsewhere
        sealed.write_json(root / FILE, asdict(progress))


def _run_progress(entry: Mapping[str, Any]) -> RunProgress:
    values: dict[str, Any] = {
        known.name: _finite(entry[known.name])
        for known in fields(RunProgress)
        if known.name not in ("phase", "working")
    }
    return RunProgress(phase=str(entry["phase"]), working=bool(entry["working"]), **values)


def _finite(value: Any) -> float:
    if not math.isfinite(number := float(value)):
        raise ValueError(f"{number} is not a time or a share")
    return number
