"""Translation: a sentence in another language. Primary metric: chrF, unless the data set has one right answer."""

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
    primary="chrf",
    one_answer=True,
    decoding=decoding,
    measure=measured_by(METRICS),
    baselines=baselines_by(METRICS, copy_rows, nearest_rows),
    numerics=11,
)
