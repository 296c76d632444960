"""A report: its tables, and everything that is derived from them, each computed once.

A kind of question is one entry of ``FAMILIES``: what it asks of a report, and how its tests are corrected.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.accounting import accounted
from archbench.reports.contrasts.contrast import Answers, Contrast, marked, of_measure
from archbench.reports.contrasts.testing import Question, answered
from archbench.reports.questions import pairs
from archbench.reports.questions.controls import controls
from archbench.reports.questions.effects import effects
from archbench.reports.questions.factors import factors
from archbench.reports.questions.gains import after_pretraining, gain_differences, gains
from archbench.reports.questions.paths import causes
from archbench.reports.questions.scaling import Trend, between_architectures, between_points, order_of, trend
from archbench.reports.questions.shares import doublings
from archbench.reports.questions.sweeps import AXES, Axis, Sweep, sweeps
from archbench.reports.results.comparison import Comparison, by_condition
from archbench.reports.results.comparisons import Comparisons

Ask = Callable[["Report"], Iterable[Question]]


@dataclass(frozen=True)
class Family:
    """A family of tests: ``ask`` yields its questions, ``words`` names one, ``corrected``: for all of them together."""

    ask: Ask
    words: str
    corrected: bool = True


FAMILIES: Final[Mapping[str, Family]] = {
    "control": Family(controls, "a control"),
    "effect": Family(effects, "the effect of a condition"),
    "factor": Family(factors, "a change of the design", corrected=False),
    "cause": Family(causes, "a step from one family to another", corrected=False),
    "after pretraining": Family(after_pretraining, "a contrast after pretraining"),
    "gain": Family(gains, "a gain by pretraining"),
    "gain difference": Family(gain_differences, "a difference of gains by pretraining"),
    "doubling": Family(doublings, "a doubling of the budget"),
    **{axis.name: Family(partial(between_points, axis=axis), f"a step in {axis.plural}") for axis in AXES},
    **{
        order_of(axis): Family(partial(between_architectures, axis=axis), f"architectures at equal {axis.plural}")
        for axis in AXES
    },
}
"""All families of tests except the primary contrasts and other pairs (``pairs``), and the tests of claims."""


class Report:
    """Everything that is derived from the tables of a comparison.

    Conditions that are points of a sweep are tested as its steps, not as effects.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.comparisons = Comparisons(tables)
        self.kept: dict[Callable[[Report], Any], Any] = {}

    @cached_property
    def compared(self) -> tuple[list[Comparison], list[Comparison]]:
        """The comparison of each data set under its first condition, and those under further ones.

        By its first primary measure, which also judges controls, effects, doublings and all that is no pair.
        """
        return by_condition(self.comparisons.headlines())

    @cached_property
    def judged_by_condition(self) -> tuple[list[Comparison], ...]:
        """The same by each primary measure of a data set."""
        return tuple(
            [entry for comparison in part for entry in self.comparisons.by_measure(comparison)]
            for part in self.compared
        )

    @cached_property
    def judged(self) -> tuple[Comparison, ...]:
        """Each data set under its first condition by each of its primary measures, the best architecture marked."""
        return tuple(marked(entry, of_measure(self.primary, entry)) for entry in self.judged_by_condition[0])

    @cached_property
    def first(self) -> tuple[Comparison, ...]:
        """Each data set under its first condition by its first primary measure, the best architecture marked."""
        return tuple(entry for entry in self.judged if not entry.is_second)

    @property
    def further(self) -> tuple[Comparison, ...]:
        """The data sets under further conditions."""
        return tuple(self.compared[1])

    @property
    def headlines(self) -> tuple[Comparison, ...]:
        return (*self.first, *self.further)

    @cached_property
    def sweeps(self) -> list[Sweep]:
        """Conditions that differ in size or depth."""
        return sweeps(self.comparisons, *self.compared)

    def sweeps_of(self, axis: Axis) -> list[Sweep]:
        return [sweep for sweep in self.sweeps if sweep.axis is axis]

    @cached_property
    def trends(self) -> tuple[Trend, ...]:
        """The sweeps with their tests."""
        return tuple(trend(sweep, self.tested) for sweep in self.sweeps)

    @cached_property
    def primary(self) -> tuple[Contrast, ...]:
        """The primary contrasts, each marked if it depends on the accounting."""
        tested, others = pairs.primary(self.comparisons, self.compared[0]), Answers({"exploratory": self.exploratory})
        return accounted(self.tables, *self.compared, tested, others)

    @cached_property
    def exploratory(self) -> tuple[Contrast, ...]:
        """Every other pair, not corrected."""
        return answers(self, pairs.exploratory, corrected=False)

    @cached_property
    def tested(self) -> Answers:
        """All tests, by family."""
        others = {name: answers(self, kind.ask, kind.corrected) for name, kind in FAMILIES.items()}
        return Answers({"primary": self.primary, "exploratory": self.exploratory, **others})


def answers(report: Report, ask: Ask, corrected: bool = True) -> tuple[Contrast, ...]:
    """The contrasts of a family, corrected for all of them or not at all."""
    questions = list(ask(report))
    groups = [questions] if corrected else [[question] for question in questions]
    return tuple(contrast for group in groups for contrast in answered(report.comparisons, group))
