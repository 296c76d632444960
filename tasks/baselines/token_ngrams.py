"""Unigram and bigram models over the tokens of a task's targets: classical likelihoods without a source.

    unigram   p(t)     =                               w1 count(t) / N + w0 / A
    bigram    p(t | c) = w2 count(c t) / count(c)  +  w1 count(t) / N + w0 / A

c is the token before t, BOS at a target's start; N counts training tokens, A the tokens that a target may use, END
counted as in the models' likelihoods. After a context that training lacks, count(t) / N stands in for the first term.
Every term is a distribution over the A tokens, so p sums to 1 after every context. The weights maximise the likelihood
of the validation targets (Jelinek and Mercer 1980; by EM, which finds the only maximum).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import BOS, END
from archbench.tasks.base.values import Prepared
from archbench.tasks.text.splits import PairExamples, Subset, Windows

ORDERS: Mapping[str, int] = {"unigram": 1, "bigram": 2}
LIMIT = 4_000_000  # training tokens that are read, the last ones
VALIDATION_LIMIT = 400_000  # and validation tokens
STEPS, TOLERANCE = 100, 1e-7  # of EM
Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TargetTokens:
    """The tokens (n,) of targets, joined, and the token before each, which is BOS at a target's start."""

    tokens: Ids
    contexts: Ids


@dataclass(frozen=True)
class TokenCounts:
    """Counts of training targets: of ``tokens`` (v,), and of pairs, which are sorted integers ``context * v + token``.

    ``after`` (v,) counts what followed each context; ``allowed`` (v,) are the tokens that a target may use.
    """

    allowed: NDArray[np.bool_]
    tokens: Ids
    pairs: Ids
    pair_counts: Ids
    after: Ids


def bits(prepared: Prepared) -> dict[str, float]:
    """Bits of all test targets under each model of ``ORDERS``, fitted to training and validation targets."""
    assert isinstance(prepared.train, PairExamples | Windows) and isinstance(
        prepared.validation, PairExamples | Windows
    )
    assert isinstance(prepared.test, Subset)
    counts = counted(training_targets(prepared.train, LIMIT), np.asarray(prepared.allowed_tokens))
    validation = terms(counts, training_targets(prepared.validation, VALIDATION_LIMIT))
    test = terms(counts, joined(prepared.test, np.arange(len(prepared.test))))
    with np.errstate(divide="ignore"):
        return {
            name: float(-np.log2(fitted_weights(validation[: order + 1]) @ test[: order + 1]).sum())
            for name, order in ORDERS.items()
        }


def counted(targets: TargetTokens, allowed: NDArray[np.bool_]) -> TokenCounts:
    """The counts of allowed tokens and of pairs that end in one."""
    size = len(allowed)
    kept = allowed[targets.tokens]
    tokens, contexts = targets.tokens[kept], targets.contexts[kept]
    pairs, pair_counts = np.unique(contexts * size + tokens, return_counts=True)
    return TokenCounts(
        allowed=allowed,
        tokens=np.bincount(tokens, minlength=size),
        pairs=pairs,
        pair_counts=pair_counts,
        after=np.bincount(contexts, minlength=size),
    )


def terms(counts: TokenCounts, targets: TargetTokens) -> Floats:
    """The probability of each token under the three terms, (3, n): uniform, unigram, bigram."""
    tokens, contexts = targets.tokens, targets.contexts
    uniform = counts.allowed[tokens] / counts.allowed.sum()
    unigram = counts.tokens[tokens] / max(1, counts.tokens.sum())
    wanted = contexts * len(counts.allowed) + tokens
    indices = np.minimum(np.searchsorted(counts.pairs, wanted), len(counts.pairs) - 1)
    together = np.where(counts.pairs[indices] == wanted, counts.pair_counts[indices], 0)
    after = counts.after[contexts]
    bigram = np.where(after > 0, together / np.maximum(1, after), unigram)
    return np.stack([uniform, unigram, bigram])


def fitted_weights(validation: Floats) -> Floats:
    """The weights (k,) of ``k`` terms that give validation tokens (k, n) the highest likelihood.

    One more token for each term keeps every weight, and so the probability of every allowed token, above 0.
    """
    usable = validation[:, validation.any(axis=0)]
    weights = np.full(len(usable), 1 / len(usable))
    for _ in range(STEPS):
        parts = weights[:, None] * usable
        shares = (parts / parts.sum(axis=0)).sum(axis=1)
        before, weights = weights, (shares + 1) / (shares + 1).sum()
        if np.abs(weights - before).max() < TOLERANCE:
            break
    return weights


def training_targets(examples: PairExamples | Windows, limit: int) -> TargetTokens:
    """The last targets of a split, at most ``limit`` tokens or one target.

    All of a running text is cut into targets: in training windows begin anywhere, and so do their targets.
    """
    if isinstance(examples, PairExamples):
        count = int(np.searchsorted(np.cumsum(examples.target_lengths[::-1]), limit, side="right"))
        return joined(examples, np.arange(len(examples) - max(1, count), len(examples)))
    width = examples.target_length - examples.ends
    rows = max(1, min(len(examples.tokens), limit) // width)
    tokens = examples.tokens[-rows * width :].astype(np.int64).reshape(rows, width)
    if examples.ends:
        tokens = np.pad(tokens, ((0, 0), (0, 1)), constant_values=END)
    return _preceded(tokens.ravel(), np.full(rows, tokens.shape[1]))


def joined(examples: Any, indices: Ids) -> TargetTokens:
    """The targets of the examples at ``indices``."""
    return _preceded(examples.gather(indices)[1].astype(np.int64), examples.target_lengths[indices])


def _preceded(tokens: Ids, lengths: Ids) -> TargetTokens:
    contexts = np.concatenate([[BOS], tokens[:-1]])
    contexts[np.cumsum(lengths) - lengths] = BOS
    return TargetTokens(tokens, contexts)
