"""Tests of what pretraining buys: whether each architecture gains by it, whose gain is larger, who is better after it.

All are tested for finetuning on the first number of examples that the task lists, gains against training from scratch
on the same. Each is a family of tests, corrected by Holm's method.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from archbench.reports.analysis.comparison import Comparison, Setup, oriented
from archbench.reports.analysis.comparisons import Comparisons
from archbench.reports.analysis.contrasts import ALPHA, Contrast
from archbench.reports.analysis.judgement import Judged, once_per_report
from archbench.reports.analysis.pretraining import Started, adapted, by_dataset
from archbench.reports.analysis.testing import Question, answered
from archbench.reports.base.statistics import Interval, Sample, difference_interval, holm, p_difference, pool
from archbench.runs.experiment.spec import FINETUNE, is_scratch
from archbench.tasks.metrics.metric import Metric


@dataclass(frozen=True)
class Gain:
    """What pretraining adds to the score of ``first``; with ``second``, how much more than to that of ``second``.

    Positive is better. ``p`` is corrected for ``corrected_for`` tests.
    """

    dataset: str
    metric: Metric
    start: str
    examples: int
    first: str
    second: str
    gain: Interval
    p: float
    corrected_for: int = 1

    @property
    def decided(self) -> bool:
        return self.p <= ALPHA


@once_per_report
def gains(judged: Judged) -> tuple[Gain, ...]:
    """Each architecture's difference from training from scratch, after each pretraining."""
    first = {started.first.group.dataset: started.first.setup.examples for started in by_dataset(judged)}
    return _corrected(
        Gain(
            *(entry.dataset, entry.metric, entry.start, entry.examples, entry.architecture, ""),
            gain=entry.gain,
            p=p_difference(entry.gain),
        )
        for entry in adapted(judged)
        if entry.gain and not is_scratch(entry.start)
        if (entry.adapt, entry.examples) == (FINETUNE, first[entry.dataset])
    )


@once_per_report
def differences(judged: Judged) -> tuple[Gain, ...]:
    """Every two architectures' gains by the same pretraining compared, paired over seeds and test examples."""
    return _corrected(gain for started in by_dataset(judged) for gain in _differences(judged.comparisons, started))


@once_per_report
def after_pretraining(judged: Judged) -> tuple[Contrast, ...]:
    """The pairs of the primary contrasts, both after the same pretraining, which is the condition."""
    questions = [
        Question(comparison.group, started.first.metric, (primary.first, primary.second), f"after {start}")
        for started in by_dataset(judged)
        for start, comparison in _finetuned(started)
        for primary in judged.tested.primary_on(started.first.group.dataset)
        if {primary.first, primary.second} <= {cell.architecture for cell in comparison.scored}
    ]
    return tuple(answered(judged.comparisons, questions))


def _finetuned(started: Started) -> Iterator[tuple[str, Comparison]]:
    """Each pretraining, and what was finetuned after it on the first number of examples."""
    for setup, comparison in started.by_setup.items():
        if not is_scratch(setup.start) and setup[1:] == (FINETUNE, started.first.setup.examples):
            yield setup.start, comparison


def _differences(comparisons: Comparisons, started: Started) -> Iterator[Gain]:
    examples, metric = started.first.setup.examples, started.first.metric
    base = started.by_setup.get(Setup(examples=examples))
    if base is None:
        return
    for start, comparison in _finetuned(started):
        samples = _gained(comparisons, comparison, base, metric.name)
        pooled = pool(list(samples.values()))
        for first, second in combinations(samples, 2):
            interval = oriented(difference_interval(samples[first], samples[second], pooled), metric)
            where = started.first.group.dataset, metric, start, examples
            yield Gain(*where, first, second, interval, p_difference(interval))


def _gained(comparisons: Comparisons, after: Comparison, base: Comparison, name: str) -> dict[str, Sample]:
    """What pretraining changed in the score of each seed and test example, for architectures with equal seeds."""
    seeds_after, seeds = (comparisons.by_seed(c.group, name) for c in (after, base))
    samples_after, samples = (comparisons.samples(c.group, name) for c in (after, base))
    gained = {}
    for architecture in samples_after:
        if list(seeds_after[architecture]) == list(seeds.get(architecture, ())):
            sample, scratch = samples_after[architecture], samples[architecture]
            rows, base_rows, examples = sample.examples, scratch.examples, None
            if rows is not None and base_rows is not None and rows.shape == base_rows.shape:
                examples = rows - base_rows
            gained[architecture] = replace(sample, values=sample.values - scratch.values, examples=examples)
    return gained


def _corrected(tests: Iterable[Gain]) -> tuple[Gain, ...]:
    known = list(tests)
    values = holm([test.p for test in known])
    return tuple(replace(test, p=p, corrected_for=len(known)) for test, p in zip(known, values, strict=True))
