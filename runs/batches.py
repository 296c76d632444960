"""Batches of data tokens in an order that is a pure function of (seed, epoch, position).

Training reads a `Stream`: the same examples, budget and seed give every architecture identical batches, and a stream
restarted at any position goes on exactly. Scoring reads `fixed` batches. Lengths decide which examples share a batch,
so that little is padded; padding stands on the right.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.example import PAD, Example

Indices = NDArray[np.int64]

POOL = 64  # batches' worth of examples that are sorted by length together
STRIPS = (1, 2, 4, 8, 16, 32, 64)  # into how many strips of similar target length a pool may be cut


class Examples(Protocol):
    """What batches need of a split (see `tasks.task.Examples`)."""

    @property
    def source_lengths(self) -> NDArray[np.int64]: ...
    @property
    def target_lengths(self) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Example: ...
    def epoch(self, seed: int, epoch: int, /) -> "Examples": ...


@runtime_checkable
class Gathers(Protocol):
    """Examples that hand out many at once: all source tokens, then all target tokens, each joined in order."""

    def gather(self, indices: Indices, /) -> tuple[NDArray[Any], NDArray[Any]]: ...


@dataclass(frozen=True)
class Batch:
    """Sources (b, s) and targets (b, t), int64, right padded with PAD; a mask is None where nothing is padded."""

    source: Tensor
    target: Tensor
    source_mask: Tensor | None
    target_mask: Tensor | None
    source_lengths: NDArray[np.int64]
    target_lengths: NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """Data tokens: source and target, END counted, padding not."""
        return int(self.source_lengths.sum() + self.target_lengths.sum())

    @property
    def processed(self) -> int:
        """Cells of both rectangles, padding counted."""
        return self.source.numel() + self.target.numel()

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on `device`; without blocking, the copy starts from pinned memory."""
        if torch.device(device) == self.source.device:
            return self

        def move(tensor: Tensor | None) -> Tensor | None:
            if tensor is None:
                return None
            pinned = tensor.pin_memory() if non_blocking and torch.device(device).type == "cuda" else tensor
            return pinned.to(device, non_blocking=non_blocking)

        moved = {name: move(getattr(self, name)) for name in ("source", "target", "source_mask", "target_mask")}
        return replace(self, **moved)  # type: ignore[arg-type]  # the values have their fields' types


def collate(examples: Examples, indices: Indices) -> Batch:
    """The examples at `indices` (b,) as one batch, in that order."""
    if isinstance(examples, Gathers):
        sources, targets = examples.gather(indices)
    else:
        chosen = [examples[int(index)] for index in indices]
        sources = np.concatenate([example.source for example in chosen])
        targets = np.concatenate([example.target for example in chosen])
    source_lengths, target_lengths = examples.source_lengths[indices], examples.target_lengths[indices]
    source, source_mask = _pad(sources, source_lengths)
    target, target_mask = _pad(targets, target_lengths)
    return Batch(source, target, source_mask, target_mask, source_lengths, target_lengths)


def _pad(tokens: NDArray[Any], lengths: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
    """Joined sequences as a (b, longest) rectangle and its mask, which is None where all are equally long."""
    longest = int(lengths.max())
    if len(tokens) == len(lengths) * longest:
        return torch.from_numpy(tokens.astype(np.int64).reshape(len(lengths), longest)), None
    mask = np.arange(longest) < lengths[:, None]
    padded = np.full(mask.shape, PAD, dtype=np.int64)
    padded[mask] = tokens
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _shuffled(size: int, bits: np.random.PCG64) -> Indices:
    """A permutation from raw random bits: unlike NumPy's `permutation`, the same in every version of NumPy."""
    return np.argsort(bits.random_raw(size), kind="stable")


def plan_epoch(
    source_lengths: NDArray[np.int64], target_lengths: NDArray[np.int64], batch_tokens: int, seed: int, epoch: int
) -> list[Indices]:
    """The batches of one epoch, as indices: every example once, at most `batch_tokens` data tokens (or one example).

    Examples are permuted, cut into pools of many batches' worth, arranged by length within each pool and cut; then the
    order of the batches is shuffled. A pure function of its arguments.
    """
    if len(target_lengths) == 0:
        return []
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch]))
    order = _shuffled(len(target_lengths), bits)
    tokens = source_lengths + target_lengths
    pools = max(1, round(int(tokens.sum()) / (POOL * batch_tokens)))
    order = order[arrange(source_lengths[order], target_lengths[order], pools, batch_tokens)]
    batches = np.split(order, _cuts(tokens[order], batch_tokens))
    return [batches[index] for index in _shuffled(len(batches), bits)]


def arrange(
    source_lengths: NDArray[np.int64], target_lengths: NDArray[np.int64], pools: int, batch_tokens: int
) -> Indices:
    """An order within `pools` consecutive pools in which neighbours have similar sources and similar targets.

    Each pool is cut into strips of similar target length, and a strip is sorted by source length. Directions alternate
    (a snake), so that neighbours across strips and pools are similar too. The number of strips that pads least in the
    first pool serves all.
    """
    first = -(-len(target_lengths) // pools)
    source, target = source_lengths[:first], target_lengths[:first]
    candidates = STRIPS if np.ptp(target) and np.ptp(source) else STRIPS[:1]
    costs = [_padded(source, target, _snake(source, target, 1, strips), batch_tokens) for strips in candidates]
    return _snake(source_lengths, target_lengths, pools, candidates[int(np.argmin(costs))])


def _snake(source: NDArray[np.int64], target: NDArray[np.int64], pools: int, strips: int) -> Indices:
    count = len(target)
    if strips == 1 and np.ptp(source) == 0:
        source, target = target, source
    pool = np.arange(count) * pools // count
    by_target = _sort_in_groups(pool, target)
    sizes = np.bincount(pool, minlength=pools)
    rank = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    strip = pool * strips + rank * strips // sizes[pool]
    return by_target[_sort_in_groups(strip, source[by_target])]


def _sort_in_groups(group: NDArray[np.int64], length: NDArray[np.int64]) -> Indices:
    """The stable order by `length` within ascending groups: ascending in even groups, descending in odd ones."""
    width = int(length.max()) + 1
    return np.argsort(group * 2 * width + np.where(group % 2, width - length, length), kind="stable")


def _cuts(tokens: NDArray[np.int64], batch_tokens: int) -> list[int]:
    """Where to cut so that each part is as long as fits in `batch_tokens`, and at least one example."""
    ends = np.cumsum(tokens)
    cuts: list[int] = []
    start = given = 0
    while True:
        start = max(int(np.searchsorted(ends, given + batch_tokens, side="right")), start + 1)
        if start >= len(ends):
            return cuts
        cuts.append(start)
        given = int(ends[start - 1])


def _padded(source: NDArray[np.int64], target: NDArray[np.int64], order: Indices, batch_tokens: int) -> int:
    """Cells processed, padding counted, when `order` is cut into batches."""
    source, target = source[order], target[order]
    starts = [0, *_cuts(source + target, batch_tokens)]
    widths = np.maximum.reduceat(source, starts) + np.maximum.reduceat(target, starts)
    return int((widths * np.diff([*starts, len(order)])).sum())


@dataclass(frozen=True)
class Position:
    """A place between two batches: `index` batches of `epoch` and, in all, `tokens` data tokens were given."""

    epoch: int = 0
    index: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Stream:
    """Training batches until `tokens_budget` data tokens were given.

    The last batch is cut after the example that reaches the budget, so the stream gives at most one example too much.
    """

    examples: Examples
    batch_tokens: int
    seed: int
    tokens_budget: int

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

    def _plan(self, examples: Examples, epoch: int) -> list[Indices]:
        return plan_epoch(examples.source_lengths, examples.target_lengths, self.batch_tokens, self.seed, epoch)

    def _within(self, indices: Indices, examples: Examples, remaining: int) -> Indices:
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


def fixed(examples: Examples, indices: Indices, batch_tokens: int) -> list[tuple[Indices, Batch]]:
    """The examples at `indices` for scoring, each once, arranged by length: batches of at most `batch_tokens` cells,

    padding counted (or one example), each with the indices of its rows.
    """
    if len(indices) == 0:
        return []
    source, target = examples.source_lengths[indices], examples.target_lengths[indices]
    order = indices[arrange(source, target, 1, batch_tokens)]
    sizes = zip(examples.source_lengths[order].tolist(), examples.target_lengths[order].tolist(), strict=True)
    cuts: list[int] = []
    start = longest_source = longest_target = 0
    for index, (s, t) in enumerate(sizes):
        longest_source, longest_target = max(longest_source, s), max(longest_target, t)
        if index > start and (index + 1 - start) * (longest_source + longest_target) > batch_tokens:
            cuts.append(index)
            start, longest_source, longest_target = index, s, t
    return [(part, collate(examples, part)) for part in np.split(order, cuts)]
