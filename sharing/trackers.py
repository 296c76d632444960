"""Sends saved curves and scores to a tracker, each point once, during or after training.

Everything comes from the folder of the comparison: the curves of a finished run from ``curves.csv``, those of a running
one from its newest checkpoint. Curves are append-only, so the number of points already sent shows which ones are
missing. A point that could not be sent is sent the next time.
"""

import contextlib
import csv
import importlib.util
import io
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from archbench.runs.plans.messages import Ended, Event, Progress
from archbench.runs.store import run_scores, store
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError, one_line
from archbench.tasks.base.progress import Say

Name = Literal["tensorboard", "wandb"]
PACKAGES: tuple[Name, ...] = ("tensorboard", "wandb")
SYNC_SECONDS = 30.0
FIGURES = ("verdicts", "headline", "differences", "cost", "compute", "effects", "curves_tokens")


@dataclass(frozen=True)
class Point:
    """One value of a run. ``seconds`` is its training time up to there."""

    name: str
    step: int
    tokens: int
    flops: float
    seconds: float
    value: float


@dataclass(frozen=True)
class Picture:
    """A figure of the report, as a PNG."""

    name: str
    caption: str
    png: bytes


class Tracker(Protocol):
    """Shows runs. Its calls may take long, and raise any error where a service cannot be reached.

    ``where`` says where to see them.
    """

    @property
    def where(self) -> str: ...

    def known(self, run: str) -> int:
        """The number of points of a run that it has."""
        ...

    def show(self, run: str, facts: Mapping[str, Any], points: Sequence[Point], ended: bool) -> None:
        """Add points to a run, which is new if it has none; ``facts`` are its settings."""
        ...

    def show_pictures(self, pictures: Sequence[Picture]) -> None:
        """Show the figures of the report."""
        ...


def named(name: str) -> Name:
    """The tracker called ``name``; raises ``InputError`` if there is none or its package is not installed."""
    for known in PACKAGES:
        if name == known:
            if importlib.util.find_spec(known) is None:
                raise InputError(f"{name}: the package {known} is not installed; pip install 'archbench[{known}]'")
            return known
    raise InputError(f'"{name}": no such tracker; expected {" or ".join(PACKAGES)}')


def opened(name: Name, root: Path) -> Tracker:
    """A tracker for the comparison in ``root``."""
    if name == "tensorboard":
        from archbench.sharing.on_tensorboard import TensorBoard

        return TensorBoard(root)
    from archbench.sharing.on_wandb import WeightsAndBiases

    return WeightsAndBiases(root)


def sync(root: Path, tracker: Tracker, runs: Collection[str] | None = None) -> int:
    """Send what the tracker lacks of these runs in ``root``, or of all; returns the number of points sent."""
    head = store.read_experiment(root)
    rows, sent = head.get("rows") or {}, 0
    for run in (run for run in head["runs"] if runs is None or run in runs):
        folder = store.run_folder(root, run)
        row = store.peek_record(folder)
        try:
            points = curve(folder) + _scores(folder, row)
        except (InputError, KeyError, TypeError, ValueError):  # damaged: the next compare reports it
            continue
        known = tracker.known(run) if points else 0
        if len(points) > known:
            tracker.show(run, {**row, **(rows.get(run) or {})}, points[known:], row.get("status") in store.FINISHED)
            sent += len(points) - known
    return sent


def curve(folder: Path) -> list[Point]:
    """The points of a run's curves so far; none while it has neither curves nor a checkpoint."""
    try:
        with open(folder / "curves.csv", encoding="utf-8", newline="") as file:
            return [_point(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        pass
    for checkpoint in sorted(folder.glob("checkpoint/[0-9]*/state.json"), reverse=True):
        try:
            return [_point(row) for row in sealed.read_json(checkpoint)["curves"]]
        except (InputError, KeyError, TypeError, ValueError):
            continue  # dropped or damaged
    return []


def _point(row: Mapping[str, Any]) -> Point:
    where = int(row["step"]), int(row["tokens"]), float(row["flops"]), float(row["seconds"])
    return Point(f"{row['split']}/{row['metric']}", *where, float(row["value"]))


def _scores(folder: Path, row: Mapping[str, Any]) -> list[Point]:
    """The scores of a finished run, as points at the end of its training."""
    if row.get("status") != "done":
        return []
    where = (
        int(row.get("steps") or 0),
        int(row.get("train_tokens") or 0),
        float(row.get("train_flops") or 0.0),
        float(row.get("train_seconds") or 0.0),
    )
    scores = run_scores.of_run(folder)
    return [Point(f"{score['split']}/{score['metric']}", *where, float(score["value"])) for score in scores]


class Follower:
    """A listener of a comparison's events that keeps a tracker up to date, from a thread of its own.

    An event says which run has news, the run's folder says what they are. Errors of the tracker are reported once and
    change nothing else: what was not sent is sent later.
    """

    def __init__(self, root: Path, name: Name, say: Say) -> None:
        self.root, self.name, self.say = root, name, say
        self.tracker: Tracker | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.news, self.failed, self.sent = set[str](), False, 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress | Ended):
            self.news.add(event.run)

    def __enter__(self) -> "Follower":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()
        self.sync()

    def sync(self, runs: Collection[str] | None = None) -> None:
        """Send what is new of these runs, or of all; an error is reported."""
        try:
            if (self.root / "experiment.json").is_file():
                self.tracker = self.tracker or opened(self.name, self.root)
                self.sent += sync(self.root, self.tracker, runs)
        except Exception as error:  # whatever a client of a service raises
            if not self.failed:
                self.failed = True
                self.say(f"{self.name}: {one_line(error)}; training continues; unsent points are sent later")

    def _follow(self) -> None:
        while not self.ended.wait(SYNC_SECONDS):
            runs, self.news = self.news, set()
            self.sync(runs)


def replay(root: Path, name: str, sent_before: int = 0) -> str:
    """Send what the tracker lacks: points of all runs, and figures if the comparison has tables; what was sent.

    ``sent_before`` are points that the same command has sent already.
    Raises ``InputError`` where the tracker is unknown, not installed or cannot be reached.
    """
    tracker = opened(named(name), root)
    try:
        sent = sent_before + sync(root, tracker)
        shown = pictures(root)
        tracker.show_pictures(shown)
    except InputError:
        raise
    except Exception as error:  # whatever a client of a service raises
        raise InputError(f"{name}: {one_line(error)}; run the same command again to send the rest") from error
    return f"{name}: {sent} new points, {len(shown)} figures up to date; {tracker.where}"


def pictures(root: Path) -> list[Picture]:
    """The figures of a comparison that has tables and at least a finished run."""
    from archbench.reports.figures import plot
    from archbench.reports.figures.figure import View
    from archbench.reports.page import assemble
    from archbench.reports.report import Report

    if not (root / "tables" / "runs.parquet").is_file():
        return []
    try:
        shown = View(Report(assemble.gathered(root)), None, None)
    except ValueError as error:  # of the tables
        raise InputError(str(error)) from error
    drawn = []
    for name in FIGURES:
        with contextlib.suppress(ValueError):  # nothing to show
            caption = plot.figure(shown, name).caption
            file = io.BytesIO()
            plot.drawn(shown, name).savefig(file, format="png", dpi=120, metadata={"Software": None})
            drawn.append(Picture(name, caption, file.getvalue()))
    return drawn


def began(point: Point, facts: Mapping[str, Any]) -> float:
    """Unix time of a point, assuming that training ended just now."""
    return time.time() - max(float(facts.get("train_seconds") or point.seconds) - point.seconds, 0.0)
