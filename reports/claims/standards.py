"""Standards for the evidence of a claim, whatever its tests say: one that fails any is undecided, because of this.

- Every side passes its gate: a model that has hardly learned says little about its design.
- A side that was pretrained is better than its own training from scratch, where that was trained too: what is worse for
  its pretraining shows a bad pretraining. A claim that compares just these two tests it itself.
- A claim about n examples, or about data limited to n, is about any n: where every seed has the same ones, the interval
  over seeds is about these alone.
- What is about amounts of training, or compares different ones, scores weights of the end of training.
- Trials chose the rate of every side: one that suits the other decides nothing.
- The bar of a gate was measured. Where answers repeat, so that they may be labels, one answer to everything is a bar,
  too. Whether shuffled sources do as well is printed where it was not measured: a model above its bar has learned.
- Sides of a claim about data read different amounts of distinct data, not the same data more often.
- A baseline is the same for every tokenizer: an n-gram model over tokens is weak or strong as the tokens are.
- Nothing is refuted by models that are no better than the best simple baseline: they may be too poor. Nor by models
  that depart from the source of the claim.
- A contrast counts once, and tokenizers that give the same stream of tokens are one side. Of claims that the same
  contrasts decide, the first of the ledger has them. A pair that is a control counts for no other claim.

A claim whose contrasts are only a part of those of an undecided claim is decided, but marked as a part of it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final, NamedTuple

from archbench.reports.base.formatting import grouped, listing, number
from archbench.reports.base.tables import Tables
from archbench.reports.claims.evidence import ClaimVerdict, below_gates, deciding, refuted
from archbench.reports.claims.ledger import DECIDED, UNDECIDED, Claim, successors
from archbench.reports.claims.sides import DISTINCT, TOKENS, amounts, are_equal, ratios, scored_after
from archbench.reports.claims.tuning import Tuning
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.verdicts import baseline_label
from archbench.reports.contrasts.words import NONE_ABOVE_BASELINE
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.place import Place
from archbench.runs.experiment.spec import FINETUNE, SCRATCH

BETTER_MODELS: Final = "models that are better than the best simple baseline"
OVER_TOKENS: Final = ("unigram", "bigram")  # baselines that are another one for each tokenizer


LATE: Final = 0.98  # weights that are scored are of the end of training from this part of the steps on


class Reason(NamedTuple):
    """Why a claim is undecided, and what would change that; no step where the tests say it themselves."""

    words: str
    step: str = ""


def gates(claim: Claim, counted: Sequence[Contrast]) -> Iterator[Reason]:
    """The sides below their gates; a control takes away what the model needs, so that it has none."""
    if not claim.control and (words := below_gates(counted)):
        yield Reason(words)


def tuned(claim: Claim, found: Tuning) -> Iterator[Reason]:
    """Sides that train at rates which no trial chose for them; a control is noticed at any rate that trains."""
    if not claim.control and not found.level:
        yield Reason("the rates of its sides were not all tuned", "trials that choose each side's rate")


def end_of_training(claim: Claim, counted: Sequence[Contrast]) -> Iterator[Reason]:
    """The sides of a claim about amounts of training whose scored weights are from well before its end."""
    early = {
        (f"{side} after {scored_after(contrast, side):.0%} of its steps", contrast.dataset): None
        for contrast in counted
        if claim.names_amounts or not are_equal(ratios([contrast]).get(TOKENS, ()))
        for side in (contrast.first, contrast.second)
        if scored_after(contrast, side) < LATE
    }
    if early:
        yield Reason(f"weights were kept before the end ({grouped(early)})", 'weights of the last step (keep = "last")')


def departs(claim: Claim, refuting: bool) -> Iterator[Reason]:
    """Reason against refuting a claim by models, or a training, that the source did not have; none elsewhere."""
    if refuting and claim.recipe:
        yield Reason("a test that departs from its source refutes nothing", "the recipe of the source")


def same_data(claim: Claim, counted: Sequence[Contrast]) -> Iterator[Reason]:
    """The sides of a claim about data that read the same data, and be it more often."""
    if not claim.data:
        return
    same = [contrast for contrast in counted if are_equal(ratios([contrast]).get(DISTINCT, (math.nan,)))]
    read = {
        f"{number(amounts(contrast, contrast.first)[DISTINCT])} distinct tokens": contrast.dataset for contrast in same
    }
    if read:
        yield Reason(f"both sides read the same {grouped(read.items())}", "sides that read different amounts of data")


def beaten(datasets: Sequence[Comparison], claim: Claim, counted: Sequence[Contrast]) -> Iterator[Reason]:
    """The data sets on which a claim would be refuted by models that a simple baseline beats.

    Baselines were fitted for the first condition, and say nothing of other numbers of examples.
    """
    if not refuted(claim, counted) or any(Place.parse(side).start for pair in claim.ahead for side in pair):
        return
    sets = {contrast.dataset for contrast in deciding(claim, counted)}
    lost = [entry.group.dataset for entry in datasets if entry.group.dataset in sets and entry.none_beats_baseline]
    if lost:
        yield Reason(f"{NONE_ABOVE_BASELINE} on {listing(lost)}, and such models refute nothing", BETTER_MODELS)


def answers_repeat(tables: Tables, dataset: str) -> bool:
    """True if the answer of the nearest training example is right for a test example, as labels written as text are."""
    rows = tables["references"]
    rows = rows[(rows["dataset"] == dataset) & (rows["name"] == "nearest") & (rows["split"] == "test")]
    return bool((rows.loc[rows["metric"] == "exact_match", "value"].astype(float) > 0).any())


def own_scratch(
    comparisons: Comparisons, claim: Claim, datasets: Sequence[Comparison], counted: Sequence[Contrast]
) -> tuple[list[Reason], str]:
    """The pretrained sides that are no better than from scratch; in words, those without a run from scratch."""
    below: list[tuple[str, str]] = []
    unknown: list[tuple[str, str]] = []
    for comparison in datasets:
        dataset = comparison.group.dataset
        for words, side in _pretrained(claim, dataset, counted).items():
            place = Place.parse(side)
            scratch = _mean(
                comparisons, comparison, f"{place.architecture}{{{SCRATCH}, {place.adapt}, {place.examples}}}"
            )
            gain = comparison.metric.gain(_mean(comparisons, comparison, side) - scratch)
            if math.isnan(gain) and place.adapt == FINETUNE:
                unknown.append((words, dataset))
            elif gain <= 0:
                below.append((words, dataset))
    text = f"no run from scratch to compare {grouped(unknown)} with" if unknown else ""
    verb = "is" if len(below) == 1 else "are"
    failed = [Reason(f"{grouped(below)} {verb} no better than from scratch", "a pretraining that helps these models")]
    return failed if below else [], text


def _pretrained(claim: Claim, dataset: str, counted: Sequence[Contrast]) -> dict[str, str]:
    """The pretrained sides of the contrasts on a data set, as the claim writes them, by their words.

    A side that is compared with its own training from scratch is left out.
    """
    names = {name for contrast in counted if contrast.dataset == dataset for name in (contrast.first, contrast.second)}
    places = {side: Place.parse(side) for pair in claim.ahead for side in pair}
    return {
        place.words: side
        for pair in claim.ahead
        for side, other in (pair, pair[::-1])
        if (place := places[side]).words in names
        and place.start
        and not place.start.startswith(SCRATCH)
        and places[other] != replace(place, start=SCRATCH)
    }


def _mean(comparisons: Comparisons, comparison: Comparison, side: str) -> float:
    """The mean score of a side; nan where it has no runs or no score."""
    runs = comparisons.side(comparison, side)
    if runs.empty:
        return math.nan
    values = comparisons.by_seed(comparison.group.of({side: runs}), comparison.metric.name).get(side, {})
    return sum(values.values()) / len(values) if values else math.nan


def one_draw(nouns: Iterable[str]) -> Iterator[Reason]:
    """One draw of few examples for every seed; ``nouns``: of what."""
    for noun in nouns:
        yield Reason(f"every seed has the same draw of the {noun}", f'{noun} that each seed draws (draw = "seed")')


def baseline(claim: Claim, refuting: bool) -> Iterator[Reason]:
    """A baseline over tokens, which is another one for each tokenizer; one that only beats the models."""
    yield from departs(claim, refuting)
    if refuting and not claim.under:
        yield Reason(f"models that the {baseline_label(claim.over)} beats refute nothing", BETTER_MODELS)
    if claim.over in OVER_TOKENS:
        yield Reason(
            f"the {baseline_label(claim.over)} is another baseline for each tokenizer",
            "a baseline that is the same for every tokenizer",
        )


def same_streams(tables: Tables) -> dict[str, str]:
    """The data sets that have as many tokens of the same texts as an earlier one, as bytes and characters: its name."""
    known = ["dataset", "kind", "origin", "train_examples", "train_tokens"]
    rows = tables["datasets"].reindex(columns=known).dropna()
    of_others: dict[str, str] = {}
    for earlier, later in combinations(rows.to_dict("records"), 2):
        alike = all(earlier[key] == later[key] for key in ("kind", "origin", "train_examples"))
        if alike and are_equal([later["train_tokens"] / max(earlier["train_tokens"], 1)]):
            of_others.setdefault(str(later["dataset"]), str(earlier["dataset"]))
    return of_others


def identity(contrast: Contrast, streams: Mapping[str, str]) -> tuple[str, str, frozenset[str]]:
    """Key that tells apart the contrasts of a report, whichever side comes first; ``streams``: see `same_streams`."""
    sides = (name.partition(" on ") for name in (contrast.first, contrast.second))
    names = frozenset(f"{name}{on}{streams.get(place, place)}" for name, on, place in sides)
    return contrast.dataset, contrast.condition, names


def counted_once(rulings: Sequence[ClaimVerdict], streams: Mapping[str, str]) -> Iterator[ClaimVerdict]:
    """The verdicts in the order of the ledger, where contrasts that decide one decide no other."""
    used: dict[tuple[str, str, frozenset[str]], str] = {}
    for ruling in rulings:
        if ruling.verdict not in DECIDED or not ruling.counted or ruling.claim.name in successors():
            yield ruling
            continue
        needed = [identity(contrast, streams) for contrast in deciding(ruling.claim, ruling.counted)]
        if any(len(names) == 1 for _, _, names in needed):
            yield undecided(ruling, Reason("both sides read the same stream of tokens"))
        elif len(set(needed)) < len(needed):
            yield undecided(ruling, Reason("it counts one contrast twice"))
        elif used.keys() >= set(needed):
            names = listing(dict.fromkeys(f"“{used[key]}”" for key in needed))
            yield undecided(ruling, Reason(f"the same runs already decide {names}", "runs of its own"))
        else:
            used |= {key: ruling.claim.name for key in needed if key not in used}
            yield ruling


def parts(rulings: Sequence[ClaimVerdict], streams: Mapping[str, str]) -> Iterator[ClaimVerdict]:
    """The verdicts, where a decided claim rests on a part of the contrasts of an undecided one: with its name."""
    open_ones = {
        ruling.claim.name: {identity(contrast, streams) for contrast in ruling.counted}
        for ruling in rulings
        if ruling.verdict == UNDECIDED and ruling.claim.name not in successors()
    }
    for ruling in rulings:
        own = {identity(contrast, streams) for contrast in ruling.counted} if ruling.verdict in DECIDED else set()
        wholes = [name for name, others in open_ones.items() if own and own < others]
        yield replace(ruling, part_of=wholes[0]) if wholes else ruling


def undecided(ruling: ClaimVerdict, reason: Reason) -> ClaimVerdict:
    """A decided claim that is not, for this reason."""
    evidence = f"{ruling.evidence.removesuffix('.')}; undecided, because {reason.words}."
    strength = replace(ruling.strength, lacks=(*ruling.strength.lacks, reason.words))
    because = (*ruling.because, reason.words)
    return replace(
        ruling, verdict=UNDECIDED, evidence=evidence, command=reason.step, strength=strength, because=because,
        p=math.nan,
    )  # fmt: skip


def in_words(reasons: Sequence[Reason]) -> str:
    """ "undecided, because ..."; empty without a reason."""
    return f"undecided, because {listing(reason.words for reason in reasons)}" if reasons else ""
