"""Who leads, in plain sentences that claim no more than the intervals allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reports.comparison import CHECKPOINT, Comparison, Group
from reports.formatting import decimals, limits, listing, number, value
from runs.spec import AS_IS

MATCHES: Final = {
    "parameters": "equal size and equal training tokens",
    "flops": "equal training tokens and equal training FLOPs",
    "flops-by-tokens": "equal size and equal training FLOPs",
    "seconds": "equal training time",
    AS_IS: "checkpoints as they are, nothing held equal",
}
SUPERVISION: Final = {"native": "loss on source and target", "target": "loss on the target only"}


@dataclass(frozen=True)
class Verdict:
    """One data set's outcome: `state` is `decided`, `open` or `none`; `warnings` in a word and `notes` in sentences
    are what to bear in mind."""

    comparison: Comparison
    state: str
    mark: str
    sentence: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def condition(group: Group) -> str:
    """What sets this group apart from the others on its data set, in words; empty if it is the only one."""
    parts = (MATCHES.get(found, found) if key == "match" else found for key, found in group.condition.items())
    return "; ".join(filter(None, parts))


def verdict(comparison: Comparison) -> Verdict:
    """The outcome of one comparison by its primary metric."""
    state, mark, sentence = _sentence(comparison)
    warnings = {"early training": comparison.early, "worse than the classical reference": comparison.below_classical}
    shown = tuple(warning for warning, holds in warnings.items() if holds and comparison.scored)
    return Verdict(comparison, state, mark, sentence, shown, tuple(_notes(comparison)))


def across(comparisons: Sequence[Comparison]) -> str:
    """Whether the leader on one data set depends on the condition, in a sentence."""
    scored = [one for one in comparisons if len(one.scored) > 1 and one.leader]
    if len(scored) < 2:
        return f"{comparisons[0].group.dataset}: too few conditions have scores to say."
    leaders = list(dict.fromkeys(one.leader for one in scored))
    decided = sum(one.decided for one in scored)
    told = f"decided under {decided} of {len(scored)} conditions"
    if len(leaders) == 1:
        return f"{scored[0].group.dataset}: {leaders[0]} has the best mean under every condition, {told}."
    return f"{scored[0].group.dataset}: the best mean changes with the condition ({listing(leaders)}), {told}."


def _sentence(found: Comparison) -> tuple[str, str, str]:
    scored = found.scored
    if not scored:
        return "none", "no result", "No run has finished with a score yet."
    if not found.leader or len(scored) == 1:
        only = scored[0]
        return (
            "none",
            "no comparison",
            f"Only {only.architecture} was trained to a score, {_amount(found, only.architecture)}: "
            "nothing to compare it with under the same budget.",
        )
    equal = [found.leader, *(name for name, interval in found.differences.items() if interval.mean == 0)]
    share = "share" if len(equal) > 1 else "has"
    leads = f"{listing(equal)} {share} the best mean, {_amount(found, found.leader)}"
    if not any(interval.known for interval in found.differences.values()):
        return "open", "not decided", f"{leads}; with one seed each there is no interval to judge it by."
    if found.decided:
        others = f"to {found.nearest}"
        if len(found.differences) > 1:
            others = f"to every other architecture (nearest: {found.nearest})"
        return (
            "decided",
            "decided",
            f"{found.leader} leads with {_amount(found, found.leader)}; its difference {others} is larger than its "
            "95% interval.",
        )
    if len(equal) == len(found.scored):
        return "open", "not decided", f"{leads}."
    return "open", "not decided", f"{leads}, but {_rivals(found)}"


def _rivals(found: Comparison) -> str:
    rivals = sorted(found.open_rivals, key=lambda name: found.differences[name].mean)
    nearest = found.differences[rivals[0]]
    places = decimals(nearest, found.metric.decimals)
    if nearest.mean == 0:
        gap = f"{rivals[0]} has the same mean"
    else:
        chance = f"could be chance (95% interval {limits(nearest, found.metric.decimals)})"
        gap = f"its lead of {value(nearest.mean, places)} over {rivals[0]} {chance}"
    further = f"; nor is it told from {listing(rivals[1:])}" if rivals[1:] else ""
    behind = [name for name, interval in found.differences.items() if interval.excludes_zero]
    clear = f" It is clearly ahead of {listing(behind)}." if behind else ""
    return f"{gap}{further}.{clear}"


def _amount(found: Comparison, architecture: str) -> str:
    cell = next(cell for cell in found.cells if cell.architecture == architecture)
    return f"{value(cell.interval.mean, decimals(cell.interval, found.metric.decimals))} {found.metric.label}"


def cautions(found: Comparison) -> list[str]:
    """Why the order may not mean much, in sentences: training that ended early, a better classical reference."""
    notes = []
    if found.early and found.scored:
        ratio = number(found.tokens_per_parameter)
        notes.append(
            f"Early training: as few as {ratio} training tokens per parameter; the order may change with more."
        )
    best = found.classical
    if best and found.below_classical:
        name, score = best
        notes.append(
            f"Every architecture does worse than the classical reference {reference_label(name)} "
            f"({value(score, found.metric.decimals)}); the order among them says little."
        )
    return notes


def _notes(found: Comparison) -> list[str]:
    notes = cautions(found)
    if found.idle:
        notes.append(
            f"Without a source the encoder of {listing(found.idle)} idles: its parameters count, but it has nothing to "
            "read."
        )
    missing = [
        f"{cell.architecture} ({len(cell.values)} of {cell.planned})"
        for cell in found.cells
        if len(cell.values) < cell.planned
    ]
    if missing:
        notes.append(f"Some runs gave no score; runs counted: {listing(missing)}.")
    if found.detectable > 0 and not found.decided:
        size = value(found.detectable, decimals(found.differences[found.nearest], found.metric.decimals))
        notes.append(
            f"Minimum detectable difference between {found.leader} and {found.nearest}: with these seeds and examples "
            f"one of about {size} would be found four times in five."
        )
    return notes


_REFERENCES: Final = {
    "majority": "majority class",
    "tfidf_logistic": "TF-IDF + logistic regression",
    "ngram": "n-gram model",
    "lzma": "lzma",
    "copy": "copy the source",
    "nearest": "nearest training example",
    "untrained": "untrained model",
}


def reference_label(name: str) -> str:
    """A reference row's name as people say it."""
    if name.startswith(CHECKPOINT):
        return f"{name.removeprefix(CHECKPOINT)}, as it is"
    return _REFERENCES.get(name, name.replace("_", " "))
