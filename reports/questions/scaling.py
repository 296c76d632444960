"""Effects of size and depth: whether the largest still gains, which depth is best, whether the order stays the same.

Size is tested at its ends and at its last step, which are known beforehand. Which depth is best is not: there every
pair of depths is tested, so that the best may be picked afterwards. Both are corrected for being so many (Holm), over
all architectures and data sets of one axis; so are the pairs of architectures on all points, apart.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

from archbench.reports.base.formatting import grouped
from archbench.reports.base.formatting import value as number
from archbench.reports.contrasts.contrast import Answers, Contrast, turned
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.testing import Question
from archbench.reports.contrasts.verdicts import early_training
from archbench.reports.questions.sweeps import DEPTH, SIZE, Axis, Sweep

if TYPE_CHECKING:
    from archbench.reports.report import Report

PointPairs = Iterable[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Trend:
    """A sweep put to the test.

    ``between_points`` compare an architecture at one point with itself at a lower one, ``between_architectures`` those
    at one point with each other; their ``condition`` is the point in words.
    """

    sweep: Sweep
    between_points: tuple[Contrast, ...]
    between_architectures: tuple[Contrast, ...]

    def between(self, architecture: str, higher: int, lower: int) -> Contrast:
        """Contrast between two points of an architecture."""
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
    """Sentences on a sweep: one for each architecture, then whether their order is the same on every point."""
    sweep, sentence = trend.sweep, _SENTENCES[trend.sweep.axis.name]
    names = [name for name in sweep.architectures if len(sweep.means(name)) > 1]
    points = {f"{sweep.axis.words(value)}": point for value, point in sweep.points.items()}
    early = early_training(points) if sweep.axis is SIZE else ""
    return [*(sentence(trend, name) for name in names), *_order(trend), *([early] if early else [])]


def _ends(points: Sequence[int]) -> PointPairs:
    """The last point against the first, and against the one before it."""
    return [(points[-1], lower) for lower in dict.fromkeys((points[0], points[-2]))] if len(points) > 1 else []


def _all(points: Sequence[int]) -> PointPairs:
    return [(higher, lower) for lower, higher in combinations(points, 2)]


_PAIRS: Final[dict[str, Callable[[Sequence[int]], PointPairs]]] = {SIZE.name: _ends, DEPTH.name: _all}


def between_points(report: "Report", axis: Axis) -> Iterator[Question]:
    """Each architecture at one point of a sweep against itself at a lower one."""
    for sweep in report.sweeps_of(axis):
        for name in sweep.architectures:
            yield from _steps(sweep, name, _PAIRS[axis.name](list(sweep.means(name))))


def between_architectures(report: "Report", axis: Axis) -> Iterator[Question]:
    """Every two architectures at each point of a sweep."""
    for sweep in report.sweeps_of(axis):
        for value, point in sweep.points.items():
            for pair in combinations([cell.architecture for cell in point.scored], 2):
                yield Question(point.group, sweep.base.metric, pair, sweep.words(value), about=sweep.title)


def _steps(sweep: Sweep, name: str, pairs: PointPairs) -> Iterator[Question]:
    for higher, lower in pairs:
        pair = (sweep.at(name, higher), sweep.at(name, lower))
        yield Question(sweep.group, sweep.base.metric, pair, about=sweep.title)


def untested(trend: Trend) -> Iterator[Question]:
    """The pairs of points that have no test, since an architecture has no score on one of the two."""
    sweep = trend.sweep
    for name in sweep.architectures:
        scored = set(sweep.means(name))
        entered = [value for value, point in sweep.points.items() if name in point.group.architectures]
        yield from _steps(sweep, name, (p for p in _PAIRS[sweep.axis.name](entered) if not scored.issuperset(p)))


def _grown(trend: Trend, architecture: str) -> str:
    """The change from the first to the last point, and over the last step."""
    sweep = trend.sweep
    *lower, last = sweep.means(architecture)
    whole = phrase(trend.between(architecture, last, lower[0]), "change")
    step = phrase(trend.between(architecture, last, lower[-1]), "change")
    more = f"; the last step, from {lower[-1]:,}, {step}" if len(lower) > 1 else ""
    return f"{architecture}: growth from {lower[0]:,} to {sweep.axis.words(last)} {whole}{more}."


def _deepest(trend: Trend, architecture: str) -> str:
    """Which depth has the best mean, and what each other one is to it."""
    sweep, measure = trend.sweep, trend.sweep.base.metric
    means = sweep.means(architecture)
    best = max(means, key=lambda value: measure.gain(means[value]))
    others = {value: turned(_against(trend, architecture, best, value)) for value in means if value != best}
    words = grouped(((phrase(other, "mark"), f"{value:,}") for value, other in others.items()), "with")
    score = f"{number(means[best], measure.decimals)} {measure.label}"
    return f"{architecture}: best mean with {sweep.axis.words(best)}, {score}; {words}."


_SENTENCES: Final[dict[str, Callable[[Trend, str], str]]] = {SIZE.name: _grown, DEPTH.name: _deepest}


def _against(trend: Trend, architecture: str, best: int, other: int) -> Contrast:
    """The contrast of the best point with another, from the best one's side."""
    contrast = trend.between(architecture, max(best, other), min(best, other))
    return contrast if best > other else turned(contrast)


def _order(trend: Trend) -> Iterator[str]:
    """The order of the architectures at each point, how much of it is decided, and whether it is in both directions."""
    sweep = trend.sweep
    means = {name: sweep.means(name) for name in sweep.architectures}
    names = [name for name in means if len(means[name]) == len(sweep.points)]
    if len(names) < 2:
        return
    gain = sweep.base.metric.gain
    orders = ((", ".join(sorted(names, key=lambda name: -gain(means[name][at]))), f"{at:,}") for at in sweep.points)
    contrasts = [entry for entry in trend.between_architectures if {entry.first, entry.second} <= set(names)]
    decided = [(entry.better, entry.worse) for entry in contrasts if entry.better]
    both = "in both directions" if any((worse, better) in decided for better, worse in decided) else "in one direction"
    order = f"Order of means: {grouped(orders, 'with')} {sweep.axis.plural}"
    yield f"{order}. Decided: {len(decided)} of {len(contrasts)} pairs{f', {both}' if decided else ''}."
