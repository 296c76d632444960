"""Budget that every architecture got, against what it should have got."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.page.elements import lede
from archbench.reports.page.elements.grids import Column, GridCell, known, span, title
from archbench.reports.page.elements.parts import Figure, Note, Section, Table, of_tables
from archbench.reports.page.sections import tuning
from archbench.reports.report import Report
from archbench.reports.results.groups import Group, placed
from archbench.runs.experiment.spec import HELD


class Axis(NamedTuple):
    """A quantity of a budget: its name, the column of its target, by how much a run may miss that, its format."""

    name: str
    target: str
    tolerance: float
    form: Callable[[float], str]


class Fact(NamedTuple):
    """A further quantity: its name and format, a second line of its head, whether the page's table has it."""

    name: str
    form: Callable[[float], str]
    below: str = ""
    shown: bool = False


class Share(NamedTuple):
    """An architecture on a data set, with its runs in their group."""

    group: Group
    architecture: str
    runs: pd.DataFrame


AXES: Final = {
    "parameters": Axis("parameters", "target_parameters", 0.01, formatting.number),
    "active_parameters": Axis("active parameters", "target_active_parameters", 0.01, formatting.number),
    "train_tokens": Axis("training tokens", "target_tokens", 0.01, formatting.number),
    "train_loss_tokens": Axis("tokens with loss", "target_loss_tokens", 0.01, formatting.number),
    "train_flops": Axis("training FLOPs", "target_flops", 0.01, formatting.number),
    "train_seconds": Axis("training time", "target_seconds", 0.1, formatting.seconds),
}
FACTS: Final = {
    "embedding_parameters": Fact("embedding parameters", formatting.number, shown=True),
    "buffers": Fact("buffers", formatting.number, shown=True),
    "depth": Fact("depth", formatting.count, "layers per stack", shown=True),
    "hidden": Fact("feed-forward width", formatting.count, shown=True),
    "executed_flops": Fact("executed FLOPs", formatting.number, shown=True),
    "optimizer_flops": Fact("optimizer FLOPs", formatting.number),
    "tokens_per_parameter": Fact("tokens per parameter", formatting.number, shown=True),
    "epochs": Fact("epochs", formatting.number, shown=True),
    "tokens_per_second": Fact("tokens/s", formatting.number),
    "peak_memory_bytes": Fact("peak memory", formatting.memory),
}


def shares(groups: Iterable[Group]) -> list[Share]:
    """Runs of each architecture of these groups."""
    return [Share(group, name, runs) for group in groups for name, runs in group.by_architecture.items()]


def columns(groups: Sequence[Group]) -> list[Column[Share]]:
    """The budget with deviations, then the rest.

    An axis that the match holds equal is checked against its target (against the first architecture where the records
    name no target); any other axis is compared with the first architecture's.
    """
    held = [set(_held(group)) for group in groups]
    return [
        Column("data set", lambda share: share.group.dataset, text=True),
        Column("architecture", lambda share: share.architecture, text=True),
        *(
            Column(GridCell(axis.name, "held equal" if all(key in keys for keys in held) else ""), partial(_axis, key))
            for key, axis in AXES.items()
            if any(_is_visible(group.runs, key) for group in groups)
        ),
        *(
            Column(GridCell(fact.name, fact.below), partial(_fact, key))
            for key, fact in FACTS.items()
            if fact.shown and any(_is_visible(group.runs, key) for group in groups)
        ),
    ]


def _fact(key: str, share: Share) -> str:
    return span(share.runs, key, FACTS[key].form)


def _is_visible(runs: pd.DataFrame, column: str) -> bool:
    """True if a column has numbers; of buffers not only 0; active parameters that are not all."""
    plain = {"buffers": 0, "active_parameters": runs["parameters"]}  # of most architectures
    return known(runs, column) and (column not in plain or bool((runs[column] != plain[column]).any()))


def rows(report: Report) -> Iterator[dict[str, object]]:
    """Rows with the budget of each architecture: least and greatest over its runs, trials and controls included.

    ``<axis>_deviation`` is the largest relative deviation of a run from the target of an axis that was held equal, and
    ``<axis>_relative`` the mean relative to the first architecture's of one that was not; of training time the median,
    since a run may have shared its core or have been suspended.
    """
    for share in shares([*report.comparisons.groups, *_others(report)]):
        place = {
            "dataset": share.group.dataset,
            "condition": share.group.condition,
            "architecture": share.architecture,
        }
        yield {**place, "runs": len(share.runs), **_ends(share.runs), **_deviations(share)}


def _others(report: Report) -> list[Group]:
    """The runs beside those that are compared, by data set and what they are for."""
    words = {"share": "parts of the budget", "control": "controls", "trial": "trials"}
    return [
        Group(str(dataset), "", condition, runs)
        for role, condition in words.items()
        for dataset, runs in placed(report.tables, role).groupby("dataset", sort=False)
    ]


def _ends(runs: pd.DataFrame) -> dict[str, object]:
    ends: dict[str, object] = {}
    for column in (column for column in (*AXES, *FACTS) if known(runs, column)):
        values = runs[column].astype(float)
        ends |= {f"{column}_least": values.min(), f"{column}_most": values.max()}
    return ends


def _deviations(share: Share) -> dict[str, object]:
    held = _held(share.group)
    return {
        f"{axis}_deviation" if axis in held else f"{axis}_relative": (
            _deviation(share, axis) if axis in held else _relative(share, axis)
        )
        for axis in AXES
        if known(share.group.runs, axis)
    }


def _relative(share: Share, axis: str) -> float:
    first = _reference(share.group, axis)
    return _typical(share.runs, axis) / first if first else math.nan


def _typical(runs: pd.DataFrame, axis: str) -> float:
    values = runs[axis].astype(float)
    return float(values.median() if axis == "train_seconds" else values.mean())


def _held(group: Group) -> tuple[str, ...]:
    """The columns that the group's match holds equal."""
    match = next(iter(group.runs["match"].dropna()), "")
    return tuple(axis if axis in AXES else f"train_{axis}" for axis in HELD.get(match, ()))


def _missed(report: Report) -> str:
    """The architectures with a run that misses an axis which was to be held equal; empty without any."""
    missed = [
        f"{share.architecture} on {title(share.group)}"
        for share in shares(report.comparisons.groups)
        if any(
            abs(_deviation(share, axis)) > AXES[axis].tolerance
            for axis in _held(share.group)
            if known(share.group.runs, axis)
        )
    ]
    return f"✗ Budget missed by more than the tolerance: {formatting.listing(missed)}." if missed else ""


def _axis(key: str, share: Share) -> GridCell:
    """A quantity; below it how far it is from its target, or what it is relative to the first architecture."""
    axis = AXES[key]
    text = span(share.runs, key, axis.form)
    if key not in _held(share.group):
        ratio = _relative(share, key)
        first = share.group.architectures[0]
        return GridCell(text, f"{ratio:.2f}\N{MULTIPLICATION SIGN} {first}" if math.isfinite(ratio) else "")
    deviation = _deviation(share, key)
    if not math.isfinite(deviation):
        return GridCell(text)
    mark = "✓ within" if abs(deviation) <= axis.tolerance else "✗ beyond"
    return GridCell(text, f"{formatting.percent(deviation)} {mark} {axis.tolerance:.0%}")


def _deviation(share: Share, axis: str) -> float:
    """The largest relative deviation of a run from its target (without one, from the first architecture's)."""
    target = AXES[axis].target
    values = share.runs[axis].astype(float)
    aims = share.runs[target].astype(float) if known(share.runs, target) else _reference(share.group, axis)
    deviations = (values / aims - 1).dropna()
    return math.nan if deviations.empty else float(deviations.iloc[int(deviations.abs().argmax())])


def _reference(group: Group, axis: str) -> float:
    return _typical(group.by_architecture[group.architectures[0]], axis)


def _first(report: Report) -> list[Group]:
    return [comparison.group for comparison in report.first]


BUDGET: Final = Table[Share](
    "budget",
    "Budget of each architecture",
    lambda report: shares(_first(report)),
    lambda report: columns(_first(report)),
    about="Ranges: minimum to maximum over runs. A quantity held equal is compared with its target; every other "
    "quantity is compared with the first architecture. Training time depends on what else the machine did; compare "
    "FLOPs. Training FLOPs are model FLOPs and count only unmasked attention; executed FLOPs count the full attention "
    "matrix. Neither includes the optimizer. The table shows the first condition; all conditions and columns: "
    '<a href="budget.csv">budget.csv</a>; all runs: <a href="../tables/runs.parquet">runs.parquet</a>.',
    holds="sizes, tokens and FLOPs",
)
SECTION: Final = Section(
    "Methods: budget of each architecture",
    name="budget",
    short="Methods",
    show=(
        Note(of_tables(lede.paragraph), look=""),
        Note(_missed, "warning"),
        Figure("anatomy"),
        BUDGET,
        tuning.SECTION,
    ),
)
