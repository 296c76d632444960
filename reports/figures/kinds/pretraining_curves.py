"""Learning curves of pretrainings: the held-out loss of each architecture against the tokens that it has read."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import pandas as pd

from archbench.reports.base.formatting import listing, value
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.palette import label
from archbench.reports.figures.figure import Figure, View, below
from archbench.reports.figures.kinds import curves
from archbench.reports.figures.kinds.curves import Curve
from archbench.runs.experiment.spec import SCRATCH

CAPTION: Final = (
    "Loss of the second half of held-out windows given the first: means over seeds, in a band from the lowest to the "
    "highest seed. Every objective is scored by this loss, even one that trains something else: with span corruption "
    "it may rise. The steep start is cut off. Pretrainings that continue another are not drawn.{sampled}"
)
LISTED: Final = 4  # pretrainings whose losses the line above the figure lists
SAMPLED: Final = " The encoder's loss is an estimate from a few tokens per window."


def pretraining_curves(view: View) -> Figure:
    """A panel for each pretraining that starts from new weights and spends its whole budget."""
    runs = _whole(view.report.comparisons.placed("pretraining"))
    panels, frames, ends, all_lines = [], [], list[tuple[str, list[Curve]]](), list[Curve]()
    for pretraining, its_runs in runs.groupby("dataset", sort=False):
        shown = its_runs[[view.shows(str(pretraining), str(name)) for name in its_runs["architecture"]]]
        architectures = [str(name) for name in dict.fromkeys(shown["architecture"])]
        table = view.report.tables["curves"]
        lines = [line for line in curves.learning_curves(table, shown, architectures, "tokens") if line.exact]
        if not lines:
            continue
        drawing = partial(curves.draw, curves=lines, looks=view.looks, axis="tokens")
        about = f"Held-out loss against tokens, pretraining {pretraining}"
        panels.append(
            Panel(
                title=label(str(pretraining), 80),
                below=below(_objectives(shown)),
                height=2.7,
                draw=drawing,
                description=about,
            )
        )
        frames.append(curves.numbers(lines, str(pretraining), "tokens"))
        ends.append((str(pretraining), lines))
        all_lines += lines
    rows = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    caption = CAPTION.format(sampled=SAMPLED * any(line.sampled for line in all_lines))
    named = tuple(dict.fromkeys(line.architecture for line in all_lines))
    takeaway = f"Loss at the end, in nats per token: {_takeaway(ends)}." if ends else ""
    title = "Learning curves of pretraining"
    return Figure(
        name="pretraining_curves",
        title=title,
        caption=caption,
        panels=tuple(panels),
        architectures=named,
        numbers=rows,
        takeaway=takeaway,
    )


def _whole(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs from new weights on the whole budget: a part of it is what a conversion continues."""
    whole = runs["condition"].fillna("") == ""
    if "start" in runs:
        whole &= runs["start"].fillna(SCRATCH) == SCRATCH
    return runs[whole.astype(bool)]


def _takeaway(ends: Sequence[tuple[str, list[Curve]]]) -> str:
    """The losses at the end of each pretraining; of many pretrainings the lowest and the highest loss."""
    if len(ends) <= LISTED:
        return listing([f"{_ends(lines)} in {pretraining}" for pretraining, lines in ends])
    named = sorted(((line, pretraining) for pretraining, lines in ends for line in lines), key=lambda end: end[0].loss)
    (low, first), (high, last) = named[0], named[-1]
    return f"from {_end(low)} in {first} to {_end(high)} in {last}"


def _ends(lines: Sequence[Curve]) -> str:
    """The lowest and the highest loss at the end, with their architectures."""
    texts = [_end(line) for line in sorted(lines, key=lambda line: line.loss)]
    return texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"


def _end(line: Curve) -> str:
    return f"{'about ' if line.sampled else ''}{value(line.loss, 3)} ({line.architecture})"


def _objectives(runs: pd.DataFrame) -> str:
    """The objective of each architecture, or that of all."""
    if "objective" not in runs:
        return ""
    objectives = runs.dropna(subset="objective").groupby("architecture", sort=False)["objective"].first().to_dict()
    if len(set(objectives.values())) == 1:
        return str(next(iter(objectives.values())))
    return listing([f"{name}: {objective}" for name, objective in objectives.items()])
