"""Effects of size and depth: whether the largest still gains, which depth is best, whether the order stays the same.

Size is tested at its ends and at its last step, which are known beforehand. Which depth is best is not: there every
pair of depths is tested, so that the best may be picked afterwards. Both are corrected for being so many (Holm), over
all architectures and data sets of one axis; so are the pairs of architectures on all points, apart.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

from archbench.reports.analysis.comparison import EARLY_TOKENS_PER_PARAMETER, Comparison
from archbench.reports.analysis.comparisons import Comparisons
from archbench.reports.analysis.contrasts import Contrast, turned
from archbench.reports.analysis.sweeps import AXES, DEPTH, SIZE, Sweep, SweepPoint
from archbench.reports.analysis.testing import Question, answered
from archbench.reports.analysis.verdicts import p_text, uncorrected
from archbench.reports.base.formatting import decimals, limits, listing, number, value

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


def trends(comparisons: Comparisons, sweeps: Sequence[Sweep]) -> list[Trend]:
    """The tests of every sweep, corrected over those of one axis."""
    tested: list[Trend] = []
    for axis in AXES:
        chosen = [sweep for sweep in sweeps if sweep.axis is axis]
        between_points = _answered(comparisons, [list(_between_points(sweep)) for sweep in chosen])
        between_architectures = _answered(comparisons, [list(_between_architectures(sweep)) for sweep in chosen])
        tested += [Trend(*parts) for parts in zip(chosen, between_points, between_architectures, strict=True)]
    return tested


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


def _between_points(sweep: Sweep) -> Iterator[Question]:
    for name in sweep.architectures:
        for higher, lower in _PAIRS[sweep.axis.name](sweep.of(name)):
            yield Question(sweep.group, sweep.base.metric, (sweep.at(name, higher), sweep.at(name, lower)))


def untested(trend: Trend) -> Iterator[Question]:
    """The pairs of points that have no test, since an architecture has no score on one of the two."""
    sweep = trend.sweep
    for name in sweep.architectures:
        entered = [point for point in sweep.points if name in point.comparison.group.architectures]
        for higher, lower in _PAIRS[sweep.axis.name](entered):
            if not {higher, lower} <= set(sweep.of(name)):
                yield Question(sweep.group, sweep.base.metric, (sweep.at(name, higher), sweep.at(name, lower)))


def _between_architectures(sweep: Sweep) -> Iterator[Question]:
    for point in sweep.points:
        for pair in combinations([cell.architecture for cell in point.comparison.scored], 2):
            yield Question(point.comparison.group, sweep.base.metric, pair, sweep.words(point))


def _answered(comparisons: Comparisons, parts: Sequence[Sequence[Question]]) -> list[tuple[Contrast, ...]]:
    """The parts of one family, answered together."""
    contrasts = iter(answered(comparisons, [question for part in parts for question in part]))
    return [tuple(islice(contrasts, len(part))) for part in parts]


def _grown(trend: Trend, architecture: str) -> str:
    """The change from the first to the last point, and over the last step."""
    sweep = trend.sweep
    points = sweep.of(architecture)
    begin, end = f"{points[0].value:,}", sweep.axis.words(points[-1].value)
    whole = _moved(trend.between(architecture, points[-1], points[0]))
    last = ""
    if len(points) > 2:
        helped = _helped(trend.between(architecture, points[-1], points[-2]))
        last = f"; the last step, from {points[-2].value:,}, {helped}"
    return f"{architecture}: from {begin} to {end} {whole}{last}."


def _moved(contrast: Contrast) -> str:
    """The change of the score between two points, its direction, and whether it is decided."""
    measure = contrast.metric
    if contrast.outcome == "unknown":
        return f"{measure.label} was not tested, because a test needs two seeds at one of the points"
    if contrast.outcome == "equal":
        return f"{measure.label} changed by less than the margin of {contrast.margin:g} ({_interval(contrast)})"
    if contrast.outcome == "open":
        return f"no change in {measure.label} is decided ({_signed(contrast)})"
    way = "rose" if (contrast.difference.mean > 0) == (measure.better == "higher") else "fell"
    judged = "" if contrast.outcome == "ahead" else ", which is worse"
    return f"{measure.label} {way} by {_amount(contrast)}{judged}"


def _helped(contrast: Contrast) -> str:
    if contrast.outcome == "unknown":
        return "was not tested"
    if contrast.outcome == "equal" or contrast.small:
        return f"changed it by less than the margin of {contrast.margin:g} ({_interval(contrast)})"
    if contrast.outcome == "open":
        return f"is not decided ({_signed(contrast)})"
    return f"{'improved' if contrast.outcome == 'ahead' else 'worsened'} it by {_amount(contrast)}"


def _deepest(trend: Trend, architecture: str) -> str:
    """Which depth has the best mean, and which others can be distinguished from it."""
    sweep = trend.sweep
    means = {point: _score(point.comparison, architecture) for point in sweep.of(architecture)}
    best = max(means, key=lambda point: sweep.base.metric.gain(means[point]))
    others = {point: _against(trend, architecture, best, point) for point in means if point is not best}
    worse = ((point, other) for point, other in others.items() if other.outcome == "ahead")
    undecided = ("open", "unknown", "behind")
    groups = {
        "worse": [f"{point.value:,} (by {_size(other)})" for point, other in worse],
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


def _size(contrast: Contrast) -> str:
    return value(abs(contrast.difference.mean), decimals(contrast.difference, contrast.metric.decimals))


def _amount(contrast: Contrast) -> str:
    """A difference without its sign, with its interval and p."""
    toward = contrast if contrast.difference.mean >= 0 else turned(contrast)
    small = f", less than the margin of {contrast.margin:g}" if contrast.small else ""
    return f"{_size(contrast)} (95% interval {_interval(toward)}; {p_text(contrast)}){small}"


def _signed(contrast: Contrast) -> str:
    """A difference with its sign, better positive."""
    gap = value(contrast.difference.mean, decimals(contrast.difference, contrast.metric.decimals))
    sign = "+" if contrast.difference.mean > 0 else ""
    interval = f"95% interval {_interval(contrast)}; {p_text(contrast)}{uncorrected(contrast)}"
    return f"{sign}{gap}, better positive; {interval}"


def _interval(contrast: Contrast) -> str:
    return limits(contrast.difference, contrast.metric.decimals)
