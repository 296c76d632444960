"""The figures of a report, in their order on the page, each with the question that it answers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from archbench.reports.figures.canvas.palette import renamed
from archbench.reports.figures.canvas.styles import styled
from archbench.reports.figures.figure import Figure, View
from archbench.reports.figures.kinds import (
    anatomy,
    capacity,
    causes,
    compute,
    cost,
    curves,
    distances,
    forest,
    headline,
    pretraining,
    pretraining_curves,
    pretraining_gains,
    ranks,
    shares,
    summary,
    sweeps,
    tuning,
    verdicts,
    writing,
)
from archbench.reports.report import Report


@dataclass(frozen=True)
class FigureKind:
    """A figure that reports have: the question it answers, how it is built, what a report needs to have it.

    ``instead`` is the figure that shows as much where a report lacks that.
    """

    question: str
    build: Callable[[View], Figure]
    needs: str = "scores on the test split"
    instead: str = ""

    def make(self, view: View) -> Figure:
        """The figure, with the colours and markers of the report and the names that are in force."""
        made = self.build(view)
        return replace(made, looks=view.looks, caption=renamed(made.caption), takeaway=renamed(made.takeaway))

    @property
    def lacks(self) -> str:
        """Words for what a report needs to have this figure, and for the figure it has instead."""
        return f"needs {self.needs}" + (f"; without one, it is the figure {self.instead}" if self.instead else "")


FIGURES: Final[Mapping[str, FigureKind]] = {
    "verdicts": FigureKind("Which architecture wins on which data set?", verdicts.verdicts, "primary contrasts"),
    "summary": FigureKind(
        "How well does each architecture score across data sets?",
        summary.summary,
        "two data sets with simple baselines and metrics that have a best value",
    ),
    "in_short": FigureKind(
        "What do the compared families score?",
        headline.in_short,
        "an architecture that no primary contrast names",
        instead="headline",
    ),
    "headline": FigureKind("What does each architecture score, and how far is it from the best?", headline.headline),
    "differences": FigureKind(
        "How does each variant differ from the default?", forest.differences, "contrasts that the experiment declares"
    ),
    "causes": FigureKind("Why do two families differ?", causes.causes, "intermediate designs between two families"),
    "ranks": FigureKind("Does the order depend on what is held equal?", ranks.ranks, "two conditions of a data set"),
    "headline_further": FigureKind(
        "What are the scores under each condition?", ranks.slopes, "two conditions of a data set"
    ),
    "effects": FigureKind("What is the effect of each change?", forest.effects, "conditions, or tasks with a baseline"),
    "cost": FigureKind("What does quality cost in training and inference?", cost.cost, "costs of two architectures"),
    "writing": FigureKind(
        "What does each order of writing score and cost?", writing.writing, "answers that an encoder wrote in rounds"
    ),
    "pretraining_gains": FigureKind(
        "What does pretraining change, for each architecture?",
        pretraining_gains.pretraining_gains,
        "runs that start from a pretraining, and runs from scratch",
    ),
    "pretraining": FigureKind(
        "How much does pretraining help, by number of training examples?",
        pretraining.pretraining,
        "runs that start from a pretraining",
    ),
    "compute": FigureKind(
        "How much more compute does one architecture need to reach another's loss?",
        compute.compute,
        "runs on parts of the budget, and a likelihood",
    ),
    "distances": FigureKind(
        "How much more budget does one architecture need to reach another's score?",
        distances.distances,
        "runs on parts of the budget",
    ),
    "shares": FigureKind("Would more training help?", shares.shares, "runs on parts of the budget"),
    "scaling": FigureKind("Does size help?", sweeps.scaling, "conditions that differ in size"),
    "depth": FigureKind("Deep or wide?", sweeps.depth, "conditions that differ in depth at equal size"),
    "capacity": FigureKind("How much can a parameter store?", capacity.capacity, "random strings as data"),
    "anatomy": FigureKind("What is the budget spent on?", anatomy.anatomy),
    "pretraining_curves": FigureKind(
        "How does the loss fall during pretraining?",
        pretraining_curves.pretraining_curves,
        "pretrainings with validation curves",
    ),
    "curves_tokens": FigureKind("How does the loss fall with tokens?", curves.tokens, "validation curves"),
    "curves_flops": FigureKind("How does the loss fall with FLOPs?", curves.flops, "validation curves"),
    "tuning": FigureKind("Was every architecture tuned equally well?", tuning.tuning, "tuning trials"),
}


def figures(report: Report) -> list[Figure]:
    """The figures of a report that have something to show, in the light style."""
    with styled("light"):
        return list(_made(View(report)))


def _made(view: View) -> Iterator[Figure]:
    for kind in FIGURES.values():
        figure = kind.make(view)
        if figure.panels:
            yield figure
