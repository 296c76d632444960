"""Batches of data tokens in an order that is a pure function of (seed, epoch, position).

Training reads a `Stream`: the same examples, budget and seed give every architecture identical batches, and a stream
restarted at any position goes on exactly. Scoring reads `fixed` batches. Lengths decide which examples share a batch,
so that little is padded; padding stands on the right.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.example import PAD, Example
from archbench.tasks.base.random_order import drawn_order

Indices = NDArray[np.int64]
Lengths = NDArray[np.int64]  # (2, n): of sources and of targets


class EncodedExamples(Protocol):
    """Properties of a split that batches need (see `tasks.base.values.Examples`)."""

    @property
    def source_lengths(self) -> NDArray[np.int64]: ...
    @property
    def target_lengths(self) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Example: ...
    def epoch(self, seed: int, epoch: int, /) -> "EncodedExamples": ...


@runtime_checkable
class Gathers(Protocol):
    """Examples with access to many at once: all source tokens, then all target tokens, each concatenated in order."""

    def gather(self, indices: Indices, /) -> tuple[NDArray[Any], NDArray[Any]]: ...


def collate(examples: EncodedExamples, indices: Indices) -> Batch:
    """The examples at `indices` (b,) as one batch, in that order."""
    if isinstance(examples, Gathers):
        sources, targets = examples.gather(indices)
    else:
        chosen = [examples[int(index)] for index in indices]
        sources = np.concatenate([example.source for example in chosen])
        targets = np.concatenate([example.target for example in chosen])
    source, source_mask = _pad(sources, examples.source_lengths[indices])
    target, target_mask = _pad(targets, examples.target_lengths[indices])
    return Batch(source, target, source_mask, target_mask)


def collate_sources(examples: EncodedExamples, indices: Indices) -> tuple[Tensor, Tensor | None]:
    """The sources (b, s) at `indices` (b,), in that order, and their mask, from which answers are generated."""
    if isinstance(examples, Gathers):
        tokens = examples.gather(indices)[0]
    else:
        tokens = np.concatenate([examples[int(index)].source for index in indices])
    return _pad(tokens, examples.source_lengths[indices])


def _pad(tokens: NDArray[Any], lengths: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
    """Joined sequences as a (b, longest) rectangle and its mask, which is None if all have equal length."""
    longest = int(lengths.max())
    if len(tokens) == len(lengths) * longest:
        return torch.from_numpy(tokens.astype(np.int64).reshape(len(lengths), longest)), None
    mask = np.arange(longest) < lengths[:, None]
    padded = np.full(mask.shape, PAD, dtype=np.int64)
    padded[mask] = tokens
    return torch.from_numpy(padded), torch.from_numpy(mask)


def plan_epoch(
    source_lengths: NDArray[np.int64],
    target_lengths: NDArray[np.int64],
    batch_tokens: int,
    seed: int,
    epoch: int,
    length_pool: int,
) -> list[Indices]:
    """The batches of one epoch, as indices: every example once, at most `batch_tokens` data tokens (or one example).

    Examples are permuted, cut into pools of ``length_pool`` batches' worth and each pool into batches of similar
    lengths; then the order of the batches is shuffled. A large pool pads less, but examples of equal lengths are alike,
    and a batch of them has a noisier gradient. A pure function of its arguments.
    """
    if len(target_lengths) == 0:
        return []
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
    order = drawn_order(len(target_lengths), bits)
    lengths = np.stack([source_lengths, target_lengths])
    tokens = lengths.sum(axis=0)
    if not np.ptp(lengths, axis=1).any():
        batches = np.split(order, range(0, len(order), max(1, batch_tokens // max(1, int(tokens[0]))))[1:])
    else:
        pools = np.array_split(order, max(1, round(int(tokens.sum()) / (length_pool * batch_tokens))))
        batches = [batch for pool in pools for batch in _split_tokens(lengths, pool, batch_tokens, bits)]
    return [batches[index] for index in drawn_order(len(batches), bits)]


def _split_tokens(lengths: Lengths, pool: Indices, batch_tokens: int, bits: np.random.PCG64) -> list[Indices]:
    tokens = lengths[:, pool].sum(axis=0)
    total = int(tokens.sum())
    usual = int((tokens**2).sum()) // max(1, total)  # mean length of the example of a token: room for one more
    parts = -(-total // max(batch_tokens - usual, batch_tokens // 2, 1))

    def fits(part: Lengths) -> bool:
        return int(part.sum()) <= batch_tokens

    def share() -> float:  # uneven splits: the same examples do not meet again every epoch
        return 0.4 + 0.2 * int(bits.random_raw()) / 2**64

    return _split(lengths[:, pool], pool, parts, fits, share)


def _split(
    lengths: Lengths, indices: Indices, parts: int, fits: Callable[[Lengths], bool], share: Callable[[], float]
) -> list[Indices]:
    """Cut in two, by source or by target length, whichever pads less, until there are `parts` parts and each fits.

    Parts get equal shares of the tokens. One example always fits. `lengths` (2, n) are those of `indices` (n,).
    """
    if len(indices) == 1 or (parts <= 1 and fits(lengths)):
        return [indices]
    parts = max(parts, 2)
    left = min(max(1, round(parts * share())), parts - 1)
    first, second = _halve(lengths, left / parts)
    return [
        *_split(lengths[:, first], indices[first], left, fits, share),
        *_split(lengths[:, second], indices[second], parts - left, fits, share),
    ]


def _halve(lengths: Lengths, share: float) -> tuple[Indices, Indices]:
    """Where the shorter and the longer examples stand, `share` of the tokens among the shorter; neither is empty."""
    tokens = lengths.sum(axis=0)
    halves = []
    for axis in [axis for axis in lengths if np.ptp(axis)] or lengths[:1]:
        order = np.argsort(axis.astype(np.uint16) if axis.max() < 2**16 else axis, kind="stable")  # radix sort
        inside = tokens[order]
        ends = np.cumsum(inside)
        cut = int(np.searchsorted(2 * ends - inside, 2 * ends[-1] * share))
        halves.append(np.split(order, [min(max(cut, 1), len(order) - 1)]))
    first, second = min(halves, key=lambda half: sum(_cells(lengths[:, part]) for part in half))
    return first, second


def _cells(lengths: Lengths) -> int:
    """Cells of both rectangles, padding counted, when examples of `lengths` (2, n) make a batch."""
    return int(lengths.max(axis=1).sum()) * int(lengths.shape[1])


@dataclass(frozen=True)
class Position:
    """A place between two batches: `index` batches of `epoch` and, in all, `tokens` data tokens were given."""

    epoch: int = 0
    index: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Stream:
    """Training batches until `tokens_budget` data tokens were given.

    The last batch is cut after the example that reaches the budget, which is exceeded by at most that example.
    """

    examples: EncodedExamples
    batch_tokens: int
    seed: int
    tokens_budget: int
    length_pool: int

    def __post_init__(self) -> None:
        assert self.batch_tokens > 0, f"batch_tokens must be positive: {self.batch_tokens}"
        lengths = self.examples.source_lengths, self.examples.target_lengths
        if self.tokens_budget > 0 and not sum(int(part.sum()) for part in lengths):
            raise ValueError("no training tokens: the training split is empty")

    def start(self, position: Position | None = None) -> Iterator[tuple[Batch, Position]]:
        """Each batch from `position` on (default: the beginning), with the position after it."""
        position = position or Position()
        while position.tokens < self.tokens_budget:
            examples = self.examples.epoch(self.seed, position.epoch)
            plan = self._plan(examples, position.epoch)
            for index in range(position.index, len(plan)):
                batch = collate(examples, self._within(plan[index], examples, self.tokens_budget - position.tokens))
                position = Position(position.epoch, index + 1, position.tokens + batch.tokens)
                yield batch, position
                if position.tokens >= self.tokens_budget:
                    return
            position = Position(position.epoch + 1, 0, position.tokens)

    def total_steps(self) -> int:
        """How many batches the stream gives from its beginning, exactly; reads lengths only."""
        return _total_steps(self)

    def _plan(self, examples: EncodedExamples, epoch: int) -> list[Indices]:
        lengths = examples.source_lengths, examples.target_lengths
        return plan_epoch(*lengths, self.batch_tokens, self.seed, epoch, self.length_pool)

    def _within(self, indices: Indices, examples: EncodedExamples, remaining: int) -> Indices:
        ends = np.cumsum(examples.source_lengths[indices] + examples.target_lengths[indices])
        return indices[: int(np.searchsorted(ends, remaining)) + 1]


def _total_steps(stream: Stream) -> int:
    steps = tokens = epoch = 0
    while tokens < stream.tokens_budget:
        examples = stream.examples.epoch(stream.seed, epoch)
        lengths = examples.source_lengths + examples.target_lengths
        plan = stream._plan(examples, epoch)
        total = int(lengths.sum())
        if tokens + total >= stream.tokens_budget:
            ends = np.cumsum([lengths[indices].sum() for indices in plan])
            return steps + int(np.searchsorted(ends, stream.tokens_budget - tokens)) + 1
        steps, tokens, epoch = steps + len(plan), tokens + total, epoch + 1
    return steps


def fixed(examples: EncodedExamples, indices: Indices, batch_tokens: int) -> list[tuple[Indices, Batch]]:
    """Batches for scoring, with the indices of their rows: each example once, similar lengths together.

    A batch has at most `batch_tokens` cells, padding counted, or one example.
    """
    if len(indices) == 0:
        return []
    indices = np.asarray(indices, dtype=np.int64)
    lengths = np.stack([examples.source_lengths[indices], examples.target_lengths[indices]])
    parts = -(-int(lengths.sum()) * 11 // (10 * batch_tokens))  # a tenth of room for padding
    batches = _split(lengths, indices, parts, lambda part: _cells(part) <= batch_tokens, lambda: 0.5)
    return [(part, collate(examples, part)) for part in batches]
