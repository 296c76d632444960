"""What pretraining buys: scores by number of training examples, and the difference from training from scratch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archbench.reports.base.once import once_per_report
from archbench.reports.base.statistics import Interval, Sample, difference_interval
from archbench.reports.results.comparison import Comparison, oriented
from archbench.reports.results.draws import draws, few
from archbench.reports.results.gates import MAJORITY
from archbench.reports.results.place import Place
from archbench.runs.experiment.spec import FINETUNE, PROMPT, SCRATCH
from archbench.tasks.metrics.metric import Metric

if TYPE_CHECKING:
    from archbench.reports.report import Report


@dataclass(frozen=True)
class Adapted:
    """An architecture's score on a data set, by what it started from, how it was adapted, and on how many examples.

    ``gain`` is the difference from training from scratch on as many examples, finetuned; positive is better. It is not
    known (None) for runs from scratch, and where there are no such runs. ``majority`` is the score of always answering
    the most frequent label, on data sets with labels. ``read`` is how many of the examples the budget reaches: fewer
    than ``examples`` where it ends before the first pass does. ``draws`` is how many draws of few examples the score is
    over; 0 where nothing is drawn.
    """

    dataset: str
    metric: Metric
    architecture: str
    start: str
    adapt: str
    examples: int
    score: Interval
    gain: Interval | None = None
    majority: float | None = None
    read: int = 0
    draws: int = 0

    @property
    def way(self) -> str:
        """Start and adaptation in words."""
        return Place(start=self.start, adapt=self.adapt).way

    @property
    def noun(self) -> str:
        """What examples are called."""
        return "examples" if self.majority is None else "labels"

    @property
    def is_prompted(self) -> bool:
        """Whether nothing was trained on the task; ``examples`` are then those in the prompt."""
        return self.adapt == PROMPT


@dataclass(frozen=True)
class Started:
    """A data set on which something starts from a pretraining: its comparison by start, adaptation and examples."""

    first: Comparison
    by_setup: Mapping[Place, Comparison]


def by_dataset(report: "Report") -> list[Started]:
    """The data sets on which something starts from a pretraining."""
    runs = report.tables["runs"]
    if "start" not in runs:
        return []
    names = {str(name) for name in runs.loc[runs["start"].fillna(SCRATCH) != SCRATCH, "dataset"]}
    started = []
    for first in report.first:
        dataset, axis = first.group.dataset, first.group.place.match
        if dataset in names and first.metric.better:
            by_setup: dict[Place, Comparison] = {}
            for comparison in (first, *report.further):
                if comparison.group.dataset == dataset and comparison.group.place.match == axis:
                    by_setup.setdefault(comparison.setup, comparison)  # other conditions come later, with equal setups
            started.append(Started(first, by_setup))
    return started


def is_first_from_scratch(report: "Report") -> bool:
    """Whether something starts from a pretraining, and every data set's first condition trains from scratch."""
    return {started.first.setup.start for started in by_dataset(report)} == {SCRATCH}


@once_per_report
def adapted(report: "Report") -> tuple[Adapted, ...]:
    """Every score of the data sets on which something started from a pretraining; fewest examples first."""
    entries: list[Adapted] = []
    few_examples = few(report.tables)
    for started in by_dataset(report):
        first, by_setup = started.first, started.by_setup
        samples = {
            setup: report.comparisons.samples(comparison.group, first.metric.name)
            for setup, comparison in by_setup.items()
        }
        entries += [
            Adapted(
                first.group.dataset,
                first.metric,
                cell.architecture,
                setup.start,
                setup.adapt,
                int(setup.examples),
                cell.interval,
                _gain(report, by_setup, samples, setup, cell.architecture, first.metric),
                first.baselines.get(MAJORITY),
                _read(comparison, cell.architecture),
                draws(few_examples, comparison.group.by_architecture[cell.architecture]),
            )
            for setup, comparison in by_setup.items()
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


def _gain(
    report: "Report",
    by_setup: Mapping[Place, Comparison],
    samples: Mapping[Place, Mapping[str, Sample]],
    setup: Place,
    architecture: str,
    measure: Metric,
) -> Interval | None:
    """The difference from scratch, finetuned on as many examples."""
    base = Place(start=SCRATCH, adapt=FINETUNE, examples=setup.examples)
    if setup.start == SCRATCH or base not in by_setup:
        return None
    pair = [samples[key].get(architecture) for key in (setup, base)]
    if pair[0] is None or pair[1] is None:
        return None
    settings = by_setup[setup].group.settings([architecture]) | by_setup[base].group.settings([architecture])
    pooled = report.comparisons.pooled(settings, measure.name)
    return oriented(difference_interval(pair[0], pair[1], pooled), measure)
