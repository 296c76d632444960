"""The primary pairs under every condition, and what a change does to an architecture."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from archbench.reports.contrasts.contrast import Contrast, turned
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.verdicts import same_outcome
from archbench.reports.contrasts.words import BELOW_GATE_MARK
from archbench.reports.page.elements.grids import Column, GridCell
from archbench.reports.page.elements.parts import Figure, Note, Section, Table, when
from archbench.reports.page.sections.checks import difference, pair
from archbench.reports.page.sections.tests import CONTRASTS, DIFFERENCES
from archbench.reports.page.sections.tuning import changed_variants
from archbench.reports.report import Report
from archbench.reports.results import trials
from archbench.reports.results.gates import BELOW_GATE

Pair = frozenset[str]


@dataclass(frozen=True)
class Condition:
    """A condition of a data set with several: its contrasts by pair, and those of the first one, by one measure."""

    title: str
    condition: str
    contrasts: dict[Pair, Contrast]
    first: dict[Pair, Contrast]


def _conditions(report: Report) -> list[Condition]:
    """The conditions of each data set that has several, the first one first."""
    tested = report.tested
    pairs = set(map(_pair, tested.primary))
    contrasts = [*tested.primary, *(contrast for contrast in tested.exploratory if contrast.condition)]
    by_title: dict[str, dict[str, dict[Pair, Contrast]]] = {}
    for contrast in contrasts:
        by_pair = by_title.setdefault(contrast.title, {}).setdefault(contrast.condition, {})
        if _pair(contrast) in pairs and contrast.outcome != "unknown":
            by_pair[_pair(contrast)] = contrast
    return [
        Condition(title, condition, by_pair, by_condition.get("", {}))
        for title, by_condition in by_title.items()
        if any(by_condition)
        for condition, by_pair in by_condition.items()
        if by_pair
    ]


def _pair(contrast: Contrast) -> Pair:
    return frozenset((contrast.first, contrast.second))


def _columns(report: Report) -> Sequence[Column[Condition]]:
    """A column for each primary pair."""
    pairs = {(contrast.first, contrast.second): contrast for contrast in report.tested.primary}
    return (
        Column("data set", lambda row: row.title, text=True),
        Column("condition", lambda row: row.condition or "first condition", text=True),
        *(Column(pair(contrast), partial(_under, contrast)) for contrast in pairs.values()),
    )


def _under(primary: Contrast, row: Condition) -> GridCell:
    """A primary pair under a condition, from the side of the primary contrast; whether its outcome changed."""
    contrast, first = (by_pair.get(_pair(primary)) for by_pair in (row.contrasts, row.first))
    if contrast is None:
        return GridCell("", kind="quiet")
    toward = contrast if contrast.first == primary.first else turned(contrast)
    changed = first is not None and not same_outcome(first, toward)
    outcome = phrase(contrast.ignoring_accounting, "cell")
    marks = f" {BELOW_GATE_MARK}" * bool(contrast.gate) + " (changed)" * changed
    return GridCell(difference(toward), f"{outcome}{marks}")


PAIRS_BY_CONDITION: Final = Table[Condition](
    "conditions",
    "Primary pairs under every condition",
    _conditions,
    _columns,
    about="A condition has several parts: what is held equal, the supervision, the training recipe, the share of the "
    "budget and, with pretraining, the start, the number of examples and the way to adapt. Difference in each "
    "primary measure; positive if the first architecture is better. Under the first condition these are the "
    "primary contrasts. Tests under other conditions may have fewer seeds and are not corrected for multiple "
    "tests. “changed”: the outcome differs from the one under the first condition. "
    f"{BELOW_GATE_MARK}: one of the two is {BELOW_GATE}. Means under each condition: "
    '<a href="scores.csv">scores.csv</a>.',
    holds="the primary contrasts under each condition",
    lacks="several conditions",
    note="Under further conditions not corrected. (changed): the outcome differs from that of the first condition. "
    f"{BELOW_GATE_MARK}: one of the two is {BELOW_GATE}.",
)
SECTION: Final = Section(
    "Does the outcome depend on the condition?",
    name="conditions",
    short="Other conditions",
    show=(
        Figure("ranks"),
        PAIRS_BY_CONDITION,
        Figure("headline_further"),
    ),
)


def effects(main: bool) -> Section:
    """Section on the effects of changes: the ``main`` finding without a primary contrast, else one beside these."""
    return Section(
        "What a change does",
        name="effects",
        needs=lambda report: main != bool(report.tested.primary),
        show=(
            Note(
                (
                    "Each architecture is compared with itself: a further condition against the first one, or a "
                    "changed data set against the original. Changes that do not affect an architecture are not tested. "
                    "p values are corrected for the number of these tests (Holm).",
                    when(
                        lambda report: report.tested["doubling"],
                        'For parts of the budget see <a href="#shares">Score against budget</a>.',
                    ),
                    lambda report: changed_variants(trials.chosen_variants(report.tables)),
                )
            ),
            Figure("effects"),
            Table[Contrast](
                "effects",
                "What a change does",
                lambda report: report.tested["effect"],
                CONTRASTS,
                folded="" if main else "The tests",
                holds="effects of single changes",
                lacks="conditions or baselines",
                note=DIFFERENCES,
            ),
        ),
    )
