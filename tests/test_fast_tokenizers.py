"""Tokenizers for ``transformers``: the same ids as ours for any text, and the same text back, also after saving."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archbench.tasks.base.example import BOS, END, LABEL, MASK, PAD, SPECIALS, UNK
from archbench.tasks.base.kind import TOKENIZERS
from archbench.tasks.text.fast_tokenizers import to_library_tokenizer, to_transformers_tokenizer
from archbench.tasks.text.tokenizers import Tokenizer, train_tokenizer

TEXTS = ["the cat sat on the mat, the cats' mats don't matter", "five days\nfünf Tage 12,345", "naïve café 😀 ١٢ Ⅳ²"]
ODD = ["<end>", " <mask><pad> ", "a\x00b", "e\u0301 ‿ x_y", "👩\u200d👩", "\u2028\r\n\t \x1c\x85", "", " ", "\ufeffx"]
LABELS = ["no", "yes", "very good", "größer", "<end>", "cat", "label: x", ""]
OURS = {kind: train_tokenizer(kind, TEXTS, 320, LABELS) for kind in TOKENIZERS}
THEIRS = {kind: to_library_tokenizer(ours) for kind, ours in OURS.items()}
TEXT = st.text() | st.text("the cats<end>é\u0301\u0660²Ⅳ_‿ \x1c\n'") | st.sampled_from([*ODD, *LABELS, f"{LABEL}yes"])


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=200)
@given(text=TEXT)
def test_any_text_has_the_same_ids(kind: str, text: str) -> None:
    assert THEIRS[kind].encode(text).ids == OURS[kind].encode(text)


def test_words_end_at_every_code_point_as_ours_do() -> None:
    codes = [*range(0x3000), *range(0x3000, 0xD800, 9), *range(0xE000, 0x110000, 31)]
    texts = ["a".join(map(chr, codes[start : start + 20_000])) for start in range(0, len(codes), 20_000)]
    ours = train_tokenizer("word", texts, 20_000)
    theirs = to_library_tokenizer(ours)
    for text in texts:
        assert theirs.encode(text).ids == ours.encode(text)


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=200)
@given(data=st.data())
def test_any_ids_give_the_same_text(kind: str, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, OURS[kind].vocabulary - 1), max_size=12))
    assert THEIRS[kind].decode(ids, skip_special_tokens=True) == OURS[kind].decode(ids)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_labels_are_single_tokens_that_decode_to_themselves(kind: str) -> None:
    for label, number in zip(LABELS, OURS[kind].label_ids, strict=True):
        assert THEIRS[kind].decode([number]) == label


@pytest.fixture(scope="module", params=TOKENIZERS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    """Our tokenizer, and theirs after it was saved and loaded."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp(request.param)
    to_transformers_tokenizer(OURS[request.param], "source-bos", 9, "left", "right").save_pretrained(folder)
    return OURS[request.param], AutoTokenizer.from_pretrained(folder)


@settings(max_examples=50)
@given(text=TEXT)
def test_a_saved_tokenizer_is_the_same(saved: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = saved
    ids = theirs(text)["input_ids"]
    assert ids == [*ours.encode(text), BOS]
    assert theirs(text, add_special_tokens=False)["input_ids"] == ids[:-1]
    assert theirs.decode([*ids, END], skip_special_tokens=True) == ours.decode(ids)


def test_a_saved_tokenizer_knows_its_special_tokens(saved: tuple[Tokenizer, Any]) -> None:
    ours, theirs = saved
    ids = (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id, theirs.mask_token_id, theirs.unk_token_id)
    assert ids == (PAD, BOS, END, MASK, UNK) and len(theirs) == ours.vocabulary
    assert theirs.convert_ids_to_tokens(list(range(len(SPECIALS)))) == list(SPECIALS)
    assert list(theirs("a cat")) == ["input_ids", "attention_mask"]


def test_a_saved_tokenizer_cuts_and_pads_for_its_model(saved: tuple[Tokenizer, Any]) -> None:
    ours, theirs = saved
    ids = theirs(["the cat sat on the mat", "a"], truncation=True, padding=True)["input_ids"]
    long, short = ours.encode("the cat sat on the mat")[:8], ours.encode("a")
    width = max(len(long), len(short))
    assert ids == [[PAD] * (width - len(tokens)) + [*tokens, BOS] for tokens in (long, short)]


def test_the_beginning_of_a_window_stands_after_bos() -> None:
    ours = OURS["char"]
    assert to_library_tokenizer(ours, "bos-text").encode("the cat").ids == [BOS, *ours.encode("the cat")]
