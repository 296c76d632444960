"""ROUGE: worked examples, the package's own values on ASCII, words of any script, bounded time."""

import string
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archbench.tasks.metrics.builtin import TEXTS, text_score
from archbench.tasks.metrics.rouge import TYPES, WORDS, lead, rouge, words

ASCII = st.text(alphabet=string.ascii_letters[:8] + string.digits[:2] + " .,-_'\n", max_size=40)


@pytest.mark.parametrize(
    ("metric", "share"),
    [
        ("rouge_1", 5 / 6),  # the, cat, on, the, mat of six words each
        ("rouge_2", 3 / 5),  # the cat, on the, the mat of five pairs each
        ("rouge_l", 5 / 6),
    ],
)
def test_a_worked_example(metric: str, share: float) -> None:
    assert rouge(metric, ["The cat sat on the mat."], ["the cat lay on the mat"]) == pytest.approx([share])


def test_the_order_of_words_counts_for_the_longest_subsequence_alone() -> None:
    references, answer = ["police killed the gunman"], ["the gunman killed police"]
    assert TEXTS["rouge_1"].value(references, answer) == 1
    assert TEXTS["rouge_l"].value(references, answer) == pytest.approx(2 / 4)  # "the gunman", Lin 2004, section 3
    assert TEXTS["rouge_2"].value(references, answer) == pytest.approx(1 / 3)
    assert TEXTS["rouge_l"].value(references, ["police kill the gunman"]) == pytest.approx(3 / 4)  # no stemming


@given(st.lists(st.tuples(ASCII, ASCII), min_size=1, max_size=4))
def test_text_in_ascii_scores_as_by_the_package_alone(pairs: list[tuple[str, str]]) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(list(TYPES.values()), use_stemmer=False)
    by_package = [theirs.score(reference, answer) for reference, answer in pairs]
    for metric, kind in TYPES.items():
        ours = rouge(metric, [reference for reference, _ in pairs], [answer for _, answer in pairs])
        assert ours.tolist() == [scores[kind].fmeasure for scores in by_package]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("L'été, à Noël: 1er", ["l", "été", "à", "noël", "1er"]),
        ("Съешь ещё", ["съешь", "ещё"]),
        ("Ελλάδα", ["ελλάδα"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("السَّلام عليكم", ["السَّلام", "عليكم"]),
        ("می‌خواهم", ["می‌خواهم"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("我爱GPT2。", ["我", "爱", "gpt2"]),
        ("カナ、かな", ["カ", "ナ", "か", "な"]),
        ("ไม่ดี", ["ไ", "ม่", "ดี"]),
        ("snake_case", ["snake", "case"]),
        ("😀 — !", []),
    ],
)
def test_words_of_any_script(text: str, cut: list[str]) -> None:
    assert words(text) == cut


@pytest.mark.parametrize(
    ("reference", "answer", "share"),
    [
        ("un été à Noël", "un hiver à Noël", 3 / 4),
        ("Привет, мир", "привет мир", 1.0),
        ("Привет, мир", "пока, мир", 1 / 2),
        ("我爱北京", "我爱上海", 1 / 2),
        ("café", "cafe\u0301", 1.0),  # composed or not
        ("12", "１２", 1.0),  # noqa: RUF001 (of full width)
    ],
)
def test_text_that_is_not_english_is_scored_by_its_words(reference: str, answer: str, share: float) -> None:
    for metric in ("rouge_1", "rouge_l"):
        assert rouge(metric, [reference], [answer]) == pytest.approx([share])


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_has_a_score_that_is_full_for_itself(reference: str, answer: str) -> None:
    for metric in ("rouge_1", "rouge_l"):
        assert 0 <= rouge(metric, [reference], [answer])[0] <= 1
        assert rouge(metric, [reference], [reference])[0] == pytest.approx(float(bool(words(reference))))
    assert rouge("rouge_2", ["one"], ["one"])[0] == 0  # a word has no neighbour


def test_long_texts_take_bounded_time_and_memory() -> None:
    """A million words in place of a thousand change neither."""
    long = "word another " * 500_000
    start = time.process_time()
    assert rouge("rouge_l", [long], [long])[0] == pytest.approx(1)
    assert time.process_time() - start < 10
    beyond = " ".join(["same"] * WORDS + ["more"] * 9)
    assert rouge("rouge_1", [beyond], ["same " * WORDS])[0] == pytest.approx(1)


@given(st.text(max_size=30), st.integers(1, 6))
def test_a_lead_is_the_beginning_up_to_a_word(text: str, count: int) -> None:
    beginning = lead(text, count)
    assert text.startswith(beginning)
    assert beginning == text or not text[: len(beginning)][-1:].isspace()


def test_a_lead_has_as_many_words_as_are_asked_for() -> None:
    assert lead("One, two (three) four.", 3) == "One, two (three"
    assert lead("我爱北京", 2) == "我爱"
    assert lead("short", 3) == "short"


def test_a_score_is_the_mean_of_what_stands_beside_it() -> None:
    references = ["a b c d", "e f", "g"]
    for metric in TYPES:
        score = text_score(metric, references, ["a b x d", "e f", "h"])
        assert (
            score.value
            == pytest.approx(np.mean(score.per_example))
            == TEXTS[metric].value(references, ["a b x d", "e f", "h"])
        )
        assert score.lower <= score.value <= score.upper and score.n == len(score.per_example) == 3
