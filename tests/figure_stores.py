"""Imagined comparisons that together have every figure but that of capacity."""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, Further, Imagined, Planted

from archbench.reports.analysis.judgement import Judged, judge
from archbench.reports.base import tables

FAMILIES = ("decoder", "encoder", "encoder-decoder")
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


STORES: dict[str, Callable[[Path], None]] = {
    "families": _families,
    "ablation": _ablation,
    "sizes": _sizes,
    "depths": _depths,
}
FIGURES = {
    "families": (
        *("verdicts", "summary", "in_short", "headline", "causes", "ranks", "headline_further", "effects", "cost"),
        *("compute", "distances", "shares", "anatomy", "curves_tokens", "curves_flops", "tuning"),
    ),
    "ablation": ("differences",),
    "sizes": ("scaling",),
    "depths": ("depth",),
}
"""Which figure is drawn from which comparison."""


@functools.cache
def judged(name: str) -> Judged:
    with tempfile.TemporaryDirectory() as root:
        STORES[name](Path(root))
        return judge(tables.collect(Path(root)))
