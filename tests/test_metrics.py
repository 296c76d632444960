"""Metrics: agreement with the libraries that define them, intervals that hold, and worked examples."""

import math
import random
import time

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from archbench.tasks.metrics import intervals, metrics

WORDS = ["ein", "guter", "Tag", "zwei", "Tage", "10", "Uhr", ",", "schön", "-"]
SENTENCE = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=8)


@given(PAIRS)
def test_bleu_and_chrf_follow_from_their_statistics(pairs: list[tuple[str, str]]) -> None:
    references, answers = [a for a, _ in pairs], [b for _, b in pairs]
    sums = intervals.bleu_statistics(references, answers).sum(axis=0, keepdims=True)
    assert intervals.bleu_of_sums(sums)[0] == pytest.approx(metrics.bleu(references, answers))
    sums = intervals.chrf_statistics(references, answers).sum(axis=0, keepdims=True)
    assert intervals.chrf_of_sums(sums)[0] == pytest.approx(metrics.chrf(references, answers))


def test_right_answers_score_full_and_empty_ones_nothing() -> None:
    references = ["ein guter Tag und mehr", "zwei Tage und Uhr 10"]
    for metric in (metrics.bleu, metrics.chrf):
        assert metric(references, references) == pytest.approx(100)
        assert metric(references, ["", ""]) == 0
    assert metrics.exact_match(references, [references[0], "x"]) == 0.5
    assert metrics.rouge_l(references, references) == 1
    assert metrics.rouge_l(["a b c d"], ["a x c"]) == pytest.approx(2 * 2 / 7)


def test_signatures_say_how_libraries_scored() -> None:
    signatures = metrics.signatures(["exact_match", "bleu", "chrf", "rouge_l"])
    assert signatures.keys() == {"bleu", "chrf", "rouge_l"}
    assert "words:unicode|stem:no" in signatures["rouge_l"]
    assert "tok:13a" in signatures["bleu"]
    assert "nc:6" in signatures["chrf"]
    assert all("version:" in signature for signature in signatures.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_macro_f1_follows_from_its_statistics(pairs: list[tuple[str, str]]) -> None:
    references, answers = [a for a, _ in pairs], [b for _, b in pairs]
    score = intervals.macro_f1_score(metrics.macro_f1(references, answers), references, answers)
    per_class = [
        2 * sum(a == b == label for a, b in pairs) / (references.count(label) + answers.count(label))
        for label in set(references)
    ]
    assert score.value == pytest.approx(np.mean(per_class))
    assert score.n == len(pairs)


def test_likelihoods_are_sums_over_examples() -> None:
    nats, tokens, size = np.array([2.0, 4.0]), np.array([1, 3]), np.array([10, 2])
    scores = {s.metric: s for s in intervals.likelihood_scores(nats, tokens, size, bound=nats + 1)}
    assert scores["nll_per_token"].value == metrics.nll_per_token(nats, tokens) == 1.5
    assert scores["perplexity"].value == metrics.perplexity(nats, tokens) == math.exp(1.5)
    assert scores["bits_per_byte"].value == pytest.approx(6 / math.log(2) / 12)
    assert scores["bits_per_byte_bound"].value == pytest.approx(8 / math.log(2) / 12)
    assert scores["perplexity"].upper == pytest.approx(math.exp(scores["nll_per_token"].upper))


def test_an_impossible_reference_is_infinite_and_not_an_error() -> None:
    nats = np.array([1.0, math.inf, 1.0])
    scores = intervals.likelihood_scores(nats, np.ones(3, np.int64), np.ones(3, np.int64))
    assert all(score.value == score.upper == math.inf for score in scores)
    assert scores[0].lower in (1.0, math.inf)
    assert metrics.exponential(1e9) == math.inf


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]])
def test_an_interval_holds_its_value(values: list[float]) -> None:
    score = intervals.mean_score("accuracy", values)
    assert score.lower <= score.value == np.mean(values) <= score.upper
    assert score == intervals.mean_score("accuracy", values)


@pytest.mark.parametrize(
    ("share", "count", "lower", "upper"),
    [(0.0, 50, 0.0, 0.07135), (1.0, 50, 0.92865, 1.0), (0.5, 10, 0.23659, 0.76341), (0.02, 50, 0.00354, 0.10495)],
)
def test_a_proportion_has_the_interval_of_wilson(share: float, count: int, lower: float, upper: float) -> None:
    """The expected values are those of scipy.stats.binomtest."""
    assert intervals.wilson(share, count) == pytest.approx((lower, upper), abs=1e-5)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    random_ = np.random.default_rng(0)
    scores = [intervals.mean_score("accuracy", list(random_.random(80) < 0.7)) for _ in range(300)]
    covered = np.mean([score.lower <= 0.7 <= score.upper for score in scores])
    assert 0.91 < covered < 0.98


def test_corpus_intervals_are_fast() -> None:
    random_ = random.Random(0)
    references = [" ".join(random_.choices(WORDS, k=12)) for _ in range(500)]
    answers = [" ".join(word if random_.random() < 0.7 else "x" for word in text.split()) for text in references]
    start = time.process_time()
    bleu = intervals.bleu_score(metrics.bleu(references, answers), references, answers)
    chrf = intervals.chrf_score(metrics.chrf(references, answers), references, answers)
    assert time.process_time() - start < 4
    for score in (bleu, chrf):
        assert score.lower < score.value < score.upper
        assert score.upper - score.lower < 10


def test_repetition_variety_and_copying_by_example() -> None:
    loop, free = np.array([7, 8] * 5), np.arange(20, 30)
    assert metrics.repetition([loop]) == pytest.approx(5 / 7)
    assert metrics.repetition([free]) == metrics.repetition([np.arange(3)]) == 0
    assert metrics.repetition([loop, free]) == pytest.approx(5 / 14)
    assert metrics.distinct_2([free, free]) == 0.5
    assert metrics.distinct_2([]) == metrics.copied([], free, 4) == 0
    stream = np.array([1, 2, *range(20, 26), 3], np.uint16)
    assert metrics.copied([free], stream, 4) == pytest.approx(3 / 7)
    assert metrics.copied([free], stream, 7) == 0
    assert metrics.copied([free], stream[:3], 4) == 0
    assert [metrics.copy_order(size) for size in (1.0, 3.0, 5.0)] == [20, 8, 8]


@given(
    st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=4),
    st.lists(st.integers(0, 2), max_size=30),
    st.integers(1, 4),
    st.integers(1, 7),
)
def test_copied_windows_are_those_in_the_stream(
    texts: list[list[int]], stream: list[int], order: int, block: int
) -> None:
    windows = [tuple(text[i : i + order]) for text in texts for i in range(len(text) - order + 1)]
    assume(windows)
    stream_windows = {tuple(stream[i : i + order]) for i in range(len(stream) - order + 1)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(metrics, "_BLOCK", block)
        share = metrics.copied([np.array(text, np.int32) for text in texts], np.array(stream, np.uint16), order)
    assert share == pytest.approx(np.mean([window in stream_windows for window in windows]))


def test_distinct_interval_is_around_its_value() -> None:
    random_ = np.random.default_rng(0)
    score = intervals.distinct_score([random_.integers(0, 30, 40) for _ in range(30)])
    assert score.lower < score.value < score.upper
    assert score.upper - score.lower < 0.1


def test_bits_per_byte_are_bits_of_all_texts_over_their_bytes() -> None:
    nats = np.array([8 * math.log(2), 4 * math.log(2)])
    assert metrics.bits_per_byte(nats, np.array([2, 4])) == pytest.approx(2.0)
