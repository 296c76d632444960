"""The metrics, as pure functions of answers and likelihoods; each docstring gives the meaning.

Likelihoods come as one value for each example, (n,): ``nats``, and the counts of its tokens or bytes.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import Tokens
from archbench.tasks.metrics import rouge

COPY_TOKENS, COPY_BYTES = 8, 20
_BLOCK = 1 << 22


def nll_per_token(nats: NDArray[np.float64], tokens: NDArray[np.int64]) -> float:
    """Nats per scored token, END counted."""
    return float(nats.sum() / tokens.sum())


def perplexity(nats: NDArray[np.float64], tokens: NDArray[np.int64]) -> float:
    """exp of `nll_per_token`."""
    return exponential(nll_per_token(nats, tokens))


def bits_per_byte(nats: NDArray[np.float64], byte_counts: NDArray[np.int64]) -> float:
    """Bits per UTF-8 byte of the scored text: the one likelihood that compares across tokenizers."""
    return float(nats.sum() / math.log(2) / byte_counts.sum())


def exponential(value: float) -> float:
    """exp, infinite where it overflows."""
    return math.exp(value) if value < 709.0 else math.inf


def exact_match(references: Sequence[str], answers: Sequence[str]) -> float:
    """Share of answers that equal their reference, character by character."""
    return float(np.mean([a == b for a, b in zip(references, answers, strict=True)]))


def accuracy(references: Sequence[str], answers: Sequence[str]) -> float:
    """Share of labels that are right."""
    return exact_match(references, answers)


def macro_f1(references: Sequence[str], answers: Sequence[str]) -> float:
    """F1 averaged over the classes that occur among the references, each with the same weight (scikit-learn)."""
    from sklearn.metrics import f1_score

    labels = sorted(set(references))
    score = f1_score(list(references), list(answers), labels=labels, average="macro", zero_division=0.0)
    return float(score)


def bleu(references: Sequence[str], answers: Sequence[str]) -> float:
    """Corpus BLEU of sacreBLEU with its defaults, 0 to 100 (1804.08771)."""
    return float(sacrebleu_metrics()["bleu"].corpus_score(list(answers), [list(references)]).score)


def chrf(references: Sequence[str], answers: Sequence[str]) -> float:
    """Corpus chrF of sacreBLEU with its defaults, 0 to 100."""
    return float(sacrebleu_metrics()["chrf"].corpus_score(list(answers), [list(references)]).score)


def signatures(names: Iterable[str]) -> dict[str, str]:
    """Settings of the metrics computed by a library, needed to compare numbers between programs."""
    known = sacrebleu_metrics()
    signed = {}
    for name in names:
        if name in known:
            known[name].corpus_score(["a"], [["a"]])  # the signature counts references, so there has to be a corpus
            signed[name] = str(known[name].get_signature())
        elif name in rouge.TYPES:
            signed[name] = rouge.signature()
    return signed


def sacrebleu_metrics() -> dict[str, Any]:
    """Fresh sacreBLEU metrics by name; ``force`` silences its remark on text that ends in a spaced full stop."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return {"bleu": BLEU(force=True), "chrf": CHRF()}


def rouge_1(references: Sequence[str], answers: Sequence[str]) -> float:
    """Mean F1 of the words that answer and reference share, 0 to 1 (ROUGE-1, see `tasks.metrics.rouge`)."""
    return float(rouge.rouge("rouge_1", references, answers).mean())


def rouge_2(references: Sequence[str], answers: Sequence[str]) -> float:
    """Mean F1 of the pairs of neighbouring words that answer and reference share, 0 to 1 (ROUGE-2)."""
    return float(rouge.rouge("rouge_2", references, answers).mean())


def rouge_l(references: Sequence[str], answers: Sequence[str]) -> float:
    """Mean F1 of the longest common subsequence of words, 0 to 1 (ROUGE-L)."""
    return float(rouge.rouge("rouge_l", references, answers).mean())


def repetition(texts: Sequence[Tokens], order: int = 4) -> float:
    """Share of 4-grams that occur earlier in the same text (seq-rep-4, 1908.04319), over all texts; 0 without any."""
    repeats, total = repeated(texts, order).sum(axis=0)
    return float(repeats / total) if total else 0.0


def distinct_2(texts: Sequence[Tokens]) -> float:
    """Different bigrams over all bigrams of all texts (1510.03055); 0 without any."""
    grams = [gram for text in texts for gram in ngrams(text, 2)]
    return len(set(grams)) / len(grams) if grams else 0.0


def copied(texts: Sequence[Tokens], stream: NDArray[Any], order: int) -> float:
    """Share of windows of ``order`` tokens that occur verbatim in the training ``stream``, over all texts.

    `copy_order` gives the order for windows of at least 8 tokens and about 20 bytes; 0 without any window.
    """
    hits, total = copies(texts, stream, order).sum(axis=0)
    return float(hits / total) if total else 0.0


def copy_order(bytes_per_token: float) -> int:
    """Tokens of a window for `copied`: 8, or as many as make 20 bytes on average."""
    return max(COPY_TOKENS, math.ceil(COPY_BYTES / bytes_per_token))


def repeated(texts: Sequence[Tokens], order: int) -> NDArray[np.float64]:
    """(repeated n-grams, n-grams) of each text, (n, 2)."""
    grams = [ngrams(text, order) for text in texts]
    return np.array(
        [(len(text_grams) - len(set(text_grams)), len(text_grams)) for text_grams in grams], np.float64
    ).reshape(-1, 2)


def copies(texts: Sequence[Tokens], stream: NDArray[Any], order: int) -> NDArray[np.float64]:
    """(windows that occur in ``stream``, windows) of each text, (n, 2); found by 64-bit rolling hashes."""
    hashes = [rolling_hashes(text, order) for text in texts]
    wanted = np.unique(np.concatenate([*hashes, np.zeros(0, np.uint64)]))
    present = np.zeros(len(wanted), np.bool_)
    for start in range(0, len(stream), _BLOCK) if len(wanted) else ():
        seen = rolling_hashes(stream[start : start + _BLOCK + order - 1], order)
        indices = np.minimum(np.searchsorted(wanted, seen), len(wanted) - 1)
        present[indices[wanted[indices] == seen]] = True
    counts = [(int(present[np.searchsorted(wanted, text_hashes)].sum()), len(text_hashes)) for text_hashes in hashes]
    return np.array(counts, np.float64).reshape(-1, 2)


def ngrams(text: Tokens, order: int) -> list[tuple[int, ...]]:
    """The n-grams of a text, in order."""
    tokens = [int(token) for token in text]
    return list(zip(*(tokens[start:] for start in range(order)), strict=False))


def rolling_hashes(tokens: NDArray[Any], order: int) -> NDArray[np.uint64]:
    """A 64-bit polynomial hash of every window of ``order`` tokens, (t - order + 1,)."""
    count = max(0, len(tokens) - order + 1)
    total = np.zeros(count, np.uint64)
    values = np.asarray(tokens).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0xD1B54A32D192ED03)
    for start in range(order):
        total = total * np.uint64(0x5851F42D4C957F2D) + values[start : start + count]
    return total
