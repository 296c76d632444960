"""Encoded splits: pairs, and windows of running text, over memory-mapped token arrays and the text they came from."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import END, Example
from archbench.tasks.base.values import Examples

_GRID = 0x67726964  # keeps the random offsets of windows apart from other uses of the same seed


@dataclass(frozen=True)
class PairExamples:
    """Sources and targets of any length: example ``i`` is the spans ``2i`` and ``2i + 1`` of ``tokens``.

    ``rows`` (n,) are the rows that the examples were read from, counted from 0.
    """

    tokens: NDArray[Any]
    offsets: NDArray[np.int64]
    text: NDArray[np.uint8]
    text_offsets: NDArray[np.int64]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) // 2

    def __getitem__(self, index: int) -> Example:
        begin, middle, end = self.offsets[2 * _checked(index, len(self)) :][:3]
        return Example(self.tokens[begin:middle].astype(np.int32), self.tokens[middle:end].astype(np.int32))

    @cached_property
    def source_lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)[::2]

    @cached_property
    def target_lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)[1::2]

    @cached_property
    def target_bytes(self) -> NDArray[np.int64]:
        return np.diff(self.text_offsets)[1::2]

    def source_text(self, index: int) -> str:
        """The whole source, also where its tokens were cut."""
        return _decoded(self.source_raw(index))

    def target_text(self, index: int) -> str:
        return _decoded(self.target_raw(index))

    def source_raw(self, index: int) -> bytes:
        """The source in UTF-8."""
        return self._span(2 * _checked(index, len(self)))

    def target_raw(self, index: int) -> bytes:
        """The target in UTF-8."""
        return self._span(2 * _checked(index, len(self)) + 1)

    def gather(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """All source tokens of the examples, joined in order, and all target tokens."""
        sources = spans(self.offsets[2 * indices], self.source_lengths[indices])
        targets = spans(self.offsets[2 * indices + 1], self.target_lengths[indices])
        return self.tokens[sources], self.tokens[targets]

    def epoch(self, seed: int, epoch: int) -> "PairExamples":
        return self

    def take(self, indices: NDArray[np.int64]) -> "PairExamples":
        """Only the examples at ``indices``, in memory."""
        parts = np.stack([2 * indices, 2 * indices + 1], axis=1).ravel()
        taken = *_taken(self.tokens, self.offsets, parts), *_taken(self.text, self.text_offsets, parts)
        return PairExamples(*taken, self.rows[indices])

    def _span(self, index: int) -> bytes:
        return self.text[self.text_offsets[index] : self.text_offsets[index + 1]].tobytes()


@dataclass(frozen=True)
class Windows:
    """Running text cut into windows of equal length from ``offset`` on; a shorter rest at the end is left out.

    ``bytes_per_token`` (t,) are the UTF-8 bytes of ``text`` that each of ``tokens`` (t,) stands for.

    source_length 3, target_length 4, ends    "abcdefghijkl"  ->  "abc" "def<end>", "ghi" "jkl<end>"
    source_length 0, target_length 4          "abcdefghijkl"  ->  "" "abcd", "" "efgh", "" "ijkl"
    """

    tokens: NDArray[Any]
    bytes_per_token: NDArray[Any]
    text: NDArray[np.uint8]
    source_length: int
    target_length: int
    offset: int = 0

    @property
    def ends(self) -> bool:
        """True if targets carry END: only where there is a source."""
        return self.source_length > 0

    @property
    def stride(self) -> int:
        """Tokens of text in a window."""
        return self.source_length + self.target_length - self.ends

    def __len__(self) -> int:
        return max(0, len(self.tokens) - self.offset) // self.stride

    def __getitem__(self, index: int) -> Example:
        source, target = self.gather(np.array([_checked(index, len(self))], np.int64))
        return Example(source.astype(np.int32), target.astype(np.int32))

    @cached_property
    def source_lengths(self) -> NDArray[np.int64]:
        return np.broadcast_to(np.int64(self.source_length), len(self))

    @cached_property
    def target_lengths(self) -> NDArray[np.int64]:
        return np.broadcast_to(np.int64(self.target_length), len(self))

    @cached_property
    def target_bytes(self) -> NDArray[np.int64]:
        return np.diff(self._places)[1::2]

    @property
    def rows(self) -> NDArray[np.int64]:
        """The number of each window in the text, (n,)."""
        return np.arange(len(self))

    def source_text(self, index: int) -> str:
        """The text of the source; a character that the window cuts shows as U+FFFD."""
        return _decoded(self.source_raw(index))

    def target_text(self, index: int) -> str:
        """The text of the target; a character that the window cuts shows as U+FFFD."""
        return _decoded(self.target_raw(index))

    def source_raw(self, index: int) -> bytes:
        """The source in UTF-8, which may begin or end within a character."""
        return self._span(2 * _checked(index, len(self)))

    def target_raw(self, index: int) -> bytes:
        """The target in UTF-8, which may begin or end within a character."""
        return self._span(2 * _checked(index, len(self)) + 1)

    def gather(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """All source tokens of the windows, joined in order, and all target tokens."""
        starts = self.offset + self.stride * np.asarray(indices)
        block = self.tokens[starts[:, None] + np.arange(self.stride)]
        target = block[:, self.source_length :]
        if self.ends:
            target = np.pad(target, ((0, 0), (0, 1)), constant_values=END)
        return block[:, : self.source_length].ravel(), target.ravel()

    def epoch(self, seed: int, epoch: int) -> "Windows":
        """The same text cut from another offset below ``stride``: every token once, up to the edges of the text."""
        bits = np.random.PCG64(np.random.SeedSequence([_GRID, seed, epoch]))
        return replace(self, offset=int(bits.random_raw()) % self.stride)

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Bytes of text before each source and target, and after the last, (2n + 1,)."""
        starts = self.offset + self.stride * np.arange(len(self))
        cuts = np.stack([starts, starts + self.source_length], axis=1).ravel()
        end = self.offset + self.stride * len(self)
        edges = np.unique(np.concatenate([[0], cuts, [end]]))
        spans = np.add.reduceat(self.bytes_per_token[:end], edges[:-1], dtype=np.int64)
        byte_offsets = np.concatenate([[0], np.cumsum(spans)])
        return byte_offsets[np.searchsorted(edges, np.concatenate([cuts, [end]]))]

    def _span(self, index: int) -> bytes:
        return self.text[self._places[index] : self._places[index + 1]].tobytes()


@dataclass(frozen=True)
class Subset:
    """The examples at ``indices`` of a split."""

    examples: PairExamples | Windows
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example:
        return self.examples[int(self.indices[index])]

    @cached_property
    def source_lengths(self) -> NDArray[np.int64]:
        return self.examples.source_lengths[self.indices]

    @cached_property
    def target_lengths(self) -> NDArray[np.int64]:
        return self.examples.target_lengths[self.indices]

    @cached_property
    def target_bytes(self) -> NDArray[np.int64]:
        return self.examples.target_bytes[self.indices]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        return self.examples.rows[self.indices]

    def source_text(self, index: int) -> str:
        return self.examples.source_text(int(self.indices[index]))

    def target_text(self, index: int) -> str:
        return self.examples.target_text(int(self.indices[index]))

    def source_raw(self, index: int) -> bytes:
        return self.examples.source_raw(int(self.indices[index]))

    def target_raw(self, index: int) -> bytes:
        return self.examples.target_raw(int(self.indices[index]))

    def gather(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.examples.gather(self.indices[indices])

    def epoch(self, seed: int, epoch: int) -> Examples:
        return self


def _taken(
    values: NDArray[Any], offsets: NDArray[np.int64], parts: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The spans at ``parts`` of ``values``, joined, and their offsets."""
    lengths = np.diff(offsets)[parts]
    return values[spans(offsets[parts], lengths)], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def spans(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The positions of spans, joined: starts (2, 7), lengths (3, 2) -> 2 3 4 7 8."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _checked(index: int, size: int) -> int:
    """The index counted from 0; raises IndexError outside of ``size`` examples."""
    if not -size <= index < size:
        raise IndexError(f"example {index} of {size}")
    return index % size
