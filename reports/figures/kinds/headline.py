"""Scores of the architectures on each data set, and beside them how far each is from the best."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from archbench.reports.base import formatting
from archbench.reports.base.formatting import capitalized, listing
from archbench.reports.base.statistics import Interval
from archbench.reports.contrasts.contrast import Answers, Contrast
from archbench.reports.contrasts.verdicts import baseline_label
from archbench.reports.contrasts.words import BELOW_GATE_MARK, BOLD, MARKED_BELOW_GATE, OUTCOMES
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import (
    DASHED,
    Looks,
    at_right,
    cut_interval,
    edge_arrow,
    mean,
    name_rows,
    rows_height,
    upright_grid,
)
from archbench.reports.figures.canvas.palette import Look, label, quiet, rule
from archbench.reports.figures.figure import Figure, View, named, of_architecture, of_baseline, titled
from archbench.reports.report import Report
from archbench.reports.results.comparison import UNTRAINED, Cell, Comparison
from archbench.reports.results.gates import BELOW_GATE, failing

CAPTION: Final = (
    "Left: means over seeds on the test split (large marks), 95% intervals over {covers} (bars), single seeds (faint "
    f"marks) and baselines (grey). Bold: {BOLD}. Right: difference from the best mean, with "
    "its 95% interval: of primary contrasts corrected as their verdicts are (Holm), so that it excludes 0 where the "
    "corrected p is below 0.05; of other pairs not corrected. Shaded: the equivalence margin. Arrow at an edge: the "
    f"value lies, or the interval continues, outside the panel. Grey values, {MARKED_BELOW_GATE}."
)
_CLOSE: Final = 3.0  # margins from 0 that a panel of differences shows at least
_ROOM: Final = 1.25  # times the interval of the second best that it shows


def headline(view: View) -> Figure:
    """All architectures under the first condition of each data set."""
    return _figure("headline", "Scores on the test split", view, view.judged)


def in_short(view: View) -> Figure:
    """The architectures of the primary contrasts, where that leaves something out."""
    brief = [_short(comparison, view.report.tested.primary_on(comparison)) for comparison in view.judged]
    shorter = any(len(entry.cells) > len(short.cells) for entry, short in zip(view.judged, brief, strict=True))
    scored = [comparison for comparison in brief if comparison.scored and shorter]
    return _figure("in_short", "The architectures of the primary contrasts", view, scored)


def _figure(name: str, title: str, view: View, scored: Sequence[Comparison]) -> Figure:
    partly = any(not comparison.resamples_examples for comparison in scored)
    covers = "seeds, and over test examples where single answers are recorded" if partly else "seeds and test examples"
    return Figure(
        name=name,
        title=title,
        caption=CAPTION.format(covers=covers),
        panels=tuple(panel for comparison in scored for panel in _panels(comparison, view)),
        architectures=named(scored),
        numbers=pd.DataFrame([row for comparison in scored for row in numbers(comparison, view.report)]),
        keyed=False,
        takeaway=_takeaway(scored, view.report.tested),
    )


def _panels(comparison: Comparison, view: View) -> Iterator[Panel]:
    title, below = titled(comparison)
    about = f"{comparison.metric.label} on {comparison.group.dataset}, by architecture"
    gaps = differences(comparison, view.report.tested)
    weak = [gate.architecture for gate in view.report.comparisons.below_gates(comparison)]
    yield Panel(
        title=title,
        below=below,
        height=rows_height(rows(comparison)),
        draw=partial(scores, comparison=comparison, looks=view.looks, weak=weak),
        description=about,
    )
    if gaps:
        best = best_shown(comparison)
        margin = view.report.comparisons.margins.get(comparison.metric.name, math.nan)
        yield Panel(
            title=title,
            below=f"against {label(best)}, the best mean{_correction(comparison, best, view.report.tested)}",
            height=rows_height([cell.architecture for cell in comparison.scored]),
            draw=partial(behind, comparison=comparison, gaps=gaps, looks=view.looks, margin=margin),
            description=f"Difference in {comparison.metric.label} from {best} on {comparison.group.dataset}",
        )


def _correction(comparison: Comparison, best: str, tested: Answers) -> str:
    """A few words that say if the intervals of a panel of differences are corrected."""
    corrected = any(
        contrast.corrected_for > 1 and math.isfinite(contrast.p) for contrast in _against(comparison, best, tested)
    )
    return "; corrected (Holm)" if corrected else ""


def _short(comparison: Comparison, primary: Sequence[Contrast]) -> Comparison:
    """The comparison with only the architectures that the primary contrasts name, and the best baseline."""
    in_contrasts = {name for contrast in primary for name in (contrast.first, contrast.second)}
    cells = tuple(cell for cell in comparison.cells if cell.architecture in in_contrasts)
    return replace(
        comparison,
        cells=cells,
        baselines=dict([comparison.best_simple_baseline]) if comparison.best_simple_baseline else {},
    )


def best_shown(comparison: Comparison) -> str:
    """The architecture with the best mean among those shown; empty without one, or if the metric has no direction."""
    gain = comparison.metric.gain
    scored = comparison.scored if comparison.metric.better else ()
    return max(scored, key=lambda cell: gain(cell.interval.mean)).architecture if scored else ""


def differences(comparison: Comparison, tested: Answers) -> dict[str, Interval]:
    """The differences of all other architectures from the best mean; below 0 is worse.

    The intervals of primary contrasts are corrected as their verdicts are.
    """
    against_best = _against(comparison, best_shown(comparison), tested)
    return {contrast.first: contrast.corrected for contrast in against_best}


def gates_sentence(view: View, comparisons: Sequence[Comparison]) -> str:
    """Who is below its gate where, after a mean over data sets; empty where nobody is."""
    gates = [
        (comparison.group.dataset, gate)
        for comparison in comparisons
        for gate in view.report.comparisons.below_gates(comparison)
    ]
    return f" {capitalized(BELOW_GATE)}: {failing(gates)}." if gates else ""


def _against(comparison: Comparison, best: str, tested: Answers) -> list[Contrast]:
    """The contrast of each other scored architecture with ``best``, turned so that ``best`` is the second."""
    where, others = (comparison.group.dataset, comparison.metric), [cell.architecture for cell in comparison.scored]
    pairs = (tested.pair(name, best) for name in others if name != best)
    contrasts = (next((entry for entry in pair if (entry.dataset, entry.metric) == where), None) for pair in pairs)
    return [contrast for contrast in contrasts if contrast is not None]


def numbers(comparison: Comparison, report: Report) -> Iterator[dict[str, object]]:
    """The rows of a comparison as those of a table."""
    gaps = differences(comparison, report.tested)
    for cell in comparison.cells:
        yield {
            **of_architecture(comparison, cell),
            "best": cell.best,
            **gaps.get(cell.architecture, Interval(math.nan)).columns("from_best", "from_best_"),
            "gate": report.comparisons.gate(comparison.group, cell.architecture).reason,
        }
    for name, value in comparison.baselines.items():
        yield of_baseline(comparison, name, value)


def rows(comparison: Comparison) -> list[str]:
    """The names of a headline's rows: architectures, then baselines."""
    return [cell.architecture for cell in comparison.scored] + [*map(baseline_label, _baselines(comparison))]


def scores(axes: Axes, comparison: Comparison, looks: Looks, weak: Collection[str] = ()) -> None:
    """A row for each architecture (seeds faint, mean and interval on top) and each baseline, values at the right.

    The values of the architectures in ``weak``, which are below their gates, are grey and have a mark.
    """
    cells = comparison.scored
    baselines = _baselines(comparison)
    limits = _limits(comparison)
    axes.set_xlim(*limits)
    for row, cell in enumerate(cells):
        _row(axes, row, cell, looks[cell.architecture])
        colour = quiet() if cell.architecture in weak else None
        text, mark = formatting.interval(cell.interval, comparison.metric.decimals), BELOW_GATE_MARK * bool(colour)
        at_right(axes, row, f"{text}{mark}", cell.best, colour, (f"{text.partition(' ')[0]}{mark}", mark))
    for row, value in enumerate(baselines.values(), len(cells)):
        _reference(axes, row, value, limits)
        at_right(axes, row, formatting.value(value, comparison.metric.decimals), False, quiet(), ("",))
    name_rows(axes, rows(comparison))
    for tick in axes.get_yticklabels()[len(cells) :]:
        tick.set_color(quiet())
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"{comparison.metric.label} ({comparison.metric.direction})")
    upright_grid(axes)


def behind(
    axes: Axes,
    comparison: Comparison,
    gaps: dict[str, Interval],
    looks: Looks,
    margin: float,
) -> None:
    """The rows of the scores again, each as its difference from the best; what is far off is an arrow at the edge."""
    best = best_shown(comparison)
    low, high = _near(gaps, margin)
    axes.set_xlim(low, high)
    if math.isfinite(margin):
        axes.axvspan(-margin, min(margin, high), color=rule(), alpha=0.6, linewidth=0, zorder=0)
    axes.axvline(0, color=quiet(), linewidth=0.9, zorder=1)
    for row, cell in enumerate(comparison.scored):
        look = looks[cell.architecture]
        if cell.architecture == best:
            mean(axes, 0, row, look)
            at_right(axes, row, "best mean", False, quiet(), ("",))
            continue
        if cell.architecture not in gaps:
            continue
        gap = gaps[cell.architecture]
        if gap.mean < low:
            edge_arrow(axes, "<", row, look.colour)
        else:
            if gap.known:
                cut_interval(axes, gap.lower, gap.upper, row, look.colour)
            mean(axes, gap.mean, row, look)
        size = formatting.value(gap.mean, formatting.decimals(gap, comparison.metric.decimals))
        at_right(axes, row, size, False, shorter=("",))
    name_rows(axes, [cell.architecture for cell in comparison.scored])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"difference in {comparison.metric.label}, better to the right")
    upright_grid(axes)


def _near(gaps: dict[str, Interval], margin: float) -> tuple[float, float]:
    """The range around 0 with the second best, its interval and the margin: the rest may be far off."""
    second = max(gaps.values(), key=lambda gap: gap.mean)
    ends = [-second.mean, -second.lower if second.known else 0.0, second.upper if second.known else 0.0]
    wide = max(_ROOM * max(ends), _CLOSE * margin if math.isfinite(margin) else 0.0) or 0.1
    right = max([0.25 * wide, *(gap.upper * _ROOM for gap in gaps.values() if gap.known)])
    return -wide, right


def _takeaway(scored: Sequence[Comparison], tested: Answers) -> str:
    """Where which architecture has the best mean, and whether its lead is decided."""
    leaders: dict[str, list[str]] = {}
    tied = []
    for comparison in scored:
        if not differences(comparison, tested):
            continue
        gains = {cell.architecture: comparison.metric.gain(cell.interval.mean) for cell in comparison.scored}
        best = [name for name, gain in gains.items() if gain == max(gains.values())]
        if len(best) > 1:
            tied.append(f"{listing(best)} share it on {comparison.title}")
        else:
            outcomes = [f"{word} vs. {listing(names)}" for word, names in _rivals(comparison, best[0], tested).items()]
            lead = f" ({'; '.join(outcomes)})" if outcomes else ""
            leaders.setdefault(best[0], []).append(f"{comparison.title}{lead}")
    parts = [*(f"{name} on {listing(datasets)}" for name, datasets in leaders.items()), *tied]
    return f"Best mean: {'; '.join(parts)}." if parts else ""


def _rivals(comparison: Comparison, best: str, tested: Answers) -> dict[str, list[str]]:
    """The architectures that the best one is not shown to be better than, by the outcome in words."""
    rivals: dict[str, list[str]] = {}
    for contrast in _against(comparison, best, tested):
        if contrast.outcome not in ("ahead", "behind"):
            rivals.setdefault(OUTCOMES[contrast.outcome], []).append(contrast.first)
    return rivals


def _baselines(comparison: Comparison) -> dict[str, float]:
    return dict(comparison.baselines) if comparison.metric.better else {}


def _row(axes: Axes, row: int, cell: Cell, look: Look) -> None:
    """One architecture: its interval and mean, its seeds just below."""
    seeds = list(cell.values.values())
    below = [row + 0.27] * len(seeds)
    axes.plot(seeds, below, look.marker, color=look.colour, alpha=0.45, markersize=4, markeredgewidth=0)
    if cell.interval.known:
        cut_interval(axes, cell.interval.lower, cell.interval.upper, row, look.colour)
    mean(axes, cell.interval.mean, row, look)


def _reference(axes: Axes, row: int, value: float, limits: tuple[float, float]) -> None:
    """A baseline's mark and the line up from it; an arrow at the edge where it lies outside."""
    low, high = limits
    if low <= value <= high:
        axes.plot([value, value], [-0.6, row], color=quiet(), linewidth=0.9, linestyle=DASHED, zorder=0)
        axes.plot([value], [row], "d", color=quiet(), markersize=6)
        return
    edge_arrow(axes, "<" if value < low else ">", row, quiet())


def _limits(comparison: Comparison) -> tuple[float, float]:
    """The range of the scores, of intervals that are not absurdly wide, and of the best baseline."""
    seeds = [value for cell in comparison.scored for value in cell.values.values()]
    best = comparison.best_simple_baseline
    inner = seeds + ([best[1]] if best and best[0] != UNTRAINED else [])
    low, high = min(inner), max(inner)
    span = (high - low) or max(abs(high) * 0.1, 0.1)
    ends = [
        end for cell in comparison.scored if cell.interval.known for end in (cell.interval.lower, cell.interval.upper)
    ]
    low = max(min([low, *ends]), low - span)
    high = min(max([high, *ends]), high + span)
    further = [value for name, value in comparison.baselines.items() if low - span / 2 <= value <= high + span / 2]
    low, high = min([low, *further]), max([high, *further])
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 1)
    return low - margin, high + margin
