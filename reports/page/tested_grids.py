"""Grids of what was tested: contrasts, controls, conditions, tuning, claims."""

import math
from collections.abc import Sequence
from typing import Final

from archbench.reports.analysis.contrasts import Contrast, Contrasts, Control, turned
from archbench.reports.analysis.trials import Cost, Trial
from archbench.reports.base import formatting
from archbench.reports.base.metrics import metric
from archbench.reports.claims.claims import Ruling
from archbench.reports.page.grids import Entry, Grid, name

WORDS: Final = {
    "equal": "equal within the margin",
    "open": "not decided",
    "unknown": "not tested",
}


def contrasts(found: Sequence[Contrast]) -> Grid:
    """A row for each contrast: what was seen, what is decided, what could have been found."""
    head = ("data set", "contrast", "difference", "p", "margin", "outcome", "detectable", "seeds", "seeds to decide")
    several = any(one.condition for one in found)
    rows = []
    for one in found:
        rows.append(
            (
                name(one.dataset),
                *([name(one.condition)] if several else []),
                _pair(one.first, one.second),
                Entry(_difference(one), metric(one.metric).label),
                Entry(formatting.p(one.p)),
                Entry(f"{one.margin:g}" if math.isfinite(one.margin) else formatting.MISSING),
                name(outcome(one)),
                _detectable(one),
                Entry(str(one.runs)),
                Entry(_seeds(one)),
            )
        )
    heads = [*head[:1], *(["condition"] if several else []), *head[1:]]
    return Grid(tuple(map(name, heads)), tuple(rows))


def outcome(one: Contrast) -> str:
    """An outcome in a few words."""
    words = f"{one.better} ahead" if one.better else WORDS[one.outcome]
    if one.outcome == "unknown" and one.diverged:
        return "diverged"
    return f"{words}, by less than the margin" if one.small else words


def controls(found: Sequence[Control]) -> Grid:
    """What had to come out, and what did."""
    head = ("data set", "control", "has to be", "difference", "p", "detectable", "came out", "")
    wanted = {"same": "not told apart", "ahead": "told apart"}
    rows = [
        (
            name(one.contrast.dataset),
            _pair(one.contrast.first, one.contrast.second),
            name(wanted[one.expected]),
            Entry(_difference(one.contrast)),
            Entry(formatting.p(one.contrast.p)),
            _detectable(one.contrast),
            name(outcome(one.contrast)),
            name({True: "✓ right", False: "✗ wrong", None: ""}[one.right]),
        )
        for one in found
    ]
    return Grid(tuple(map(name, head)), tuple(rows))


def _detectable(one: Contrast) -> Entry:
    """The difference that would have been found four times in five."""
    found = metric(one.metric)
    if one.detectable > found.extent:
        return Entry(f"> {found.extent:g}")
    return Entry(formatting.value(one.detectable, formatting.decimals(one.difference, found.decimals)))


def factors(found: Contrasts) -> Grid:
    """Pairs that differ in one thing."""
    head = ("what changes", "data set", "contrast", "difference", "outcome")
    rows = [
        (
            name(one.changes),
            name(one.contrast.dataset),
            _pair(one.contrast.first, one.contrast.second),
            Entry(_difference(one.contrast), metric(one.contrast.metric).label),
            name(outcome(one.contrast)),
        )
        for one in sorted(found.factors, key=lambda one: [each.changes for each in found.factors].index(one.changes))
    ]
    return Grid(tuple(map(name, head)), tuple(rows))


def sensitivity(found: Contrasts) -> Grid:
    """The primary pairs under every condition, side by side."""
    pairs = list(dict.fromkeys((one.first, one.second) for one in found.primary))
    ones = [*found.primary, *(one for one in found.exploratory if one.condition)]
    places = list(dict.fromkeys((one.dataset, one.condition) for one in ones))
    datasets = [dataset for dataset, said in places if said]
    head = (name("data set"), name("condition"), *(_pair(*pair) for pair in pairs))
    rows = []
    for dataset, said in sorted(places, key=lambda place: [one[0] for one in places].index(place[0])):
        if dataset not in datasets:
            continue
        here = {
            frozenset((one.first, one.second)): one for one in ones if (one.dataset, one.condition) == (dataset, said)
        }
        entries = [_under(here.get(frozenset(pair)), pair) for pair in pairs]
        if any(entry.text for entry in entries):
            rows.append((name(dataset), name(said or "first condition"), *entries))
    return Grid(head, tuple(rows))


def _under(one: Contrast | None, pair: tuple[str, str]) -> Entry:
    if one is None or one.outcome == "unknown":
        return Entry("", kind="quiet")
    return Entry(_difference(one if (one.first, one.second) == pair else turned(one)), outcome(one))


def tuning(found: Sequence[Trial]) -> Grid:
    """What was chosen for each architecture, from how many trials."""
    apart = [name("condition")] if any(trial.condition for trial in found) else []
    head = (
        name("data set"),
        *apart,
        *map(name, ("architecture", "trials", "learning rate", "dropout", "validation loss", "")),
    )
    rows = []
    for place in dict.fromkeys((trial.dataset, trial.condition, trial.architecture) for trial in found):
        own = [trial for trial in found if (trial.dataset, trial.condition, trial.architecture) == place]
        dataset, condition, architecture = place
        for one in own:
            if one.chosen:
                edge = "at the grid's edge" if one.edge else ""
                numbers = (f"{sum(trial.seeds for trial in own)}", f"{one.learning_rate:.3g}", f"{one.dropout:g}")
                loss = formatting.value(one.loss, 4)
                under = [name(condition)] if apart else []
                rows.append((name(dataset), *under, name(architecture), *map(Entry, numbers), Entry(loss), name(edge)))
    return Grid(head, tuple(rows))


def costs(found: Sequence[Cost]) -> str:
    """The cost of tuning in a sentence; empty without trials."""
    if not found:
        return ""
    flops, seconds = sum(one.flops for one in found), sum(one.seconds for one in found)
    reported = sum(one.reported_flops for one in found)
    ratio = f", {flops / reported:.0%} of what all other runs took" if reported else ""
    return (
        f"{sum(one.trials for one in found)} trials took {formatting.number(flops)} FLOPs of training{ratio}, and "
        f"{formatting.seconds(seconds)} of one worker's time."
    )


def claims(found: Sequence[Ruling]) -> Grid:
    """The ledger with its verdicts."""
    head = ("claim", "verdict", "evidence", "tested as")
    rows = [
        (
            Entry(f"“{one.claim.statement}”", kind="text"),
            name(one.verdict),
            Entry(one.evidence, f"to decide it: {one.command}" if one.command else "", "text"),
            Entry(one.claim.reading, one.claim.source, "text"),
        )
        for one in found
    ]
    return Grid(tuple(map(name, head)), tuple(rows))


def _pair(first: str, second: str) -> Entry:
    return Entry(first, f"against {second}", "text")


def _difference(one: Contrast) -> str:
    return formatting.interval(one.difference, metric(one.metric).decimals)


def _seeds(one: Contrast) -> str:
    if one.decided or one.outcome == "unknown":
        return formatting.MISSING
    return f"{one.seeds}" if one.seeds is not None else "more examples"
