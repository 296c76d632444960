"""Translation: a sentence in another language. Primary measures: exact likelihood and BLEU, unless the data set has its
own, such as exact match where there is one right answer.
"""

from archbench.tasks.base.kind import TaskKind
from archbench.tasks.baselines.baselines import copy_rows, nearest_rows
from archbench.tasks.kinds.text_to_text import baselines_by, decoding, measured_by

METRICS = ("exact_match", "bleu", "chrf")
KIND = TaskKind(
    name="translation",
    does="translate a text",
    form="pairs",
    columns=("source", "target"),
    metrics=METRICS,
    primary=("bits_per_byte", "bleu"),
    test_examples=1000,
    one_answer=True,
    decoding=decoding,
    measure=measured_by(METRICS),
    baselines=baselines_by(METRICS, copy_rows, nearest_rows),
    numerics=11,
)
