"""The primary contrasts: their table, where they come from, and how they were tested."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from markupsafe import Markup

from archbench.reports.base import declared, formatting
from archbench.reports.base.statistics import RULES
from archbench.reports.contrasts import sequential
from archbench.reports.contrasts.contrast import Alternative, Contrast
from archbench.reports.contrasts.phrase import minimum_detectable, phrase
from archbench.reports.page.elements.grids import Column, GridCell
from archbench.reports.page.elements.parts import Note, Section, Table, Terms
from archbench.reports.page.sections import checks
from archbench.reports.page.sections.checks import DETECTABLE, GATE, difference, outcome, pair
from archbench.reports.questions.pairs import FEW
from archbench.reports.report import Report

DIFFERENCES: Final = (
    "Difference: positive where the first is better; 95% intervals, not corrected. p and outcome: corrected for the "
    "number of tests. Bold: decided."
)


def _p(contrast: Contrast) -> GridCell:
    """The p value; below it those by other rules for the variance between seeds, as far as they are known."""
    others = {"Welch": contrast.p_welch, "pooled": contrast.p_pooled, "paired": contrast.p_paired}
    known = [f"{rule} {formatting.p(value)}" for rule, value in others.items() if not math.isnan(value)]
    return GridCell(formatting.p(contrast.p), "\n".join(known), "lines")


def _to_decide(contrast: Contrast) -> GridCell:
    """How many seeds each would decide it, and what they would show."""
    if contrast.ignoring_accounting.decided or contrast.outcome == "unknown":
        return GridCell(formatting.MISSING)
    if contrast.seeds_needed is None:
        return GridCell("more examples")
    goal = "for equality" if contrast.needed_to_show == "equality" else "for a difference"
    return GridCell(f"{contrast.seeds_needed}", goal)


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
    Column("outcome", outcome, text=True, only="page"),
    Column(
        "outcome",
        lambda contrast: GridCell(phrase(contrast, "cell"), kind="strong" if contrast.decided else ""),
        only="paper",
    ),
    GATE,
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
    """Words for whether the runs were planned under today's rules of the tests; empty where that is not recorded."""
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
    tested = [contrast for contrast in primary if contrast.outcome != "unknown"]
    changed = []
    for contrast in tested:
        others = [(words, contrast.with_variance_rule(rule)) for rule, words in ALTERNATIVES.items()]
        named = [f"{phrase(other, 'cell')} {words}" for words, other in others if other.outcome != contrast.outcome]
        if named:
            changed.append(f"{contrast.first} vs. {contrast.second} on {contrast.title} ({'; '.join(named)})")
    if changed:
        which = formatting.listing(changed)
        return f"With other estimates of the variance between seeds, these outcomes differ: {which}."
    return f"The outcome is the same {' and '.join(ALTERNATIVES.values())}." if tested else ""


def _exploratory(report: Report) -> str:
    count = sum(contrast.outcome != "unknown" for contrast in report.tested.exploratory)
    return f"Exploratory contrasts (not corrected for multiple tests): {count}." if count else ""


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
        "gate": 'Which of the two is below its <a href="#gates">gate</a>. It does not change the outcome.',
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
                        "Each is tested on the primary measures of its data set under the "
                        '<a href="#reading">first condition</a>.',
                    )
                ),
                COLUMNS_OF_CONTRASTS,
                Note(_added_seeds),
                Note(lambda report: alternatives(report.tested.primary)),
            ),
        ),
        Note((_exploratory, FULL_PRECISION)),
        *checks.SECTIONS,
    ),
)
