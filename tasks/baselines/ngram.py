"""An n-gram model over bytes with interpolated Witten-Bell smoothing, and lzma, in bits: classical likelihoods.

    p(b | context) = (count(context b) + kinds(context) p(b | shorter context)) / (count(context) + kinds(context))

where kinds counts the different bytes that followed the context in training; below the empty context every byte has
1/256. The 256 probabilities sum to 1 after every context (Bell, Witten and Cleary, Text Compression, 1990).
"""

import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDER = 5
LIMIT = 4_000_000  # bytes of training text that are read, its last ones
Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class Level:
    """Counts after contexts of one length: n-grams and contexts as sorted integers, with their counts."""

    grams: Keys
    counts: NDArray[np.int64]
    contexts: Keys
    totals: NDArray[np.int64]
    kinds: NDArray[np.int64]


@dataclass(frozen=True)
class NGram:
    """Levels by length of context, from 0 on."""

    levels: tuple[Level, ...]


def train_ngram(text: bytes, order: int = ORDER) -> NGram:
    """The model of a training text; ``order`` is the longest n-gram in bytes, the predicted byte counted, at most 8."""
    values = np.frombuffer(text, np.uint8)
    return NGram(tuple(_level(windows(values, length)) for length in range(1, min(order, len(values)) + 1)))


def ngram_bits(model: NGram, texts: Sequence[bytes], contexts: Sequence[bytes]) -> NDArray[np.float64]:
    """Bits of each text after its context, (n,)."""
    reach = len(model.levels) - 1
    joined = [context[max(0, len(context) - reach) :] + text for context, text in zip(contexts, texts, strict=True)]
    lengths = np.array([len(text) for text in texts], np.int64)
    sizes = np.array([len(window) for window in joined], np.int64)
    values = np.frombuffer(b"".join(joined), np.uint8)
    positions = np.arange(len(values)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    scored = positions >= np.repeat(sizes - lengths, sizes)
    owner = np.repeat(np.arange(len(texts)), sizes)[scored]
    bits = -np.log2(probabilities(model, values, np.flatnonzero(scored), positions[scored]))
    return np.bincount(owner, weights=bits, minlength=len(texts)).astype(np.float64)


def probabilities(
    model: NGram, values: NDArray[np.uint8], positions: NDArray[np.int64], known: NDArray[np.int64]
) -> NDArray[np.float64]:
    """p(values[position] | the at most ``known`` bytes before it), for each position."""
    chances = np.full(len(positions), 1 / 256)
    for length, level in enumerate(model.levels):
        usable = np.flatnonzero(known >= length)
        grams = windows(values, length + 1)[positions[usable] - length]
        count = _looked_up(level.grams, level.counts, grams)
        contexts = grams >> np.uint64(8)
        total, kinds = (_looked_up(level.contexts, part, contexts) for part in (level.totals, level.kinds))
        seen = total > 0
        mixed = (count + kinds * chances[usable]) / np.where(seen, total + kinds, 1)
        chances[usable] = np.where(seen, mixed, chances[usable])
    return chances


def windows(values: NDArray[np.uint8], length: int) -> Keys:
    """Every window of ``length`` bytes as one big-endian integer, (t - length + 1,)."""
    count = max(0, len(values) - length + 1)
    keys = np.zeros(count, np.uint64)
    for start in range(length):
        keys = (keys << np.uint64(8)) | values[start : start + count]
    return keys


def lzma_bits(train: bytes, text: bytes) -> float:
    """Bits that ``text`` adds when it is compressed after ``train``: LZMA, whose window spans both."""
    size = 1 << max(12, math.ceil(math.log2(len(train) + len(text) + 1)))
    chain = [{"id": lzma.FILTER_LZMA1, "preset": 6, "dict_size": size}]
    after, alone = (len(lzma.compress(raw, lzma.FORMAT_RAW, filters=chain)) for raw in (train + text, train))
    return 8.0 * (after - alone)


def _level(keys: Keys) -> Level:
    grams, counts = np.unique(keys, return_counts=True)
    contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
    return Level(
        grams=grams,
        counts=counts,
        contexts=contexts,
        totals=np.add.reduceat(counts, starts),
        kinds=np.diff(np.append(starts, len(grams))),
    )


def _looked_up(keys: Keys, values: NDArray[np.int64], wanted: Keys) -> NDArray[np.int64]:
    """The value of each wanted key, 0 where it is missing."""
    indices = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[indices] == wanted, values[indices], 0)
