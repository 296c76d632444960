"""How the architectures of a data set come out: who wins, who leads, who is beaten, who stands aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from archbench.reports.contrasts.contrast import (
    Contrast,
    architectures_of,
    every_pair,
    not_trained_enough,
    winner,
    wins,
)
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.groups import is_started_elsewhere

Case = Literal[
    "wins", "beats", "leads", "share", "same", "equal", "untrained", "alone", "beside checkpoints", "checkpoint", "none"
]


@dataclass(frozen=True)
class Ranking:
    """The state of a data set by its primary metric, from which its words follow (``words``).

    ``case`` is the outcome. One architecture ``wins``; it ``beats`` others, by tests, and has the best mean; it
    ``leads``, by its mean alone; several ``share`` the best mean; all have the ``same`` mean; all are ``equal`` within
    the margin, by tests; none is trained enough (``untrained``). One is ``alone``, or alone ``beside checkpoints`` that
    were finetuned, or such a ``checkpoint`` itself; ``none`` has a score.
    """

    case: Case
    leaders: tuple[str, ...] = ()  # the best mean of those trained enough
    beaten: tuple[str, ...] = ()  # by tests; without a test, those whose 95% interval of the difference excludes 0
    rivals: tuple[str, ...] = ()  # without a test: those whose interval includes 0 or is unknown, the nearest first
    aside: tuple[str, ...] = ()  # not trained enough to be compared, whatever the outcome of the others
    outside: tuple[str, ...] = ()  # in no primary contrast
    pairs: int = 0  # primary contrasts; 0 where none was tested
    decided: int = 0
    complete: bool = False  # every pair of those named is a primary contrast, so that each of them can win

    @property
    def state(self) -> Literal["decided", "open", "none"]:
        """Whether all primary contrasts are decided; ``none`` where there is nothing to compare."""
        if self.case in ("alone", "beside checkpoints", "checkpoint", "none"):
            return "none"
        return "decided" if self.pairs and self.pairs == self.decided else "open"


def ranking(comparison: Comparison, primary: Sequence[Contrast] = ()) -> Ranking:
    """The state of a data set by its primary contrasts; by intervals where none was tested."""
    tested = any(contrast.outcome != "unknown" for contrast in primary)
    return _by_tests(comparison, primary) if tested else _by_intervals(comparison)


def _by_tests(comparison: Comparison, primary: Sequence[Contrast]) -> Ranking:
    names, aside = architectures_of(primary), not_trained_enough(primary)
    leaders, best = _leaders(comparison, [name for name in names if name not in aside]), winner(primary)
    equal = every_pair(primary) and all(contrast.outcome == "equal" for contrast in primary)
    leaders = [best] if best else names if equal else leaders
    worse = {contrast.worse for contrast in primary if leaders == [contrast.better]}
    led: Case = "untrained" if not leaders else "share" if len(leaders) > 1 else "beats" if worse else "leads"
    return Ranking(
        case="wins" if best else "equal" if equal else led,
        leaders=tuple(leaders),
        beaten=tuple(name for name in names if name in worse),
        aside=tuple(aside),
        outside=tuple(name for name in comparison.group.architectures if name not in names),
        pairs=len(primary),
        decided=sum(contrast.decided for contrast in primary),
        complete=every_pair(primary),
    )


def _leaders(comparison: Comparison, names: Sequence[str]) -> list[str]:
    """Those with the best mean."""
    gains = {cell.architecture: comparison.metric.gain(cell.interval.mean) for cell in comparison.scored}
    top = max((gains[name] for name in names if name in gains), default=None)
    return [name for name in names if gains.get(name) == top]


def _by_intervals(comparison: Comparison) -> Ranking:
    """The state of a data set without a tested primary contrast: nothing is decided there."""
    scored, gaps = comparison.scored, comparison.differences
    if not scored:
        return Ranking("none")
    if not comparison.leader or len(scored) == 1:
        elsewhere = is_started_elsewhere(comparison.group.runs).all()
        case: Case = "alone" if not comparison.finetuned else "checkpoint" if elsewhere else "beside checkpoints"
        return Ranking(case, (scored[0].architecture,))
    leaders = (comparison.leader, *(name for name, gap in gaps.items() if gap.mean == 0))
    rivals = sorted((name for name in comparison.open_rivals if name not in leaders), key=lambda name: gaps[name].mean)
    return Ranking(
        case="same" if len(leaders) == len(scored) else "share" if len(leaders) > 1 else "leads",
        leaders=leaders,
        beaten=tuple(name for name, gap in gaps.items() if gap.excludes_zero),
        rivals=tuple(rivals),
    )


def standing(architecture: str, contrasts: Sequence[Contrast], trained: bool = True) -> str:
    """How an architecture stands in the primary contrasts of a data set that name it: a key of ``words.STANDINGS``.

    ``untrained``: it is not ``trained`` enough. ``alone``: none of the others is; otherwise they do not count.
    """
    if wins(architecture, contrasts):
        return "wins"
    own = [contrast for contrast in contrasts if architecture in (contrast.first, contrast.second)]
    if own and not trained:
        return "untrained"
    if own and all(contrast.outcome == "untrained" for contrast in own):
        return "alone"
    own = [contrast for contrast in own if contrast.outcome != "untrained"]
    tested = [contrast for contrast in own if contrast.outcome != "unknown"]
    if not tested:
        return "unknown"
    if any(contrast.worse == architecture for contrast in tested):
        return "loses"
    if any(contrast.outcome == "accounting" for contrast in tested):
        return "accounting"
    if all(contrast.better == architecture for contrast in own):
        return "better"
    return "ties" if all(contrast.decided for contrast in own) else "open"
