"""Generation: continue a prefix, or model whole windows of running text. Primary metric: bits per byte."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import UNK, Tokens
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import DecodingConfig, Outputs, Prepared, Reference, Score
from archbench.tasks.metrics import metrics
from archbench.tasks.metrics.builtin import text_score
from archbench.tasks.metrics.intervals import distinct_score, likelihood_scores, ratio_score
from archbench.tasks.references.references import likelihood_rows
from archbench.tasks.text.splits import PairExamples, Windows

SAMPLES = 64


def decoding(prepared: Prepared) -> DecodingConfig:
    """Nucleus sampling (1904.09751) for a bounded number of prefixes: the most likely text is a degenerate one."""
    count = min(SAMPLES, len(prepared.test))
    return DecodingConfig("sample", top_p=0.95, max_tokens=prepared.config.target_length, count=count)


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """Likelihoods of the references; repetition, variety and copying of the sampled continuations."""
    kept = prepared.tokenizer.keeps(outputs.references)
    scores = likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, kept)
    if prepared.config.source_length and len(outputs.answers):
        scores.append(text_score("rouge_l", outputs.references[: len(outputs.answers)], outputs.answers))
    return scores + sample_scores([ids[ids >= UNK] for ids in outputs.answer_ids], prepared)


def sample_scores(texts: Sequence[Tokens], prepared: Prepared) -> list[Score]:
    """``repetition``, ``distinct_2`` and ``copied`` of sampled texts; none where every text is too short for them."""
    if not any(len(text) > 1 for text in texts):
        return []
    train = prepared.train
    assert isinstance(train, PairExamples | Windows)
    order = metrics.copy_order(len(train.text) / max(1, len(train.tokens)))
    counts: dict[str, NDArray[np.float64]] = {
        "repetition": metrics.repeated(texts, 4),
        "copied": metrics.copies(texts, train.tokens, order),
    }
    ratios = [ratio_score(name, part[:, 0], part[:, 1]) for name, part in counts.items() if part[:, 1].any()]
    return [*ratios, distinct_score(texts)]


def references(prepared: Prepared) -> list[Reference]:
    """An n-gram model and lzma, in bits per byte."""
    return likelihood_rows(prepared)


KIND = TaskKind(
    name="generation",
    does="continue a text",
    form="running text",
    columns=("text",),
    metrics=("rouge_l",),
    primary="bits_per_byte",
    judged=("bits_per_byte",),
    tokenizer="char",
    decoding=decoding,
    measure=measure,
    references=references,
    numerics=12,
)
