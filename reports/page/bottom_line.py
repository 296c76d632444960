"""The report in a few sentences, for a reader in a hurry: what is decided, what is not, and what it cannot say."""

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final

from archbench.reports.analysis.comparison import Comparison
from archbench.reports.analysis.conditions import MATCHES
from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.scaling import sentences
from archbench.reports.analysis.shares import doublings
from archbench.reports.analysis.sweeps import SIZE
from archbench.reports.analysis.verdicts import alike, otherwise
from archbench.reports.base.formatting import listing, number

UNLIKE: Final = 1.25  # times the FLOPs of the first architecture, from which on it is told
MOST: Final = 3  # sentences about size or depth; the rest stands beside their figures


def bottom_line(judged: Judged) -> list[str]:
    """Up to three sentences about the primary contrasts, else about what changes, or size and depth, do.

    None where nothing was tested.
    """
    primary, effects = judged.tested.primary, judged.tested.effects
    reserve = list(_reserve(judged))
    below = {one.group.dataset for one in judged.first if one.none_above_classical}
    if any(one.outcome != "unknown" for one in primary):
        return [_decided(primary, below, _held(judged.first)), *_open(primary), *_grown(judged), *reserve]
    if primary and not effects and max(one.runs for one in primary) < 2:
        return ["Nothing is tested: it takes two seeds of an architecture to tell a difference from chance.", *reserve]
    if any(one.outcome != "unknown" for one in effects):
        return [_decided(effects, below, "", "of what was changed"), *_undecided(effects), *reserve]
    climbed = [f"{one.ladder.title}: {said}" for one in judged.climbs for said in sentences(one)]
    return [*climbed[:MOST], *reserve] if climbed else []


def _grown(judged: Judged) -> Iterator[str]:
    """Who is better at the greatest size than at the least, on which ladders, and how many are not."""
    gained: dict[tuple[str, ...], list[str]] = {}
    asked, rest = 0, 0
    for climb in (one for one in judged.climbs if one.ladder.axis is SIZE):
        ends = {
            name: climb.move(name, climb.ladder.of(name)[-1], climb.ladder.of(name)[0])
            for name in climb.ladder.architectures
            if len(climb.ladder.of(name)) > 1
        }
        better = tuple(name for name, one in ends.items() if one.outcome == "ahead")
        gained.setdefault(better, []).append(climb.ladder.title)
        asked, rest = asked + len(ends), rest + len(ends) - len(better)
    parts = [f"{listing(names)} on {listing(ladders)}" for names, ladders in gained.items() if names]
    if asked:
        other = f"; the other {rest} of {asked} are not, or it is not decided" if rest and parts else ""
        who = "; ".join(parts) or "nobody, as far as is decided"
        yield f"Better at the greatest size than at the least: {who}{other}."


def _decided(
    primary: Sequence[Contrast], below: Container[str], held: str, among: str = "between the declared architectures"
) -> str:
    """Who is ahead of whom, and on what: those that are so on the same data sets are named together.

    ``below`` has the data sets on which no architecture is better than a classical method, ``held`` what is held equal.
    """
    ahead: dict[tuple[str, str], list[str]] = {}
    for (winner, other), ones in _by_pair((one.better, _other(one), one) for one in primary if one.better).items():
        ahead.setdefault((winner, f"{_on(ones)}{_kinds(ones, primary, below)}"), []).append(other)
    equal = _by_pair((one.first, one.second, one) for one in primary if one.outcome == "equal")
    parts = [f"{winner} ahead of {listing(others)}{where}" for (winner, where), others in ahead.items()]
    parts += [f"{first} and {second} equal within the margin{_on(ones)}" for (first, second), ones in equal.items()]
    sure = f" at 5%, corrected for {primary[0].family} tests" if primary[0].family > 1 else " at 5%"
    return f"Decided{sure}{held}: {'; '.join(parts)}." if parts else f"Nothing is decided {among}{held}."


def _held(first: Sequence[Comparison]) -> str:
    """What was held equal, where that is the same for all data sets."""
    axes = {axis for one in first for axis in one.group.runs["match"].dropna().unique()}
    said = [MATCHES[axis] for axis in axes if axis in MATCHES]
    return f", {said[0]}" if len(axes) == len(said) == 1 else ""


def _by_pair(found: Iterable[tuple[str, str, Contrast]]) -> dict[tuple[str, str], list[Contrast]]:
    pairs: dict[tuple[str, str], list[Contrast]] = {}
    for first, second, one in found:
        pairs.setdefault((first, second), []).append(one)
    return pairs


def _on(ones: Sequence[Contrast]) -> str:
    """The data sets of these; nothing where they are named with the architectures."""
    if all(" on " in one.first for one in ones):
        return " by less than the margin" if all(one.small for one in ones) else ""
    return f" on {listing(f'{one.dataset} (by less than the margin)' if one.small else one.dataset for one in ones)}"


def _kinds(ones: Sequence[Contrast], primary: Sequence[Contrast], below: Container[str]) -> str:
    """A word about a kind takes two data sets of it, all of which agree; on none may a classical method be better."""
    sets = {kind: {one.dataset for one in primary if one.task == kind} for kind in dict.fromkeys(o.task for o in ones)}
    good = {one.dataset for one in ones if one.dataset not in below}
    whole = [kind for kind, names in sets.items() if len(names) > 1 and names <= good]
    return f", so in {listing(whole)}" if whole else ""


def _other(one: Contrast) -> str:
    return one.second if one.first == one.better else one.first


def _open(primary: Sequence[Contrast]) -> Iterator[str]:
    pairs: dict[str, list[str]] = {}
    for (first, second), ones in _by_pair((one.first, one.second, one) for one in primary if not one.decided).items():
        pairs.setdefault(_on(ones), []).append(f"{first} against {second}")
    if pairs:
        yield f"Not decided: {'; '.join(f'{listing(ones)}{where}' for where, ones in pairs.items())}."


def _undecided(effects: Sequence[Contrast]) -> Iterator[str]:
    open_ = sum(not one.decided for one in effects)
    if open_:
        yield f"Not decided: {open_} of {len(effects)} changes."


def _reserve(judged: Judged) -> Iterator[str]:
    """What casts doubt on the verdicts."""
    first, tested = judged.first, judged.tested
    below = [one.group.dataset for one in first if one.none_above_classical]
    early = [one for one in first if one.early and one.scored]
    parts = []
    wrong = list(dict.fromkeys(one.contrast.dataset for one in tested.controls if one.right is False))
    if wrong:
        parts.append(f"controls did not come out as they had to on {listing(wrong)}")
    if below:
        parts.append(f"on {listing(below)} no architecture is better than a classical method")
    decided = [one for one in tested.primary if one.decided]
    bases = [pair for one in first for pairs in otherwise(one.group.dataset, tested).values() for pair in pairs]
    moved = {base for base, there in bases if base.decided and not alike(base, there)}
    if moved:
        come = "comes" if len(moved) == 1 else "come"
        parts.append(f"{len(moved)} of the {len(decided)} verdicts {come} out otherwise under a further condition")
    doubled = doublings(judged)
    if doubled:
        done = sum(one.outcome == "equal" or one.small for one in doubled)
        known = "is" if done < 2 else "are"
        parts.append(f"{done or 'none'} of {len(doubled)} scores {known} known to have converged")
    cost = _cost(first, {name for one in tested.primary for name in (one.first, one.second)})
    if cost:
        parts.append(cost)
    if early:
        least = number(min(one.tokens_per_parameter for one in early))
        parts.append(f"training was early (as few as {least} tokens per parameter), and the order may change with more")
    if parts:
        yield f"Bear in mind: {'; '.join(parts)}."


def _cost(first: Sequence[Comparison], declared: Container[str]) -> str:
    """What training of the declared ones took beside the first architecture, where it is not about the same.

    Least and greatest over data sets; nothing where they are too many to be told in a sentence.
    """
    ratios: dict[str, list[float]] = {}
    base = ""
    for one in first:
        flops = one.group.runs.groupby("architecture", sort=False)["train_flops"].mean().astype(float).dropna()
        base = base or (one.group.architectures[0] if one.group.architectures else "")
        if base in flops and flops[base] > 0:
            for name in dict.fromkeys(cell.architecture for cell in one.scored):
                if name in declared and name != base and name in flops and flops[name] > 0:
                    ratios.setdefault(name, []).append(float(flops[name] / flops[base]))
    said = [
        f"{name} {_range(min(found), max(found))}"
        for name, found in ratios.items()
        if max(found) > UNLIKE or min(found) < 1 / UNLIKE
    ]
    few = 0 < len(said) <= MOST
    return f"training took other FLOPs than {base}'s: {listing(said)} times as many" if few else ""


def _range(least: float, most: float) -> str:
    ends = [f"{end:.2f}" for end in (least, most)]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
