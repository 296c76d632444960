"""The computations of the metrics: statistics of each example, and functions of their sums (see ``metric``)."""

import importlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import Tokens
from archbench.tasks.base.values import Score
from archbench.tasks.metrics import rouge
from archbench.tasks.metrics.intervals import Floats, ratio

CHRF_ORDER = 6  # characters of an n-gram, at most
COPY_TOKENS, COPY_BYTES = 8, 20
_BLOCK = 1 << 22


def load_libraries() -> None:
    """Imports the libraries of all metrics, which takes most of a second; without it they are loaded when needed."""
    for name in ("rouge_score.rouge_scorer", "sacrebleu.metrics.bleu", "sacrebleu.metrics.chrf"):
        importlib.import_module(name)


def perplexity(sums: Floats) -> Floats:
    """exp of nats per token, infinite where it overflows, from sums of `ratios` (r, 3), (r,)."""
    return np.array([math.exp(value) if value < 709.0 else math.inf for value in ratio(sums).tolist()], np.float64)


def equal(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """1 at answers that equal their reference, character by character, (n,)."""
    return np.array([a == b for a, b in zip(references, answers, strict=True)], np.float64)


def label_counts(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """(hit, wanted, given) by label of the references, (n, 3 labels)."""
    labels = np.array(sorted(set(references)))
    wanted, given = np.array(references)[:, None] == labels, np.array(answers)[:, None] == labels
    return np.concatenate([wanted & given, wanted, given], axis=1).astype(np.float64)


def macro_f1(sums: Floats) -> Floats:
    """F1 averaged over the labels that are wanted, each with the same weight, as scikit-learn's ``f1_score`` gives it.

    Takes sums of `label_counts` (r, 3 labels) to (r,) values.
    """
    hits, wanted, given = np.split(sums, 3, axis=1)
    f1 = 2 * hits / np.maximum(1, wanted + given)
    return np.asarray((f1 * (wanted > 0)).sum(axis=1) / np.maximum(1, (wanted > 0).sum(axis=1)))


def bleu_counts(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """(4 matches, 4 n-gram counts, answer length, reference length) of each sentence by sacreBLEU, (n, 10)."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True, force=True)  # without effective_order it warns of sentences

    def counts(wanted: str, answer: str) -> list[int]:
        score = metric.sentence_score(answer, [wanted])
        return [*score.counts, *score.totals, score.sys_len, score.ref_len]

    return _of_pairs(counts, references, answers)


def bleu(sums: Floats) -> Floats:
    """sacreBLEU's corpus BLEU with its defaults, 0 to 100 (1804.08771), from sums of `bleu_counts` (r, 10), (r,)."""
    from sacrebleu.metrics.bleu import BLEU

    rows, places = np.unique(sums.astype(np.int64), axis=0, return_inverse=True)
    scores = [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp") for row in rows.tolist()]
    return np.array([score.score for score in scores], np.float64)[places.reshape(-1)]


def chrf_counts(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """(answer n-grams, reference n-grams, matches) for 1 to 6 characters of each sentence, (n, 18)."""
    return _of_pairs(_chrf_counts, references, answers)


def chrf(sums: Floats) -> Floats:
    """sacreBLEU's corpus chrF with its defaults, 0 to 100, from sums of `chrf_counts` (r, 18), (r,).

    sacreBLEU gives no statistics of a sentence: these two functions are its computation, equal to the last digit.
    """
    given, wanted, hits = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
    usable = (given > 0) & (wanted > 0)
    orders = np.maximum(1, usable.sum(axis=1))
    precision = (usable * (hits / np.maximum(1, given))).sum(axis=1) / orders
    recall = (usable * (hits / np.maximum(1, wanted))).sum(axis=1) / orders
    weighted = 4 * precision + recall
    return np.asarray(100 * (5 * precision * recall / np.where(weighted > 0, weighted, 1.0)))


def _chrf_counts(wanted: str, answer: str) -> list[int]:
    counts: list[int] = []
    for n in range(1, CHRF_ORDER + 1):
        given, right = _characters(answer, n), _characters(wanted, n)
        counts += [given.total() if right else 0, right.total(), (given & right).total()]
    return counts


def _of_pairs(counts: Callable[[str, str], list[int]], references: Sequence[str], answers: Sequence[str]) -> Floats:
    """``counts`` of each reference and its answer, (n, k); pairs that recur are counted once."""
    pairs = list(zip(references, answers, strict=True))
    known = {pair: counts(*pair) for pair in set(pairs)}
    return np.array([known[pair] for pair in pairs], np.float64)


def _characters(text: str, n: int) -> Counter[str]:
    joined = "".join(text.split())
    return Counter(joined[start : start + n] for start in range(len(joined) - n + 1))


def signatures(names: Iterable[str]) -> dict[str, str]:
    """Settings of the metrics that a library defines, needed to compare numbers between programs."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    known: dict[str, BLEU | CHRF] = {"bleu": BLEU(), "chrf": CHRF()}
    signed = {}
    for name in names:
        if name in known:
            known[name].corpus_score(["a"], [["a"]])  # the signature counts references, so there has to be a corpus
            signed[name] = str(known[name].get_signature())
        elif name in rouge.TYPES:
            signed[name] = rouge.signature()
    return signed


def distinct_2(texts: Sequence[Tokens]) -> float:
    """Different bigrams over all bigrams of all texts (1510.03055); 0 without any."""
    grams = [gram for text in texts for gram in ngrams(text, 2)]
    return len(set(grams)) / len(grams) if grams else 0.0


def distinct_score(texts: Sequence[Tokens]) -> Score:
    """`distinct_2` with a jackknife interval: a bootstrap's duplicates would count as repetition."""
    value, count = distinct_2(texts), len(texts)
    grams = [Counter(ngrams(text, 2)) for text in texts]
    holders = Counter(gram for grams_of_text in grams for gram in grams_of_text)
    distinct = np.array([sum(holders[gram] == 1 for gram in grams_of_text) for grams_of_text in grams], np.float64)
    sizes = np.array([sum(grams_of_text.values()) for grams_of_text in grams], np.float64)
    without = (len(holders) - distinct) / np.maximum(1, sizes.sum() - sizes)
    spread = 1.96 * float(np.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum()))
    return Score("distinct_2", value, max(0.0, value - spread), min(1.0, value + spread), count)


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
