"""What size, depth and budget do: sweeps, stored bits, parts of the budget, learning curves."""

from collections.abc import Callable
from typing import Final

from archbench.reports.analysis import horizontal, scaling, shares, stored_bits
from archbench.reports.analysis.report import Report
from archbench.reports.page.parts import Figure, Note, Points, Section

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


SIZE: Final = Section(
    "Score against size",
    name="scaling",
    short="Score against size",
    show=(Figure("scaling"), Points(_trends("scaling"))),
)
DEPTH: Final = Section(
    "Depth against width",
    name="depth",
    short="Depth against width",
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
    short="Score against budget",
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
    short="Learning curves",
    otherwise="No validation curve was recorded.",
    show=(Figure("curves_tokens", titled=True), Figure("curves_flops", titled=True)),
)
