"""Every architecture on every data set: how it stands by the primary contrasts, and against the simple baselines."""

from dataclasses import dataclass

from archbench.reports.base import formatting
from archbench.reports.contrasts.ranking import standing
from archbench.reports.contrasts.words import BELOW_GATE_MARK, NOT_ABOVE_BASELINE, STANDINGS
from archbench.reports.report import Report
from archbench.reports.results.comparison import Cell, Comparison
from archbench.reports.results.gates import Gate


@dataclass(frozen=True)
class Standing:
    """An architecture on a data set: its ``state`` (see ``ranking.standing``), scores and gate."""

    comparison: Comparison
    cell: Cell
    state: str
    gate: Gate

    @property
    def title(self) -> str:
        """The data set, and the measure where it has several."""
        return self.comparison.title

    @property
    def architecture(self) -> str:
        return self.cell.architecture

    @property
    def mean(self) -> str:
        return formatting.value(self.cell.interval.mean, self.comparison.metric.decimals)

    @property
    def is_behind_baseline(self) -> bool:
        """True if it is not better, by its 95% interval, than the best simple baseline."""
        return self.comparison.is_behind_baseline(self.cell)

    @property
    def words(self) -> str:
        """The state in a word, with marks where the best simple baseline is not beaten, and below the gate."""
        marks = [NOT_ABOVE_BASELINE] * self.is_behind_baseline + [BELOW_GATE_MARK] * (not self.gate.passed)
        return " ".join([STANDINGS[self.state].word, *marks])


def standing_of(report: Report, comparison: Comparison, cell: Cell) -> Standing:
    """How an architecture stands on the data set of a comparison."""
    gate = report.comparisons.gate(comparison.group, cell.architecture)
    return Standing(comparison, cell, standing(cell.architecture, report.tested.primary_on(comparison)), gate)
