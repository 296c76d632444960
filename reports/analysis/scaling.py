"""Effects of size and depth: whether the largest still gains, which depth is best, whether the order stays the same.

Size is tested at its ends and at its last step, which are known beforehand. Which depth is best is not: there every
pair of depths is tested, so that the best may be picked afterwards. Both are corrected for being so many (Holm), over
all architectures and data sets of one axis; so are the pairs of architectures on all points, apart.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

from archbench.reports.analysis.comparison import EARLY_TOKENS_PER_PARAMETER, Comparison
from archbench.reports.analysis.contrasts import Answers, Contrast, turned
from archbench.reports.analysis.phrase import phrase, size
from archbench.reports.analysis.sweeps import DEPTH, SIZE, Axis, Sweep, SweepPoint
from archbench.reports.analysis.testing import Question
from archbench.reports.base.formatting import listing, number, value

if TYPE_CHECKING:
    from archbench.reports.analysis.report import Report

PointPairs = Iterable[tuple[SweepPoint, SweepPoint]]


@dataclass(frozen=True, eq=False)
class Trend:
    """A sweep put to the test.

    ``between_points`` compare an architecture at one point with itself at a lower one, ``between_architectures`` those
    at one point with each other; their ``condition`` is the point in words.
    """

    sweep: Sweep
    between_points: tuple[Contrast, ...]
    between_architectures: tuple[Contrast, ...]

    def between(self, architecture: str, higher: SweepPoint, lower: SweepPoint) -> Contrast:
        """What was tested between two points."""
        pair = (self.sweep.at(architecture, higher), self.sweep.at(architecture, lower))
        return next(contrast for contrast in self.between_points if (contrast.first, contrast.second) == pair)


def trend(sweep: Sweep, tested: Answers) -> Trend:
    """A sweep with its tests."""
    points, order = (tested[family] for family in (sweep.axis.name, order_of(sweep.axis)))
    of_sweep = (tuple(contrast for contrast in family if contrast.about == sweep.title) for family in (points, order))
    return Trend(sweep, *of_sweep)


def order_of(axis: Axis) -> str:
    """The family of tests of architectures at one point."""
    return f"{axis.name}, order"


def sentences(trend: Trend) -> list[str]:
    """What a sweep shows, a sentence for each architecture, then whether their order is the same on every point."""
    sentence = _SENTENCES[trend.sweep.axis.name]
    names = [name for name in trend.sweep.architectures if len(trend.sweep.of(name)) > 1]
    return [*(sentence(trend, name) for name in names), *_order(trend), *_early(trend.sweep)]


def _ends(points: Sequence[SweepPoint]) -> PointPairs:
    """The last point against the first, and against the one before it."""
    return [(points[-1], lower) for lower in dict.fromkeys((points[0], points[-2]))] if len(points) > 1 else []


def _all(points: Sequence[SweepPoint]) -> PointPairs:
    return [(higher, lower) for lower, higher in combinations(points, 2)]


_PAIRS: Final[dict[str, Callable[[Sequence[SweepPoint]], PointPairs]]] = {SIZE.name: _ends, DEPTH.name: _all}


def between_points(report: "Report", axis: Axis) -> Iterator[Question]:
    """Each architecture at one point of a sweep against itself at a lower one."""
    for sweep in report.sweeps_of(axis):
        for name in sweep.architectures:
            yield from _steps(sweep, name, _PAIRS[axis.name](sweep.of(name)))


def between_architectures(report: "Report", axis: Axis) -> Iterator[Question]:
    """Every two architectures at each point of a sweep."""
    for sweep in report.sweeps_of(axis):
        for point in sweep.points:
            for pair in combinations([cell.architecture for cell in point.comparison.scored], 2):
                group = point.comparison.group
                yield Question(group, sweep.base.metric, pair, sweep.words(point), about=sweep.title)


def _steps(sweep: Sweep, name: str, pairs: PointPairs) -> Iterator[Question]:
    for higher, lower in pairs:
        pair = (sweep.at(name, higher), sweep.at(name, lower))
        yield Question(sweep.group, sweep.base.metric, pair, about=sweep.title)


def untested(trend: Trend) -> Iterator[Question]:
    """The pairs of points that have no test, since an architecture has no score on one of the two."""
    sweep = trend.sweep
    for name in sweep.architectures:
        scored = set(sweep.of(name))
        entered = [point for point in sweep.points if name in point.comparison.group.architectures]
        yield from _steps(sweep, name, (p for p in _PAIRS[sweep.axis.name](entered) if not scored.issuperset(p)))


def _grown(trend: Trend, architecture: str) -> str:
    """The change from the first to the last point, and over the last step."""
    sweep = trend.sweep
    points = sweep.of(architecture)
    begin, end = f"{points[0].value:,}", sweep.axis.words(points[-1].value)
    whole = phrase(trend.between(architecture, points[-1], points[0]), "change")
    last = ""
    if len(points) > 2:
        last = phrase(trend.between(architecture, points[-1], points[-2]), "change")
        last = f"; the last step, from {points[-2].value:,}, {last}"
    return f"{architecture}: growth from {begin} to {end} {whole}{last}."


def _deepest(trend: Trend, architecture: str) -> str:
    """Which depth has the best mean, and which others can be distinguished from it."""
    sweep = trend.sweep
    means = {point: _score(point.comparison, architecture) for point in sweep.of(architecture)}
    best = max(means, key=lambda point: sweep.base.metric.gain(means[point]))
    others = {point: _against(trend, architecture, best, point) for point in means if point is not best}
    worse = ((point, other) for point, other in others.items() if other.outcome == "ahead")
    undecided = ("open", "unknown", "behind")
    groups = {
        "worse": [f"{point.value:,} (by {size(other)})" for point, other in worse],
        "equal within the margin": [f"{point.value:,}" for point, other in others.items() if other.outcome == "equal"],
        "not decided": [f"{point.value:,}" for point, other in others.items() if other.outcome in undecided],
    }
    parts = "; ".join(f"{words}: {listing(depths)}" for words, depths in groups.items() if depths)
    score = f"{value(means[best], sweep.base.metric.decimals)} {sweep.base.metric.label}"
    have = "has" if best.value == 1 else "have"
    return f"{architecture}: {sweep.axis.words(best.value)} {have} the best mean, {score}; {parts}."


_SENTENCES: Final[dict[str, Callable[[Trend, str], str]]] = {SIZE.name: _grown, DEPTH.name: _deepest}


def _against(trend: Trend, architecture: str, best: SweepPoint, other: SweepPoint) -> Contrast:
    """The contrast of the best point with another, from the best one's side."""
    higher = best.value > other.value
    contrast = trend.between(architecture, *((best, other) if higher else (other, best)))
    return contrast if higher else turned(contrast)


def _order(trend: Trend) -> Iterator[str]:
    """Whether the architectures come in the same order on every point, and whether one that changes is decided."""
    axis, points = trend.sweep.axis, trend.sweep.points
    names = [name for name in trend.sweep.architectures if len(trend.sweep.of(name)) == len(points)]
    if len(names) < 2:
        return
    orders: dict[tuple[str, ...], list[SweepPoint]] = {}
    for point in points:
        orders.setdefault(_sorted(point, names), []).append(point)
    contrasts = [
        contrast for contrast in trend.between_architectures if {contrast.first, contrast.second} <= set(names)
    ]
    decided = f"{sum(bool(contrast.better) for contrast in contrasts)} of {len(contrasts)} pairs decided"
    if len(orders) == 1:
        yield f"Order of means, the same at every {_EACH[axis.name]}: {', '.join(next(iter(orders)))} ({decided})."
        return
    parts = [f"{', '.join(order)} with {listing(f'{point.value:,}' for point in at)}" for order, at in orders.items()]
    yield f"The order of means changes: {'; '.join(parts)} {axis.plural}. {_both_ways(contrasts)} ({decided})."


_EACH: Final = {SIZE.name: "size", DEPTH.name: "depth"}


def _both_ways(contrasts: Sequence[Contrast]) -> str:
    pairs = dict.fromkeys((contrast.first, contrast.second) for contrast in contrasts)
    better = {
        pair: {contrast.better for contrast in contrasts if (contrast.first, contrast.second) == pair} - {""}
        for pair in pairs
    }
    reversed_pairs = [f"{first} vs. {second}" for (first, second), names in better.items() if len(names) > 1]
    if reversed_pairs:
        return f"Decided in both directions: {listing(reversed_pairs)}"
    return "No pair is decided in both directions: the change of order may be chance"


def _sorted(point: SweepPoint, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: -point.comparison.metric.gain(_score(point.comparison, name))))


def _early(sweep: Sweep) -> Iterator[str]:
    """A caution if there are few tokens per parameter: more tokens may change the effect of size."""
    early = [point for point in sweep.points if point.comparison.early]
    if early and sweep.axis is SIZE:
        least = min(early, key=lambda point: point.comparison.tokens_per_parameter)
        ratio = f"{number(least.comparison.tokens_per_parameter)} with {least.value:,}"
        yield (
            f"Early training: fewer than {EARLY_TOKENS_PER_PARAMETER:g} training tokens per parameter with "
            f"{listing(f'{point.value:,}' for point in early)} parameters ({ratio}). More tokens may change what size "
            "buys."
        )


def _score(comparison: Comparison, architecture: str) -> float:
    return next(cell.interval.mean for cell in comparison.cells if cell.architecture == architecture)
