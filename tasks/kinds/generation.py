"""Generation: continue a prefix, or model whole windows of running text. Primary metric: bits per byte."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import UNK, Tokens
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score
from archbench.tasks.baselines.baselines import likelihood_rows, validation_bits
from archbench.tasks.metrics import metrics
from archbench.tasks.metrics.builtin import likelihood_scores, text_score
from archbench.tasks.metrics.intervals import ratio_score
from archbench.tasks.text.splits import PairExamples, Subset, Windows

SAMPLES = 64


def decoding(prepared: Prepared) -> Decoding:
    """Nucleus sampling (1904.09751) for a bounded number of prefixes: the most likely text is a degenerate one."""
    count = min(SAMPLES, len(prepared.test))
    return Decoding(strategy="sample", top_p=0.95, max_tokens=prepared.config.target_length, count=count)


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """Likelihoods of the references; repetition, variety and copying of the sampled continuations."""
    lossless = prepared.tokenizer.is_lossless(outputs.references)
    scores = likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, lossless)
    if prepared.config.source_length and len(outputs.answers):
        scores.append(text_score("rouge_l", outputs.references[: len(outputs.answers)], outputs.answers))
    scores += sample_scores([ids[ids >= UNK] for ids in outputs.answer_ids], prepared)
    return scores + (sample_likelihood(outputs, prepared) if lossless else [])


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
    return [*ratios, metrics.distinct_score(texts)]


def sample_likelihood(outputs: Outputs, prepared: Prepared) -> list[Score]:
    """``sample_bits_per_byte`` of the sampled texts, each after its source; none where all are empty.

    The n-gram model is of the validation text: no model trains on it, and samples do not continue it, as they do the
    test text.
    """
    samples = [answer.encode() for answer in outputs.answers]
    sizes = np.array([len(sample) for sample in samples], np.float64)
    if not sizes.any():
        return []
    bits = validation_bits(prepared, samples, [source.encode() for source in outputs.sources[: len(samples)]])
    return [ratio_score("sample_bits_per_byte", bits, sizes)]


def baselines(prepared: Prepared) -> list[Baseline]:
    """An n-gram model and lzma, in bits per byte; the test text's own ``sample_bits_per_byte``."""
    test = prepared.test
    assert isinstance(test, Subset)
    indices = range(len(test))
    bits = validation_bits(prepared, [test.target_raw(i) for i in indices], [test.source_raw(i) for i in indices])
    test_text = Baseline("test_text", "test", "sample_bits_per_byte", float(bits.sum() / test.target_bytes.sum()))
    return [*likelihood_rows(prepared), test_text]


KIND = TaskKind(
    name="generation",
    does="continue a text",
    form="running text",
    columns=("text",),
    metrics=("rouge_l",),
    primary=("bits_per_byte",),
    judged=("bits_per_byte",),
    tokenizer="char",
    decoding=decoding,
    measure=measure,
    baselines=baselines,
    numerics=12,
)
