"""Shows a comparison while it runs: the matrix of runs and those at work, or plain lines without a terminal."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from archbench.runs.experiment.sections import ADAPTED, FINETUNE
from archbench.runs.plans.messages import Capacity, Ended, Event, LogLine, PlannedRun, Progress, visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

PREDICTIVE_SHARE = 0.05  # share of a run after which its speed is used to predict the remaining time
EVERY_SECONDS = 30.0
NUMBER = re.compile(r"[-+0-9.,e]+( (s|min|h( [0-9]+ min)?))?")
MARKS = {"waiting": "·", "working": "▶", "done": "●", "skipped": "●", "failed": "✗", "interrupted": "‖"}
STYLES = {"working": "yellow", "done": "green", "skipped": "green dim", "failed": "bold red", "waiting": "dim"}


@dataclass(frozen=True)
class RunState:
    """The state of one run: ``expected`` and ``spent`` seconds, ``spent`` only after its end.

    ``scoring`` is the part of the expected seconds in which the trained model is scored; ``condition`` says what the
    run starts from and how it is adapted, where runs differ in that.
    """

    run: str
    dataset: str
    architecture: str
    expected: float
    scoring: float = 0.0
    condition: str = ""
    status: str = "waiting"
    began: float = 0.0
    spent: float = 0.0
    latest: Progress | None = None

    @property
    def group(self) -> tuple[str, str]:
        return self.dataset, self.architecture

    @property
    def fraction(self) -> float:
        """How much of the run is done, 0 to 1."""
        share = min(self.scoring / self.expected, 1.0)
        if self.latest is None or not self.latest.total:
            return 0.0 if self.latest is None or self.latest.phase != "score" else 1 - share
        part = min(self.latest.done / self.latest.total, 1.0)
        return {"data": 0.0, "train": (1 - share) * part, "score": 1 - share * (1 - part)}[self.latest.phase]


@dataclass
class Tracker:
    """Follows the events of a comparison and estimates what is left; ``clock`` gives seconds.

    ``later`` are the expected seconds of runs that wait for trials or pretrainings and are planned after these.
    """

    jobs: int
    clock: Callable[[], float] = time.monotonic
    later: Sequence[float] = ()
    states: dict[str, RunState] = field(default_factory=dict)

    def add(self, plan: PlannedRun) -> None:
        row = plan.row()
        dataset, architecture = str(row.get("dataset", "")), str(row.get("architecture", ""))
        expected = max(plan.expected_seconds, 1e-3)
        self.states[plan.run] = RunState(
            plan.run, dataset, architecture, expected, plan.scoring_seconds, condition(row)
        )

    def hear(self, event: Progress | Ended) -> RunState:
        """Receives an event and updates the state of its run."""
        state = self.states[event.run]
        if isinstance(event, Ended):
            spent = self.clock() - state.began if state.status == "working" else 0.0
            state = replace(state, status=event.status, spent=spent)
        elif state.status == "working":
            state = replace(state, latest=event)
        else:
            state = replace(state, status="working", began=self.clock(), latest=event)
        self.states[event.run] = state
        return state

    def with_status(self, *statuses: str) -> list[RunState]:
        return [state for state in self.states.values() if state.status in statuses]

    def tokens_per_second(self) -> float:
        """Speed of all runs that train now, together."""
        latest = [state.latest for state in self.with_status("working")]
        return sum(progress.tokens_per_second or 0.0 for progress in latest if progress and progress.phase == "train")

    def seconds_left(self) -> float:
        """Expected time of all remaining runs, corrected by how long runs have taken so far.

        The correction is that of the runs of the same architecture on the same data set, where some have ended.
        """
        general = slowness(self._seconds_taken(self.states.values()))
        alike = {
            group: slowness(self._seconds_taken(states))
            for group, states in self._groups().items()
            if any(state.spent > 0 for state in states)
        }
        unended = self.with_status("waiting", "working")
        left = [state.expected * alike.get(state.group, general) * (1 - state.fraction) for state in unended]
        left += [expected * general for expected in self.later]
        return max(sum(left) / max(self.jobs, 1), max(left, default=0.0))

    def headline(self, between: bool = False) -> str:
        """``3 of 12 runs, 1 failed, 2 at work, 18,400 tokens/s, about 4 min left``.

        ``between`` two runs, the number at work and the speed are left out.
        """
        ended = len(self.with_status("done", "skipped", "failed"))
        parts = [f"{ended} of {len(self.states)} runs" + (f" (then {len(self.later)} more)" if self.later else "")]
        if failed := len(self.with_status("failed")):
            parts.append(f"{failed} failed")
        if not between and (working := len(self.with_status("working"))):
            parts.append(f"{working} at work")
        if not between and (speed := self.tokens_per_second()):
            parts.append(f"{speed:,.0f} tokens/s")
        if left := self.seconds_left():
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)

    def _groups(self) -> dict[tuple[str, str], list[RunState]]:
        groups: dict[tuple[str, str], list[RunState]] = {}
        for state in self.states.values():
            groups.setdefault(state.group, []).append(state)
        return groups

    def _seconds_taken(self, states: Iterable[RunState]) -> list[tuple[float, float]]:
        """Seconds taken so far and seconds expected, for runs that are done and those at work."""
        now = self.clock()
        pairs = []
        for state in states:
            if state.status == "done" and state.spent > 0:
                pairs.append((state.spent, state.expected))
            elif state.status == "working" and state.fraction >= PREDICTIVE_SHARE:  # before, starting up takes most
                pairs.append((now - state.began, state.expected * state.fraction))
        return pairs


def slowness(pairs: Sequence[tuple[float, float]]) -> float:
    """Seconds taken for each second expected; 1 where nothing was expected."""
    expected = sum(pair[1] for pair in pairs)
    return sum(pair[0] for pair in pairs) / expected if expected > 0 else 1.0


class Display:
    """A context; called with an event it shows it. On a terminal the last lines of the screen are kept up to date."""

    def __init__(
        self,
        plans: Sequence[PlannedRun],
        jobs: int,
        console: "Console | None" = None,
        later: Sequence[PlannedRun] = (),
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self.tracker = Tracker(jobs, later=[plan.expected_seconds for plan in later])
        for plan in plans:
            self.tracker.add(plan)
        self.console = console or Console(file=sys.stderr, highlight=False, markup=False)
        live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.live = Live(get_renderable=self.render, console=self.console, refresh_per_second=4) if live else None
        self.last_line_at, self.machine_lines = self.tracker.clock(), set[str]()

    def __enter__(self) -> "Display":
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Capacity):
            self.tracker.jobs = event.jobs
            return
        if isinstance(event, LogLine):
            if not event.everywhere:
                self._say(f"{event.run}: {event.line}")
            elif event.line not in self.machine_lines:
                self.machine_lines.add(event.line)
                self._say(event.line)
            return
        state = self.tracker.hear(event)
        if isinstance(event, Ended):
            self._ended(event, state)
        elif not self.live and self.tracker.clock() - self.last_line_at >= EVERY_SECONDS:
            self._say(self.tracker.headline())

    def _ended(self, event: Ended, state: RunState) -> None:
        headline = "" if self.live else f"; {self.tracker.headline(between=True)}"
        run = f"{event.run} ({state.condition})" if state.condition else event.run
        if event.status == "failed":
            self._say(f"{run} failed: {event.error}{headline}")
        elif not self.live and event.status != "skipped":
            self._say(f"{run} {event.status} in {duration(state.spent)}{headline}")

    def render(self) -> "RenderableType":
        """The matrix of data sets and architectures, a mark for each run; below it the runs at work."""
        from rich.console import Group
        from rich.text import Text

        return Group(_matrix(self.tracker), _working(self.tracker), Text(self.tracker.headline(), style="bold"))

    def _say(self, line: str) -> None:
        self.last_line_at = self.tracker.clock()
        self.console.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def condition(row: Mapping[str, Any]) -> str:
    """``from phrases, 100 examples, finetuned``: what a run starts from; empty where its plan does not say."""
    start, examples, shots = row.get("start"), row.get("examples"), row.get("shots")
    if not start:
        return ""
    parts = [f"from {start}"]
    if shots is not None:
        parts.append("no shots" if shots == 0 else f"{shots} shot{'s' if shots > 1 else ''}")
    elif examples:
        parts.append(f"{examples:,} example{'s' if examples > 1 else ''}")
    return ", ".join([*parts, ADAPTED[row.get("adapt", FINETUNE)]])


def some_runs(count: int) -> str:
    """A number of runs in words."""
    return "1 run" if count == 1 else f"{count} runs"


def duration(seconds: float) -> str:
    """``8 s``, ``4 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of text, the head first; columns of numbers stand at the right."""
    columns = [
        [cell.rjust(width) if right else cell.ljust(width) for cell in column]
        for column in zip(*rows, strict=True)
        for width in [max(len(cell) for cell in column)]
        for right in [all(NUMBER.fullmatch(cell) for cell in column[1:])]
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def _matrix(tracker: Tracker) -> "Table":
    from rich.table import Table
    from rich.text import Text

    states = list(tracker.states.values())
    architectures = list(dict.fromkeys(state.architecture for state in states))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("", *architectures):
        table.add_column(Text(visible(title)), justify="left")
    for dataset in dict.fromkeys(state.dataset for state in states):
        cells: list[Any] = [Text(dataset)]
        for architecture in architectures:
            cell = [state for state in states if (state.dataset, state.architecture) == (dataset, architecture)]
            marks = [(MARKS[state.status], STYLES.get(state.status, "")) for state in cell]
            cells.append(Text.assemble(*marks))
        table.add_row(*cells)
    return table


def _working(tracker: Tracker) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for state in tracker.with_status("working"):
        latest = state.latest
        loss = f"loss {latest.loss:.3f}" if latest and latest.loss is not None else ""
        speed = f"{latest.tokens_per_second:,.0f} tokens/s" if latest and latest.tokens_per_second else ""
        phase = latest.phase if latest else ""
        bar = ProgressBar(total=1.0, completed=state.fraction, width=20)
        run = Text(visible(state.run), no_wrap=True, overflow="ellipsis")
        table.add_row(run, phase, bar, loss, speed, Text(visible(state.condition)))
    return table
