"""Benefit of pretraining: scores by number of training examples, and the difference from training from scratch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from archbench.reports.base.once import once_per_report
from archbench.reports.base.statistics import Interval
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.testing import exploratory_contrast
from archbench.reports.questions.gains import against_scratch
from archbench.reports.report import Report
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.draws import draws, few
from archbench.reports.results.gates import MAJORITY
from archbench.reports.results.place import Place
from archbench.reports.results.pretraining import by_dataset
from archbench.runs.experiment.spec import PROMPT
from archbench.tasks.metrics.metric import Metric


@dataclass(frozen=True)
class Adapted:
    """An architecture's score on a data set, by what it started from, how it was adapted, and on how many examples.

    ``against_scratch`` is its contrast with training from scratch on as many examples, finetuned, not corrected for
    other tests; None for runs from scratch, and where there are no such runs. ``majority`` is the score of always
    answering the most frequent label, on data sets with labels. ``read`` is how many of the examples the budget
    reaches: fewer than ``examples`` where it ends before the first pass does. ``draws`` is how many draws of few
    examples the score is over; 0 where nothing is drawn.
    """

    dataset: str
    metric: Metric
    architecture: str
    start: str
    adapt: str
    examples: int
    score: Interval
    against_scratch: Contrast | None = None
    majority: float | None = None
    read: int = 0
    draws: int = 0

    @property
    def gain(self) -> Interval | None:
        """The difference from training from scratch; positive is better."""
        return self.against_scratch.difference if self.against_scratch else None

    @property
    def way(self) -> str:
        """Start and adaptation in words."""
        return Place(start=self.start, adapt=self.adapt).way

    @property
    def noun(self) -> str:
        """Word for the examples: labels where a majority class is known."""
        return "examples" if self.majority is None else "labels"

    @property
    def is_prompted(self) -> bool:
        """True if nothing was trained on the task; ``examples`` are then those in the prompt."""
        return self.adapt == PROMPT


@once_per_report
def adapted(report: Report) -> tuple[Adapted, ...]:
    """Every score of the data sets on which something started from a pretraining; fewest examples first."""
    entries: list[Adapted] = []
    few_examples, tested = few(report.tables), _against_scratch(report)
    for started in by_dataset(report):
        first = started.first
        entries += [
            Adapted(
                first.group.dataset,
                first.metric,
                cell.architecture,
                setup.start,
                setup.adapt,
                int(setup.examples),
                cell.interval,
                tested.get((first.group.dataset, setup, cell.architecture)),
                first.baselines.get(MAJORITY),
                _read(comparison, cell.architecture),
                draws(few_examples, comparison.group.by_architecture[cell.architecture]),
            )
            for setup, comparison in started.by_setup.items()
            for cell in comparison.scored
        ]
    order = list(dict.fromkeys(entry.dataset for entry in entries))
    return tuple(sorted(entries, key=lambda entry: (order.index(entry.dataset), entry.examples)))


def numbers(entries: Sequence[Adapted]) -> list[dict[str, object]]:
    """The scores as rows of a table."""
    return [
        {
            "dataset": entry.dataset,
            "metric": entry.metric.name,
            "architecture": entry.architecture,
            "start": entry.start,
            "adapt": entry.adapt,
            "examples": entry.examples,
            "read": entry.read,
            **entry.score.columns(),
            **(entry.gain.columns("gain", "gain_") if entry.gain else {}),
        }
        for entry in entries
    ]


def _read(comparison: Comparison, architecture: str) -> int:
    """How many different examples an architecture was trained on: none are repeated before all were read once.

    A prompt shows all of its examples.
    """
    runs, examples = comparison.group.by_architecture[architecture], int(comparison.setup.examples)
    if comparison.setup.adapt == PROMPT:
        return examples
    epochs = float(runs["epochs"].astype(float).mean()) if "epochs" in runs else math.nan
    return round(examples * epochs) if epochs < 1 else examples


def _against_scratch(report: Report) -> dict[tuple[str, Place, str], Contrast]:
    """The contrasts with training from scratch, as far as both have scores."""
    asked = against_scratch(report)
    answers = {place: exploratory_contrast(report.comparisons, question) for place, question in asked.items()}
    return {place: contrast for place, contrast in answers.items() if not math.isnan(contrast.difference.mean)}
