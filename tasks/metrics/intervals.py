"""Scores with 95% percentile-bootstrap intervals, from statistics that add up over examples.

A corpus metric is a function of sums: matches and n-grams for BLEU, hits and counts per class for macro F1. Resampling
examples is then one product of a matrix of random counts (resamples, n) and the statistics (n, k), however slow the
metric itself is. The random counts depend on n alone: every model is resampled alike.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import Tokens
from archbench.tasks.base.values import Score
from archbench.tasks.metrics.metrics import distinct_2, exponential, ngrams, sacrebleu_metrics
from archbench.tasks.metrics.rouge import rouge

Floats = NDArray[np.float64]
RESAMPLES = 1000
FAILURES = 0.05  # share of the samples that may have no value
_CELLS = 1 << 22  # random counts that are held at a time


def resampled(statistics: Floats) -> Floats:
    """Sums of the statistics (n, k) over `RESAMPLES` samples of the examples with replacement, (resamples, k)."""
    return np.concatenate([counts.astype(float) @ statistics for counts in _blocks(len(statistics))])


def draws(count: int) -> Iterator[NDArray[np.int64]]:
    """How often each of ``count`` examples is drawn, (n,), for every sample with replacement."""
    return (counts for block in _blocks(count) for counts in block)


def _blocks(count: int) -> Iterator[NDArray[np.int64]]:
    random = np.random.default_rng([0x626F6F74, count])
    rows = max(1, min(RESAMPLES, _CELLS // max(1, count)))
    for start in range(0, RESAMPLES, rows):
        yield random.multinomial(count, np.full(count, 1 / count), size=min(rows, RESAMPLES - start))


def scored(metric: str, value: float, statistics: Floats, of_sums: Callable[[Floats], Floats]) -> Score:
    """A score whose interval follows from ``of_sums``: (r, k) sums of statistics to (r,) values."""
    lower, upper = _percentiles(of_sums(resampled(statistics)))
    return Score(metric, value, lower, upper, len(statistics))


def ratio_score(metric: str, parts: Floats, wholes: Floats, scale: float = 1.0) -> Score:
    """``scale`` times a ratio of sums over examples, (n,) each; infinite parts make an infinite ratio."""
    infinite = np.isinf(parts)
    statistics = np.stack([np.where(infinite, 0.0, parts), wholes, infinite], axis=1)

    def of_sums(sums: Floats) -> Floats:
        ratio = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
        return np.where(sums[:, 2] > 0, np.inf, scale * ratio)

    return scored(metric, float(of_sums(statistics.sum(axis=0, keepdims=True))[0]), statistics, of_sums)


def mean_score(metric: str, values: Sequence[float] | Sequence[bool]) -> Score:
    """The mean of one value for each example."""
    parts = np.array(values, np.float64)
    return ratio_score(metric, parts, np.ones(len(parts)))


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a proportion of ``count`` examples, which also has a width at 0 and 1.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference"; recommended by Brown, Cai and
    DasGupta 2001, "Interval estimation for a binomial proportion".
    """
    z = 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def likelihood_scores(
    nats: Floats,
    tokens: NDArray[np.int64],
    byte_counts: NDArray[np.int64],
    bound: Floats | None = None,
    lossless: bool = True,
) -> list[Score]:
    """Nats per token, perplexity and bits per byte of the references, and the bound on the last where there is one.

    All arguments are (n,), a value for each reference. ``lossless``: False where decoding does not give back the text,
    so that the likelihood covers fewer bytes than the text has; bits per byte are then omitted.
    """
    loss = ratio_score("nll_per_token", nats, tokens.astype(np.float64))
    value, lower, upper = (exponential(x) for x in (loss.value, loss.lower, loss.upper))
    scores = [loss, Score("perplexity", value, lower, upper, loss.n)]
    if not lossless:
        return scores
    named = [("bits_per_byte", nats)] if bound is None else [("bits_per_byte", nats), ("bits_per_byte_bound", bound)]
    return scores + [ratio_score(name, part, byte_counts.astype(np.float64), 1 / math.log(2)) for name, part in named]


def macro_f1_score(value: float, references: Sequence[str], answers: Sequence[str]) -> Score:
    """Macro F1; a resample averages over the classes that it contains."""
    labels = sorted(set(references))
    wanted = np.array(references)[:, None] == np.array(labels)
    given = np.array(answers)[:, None] == np.array(labels)
    statistics = np.concatenate([wanted & given, wanted, given], axis=1).astype(np.float64)

    def of_sums(sums: Floats) -> Floats:
        hits, wanted, given = np.split(sums, 3, axis=1)
        f1 = 2 * hits / np.maximum(1, wanted + given)
        return np.asarray((f1 * (wanted > 0)).sum(axis=1) / (wanted > 0).sum(axis=1))

    return scored("macro_f1", value, statistics, of_sums)


def resampled_score(
    metric: str, value: Callable[..., float], references: Sequence[str], answers: Sequence[str]
) -> Score:
    """A metric of texts that is only a function: it is computed again for each sample of the examples.

    Samples without a value are ignored. Raises the error of ``value`` on all examples, and ``ValueError`` if more than
    one sample in twenty has no value.
    """
    whole, count, values, failures = value(references, answers), len(answers), [], []
    for counts in draws(count):
        chosen = np.repeat(np.arange(count), counts).tolist()
        try:
            values.append(value([references[i] for i in chosen], [answers[i] for i in chosen]))
        except Exception as error:
            failures.append(error)
    if len(failures) > FAILURES * RESAMPLES:
        raise ValueError(f"has no value for {len(failures):,} of {RESAMPLES:,} samples of the examples: {failures[0]}")
    lower, upper = _percentiles(np.array(values))
    return Score(metric, whole, lower, upper, count)


def bleu_score(value: float, references: Sequence[str], answers: Sequence[str]) -> Score:
    return scored("bleu", value, bleu_statistics(references, answers), bleu_of_sums)


def chrf_score(value: float, references: Sequence[str], answers: Sequence[str]) -> Score:
    return scored("chrf", value, chrf_statistics(references, answers), chrf_of_sums)


def rouge_score(metric: str, references: Sequence[str], answers: Sequence[str]) -> Score:
    """The mean F1 of `rouge`, with the F1 of each example: computing that again takes our tokenizer."""
    values = rouge(metric, references, answers).tolist()
    return replace(mean_score(metric, values), per_example=tuple(values))


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


def bleu_statistics(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """(answer length, reference length, 4 matches, 4 n-gram counts) of each sentence, (n, 10)."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(effective_order=True, force=True)
    scores = [metric.sentence_score(answer, [wanted]) for wanted, answer in zip(references, answers, strict=True)]
    return np.array([[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores], np.float64)


def bleu_of_sums(sums: Floats) -> Floats:
    """sacreBLEU's corpus BLEU with exponential smoothing from summed statistics, (r, 10) to (r,)."""
    length, wanted, matches, totals = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:10]
    missed = (matches == 0) & (totals > 0)
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(missed, axis=1))
    usable = (matches.sum(axis=1) > 0) & (totals > 0).all(axis=1)
    precision = np.log(np.where(usable[:, None], smoothed, 1.0) / np.maximum(1, totals)).mean(axis=1)
    brevity = np.minimum(0.0, 1 - wanted / np.maximum(1, length))
    return np.where(usable, 100 * np.exp(precision + brevity), 0.0)


def chrf_statistics(references: Sequence[str], answers: Sequence[str]) -> Floats:
    """(answer n-grams, reference n-grams, matches) for 1 to 6 characters of each sentence, (n, 18)."""
    order = sacrebleu_metrics()["chrf"].char_order
    rows = []
    for wanted, answer in zip(references, answers, strict=True):
        row: list[int] = []
        for n in range(1, order + 1):
            given, right = _characters(answer, n), _characters(wanted, n)
            row += [given.total() if right else 0, right.total(), (given & right).total()]
        rows.append(row)
    return np.array(rows, np.float64)


def chrf_of_sums(sums: Floats) -> Floats:
    """sacreBLEU's corpus chrF (beta 2) from summed statistics, (r, 18) to (r,)."""
    given, wanted, hits = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
    usable = (given > 0) & (wanted > 0)
    orders = np.maximum(1, usable.sum(axis=1))
    precision = (usable * hits / np.maximum(1, given)).sum(axis=1) / orders
    recall = (usable * hits / np.maximum(1, wanted)).sum(axis=1) / orders
    weighted = 4 * precision + recall
    return np.where(weighted > 0, 500 * precision * recall / np.where(weighted > 0, weighted, 1.0), 0.0)


def _characters(text: str, n: int) -> Counter[str]:
    joined = "".join(text.split())
    return Counter(joined[start : start + n] for start in range(len(joined) - n + 1))


def _percentiles(values: Floats) -> tuple[float, float]:
    """2.5% and 97.5%, without interpolation, so that infinite values stay infinite."""
    lower, upper = np.quantile(values, [0.025, 0.975], method="nearest")
    return float(lower), float(upper)
