"""Does the best learning rate of a narrow model serve a wide one? Trains the three families at four widths.

`python -P docs/simulations/width_transfer.py train DIR [FAMILY ...]` trains what is missing and writes
`width_transfer.csv` beside this file; `... draw` makes the figure of `docs/tuning.md` and the table of
`docs/lab-notebook.md` from that. Every model reads the same phrases with the default recipe, at rates a factor of two
apart. With "transfer" the rates are those of the narrowest model, scaled by `training.optimizer.hidden_factor`; with
"one rate" all parameters of a model have the same rate.

`... tokens DIR` does the same for parts of the tokens at one width: `token_transfer.csv`, and a table.
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

from archbench.reports.figures.canvas.palette import looks
from archbench.runs.budgets import budget
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix, tuning
from archbench.runs.plans.plan import Plan
from archbench.runs.store import store

HERE = Path(__file__).parent
FAMILIES = ("decoder", "encoder", "encoder-decoder")
DEPTHS = {"decoder": 2, "encoder": 2, "encoder-decoder": 1}
WIDTHS = (32, 64, 128, 256)
NARROW, HIDDEN, HEADS = WIDTHS[0], 64, 2
RATES = (0.005, 0.01, 0.02, 0.04, 0.08)
RULES = ("transfer", "one rate")
SEED = 0
TOKENS, TOKENS_WIDTH = (50_000, 100_000, 200_000, 400_000), 64
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


@dataclass(frozen=True)
class TokenPoint:
    """One training run of the width `TOKENS_WIDTH` on so many tokens, and its loss on validation."""

    family: str
    tokens: int
    rate: float
    loss: float


def plans(root: Path) -> dict[tuple[str, str, int, float], Plan]:
    """The runs, the narrow ones first; those of the narrowest model serve both rules."""
    usual = _usual(root)
    trials = {}
    for width, family, rule, rate in product(WIDTHS, FAMILIES, RULES, RATES):
        scaled = NARROW if rule == "transfer" and width != NARROW else None
        trials[rule, family, width, rate] = _trial(usual[family], width, rate, scaled)
    return trials


def token_plans(root: Path) -> dict[tuple[str, int, float], Plan]:
    """The runs on parts of the tokens."""
    usual = _usual(root)
    return {
        (family, tokens, rate): replace(_trial(usual[family], TOKENS_WIDTH, rate, None), tokens=tokens)
        for tokens, family, rate in product(TOKENS, FAMILIES, RATES)
    }


def _usual(root: Path) -> dict[str, Plan]:
    experiment = spec.from_dict(EXPERIMENT)
    cache = root / "cache"
    planned = matrix.plan(experiment, device="cpu", deterministic=False, cache=cache, root=root, say=print)
    return {plan.architecture: plan for plan in planned.plans}


def _trial(plan: Plan, width: int, rate: float, scaled: int | None) -> Plan:
    narrow = replace(plan.size, dim=NARROW, heads=HEADS, depth=DEPTHS[plan.architecture], hidden=HIDDEN)
    training = plan.training.model_copy(update={"learning_rate": rate, "proxy_width": scaled})
    return replace(plan, size=budget.at_width(narrow, width), training=training, trial=True, references=False)


def train(root: Path, families: Sequence[str]) -> None:
    """Trains what these families lack; the table is written once no family lacks anything."""
    places = plans(root)
    for (rule, family, width, rate), plan in places.items():
        if family not in families:
            continue
        print(f"{rule} {family} {width} {rate:g}: {_trained(root, plan):.4f}", flush=True)
    if any(tuning.losses(root, [plan.run]) is None for plan in places.values()):
        return
    with open(HERE / "width_transfer.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["rule", "family", "width", "rate", "loss"])
        rows.writerows([*place, f"{_loss(root, plan.run):.5f}"] for place, plan in places.items())


def train_on_tokens(root: Path) -> None:
    """Trains what is missing, writes the table and prints how the best rate moves."""
    with open(HERE / "token_transfer.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["family", "tokens", "rate", "loss"])
        for (family, tokens, rate), plan in token_plans(root).items():
            rows.writerow([family, tokens, rate, f"{_trained(root, plan):.5f}"])
            file.flush()
    measured = token_points()
    print(f"| family | {' | '.join(f'{tokens:,}' for tokens in TOKENS[:-1])} | best rate at {TOKENS[-1]:,} |")
    print(f"| --- |{' ---: |' * len(TOKENS)}")
    for family in FAMILIES:
        cells = " | ".join(f"{moved_by_tokens(measured, family, tokens):+.0f}" for tokens in TOKENS[:-1])
        print(f"| {family} | {cells} | {best_on_tokens(measured, family, TOKENS[-1]).rate:g} |")


def _trained(root: Path, plan: Plan) -> float:
    if tuning.losses(root, [plan.run]) is None:
        work.perform(plan, store.run_folder(root, plan.run), lambda progress: None, lambda: False)
    return _loss(root, plan.run)


def _loss(root: Path, run: str) -> float:
    losses = tuning.losses(root, [run])
    assert losses is not None, f"{run} has not ended"
    return (losses.exact or losses.losses)[0]


def points() -> list[Point]:
    """The committed runs."""
    with open(HERE / "width_transfer.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        Point(row["rule"], row["family"], int(row["width"]), float(row["rate"]), float(row["loss"])) for row in rows
    ]


def token_points() -> list[TokenPoint]:
    """The committed runs on parts of the tokens."""
    with open(HERE / "token_transfer.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [TokenPoint(row["family"], int(row["tokens"]), float(row["rate"]), float(row["loss"])) for row in rows]


def best_on_tokens(measured: list[TokenPoint], family: str, tokens: int) -> TokenPoint:
    """The run with the lowest loss."""
    return min(
        (point for point in measured if (point.family, point.tokens) == (family, tokens)), key=lambda point: point.loss
    )


def moved_by_tokens(measured: list[TokenPoint], family: str, tokens: int) -> float:
    """By how many doublings the best rate on all tokens differs from the one on ``tokens``."""
    whole, part = (best_on_tokens(measured, family, amount).rate for amount in (TOKENS[-1], tokens))
    return float(np.log2(whole / part))


def best(measured: list[Point], rule: str, family: str, width: int) -> Point:
    """The run with the lowest loss."""
    matching = [point for point in measured if (point.rule, point.family, point.width) == (rule, family, width)]
    return min(matching, key=lambda point: point.loss)


def moved(measured: list[Point], rule: str, family: str, width: int) -> float:
    """By how many doublings the best rate of a width differs from the one that the narrowest model's best one predicts.

    "root of the width": all parameters have one rate, which is predicted to fall with the root of the width.
    """
    trained = "transfer" if rule == "transfer" else "one rate"
    predicted = best(measured, trained, family, NARROW).rate
    if rule == "root of the width":
        predicted *= (NARROW / width) ** 0.5
    return float(np.log2(best(measured, trained, family, width).rate / predicted))


def draw() -> None:
    measured, look = points(), looks(FAMILIES)
    figure, axes = plt.subplots(2, 3, figsize=(9, 5), sharex=True, sharey="col", layout="constrained")
    shades = dict(zip(WIDTHS, (0.35, 0.55, 0.75, 1.0), strict=True))
    for (row, rule), (column, family) in product(enumerate(RULES), enumerate(FAMILIES)):
        panel, style = axes[row, column], look[family]
        for width in WIDTHS:
            curve = [point for point in measured if (point.rule, point.family, point.width) == (rule, family, width)]
            panel.plot(
                [point.rate for point in curve],
                [point.loss for point in curve],
                color=style.colour,
                marker=style.marker,
                markersize=4,
                alpha=shades[width],
                linewidth=0.8 + 0.5 * WIDTHS.index(width),
                label=f"width {width}",
            )
            lowest = best(measured, rule, family, width)
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
        cells = " | ".join(f"{moved(measured, rule, family, width):+.1f}" for width in WIDTHS[1:])
        lowest = best(measured, "transfer" if rule == "transfer" else "one rate", family, WIDTHS[-1]).loss
        print(f"| {rule} | {family} | {cells} | {lowest:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("root", type=Path)
    training.add_argument("families", nargs="*", default=FAMILIES)
    commands.add_parser("tokens").add_argument("root", type=Path)
    commands.add_parser("draw")
    arguments = parser.parse_args()
    if arguments.command == "train":
        train(arguments.root, arguments.families)
    elif arguments.command == "tokens":
        train_on_tokens(arguments.root)
    else:
        draw()


if __name__ == "__main__":
    sys.exit(main())
