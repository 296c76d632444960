"""The report in a few sentences, for a reader in a hurry: what is decided, what is not, and what it cannot say."""

from collections.abc import Iterator, Sequence

from reports.comparison import Comparison
from reports.contrasts import Contrast, Contrasts
from reports.formatting import listing, number


def bottom_line(first: Sequence[Comparison], found: Contrasts) -> list[str]:
    """Up to three sentences about the primary contrasts; none where there are none."""
    tested = [one for one in found.primary if one.outcome != "unknown"]
    return [*_decided(tested), *_open(found.primary), *_reserve(first)] if tested else []


def _decided(tested: Sequence[Contrast]) -> Iterator[str]:
    parts = []
    for dataset, ones in _by_dataset(tested):
        said = [f"{name} ahead of {listing(others)}" for name, others in _ahead(ones)]
        equal = [f"{one.first} and {one.second} equal within the margin" for one in ones if one.outcome == "equal"]
        if said or equal:
            parts.append(f"on {dataset} {listing([*said, *equal])}")
    yield (
        f"Decided: {'; '.join(parts)}." if parts else "Nothing is decided between the architectures that were declared."
    )
    agreed = list(_kinds(tested))
    if agreed:
        yield f"Both or all data sets of a kind agree: {'; '.join(agreed)}."


def _ahead(ones: Sequence[Contrast]) -> Iterator[tuple[str, list[str]]]:
    for name in dict.fromkeys(one.better for one in ones if one.better):
        yield name, [one.second if one.first == name else one.first for one in ones if one.better == name]


def _kinds(tested: Sequence[Contrast]) -> Iterator[str]:
    """A word about a kind of task takes two data sets of it that agree."""
    for kind in dict.fromkeys(one.task for one in tested):
        of_kind = [one for one in tested if one.task == kind]
        sets = list(dict.fromkeys(one.dataset for one in of_kind))
        for pair in dict.fromkeys((one.first, one.second) for one in of_kind):
            better = {one.better for one in of_kind if (one.first, one.second) == pair}
            count = sum((one.first, one.second) == pair for one in of_kind)
            if len(sets) > 1 and count == len(sets) and len(better) == 1 and "" not in better:
                name = better.pop()
                yield f"in {kind} {name} is ahead of {pair[0] if name == pair[1] else pair[1]}"


def _open(primary: Sequence[Contrast]) -> Iterator[str]:
    parts = []
    for dataset, ones in _by_dataset([one for one in primary if not one.decided]):
        parts.append(f"on {dataset} {listing(f'{one.first} against {one.second}' for one in ones)}")
    if parts:
        yield f"Not decided: {'; '.join(parts)}."


def _reserve(first: Sequence[Comparison]) -> Iterator[str]:
    below = [one.group.dataset for one in first if one.below_classical]
    early = [one for one in first if one.early and one.scored]
    parts = []
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
