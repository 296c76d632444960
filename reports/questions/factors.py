"""Pairs that differ in one to three named factors of their design: topology, mask, objective, parameters, read-out.

Under native supervision a decoder also has a loss on its source, which one that reads its source in both directions
cannot have. The mask alone is what changes where both are trained on their target.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from archbench.reports.contrasts.testing import Question
from archbench.reports.results.comparison import TARGET
from archbench.reports.results.place import Place

if TYPE_CHECKING:
    from archbench.reports.report import Report

_NATIVE: Final = (  # where the first condition has each family's usual loss
    ("mask: source read in both directions", "prefix-decoder", f"decoder|{TARGET}"),
    ("mask and objective: source read in both directions, no loss on it", "prefix-decoder", "decoder"),
    (
        "mask, objective and source loss: causal target, a loss at every token of it, none on the source",
        "prefix-decoder",
        "suffix-encoder",
    ),
)
_ON_TARGET: Final = (  # where all have a loss on the target alone
    ("mask: source read in both directions", "prefix-decoder", "decoder"),
    ("mask and objective: causal target, a loss at every token of it", "prefix-decoder", "suffix-encoder"),
)
_ALWAYS: Final = (
    (
        "topology: a stack of its own for the source, cross-attention",
        "encoder-decoder",
        "prefix-decoder",
    ),
    (
        "parameters: separate layers for each stack, not shared ones",
        "encoder-decoder",
        "shared-encoder-decoder",
    ),
    ("objective: the end of the target masked instead of random positions", "suffix-encoder", "encoder"),
    ("read-out: label predicted from the mean of all positions, not from the label's own", "pooled-encoder", "encoder"),
)


def factors(report: "Report") -> Iterator[Question]:
    """Every such pair on every data set that has both."""
    comparisons, asked = report.comparisons, list[Question]()
    for comparison in report.compared[0]:
        listed = _ON_TARGET if comparisons.is_on_target_alone(comparison) else _NATIVE
        for changes, *pair in (*listed, *_ALWAYS):
            runs = [comparisons.side(comparison, name) for name in pair]
            if all(len(rows) for rows in runs):
                first, second = (Place.parse(name).words for name in pair)
                group = comparison.group.of({first: runs[0], second: runs[1]})
                asked.append(Question(group, comparison.metric, (first, second), about=changes))
    order = [changes for changes, *_ in (*_NATIVE, *_ON_TARGET, *_ALWAYS)]
    yield from sorted(asked, key=lambda question: order.index(question.about))
