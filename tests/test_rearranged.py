"""Windows of running text rearranged for pretraining: nothing is lost, everything is repeatable."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from archbench.runs.training.batches import Stream
from archbench.tasks.base.example import END
from archbench.tasks.text.rearranged import ALL_TARGET, PREFIX, SPAN_CORRUPTION, Rearranged, Spans
from archbench.tasks.text.splits import Windows

SENTINELS = range(5, 11)
FIRST = 11  # token id of text


def windows(length: int, count: int = 200) -> Windows:
    size = length * count + 7
    tokens = FIRST + np.random.default_rng(0).integers(0, 40, size)
    return Windows(tokens.astype(np.uint16), np.ones(size, np.uint8), np.zeros(size, np.uint8), 0, length)


def rearranged(*ways: str, length: int = 40) -> Rearranged:
    return Rearranged(windows(length), tuple((way, 1.0) for way in ways), SENTINELS).epoch(7, 0)


def restored(source: list[int], target: list[int]) -> list[int]:
    """The window: each sentinel of the source replaced by what follows it in the target."""
    if not set(source) & set(SENTINELS):
        return source + target[:-1]
    answers: dict[int, list[int]] = {}
    for token in target[:-1]:
        if token in SENTINELS:
            answers[token] = []
        else:
            answers[[*answers][-1]].append(token)
    assert [token for token in source if token in SENTINELS] == [*answers] == list(SENTINELS[: len(answers)])
    return [token for mark in source for token in answers.get(mark, [mark])]


@pytest.mark.parametrize("way", [ALL_TARGET, PREFIX, SPAN_CORRUPTION])
def test_source_and_target_give_the_window_back(way: str) -> None:
    examples = rearranged(way)
    for index in range(len(examples)):
        source, target = (part.tolist() for part in (examples[index].source, examples[index].target))
        assert target[-1] == END and END not in target[:-1]
        assert restored(source, target) == examples.windows[index].target.tolist()
        assert (len(source), len(target)) == (examples.source_lengths[index], examples.target_lengths[index])


@pytest.mark.parametrize("length", [2, 3, 7, 40, 127])
def test_spans_are_those_of_t5(length: int) -> None:
    """15% of the tokens (at least one, not all), in spans of three tokens on average, never side by side."""
    spans = Spans(length)
    assert spans.noise == min(max(round(0.15 * length), 1), length - 1)
    assert 1 <= spans.count <= max(1, round(spans.noise / 3))
    examples = Rearranged(windows(length), ((SPAN_CORRUPTION, 1.0),), range(5, 5 + spans.count)).epoch(1, 0)
    for index in range(20):
        source, target = examples[index].source, examples[index].target
        marks = [place for place, token in enumerate(source) if token < FIRST]
        assert len(marks) == spans.count and len(target) == spans.noise + spans.count + 1
        assert all(second - first > 1 for first, second in pairwise(marks))


def test_every_division_is_equally_likely() -> None:
    """Seven tokens in three parts: fifteen divisions (2, 4, 6 and so on), each once in fifteen draws."""
    examples = rearranged(SPAN_CORRUPTION)
    parts = examples._parts(2, np.arange(30_000), 7, 3)
    counts = Counter(map(tuple, parts.tolist()))
    assert len(counts) == 15 and set(map(sum, counts)) == {7} and min(map(min, counts)) == 1
    assert all(abs(count - 2000) < 4 * 2000**0.5 for count in counts.values())


def test_a_split_is_drawn_uniformly() -> None:
    lengths = Rearranged(windows(5, 20_000), ((PREFIX, 1.0),), SENTINELS).epoch(3, 0).source_lengths
    counts = np.bincount(lengths, minlength=6)
    assert counts[0] == counts[5] == 0 and np.all(np.abs(counts[1:5] - 5000) < 4 * 5000**0.5)


def test_ways_are_mixed_by_their_shares() -> None:
    ways = ((ALL_TARGET, 0.25), (PREFIX, 0.25), (SPAN_CORRUPTION, 0.5))
    examples = Rearranged(windows(40, 2000), ways, SENTINELS).epoch(3, 0)
    corrupted = np.array([np.isin(examples[index].source, SENTINELS).any() for index in range(len(examples))])
    assert abs(corrupted.mean() - 0.5) < 0.05
    assert abs((examples.source_lengths == 0).mean() - 0.25) < 0.05
    index = np.arange(len(examples))
    source, target = examples.gather(index)
    assert source.tolist() == np.concatenate([examples[i].source for i in index]).tolist()
    assert target.tolist() == np.concatenate([examples[i].target for i in index]).tolist()


def test_an_example_depends_on_seed_and_epoch_and_not_on_its_batch() -> None:
    examples = rearranged(PREFIX, SPAN_CORRUPTION)
    source, _ = examples.gather(np.array([5, 3, 9]))
    assert source.tolist() == np.concatenate([examples[i].source for i in (5, 3, 9)]).tolist()
    again, others = examples.epoch(7, 0), [examples.epoch(7, 1), examples.epoch(8, 0)]
    assert all((again[i].source == examples[i].source).all() for i in range(len(examples)))
    assert all(other[0].source.tolist() != examples[0].source.tolist() for other in others)


def test_training_batches_go_on_exactly_from_any_position() -> None:
    stream = Stream(rearranged(PREFIX, SPAN_CORRUPTION), 256, 3, 12_000, 16)
    whole = list(stream.start())
    assert len(whole) == stream.total_steps()
    middle = whole[len(whole) // 2][1]
    for (batch, place), (later, later_place) in zip(whole[len(whole) // 2 + 1 :], stream.start(middle), strict=True):
        assert place == later_place and batch.target.equal(later.target) and batch.source.equal(later.source)


def test_too_few_sentinels_are_an_error() -> None:
    with pytest.raises(ValueError, match="6 spans need as many sentinels; there are 5"):
        Rearranged(windows(127), ((SPAN_CORRUPTION, 1.0),), range(5, 10))
