"""Batches: each example once an epoch, bounded, little padding, the same rest from any position, masks right."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from archbench.runs.training.batches import Batch, EncodedExamples, Position, Stream, collate, fixed, plan_epoch
from archbench.tasks.base.example import PAD, Example, Tokens
from archbench.tasks.text.splits import PairExamples, Windows

POOL = 512  # batches' worth of examples: what published runs had


@dataclass(frozen=True)
class Listed:
    """Examples in a list, which an epoch may shift, without the fast path of `gather`."""

    examples: list[Example]
    shift: int = 0

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        example = self.examples[index]
        return Example(example.source + self.shift, example.target + self.shift)

    @cached_property
    def source_lengths(self) -> NDArray[np.int64]:
        return np.array([len(example.source) for example in self.examples], np.int64)

    @cached_property
    def target_lengths(self) -> NDArray[np.int64]:
        return np.array([len(example.target) for example in self.examples], np.int64)

    def epoch(self, seed: int, epoch: int) -> "Listed":
        return Listed(self.examples, self.shift and epoch + self.shift)


class Gathered(Listed):
    """The same with the fast path."""

    def gather(self, indices: NDArray[np.int64]) -> tuple[Tokens, Tokens]:
        chosen = [self[index] for index in indices]
        return np.concatenate([e.source for e in chosen]), np.concatenate([e.target for e in chosen])


def listed(lengths: list[tuple[int, int]], shift: int = 0, kind: type[Listed] = Listed) -> Listed:
    """Example `i` has tokens `100 i + 5`, `100 i + 6`, …, so that each token tells where it comes from."""
    return kind(
        [
            Example(np.arange(s, dtype=np.int32) + 100 * i + 5, np.arange(t, dtype=np.int32) + 100 * i + 50)
            for i, (s, t) in enumerate(lengths)
        ],
        shift,
    )


def rows(batch: Batch) -> list[tuple[list[int], list[int]]]:
    lengths = zip(batch.source_lengths, batch.target_lengths, strict=True)
    return [(batch.source[i, :s].tolist(), batch.target[i, :t].tolist()) for i, (s, t) in enumerate(lengths)]


pairs = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), min_size=1, max_size=60)


@given(pairs, st.integers(1, 80), st.integers(0, 5), st.integers(0, 5), st.integers(1, 600))
def test_every_example_once_an_epoch_within_the_batch_tokens(
    lengths: list[tuple[int, int]], batch_tokens: int, seed: int, epoch: int, pool: int
) -> None:
    examples = listed(lengths)
    sources, targets = examples.source_lengths, examples.target_lengths
    plan = plan_epoch(sources, targets, batch_tokens, seed, epoch, pool)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(lengths)))
    for indices in plan:
        assert len(indices) == 1 or (sources + targets)[indices].sum() <= batch_tokens
    again = plan_epoch(sources, targets, batch_tokens, seed, epoch, pool)
    assert all(np.array_equal(indices, other) for indices, other in zip(plan, again, strict=True))


def test_the_order_depends_on_seed_and_epoch() -> None:
    source, target = np.random.default_rng(0).integers(1, 20, (2, 300))
    orders = {
        tuple(np.concatenate(plan_epoch(source, target, 200, seed, epoch, POOL)).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_the_order_is_the_same_everywhere() -> None:
    """Golden numbers, from NumPy 2.4: resuming a run on another machine must not change its batches."""
    equal = plan_epoch(np.zeros(8, np.int64), np.full(8, 3, np.int64), 9, seed=1, epoch=2, length_pool=POOL)
    unequal = plan_epoch(np.arange(8, dtype=np.int64), np.full(8, 3, np.int64), 20, seed=1, epoch=2, length_pool=POOL)
    assert [batch.tolist() for batch in equal] == [[2, 1, 0], [4, 7], [5, 6, 3]]
    assert [batch.tolist() for batch in unequal] == [[7], [5, 6], [3, 4], [0, 1, 2]]


@given(pairs, st.integers(1, 80), st.integers(0, 300), st.sampled_from([Listed, Gathered]))
def test_a_stream_goes_on_from_any_position_as_if_uninterrupted(
    lengths: list[tuple[int, int]], batch_tokens: int, budget: int, kind: type[Listed]
) -> None:
    stream = Stream(listed(lengths, shift=1, kind=kind), batch_tokens, 3, budget, POOL)
    whole = [(rows(batch), position) for batch, position in stream.start()]
    assert len(whole) == stream.total_steps()
    for done in range(len(whole)):
        position = whole[done - 1][1] if done else Position()
        assert [(rows(batch), place) for batch, place in stream.start(position)] == whole[done:]
    if whole:
        assert list(stream.start(whole[-1][1])) == []


@given(pairs, st.integers(1, 80), st.integers(1, 300))
def test_a_stream_reaches_its_budget_and_exceeds_it_by_less_than_an_example(
    lengths: list[tuple[int, int]], batch_tokens: int, budget: int
) -> None:
    given_tokens = 0
    last = 0
    for batch, position in Stream(listed(lengths), batch_tokens, 3, budget, POOL).start():
        assert given_tokens < budget
        given_tokens += batch.tokens
        last = int(batch.source_lengths[-1] + batch.target_lengths[-1])
        assert position.tokens == given_tokens
    assert budget <= given_tokens < budget + last


def test_an_epoch_is_cut_anew() -> None:
    examples = listed([(1, 2)] * 3, shift=1)
    firsts = {int(batch.target.min()) for batch, _ in Stream(examples, 100, 0, 27, POOL).start()}
    assert firsts == {51, 52, 53}


def test_an_empty_split_is_an_error_and_no_budget_is_none() -> None:
    with pytest.raises(ValueError, match="no training tokens"):
        Stream(listed([]), 10, 0, 1, POOL)
    assert list(Stream(listed([]), 10, 0, 0, POOL).start()) == []


@pytest.mark.parametrize("kind", [Listed, Gathered])
def test_padding_is_right_and_masked(kind: type[Listed]) -> None:
    batch = collate(listed([(2, 3), (0, 1), (1, 3)], kind=kind), np.array([0, 1, 2]))
    assert batch.source.tolist() == [[5, 6], [PAD, PAD], [205, PAD]]
    assert batch.target.tolist() == [[50, 51, 52], [150, PAD, PAD], [250, 251, 252]]
    assert batch.source_mask is not None
    assert batch.target_mask is not None
    assert batch.source_mask.tolist() == [[True, True], [False, False], [True, False]]
    assert batch.target_mask.sum() == 7
    assert batch.source.dtype == batch.target.dtype == torch.int64
    assert (batch.tokens, batch.cells) == (10, 15)


def test_nothing_padded_has_no_mask() -> None:
    batch = collate(listed([(0, 3), (0, 3)]), np.array([1, 0]))
    assert batch.source.shape == (2, 0)
    assert batch.source_mask is None
    assert batch.target_mask is None
    assert batch.target.tolist() == [[150, 151, 152], [50, 51, 52]]
    moved = batch.to("meta")
    assert moved.target.device.type == "meta"
    assert moved.source_mask is None


@given(pairs, st.integers(1, 100))
def test_fixed_batches_hold_the_chosen_examples_within_the_cells(
    lengths: list[tuple[int, int]], batch_tokens: int
) -> None:
    examples = listed(lengths)
    chosen = np.arange(len(lengths))[::2]
    batches = fixed(examples, chosen, batch_tokens)
    assert sorted(np.concatenate([indices for indices, _ in batches]).tolist()) == chosen.tolist()
    for indices, batch in batches:
        assert len(indices) == 1 or batch.cells <= batch_tokens
        assert rows(batch) == [(examples[i].source.tolist(), examples[i].target.tolist()) for i in indices]
    assert fixed(examples, chosen[:0], batch_tokens) == []


def lengths_of_translations(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Log-normal sentences whose translations differ in length by about a fifth."""
    generator = np.random.default_rng(0)
    source = np.clip(generator.lognormal(2.3, 0.5, count), 2, 64).astype(np.int64)
    target = np.clip(source * generator.lognormal(0, 0.2, count) + 1, 2, 64).astype(np.int64)
    return source, target


def lengths_of_sentences(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    return np.clip(generator.lognormal(3, 0.6, count), 2, 128).astype(np.int64), np.ones(count, np.int64)


@pytest.mark.parametrize(
    "source, target",
    [lengths_of_translations(100_000), lengths_of_translations(50_000), lengths_of_sentences(9_000)],
    ids=["translations", "fewer translations", "sentences"],
)
@pytest.mark.parametrize("pool, padded, full", [(POOL, 0.03, 0.97), (16, 0.2, 0.9)])
def test_little_is_padded_and_batches_are_full(
    source: NDArray[np.int64], target: NDArray[np.int64], pool: int, padded: float, full: float
) -> None:
    plan = plan_epoch(source, target, 4096, seed=0, epoch=0, length_pool=pool)
    tokens = int((source + target).sum())
    processed = sum(len(batch) * int(source[batch].max() + target[batch].max()) for batch in plan)
    assert 1 - tokens / processed < padded
    assert tokens / len(plan) > full * 4096


def test_a_batch_of_a_small_pool_has_examples_of_more_lengths() -> None:
    source, target = lengths_of_translations(50_000)

    def lengths(pool: int) -> float:
        plan = plan_epoch(source, target, 4096, seed=0, epoch=0, length_pool=pool)
        return float(np.mean([len(set(zip(source[i].tolist(), target[i].tolist(), strict=True))) for i in plan]))

    assert lengths(16) > 2 * lengths(POOL)


@dataclass(frozen=True)
class OneByOne:
    """Hides the fast path of other examples."""

    examples: EncodedExamples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        return self.examples.source_lengths

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        return self.examples.target_lengths

    def epoch(self, seed: int, epoch: int) -> "OneByOne":
        return OneByOne(self.examples.epoch(seed, epoch))


def encoded_pairs() -> PairExamples:
    lengths = np.random.default_rng(0).integers(1, 9, 80)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.arange(5, 5 + offsets[-1], dtype=np.uint16)
    return PairExamples(tokens, offsets, np.zeros(0, np.uint8), np.zeros(81, np.int64), np.arange(40))


def encoded_windows(source_length: int) -> Windows:
    tokens = np.arange(5, 505, dtype=np.uint16)
    return Windows(tokens, np.ones(500, np.uint8), np.zeros(500, np.uint8), source_length, 7)


@pytest.mark.parametrize("examples", [encoded_pairs(), encoded_windows(0), encoded_windows(3)])
def test_encoded_examples_give_the_same_batches_by_the_fast_path(examples: EncodedExamples) -> None:
    fast, slow = (Stream(split, 40, 1, 1500, POOL).start() for split in (examples, OneByOne(examples)))
    assert [rows(batch) for batch, _ in fast] == [rows(batch) for batch, _ in slow]
