"""How the architectures of a data set come out: who wins, who leads, who is beaten, who is below its gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from archbench.reports.contrasts.contrast import (
    Contrast,
    architectures_of,
    below_gate,
    every_pair,
    winner,
    wins,
)
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.groups import is_started_elsewhere

Case = Literal["wins", "beats", "leads", "share", "same", "equal", "alone", "beside checkpoints", "checkpoint", "none"]


@dataclass(frozen=True)
class Ranking:
    """The state of a data set by its primary metric, from which its words follow (``words``).

    ``case`` is the outcome. One architecture ``wins``; it ``beats`` others, by tests, and has the best mean; it
    ``leads``, by its mean alone; several ``share`` the best mean; all have the ``same`` mean; all are ``equal`` within
    the margin, by tests. One is ``alone``, or alone ``beside checkpoints`` that
    were finetuned, or such a ``checkpoint`` itself; ``none`` has a score.
    """

    case: Case
    leaders: tuple[str, ...] = ()  # the best mean
    beaten: tuple[str, ...] = ()  # by tests; without a test, those whose 95% interval of the difference excludes 0
    rivals: tuple[str, ...] = ()  # without a test: those whose interval includes 0 or is unknown, the nearest first
    below: tuple[str, ...] = ()  # below their gates, whatever the outcome
    outside: tuple[str, ...] = ()  # in no primary contrast
    pairs: int = 0  # primary contrasts; 0 where none was tested
    decided: int = 0
    complete: bool = False  # every pair of those named is a primary contrast, so that each of them can win

    @property
    def state(self) -> Literal["decided", "open", "none"]:
        """``decided`` if all primary contrasts are, else ``open``; ``none`` where there is nothing to compare."""
        if self.case in ("alone", "beside checkpoints", "checkpoint", "none"):
            return "none"
        return "decided" if self.pairs and self.pairs == self.decided else "open"


def ranking(comparison: Comparison, primary: Sequence[Contrast] = ()) -> Ranking:
    """The state of a data set by its primary contrasts; by intervals where none was tested."""
    tested = any(contrast.outcome != "unknown" for contrast in primary)
    return _by_tests(comparison, primary) if tested else _by_intervals(comparison)


def _by_tests(comparison: Comparison, primary: Sequence[Contrast]) -> Ranking:
    names = architectures_of(primary)
    leaders, best = _leaders(comparison, names), winner(primary)
    equal = every_pair(primary) and all(contrast.outcome == "equal" for contrast in primary)
    leaders = [best] if best else names if equal else leaders
    worse = {contrast.worse for contrast in primary if leaders == [contrast.better]}
    led: Case = "share" if len(leaders) > 1 else "beats" if worse else "leads"
    return Ranking(
        case="wins" if best else "equal" if equal else led,
        leaders=tuple(leaders),
        beaten=tuple(name for name in names if name in worse),
        below=tuple(below_gate(primary)),
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


def standing(architecture: str, contrasts: Sequence[Contrast]) -> str:
    """How an architecture stands in the primary contrasts of a data set that name it: a key of ``words.STANDINGS``."""
    if wins(architecture, contrasts):
        return "wins"
    own = [contrast for contrast in contrasts if architecture in (contrast.first, contrast.second)]
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
