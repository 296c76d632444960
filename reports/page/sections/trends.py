"""Skills; effects of size, depth and budget; the cost of inference: sweeps, stored bits, parts of the budget."""

import math
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.page.elements.grids import Column, GridCell, known, span, title
from archbench.reports.page.elements.parts import Figure, Note, Points, Section, Table
from archbench.reports.questions import scaling, shares
from archbench.reports.readings import horizontal, stored_bits
from archbench.reports.readings.size_order import SizeOrder, size_orders
from archbench.reports.readings.skills import LEARNED, SkillScore, is_learned, skill_scores
from archbench.reports.readings.writing import Writing, writings
from archbench.reports.report import Report

Lists = dict[str, list[str]]


def _trends(axis: str) -> Callable[[Report], Lists]:
    """The sentences about the sweeps of an axis, by sweep."""
    return lambda report: {
        trend.sweep.title: scaling.sentences(trend) for trend in report.trends if trend.sweep.axis.name == axis
    }


def _stored(report: Report) -> Lists:
    points = stored_bits.stored(report)
    datasets = dict.fromkeys(point.dataset for point in points)
    return {name: stored_bits.sentences([point for point in points if point.dataset == name]) for name in datasets}


def _doublings(report: Report) -> Lists:
    lists = Lists()
    for contrast in report.tested["doubling"]:
        lists.setdefault(contrast.dataset, []).append(shares.sentence(contrast))
    return lists


def _ratios(report: Report) -> Lists:
    return {"": [f"{entry.dataset}: {entry.sentence}" for entry in horizontal.distances(report)]}


class Costs(NamedTuple):
    """The runs of an architecture on a data set, and the name of the latter."""

    dataset: str
    architecture: str
    runs: pd.DataFrame


def _costs(report: Report) -> list[Costs]:
    """The runs whose cost of inference was recorded, with all others where any was."""
    groups = [comparison.group for comparison in report.first]
    if not any(known(group.runs, key) for group in groups for key in COSTS):
        return []
    return [Costs(title(group), name, runs) for group in groups for name, runs in group.by_architecture.items()]


def _cost(key: str, form: Callable[[float], str], costs: Costs) -> str:
    return span(costs.runs, key, form)


def _writing_score(entry: Writing) -> GridCell:
    metric = entry.comparison.metric
    return GridCell(formatting.interval(entry.score, metric.decimals), below=metric.label_with_arrow)


def _ratio(entry: Writing) -> str:
    return formatting.MISSING if math.isnan(entry.ratio) else f"{entry.ratio:.2f}\N{MULTIPLICATION SIGN}"


COSTS: Final = {
    "inference_flops": ("inference FLOPs per example", formatting.number),
    "generate_tokens_per_second": ("generated tokens/s", formatting.number),
    "score_seconds": ("time to score the test split", formatting.seconds),
}


def _skill_columns(report: Report) -> list[Column[str]]:
    """A column for each skill, of which the rows are the names of architectures."""
    columns = [Column[str]("architecture", str, text=True)]
    for scores in skill_scores(report):
        of = {entry.cell.architecture: entry for entry in scores}
        columns.append(Column(_skill_head(scores), partial(_skill_cell, of)))
    return columns


def _skill_head(scores: list[SkillScore]) -> GridCell:
    best = scores[0].comparison.best_simple_baseline
    below = [f"best baseline {formatting.value(best[1], 2)}"] if best else []
    below += [] if is_learned(scores) else ["nobody learns it"]
    return GridCell(scores[0].comparison.group.dataset, "; ".join(below), "text")


def _skill_cell(of: dict[str, SkillScore], architecture: str) -> GridCell:
    """The mean score, when nine of ten answers were right, and a shade for the score."""
    entry = of.get(architecture)
    if entry is None:
        return GridCell("")
    reached, runs = entry.reached, len(entry.tokens)
    below = f"{LEARNED:.0%} at {formatting.number(entry.median)}" if reached else f"never {LEARNED:.0%}"
    some = f", {reached} of {runs} seeds" if 0 < reached < runs else ""
    shade = SHADES if entry.score >= LEARNED else math.floor(entry.score / LEARNED * SHADES)
    return GridCell(formatting.value(entry.score, 2), f"{below}{some}" if runs else "", f"level{shade}", "#curves")


SHADES: Final = 5
SKILLS_TABLE: Final = Table[str](
    "skills",
    "Skills",
    lambda report: dict.fromkeys(entry.cell.architecture for scores in skill_scores(report) for entry in scores),
    _skill_columns,
    about="Share of test examples answered exactly, mean over seeds. Second line: training tokens until 90% of the "
    "answers to 100 validation questions were right, measured twelve times during training (median over the seeds "
    "that got there). The darker a cell, the higher the score; darkest: at least 90%. Nobody learns it: no "
    "architecture scores 90%.",
    holds="which architecture has which skill",
    lacks="skills (data sets named skill:NAME)",
    note="Share of test examples answered exactly, means over seeds. Below: training tokens until 90% of the answers "
    "to 100 validation questions were right.",
    stacked=True,
)
SKILLS: Final = Section("Skills", name="skills", show=(SKILLS_TABLE,))
COST: Final = Table[Costs](
    "cost",
    "Cost of inference",
    _costs,
    (
        Column("data set", lambda costs: costs.dataset, text=True),
        Column("architecture", lambda costs: costs.architecture, text=True),
        *(Column(name, partial(_cost, key, form), optional=True) for key, (name, form) in COSTS.items()),
    ),
    about="Encoders write from left to right, one pass for each token.",
    folded="Cost of inference",
    holds="inference cost",
    note="Encoders write from left to right, one pass for each token.",
)
WRITING_TABLE: Final = Table[Writing](
    "writing",
    "What writing costs",
    writings,
    (
        Column("data set", lambda entry: title(entry.comparison.group), text=True),
        Column("architecture", lambda entry: entry.architecture, text=True),
        Column("order of writing", lambda entry: entry.order, text=True),
        Column("score", _writing_score),
        Column("FLOPs per answer", lambda entry: formatting.number(entry.flops)),
        Column("ratio", _ratio),
        Column("time (rough)", lambda entry: formatting.seconds(entry.seconds)),
    ),
    about="Ratio: FLOPs per answer to those of the data set's first architecture. Times are rough: runs may have "
    "shared the machine.",
    holds="score and FLOPs of each order in which answers were written",
    lacks="answers that an encoder wrote in rounds",
    note="Means over seeds with 95% intervals, in other orders than left to right over seeds alone. Ratio: "
    "FLOPs to those of the data set's first architecture. The main scores are those from left to right.",
)
SIZE: Final = Section(
    "Score against size",
    name="scaling",
    show=(Figure("scaling"), Points(_trends("scaling"))),
)
ORDER_TABLE: Final = Table[SizeOrder](
    "order",
    "Does the order hold at another size?",
    size_orders,
    (
        Column("data set", lambda entry: GridCell(title(entry.base.group), entry.base.metric.label, "text"), text=True),
        Column("at", lambda entry: entry.other.group.place.condition, text=True),
        Column("pairs in the same order", lambda entry: f"{entry.agreeing} of {entry.pairs}"),
        Column("signal to noise", lambda entry: formatting.value(entry.base_ratio, 1)),
        Column("at the other size", lambda entry: formatting.value(entry.other_ratio, 1)),
    ),
    about="Pairs of architectures whose means differ in the same direction at both sizes (decision accuracy; "
    "DataDecide, 2504.11393). Signal to noise: the range of the architectures' means divided by the standard deviation "
    "between seeds (2508.13144). A small ratio means that seeds move scores about as much as architectures do.",
    holds="whether architectures keep their order at another size",
    lacks="conditions of another size",
)
ORDER: Final = Section("Does the order hold at another size?", name="order", short="Order", show=(ORDER_TABLE,))
DEPTH: Final = Section(
    "Depth against width",
    name="depth",
    show=(Figure("depth"), Points(_trends("depth"))),
)
CAPACITY: Final = Section(
    "What a parameter stores",
    name="capacity",
    short="Capacity",
    show=(
        Note(
            "Training, validation and test deliberately use the same random strings. These can only be memorized, so "
            "this measures memory, not generalization. Stored bits: the entropy of all strings minus their exact "
            "negative log-likelihood (including END). For comparison, larger models store 2 bits per parameter after "
            "1,000 epochs and 1 after 100 (Allen-Zhu and Li, 2404.05405), or 3.6 (Morris et al., 2505.24832).",
            look="",
        ),
        Figure("capacity"),
        Points(_stored),
    ),
)
BUDGET: Final = Section(
    "Score against budget",
    name="shares",
    show=(
        Figure("shares"),
        Points(_doublings),
        Figure("compute"),
        Figure("distances"),
        Points(_ratios, folded="The budget ratios in words"),
    ),
)
CURVES: Final = Section(
    "Learning curves",
    name="curves",
    otherwise="No validation curve was recorded.",
    show=(Figure("curves_flops", titled=True), Figure("curves_tokens", titled=True)),
)
QUALITY_AGAINST_COST: Final = Section(
    "Quality against cost",
    name="cost",
    otherwise="No cost of inference was recorded.",
    show=(Figure("cost"), COST),
)
WRITING: Final = Section(
    "What writing costs",
    name="writing",
    short="Writing",
    show=(
        Note(
            "An encoder can write an answer in several orders. Its score and its cost belong to one order: the main "
            "scores and the inference FLOPs elsewhere on this page are those from left to right, one pass for each "
            "token. In rounds, each pass fills the cells of which the model is most confident.",
            look="",
        ),
        Figure("writing"),
        WRITING_TABLE,
    ),
)
