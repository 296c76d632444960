"""What each architecture scores on each skill, and how soon it answers nine questions out of ten."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from archbench.reports.base.once import once_per_report
from archbench.reports.report import Report
from archbench.reports.results.comparison import Cell, Comparison

KIND: Final = "skill"
TOKENS: Final = "tokens_to_90"  # training tokens read when a run first answered nine of ten; infinite if it never did
LEARNED: Final = 0.9


@dataclass(frozen=True)
class SkillScore:
    """The score of an architecture on a skill, and for each run the training tokens until it answered nine of ten."""

    comparison: Comparison
    cell: Cell
    tokens: tuple[float, ...]

    @property
    def score(self) -> float:
        return self.cell.interval.mean

    @property
    def reached(self) -> int:
        """Runs that answered nine of ten."""
        return sum(map(math.isfinite, self.tokens))

    @property
    def median(self) -> float:
        """The median of the tokens over the runs that reached it; nan without any."""
        return float(np.median([count for count in self.tokens if math.isfinite(count)])) if self.reached else math.nan


@once_per_report
def skill_scores(report: Report) -> list[list[SkillScore]]:
    """For each skill under its first condition, the scores of its architectures."""
    datasets = report.tables["datasets"]
    skills = set(datasets.loc[datasets["kind"] == KIND, "dataset"])
    shown = [comparison for comparison in report.first if comparison.group.dataset in skills]
    return [[SkillScore(entry, cell, _tokens(entry, cell)) for cell in entry.scored] for entry in shown]


def is_learned(scores: list[SkillScore]) -> bool:
    """True if any architecture answers nine of ten test questions."""
    return any(entry.score >= LEARNED for entry in scores)


def _tokens(comparison: Comparison, cell: Cell) -> tuple[float, ...]:
    runs = comparison.group.by_architecture[cell.architecture]
    return tuple(map(float, runs[TOKENS].dropna())) if TOKENS in runs else ()
