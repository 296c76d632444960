"""Metrics: agreement with the libraries that define them, intervals that hold, and worked examples."""

import math
import random
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sklearn.metrics import f1_score

from archbench.tasks.metrics import intervals, metrics
from archbench.tasks.metrics.builtin import BUILTIN, likelihood_scores
from archbench.tasks.metrics.metric import Metric

WORDS = ["ein", "guter", "Tag", "zwei", "Tage", "10", "Uhr", ",", "schön", "-"]
SENTENCE = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=8)


@given(PAIRS)
def test_bleu_and_chrf_are_those_of_sacrebleu_to_the_last_digit(pairs: list[tuple[str, str]]) -> None:
    references, answers = [a for a, _ in pairs], [b for _, b in pairs]
    for name, theirs in (("bleu", BLEU(force=True)), ("chrf", CHRF())):
        expected = theirs.corpus_score(answers, [references]).score
        assert BUILTIN[name].value(references, answers) == expected


def test_right_answers_score_full_and_empty_ones_nothing() -> None:
    references = ["ein guter Tag und mehr", "zwei Tage und Uhr 10"]
    for metric in (BUILTIN["bleu"], BUILTIN["chrf"]):
        assert metric.value(references, references) == pytest.approx(100)
        assert metric.value(references, ["", ""]) == 0
    assert BUILTIN["exact_match"].value(references, [references[0], "x"]) == 0.5
    assert BUILTIN["rouge_l"].value(references, references) == 1
    assert BUILTIN["rouge_l"].value(["a b c d"], ["a x c"]) == pytest.approx(2 * 2 / 7)


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein's distance by its recursion: the least of a deletion, an insertion and a replacement."""
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


SPELLED = st.lists(st.sampled_from(["a", "ɔ̃", "tʃ"]), max_size=5).map(" ".join)


@given(st.lists(st.tuples(SPELLED, SPELLED), min_size=1, max_size=5))
def test_error_rates_are_those_of_levenshtein(pairs: list[tuple[str, str]]) -> None:
    references, answers = [a for a, _ in pairs], [b for _, b in pairs]
    edits, size = sum(distance(a.split(), b.split()) for a, b in pairs), sum(len(a.split()) for a in references)
    assert BUILTIN["per"].value(references, answers) == (edits / size if size else 0)
    characters = [distance(a.replace(" ", ""), b.replace(" ", "")) for a, b in pairs]
    assert BUILTIN["edit_distance"].value(references, answers) == pytest.approx(np.mean(characters))
    wrong = 1 - BUILTIN["exact_match"].value(references, answers)
    assert BUILTIN["wer"].value(references, answers) == pytest.approx(wrong)


def test_error_rates_of_words_and_phonemes() -> None:
    references, answers = ["a b ɔ̃ d", "w i", "t y", "l e ␣ f"], ["a b ɔ d", "w i", "", "l e f"]
    score = {name: BUILTIN[name].value(references, answers) for name in ("wer", "per", "edit_distance")}
    assert score == {"wer": 3 / 4, "per": 4 / 12, "edit_distance": 4 / 4}
    assert BUILTIN["per"].value(["a"], ["b c d"]) == 3, "insertions take it above 1"
    for name in score:
        metric = BUILTIN[name]
        assert metric.best == metric.value(references, references) == 0
        assert metric.gain(-0.1) == 0.1, "lower is better"


@pytest.mark.parametrize("name", ["wer", "per", "edit_distance"])
def test_error_rates_of_resampled_examples_are_those_of_their_texts(name: str) -> None:
    references, answers = table(20, labels=False)
    statistics, of_sums = BUILTIN[name]._sums(references, answers)
    drawn = [3, 3, 7, 0, 19]
    again = BUILTIN[name].value([references[i] for i in drawn], [answers[i] for i in drawn])
    assert of_sums(statistics[drawn].sum(axis=0, keepdims=True))[0] == pytest.approx(again)


def test_signatures_say_how_libraries_scored() -> None:
    signatures = metrics.signatures(["exact_match", "bleu", "chrf", "rouge_l"])
    assert signatures.keys() == {"bleu", "chrf", "rouge_l"}
    assert "words:unicode|stem:no" in signatures["rouge_l"]
    assert "tok:13a" in signatures["bleu"]
    assert "nc:6" in signatures["chrf"]
    assert all("version:" in signature for signature in signatures.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_macro_f1_is_that_of_scikit_learn_to_the_last_digit(pairs: list[tuple[str, str]]) -> None:
    references, answers = [a for a, _ in pairs], [b for _, b in pairs]
    labels = sorted(set(references))
    expected = f1_score(references, answers, labels=labels, average="macro", zero_division=0.0)
    assert BUILTIN["macro_f1"].value(references, answers) == expected


def table(examples: int, labels: bool) -> tuple[list[str], list[str]]:
    """References, and answers that are right about two times in three."""
    rng = np.random.default_rng(0)
    texts = [rng.choice(WORDS[:4]) if labels else " ".join(rng.choice(WORDS, 6)) for _ in range(2 * examples)]
    answers = [a if rng.random() < 0.65 else b for a, b in zip(texts[::2], texts[1::2], strict=True)]
    return list(map(str, texts[::2])), list(map(str, answers))


RECORDED = [name for name, metric in BUILTIN.items() if metric.recorded and metric.statistics]


@pytest.mark.parametrize("name", RECORDED)
def test_contributions_average_to_the_score_and_leave_it_with_their_example(name: str) -> None:
    """Without an example the score is that of the others: contributions are jackknife pseudo-values."""
    references, answers = table(60, labels=name == "macro_f1")
    score = BUILTIN[name].score(references, answers)
    assert len(score.per_example) == score.n == 60
    assert np.mean(score.per_example) == pytest.approx(score.value)
    without = [BUILTIN[name].value(*(texts[:i] + texts[i + 1 :] for texts in (references, answers))) for i in (3, 9)]
    assert score.per_example[3] - score.per_example[9] == pytest.approx(59 * (without[1] - without[0]), abs=1e-6)


@pytest.mark.parametrize("name", RECORDED)
def test_the_spread_of_contributions_is_that_of_the_score_over_examples_drawn_again(name: str) -> None:
    references, answers = table(150, labels=name == "macro_f1")
    statistics, of_sums = BUILTIN[name]._sums(references, answers)
    per_example = BUILTIN[name].score(references, answers).per_example
    spread = np.std(of_sums(intervals.resampled(statistics)))
    assert np.std(per_example, ddof=1) / math.sqrt(150) == pytest.approx(spread, rel=0.15)


def test_a_metric_of_one_example_is_its_contribution() -> None:
    for name in RECORDED:
        score = BUILTIN[name].score(["ein guter Tag"], ["ein Tag"])
        assert score.per_example == (score.value,)


def test_a_user_states_statistics_or_a_function() -> None:
    """What is stated as statistics has the value, the interval and the contributions that follow from them."""
    facts = {"better": "higher", "meaning": "share", "least": 0.0, "most": 1.0, "recorded": True}
    references, answers = table(40, labels=True)
    mine = Metric("mine", "mine", statistics=metrics.equal, **facts)  # type: ignore[arg-type]
    score, plain = mine.score(references, answers), BUILTIN["accuracy"].score(references, answers)
    assert (score.value, score.lower, score.upper) == (plain.value, plain.lower, plain.upper)
    assert score.per_example == tuple(metrics.equal(references, answers))
    with pytest.raises(ValueError, match="function, statistics: give one of the two"):
        Metric("mine", "mine", statistics=metrics.equal, function=lambda *_: 0.0, **facts)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="returned 2, which is outside of its range, 0 to 1"):
        Metric("two", "two", statistics=lambda *_: [2.0], **facts).score(["a"], ["a"])  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0, 0.0, -0.1, True, "0.1"])
def test_a_margin_is_more_than_0(margin: object) -> None:
    with pytest.raises(ValueError, match=f"margin: {margin!r}: expected more than 0"):
        Metric("mine", "mine", "higher", "share", 0.0, 1.0, margin=margin)  # type: ignore[arg-type]


def test_likelihoods_are_sums_over_examples() -> None:
    nats, tokens, size = np.array([2.0, 4.0]), np.array([1, 3]), np.array([10, 2])
    scores = {s.metric: s for s in likelihood_scores(nats, tokens, size, bound=nats + 1)}
    assert scores["nll_per_token"].value == BUILTIN["nll_per_token"].value(nats, tokens) == 1.5
    assert scores["perplexity"].value == math.exp(1.5)
    assert scores["bits_per_byte"].value == pytest.approx(6 / math.log(2) / 12)
    assert scores["bits_per_byte_bound"].value == pytest.approx(8 / math.log(2) / 12)
    assert scores["perplexity"].upper == pytest.approx(math.exp(scores["nll_per_token"].upper))


def test_an_impossible_reference_is_infinite_and_not_an_error() -> None:
    nats = np.array([1.0, math.inf, 1.0])
    scores = likelihood_scores(nats, np.ones(3, np.int64), np.ones(3, np.int64))
    assert all(score.value == score.upper == math.inf for score in scores)
    assert scores[0].lower in (1.0, math.inf)
    assert BUILTIN["perplexity"].value(np.array([1e9]), np.ones(1)) == math.inf


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
    bleu, chrf = (BUILTIN[name].score(references, answers) for name in ("bleu", "chrf"))
    assert time.process_time() - start < 4
    for score in (bleu, chrf):
        assert score.lower < score.value < score.upper
        assert score.upper - score.lower < 10


def test_repetition_variety_and_copying_by_example() -> None:
    loop, free = np.array([7, 8] * 5), np.arange(20, 30)
    assert metrics.repeated([loop, free, np.arange(3)], 4).tolist() == [[5, 7], [0, 7], [0, 0]]
    assert metrics.distinct_2([free, free]) == 0.5
    assert metrics.distinct_2([]) == len(metrics.copies([], free, 4)) == 0
    stream = np.array([1, 2, *range(20, 26), 3], np.uint16)
    assert metrics.copies([free], stream, 4).tolist() == [[3, 7]]
    assert metrics.copies([free], stream, 7).tolist() == [[0, 4]]
    assert metrics.copies([free], stream[:3], 4).tolist() == [[0, 7]]
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
        counts = metrics.copies([np.array(text, np.int32) for text in texts], np.array(stream, np.uint16), order)
    assert counts.sum(axis=0).tolist() == [sum(window in stream_windows for window in windows), len(windows)]


def test_distinct_interval_is_around_its_value() -> None:
    random_ = np.random.default_rng(0)
    score = metrics.distinct_score([random_.integers(0, 30, 40) for _ in range(30)])
    assert score.lower < score.value < score.upper
    assert score.upper - score.lower < 0.1


def test_bits_per_byte_are_bits_of_all_texts_over_their_bytes() -> None:
    nats = np.array([8 * math.log(2), 4 * math.log(2)])
    assert BUILTIN["bits_per_byte"].value(nats, np.array([2, 4])) == pytest.approx(2.0)
