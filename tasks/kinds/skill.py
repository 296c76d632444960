"""Skills: small generated tasks with one right answer (tasks/builtin_data/skills). Primary metric: exact match."""

from archbench.tasks.base.kind import TaskKind
from archbench.tasks.baselines.baselines import copy_rows, nearest_rows
from archbench.tasks.builtin_data.skills.skill import PREFIX, TEST
from archbench.tasks.kinds.text_to_text import baselines_by, decoding, measured_by

METRICS = ("exact_match",)
KIND = TaskKind(
    name="skill",
    does="answer a question",
    form="pairs",
    columns=("question", "answer"),
    metrics=METRICS,
    primary=METRICS,
    test_examples=TEST,
    one_answer=True,
    only_data=f"{PREFIX}NAME",
    tokenizer="word",
    tokenizers=("word",),  # each symbol is a word
    decoding=decoding,
    measure=measured_by(METRICS),
    baselines=baselines_by(METRICS, copy_rows, nearest_rows),
)
