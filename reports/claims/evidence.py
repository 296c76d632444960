"""Contrasts as evidence for claims: what each amounts to in words, including divergence, and the verdict on a claim."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from archbench.reports.base.formatting import grouped, listing
from archbench.reports.claims.ledger import OPPOSITE, OPPOSITE_DIRECTION, Claim
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.results.gates import BELOW_GATE


@dataclass(frozen=True)
class Strength:
    """How much a report's test of a claim weighs; none of it depends on the direction of the result.

    ``lacks`` says what is missing from a complete test: pairs, intervals, gates that were measured and passed.
    ``seeds`` are the fewest of any test, ``tests`` the number of tests. ``gated``: the bar of every gate was measured.
    """

    lacks: tuple[str, ...] = ()
    seeds: int = 0
    tests: int = 0
    gated: bool = True

    @property
    def complete(self) -> bool:
        return not self.lacks


NO_TEST: Final = Strength(("no test",))


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim's verdict, the evidence in words, what would decide it, a command where there is one, what was tested.

    ``p`` is that of the decision (nan where there is none): the greatest of the tests that it needs. ``counted`` are
    the contrasts that it rests on; a claim about a baseline or stored bits has none. ``because``: what it fails, so
    that it is undecided whatever its tests say (``standards``). ``scale``: size and tokens of the models, for a claim
    in miniature. ``differs``: where a contrast has another outcome under a further condition. ``part_of``: the
    undecided claim whose contrasts these are a part of; empty where there is none.
    """

    claim: Claim
    verdict: str
    evidence: str
    command: str = ""
    contrasts: tuple[Contrast, ...] = ()
    strength: Strength = NO_TEST
    p: float = math.nan
    counted: tuple[Contrast, ...] = ()
    scale: str = ""
    differs: str = ""
    because: tuple[str, ...] = ()
    part_of: str = ""

    @property
    def exceptions(self) -> str:
        """For which sides a claim about several fails, where it does not fail for each; empty elsewhere."""
        behind = [contrast for contrast in self.counted if outcome(contrast) == "behind"]
        if self.verdict not in (OPPOSITE, OPPOSITE_DIRECTION) or len(behind) == len(self.counted):
            return ""
        failing = grouped((contrast.first, contrast.dataset) for contrast in behind)
        return f"not for every one: fails for {failing}"


def strength(counted: Sequence[Contrast], lacks: Sequence[str]) -> Strength:
    """The strength of a test by contrasts; ``lacks`` is what was found missing beside them."""
    unknown = [contrast for contrast in counted if outcome(contrast) == "unknown"]
    more = [f"no interval on {_sets(unknown)}"] if unknown else []
    return Strength((*lacks, *more), min(contrast.seeds for contrast in counted), len(counted))


def below_gates(contrasts: Sequence[Contrast]) -> str:
    """Which sides are below their gates, by data set: "encoder is below its gate on shakespeare"; empty where none."""
    by_dataset: dict[str, dict[str, None]] = {}
    for contrast in contrasts:
        for gate in contrast.failed_gates:
            by_dataset.setdefault(contrast.dataset, {})[gate.architecture] = None
    return grouped(
        (f"{'each of ' * (len(names) > 1)}{listing(names)} is {BELOW_GATE}", dataset)
        for dataset, names in by_dataset.items()
    )


def _sets(contrasts: Sequence[Contrast]) -> str:
    return listing(dict.fromkeys(contrast.dataset for contrast in contrasts))


def refuted(claim: Claim, counted: Sequence[Contrast]) -> bool:
    """True if some pair came out against the claim on every data set, and nothing bears the claim out."""
    return bool(_against_claim(counted)) and not any(bears_out(claim, contrast) for contrast in counted)


def deciding(claim: Claim, counted: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts that a decision needs: all of them, or those of the pairs that refute the claim."""
    if refuted(claim, counted):
        return [contrast for pair in _against_claim(counted) for contrast in pair]
    return list(counted)


def decision_p(claim: Claim, counted: Sequence[Contrast]) -> float:
    """The p value of a decided claim: the greatest of those tests that the decision needs."""
    if refuted(claim, counted):
        return min(max(_p(contrast) for contrast in pair) for pair in _against_claim(counted))
    return max(_p(contrast) if outcome(contrast) == "ahead" else contrast.p_beyond for contrast in counted)


def _against_claim(counted: Sequence[Contrast]) -> list[list[Contrast]]:
    return [pair for pair in by_pair(counted) if all(outcome(contrast) == "behind" for contrast in pair)]


def _p(contrast: Contrast) -> float:
    """The p value of a difference; 0 where every run of one diverged, which no test says."""
    return 0.0 if contrast.survivor else contrast.p


def outcome(contrast: Contrast) -> str:
    """The contrast's outcome; where every run of one diverged and none of the other's, the other is ahead."""
    return {contrast.first: "ahead", contrast.second: "behind"}.get(contrast.survivor, contrast.outcome)


def bears_out(claim: Claim, contrast: Contrast) -> bool:
    """True if the contrast came out as the claim has it."""
    return outcome(contrast) == "ahead" or (claim.enough and (contrast.outcome == "equal" or contrast.small))


def gathered(evidence: Sequence[Contrast]) -> str:
    """The outcomes of each data set after its name."""
    by_dataset: dict[str, dict[str, None]] = {}
    for contrast in evidence:
        by_dataset.setdefault(contrast.dataset, {})[phrase(contrast, "clause")] = None
    return "; ".join(f"{name}: {', '.join(outcomes)}" for name, outcomes in by_dataset.items())


def by_pair(evidence: Sequence[Contrast]) -> Iterator[list[Contrast]]:
    """The evidence pair by pair."""
    for pair in dict.fromkeys((contrast.first, contrast.second) for contrast in evidence):
        yield [contrast for contrast in evidence if (contrast.first, contrast.second) == pair]
