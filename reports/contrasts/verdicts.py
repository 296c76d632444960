"""The verdict on each data set: its outcome, where another condition changes it, and what to bear in mind."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from archbench.reports.base.formatting import capitalized, decimals, listing, number, value
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts import words
from archbench.reports.contrasts.contrast import Answers, Contrast
from archbench.reports.contrasts.phrase import elsewhere
from archbench.reports.contrasts.ranking import Ranking, ranking
from archbench.reports.results.comparison import CHECKPOINT, Comparison

LOSS_TOKENS_RATIO_REPORTED: Final = 1.5  # smaller ratios between two architectures are not reported


@dataclass(frozen=True)
class Verdict:
    """One data set's outcome; ``notes`` are what to bear in mind, in sentences."""

    comparison: Comparison
    ranking: Ranking
    mark: str
    sentence: str
    notes: tuple[str, ...]


def verdict(comparison: Comparison, primary: Sequence[Contrast] = (), changed: Sequence[Contrast] = ()) -> Verdict:
    """The outcome of one comparison by one measure: by its primary contrasts where there are any.

    ``changed`` are those of its pairs that have another outcome under a further condition.
    """
    state = ranking(comparison, primary)
    notes = (*elsewhere(changed), *_notes(comparison, bool(state.pairs)))
    return Verdict(comparison, state, words.mark(state), words.summary(comparison, state), notes)


def under_conditions(comparison: Comparison, tested: Answers) -> list[tuple[Contrast, Contrast]]:
    """The primary pairs of a data set by a measure: as tested first, and under each further condition."""
    dataset = comparison.group.dataset
    further = (entry.condition for entry in tested.exploratory if entry.dataset == dataset and entry.condition)
    return [
        (base, other)
        for condition in dict.fromkeys(further)
        for base in tested.primary_on(comparison)
        for other in tested.under_condition(base, condition)
        if not (other.flat or "unknown" in (base.outcome, other.outcome))
    ]


def changed(comparison: Comparison, tested: Answers) -> list[Contrast]:
    """The primary pairs of a data set that have another outcome under a further condition, and are decided in one."""
    pairs = under_conditions(comparison, tested)
    return [other for base, other in pairs if (base.decided or other.decided) and not same_outcome(base, other)]


def same_outcome(contrast: Contrast, other: Contrast) -> bool:
    """True if two tests of one pair have the same outcome, each by its own condition."""
    contrast, other = contrast.ignoring_accounting, other.ignoring_accounting
    return (contrast.outcome, contrast.better) == (other.outcome, other.better)


def cautions(comparison: Comparison) -> list[str]:
    """Cautions about the order, in sentences: a broken contract, early training, a better simple baseline."""
    notes = [] if comparison.is_second else [*_cheats(comparison), *_never_improved(comparison)]
    notes += [] if comparison.is_second else filter(None, [early_training({comparison.group.dataset: comparison})])
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
            f"{capitalized(words.NONE_ABOVE_BASELINE)}, {baseline_label(name)} "
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
        yield f"{name}: training never improved the validation loss (runs: {len(rows)}); untrained weights are scored."


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
    notes = [*cautions(comparison), *_spent(comparison)]
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
    if least > 0 and comparison.open_rivals and not tested:
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
