"""archbench's own metrics, by name."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.values import Score
from archbench.tasks.metrics import edits, metrics
from archbench.tasks.metrics.intervals import Floats, ratio, ratios
from archbench.tasks.metrics.metric import Metric
from archbench.tasks.metrics.rouge import rouge

_ANY_ORDER = (
    "training loss of a masked model: the negative log-likelihood averaged over all orders in which tokens can be "
    "filled in; no bound on the left-to-right loss, and not comparable with it. For a next-cell encoder: an estimate "
    "of its left-to-right loss"
)
_PER_BYTE, _PER_TOKEN = "bits per byte", "nats per token"


_BITS = partial(ratio, scale=1 / math.log(2))


def text_score(metric: str, references: Sequence[str], answers: Sequence[str]) -> Score:
    """The score of answers by the metric of texts called ``metric``. Raises KeyError where there is none."""
    return TEXTS[metric].score(references, answers)


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
    scores = [BUILTIN[name].score(nats, tokens) for name in ("nll_per_token", "perplexity")]
    if not lossless:
        return scores
    scores.append(BUILTIN["bits_per_byte"].score(nats, byte_counts))
    return scores if bound is None else [*scores, BUILTIN["bits_per_byte_bound"].score(bound, byte_counts)]


_METRICS = (
    Metric("bits_per_byte", _PER_BYTE, "lower", "exact negative log-likelihood of the test text, in bits for each "
           "UTF-8 byte; comparable across tokenizers", 0.0, unit=_PER_BYTE, margin=0.02, reads="likelihoods",
           statistics=ratios, of_sums=_BITS),
    Metric("bits_per_byte_bound", f"{_PER_BYTE}, any-order bound", "lower", _ANY_ORDER, 0.0, unit=_PER_BYTE,
           reads="likelihoods", statistics=ratios, of_sums=_BITS),
    Metric("bits_per_byte_shuffled", f"{_PER_BYTE}, sources exchanged", "", "exact bits per byte of the first test "
           "texts (64 at most) after sources of other examples; a model that ignores its source loses nothing by it",
           0.0, unit=_PER_BYTE, reads="likelihoods", statistics=ratios, of_sums=_BITS),
    Metric("nll_per_token", _PER_TOKEN, "lower", "exact negative log-likelihood of a scored token; comparable under "
           "one tokenizer only", 0.0, unit=_PER_TOKEN, across_tokenizers=False, reads="likelihoods",
           statistics=ratios, of_sums=ratio),
    Metric("nll_per_token_sampled", f"{_PER_TOKEN}, sampled", "lower", "exact negative log-likelihood of a few tokens "
           "of each target, from left to right", 0.0, unit=_PER_TOKEN, across_tokenizers=False, reads=""),
    Metric("nll_per_token_bound", f"{_PER_TOKEN}, any-order bound", "lower", _ANY_ORDER, 0.0, unit=_PER_TOKEN,
           across_tokenizers=False, reads=""),
    Metric("masked_loss", f"{_PER_TOKEN}, masked loss", "", "the loss over masked ends of the targets, each "
           "position predicted from the same prefix, or over a fixed share of masked tokens; it bounds no likelihood "
           "and is not comparable with one", 0.0, unit=_PER_TOKEN, across_tokenizers=False, reads="likelihoods",
           statistics=ratios, of_sums=ratio),
    Metric("perplexity", "perplexity", "lower", "the exponential of nats per token", 1.0, across_tokenizers=False,
           reads="likelihoods", statistics=ratios, of_sums=metrics.perplexity),
    Metric("accuracy", "accuracy", "higher", "share of examples with the right label; of pairs, share whose better "
           "text has the higher exact log-likelihood", 0.0, 1.0, margin=0.02, statistics=metrics.equal),
    Metric("accuracy_per_token", "accuracy per token", "higher", "share of pairs whose better text has the higher "
           "exact log-likelihood per token", 0.0, 1.0, margin=0.02, reads=""),
    Metric("accuracy_pll", "accuracy by pseudo-likelihood", "higher", "share of pairs whose better text has the higher "
           "sum of log-likelihoods of single tokens given all others; only encoders have it, and it is no likelihood",
           0.0, 1.0, margin=0.02, reads=""),
    Metric("macro_f1", "macro F1", "higher", "F1 averaged over labels, each counting the same", 0.0, 1.0, margin=0.02,
           recorded=True, statistics=metrics.label_counts, of_sums=metrics.macro_f1),
    Metric("exact_match", "exact match", "higher", "share of answers equal to the reference", 0.0, 1.0, margin=0.02,
           statistics=metrics.equal),
    Metric("bleu", "BLEU", "higher", "overlap of word sequences with the reference, 0 to 100 (sacreBLEU)", 0.0, 100.0,
           decimals=1, margin=1.0, recorded=True, statistics=metrics.bleu_counts, of_sums=metrics.bleu),
    Metric("chrf", "chrF", "higher", "overlap of character sequences with the reference, 0 to 100 (sacreBLEU)", 0.0,
           100.0, decimals=1, margin=1.0, recorded=True, statistics=metrics.chrf_counts, of_sums=metrics.chrf),
    *(Metric(name, label, "higher", f"{what} with the reference, F1", 0.0, 1.0, margin=0.01, recorded=True,
             statistics=partial(rouge, name))
      for name, label, what in (
          ("rouge_1", "ROUGE-1", "words shared"),
          ("rouge_2", "ROUGE-2", "pairs of neighbouring words shared"),
          ("rouge_l", "ROUGE-L", "longest common subsequence of words"))),
    Metric("wer", "word error rate", "lower", "share of answers that differ from the reference in a token: each answer "
           "is one word (SIGMORPHON 2020)", 0.0, 1.0, margin=0.02, recorded=True,
           statistics=edits.apart),
    Metric("per", "phoneme error rate", "lower", "tokens between spaces that are inserted, deleted or replaced, over "
           "those of the references; of sentences, this is the word error rate of speech recognition", 0.0,
           margin=0.02, recorded=True, statistics=edits.token_edits, of_sums=ratio),
    Metric("edit_distance", "edit distance", "lower", "mean number of characters inserted, deleted or replaced in an "
           "answer, white space not counted", 0.0, unit="characters", recorded=True, statistics=edits.character_edits),
    Metric("stored_bits", "stored bits", "higher", "entropy of all strings minus their exact negative log-likelihood, "
           "in bits; below 0 for a model that does not know how strings are drawn", unit="bits", decimals=0,
           margin=1000.0, recorded=True, reads=""),  # 0.05 for each parameter of the smallest model
    Metric("repetition", "repetition", "", "share of an answer's 4-grams (of tokens; of characters under "
           "a character tokenizer) that occur earlier in the same answer", 0.0, 1.0, across_tokenizers=False, reads=""),
    Metric("distinct_2", "distinct-2", "", "share of distinct pairs of neighbouring tokens (characters under a "
           "character tokenizer) among all pairs in the answers", 0.0, 1.0, across_tokenizers=False, reads=""),
    Metric("copied", "copied", "", "share of the answers' windows of at least 8 tokens (at least 20 bytes) that occur "
           "verbatim in the training text", 0.0, 1.0, across_tokenizers=False, reads=""),
    Metric("sample_bits_per_byte", "samples, bits per byte", "", "the sampled continuations under a byte n-gram model "
           "of the validation text, which no model trains on; needs no reference text. Lower: likelier text; far below "
           "the test text's own value: repetitive", 0.0, unit=_PER_BYTE, reads=""),
)  # fmt: skip
BUILTIN: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}


TEXTS: Mapping[str, Metric] = {name: metric for name, metric in BUILTIN.items() if metric.reads == "texts"}
