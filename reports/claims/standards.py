"""What the evidence of a claim has to be, whatever its tests say: else the claim is undecided, because of this.

- Every side passes its gate: a model that has hardly learned says little about its design.
- A side that was pretrained is better than its own training from scratch, where that was trained too: what is worse for
  its pretraining shows a bad pretraining. A claim that compares just these two tests it itself.
- A claim about n examples is about any n examples: where every seed has the same ones, the interval over seeds is about
  these alone.
- A baseline is the same for every tokenizer: an n-gram model over tokens is weak or strong as the tokens are.
- A contrast counts once. Of claims that the same contrasts decide, the first of the ledger has them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from archbench.reports.base.formatting import grouped, listing
from archbench.reports.claims.evidence import ClaimVerdict, below_gates, deciding
from archbench.reports.claims.ledger import DECIDED, UNDECIDED, Claim, successors
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.verdicts import baseline_label
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.place import Place
from archbench.runs.experiment.spec import FINETUNE, SCRATCH

OVER_TOKENS: Final = ("unigram", "bigram")  # baselines that are another one for each tokenizer


class Reason(NamedTuple):
    """Why a claim is undecided, and what would change that; no step where the tests say it themselves."""

    words: str
    step: str = ""


def gates(claim: Claim, counted: Sequence[Contrast]) -> Iterator[Reason]:
    """The sides below their gates; a control takes away what the model needs, so that it has none."""
    if not claim.control and (words := below_gates(counted)):
        yield Reason(words)


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


def tokens(claim: Claim) -> Iterator[Reason]:
    """A baseline over tokens, which is another one for each tokenizer."""
    if claim.over in OVER_TOKENS:
        yield Reason(
            f"the {baseline_label(claim.over)} is another baseline for each tokenizer",
            "a baseline that is the same for every tokenizer",
        )


def identity(contrast: Contrast) -> tuple[str, str, frozenset[str]]:
    """What tells the contrasts of a report apart, whichever side comes first."""
    return contrast.dataset, contrast.condition, frozenset((contrast.first, contrast.second))


def counted_once(rulings: Sequence[ClaimVerdict]) -> Iterator[ClaimVerdict]:
    """The verdicts in the order of the ledger, where contrasts that decide one decide no other."""
    used: dict[tuple[str, str, frozenset[str]], str] = {}
    for ruling in rulings:
        if ruling.verdict not in DECIDED or not ruling.counted or ruling.claim.name in successors():
            yield ruling
            continue
        needed = [identity(contrast) for contrast in deciding(ruling.claim, ruling.counted)]
        if len(set(needed)) < len(needed):
            yield undecided(ruling, Reason("it counts one contrast twice"))
        elif used.keys() >= set(needed):
            names = listing(dict.fromkeys(f"“{used[key]}”" for key in needed))
            yield undecided(ruling, Reason(f"the same runs already decide {names}", "runs of its own"))
        else:
            used |= {key: ruling.claim.name for key in needed if key not in used}
            yield ruling


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
