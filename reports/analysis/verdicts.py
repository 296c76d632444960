"""Who leads, in plain sentences that claim no more than the intervals allow."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archbench.reports.analysis.comparison import CHECKPOINT, Comparison
from archbench.reports.analysis.conditions import beside
from archbench.reports.analysis.contrasts import Contrast, Contrasts, turned
from archbench.reports.base.formatting import decimals, limits, listing, number, p, value
from archbench.reports.base.metrics import metric
from archbench.reports.base.tables import Tables

UNLIKE: Final = 1.5  # times as many tokens with loss as another architecture has, from which the page tells


@dataclass(frozen=True)
class Verdict:
    """One data set's outcome: `state` is `decided`, `open` or `none`; `contrasts` are its primary ones in sentences,
    `warnings` in a word and `notes` in sentences are what to bear in mind."""

    comparison: Comparison
    state: str
    mark: str
    sentence: str
    contrasts: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def verdict(comparison: Comparison, primary: Sequence[Contrast] = ()) -> Verdict:
    """The outcome of one comparison by its primary metric: by its primary contrasts where there are any."""
    tested = [one for one in primary if one.outcome != "unknown"]
    state, mark, sentence = _sentence(comparison)
    if tested:
        state, mark = _state(primary)
        sentence = _summary(comparison, primary)
    warnings = {
        "early training": comparison.early,
        "no better than the classical reference": comparison.none_above_classical,
    }
    shown = tuple(warning for warning, holds in warnings.items() if holds and comparison.scored)
    sentences = tuple(contrast_sentence(one) for one in primary)
    notes = tuple(_notes(comparison, tested=bool(tested)))
    return Verdict(comparison, state, mark, sentence, sentences, shown, notes)


def contrast_sentence(one: Contrast) -> str:
    """What is decided between two architectures, and what would decide it where nothing is; which runs diverged."""
    return _decision(one) + (f" {one.diverged} diverged." if one.diverged and one.outcome != "unknown" else "")


def _decision(one: Contrast) -> str:
    found = metric(one.metric)
    places = decimals(one.difference, found.decimals)
    toward = one if one.difference.mean >= 0 else turned(one)
    gap, span = value(toward.difference.mean, places), limits(toward.difference, found.decimals)
    margin = f"{one.margin:g}"
    if one.better:
        worse = one.second if one.better == one.first else one.first
        small = f", by less than the margin of {margin}" if one.small else ""
        return f"{one.better} is ahead of {worse} by {gap} {found.label} (95% interval {span}; {p_said(one)}){small}."
    if one.outcome == "equal":
        return f"{one.first} and {one.second} are equal within the margin of {margin} {found.label} ({span})."
    if one.outcome == "unknown" and one.diverged:
        return f"{one.first} against {one.second}: not tested, since {one.diverged} diverged."
    if one.outcome == "unknown":
        return f"{one.first} against {one.second}: not tested; it takes two seeds of one of them, and scores of both."
    if one.flat:
        return f"{one.first} against {one.second}: no score varied, so that nothing can be decided."
    alone = " of it alone" if one.family > 1 and one.difference.excludes_zero else ""
    seen = f"{_favour(one, places)} (95% interval{alone} {span}; {p_said(one)})"
    return f"{one.first} against {one.second} is not decided: {seen}. {_power(one)}"


def _favour(one: Contrast, places: int) -> str:
    gap = one.difference.mean
    if gap == 0:
        return "the means are equal"
    return f"{value(abs(gap), places)} in favour of {one.first if gap > 0 else one.second}"


def _power(one: Contrast) -> str:
    """What this comparison would have found, and how many seeds would find what is wanted."""
    found = metric(one.metric)
    size = value(one.detectable, decimals(one.difference, found.decimals))
    which = "Not even the greatest possible" if one.detectable > found.extent else f"One of {size}"
    told = f"{which} would have been found four times in five"
    if one.seeds is None:
        return f"{told}; more seeds alone would not decide it, more test examples might."
    if one.seeds <= one.runs:
        return f"{told}; as many other seeds would most likely decide it."
    return f"{told}; about {one.seeds} seeds of each would decide it."


def p_said(one: Contrast) -> str:
    """A p value in words, and for how many tests it is corrected."""
    found = p(one.p)
    said = f"p {found}" if found.startswith("<") else f"p = {found}"
    return f"{said}, corrected for {one.family} tests" if one.family > 1 else said


def _state(primary: Sequence[Contrast]) -> tuple[str, str]:
    decided = sum(one.decided for one in primary)
    if decided == len(primary):
        return "decided", "decided"
    return "open", f"{decided} of {len(primary)} decided" if decided else "not decided"


def _summary(found: Comparison, primary: Sequence[Contrast]) -> str:
    """The best of the declared architectures, where one is ahead of each of the others; else who has the best mean."""
    names = dict.fromkeys(name for one in primary for name in (one.first, one.second))
    among = " of the declared architectures" if set(found.group.architectures) - set(names) else ""
    for name in names:
        others = [one for one in primary if name in (one.first, one.second)]
        if len(others) == len(names) - 1 and all(one.better == name for one in others):
            rest = listing(other for other in names if other != name)
            return f"{name} is best{among}, with {_amount(found, name)}: ahead of {rest}."
    pairs = len(names) * (len(names) - 1) // 2
    if len(primary) == pairs and all(one.outcome == "equal" for one in primary):
        return f"{listing(names)} are equal within the margin, {_amount(found, next(iter(names)))}."
    return _leaders(found, primary, {cell.architecture: cell.interval.mean for cell in found.scored}, list(names))


def _leaders(found: Comparison, primary: Sequence[Contrast], means: Mapping[str, float], names: Sequence[str]) -> str:
    top = max(found.metric.gain(means[name]) for name in names if name in means)
    leaders = [name for name in names if name in means and found.metric.gain(means[name]) == top]
    has = "has the best mean" if len(leaders) == 1 else "share the best mean"
    better = {one.second if one.first == one.better else one.first for one in primary if one.better in leaders}
    ahead = (
        f", and is ahead of {listing(name for name in names if name in better)}" if len(leaders) == 1 and better else ""
    )
    return f"No architecture is ahead of all others: {listing(leaders)} {has}, {_amount(found, leaders[0])}{ahead}."


def across(first: Comparison, found: Contrasts) -> list[str]:
    """What becomes of a data set's primary pairs under the further conditions: a sentence for each that changes."""
    dataset = first.group.dataset
    under = {beside(first.group, said): pairs for said, pairs in otherwise(dataset, found).items()}
    changed: dict[Contrast, dict[str, list[str]]] = {}
    for said, pairs in under.items():
        for base, there in pairs:
            if not alike(base, there):
                changed.setdefault(base, {}).setdefault(_came_out(there), []).append(said)
    pairs_there = dict.fromkeys(base for pairs in under.values() for base, _ in pairs)
    sentences = [
        f"{dataset}, {base.first} against {base.second}: {_came_out(base)} under the first condition; "
        f"{'; '.join(f'{came} under {listing(where)}' for came, where in ways.items())}."
        for base, ways in changed.items()
    ]
    same = [f"{base.first} against {base.second}" for base in pairs_there if base not in changed]
    if same:
        sentences.append(f"{dataset}: the same under every condition: {listing(same)}.")
    return sentences


def otherwise(dataset: str, found: Contrasts) -> dict[str, list[tuple[Contrast, Contrast]]]:
    """Under each further condition a data set's primary pairs: as they were tested first, and there."""
    base = [one for one in found.of(dataset) if one.outcome != "unknown"]
    conditions = dict.fromkeys(one.condition for one in found.exploratory if one.dataset == dataset and one.condition)
    under = {
        said: [(one, there) for one in base for there in found.under(dataset, said, (one.first, one.second))]
        for said in conditions
    }
    tested = {
        said: [(one, there) for one, there in pairs if there.outcome != "unknown" and not there.flat]
        for said, pairs in under.items()
    }
    return {said: pairs for said, pairs in tested.items() if pairs}


def alike(one: Contrast, other: Contrast) -> bool:
    """Whether two tests of one pair come out the same."""
    return (one.outcome, one.better) == (other.outcome, other.better)


def _came_out(one: Contrast) -> str:
    words = {"equal": "equal within the margin", "open": "not decided"}
    return f"{one.better} ahead" if one.better else words[one.outcome]


def _sentence(found: Comparison) -> tuple[str, str, str]:
    scored = found.scored
    if not scored:
        diverged = int((found.group.runs["status"] == "diverged").sum())
        told = f" {_runs(diverged)} diverged." if diverged else ""
        return "none", "no result", f"No run has finished with a score yet.{told}"
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
    """Why the order may not mean much, in sentences: a cheat, early training, a better classical reference."""
    notes = [*_cheats(found), *_untrained(found)]
    if found.early and found.scored:
        ratio = number(found.tokens_per_parameter)
        notes.append(
            f"Early training: as few as {ratio} training tokens per parameter; the order may change with more."
        )
    if found.at_the_floor:
        notes.append(
            "No score is off the bottom of the scale: nobody does this yet. Train longer, or judge by what tells apart "
            'models that get nothing right (where there is one, primary = "bits_per_byte").'
        )
    if found.at_the_end:
        notes.append("The best scores are within the margin of the end of the scale, which hides what differs beyond.")
    if found.bounded:
        notes.append(
            f"{listing(found.bounded)} had rates and checkpoints chosen by a bound on this likelihood, the others by "
            "the likelihood itself."
        )
    if found.unbounded:
        notes.append(
            f"{listing(found.unbounded)}: learning rate and checkpoint were selected on the masked loss, which is no "
            "bound on this likelihood."
        )
    best = found.classical
    if best and found.none_above_classical:
        name, score = best
        notes.append(
            f"No architecture does better, by its interval, than the classical reference {reference_label(name)} "
            f"({value(score, found.metric.decimals)}); the order among them says little."
        )
    return notes


def left_out(tables: Tables) -> list[str]:
    """Which files about data sets were not as they were written, and so are not used."""
    rows = tables["experiment"]
    found = rows.loc[(rows["key"] == "left_out").fillna(False), "value"].dropna()
    return [f"Left out, since not as written: {names}." for names in found]


def _untrained(found: Comparison) -> Iterator[str]:
    """Which architectures have runs that validation never found better than untrained ones."""
    runs = found.group.runs
    if "best_step" not in runs:
        return
    trained = (runs["status"] == "done") & (runs["steps"].astype(float) > 0)
    never = runs[(trained & (runs["best_step"].astype(float) == 0)).fillna(False)]
    for name, own in never.groupby("architecture", sort=False):
        yield (
            f"Training never made {name} better on validation than it was before, in {_runs(len(own))}: "
            "untrained weights are scored there."
        )


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count > 1)}"


def _spent(found: Comparison) -> Iterator[str]:
    """How far training went, beside whoever won."""
    runs = found.group.runs
    if found.scored and math.isfinite(found.tokens_per_parameter):
        ratios = (runs["train_tokens"].astype(float) / runs["parameters"].astype(float)).dropna()
        more = " or more" if number(ratios.max()) != number(found.tokens_per_parameter) else ""
        said = f"Trained on {number(found.tokens_per_parameter)} tokens per parameter{more}"
        epochs = runs["epochs"].astype(float).max() if "epochs" in runs else math.nan
        yield f"{said}, up to {number(epochs)} passes over the data." if math.isfinite(epochs) else f"{said}."
    if "train_loss_tokens" in runs:
        counts = runs.groupby("architecture", sort=False)["train_loss_tokens"].mean().astype(float).dropna()
        if len(counts) > 1 and counts.max() > UNLIKE * counts.min() > 0:
            each = listing(f"{name} {number(count)}" for name, count in counts.items())
            yield f"Not all had a loss on as many of these tokens: {each}."


def _notes(found: Comparison, tested: bool) -> list[str]:
    notes = [*_spent(found), *cautions(found)]
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
    least = found.detectable(found.leader)
    if least > 0 and not found.decided and not tested:
        size = value(least, decimals(found.differences[found.nearest], found.metric.decimals))
        notes.append(
            f"Minimum detectable difference between {found.leader} and {found.nearest}: with these seeds and examples "
            f"one of about {size} would be found four times in five."
        )
    return notes


def _cheats(found: Comparison) -> list[str]:
    """What an ablation is that breaks the contract, as it says itself."""
    return [
        f"{name} breaks the contract, as it is meant to ({checks}): its losses and likelihoods are not those of a "
        f"model that predicts, and compare with no other's.{_looked_ahead(found, name, checks)}"
        for name, checks in breaking(found).items()
    ]


def breaking(found: Comparison) -> dict[str, str]:
    """The ablations that break the contract, and the checks that they say they fail."""
    runs = found.group.runs
    if "breaks" not in runs:
        return {}
    broken = runs[runs["breaks"].fillna("") != ""].drop_duplicates("architecture")
    return dict(zip(broken["architecture"].astype(str), broken["breaks"].astype(str), strict=True))


def _looked_ahead(found: Comparison, name: str, checks: str) -> str:
    """What seeing the answer did to loss and answers, beside the first of the family that does not see it."""
    runs, means = found.group.runs, {cell.architecture: cell.interval.mean for cell in found.scored}
    family = runs.loc[runs["architecture"] == name, "family"].iloc[0]
    honest = runs[((runs["family"] == family) & (runs["breaks"].fillna("") == "")).fillna(False)]
    other = next((each for each in honest["architecture"] if each in means), "")
    if "no_look_ahead" not in checks or not other or name not in means or "validation_loss" not in runs:
        return ""
    losses = runs["validation_loss"].astype(float).groupby(runs["architecture"]).mean()
    if not losses[name] < losses[other] or found.metric.gain(means[name] - means[other]) >= 0:
        return ""
    low, high = (value(losses[each], 4) for each in (name, other))
    worse, better = (value(means[each], found.metric.decimals) for each in (name, other))
    return (
        f" Its validation loss falls to {low} nats per token, below the {high} of {other}, but its answers are worse: "
        f"{found.metric.label} {worse} against {better}."
    )


_REFERENCES: Final = {
    "majority": "majority class",
    "tfidf_logistic": "TF-IDF + logistic regression",
    "ngram": "n-gram model",
    "lzma": "lzma",
    "copy": "copy the source",
    "lead": "beginning of the source",
    "nearest": "nearest training example",
    "untrained": "untrained model",
}


def reference_label(name: str) -> str:
    """A reference row's name as people say it."""
    if name.startswith(CHECKPOINT):
        return f"{name.removeprefix(CHECKPOINT)}, as it is"
    return _REFERENCES.get(name, name.replace("_", " "))
