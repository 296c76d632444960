"""The words for outcomes: of a test, of an architecture on a data set, of a data set, and of many tests in a line.

``phrase`` has those for a single contrast with its numbers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from archbench.reports.base.formatting import capitalized, decimals, grouped, listing, signed, value
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.ranking import Case, Ranking
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.gates import BAR, BELOW_GATE

OUTCOMES: Final[Mapping[str, str]] = {  # of a test, for the first side
    "ahead": "better",
    "behind": "worse",
    "equal": "equal within the margin",
    "open": "not decided",
    "unknown": "not tested",
    "accounting": "depends on the accounting",
}
BELOW_GATE_MARK: Final = "\N{DOUBLE DAGGER}"
MARKED_BELOW_GATE: Final = (
    f"{BELOW_GATE_MARK}: {BELOW_GATE} (no better than a {BAR} or than one label for everything, or does not use its "
    "source)"
)
SMALL: Final = "by less than the margin"
SHOWN: Final = {"difference": "a difference", "equality": "equality within the margin"}  # by more seeds
MOST_NAMES: Final = 2  # of other architectures after a verb
BEST: Final = "better than every other architecture that primary contrasts name"
BOLD: Final = (
    f"wins (is {BEST}) and has the best mean; 95% intervals of its differences from architectures outside the primary "
    "contrasts also exclude 0"
)
NOT_ABOVE_BASELINE: Final = "\N{DAGGER}"
BEHIND_BASELINE: Final = f"{NOT_ABOVE_BASELINE}: not shown to be better than the best simple baseline (95% interval)."
NONE_ABOVE_BASELINE: Final = "no architecture is better than the best simple baseline"


class Word(NamedTuple):
    """The state of an architecture on a data set in a word, and what it means."""

    word: str
    meaning: str


STANDINGS: Final[Mapping[str, Word]] = {
    "wins": Word("wins", BEST),
    "better": Word("better", "better in each of its primary contrasts, but not tested against every architecture"),
    "loses": Word("loses", "worse in at least one"),
    "ties": Word("ties", "every pair decided, never worse, and equal within the margin at least once"),
    "open": Word(OUTCOMES["open"], "a contrast is open, and none is lost"),
    "unknown": Word(OUTCOMES["unknown"], "no test was possible, for example with one seed"),
    "accounting": Word(
        OUTCOMES["accounting"],
        "decided under the first condition, but another outcome is decided (5%, not corrected) if budgets are matched "
        "differently or other tokens have a loss, and nothing else changes",
    ),
}
_RANKINGS: Final[Mapping[Case, str]] = {
    "wins": "{leaders} wins with {amount}: better than {beaten}.",
    "beats": "{leaders} has the best mean, {amount}, and is better than {beaten}.",
    "leads": "{leaders} has the best mean, {amount}.",
    "share": "{leaders} share the best mean, {amount}.",
    "same": "{leaders} have the same mean, {amount}.",
    "equal": "{leaders} are equal within the margin ({amount}).",
    "alone": "Only {leaders} has a score under this budget: {amount}.",
    "beside checkpoints": "{leaders} has {amount}; finetuned on the budget of the task: {checkpoints}. Not tested, "
    "because the earlier training of {finetuned} is in no budget.",
    "checkpoint": "Finetuned on the budget of the task, {leaders} has {amount}, {checkpoints}. Not tested, because the "
    "earlier training of {leaders and finetuned} is in no budget.",
    "none": "No run has a score yet.",
}


def mark(ranking: Ranking) -> str:
    """The state of a data set in a few words: "decided", "1 of 3 pairs decided", "not tested"."""
    if ranking.state == "decided":
        return "decided"
    if ranking.pairs:
        return f"{ranking.decided} of {ranking.pairs} pairs decided" if ranking.decided else OUTCOMES["open"]
    return {"none": "no result", "alone": "no comparison"}.get(ranking.case, OUTCOMES["unknown"])


def summary(comparison: Comparison, ranking: Ranking) -> str:
    """The state of a data set in sentences."""
    facts = _facts(comparison, ranking)
    return " ".join(template.format(**facts) for template in _templates(comparison, ranking))


def _templates(comparison: Comparison, ranking: Ranking) -> Iterator[str]:
    """The sentences of a state: its outcome, on what it rests, and who takes no part in it."""
    if ranking.complete and ranking.case in ("beats", "leads", "share"):
        yield "No architecture wins."
    yield _RANKINGS[ranking.case]
    if ranking.case == "none" and (comparison.group.runs["status"] == "diverged").any():
        yield "Runs that diverged: {diverged}."
    if not ranking.pairs and ranking.state == "open":
        yield from _by_intervals(comparison, ranking)
    if ranking.outside:
        yield "Not counted, because in no primary contrast: {outside}."
    if ranking.below:
        yield f"{capitalized(BELOW_GATE)}: {{below}}."


def _by_intervals(comparison: Comparison, ranking: Ranking) -> Iterator[str]:
    """Sentences on the 95% intervals of the differences from the leader, where nothing was tested."""
    if not any(gap.known for gap in comparison.differences.values()):
        yield "One seed gives no interval."
        return
    if ranking.beaten:
        yield "The lead over {beaten} has a 95% interval that excludes 0 (not corrected)."
    if ranking.rivals:
        yield "The lead over {rivals} could be chance (nearest: {nearest})."


def _facts(comparison: Comparison, ranking: Ranking) -> dict[str, str]:
    """Values that the sentences name."""
    names = {name: listing(getattr(ranking, name)) for name in ("leaders", "beaten", "rivals", "below", "outside")}
    cell = next((cell for cell in comparison.cells if cell.architecture in ranking.leaders[:1]), None)
    places = decimals(cell.interval, comparison.metric.decimals) if cell else 0
    gap = comparison.differences[ranking.rivals[0]] if ranking.rivals else None
    return names | {
        "amount": f"{value(cell.interval.mean, places)} {comparison.metric.label}" if cell else "",
        "nearest": f"{ranking.rivals[0]}, {signed(gap, comparison.metric.decimals)}" if gap else "",
        "diverged": str((comparison.group.runs["status"] == "diverged").sum()),
        "checkpoints": listing(f"{name} {value(mean, places)}" for name, mean in comparison.finetuned.items()),
        "finetuned": listing(comparison.finetuned),
        "leaders and finetuned": listing([*ranking.leaders, *comparison.finetuned]),
    }


def against_each(architecture: str, state: str, contrasts: Sequence[Contrast]) -> list[str]:
    """Words for a win by less than the margin; for an architecture that only beats some, how it stands to each.

    For example "beats encoder", "not decided vs. decoder".
    """
    if state == "wins":
        return [SMALL] if all(contrast.small for contrast in contrasts if contrast.better == architecture) else []
    own = [contrast for contrast in contrasts if architecture in (contrast.first, contrast.second)]
    beaten = [contrast.worse for contrast in own if contrast.better == architecture]
    lost = [contrast.better for contrast in own if contrast.worse == architecture]
    pairs = [(contrast.first, contrast.second) for contrast in own if contrast.outcome == "open"]
    open_to = [second if first == architecture else first for first, second in pairs]
    sides = (("beats", beaten), ("loses to", lost), (f"{OUTCOMES['open']} vs.", open_to))
    named = [(verb, listing(names if len(names) <= MOST_NAMES else [f"{len(names)} others"])) for verb, names in sides]
    return [f"{verb} {names}" for verb, names in named if names] if beaten else []


def ahead(contrasts: Sequence[Contrast]) -> str:
    """The pairs in which one is better, or both are equal, in a line; those with the same data sets stand together."""
    better: dict[tuple[str, str], list[str]] = {}
    for (first, second), same in _by_pair(entry for entry in contrasts if entry.better).items():
        better.setdefault((first, _on(same)), []).append(second)
    equal = _by_pair(entry for entry in contrasts if entry.outcome == "equal")
    parts = [f"{first} is better than {listing(others)}{where}" for (first, where), others in better.items()]
    parts += [f"{first} and {second} are {OUTCOMES['equal']}{_on(same)}" for (first, second), same in equal.items()]
    return "; ".join(parts) or "no difference is decided"


def with_outcome(contrasts: Sequence[Contrast], outcome: str) -> str:
    """The pairs with an outcome, by data set: "decoder vs. encoder on trec"; "every pair" where all have it."""
    entries = []
    for dataset, own in by_title(contrasts).items():
        pairs = [f"{entry.first} vs. {entry.second}" for entry in own if entry.outcome == outcome]
        entries += [(pair, dataset) for pair in (["every pair"] if 1 < len(own) == len(pairs) else pairs)]
    return grouped(entries)


def by_title(contrasts: Iterable[Contrast]) -> dict[str, list[Contrast]]:
    """The contrasts of each data set or, where it has several primary measures, of each of them there."""
    titles: dict[str, list[Contrast]] = {}
    for contrast in contrasts:
        titles.setdefault(contrast.title, []).append(contrast)
    return titles


def undecided(contrasts: Sequence[Contrast], what: str) -> str:
    """How many are not decided: "not decided: 2 of 3 changes"; empty where all are."""
    count = sum(not contrast.decided for contrast in contrasts)
    return f"{OUTCOMES['open']}: {count} of {len(contrasts)} {what}" if count else ""


def _by_pair(contrasts: Iterable[Contrast]) -> dict[tuple[str, str], list[Contrast]]:
    """The contrasts of each pair, the better one first."""
    pairs: dict[tuple[str, str], list[Contrast]] = {}
    for contrast in contrasts:
        pair = (contrast.better or contrast.first, contrast.worse or contrast.second)
        pairs.setdefault(pair, []).append(contrast)
    return pairs


def _on(contrasts: Sequence[Contrast]) -> str:
    """The data sets of these; nothing where they are named with the architectures."""
    if all(" on " in contrast.first and " on " in contrast.second for contrast in contrasts):
        return f" {SMALL}" if all(contrast.small for contrast in contrasts) else ""
    return f" on {listing(f'{entry.title} ({SMALL})' if entry.small else entry.title for entry in contrasts)}"
