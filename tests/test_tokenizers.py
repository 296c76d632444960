"""Tokenizers: text comes back, special tokens never come out of text, chunking and repetition change nothing."""

import subprocess
import sys
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import END, SPECIALS, UNK
from archbench.tasks.base.kind import TOKENIZERS
from archbench.tasks.text import coders
from archbench.tasks.text.tokenizers import Tokenizer, load_tokenizer, train_tokenizer, training_sample

TEXTS = ["the cat sat on the mat, the cats' mats don't matter", "five days\nfünf Tage 12,345", "naïve café 😀"]
ODD = ["<end>", "<mask> <pad>", "a\x00b", "e\u0301", "👩‍👩‍👧", "\u2028\r\n\t ", "", " ", "don't 's", "\ufeffx"]
BY_KIND = {kind: train_tokenizer(kind, TEXTS, 300, ["no", "yes"]) for kind in TOKENIZERS}


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@given(text=st.text() | st.sampled_from(ODD))
def test_bytes_and_byte_pairs_give_back_any_text(kind: str, text: str) -> None:
    tokenizer = BY_KIND[kind]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(token in tokenizer.text_ids for token in ids)


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.text() | st.sampled_from(ODD))
def test_special_tokens_and_labels_never_come_out_of_text(kind: str, text: str) -> None:
    tokenizer = BY_KIND[kind]
    allowed = {*tokenizer.text_ids, *([UNK] if kind in ("char", "word") else [])}
    assert set(tokenizer.encode(text)) <= allowed
    assert set(tokenizer.encode(f"<end>{text} yes")) <= allowed


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_known_text_comes_back_from_every_kind(kind: str) -> None:
    for text in TEXTS:
        assert BY_KIND[kind].decode(BY_KIND[kind].encode(text)) == text


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(texts=st.lists(st.text(max_size=40), max_size=5))
def test_a_batch_is_its_texts_one_by_one_and_widths_add_up(kind: str, texts: list[str]) -> None:
    tokenizer = BY_KIND[kind]
    assert [ids.tolist() for ids in tokenizer.encode_batch(texts)] == [tokenizer.encode(text) for text in texts]
    for text, ids, widths in tokenizer.encode_stream(texts):
        assert len(ids) == len(widths)
        assert widths.sum() == len(text.encode())


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.text("ab, \n'sé3", max_size=200), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_running_text_is_encoded_alike_however_it_is_cut(kind: str, text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    chunks = [text[a:b] for a, b in pairwise(edges)]
    with patch.object(coders, "PIECE", 16):
        whole, parts = (list(BY_KIND[kind].encode_stream(pieces)) for pieces in ([text], chunks))
    assert [piece for piece, _, _ in whole] == [piece for piece, _, _ in parts]
    assert "".join(piece for piece, _, _ in whole) == text


@given(
    words=st.lists(st.text("abcdé7,.'!s<>", min_size=1, max_size=9), min_size=1, max_size=40),
    gap=st.sampled_from(" \n"),
)
def test_encoding_in_pieces_changes_nothing_where_text_has_seams(words: list[str], gap: str) -> None:
    text = gap.join(words)
    for tokenizer in BY_KIND.values():
        with patch.object(coders, "PIECE", 16):
            in_pieces = tokenizer.encode(text)
        assert in_pieces == tokenizer.encode(text)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_tokenizer_is_determined_by_its_texts_and_survives_json(kind: str) -> None:
    tokenizer = BY_KIND[kind]
    again, loaded = train_tokenizer(kind, TEXTS, 300, ["no", "yes"]), load_tokenizer(tokenizer.to_json())
    assert tokenizer.digest == again.digest == loaded.digest
    assert loaded.encode("the café") == tokenizer.encode("the café")
    assert loaded.vocabulary == tokenizer.vocabulary <= 300
    assert train_tokenizer(kind, TEXTS, 300, ["no"]).digest != tokenizer.digest


def test_byte_pairs_are_the_same_in_another_process_with_many_threads() -> None:
    script = (
        "from archbench.tasks.text.tokenizers import train_tokenizer\n"
        "print(train_tokenizer('bpe', [f'word{i % 97} other{i % 31}' for i in range(3000)], 400).digest)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"TOKENIZERS_PARALLELISM": threads, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for threads, seed in (("false", "1"), ("true", "2"))
    ]
    assert runs[0].stdout == runs[1].stdout
    assert not any(run.stderr for run in runs)


def test_ids_are_laid_out_as_specials_labels_text() -> None:
    tokenizer = BY_KIND["bpe"]
    assert tokenizer.label_ids == range(5, 7)
    assert tokenizer.text_ids == range(7, tokenizer.vocabulary)
    assert [tokenizer.label_id(label) for label in ("no", "yes", "maybe")] == [5, 6, UNK]
    assert tokenizer.decode([*range(len(SPECIALS)), 6]) == "yes"
    assert tokenizer.decode([*tokenizer.encode("five"), END]) == "five"


@pytest.mark.parametrize("kind", ["char", "word"])
def test_unknown_pieces_become_unk_without_losing_their_place(kind: str) -> None:
    ids = BY_KIND[kind].encode("the 龍 cat")
    assert UNK in ids
    assert BY_KIND[kind].decode(ids) == "the  cat" if kind == "char" else "the cat"


def test_lone_surrogates_are_replaced_instead_of_failing() -> None:
    for tokenizer in BY_KIND.values():
        assert tokenizer.encode("a\ud800b") == tokenizer.encode("a?b")


@pytest.mark.parametrize(("kind", "vocabulary"), [("bpe", 262), ("word", 7)])
def test_a_vocabulary_that_is_too_small_is_refused(kind: str, vocabulary: int) -> None:
    with pytest.raises(InputError, match="too small"):
        train_tokenizer(kind, TEXTS, vocabulary, ["no", "yes"])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match='"morpheme"'):
        train_tokenizer("morpheme", TEXTS, 300)


def test_words_are_the_most_frequent_ones() -> None:
    tokenizer = train_tokenizer("word", ["a b", "a b", "a c"], len(SPECIALS) + 2)
    assert tokenizer.decode(tokenizer.encode("a b c")) == "a b"


def test_a_training_sample_takes_the_same_share_of_every_text() -> None:
    texts = ["x" * 1000, "y" * 500]
    assert list(training_sample(texts, 1500, limit=150)) == ["x" * 100, "y" * 50]
    assert list(training_sample(texts, 1500)) == texts


def test_huge_text_without_any_space_is_encoded() -> None:
    text = "龍" * (coders.PIECE + 10)
    tokenizer: Tokenizer = BY_KIND["bpe"]
    assert np.concatenate([ids for _, ids, _ in tokenizer.encode_stream([text])]).tolist() == tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
