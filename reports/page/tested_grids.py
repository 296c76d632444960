"""Grids of what was tested: contrasts, gates, controls and conditions."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from archbench.reports.analysis.contrasts import Alternative, Answers, Contrast, turned
from archbench.reports.analysis.controls import is_as_expected
from archbench.reports.analysis.phrase import decided_after, minimum_detectable, phrase, uncorrected
from archbench.reports.analysis.report import Report
from archbench.reports.analysis.sequential import Rule
from archbench.reports.analysis.verdicts import same_outcome
from archbench.reports.base import formatting
from archbench.reports.page.grids import Grid, GridCell, text_cell

ALTERNATIVES: Final[Mapping[Alternative, str]] = {
    "welch": "by Welch's test",
    "pooled": "with one variance for all architectures in primary contrasts",
}
SAVED: Final = "saved by the right sources"
GATE_COLUMNS: Final = ("bits per byte", "bigram", SAVED, "accuracy", "majority class")
DETECTABLE: Final = GridCell("detectable", "minimum difference")
CONTRASTS_HEAD: Final = (
    text_cell("data set"),
    text_cell("contrast"),
    GridCell("difference"),
    GridCell("p"),
    GridCell("margin"),
    text_cell("outcome"),
    DETECTABLE,
    GridCell("seeds"),
    GridCell("to decide", "seeds each"),
)


def contrasts(tested: Sequence[Contrast]) -> Grid:
    """A row for each contrast: what was seen, what is decided, what could have been detected."""
    several = any(contrast.condition for contrast in tested)
    rows = [
        (
            text_cell(contrast.dataset),
            *([text_cell(contrast.condition)] if several else []),
            _pair(contrast.first, contrast.second),
            GridCell(difference(contrast), contrast.metric.label),
            _p(contrast),
            GridCell(f"{contrast.margin:g}" if math.isfinite(contrast.margin) else formatting.MISSING),
            _outcome(contrast),
            GridCell(minimum_detectable(contrast)),
            GridCell(str(contrast.seeds)),
            _seeds(contrast),
        )
        for contrast in tested
    ]
    return Grid((*CONTRASTS_HEAD[:1], *([text_cell("condition")] if several else []), *CONTRASTS_HEAD[1:]), tuple(rows))


def _p(contrast: Contrast) -> GridCell:
    """The p value; below it those by other rules for the variance between seeds, as far as they are known."""
    others = {"Welch": contrast.p_welch, "pooled": contrast.p_pooled, "paired": contrast.p_paired}
    known = [f"{rule} {formatting.p(value)}" for rule, value in others.items() if not math.isnan(value)]
    return GridCell(formatting.p(contrast.p), "\n".join(known), "lines")


def gates(report: Report) -> Grid:
    """A row for each data set and architecture whose gates were measured; none where that holds for no architecture."""
    measured = [
        (comparison.group.dataset, gate)
        for comparison in report.first
        for cell in comparison.scored
        if (gate := report.comparisons.gate(comparison.group, cell.architecture)).measured
    ]
    numbers = [
        (
            formatting.value(gate.bits),
            formatting.value(gate.bigram),
            formatting.interval(gate.source),
            formatting.value(gate.accuracy),
            formatting.value(gate.majority),
        )
        for _, gate in measured
    ]
    known = [column for column, cells in enumerate(zip(*numbers, strict=True)) if set(cells) != {formatting.MISSING}]
    head = (
        text_cell("data set"),
        text_cell("architecture"),
        *(GridCell(GATE_COLUMNS[column]) for column in known),
        text_cell("trained enough"),
    )
    rows = [
        (
            text_cell(dataset),
            text_cell(gate.architecture),
            *(GridCell(cells[column]) for column in known),
            GridCell("yes", kind="text") if gate.passed else GridCell("no", kind="text loses"),
        )
        for (dataset, gate), cells in zip(measured, numbers, strict=True)
    ]
    return Grid(head, tuple(rows))


def unchecked(report: Report) -> str:
    """The data sets on which no gate was measured, listed."""
    return formatting.listing(
        comparison.group.dataset
        for comparison in report.first
        if comparison.scored
        and not any(report.comparisons.gate(comparison.group, cell.architecture).measured for cell in comparison.scored)
    )


def _outcome(contrast: Contrast) -> GridCell:
    """An outcome; below it why an interval that excludes 0 decides nothing, or after how many seeds it was decided."""
    below = contrast.accounting if contrast.outcome == "accounting" else uncorrected(contrast)
    return GridCell(phrase(contrast, "cell"), below or decided_after(contrast).lower(), "text")


def alternatives(primary: Sequence[Contrast]) -> str:
    """Which primary contrasts come out differently under other rules for the variance; empty if none was tested."""
    tested = [contrast for contrast in primary if contrast.outcome not in ("unknown", "untrained")]
    changed = []
    for contrast in tested:
        others = [(words, contrast.with_variance_rule(rule)) for rule, words in ALTERNATIVES.items()]
        named = [f"{phrase(other, 'cell')} {words}" for words, other in others if other.outcome != contrast.outcome]
        if named:
            changed.append(f"{contrast.first} vs. {contrast.second} on {contrast.dataset} ({'; '.join(named)})")
    if changed:
        return (
            f"With other estimates of the variance between seeds, these outcomes differ: {formatting.listing(changed)}."
        )
    return f"The outcome is the same {' and '.join(ALTERNATIVES.values())}." if tested else ""


def added_seeds(rule: Rule | None) -> list[str]:
    """When an experiment that adds seeds was tested, and what that costs; none for other experiments."""
    if rule is None:
        return []
    first = [str(count) for count in sorted(set(rule.seeds.values()))]
    sentences = [
        f"Seeds were added while contrasts were not decided: tests after {' or '.join(first)} seeds and after each "
        f"further one up to {rule.max_seeds}; half of the 5% error is spent at the last test, the other half equally "
        "at the earlier ones. p values include this; differences and intervals are those at the decision."
    ]
    if rule.earlier:
        counts = formatting.listing(map(str, rule.earlier))
        sentences.append(
            f"The maximum number of seeds was {counts} before. It was changed after results were seen, so the error "
            "rate of 5% is not guaranteed."
        )
    return sentences


def controls(tested: Sequence[Contrast]) -> Grid:
    """The expected outcome of each control, and the outcome."""
    before = ("data set", "control", "expected", "difference", "p")
    head = (*map(text_cell, before), DETECTABLE, text_cell("outcome"), text_cell(""))
    expected = {"same": "no difference", "ahead": "a difference"}
    rows = [
        (
            text_cell(control.dataset),
            _pair(control.first, control.second),
            text_cell(expected[control.about]),
            GridCell(difference(control)),
            GridCell(formatting.p(control.p)),
            GridCell(minimum_detectable(control)),
            _outcome(control),
            text_cell({True: "✓ as expected", False: "✗ not as expected", None: ""}[is_as_expected(control)]),
        )
        for control in tested
    ]
    return Grid(head, tuple(rows))


def factors(tested: Sequence[Contrast]) -> Grid:
    """Pairs of designs and the factors in which they differ."""
    head = ("what changes", "data set", "contrast", "difference", "outcome")
    rows = [
        (
            text_cell(factor.about),
            text_cell(factor.dataset),
            _pair(factor.first, factor.second),
            GridCell(difference(factor), factor.metric.label),
            text_cell(phrase(factor, "cell")),
        )
        for factor in tested
    ]
    return Grid(tuple(map(text_cell, head)), tuple(rows))


def sensitivity(tested: Answers) -> Grid:
    """The primary pairs under every condition, side by side, each by that condition; a changed outcome is marked."""
    pairs = list(dict.fromkeys((contrast.first, contrast.second) for contrast in tested.primary))
    contrasts = [*tested.primary, *(contrast for contrast in tested.exploratory if contrast.condition)]
    settings = list(dict.fromkeys((contrast.dataset, contrast.condition) for contrast in contrasts))
    several = [dataset for dataset, condition in settings if condition]
    order = [dataset for dataset, _ in settings]
    head = (text_cell("data set"), text_cell("condition"), *(_pair(*pair) for pair in pairs))
    rows = []
    for dataset, condition in sorted(settings, key=lambda setting: order.index(setting[0])):
        if dataset not in several:
            continue
        by_pair = {
            frozenset((contrast.first, contrast.second)): contrast
            for contrast in contrasts
            if (contrast.dataset, contrast.condition) == (dataset, condition)
        }
        first = {frozenset((contrast.first, contrast.second)): contrast for contrast in tested.primary_on(dataset)}
        cells = [_under(by_pair.get(frozenset(pair)), first.get(frozenset(pair)), pair) for pair in pairs]
        if any(cell.text for cell in cells):
            rows.append((text_cell(dataset), text_cell(condition or "first condition"), *cells))
    return Grid(head, tuple(rows))


def _under(contrast: Contrast | None, first: Contrast | None, pair: tuple[str, str]) -> GridCell:
    if contrast is None or contrast.outcome == "unknown":
        return GridCell("", kind="quiet")
    toward = contrast if (contrast.first, contrast.second) == pair else turned(contrast)
    changed = first is not None and first.outcome != "unknown" and not same_outcome(first, toward)
    return GridCell(difference(toward), phrase(contrast.ignoring_accounting, "cell") + " (changed)" * changed)


def _pair(first: str, second: str) -> GridCell:
    return GridCell(first, f"vs. {second}", "text")


def difference(contrast: Contrast) -> str:
    return formatting.interval(contrast.difference, contrast.metric.decimals)


def _seeds(contrast: Contrast) -> GridCell:
    """How many seeds each would decide it, and what they would show."""
    if contrast.ignoring_accounting.decided or contrast.outcome == "unknown":
        return GridCell(formatting.MISSING)
    if contrast.seeds_needed is None:
        return GridCell("more examples")
    return GridCell(
        f"{contrast.seeds_needed}", f"for {'equality' if contrast.needed_to_show == 'equality' else 'a difference'}"
    )
