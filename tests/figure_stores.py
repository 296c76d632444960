"""Imagined comparisons that together have every figure but that of capacity."""

import functools
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, SKILL, Further, Imagined, Planted

from archbench.reports.base import tables
from archbench.reports.report import Report
from archbench.runs.experiment.spec import is_scratch

FAMILIES = ("decoder", "encoder", "encoder-decoder")
STARTS = (("scratch", "finetune"), ("own", "finetune"), ("own", "frozen"))
SHARES = {0.25: 0.5, 0.5: 0.8}  # of the final score
RATES = {0.002: 0.9, 0.004: 0.4, 0.008: 0.5}


def _parts(task: Imagined) -> list[Further]:
    lower = task.primary == "bits_per_byte"
    whole = 6.2 * 250_000 * 250_000 * task.tokens_per_parameter  # FLOPs
    return [
        Further(
            *(task, name, name, truth / part if lower else truth * part, "share", share),
            changes={"train_flops": share * whole * (0.55 if name == "encoder-decoder" else 1)},
        )
        for name, truth in task.truth.items()
        if name in FAMILIES
        for share, part in SHARES.items()
    ]


def _trials(task: Imagined) -> list[Further]:
    return [
        Further(
            *(task, name, name, task.truth[name], "trial"),
            changes={"learning_rate": rate, "validation_loss": loss + place / 50, "dropout": 0.0},
        )
        for place, name in enumerate(task.truth)
        for rate, loss in RATES.items()
    ]


def _conditions(task: Imagined) -> list[Further]:
    return [
        Further(task, name, name, truth * 1.05, role="compared", condition=condition)
        for condition in ("target supervision", "dropout 0.1, tuned for each architecture")
        for name, truth in task.truth.items()
    ]


def _families(root: Path) -> None:
    further = [*_parts(PHRASES), *_parts(SHAKESPEARE), *_trials(SENTIMENT), *_conditions(SENTIMENT)]
    synthetic.write_store(root, [PHRASES, SENTIMENT, SHAKESPEARE], further=further)


def _gated(root: Path) -> None:
    """A model that is below its gate, long words in every cell of the verdicts, a data set without a comparison."""
    gated = replace(SHAKESPEARE, references=SHAKESPEARE.references | {"ngram": 3.0})
    alone = replace(SHAKESPEARE, dataset="plays", references=SHAKESPEARE.references | {"ngram": 2.56})
    synthetic.write_store(root, [replace(SENTIMENT, dataset="phrases-pairs-en-de"), gated, alone])


def _orders(root: Path) -> None:
    """An encoder whose answers were written in several orders."""
    runs = synthetic.write_store(root, [PHRASES, SHAKESPEARE])
    place = [*PHRASES.truth].index("encoder") * PHRASES.seeds
    synthetic.write_decodings(root, runs[place : place + PHRASES.seeds], "exact_match")


def _ablation(root: Path) -> None:
    names = ["decoder", "decoder-no-positions", "decoder-with-relative-attention-bias", "decoder-post-norm"]
    task = replace(SENTIMENT, truth={name: 0.6 - place / 50 for place, name in enumerate(names)})
    synthetic.write_store(root, [task])
    synthetic.specify(root, "contrasts", [[name, "decoder"] for name in names[1:]])


def _sizes(root: Path) -> None:
    points = [Planted(size, dict.fromkeys(FAMILIES, score)) for size, score in ((125_000, 0.6), (320_000, 0.65))]
    synthetic.write_sweep(root, SENTIMENT, "parameters", Planted(50_000, dict.fromkeys(FAMILIES, 0.5)), points)


def _depths(root: Path) -> None:
    points = [Planted(depth, dict.fromkeys(FAMILIES, 0.6), width) for depth, width in ((2, 96), (8, 48))]
    synthetic.write_sweep(root, SENTIMENT, "depth", Planted(1, dict.fromkeys(FAMILIES, 0.5), 128), points)


def _pretraining(root: Path) -> None:
    """Scores rise with the number of examples, and more steeply from scratch."""
    places = [(start, adapt, n) for n in (20, 100, 1000) for start, adapt in STARTS]
    _write_started(root, [*places, ("own", "prompt", 0), ("own", "prompt", 4), ("./gpt2", "finetune", 20)])


def _starts(root: Path) -> None:
    """Many starts, on one number of examples."""
    starts = ("scratch", "causal", "span-corruption-of-everything", "masked-15", "./a-checkpoint", "scratch+causal")
    _write_started(root, [*((start, "finetune", 100) for start in starts), ("causal", "frozen", 100)])


def _over_examples(root: Path) -> None:
    """Two pretrainings, each on several numbers of examples."""
    starts = ("scratch", "own", "causal")
    _write_started(root, [(start, "finetune", n) for n in (20, 100, 1000) for start in starts])


def _pretrainings(root: Path) -> None:
    """A pretraining, a part of it that a conversion continues, and one that continues it."""
    text, rest = replace(SHAKESPEARE, dataset="books"), replace(SHAKESPEARE, dataset="switched")
    further = [
        *(Further(text, name, name, truth, "pretraining") for name, truth in text.truth.items()),
        Further(text, "decoder", "decoder", 3.5, "pretraining", condition="0.5 of the tokens of switched"),
        Further(rest, "encoder-decoder", "encoder-decoder", 3.0, "pretraining", changes={"start": "books"}),
    ]
    synthetic.write_store(root, [SENTIMENT], further=further)


def _write_started(root: Path, places: Sequence[tuple[str, str, int]]) -> None:
    base, *others = places

    def truth(name: str, start: str, adapt: str, examples: int) -> float:
        count = examples or 1  # a prompt may show none
        gain = 0.0 if start == "scratch" else 0.2 * (20 / count) ** 0.3 - 0.05 * (adapt == "frozen")
        return max(0.1, SENTIMENT.truth[name] - 0.3 * (20 / count) ** 0.5 + gain)

    task = replace(SENTIMENT, truth={name: truth(name, *base) for name in FAMILIES})
    further = [
        Further(task, name, name, truth(name, *place), "compared", condition=f"{place}", changes=started(*place))
        for place in others
        for name in FAMILIES
    ]
    runs = synthetic.write_store(root, [task], further=further)
    for place, run in enumerate(runs):
        number, seed = place // (task.seeds * len(FAMILIES)), place % task.seeds
        start, adapt, examples = places[number]
        trained = 0.5 if examples == 1000 else 2.0  # the budget ends in the middle of the first pass over many examples
        epochs = 0.0 if adapt == "prompt" else trained
        synthetic.change_record(root, run, seed=seed, epochs=epochs, **started(start, adapt, examples))


def started(start: str, adapt: str, examples: int) -> dict[str, object]:
    cost = 0.0 if is_scratch(start) else 8e6
    return {"start": start, "adapt": adapt, "examples": examples, "pretraining_tokens": cost, "pretraining_flops": cost}


def _skills(root: Path) -> None:
    """Two skills with slices. Of one, all seeds of a family reach 90% and one of another; of the other, none."""
    hard = replace(SKILL, dataset="skill:chains", truth=dict.fromkeys(FAMILIES, 0.3))
    runs = synthetic.write_store(root, [SKILL, hard])
    reached = {0: 100_368, 1: 133_824, 2: 117_096, 4: 401_472}
    for place, run in enumerate(runs):
        synthetic.change_record(root, run, tokens_to_90=float(reached.get(place, math.inf)))
    synthetic.write_slices(root, runs, "exact_match", {"length=20": 1, "length=40": 0.5, "length=80": 0.1})


STORES: dict[str, Callable[[Path], None]] = {
    "families": _families,
    "gated": _gated,
    "orders": _orders,
    "ablation": _ablation,
    "sizes": _sizes,
    "depths": _depths,
    "pretraining": _pretraining,
    "starts": _starts,
    "over-examples": _over_examples,
    "pretrainings": _pretrainings,
    "skills": _skills,
}
FIGURES = {
    "families": (
        *("verdicts", "summary", "in_short", "headline", "causes", "ranks", "headline_further", "effects", "cost"),
        *("compute", "distances", "shares", "anatomy", "curves_tokens", "curves_flops", "tuning"),
    ),
    "gated": ("verdicts", "headline", "summary", "cost", "curves_tokens"),
    "orders": ("writing",),
    "ablation": ("differences", "headline"),
    "sizes": ("scaling",),
    "depths": ("depth",),
    "pretraining": ("pretraining_gains", "pretraining"),
    "starts": ("pretraining_gains", "pretraining"),
    "over-examples": ("pretraining",),
    "pretrainings": ("pretraining_curves",),
}
"""Which figure is drawn from which comparison."""


@functools.cache
def judged(name: str) -> Report:
    with tempfile.TemporaryDirectory() as root:
        STORES[name](Path(root))
        return Report(tables.collect(Path(root)))
