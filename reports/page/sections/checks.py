"""Checks of the tests: gates, controls, causes, changes of the design, and pairs with several outcomes."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from archbench.reports.base import formatting
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.contrasts import sequential
from archbench.reports.contrasts.agreement import disagreements
from archbench.reports.contrasts.contrast import Contrast, row
from archbench.reports.contrasts.phrase import decided_after, minimum_detectable, phrase, uncorrected
from archbench.reports.page.elements.grids import Column, GridCell
from archbench.reports.page.elements.parts import Figure, Note, Points, Section, Table
from archbench.reports.questions.controls import is_as_expected
from archbench.reports.readings.waterfall import waterfalls
from archbench.reports.report import FAMILIES, Report
from archbench.reports.results.gates import BAR, BELOW_GATE, Gate


def difference(contrast: Contrast) -> str:
    return formatting.interval(contrast.difference, contrast.metric.decimals)


def pair(contrast: Contrast) -> GridCell:
    return GridCell(contrast.first, f"vs. {contrast.second}", "text")


def outcome(contrast: Contrast) -> GridCell:
    """An outcome; below it why an interval that excludes 0 decides nothing, or after how many seeds it was decided."""
    below = contrast.accounting if contrast.outcome == "accounting" else uncorrected(contrast)
    return GridCell(phrase(contrast, "cell"), below or decided_after(contrast).lower(), "text")


GATE: Final = Column[Contrast]("gate", lambda contrast: contrast.gate, text=True, optional=True)
DETECTABLE: Final = Column[Contrast](GridCell("detectable", "minimum difference"), minimum_detectable)


def _measured(report: Report) -> list[tuple[str, Gate]]:
    """Data set and gate of each architecture whose gates were measured."""
    return [
        (comparison.group.dataset, gate)
        for comparison in report.first
        for cell in comparison.scored
        if (gate := report.comparisons.gate(comparison.group, cell.architecture)).measured
    ]


def _unchecked(report: Report) -> str:
    """The data sets on which no gate was measured."""
    checked = {dataset for dataset, _ in _measured(report)}
    names = [entry.group.dataset for entry in report.first if entry.scored and entry.group.dataset not in checked]
    listed = formatting.listing(names)
    return f"Not checked on {listed}: the values that it needs were not recorded." if names else ""


def _is_bounded(measured: tuple[str, Gate]) -> bool:
    return not math.isnan(measured[1].bound)


GATES: Final = Table[tuple[str, Gate]](
    "gates",
    "Gates by data set and architecture",
    _measured,
    (
        Column("data set", lambda measured: measured[0], text=True),
        Column("architecture", lambda measured: measured[1].architecture, text=True),
        Column("bits per byte", lambda measured: formatting.value(measured[1].bits), optional=True),
        Column("any-order bound", lambda measured: formatting.value(measured[1].bound), optional=_is_bounded),
        Column(BAR, lambda measured: formatting.value(measured[1].ngram), optional=True),
        Column("saved by the right sources", lambda measured: formatting.interval(measured[1].source), optional=True),
        Column("accuracy", lambda measured: formatting.value(measured[1].accuracy), optional=True),
        Column("one label", lambda measured: formatting.value(measured[1].constant), optional=True),
        Column(
            "gate",
            lambda measured: "passed" if measured[1].passed else GridCell(BELOW_GATE, kind="text loses"),
            text=True,
        ),
    ),
    holds="which architectures are below their gates",
)


def _controls(report: Report) -> Iterator[str]:
    """How the controls came out."""
    seen = [is_as_expected(control) for control in report.tested["control"]]
    on = len({control.dataset for control in report.tested["control"]})
    if on < len(report.first):
        yield f"Data sets with controls: {on} of {len(report.first)}."
    if False in seen:
        yield (
            "✗ Some had another outcome: the comparison is less certain than its intervals suggest, or too small to "
            "detect known differences."
        )
    else:
        yield "All tested controls had the expected outcome." if True in seen else "None is tested yet."


CONTROLS: Final = Table[Contrast](
    "controls",
    "Controls",
    lambda report: report.tested["control"],
    (
        Column("data set", lambda control: control.dataset, text=True),
        Column("control", pair, text=True),
        Column("expected", lambda control: "a difference" if control.about == "ahead" else "no difference", text=True),
        Column("difference", difference),
        Column("p", lambda control: formatting.p(control.p)),
        DETECTABLE,
        Column("outcome", outcome, text=True),
        GATE,
        Column(
            "",
            lambda control: {True: "✓ as expected", False: "✗ not as expected", None: ""}[is_as_expected(control)],
            text=True,
        ),
    ),
)
FACTORS: Final = Table[Contrast](
    "factors",
    "Changes of the design",
    lambda report: report.tested["factor"],
    (
        Column("what changes", lambda factor: str(factor.about), text=True),
        Column("data set", lambda factor: factor.dataset, text=True),
        Column("contrast", pair, text=True),
        Column("difference", lambda factor: GridCell(difference(factor), factor.metric.label)),
        Column("outcome", lambda factor: phrase(factor, "cell"), text=True),
        GATE,
    ),
    titled=True,
    about="Pairs of architectures that differ in the named factors; depth and feed-forward width also differ where "
    "equal size requires it. Exploratory, not corrected for multiple tests.",
)


def roles(report: Report) -> list[tuple[str, Sequence[Contrast]]]:
    """Everything that was tested, by the family of tests or the question that it belongs to."""
    claims = [(f"claim {entry.claim.name}", entry.contrasts) for entry in claim_verdicts(report)]
    return [*report.tested.by_family.items(), *claims]


def rows(report: Report) -> Iterator[dict[str, object]]:
    """Every test as a row; only an experiment that adds seeds says after how many a contrast was decided."""
    left_out = {"decided_after"} if sequential.rule(report.tables) is None else set()
    for role, contrasts in roles(report):
        for contrast in contrasts:
            facts = {"role": role, **row(contrast)}
            yield {name: value for name, value in facts.items() if name not in left_out}


def words_of_roles(report: Report) -> dict[str, str]:
    """Words for what a contrast is tested as, by its role."""
    claims = {f"claim {entry.claim.name}": f"evidence for: {entry.claim.statement}" for entry in claim_verdicts(report)}
    return {"primary": "a primary contrast", **{name: family.words for name, family in FAMILIES.items()}, **claims}


def _disagreements(report: Report) -> dict[str, list[str]]:
    words = words_of_roles(report)
    families = [(words.get(role, role), contrasts) for role, contrasts in roles(report) if role != "exploratory"]
    return {"": [entry.sentence for entry in disagreements(families)]}


SECTIONS: Final = (
    Section(
        "Gates",
        name="gates",
        show=(
            Note(
                (
                    f"An architecture is {BELOW_GATE} if it is no better than a {BAR}, the same for every "
                    "tokenizer, predicts targets no better from the right sources than from shuffled ones, or "
                    "classifies no better than one label for everything: the best on the test labels where they are "
                    "recorded, else the majority class of the training labels. Its tests are made and shown all the "
                    "same; only claims that rest on it stay undecided. The gate takes the exact likelihood, for "
                    "encoders from left to right; their any-order bound is shown beside it. All values are from the "
                    "test split. Saved by "
                    "the right sources: bits per byte with shuffled sources minus bits per byte with the right "
                    "ones, on the same examples (95% interval over seeds).",
                    _unchecked,
                )
            ),
            GATES,
        ),
    ),
    Section(
        "Controls",
        (
            Note(
                (
                    "Controls: the first architecture should not differ significantly from a copy with other "
                    "seeds, and should score significantly better than a copy with half the budget.",
                    _controls,
                ),
                "",
            ),
            CONTROLS,
        ),
    ),
    Section(
        "Causes of the differences",
        (
            Note(
                'Each row of steps in the <a href="#figure-causes">figure</a> turns one family into another '
                "by changes of its design, mostly one at a time. The steps add up to the whole difference.",
                "",
            ),
            Figure("causes"),
            Points(lambda report: {"": [entry.sentence for entry in waterfalls(report)]}),
        ),
    ),
    FACTORS,
    Section(
        "Pairs tested more than once, with different outcomes",
        (
            Note(
                "The same pair can be tested as a primary contrast, as a control, as a doubling of the budget "
                "(half against whole) and as evidence for a claim. Each of these groups is corrected for its "
                "own number of tests, and controls have other seeds, so outcomes can differ. For a primary "
                "contrast, only its primary test decides.",
            ),
            Points(_disagreements),
        ),
    ),
)
