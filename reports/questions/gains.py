"""Tests of pretraining: whether each architecture gains by it, whose gain is larger, and which is better after it.

All compare models finetuned on the first number of examples that the task lists; a gain is measured against training
from scratch on the same number. The condition of each contrast names the pretraining, "after own" or "gain after own";
``about`` is the number of examples, empty where it is not recorded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Final

from archbench.reports.base.once import once_per_report
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
    first = {started.first.group.dataset: started for started in by_dataset(report)}
    asked = against_scratch(report).items()
    return (question for (dataset, setup, _), question in asked if _is_asked_first(first[dataset], setup))


@once_per_report
def against_scratch(report: "Report") -> Mapping[tuple[str, Place, str], Question]:
    """Each architecture against itself from scratch on as many examples, by data set, setup and architecture.

    For every start, adaptation and number of examples, those of the family of gains among them.
    """
    asked: dict[tuple[str, Place, str], Question] = {}
    for started, setup, after, base in _beside_scratch(report):
        names = [name for name in scored(after) if name in scored(base)]
        pretrained = {name: after.group.by_architecture[name] for name in names}
        scratch = {f"{name} from scratch": base.group.by_architecture[name] for name in names}
        group, metric, where = after.group.of(pretrained | scratch), started.first.metric, setup.start_words
        for name, pair in zip(names, zip(pretrained, scratch, strict=True), strict=True):
            question = Question(group, metric, pair, where, about=_examples(setup))
            asked[started.first.group.dataset, setup, name] = question
    return asked


def gain_differences(report: "Report") -> Iterator[Question]:
    """Every two architectures' gains by the same pretraining, paired over seeds and test examples."""
    for started, setup, after, base in _beside_scratch(report):
        if _is_asked_first(started, setup):
            metric, where = started.first.metric, f"{GAIN}{setup.start_words}"
            samples = _gained(report.comparisons, after, base, metric.name)
            for pair in combinations(samples, 2):
                yield Question(after.group, metric, pair, where, about=_examples(setup), samples=samples)


def after_pretraining(report: "Report") -> Iterator[Question]:
    """The pairs of the primary contrasts by the first measure, both after the same pretraining."""
    for started in by_dataset(report):
        for setup, comparison in started.by_setup.items():
            for contrast in of_measure(report.primary, started.first) if _is_asked_first(started, setup) else ():
                pair = (contrast.first, contrast.second)
                if set(pair) <= set(scored(comparison)):
                    yield Question(comparison.group, started.first.metric, pair, setup.start_words)


def _is_asked_first(started: Started, setup: Place) -> bool:
    """True if it was finetuned after a pretraining, on the first number of examples."""
    return not is_scratch(setup.start) and (setup.adapt, setup.examples) == (FINETUNE, started.first.setup.examples)


def _beside_scratch(report: "Report") -> Iterator[tuple[Started, Place, Comparison, Comparison]]:
    """Each setup that is not plain training from scratch, its comparison, and that from scratch on as many examples."""
    for started in by_dataset(report):
        for setup, comparison in started.by_setup.items():
            base = started.by_setup.get(Place(start=SCRATCH, examples=setup.examples))
            if base is not None and setup.start != SCRATCH and not {*scored(comparison)}.isdisjoint(scored(base)):
                yield started, setup, comparison, base


def _examples(setup: Place) -> str:
    return str(setup.examples or "")


def scored(comparison: Comparison) -> list[str]:
    """The architectures with scores."""
    return [cell.architecture for cell in comparison.scored]


def _gained(comparisons: Comparisons, after: Comparison, base: Comparison, name: str) -> dict[str, Sample]:
    """Changes by pretraining in the score of each seed and test example, for architectures with equal seeds."""
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
