"""Pairs that differ in one factor of a design: topology, mask, objective, parameters, read-out.

Under native supervision a decoder also has a loss on its source, which one that reads its source in both directions
cannot have. The mask alone is what changes where both are trained on their target.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from archbench.reports.analysis.comparison import Comparison, Comparisons, Group, joined
from archbench.reports.analysis.contrasts import Factor
from archbench.reports.analysis.testing import Question, alone

TARGET: Final = "target supervision"
_FACTORS: Final = (
    ("mask: the source is read in both directions", "prefix-decoder", f"decoder|{TARGET}"),
    ("mask and objective: the source is read in both directions and has no loss", "prefix-decoder", "decoder"),
    (
        "topology: a stack of its own for the source, with cross-attention",
        "encoder-decoder",
        "prefix-decoder",
    ),
    ("parameters: two stacks, not one used twice", "encoder-decoder", "shared-encoder-decoder"),
    ("objective: ends of the target are hidden, not any cells", "suffix-encoder", "encoder"),
    ("mask and objective: causal over the target, a loss at every token of it", "prefix-decoder", "suffix-encoder"),
    ("read-out: the mean over positions, not the label's cell", "pooled-encoder", "encoder"),
)


def factors(comparisons: Comparisons, first: Sequence[Comparison]) -> list[Factor]:
    """Every such pair on every data set that has both, exploratory: not corrected."""
    asked = [(what, one) for what, *pair in _FACTORS for found in first for one in _asked(comparisons, found, pair)]
    return [Factor(what, alone(comparisons, one)) for what, one in asked]


def _asked(comparisons: Comparisons, found: Comparison, pair: Sequence[str]) -> Iterator[Question]:
    runs = [comparisons.side(found, one) for one in pair]
    if all(len(rows) for rows in runs):
        first, second = (one.replace(f"|{TARGET}", f" with {TARGET}") for one in pair)
        group = Group(found.group.dataset, found.group.task, {}, joined(runs, (first, second)))
        yield Question(group, found.metric.name, (first, second))
