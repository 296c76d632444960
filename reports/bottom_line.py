"""The report in a few sentences, for a reader in a hurry: what is decided, what is not, and what it cannot say."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from reports.comparison import Comparison
from reports.contrasts import Contrast, Control
from reports.formatting import listing, number
from reports.judgement import Judged
from reports.scaling import sentences

MOST: Final = 3  # sentences about size or depth; the rest stands beside their figures


def bottom_line(judged: Judged) -> list[str]:
    """Up to three sentences about the primary contrasts, else about what changes, or size and depth, do.

    None where nothing was tested.
    """
    primary, effects = judged.tested.primary, judged.tested.effects
    reserve = list(_reserve(judged.first, judged.tested.controls))
    if any(one.outcome != "unknown" for one in primary):
        return [_decided(primary), *_open(primary), *reserve]
    if any(one.outcome != "unknown" for one in effects):
        return [_decided(effects, "of what was changed"), *_undecided(effects), *reserve]
    climbed = [f"{one.ladder.dataset}: {said}" for one in judged.climbs for said in sentences(one)]
    return [*climbed[:MOST], *reserve] if climbed else []


def _decided(primary: Sequence[Contrast], among: str = "between the declared architectures") -> str:
    """Who is ahead of whom, and on what: those that are so on the same data sets are named together."""
    ahead: dict[tuple[str, str], list[str]] = {}
    for (winner, other), ones in _by_pair((one.better, _other(one), one) for one in primary if one.better).items():
        ahead.setdefault((winner, f"{_on(ones)}{_kinds(ones, primary)}"), []).append(other)
    equal = _by_pair((one.first, one.second, one) for one in primary if one.outcome == "equal")
    parts = [f"{winner} ahead of {listing(others)} {where}" for (winner, where), others in ahead.items()]
    parts += [f"{first} and {second} equal within the margin {_on(ones)}" for (first, second), ones in equal.items()]
    return f"Decided: {'; '.join(parts)}." if parts else f"Nothing is decided {among}."


def _by_pair(found: Iterable[tuple[str, str, Contrast]]) -> dict[tuple[str, str], list[Contrast]]:
    pairs: dict[tuple[str, str], list[Contrast]] = {}
    for first, second, one in found:
        pairs.setdefault((first, second), []).append(one)
    return pairs


def _on(ones: Sequence[Contrast]) -> str:
    """The data sets of these."""
    return f"on {listing(f'{one.dataset} (by less than the margin)' if one.small else one.dataset for one in ones)}"


def _kinds(ones: Sequence[Contrast], primary: Sequence[Contrast]) -> str:
    """A word about a kind of task takes two data sets of it, all of which agree."""
    sets = {kind: {one.dataset for one in primary if one.task == kind} for kind in dict.fromkeys(o.task for o in ones)}
    whole = [kind for kind, names in sets.items() if len(names) > 1 and names <= {one.dataset for one in ones}]
    return f" (all of {listing(whole)})" if whole else ""


def _other(one: Contrast) -> str:
    return one.second if one.first == one.better else one.first


def _open(primary: Sequence[Contrast]) -> Iterator[str]:
    pairs: dict[str, list[str]] = {}
    for (first, second), ones in _by_pair((one.first, one.second, one) for one in primary if not one.decided).items():
        pairs.setdefault(_on(ones), []).append(f"{first} against {second}")
    if pairs:
        yield f"Not decided: {'; '.join(f'{listing(ones)} {where}' for where, ones in pairs.items())}."


def _undecided(effects: Sequence[Contrast]) -> Iterator[str]:
    open_ = sum(not one.decided for one in effects)
    if open_:
        yield f"Not decided: {open_} of {len(effects)} changes."


def _reserve(first: Sequence[Comparison], controls: Sequence[Control]) -> Iterator[str]:
    below = [one.group.dataset for one in first if one.below_classical]
    early = [one for one in first if one.early and one.scored]
    parts = []
    wrong = list(dict.fromkeys(one.contrast.dataset for one in controls if one.right is False))
    if wrong:
        parts.append(f"controls did not come out as they had to on {listing(wrong)}")
    if below:
        parts.append(f"on {listing(below)} every architecture is worse than a classical method")
    if early:
        least = number(min(one.tokens_per_parameter for one in early))
        parts.append(f"training was early (as few as {least} tokens per parameter), and the order may change with more")
    if parts:
        yield f"Bear in mind: {'; '.join(parts)}."
