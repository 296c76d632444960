"""The budget audit: what every architecture was given, against what it should have been given."""

import math
from collections.abc import Callable
from typing import Final

import pandas as pd

from archbench.reports.analysis.comparison import Group
from archbench.reports.base import formatting
from archbench.reports.page.grids import Entry, Grid, known, name, plain, span
from archbench.runs.experiment.spec import HELD

AXES: Final = {
    "parameters": ("parameters", "target_parameters", 0.01, formatting.number),
    "train_tokens": ("training tokens", "target_tokens", 0.01, formatting.number),
    "train_flops": ("training FLOPs", "target_flops", 0.01, formatting.number),
    "train_seconds": ("training time", "target_seconds", 0.1, formatting.seconds),
}
_FURTHER: Final = {
    "embedding_parameters": ("embedding parameters", formatting.number),
    "buffers": ("buffers", formatting.number),
    "depth": ("depth", formatting.count),
    "hidden": ("feed-forward width", formatting.count),
    "train_loss_tokens": ("tokens with loss", formatting.number),
    "executed_flops": ("executed FLOPs", formatting.number),
    "optimizer_flops": ("optimizer FLOPs", formatting.number),
    "tokens_per_parameter": ("tokens a parameter", formatting.number),
    "epochs": ("epochs", formatting.number),
    "tokens_per_second": ("tokens/s", formatting.number),
    "peak_memory_bytes": ("peak memory", formatting.memory),
}
_OF_RUN: Final = {
    "seed": ("seed", formatting.count),
    "parameters": ("parameters", formatting.count),
    "embedding_parameters": ("embedding parameters", formatting.count),
    "buffers": ("buffers", formatting.count),
    "width": ("width", formatting.count),
    "heads": ("heads", formatting.count),
    "depth": ("depth", formatting.count),
    "hidden": ("feed-forward width", formatting.count),
    "steps": ("steps", formatting.count),
    "train_tokens": ("training tokens", formatting.count),
    "train_loss_tokens": ("tokens with loss", formatting.count),
    "train_flops": ("training FLOPs", formatting.number),
    "executed_flops": ("executed FLOPs", formatting.number),
    "optimizer_flops": ("optimizer FLOPs", formatting.number),
    "tokens_per_parameter": ("tokens a parameter", formatting.number),
    "epochs": ("epochs", formatting.number),
    "train_seconds": ("training time", formatting.seconds),
    "tokens_per_second": ("tokens/s", formatting.number),
    "peak_memory_bytes": ("peak memory", formatting.memory),
    "learning_rate": ("learning rate", formatting.number),
}


def budget(group: Group) -> Grid:
    """What each architecture was given: the axes of the budget with their deviation, then everything else.

    An axis that the match holds equal is checked against its target (against the first architecture where the records
    name no target); any other axis is compared with the first architecture's.
    """
    axes = [axis for axis in AXES if known(group.runs, axis)]
    further = {key: value for key, value in _FURTHER.items() if _is_shown(group.runs, key)}
    held = _held(group)
    head = [name("architecture"), *(Entry(AXES[axis][0], "held equal" if axis in held else "") for axis in axes)]
    head += [Entry(title) for title, _ in further.values()]
    rows = []
    for architecture, runs in group.runs.groupby("architecture", sort=False):
        entries = [_axis(group, runs, axis, axis in held) for axis in axes]
        entries += [Entry(span(runs, key, form)) for key, (_, form) in further.items()]
        rows.append((name(str(architecture)), *entries))
    return Grid(tuple(head), tuple(rows))


def _held(group: Group) -> tuple[str, ...]:
    """The columns that the group's match holds equal."""
    match = next(iter(group.runs["match"].dropna()), "")
    return tuple(axis if axis == "parameters" else f"train_{axis}" for axis in HELD.get(match, ()))


def every_run(group: Group) -> Grid:
    """A row for each run of the group."""
    shown = {key: value for key, value in _OF_RUN.items() if _is_shown(group.runs, key)}
    head = (name("run"), *(Entry(title) for title, _ in shown.values()), name("device"), name("status"))
    columns = [_column(group.runs[key], form) for key, (_, form) in shown.items()]
    texts = [[name(plain(value)) for value in group.runs[key]] for key in ("run", "device", "status")]
    return Grid(head, tuple(zip(texts[0], *columns, *texts[1:], strict=True)))


def _is_shown(runs: pd.DataFrame, column: str) -> bool:
    """Whether a column has numbers; of buffers, which hardly any architecture has, one that is not 0."""
    return known(runs, column) and (column != "buffers" or bool((runs[column] > 0).any()))


def off_budget(group: Group) -> list[str]:
    """The architectures with a run that misses an axis which was to be held equal."""
    held = _held(group)
    return [
        str(architecture)
        for architecture, runs in group.runs.groupby("architecture", sort=False)
        if any(abs(_deviation(group, runs, axis)) > AXES[axis][2] for axis in held if known(group.runs, axis))
    ]


def _axis(group: Group, runs: pd.DataFrame, axis: str, held: bool) -> Entry:
    _, _, tolerance, form = AXES[axis]
    if not held:
        first = _reference(group, axis)
        ratio = runs[axis].astype(float).mean() / first if first else math.nan
        return Entry(
            span(runs, axis, form),
            f"{ratio:.2f}\N{MULTIPLICATION SIGN} {group.architectures[0]}" if math.isfinite(ratio) else "",
        )
    deviation = _deviation(group, runs, axis)
    if not math.isfinite(deviation):
        return Entry(span(runs, axis, form))
    mark = "✓ within" if abs(deviation) <= tolerance else "✗ beyond"
    return Entry(span(runs, axis, form), f"{formatting.percent(deviation)} {mark} {tolerance:.0%}")


def _deviation(group: Group, runs: pd.DataFrame, axis: str) -> float:
    """The largest relative deviation of a run from its target (from the first architecture's mean without one)."""
    target = AXES[axis][1]
    values = runs[axis].astype(float)
    aims = runs[target].astype(float) if known(runs, target) else _reference(group, axis)
    deviations = (values / aims - 1).dropna()
    return math.nan if deviations.empty else float(deviations.iloc[int(deviations.abs().argmax())])


def _reference(group: Group, axis: str) -> float:
    first = group.runs[group.runs["architecture"] == group.architectures[0]]
    return float(first[axis].astype(float).mean())


def _column(values: "pd.Series[float]", form: Callable[[float], str]) -> list[Entry]:
    return [Entry(form(value)) for value in values.astype("float64")]
