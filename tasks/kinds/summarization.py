"""Summarization: a text in few words. Primary metric: ROUGE-L, as usual in the field.

It is not a likelihood because the baseline to beat, the beginning of the source, has none.
"""

from archbench.tasks.base.kind import TaskKind
from archbench.tasks.baselines.baselines import copy_rows, lead_rows, nearest_rows
from archbench.tasks.kinds.text_to_text import baselines_by, decoding, measured_by

METRICS = ("rouge_1", "rouge_2", "rouge_l")
KIND = TaskKind(
    name="summarization",
    does="summarize a text",
    form="pairs",
    columns=("text", "summary"),
    metrics=METRICS,
    primary=("rouge_l",),
    source_length=256,
    decoding=decoding,
    measure=measured_by(METRICS),
    baselines=baselines_by(METRICS, lead_rows, copy_rows, nearest_rows),
    numerics=11,
)
