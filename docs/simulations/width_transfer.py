"""Does the best learning rate of a narrow model serve a wide one? Trains the three families at four widths.

`python -P docs/simulations/width_transfer.py train DIR [FAMILY ...]` trains what is missing and writes
`width_transfer.csv` beside this file; `... draw` makes the figure of `docs/tuning.md` and its table from that. Every
model reads the same phrases with the default recipe, at rates a factor of two apart. With "transfer" the rates are
those of the narrowest model, scaled by `training.optimizer.hidden_factor`; with "one rate" all parameters of a model
have the same rate.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import numpy as np
from matplotlib import pyplot as plt

from archbench.reports.figures.palette import looks
from archbench.runs.base import store
from archbench.runs.base.plan import Plan
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.planning import budget, matrix, tuning

HERE = Path(__file__).parent
FAMILIES = ("decoder", "encoder", "encoder-decoder")
DEPTHS = {"decoder": 2, "encoder": 2, "encoder-decoder": 1}
WIDTHS = (32, 64, 128, 256)
NARROW, HIDDEN, HEADS = WIDTHS[0], 64, 2
RATES = (0.005, 0.01, 0.02, 0.04, 0.08)
RULES = ("transfer", "one rate")
SEED = 0
EXPERIMENT = {
    "name": "width-transfer",
    "architectures": list(FAMILIES),
    "seeds": [SEED],
    "budget": {"parameters": 25_000, "tokens": 100_000},
    "model": {"width": NARROW, "heads": HEADS},
    "training": {"batch_tokens": 512},
    "tasks": [
        {
            "data": "phrases-en-de",
            "vocabulary": 512,
            "source_length": 20,
            "target_length": 24,
            "test_examples": 20,
        }
    ],
}


@dataclass(frozen=True)
class Point:
    """One training run and its loss on validation, in nats per token (exact, also for an encoder)."""

    rule: str
    family: str
    width: int
    rate: float
    loss: float


def plans(root: Path) -> dict[tuple[str, str, int, float], Plan]:
    """The runs, the narrow ones first; those of the narrowest model serve both rules."""
    experiment = spec.from_dict(EXPERIMENT)
    cache = root / "cache"
    made = matrix.plan(experiment, device="cpu", deterministic=False, cache=cache, root=root, say=print)
    usual = {plan.architecture: plan for plan in made.plans}
    found = {}
    for width, family, rule, rate in product(WIDTHS, FAMILIES, RULES, RATES):
        plan = usual[family]
        narrow = replace(plan.size, dim=NARROW, heads=HEADS, depth=DEPTHS[family], hidden=HIDDEN)
        scaled = NARROW if rule == "transfer" and width != NARROW else None
        training = plan.training.model_copy(update={"learning_rate": rate, "proxy_width": scaled})
        size = budget.at_width(narrow, width)
        found[rule, family, width, rate] = replace(plan, size=size, training=training, trial=True, references=False)
    return found


def train(root: Path, families: Sequence[str]) -> None:
    """Trains what these families lack; the table is written once no family lacks anything."""
    places = plans(root)
    for (rule, family, width, rate), plan in places.items():
        if family not in families:
            continue
        folder = store.run_folder(root, plan.run)
        if tuning.losses(root, [plan.run]) is None:
            work.perform(plan, folder, lambda progress: None, lambda: False)
        print(f"{rule} {family} {width} {rate:g}: {_loss(root, plan.run):.4f}", flush=True)
    if any(tuning.losses(root, [plan.run]) is None for plan in places.values()):
        return
    with open(HERE / "width_transfer.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["rule", "family", "width", "rate", "loss"])
        rows.writerows([*place, f"{_loss(root, plan.run):.5f}"] for place, plan in places.items())


def _loss(root: Path, run: str) -> float:
    given = tuning.losses(root, [run])
    assert given is not None, f"{run} has not ended"
    return (given.exact or given.losses)[0]


def points() -> list[Point]:
    """The committed runs."""
    with open(HERE / "width_transfer.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [Point(r["rule"], r["family"], int(r["width"]), float(r["rate"]), float(r["loss"])) for r in rows]


def best(known: list[Point], rule: str, family: str, width: int) -> Point:
    """The run with the lowest loss."""
    own = [one for one in known if (one.rule, one.family, one.width) == (rule, family, width)]
    return min(own, key=lambda one: one.loss)


def moved(known: list[Point], rule: str, family: str, width: int) -> float:
    """By how many doublings the best rate of a width differs from the one that the narrowest model's best one predicts.

    "root of the width": all parameters have one rate, which is predicted to fall with the root of the width.
    """
    trained = "transfer" if rule == "transfer" else "one rate"
    predicted = best(known, trained, family, NARROW).rate
    if rule == "root of the width":
        predicted *= (NARROW / width) ** 0.5
    return float(np.log2(best(known, trained, family, width).rate / predicted))


def draw() -> None:
    known, look = points(), looks(FAMILIES)
    figure, axes = plt.subplots(2, 3, figsize=(9, 5), sharex=True, sharey="col", layout="constrained")
    shades = dict(zip(WIDTHS, (0.35, 0.55, 0.75, 1.0), strict=True))
    for (row, rule), (column, family) in product(enumerate(RULES), enumerate(FAMILIES)):
        panel, style = axes[row, column], look[family]
        for width in WIDTHS:
            own = [one for one in known if (one.rule, one.family, one.width) == (rule, family, width)]
            panel.plot(
                [one.rate for one in own],
                [one.loss for one in own],
                color=style.colour,
                marker=style.marker,
                markersize=4,
                alpha=shades[width],
                linewidth=0.8 + 0.5 * WIDTHS.index(width),
                label=f"width {width}",
            )
            lowest = best(known, rule, family, width)
            panel.plot(lowest.rate, lowest.loss, style.marker, color="black", markersize=6)
        panel.set_xscale("log", base=2)
        panel.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        panel.set_title(f"{family}, {rule}", fontsize=9)
        panel.tick_params(labelsize=8)
        if column == 0:
            panel.legend(fontsize=7, frameon=False)
    for panel in axes[1]:
        panel.set_xlabel("learning rate (of width 32)" if panel is axes[0, 0] else "learning rate", fontsize=8)
    for panel in axes[:, 0]:
        panel.set_ylabel("validation loss, nats per token", fontsize=8)
    figure.savefig(HERE / "width_transfer.png", dpi=110)
    print("| rule | family | 64 | 128 | 256 | lowest loss at 256 |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for rule, family in product(("transfer", "root of the width", "one rate"), FAMILIES):
        cells = " | ".join(f"{moved(known, rule, family, width):+.1f}" for width in WIDTHS[1:])
        lowest = best(known, "transfer" if rule == "transfer" else "one rate", family, WIDTHS[-1]).loss
        print(f"| {rule} | {family} | {cells} | {lowest:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("root", type=Path)
    training.add_argument("families", nargs="*", default=FAMILIES)
    commands.add_parser("draw")
    given = parser.parse_args()
    if given.command == "train":
        train(given.root, given.families)
    else:
        draw()


if __name__ == "__main__":
    sys.exit(main())
