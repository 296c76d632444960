"""Tests of pretraining: whether each architecture gains by it, whose gain is larger, and which is better after it.

All compare models finetuned on the first number of examples that the task lists; a gain is measured against training
from scratch on the same number. The condition of each contrast names the pretraining, "after own" or "gain after own";
``about`` is the number of examples, empty where it is not recorded.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Final

from archbench.reports.base.statistics import Sample
from archbench.reports.contrasts.contrast import Contrast, of_measure
from archbench.reports.contrasts.testing import Question
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.comparisons import Comparisons
from archbench.reports.results.place import Place
from archbench.reports.results.pretraining import Started, by_dataset
from archbench.runs.experiment.spec import FINETUNE, SCRATCH, is_scratch

if TYPE_CHECKING:
    from archbench.reports.report import Report

GAIN: Final = "gain "  # begins the condition of gain differences: differences of gains, not of scores


def started_from(contrast: Contrast) -> str:
    """The pretraining that a contrast of these families is about."""
    return contrast.condition.removeprefix(GAIN).removeprefix("after ")


def gains(report: "Report") -> Iterator[Question]:
    """Each architecture after each pretraining against itself from scratch."""
    for started, base, condition, comparison in _beside_scratch(report):
        for name in [name for name in _scored(comparison) if name in _scored(base)]:
            pair = (name, f"{name} from scratch")
            runs = [entry.group.by_architecture[name] for entry in (comparison, base)]
            group = comparison.group.of(dict(zip(pair, runs, strict=True)))
            yield Question(group, started.first.metric, pair, condition, about=_examples(started))


def gain_differences(report: "Report") -> Iterator[Question]:
    """Every two architectures' gains by the same pretraining, paired over seeds and test examples."""
    for started, base, condition, comparison in _beside_scratch(report):
        metric, about = started.first.metric, _examples(started)
        samples = _gained(report.comparisons, comparison, base, metric.name)
        for pair in combinations(samples, 2):
            where = f"{GAIN}{condition}"
            yield Question(comparison.group, metric, pair, where, about=about, samples=samples)


def after_pretraining(report: "Report") -> Iterator[Question]:
    """The pairs of the primary contrasts by the first measure, both after the same pretraining."""
    for started in by_dataset(report):
        for condition, comparison in _finetuned(started):
            for contrast in of_measure(report.primary, started.first):
                pair = (contrast.first, contrast.second)
                if set(pair) <= set(_scored(comparison)):
                    yield Question(comparison.group, started.first.metric, pair, condition)


def _finetuned(started: Started) -> Iterator[tuple[str, Comparison]]:
    """Each pretraining, and what was finetuned after it on the first number of examples."""
    for setup, comparison in started.by_setup.items():
        if not is_scratch(setup.start) and (setup.adapt, setup.examples) == (FINETUNE, started.first.setup.examples):
            yield f"after {setup.start}", comparison


def _beside_scratch(report: "Report") -> Iterator[tuple[Started, Comparison, str, Comparison]]:
    """Each pretraining, what was finetuned after it, and what was trained from scratch on as many examples."""
    for started in by_dataset(report):
        base = started.by_setup.get(Place(start=SCRATCH, examples=started.first.setup.examples))
        if base is not None:
            yield from ((started, base, condition, comparison) for condition, comparison in _finetuned(started))


def _examples(started: Started) -> str:
    return str(started.first.setup.examples or "")


def _scored(comparison: Comparison) -> list[str]:
    return [cell.architecture for cell in comparison.scored]


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
