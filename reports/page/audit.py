"""The budget audit: what every architecture got, against what it should have got."""

import math
from collections.abc import Sequence
from typing import Final

import pandas as pd

from archbench.reports.analysis.conditions import condition
from archbench.reports.analysis.groups import Group
from archbench.reports.base import formatting
from archbench.reports.page.grids import Grid, GridCell, known, span, text_cell
from archbench.runs.experiment.spec import HELD

AXES: Final = {
    "parameters": ("parameters", "target_parameters", 0.01, formatting.number),
    "train_tokens": ("training tokens", "target_tokens", 0.01, formatting.number),
    "train_loss_tokens": ("tokens with loss", "target_loss_tokens", 0.01, formatting.number),
    "train_flops": ("training FLOPs", "target_flops", 0.01, formatting.number),
    "train_seconds": ("training time", "target_seconds", 0.1, formatting.seconds),
}
_FURTHER: Final = {
    "embedding_parameters": ("embedding parameters", formatting.number),
    "buffers": ("buffers", formatting.number),
    "depth": ("depth", formatting.count),
    "hidden": ("feed-forward width", formatting.count),
    "executed_flops": ("executed FLOPs", formatting.number),
    "optimizer_flops": ("optimizer FLOPs", formatting.number),
    "tokens_per_parameter": ("tokens per parameter", formatting.number),
    "epochs": ("epochs", formatting.number),
    "tokens_per_second": ("tokens/s", formatting.number),
    "peak_memory_bytes": ("peak memory", formatting.memory),
}
_BESIDE: Final = (
    "embedding_parameters",
    "depth",
    "hidden",
    "executed_flops",
    "tokens_per_parameter",
    "epochs",
)  # on the page


def budget(groups: Sequence[Group]) -> Grid:
    """What each architecture of these groups, one of each data set, got: the budget with deviations, then the rest.

    An axis that the match holds equal is checked against its target (against the first architecture where the records
    name no target); any other axis is compared with the first architecture's.
    """
    axes = [axis for axis in AXES if any(known(group.runs, axis) for group in groups)]
    further = [key for key in _BESIDE if any(_is_visible(group.runs, key) for group in groups)]
    further += ["buffers"] if any(_is_visible(group.runs, "buffers") for group in groups) else []
    held = [set(_held(group)) for group in groups]
    heads = [GridCell(AXES[axis][0], "held equal" if all(axis in columns for columns in held) else "") for axis in axes]
    heads += [GridCell(_FURTHER[key][0], "layers per stack" if key == "depth" else "") for key in further]
    rows = [
        (
            text_cell(group.dataset),
            text_cell(architecture),
            *(_axis(group, runs, axis, axis in _held(group)) for axis in axes),
            *(GridCell(span(runs, key, _FURTHER[key][1])) for key in further),
        )
        for group in groups
        for architecture, runs in group.by_architecture.items()
    ]
    return Grid((text_cell("data set"), text_cell("architecture"), *heads), tuple(rows))


def budget_rows(groups: Sequence[Group]) -> list[dict[str, object]]:
    """What each architecture of each group got, as rows of a table: least and greatest over its runs.

    ``<axis>_deviation`` is the largest relative deviation of a run from the target of an axis that was held equal, and
    ``<axis>_relative`` the mean relative to the first architecture's of one that was not; of training time the median,
    since a run may have shared its core or have been suspended.
    """
    return [
        {
            "dataset": group.dataset,
            "condition": condition(group),
            "architecture": architecture,
            "runs": len(runs),
            **_ends(runs, [*AXES, *_FURTHER]),
            **_deviations(group, runs),
        }
        for group in groups
        for architecture, runs in group.by_architecture.items()
    ]


def _ends(runs: pd.DataFrame, columns: Sequence[str]) -> dict[str, object]:
    ends: dict[str, object] = {}
    for column in (column for column in columns if known(runs, column)):
        values = runs[column].astype(float)
        ends |= {f"{column}_least": values.min(), f"{column}_most": values.max()}
    return ends


def _deviations(group: Group, runs: pd.DataFrame) -> dict[str, object]:
    held = _held(group)
    return {
        f"{axis}_deviation" if axis in held else f"{axis}_relative": (
            _deviation(group, runs, axis) if axis in held else _relative(group, runs, axis)
        )
        for axis in AXES
        if known(group.runs, axis)
    }


def _relative(group: Group, runs: pd.DataFrame, axis: str) -> float:
    first = _reference(group, axis)
    return _typical(runs, axis) / first if first else math.nan


def _typical(runs: pd.DataFrame, axis: str) -> float:
    values = runs[axis].astype(float)
    return float(values.median() if axis == "train_seconds" else values.mean())


def _held(group: Group) -> tuple[str, ...]:
    """The columns that the group's match holds equal."""
    match = next(iter(group.runs["match"].dropna()), "")
    return tuple(axis if axis == "parameters" else f"train_{axis}" for axis in HELD.get(match, ()))


def _is_visible(runs: pd.DataFrame, column: str) -> bool:
    """Whether a column has numbers; of buffers, which hardly any architecture has, one that is not 0."""
    return known(runs, column) and (column != "buffers" or bool((runs[column] > 0).any()))


def off_budget(group: Group) -> list[str]:
    """The architectures with a run that misses an axis which was to be held equal."""
    held = _held(group)
    return [
        architecture
        for architecture, runs in group.by_architecture.items()
        if any(abs(_deviation(group, runs, axis)) > AXES[axis][2] for axis in held if known(group.runs, axis))
    ]


def _axis(group: Group, runs: pd.DataFrame, axis: str, held: bool) -> GridCell:
    _, _, tolerance, form = AXES[axis]
    if not held:
        ratio = _relative(group, runs, axis)
        return GridCell(
            span(runs, axis, form),
            f"{ratio:.2f}\N{MULTIPLICATION SIGN} {group.architectures[0]}" if math.isfinite(ratio) else "",
        )
    deviation = _deviation(group, runs, axis)
    if not math.isfinite(deviation):
        return GridCell(span(runs, axis, form))
    mark = "✓ within" if abs(deviation) <= tolerance else "✗ beyond"
    return GridCell(span(runs, axis, form), f"{formatting.percent(deviation)} {mark} {tolerance:.0%}")


def _deviation(group: Group, runs: pd.DataFrame, axis: str) -> float:
    """The largest relative deviation of a run from its target (without one, from the first architecture's)."""
    target = AXES[axis][1]
    values = runs[axis].astype(float)
    aims = runs[target].astype(float) if known(runs, target) else _reference(group, axis)
    deviations = (values / aims - 1).dropna()
    return math.nan if deviations.empty else float(deviations.iloc[int(deviations.abs().argmax())])


def _reference(group: Group, axis: str) -> float:
    return _typical(group.by_architecture[group.architectures[0]], axis)
