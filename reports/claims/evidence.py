"""Contrasts as evidence for claims: what they amount to, divergence included, and how that is said."""

from collections.abc import Iterator, Sequence

from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.base import formatting
from archbench.reports.claims.ledger import Claim


def outcome(one: Contrast) -> str:
    """The contrast's outcome; where every run of one diverged and none of the other's, the other is ahead."""
    return {one.first: "ahead", one.second: "behind"}.get(one.survivor, one.outcome)


def bears_out(claim: Claim, one: Contrast) -> bool:
    """Whether the contrast came out as the claim has it."""
    return outcome(one) == "ahead" or (claim.enough and (one.outcome == "equal" or one.small))


def gathered(evidence: Sequence[Contrast]) -> str:
    """The outcomes of each data set after its name."""
    sets = dict.fromkeys(one.dataset for one in evidence)
    own = {name: dict.fromkeys(words(one) for one in evidence if one.dataset == name) for name in sets}
    return "; ".join(f"{name}: {', '.join(found)}" for name, found in own.items())


def words(one: Contrast) -> str:
    """A contrast's outcome in a few words, and how many of its runs diverged."""
    if one.survivor:
        lost = one.second if one.survivor == one.first else one.first
        return f"{one.survivor} ahead of {lost}, as {one.diverged} diverged"
    gap = formatting.value(abs(one.difference.mean), formatting.decimals(one.difference))
    small = ", less than the margin" if one.small else ""
    said = {
        "ahead": f"{one.first} ahead of {one.second} by {gap}{small}",
        "behind": f"{one.second} ahead of {one.first} by {gap}{small}",
        "equal": f"{one.first} and {one.second} equal within the margin",
        "open": f"{one.first} against {one.second} not decided",
        "unknown": f"{one.first} against {one.second} without an interval",
    }
    return said[one.outcome] + (f" ({one.diverged} diverged)" if one.diverged else "")


def against(one: Contrast) -> str:
    """What stands against a claim that the first is ahead."""
    if one.survivor:
        return f"{one.diverged} diverged on {one.dataset}"
    if one.outcome == "equal":
        return f"the two are equal on {one.dataset}"
    return f"{one.better} is ahead on {one.dataset}"


def by_pair(evidence: Sequence[Contrast]) -> Iterator[list[Contrast]]:
    """The evidence pair by pair."""
    for pair in dict.fromkeys((one.first, one.second) for one in evidence):
        yield [one for one in evidence if (one.first, one.second) == pair]
