"""Windows of running text as pairs of source and target, in one of four ways, for pretraining.

    window           the cat sat on the mat
    all-target       ""                          ->  "the cat sat on the mat<end>"
    all-source       "the cat sat on the mat"    ->  "<end>"
    prefix           "the cat"                   ->  "sat on the mat<end>"
    span-corruption  "the <0> on the <1>"        ->  "<0> cat sat <1> mat<end>"

Random draws are a pure function of (seed, epoch, window), so that training resumes exactly, and they are the same in
every version of NumPy.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import END, Example
from archbench.tasks.text.splits import Windows, spans

ALL_TARGET: Final = "all-target"
ALL_SOURCE: Final = "all-source"  # the objective hides tokens of the source
PREFIX: Final = "prefix"
SPAN_CORRUPTION: Final = "span-corruption"
NOISE: Final = 0.15  # share of the tokens of a window that are in corrupted spans
MEAN_SPAN: Final = 3.0  # tokens of a span; both values as in T5 (1910.10683, section 3.3.4)
_KEY: Final = 0x70726574  # keeps these random numbers apart from other uses of the same seed
_CHOICE, _SPLIT, _SPANS, _GAPS = range(4)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Spans:
    """How many tokens of a window of ``length`` tokens are corrupted, and in how many spans."""

    length: int

    @property
    def noise(self) -> int:
        return min(max(round(self.length * NOISE), 1), self.length - 1)

    @property
    def count(self) -> int:
        return min(max(round(self.noise / MEAN_SPAN), 1), self.noise, self.length - self.noise)


@dataclass(frozen=True)
class Rearranged:
    """The windows of one epoch as pairs; each window is rearranged in one of several ``ways``, drawn by its share.

    ``windows`` have no source. ``ways`` are pairs of a way and its share. ``sentinels`` are the ids that stand for
    corrupted spans, in the order of the spans; ``number`` is the epoch. Raises ``ValueError`` where there are fewer
    sentinels than spans.
    """

    windows: Windows
    ways: tuple[tuple[str, float], ...]
    sentinels: range
    seed: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        if any(way == SPAN_CORRUPTION for way, _ in self.ways) and len(self.sentinels) < self._spans.count:
            raise ValueError(f"{self._spans.count} spans need as many sentinels; there are {len(self.sentinels)}")

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Example:
        source, target = self.gather(np.array([range(len(self))[index]], np.int64))
        return Example(source.astype(np.int32), target.astype(np.int32))

    @cached_property
    def source_lengths(self) -> Ints:
        return self._lengths[0]

    @cached_property
    def target_lengths(self) -> Ints:
        return self._lengths[1]

    def epoch(self, seed: int, epoch: int) -> "Rearranged":
        """The windows of an epoch, cut and rearranged anew."""
        return replace(self, windows=self.windows.epoch(seed, epoch), seed=seed, number=epoch)

    def gather(self, indices: Ints) -> tuple[NDArray[Any], NDArray[Any]]:
        """All source tokens of the windows, joined in order, and all target tokens."""
        rows = np.asarray(indices, np.int64)
        block = self.windows.gather(rows)[1].reshape(len(rows), self._length)
        lengths = self.source_lengths[rows], self.target_lengths[rows]
        sources, targets = (np.zeros(int(part.sum()), block.dtype) for part in lengths)
        for index, (way, _) in enumerate(self.ways):
            chosen = np.flatnonzero(self._chosen[rows] == index)
            source, target = self._rearranged(way, block[chosen], rows[chosen])
            for whole, part, size in ((sources, source, lengths[0]), (targets, target, lengths[1])):
                starts = np.cumsum(size) - size
                whole[spans(starts[chosen], size[chosen])] = part
        return sources, targets

    @property
    def _length(self) -> int:
        return self.windows.stride

    @property
    def _spans(self) -> Spans:
        return Spans(self._length)

    @cached_property
    def _key(self) -> int:
        return int(np.random.SeedSequence([_KEY, self.seed, self.number]).generate_state(1, np.uint64)[0])

    @cached_property
    def _chosen(self) -> Ints:
        """The index of the way that each window is rearranged in, (n,)."""
        shares = np.cumsum([share for _, share in self.ways])
        drawn = self._uniform(_CHOICE, np.arange(len(self)), 1)[:, 0] * shares[-1]
        indices: Ints = np.searchsorted(shares, drawn, side="right")
        return np.minimum(indices, len(self.ways) - 1)

    @cached_property
    def _lengths(self) -> tuple[Ints, Ints]:
        """Lengths of sources (n,) and of targets, END counted, (n,)."""
        sources, targets = (np.zeros(len(self), np.int64) for _ in range(2))
        for index, (way, _) in enumerate(self.ways):
            rows = np.flatnonzero(self._chosen == index)
            if way == SPAN_CORRUPTION:
                marks = self._spans.count
                sources[rows], targets[rows] = self._length - self._spans.noise + marks, self._spans.noise + marks + 1
            else:
                sources[rows] = self._begin(way, rows)
                targets[rows] = self._length - sources[rows] + 1
        return sources, targets

    def _begin(self, way: str, rows: Ints) -> Ints:
        """The number of tokens of each window that come before its target, (m,)."""
        if way in (ALL_TARGET, ALL_SOURCE):
            return np.full(len(rows), self._length if way == ALL_SOURCE else 0, np.int64)
        return 1 + (self._uniform(_SPLIT, rows, 1)[:, 0] * (self._length - 1)).astype(np.int64)

    def _rearranged(self, way: str, block: NDArray[Any], rows: Ints) -> tuple[NDArray[Any], NDArray[Any]]:
        """The sources of windows (m, n), joined in order, and their targets."""
        if way == SPAN_CORRUPTION:
            return self._corrupted(block, rows)
        in_source = np.arange(self._length) < self._begin(way, rows)[:, None]
        ended = np.pad(block, ((0, 0), (0, 1)), constant_values=END)
        return block[in_source], ended[~np.pad(in_source, ((0, 0), (0, 1)))]

    def _corrupted(self, block: NDArray[Any], rows: Ints) -> tuple[NDArray[Any], NDArray[Any]]:
        """In the source a sentinel replaces each span; the target is the spans, each after its sentinel, and END."""
        noise, count = self._spans.noise, self._spans.count
        sizes = np.empty((len(rows), 2 * count), np.int64)  # tokens of gaps (not corrupted) and of spans, in turns
        sizes[:, ::2] = self._parts(_GAPS, rows, self._length - noise, count)
        sizes[:, 1::2] = self._parts(_SPANS, rows, noise, count)
        starts = np.cumsum(sizes, axis=1) - sizes
        segment = (np.arange(self._length)[None, :, None] >= starts[:, None, :]).sum(-1) - 1  # (m, n)
        corrupted, first = segment % 2 == 1, np.zeros(block.shape, np.bool_)
        np.put_along_axis(first, starts[:, 1::2], True, axis=1)
        marks = np.asarray(self.sentinels)[np.minimum(segment // 2, count - 1)].astype(block.dtype)
        source = np.where(first, marks, block)[~corrupted | first]
        pairs = np.stack([marks, block], axis=-1)  # each token after its sentinel, which stays only where a span begins
        kept = np.stack([first, corrupted], axis=-1)
        pairs, kept = (part.reshape(len(rows), 2 * self._length) for part in (pairs, kept))
        pairs = np.pad(pairs, ((0, 0), (0, 1)), constant_values=END)
        return source, pairs[np.pad(kept, ((0, 0), (0, 1)), constant_values=True)]

    def _parts(self, use: int, rows: Ints, total: int, count: int) -> Ints:
        """``total`` divided at random into ``count`` parts of at least 1, all divisions alike: (m, count)."""
        if count == 1:
            return np.full((len(rows), 1), total, np.int64)
        cuts = (
            np.sort(np.argsort(self._uniform(use, rows, total - 1), axis=1, kind="stable")[:, : count - 1], axis=1) + 1
        )
        edges = np.pad(cuts, ((0, 0), (1, 1)), constant_values=((0, 0), (0, total)))
        return edges[:, 1:] - edges[:, :-1]

    def _uniform(self, use: int, rows: Ints, columns: int) -> NDArray[np.float64]:
        """Random numbers in [0, 1) (m, columns) of each row, by splitmix64 (Steele, Lea and Flood 2014)."""
        counter = (rows[:, None] * (self._length + 1) + np.arange(columns)) * 4 + use + 1
        z = counter.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(self._key)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
