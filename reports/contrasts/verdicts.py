"""Verdicts in plain sentences: the winner of each data set, as far as the intervals support one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archbench.reports.base.formatting import decimals, limits, listing, number, value
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.contrast import (
    Answers,
    Contrast,
    architectures_of,
    every_pair,
    not_trained_enough,
    winner,
)
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.results.comparison import CHECKPOINT, Comparison
from archbench.reports.results.groups import is_started_elsewhere

LOSS_TOKENS_RATIO_REPORTED: Final = 1.5  # smaller ratios between two architectures are not reported


@dataclass(frozen=True)
class Verdict:
    """One data set's outcome: `state` is `decided` (by corrected tests), `open` or `none`.

    `warnings` in a word and `notes` in sentences are what to bear in mind.
    """

    comparison: Comparison
    state: str
    mark: str
    sentence: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def verdict(comparison: Comparison, primary: Sequence[Contrast] = (), changed: Sequence[Contrast] = ()) -> Verdict:
    """The outcome of one comparison by its primary metric: by its primary contrasts where there are any.

    ``changed`` are those of its pairs that have another outcome under a further condition.
    """
    tested = any(contrast.outcome != "unknown" for contrast in primary)
    state, mark, sentence = _by_tests(comparison, primary) if tested else _by_intervals(comparison)
    warnings = {
        "early training": comparison.early,
        "all at the maximum": comparison.at_the_ceiling,
        "not above the best simple baseline": comparison.none_beats_baseline,
    }
    visible = tuple(warning for warning, holds in warnings.items() if holds and comparison.scored)
    notes = [*elsewhere(changed), *_notes(comparison, tested)]
    return Verdict(comparison, state, mark, sentence, visible, tuple(notes))


def _by_tests(comparison: Comparison, primary: Sequence[Contrast]) -> tuple[str, str, str]:
    """State, mark and sentence of a data set by its primary contrasts."""
    sentence, decided = _summary(comparison, primary), sum(contrast.decided for contrast in primary)
    if decided == len(primary):
        return "decided", "decided", sentence
    return "open", f"{decided} of {len(primary)} pairs decided" if decided else "not decided", sentence


def _summary(comparison: Comparison, primary: Sequence[Contrast]) -> str:
    """The architecture that wins, where there is one; else who has the best mean."""
    names, aside = architectures_of(primary), not_trained_enough(primary)
    enough = [name for name in names if name not in aside]
    if not enough:
        return "No architecture is trained enough to be compared."
    others = set(comparison.group.architectures) - set(names)
    among = " among the architectures in primary contrasts" if others else ""
    without = f" Not trained enough to be compared: {listing(aside)}." if aside else ""
    if best := winner(primary):
        rest = listing(name for name in enough if name != best)
        return f"{best} wins{among} with {_amount(comparison, best)}: better than {rest}.{without}"
    if every_pair(primary) and all(contrast.outcome == "equal" for contrast in primary):
        return f"{listing(names)} are equal within the margin ({_amount(comparison, names[0])})."
    means = {cell.architecture: cell.interval.mean for cell in comparison.scored}
    return _leaders(comparison, primary, means, enough, among) + without


def _leaders(
    comparison: Comparison,
    primary: Sequence[Contrast],
    means: Mapping[str, float],
    names: Sequence[str],
    among: str,
) -> str:
    top = max(comparison.metric.gain(means[name]) for name in names if name in means)
    leaders = [name for name in names if name in means and comparison.metric.gain(means[name]) == top]
    has = "has the best mean" if len(leaders) == 1 else "share the best mean"
    beaten = {contrast.worse for contrast in primary if contrast.better in leaders}
    rest = listing(name for name in names if name in beaten)
    better = f", and is better than {rest}" if len(leaders) == 1 and beaten else ""
    no_winner = "No architecture wins. " if every_pair(primary) else ""
    return f"{no_winner}{listing(leaders)} {has}{among}, {_amount(comparison, leaders[0])}{better}."


def under_conditions(dataset: str, tested: Answers) -> dict[str, list[tuple[Contrast, Contrast]]]:
    """Under each further condition a data set's primary pairs: as they were tested first, and there."""
    first = [contrast for contrast in tested.primary_on(dataset) if contrast.outcome != "unknown"]
    exploratory = (contrast for contrast in tested.exploratory if contrast.dataset == dataset and contrast.condition)
    pairs = {
        condition: [
            (base, other)
            for base in first
            for other in tested.pair_under_condition(dataset, condition, (base.first, base.second))
            if other.outcome != "unknown" and not other.flat
        ]
        for condition in dict.fromkeys(contrast.condition for contrast in exploratory)
    }
    return {condition: both for condition, both in pairs.items() if both}


def changed(dataset: str, tested: Answers) -> list[Contrast]:
    """The primary pairs of a data set that have another outcome under a further condition, and are decided in one."""
    return [
        other
        for pairs in under_conditions(dataset, tested).values()
        for base, other in pairs
        if not (base.failed_gates or other.failed_gates)
        and (base.decided or other.decided)
        and not same_outcome(base, other)
    ]


def elsewhere(changed: Sequence[Contrast], with_dataset: bool = False) -> list[str]:
    """A sentence for each further condition: the outcomes that it changes."""
    by_condition: dict[str, list[str]] = {}
    for contrast in changed:
        where = f" on {contrast.dataset}" if with_dataset else ""
        by_condition.setdefault(contrast.condition, []).append(f"{phrase(contrast, 'clause')}{where}")
    return [
        f"{place(condition)} the outcome changes (not corrected): {'; '.join(outcomes)}."
        for condition, outcomes in by_condition.items()
    ]


def place(condition: str) -> str:
    """ "At equal training FLOPs", "Under the condition “native supervision”"."""
    return f"At {condition}" if condition.startswith("equal ") else f"Under the condition “{condition}”"


def same_outcome(contrast: Contrast, other: Contrast) -> bool:
    """Whether two tests of one pair have the same outcome, each by its own condition."""
    contrast, other = contrast.ignoring_accounting, other.ignoring_accounting
    return (contrast.outcome, contrast.better) == (other.outcome, other.better)


def _by_intervals(comparison: Comparison) -> tuple[str, str, str]:
    """State, mark and sentence of a data set without a tested primary contrast: nothing is decided there."""
    scored, leader = comparison.scored, comparison.leader
    if not scored:
        diverged = int((comparison.group.runs["status"] == "diverged").sum())
        also = f" {_runs(diverged)} diverged." if diverged else ""
        return "none", "no result", f"No run has a score yet.{also}"
    if not leader or len(scored) == 1:
        only = scored[0].architecture
        if comparison.finetuned:
            return "none", "not tested", _beside_checkpoints(comparison)
        return "none", "no comparison", f"Only {only} has a score under this budget: {_amount(comparison, only)}."
    equal = [leader, *(name for name, interval in comparison.differences.items() if interval.mean == 0)]
    share = "share the best mean" if len(equal) > 1 else "has the best mean"
    if len(equal) == len(scored):
        share = "have the same mean"
    leads = f"{listing(equal)} {share}, {_amount(comparison, leader)}"
    if not any(interval.known for interval in comparison.differences.values()):
        return "open", "not tested", f"{leads}. One seed gives no interval."
    if comparison.leader_excludes_all_rivals:
        others = f"to {comparison.nearest}"
        if len(comparison.differences) > 1:
            others = f"to every other architecture (nearest: {comparison.nearest})"
        return (
            "open",
            "not tested (uncorrected interval excludes 0)",
            f"{leads}; the 95% interval of its difference {others} excludes 0 (not corrected).",
        )
    if len(equal) == len(scored):
        return "open", "not tested", f"{leads}."
    return "open", "not tested", f"{leads}, but {_rivals(comparison)}"


def _beside_checkpoints(comparison: Comparison) -> str:
    """The score of the one architecture of a comparison, and those of finetuned checkpoints, which no test compares."""
    name, amount = comparison.scored[0].architecture, _amount(comparison, comparison.scored[0].architecture)
    places = decimals(comparison.scored[0].interval, comparison.metric.decimals)
    others = [f"{other} {value(mean, places)}" for other, mean in comparison.finetuned.items()]
    names = list(comparison.finetuned)
    if is_started_elsewhere(comparison.group.runs).all():
        names = [name, *names]
        scores = f"Finetuned on the budget of the task, {name} has {amount}, {listing(others)}."
    else:
        scores = f"{name} has {amount}; finetuned on the budget of the task: {listing(others)}."
    return f"{scores} Not tested, because the earlier training of {listing(names)} is in no budget."


def _rivals(comparison: Comparison) -> str:
    rivals = sorted(comparison.open_rivals, key=lambda name: comparison.differences[name].mean)
    nearest = comparison.differences[rivals[0]]
    places = decimals(nearest, comparison.metric.decimals)
    if nearest.mean == 0:
        gap = f"{rivals[0]} has the same mean"
    else:
        interval = limits(nearest, comparison.metric.decimals)
        gap = f"its lead of {value(nearest.mean, places)} over {rivals[0]} could be chance (95% interval {interval})"
    further = f"; it cannot be distinguished from {listing(rivals[1:])} either" if rivals[1:] else ""
    behind = [name for name, interval in comparison.differences.items() if interval.excludes_zero]
    clear = f" It is better than {listing(behind)}." if behind else ""
    return f"{gap}{further}.{clear}"


def _amount(comparison: Comparison, architecture: str) -> str:
    cell = next(cell for cell in comparison.cells if cell.architecture == architecture)
    places = decimals(cell.interval, comparison.metric.decimals)
    return f"{value(cell.interval.mean, places)} {comparison.metric.label}"


def cautions(comparison: Comparison) -> list[str]:
    """Cautions about the order, in sentences: a broken contract, early training, a better simple baseline."""
    notes = [*_cheats(comparison), *_never_improved(comparison)]
    notes += filter(None, [early_training({comparison.group.dataset: comparison})])
    if comparison.at_the_floor:
        notes.append(
            "Floor effect: no model solves this task. Train longer, or choose a metric that distinguishes models "
            'without a correct answer (primary = "bits_per_byte").'
        )
    if comparison.at_the_ceiling:
        notes.append("Ceiling effect: every architecture is at the maximum, so this data set ranks none of them.")
    elif comparison.at_the_end:
        notes.append("Ceiling effect: scores near the end of the scale may hide differences.")
    if comparison.bounded:
        notes.append(
            f"{listing(comparison.bounded)}: checkpoints were selected on the training loss (any-order bound), those "
            "of other architectures on the exact likelihood."
        )
    if comparison.unbounded:
        notes.append(
            f"{listing(comparison.unbounded)}: checkpoints were selected on the masked loss, which does not bound this "
            "likelihood."
        )
    best = comparison.best_simple_baseline
    if best and comparison.none_beats_baseline and not comparison.at_the_floor:
        name, score = best
        notes.append(
            f"No architecture is better than the best simple baseline, {baseline_label(name)} "
            f"({value(score, comparison.metric.decimals)}; 95% intervals)."
        )
    return notes


def early_training(named: Mapping[str, Comparison]) -> str:
    """The caution that more training may change the ranking, with where that is so; empty where it is nowhere."""
    early = {name: point.tokens_per_parameter for name, point in named.items() if point.early and point.scored}
    if not early:
        return ""
    ends = dict.fromkeys(map(number, (min(early.values()), max(early.values()))))
    ratio = f"{' to '.join(ends)} training tokens per parameter"
    return f"Early training: {listing(early)} ({ratio}); more may change the ranking."


def left_out(tables: Tables) -> list[str]:
    """Files about data sets that have changed since they were written and are not used."""
    rows = tables["experiment"]
    names = rows.loc[(rows["key"] == "left_out").fillna(False), "value"].dropna()
    return [f"Not used, because changed since they were written: {name}." for name in names]


def _never_improved(comparison: Comparison) -> Iterator[str]:
    """Architectures with runs whose validation loss never improved on the untrained model."""
    runs = comparison.group.runs
    if "best_step" not in runs:
        return
    trained = (runs["status"] == "done") & (runs["steps"].astype(float) > 0)
    never = runs[(trained & (runs["best_step"].astype(float) == 0)).fillna(False)]
    for name, rows in never.groupby("architecture", sort=False):
        yield (
            f"{name}: training never improved the validation loss in {_runs(len(rows))}; the untrained weights are "
            "scored."
        )


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count > 1)}"


def _spent(comparison: Comparison) -> Iterator[str]:
    """How long training was; which architectures had a loss on fewer tokens."""
    runs = comparison.group.runs
    if comparison.scored and math.isfinite(comparison.tokens_per_parameter):
        ends = dict.fromkeys(map(number, (comparison.tokens_per_parameter, comparison.token_ratios.max())))
        pretrained = "pretraining_tokens" in runs and (runs["pretraining_tokens"].astype(float) > 0).any()
        text = f"Training{', with pretraining' if pretrained else ''}: {'-'.join(ends)} tokens per parameter"
        epochs = runs["epochs"].astype(float).max() if "epochs" in runs else math.nan
        least = runs["epochs"].astype(float).min() if "epochs" in runs else math.nan
        most = "" if number(least) == number(epochs) else "at most "
        yield f"{text}, {most}{number(epochs)} epochs." if math.isfinite(epochs) else f"{text}."
    counts = comparison.loss_tokens
    if len(counts) > 1 and counts.max() > LOSS_TOKENS_RATIO_REPORTED * counts.min() > 0:
        tokens = f"{number(counts.min())} to {number(counts.max())}"
        yield f"Tokens with a loss in training: {tokens}, depending on the architecture."


def _notes(comparison: Comparison, tested: bool) -> list[str]:
    notes = [*_spent(comparison), *cautions(comparison)]
    if comparison.idle:
        notes.append(f"No source: the encoder of {listing(comparison.idle)} has no input, but its parameters count.")
    missing = [
        f"{cell.architecture} ({len(cell.values)} of {cell.planned})"
        for cell in comparison.cells
        if len(cell.values) < cell.planned
    ]
    if missing:
        notes.append(f"Runs without a score; runs counted: {listing(missing)}.")
    least = comparison.detectable(comparison.leader)
    if least > 0 and not comparison.leader_excludes_all_rivals and not tested:
        size = value(least, decimals(comparison.differences[comparison.nearest], comparison.metric.decimals))
        notes.append(
            f"Minimum detectable difference between {comparison.leader} and {comparison.nearest}: {size} (80% power, "
            "one test)."
        )
    return notes


def _cheats(comparison: Comparison) -> list[str]:
    """A note for each ablation that declares to break the contract."""
    return [
        f"{name} fails checks of archbench on purpose ({checks}); its losses and likelihoods are not "
        f"comparable.{_looked_ahead(comparison, name, checks)}"
        for name, checks in breaking(comparison).items()
    ]


def breaking(comparison: Comparison) -> dict[str, str]:
    """The ablations that break the contract, and the checks that they say they fail."""
    runs = comparison.group.runs
    if "breaks" not in runs:
        return {}
    broken = runs[runs["breaks"].fillna("") != ""].drop_duplicates("architecture")
    return dict(zip(broken["architecture"].astype(str), broken["breaks"].astype(str), strict=True))


def _looked_ahead(comparison: Comparison, name: str, checks: str) -> str:
    """The effect of look-ahead on loss and answers, compared with the family's first architecture without it."""
    runs, means = comparison.group.runs, {cell.architecture: cell.interval.mean for cell in comparison.scored}
    family = runs.loc[runs["architecture"] == name, "family"].iloc[0]
    honest = runs[((runs["family"] == family) & (runs["breaks"].fillna("") == "")).fillna(False)]
    other = next((architecture for architecture in honest["architecture"] if architecture in means), "")
    if "no_look_ahead" not in checks or not other or name not in means or "validation_loss" not in runs:
        return ""
    losses = runs["validation_loss"].astype(float).groupby(runs["architecture"]).mean()
    if not losses[name] < losses[other] or comparison.metric.gain(means[name] - means[other]) >= 0:
        return ""
    low, high = (value(losses[architecture], 4) for architecture in (name, other))
    worse, better = (value(means[architecture], comparison.metric.decimals) for architecture in (name, other))
    return (
        f" Its validation loss is lower than that of {other} ({low} and {high} nats per token), but its answers are "
        f"worse: {comparison.metric.label} {worse} and {better}."
    )


_BASELINES: Final = {
    "majority": "majority class",
    "tfidf_logistic": "TF-IDF + logistic regression",
    "ngram": "n-gram model",
    "lzma": "lzma",
    "unigram": "unigram model of tokens",
    "bigram": "bigram model of tokens",
    "copy": "copy the source",
    "lead": "beginning of the source",
    "nearest": "nearest training example",
    "untrained": "untrained model",
    "test_text": "the test text itself",
}


def baseline_label(name: str) -> str:
    """A baseline's name as people say it."""
    if name.startswith(CHECKPOINT):
        return f"{name.removeprefix(CHECKPOINT)}, pretrained"
    return _BASELINES.get(name, name.replace("_", " "))
