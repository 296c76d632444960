"""What was tested: primary contrasts, gates, controls, causes, conditions, effects."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from markupsafe import Markup

from archbench.reports.analysis import sequential
from archbench.reports.analysis.agreement import disagreements
from archbench.reports.analysis.contrasts import Alternative, Contrast, row
from archbench.reports.analysis.controls import is_as_expected
from archbench.reports.analysis.gates import Gate
from archbench.reports.analysis.pairs import FEW
from archbench.reports.analysis.phrase import decided_after, minimum_detectable, phrase, uncorrected
from archbench.reports.analysis.report import FAMILIES, Report
from archbench.reports.analysis.waterfall import waterfalls
from archbench.reports.base import declared, formatting
from archbench.reports.base.statistics import RULES
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.page.grids import Column, GridCell
from archbench.reports.page.parts import Figure, Note, Points, Section, Table, Terms

DIFFERENCES: Final = (
    "Difference: positive where the first is better; 95% intervals, not corrected. p and outcome: corrected for the "
    "number of tests. Bold: decided."
)


def difference(contrast: Contrast) -> str:
    return formatting.interval(contrast.difference, contrast.metric.decimals)


def pair(contrast: Contrast) -> GridCell:
    return GridCell(contrast.first, f"vs. {contrast.second}", "text")


def _p(contrast: Contrast) -> GridCell:
    """The p value; below it those by other rules for the variance between seeds, as far as they are known."""
    others = {"Welch": contrast.p_welch, "pooled": contrast.p_pooled, "paired": contrast.p_paired}
    known = [f"{rule} {formatting.p(value)}" for rule, value in others.items() if not math.isnan(value)]
    return GridCell(formatting.p(contrast.p), "\n".join(known), "lines")


def _outcome(contrast: Contrast) -> GridCell:
    """An outcome; below it why an interval that excludes 0 decides nothing, or after how many seeds it was decided."""
    below = contrast.accounting if contrast.outcome == "accounting" else uncorrected(contrast)
    return GridCell(phrase(contrast, "cell"), below or decided_after(contrast).lower(), "text")


def _to_decide(contrast: Contrast) -> GridCell:
    """How many seeds each would decide it, and what they would show."""
    if contrast.ignoring_accounting.decided or contrast.outcome == "unknown":
        return GridCell(formatting.MISSING)
    if contrast.seeds_needed is None:
        return GridCell("more examples")
    goal = "for equality" if contrast.needed_to_show == "equality" else "for a difference"
    return GridCell(f"{contrast.seeds_needed}", goal)


DETECTABLE: Final = Column[Contrast](GridCell("detectable", "minimum difference"), minimum_detectable)
CONTRASTS: Final[Sequence[Column[Contrast]]] = (
    Column("data set", lambda contrast: contrast.dataset, text=True),
    Column("condition", lambda contrast: contrast.condition, text=True, optional=True),
    Column("metric", lambda contrast: contrast.metric.label, only="paper"),
    Column("architectures", lambda contrast: f"{contrast.first} vs. {contrast.second}", only="paper"),
    Column("contrast", pair, text=True, only="page"),
    Column("difference", lambda contrast: GridCell(difference(contrast), contrast.metric.label), only="page"),
    Column("difference (95% interval)", difference, only="paper"),
    Column("p", _p, only="page"),
    Column("corrected p", lambda contrast: formatting.p(contrast.p), only="paper"),
    Column(
        "margin",
        lambda contrast: f"{contrast.margin:g}" if math.isfinite(contrast.margin) else formatting.MISSING,
        only="page",
    ),
    Column("outcome", _outcome, text=True, only="page"),
    Column(
        "outcome",
        lambda contrast: GridCell(phrase(contrast, "cell"), kind="strong" if contrast.decided else ""),
        only="paper",
    ),
    Column(DETECTABLE.head, minimum_detectable, only="page"),
    Column("seeds", lambda contrast: str(contrast.seeds), only="page"),
    Column(GridCell("to decide", "seeds each"), _to_decide, only="page"),
)
PRIMARY: Final = Table[Contrast](
    "contrasts",
    "Primary contrasts",
    lambda report: report.tested.primary,
    CONTRASTS,
    holds="the primary contrasts: difference, interval, p value, outcome",
    lacks="primary contrasts",
    note=DIFFERENCES,
)


def _declaration(report: Report) -> str:
    """Where the primary contrasts come from: the experiment lists them, or none of those that it lists applies."""
    pairs = set(declared.contrasts_and_margins(report.tables)[0])
    chosen = {(contrast.first, contrast.second) for contrast in report.tested.primary}
    if chosen <= pairs:
        return "The experiment lists these pairs."
    rule = f"every pair of up to {FEW} architectures, or the first architecture and each other"
    if chosen & pairs:
        return f"The experiment lists these pairs; on data sets without a listed pair: {rule}."
    return f"The experiment lists no pair of these architectures; the default applies: {rule}."


def _rules(report: Report) -> str:
    """Whether the rules of the tests are those under which the runs were planned; empty where that is not recorded."""
    recorded = declared.experiment(report.tables).get("rules")
    if not recorded:
        return ""
    if recorded == str(RULES):
        return f"The rules of all tests (version {RULES}) were fixed before the first of these runs."
    return f"These runs were planned under version {recorded} of the test rules; this page uses version {RULES}."


def _added_seeds(report: Report) -> Iterator[str]:
    """When an experiment that adds seeds was tested, and what that costs; nothing for other experiments."""
    rule = sequential.rule(report.tables)
    if rule is None:
        return
    first = [str(count) for count in sorted(set(rule.seeds.values()))]
    yield (
        f"Seeds were added while contrasts were not decided: tests after {' or '.join(first)} seeds and after each "
        f"further one up to {rule.max_seeds}; half of the 5% error is spent at the last test, the other half equally "
        "at the earlier ones. p values include this; differences and intervals are those at the decision."
    )
    if rule.earlier:
        counts = formatting.listing(map(str, rule.earlier))
        yield (
            f"The maximum number of seeds was {counts} before. It was changed after results were seen, so the error "
            "rate of 5% is not guaranteed."
        )


ALTERNATIVES: Final[Mapping[Alternative, str]] = {
    "welch": "by Welch's test",
    "pooled": "with one variance for all architectures in primary contrasts",
}


def alternatives(primary: Sequence[Contrast]) -> str:
    """Which primary contrasts come out differently under other rules for the variance; empty if none was tested."""
    tested = [contrast for contrast in primary if contrast.outcome not in ("unknown", "untrained")]
    changed = []
    for contrast in tested:
        others = [(words, contrast.with_variance_rule(rule)) for rule, words in ALTERNATIVES.items()]
        named = [f"{phrase(other, 'cell')} {words}" for words, other in others if other.outcome != contrast.outcome]
        if named:
            changed.append(f"{contrast.first} vs. {contrast.second} on {contrast.dataset} ({'; '.join(named)})")
    if changed:
        which = formatting.listing(changed)
        return f"With other estimates of the variance between seeds, these outcomes differ: {which}."
    return f"The outcome is the same {' and '.join(ALTERNATIVES.values())}." if tested else ""


def _exploratory(report: Report) -> str:
    count = sum(contrast.outcome != "unknown" for contrast in report.tested.exploratory)
    return f"Exploratory contrasts (not corrected for multiple tests): {count}." if count else ""


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


GATES: Final = Table[tuple[str, Gate]](
    "gates",
    "Gates by data set and architecture",
    _measured,
    (
        Column("data set", lambda measured: measured[0], text=True),
        Column("architecture", lambda measured: measured[1].architecture, text=True),
        Column("bits per byte", lambda measured: formatting.value(measured[1].bits), optional=True),
        Column("bigram", lambda measured: formatting.value(measured[1].bigram), optional=True),
        Column("saved by the right sources", lambda measured: formatting.interval(measured[1].source), optional=True),
        Column("accuracy", lambda measured: formatting.value(measured[1].accuracy), optional=True),
        Column("majority class", lambda measured: formatting.value(measured[1].majority), optional=True),
        Column(
            "trained enough",
            lambda measured: "yes" if measured[1].passed else GridCell("no", kind="text loses"),
            text=True,
        ),
    ),
    holds="which architectures are trained enough to compare",
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
        Column("outcome", _outcome, text=True),
        Column(
            "",
            lambda control: {True: "✓ as expected", False: "✗ not as expected", None: ""}[is_as_expected(control)],
            text=True,
        ),
    ),
)
FACTORS: Final = Table[Contrast](
    "factors",
    "Pairs of designs and the factors in which they differ",
    lambda report: report.tested["factor"],
    (
        Column("what changes", lambda factor: str(factor.about), text=True),
        Column("data set", lambda factor: factor.dataset, text=True),
        Column("contrast", pair, text=True),
        Column("difference", lambda factor: GridCell(difference(factor), factor.metric.label)),
        Column("outcome", lambda factor: phrase(factor, "cell"), text=True),
    ),
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
    """What a contrast is tested as, in words, by its role."""
    claims = {
        f"claim {entry.claim.name}": f"evidence for “{entry.claim.statement}”" for entry in claim_verdicts(report)
    }
    return {"primary": "a primary contrast", **{name: family.words for name, family in FAMILIES.items()}, **claims}


def _disagreements(report: Report) -> dict[str, list[str]]:
    words = words_of_roles(report)
    families = [(words.get(role, role), contrasts) for role, contrasts in roles(report) if role != "exploratory"]
    return {"": [entry.sentence for entry in disagreements(families)]}


COLUMNS_OF_CONTRASTS: Final = Terms(
    {
        "difference": "Difference in the mean, positive if the first architecture is better; its 95% interval is not "
        "corrected.",
        "p": "p value of a t test with one pooled variance between seeds; architectures whose variance is much larger "
        "keep their own. Corrected for the number of primary contrasts (Holm). Below it, for comparison only: by "
        "Welch's test, with one variance for all architectures in primary contrasts, and paired by seed (if all data "
        "come in the same order).",
        "margin": "A difference smaller than this does not matter.",
        "outcome": "Better: p is at most 5%. Equal: two one-sided tests at 5%, corrected like p but separately, "
        "exclude a difference as large as the margin (before correction: the 90% interval lies within the margin; the "
        "95% interval shown need not). Not decided: neither is shown. Other words say why there is no test, or no "
        "verdict.",
        "detectable": "The minimum detectable difference (80% power at the corrected level).",
        "seeds": "The number of seeds, the smaller of the two.",
        "to decide": "The seeds per architecture that would show a difference, or equality within the margin, with "
        "80% power, if the true difference is the observed one. “More examples”: even 100 seeds would not decide it; "
        "it takes more test examples.",
    }
)
FULL_PRECISION: Final = 'All tests in full precision: <a href="contrasts.csv">contrasts.csv</a>.'
SECTION: Final = Section(
    "Tests",
    name="tests",
    short="Tests",
    otherwise=lambda report: (
        Markup(FULL_PRECISION)
        if report.tested["effect"]
        else "Nothing was tested: no pair of architectures has scores."
    ),
    show=(
        Section(
            "Primary contrasts",
            needs=lambda report: report.tested.primary,
            show=(
                PRIMARY,
                Note(
                    (
                        _declaration,
                        _rules,
                        "Each is tested on the primary metric of its data set under the "
                        '<a href="#reading">first condition</a>.',
                    )
                ),
                COLUMNS_OF_CONTRASTS,
                Note(_added_seeds),
                Note(lambda report: alternatives(report.tested.primary)),
            ),
        ),
        Note((_exploratory, FULL_PRECISION)),
        Section(
            "Trained enough to compare?",
            name="gates",
            show=(
                Note(
                    (
                        "A contrast gives no verdict if one of its architectures is no better than a bigram over the "
                        "same tokens, predicts targets no better from the right sources than from shuffled ones, or "
                        "classifies no better than the majority class. All values are from the test split. Saved by "
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
        Section(
            "Changes of the design",
            (
                Note(
                    "Pairs of architectures that differ in the named factors; depth and feed-forward width also "
                    "differ where equal size requires it. Exploratory, not corrected for multiple tests.",
                ),
                FACTORS,
            ),
        ),
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
    ),
)
