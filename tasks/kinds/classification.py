"""Classification: one label token for a text. Primary metric: accuracy."""

import numpy as np

from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score
from archbench.tasks.baselines.baselines import majority_rows, tfidf_logistic_rows
from archbench.tasks.metrics.builtin import BUILTIN, text_score


def decoding(prepared: Prepared) -> Decoding:
    """The most likely label of every example."""
    return Decoding(max_tokens=1, count=len(prepared.test))


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """Accuracy and macro F1 of the answers; nats per label over the examples whose label training knew."""
    answers = outputs.answers
    labels = outputs.references[: len(answers)]
    scores = []
    if len(answers):
        scores += [text_score(name, labels, answers) for name in KIND.metrics]
    known = np.isin(np.array(outputs.references), np.array(prepared.tokenizer.labels))
    if known.any():
        scores.append(BUILTIN["nll_per_token"].score(outputs.nats[known], outputs.tokens[known]))
    return scores


def baselines(prepared: Prepared) -> list[Baseline]:
    """The most frequent label, and TF-IDF with logistic regression."""
    return [*majority_rows(prepared), *tfidf_logistic_rows(prepared)]


KIND = TaskKind(
    name="classification",
    does="assign a label to a text",
    form="labels",
    columns=("text", "label"),
    metrics=("accuracy", "macro_f1"),
    primary=("accuracy",),
    target_length=1,
    test_examples=4000,
    one_answer=True,
    decoding=decoding,
    measure=measure,
    baselines=baselines,
    numerics=11,
)
