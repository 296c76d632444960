"""Contrasts as evidence for claims: what they amount to, divergence included, in words."""

from collections.abc import Iterator, Sequence

from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.base import formatting
from archbench.reports.claims.ledger import Claim


def outcome(contrast: Contrast) -> str:
    """The contrast's outcome; where every run of one diverged and none of the other's, the other is ahead."""
    return {contrast.first: "ahead", contrast.second: "behind"}.get(contrast.survivor, contrast.outcome)


def bears_out(claim: Claim, contrast: Contrast) -> bool:
    """Whether the contrast came out as the claim has it."""
    return outcome(contrast) == "ahead" or (claim.enough and (contrast.outcome == "equal" or contrast.small))


def gathered(evidence: Sequence[Contrast]) -> str:
    """The outcomes of each data set after its name."""
    sets = dict.fromkeys(contrast.dataset for contrast in evidence)
    by_dataset = {
        name: dict.fromkeys(words(contrast) for contrast in evidence if contrast.dataset == name) for name in sets
    }
    return "; ".join(f"{name}: {', '.join(outcomes)}" for name, outcomes in by_dataset.items())


def words(contrast: Contrast) -> str:
    """A contrast's outcome in a few words, and how many of its runs diverged."""
    if contrast.survivor:
        diverged = contrast.second if contrast.survivor == contrast.first else contrast.first
        return f"{contrast.survivor} better than {diverged}, because {contrast.diverged} diverged"
    gap = formatting.value(abs(contrast.difference.mean), formatting.decimals(contrast.difference))
    small = ", less than the margin" if contrast.small else ""
    texts = {
        "ahead": f"{contrast.first} better than {contrast.second} by {gap}{small}",
        "behind": f"{contrast.second} better than {contrast.first} by {gap}{small}",
        "equal": f"{contrast.first} and {contrast.second} equal within the margin",
        "open": f"{contrast.first} vs. {contrast.second} not decided",
        "unknown": f"{contrast.first} vs. {contrast.second} without an interval",
        "accounting": f"{contrast.first} vs. {contrast.second} depends on the accounting ({contrast.accounting})",
        "untrained": f"{contrast.first} vs. {contrast.second} not trained enough",
    }
    return texts[contrast.outcome] + (f" ({contrast.diverged} diverged)" if contrast.diverged else "")


def against(contrast: Contrast) -> str:
    """What contradicts a claim that the first is better."""
    if contrast.survivor:
        return f"{contrast.diverged} diverged on {contrast.dataset}"
    if contrast.outcome == "equal":
        return f"the two are equal on {contrast.dataset}"
    return f"{contrast.better} is better on {contrast.dataset}"


def by_pair(evidence: Sequence[Contrast]) -> Iterator[list[Contrast]]:
    """The evidence pair by pair."""
    for pair in dict.fromkeys((contrast.first, contrast.second) for contrast in evidence):
        yield [contrast for contrast in evidence if (contrast.first, contrast.second) == pair]
