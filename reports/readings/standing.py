"""Every architecture on every data set: how it stands by the primary contrasts, and against the simple baselines."""

from dataclasses import dataclass

from archbench.reports.base import formatting
from archbench.reports.contrasts.ranking import standing
from archbench.reports.contrasts.words import NOT_ABOVE_BASELINE, STANDINGS
from archbench.reports.report import Report
from archbench.reports.results.comparison import Cell, Comparison


@dataclass(frozen=True)
class Standing:
    """An architecture on a data set: its ``state`` (see ``ranking.standing``) and its scores."""

    comparison: Comparison
    cell: Cell
    state: str

    @property
    def dataset(self) -> str:
        return self.comparison.group.dataset

    @property
    def architecture(self) -> str:
        return self.cell.architecture

    @property
    def mean(self) -> str:
        return formatting.value(self.cell.interval.mean, self.comparison.metric.decimals)

    @property
    def is_behind_baseline(self) -> bool:
        """Whether it is not better, by its 95% interval, than the best simple baseline."""
        return self.comparison.is_behind_baseline(self.cell)

    @property
    def words(self) -> str:
        """The state in a word, with a mark where the best simple baseline is not beaten."""
        mark = f" {NOT_ABOVE_BASELINE}" if self.is_behind_baseline else ""
        return f"{STANDINGS[self.state].word}{mark}"


def standing_of(report: Report, comparison: Comparison, cell: Cell) -> Standing:
    """How an architecture stands on the data set of a comparison."""
    trained = report.comparisons.gate(comparison.group, cell.architecture).passed
    primary = report.tested.primary_on(comparison.group.dataset)
    return Standing(comparison, cell, standing(cell.architecture, primary, trained))
