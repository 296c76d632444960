"""What size and depth do: whether the largest still gained, which depth is best, whether the order stays the same.

Size is tested at its ends and at its last step, which are known beforehand. Which depth is best is not: there every
pair of depths is tested, so that the best may be picked afterwards. Both are corrected for being so many (Holm), over
all architectures and data sets of one axis; so are the pairs of architectures on all rungs, apart.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final

from archbench.reports.analysis.comparison import EARLY_TOKENS_PER_PARAMETER, Comparison, Comparisons
from archbench.reports.analysis.contrasts import Contrast, turned
from archbench.reports.analysis.sweeps import AXES, DEPTH, SIZE, Ladder, Rung
from archbench.reports.analysis.testing import Question, answered
from archbench.reports.analysis.verdicts import p_said
from archbench.reports.base.formatting import decimals, limits, listing, number, value
from archbench.reports.base.metrics import metric

Pairs = Iterable[tuple[Rung, Rung]]


@dataclass(frozen=True, eq=False)
class Climb:
    """A ladder put to the test.

    ``moves`` hold an architecture at one rung against itself at a lower one, ``orders`` the architectures of a rung
    against each other; their ``condition`` is the rung in words.
    """

    ladder: Ladder
    moves: tuple[Contrast, ...]
    orders: tuple[Contrast, ...]

    def move(self, architecture: str, higher: Rung, lower: Rung) -> Contrast:
        """What was tested between two rungs."""
        pair = (self.ladder.at(architecture, higher), self.ladder.at(architecture, lower))
        return next(one for one in self.moves if (one.first, one.second) == pair)


def climbs(comparisons: Comparisons, found: Sequence[Ladder]) -> list[Climb]:
    """Every ladder put to the test; corrected over those of one axis."""
    climbed = []
    for axis in AXES:
        own = [one for one in found if one.axis is axis]
        moves = _answered(comparisons, [list(_moves(one)) for one in own])
        orders = _answered(comparisons, [list(_orders(one)) for one in own])
        climbed += [Climb(*parts) for parts in zip(own, moves, orders, strict=True)]
    return climbed


def sentences(climb: Climb) -> list[str]:
    """What a ladder shows, a sentence for each architecture, then whether their order is the same on every rung."""
    said = _SAID[climb.ladder.axis.name]
    own = [said(climb, name) for name in climb.ladder.architectures if len(climb.ladder.of(name)) > 1]
    return [*own, *_order(climb), *_early(climb.ladder)]


def _ends(rungs: Sequence[Rung]) -> Pairs:
    """The last rung against the first, and against the one before it."""
    return [(rungs[-1], lower) for lower in dict.fromkeys((rungs[0], rungs[-2]))] if len(rungs) > 1 else []


def _all(rungs: Sequence[Rung]) -> Pairs:
    return [(higher, lower) for lower, higher in combinations(rungs, 2)]


_PAIRS: Final[dict[str, Callable[[Sequence[Rung]], Pairs]]] = {SIZE.name: _ends, DEPTH.name: _all}


def _moves(ladder: Ladder) -> Iterator[Question]:
    for name in ladder.architectures:
        for higher, lower in _PAIRS[ladder.axis.name](ladder.of(name)):
            yield Question(ladder.group, ladder.base.metric.name, (ladder.at(name, higher), ladder.at(name, lower)))


def untested(climb: Climb) -> Iterator[Question]:
    """The pairs of rungs that have no test, since an architecture has no score on one of the two."""
    ladder = climb.ladder
    for name in ladder.architectures:
        entered = [rung for rung in ladder.rungs if name in rung.found.group.architectures]
        for higher, lower in _PAIRS[ladder.axis.name](entered):
            if not {higher, lower} <= set(ladder.of(name)):
                yield Question(ladder.group, ladder.base.metric.name, (ladder.at(name, higher), ladder.at(name, lower)))


def _orders(ladder: Ladder) -> Iterator[Question]:
    for rung in ladder.rungs:
        for pair in combinations([cell.architecture for cell in rung.found.scored], 2):
            yield Question(rung.found.group, ladder.base.metric.name, pair, ladder.said(rung))


def _answered(comparisons: Comparisons, parts: Sequence[Sequence[Question]]) -> list[tuple[Contrast, ...]]:
    """The parts of one family, answered together."""
    found = iter(answered(comparisons, [one for part in parts for one in part]))
    return [tuple(islice(found, len(part))) for part in parts]


def _grown(climb: Climb, architecture: str) -> str:
    """What all of the growth did, and what its last step did."""
    ladder = climb.ladder
    rungs = ladder.of(architecture)
    begin, end = f"{rungs[0].value:,}", ladder.axis.said(rungs[-1].value)
    whole = _moved(climb.move(architecture, rungs[-1], rungs[0]))
    last = ""
    if len(rungs) > 2:
        last = f"; the last step, from {rungs[-2].value:,}, {_helped(climb.move(architecture, rungs[-1], rungs[-2]))}"
    return f"{architecture}: from {begin} to {end} {whole}{last}."


def _moved(one: Contrast) -> str:
    """How far the score went from one rung to the other, which way, and whether that is decided."""
    found = metric(one.metric)
    if one.outcome == "unknown":
        return f"{found.label} was not tested, which takes two seeds at one of them"
    if one.outcome == "equal":
        return f"{found.label} changed by less than the margin of {one.margin:g} ({_span(one)})"
    if one.outcome == "open":
        return f"whether {found.label} changed is not decided ({_signed(one)})"
    way = "rose" if (one.difference.mean > 0) == (found.better == "higher") else "fell"
    judged = "" if one.outcome == "ahead" else ", which is worse"
    return f"{found.label} {way} by {_amount(one)}{judged}"


def _helped(one: Contrast) -> str:
    if one.outcome == "unknown":
        return "was not tested"
    if one.outcome == "equal" or one.small:
        return f"changed it by less than the margin of {one.margin:g} ({_span(one)})"
    if one.outcome == "open":
        return f"is not decided ({_signed(one)})"
    return f"still made it better by {_amount(one)}" if one.outcome == "ahead" else f"made it worse by {_amount(one)}"


def _deepest(climb: Climb, architecture: str) -> str:
    """Which depth has the best mean, and which others are told from it."""
    ladder = climb.ladder
    means = {rung: _score(rung.found, architecture) for rung in ladder.of(architecture)}
    best = max(means, key=lambda rung: ladder.base.metric.gain(means[rung]))
    others = {rung: _against(climb, architecture, best, rung) for rung in means if rung is not best}
    told = {
        "worse": [f"{rung.value:,} (by {_size(one)})" for rung, one in others.items() if one.outcome == "ahead"],
        "equal within the margin": [f"{rung.value:,}" for rung, one in others.items() if one.outcome == "equal"],
        "not told from it": [
            f"{rung.value:,}" for rung, one in others.items() if one.outcome in ("open", "unknown", "behind")
        ],
    }
    parts = "; ".join(f"{words}: {listing(found)}" for words, found in told.items() if found)
    score = f"{value(means[best], ladder.base.metric.decimals)} {ladder.base.metric.label}"
    have = "has" if best.value == 1 else "have"
    return f"{architecture}: {ladder.axis.said(best.value)} {have} the best mean, {score}; {parts}."


_SAID: Final[dict[str, Callable[[Climb, str], str]]] = {SIZE.name: _grown, DEPTH.name: _deepest}


def _against(climb: Climb, architecture: str, best: Rung, other: Rung) -> Contrast:
    """The contrast of the best rung with another, from the best one's side."""
    higher = best.value > other.value
    one = climb.move(architecture, *((best, other) if higher else (other, best)))
    return one if higher else turned(one)


def _order(climb: Climb) -> Iterator[str]:
    """Whether the architectures come in the same order on every rung, and whether one that changes is decided."""
    axis, rungs = climb.ladder.axis, climb.ladder.rungs
    there = [name for name in climb.ladder.architectures if len(climb.ladder.of(name)) == len(rungs)]
    if len(there) < 2:
        return
    orders: dict[tuple[str, ...], list[Rung]] = {}
    for rung in rungs:
        orders.setdefault(_sorted(rung, there), []).append(rung)
    own = [one for one in climb.orders if {one.first, one.second} <= set(there)]
    decided = f"{sum(bool(one.better) for one in own)} of {len(own)} pairs are decided"
    if len(orders) == 1:
        yield f"The order of means is the same at every {_EACH[axis.name]}: {', '.join(next(iter(orders)))}; {decided}."
        return
    parts = [f"{', '.join(names)} with {listing(f'{r.value:,}' for r in at)}" for names, at in orders.items()]
    yield f"The order of means changes: {'; '.join(parts)} {axis.many}. {_both_ways(own)} ({decided})."


_EACH: Final = {SIZE.name: "size", DEPTH.name: "depth"}


def _both_ways(own: Sequence[Contrast]) -> str:
    pairs = dict.fromkeys((one.first, one.second) for one in own)
    ahead = {pair: {one.better for one in own if (one.first, one.second) == pair} - {""} for pair in pairs}
    turning = [f"{first} against {second}" for (first, second), names in ahead.items() if len(names) > 1]
    if turning:
        return f"Decided one way and the other: {listing(turning)}"
    return "No pair is decided one way here and the other way there, so that this may be chance"


def _sorted(rung: Rung, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: -rung.found.metric.gain(_score(rung.found, name))))


def _early(ladder: Ladder) -> Iterator[str]:
    """Where few tokens met many parameters, more tokens may change what size buys."""
    early = [rung for rung in ladder.rungs if rung.found.early]
    if early and ladder.axis is SIZE:
        least = min(early, key=lambda rung: rung.found.tokens_per_parameter)
        most = f"{number(least.found.tokens_per_parameter)} training tokens per parameter with {least.value:,}"
        yield (
            f"Fewer than {EARLY_TOKENS_PER_PARAMETER:g} training tokens per parameter with "
            f"{listing(f'{rung.value:,}' for rung in early)} ({most}): more tokens may change what size buys."
        )


def _score(found: Comparison, architecture: str) -> float:
    return next(cell.interval.mean for cell in found.cells if cell.architecture == architecture)


def _size(one: Contrast) -> str:
    return value(abs(one.difference.mean), decimals(one.difference, metric(one.metric).decimals))


def _amount(one: Contrast) -> str:
    """A difference without its sign, with its interval and p."""
    toward = one if one.difference.mean >= 0 else turned(one)
    small = f", less than the margin of {one.margin:g}" if one.small else ""
    return f"{_size(one)} (95% interval {_span(toward)}; {p_said(one)}){small}"


def _signed(one: Contrast) -> str:
    """A difference with its sign, better positive."""
    gap = value(one.difference.mean, decimals(one.difference, metric(one.metric).decimals))
    return f"{'+' if one.difference.mean > 0 else ''}{gap}, better positive; 95% interval {_span(one)}; {p_said(one)}"


def _span(one: Contrast) -> str:
    return limits(one.difference, metric(one.metric).decimals)
