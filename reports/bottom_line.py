"""The report in a few sentences, for a reader in a hurry: what is decided, what is not, and what it cannot say."""

from collections.abc import Iterator, Sequence
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
    parts = []
    for dataset, ones in _by_dataset(primary):
        said = [f"{name} ahead of {listing(others)}" for name, others in _ahead(ones)]
        equal = [f"{one.first} and {one.second} equal within the margin" for one in ones if one.outcome == "equal"]
        if said or equal:
            parts.append(f"on {dataset} {', '.join([*said, *equal])}")
    if not parts:
        return f"Nothing is decided {among}."
    agreed = list(_kinds(primary))
    return f"Decided: {'; '.join([*parts, *agreed])}."


def _ahead(ones: Sequence[Contrast]) -> Iterator[tuple[str, list[str]]]:
    """Who is ahead of whom, whoever is ahead of most first."""
    wins = {name: [_beaten(one) for one in ones if one.better == name] for name in (one.better for one in ones) if name}
    yield from sorted(wins.items(), key=lambda item: -len(item[1]))


def _beaten(one: Contrast) -> str:
    other = one.second if one.first == one.better else one.first
    return f"{other} (by less than the margin)" if one.small else other


def _kinds(primary: Sequence[Contrast]) -> Iterator[str]:
    """A word about a kind of task takes two data sets of it, all of which agree."""
    for kind in dict.fromkeys(one.task for one in primary):
        of_kind = [one for one in primary if one.task == kind]
        sets = {one.dataset for one in of_kind}
        for pair in dict.fromkeys((one.first, one.second) for one in of_kind):
            own = [one for one in of_kind if (one.first, one.second) == pair]
            better = {one.better for one in own}
            if len(sets) > 1 and {one.dataset for one in own} == sets and len(better) == 1 and "" not in better:
                name = better.pop()
                other = pair[0] if name == pair[1] else pair[1]
                yield f"in {kind} {name} is ahead of {other} on all {len(sets)} data sets"


def _open(primary: Sequence[Contrast]) -> Iterator[str]:
    parts = []
    for dataset, ones in _by_dataset([one for one in primary if not one.decided]):
        parts.append(f"on {dataset} {listing(f'{one.first} against {one.second}' for one in ones)}")
    if parts:
        yield f"Not decided: {'; '.join(parts)}."


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


def _by_dataset(ones: Sequence[Contrast]) -> Iterator[tuple[str, list[Contrast]]]:
    for dataset in dict.fromkeys(one.dataset for one in ones):
        yield dataset, [one for one in ones if one.dataset == dataset]
