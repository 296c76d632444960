"""Exports archbench's tokenizers to the ``tokenizers`` library and to ``transformers``; every text has the same ids.

Tokens of every kind are spelled in the characters that GPT-2 writes bytes in, so that one decoder serves all kinds.
Only a label has a space in its spelling ("label: very"), so no text is spelled like one; decoding drops "label: ".
"""

import json
from collections.abc import Callable
from functools import cache
from itertools import groupby
from typing import Any, Literal

from archbench.tasks.base.example import BOS, LABEL, SPECIALS, UNK
from archbench.tasks.text.coders import MARKS, byte_spelling
from archbench.tasks.text.tokenizers import Tokenizer

Template = Literal["source-bos", "bos-text", "source"]
NAMES = dict(zip(("pad_token", "bos_token", "eos_token", "mask_token", "unk_token"), SPECIALS, strict=True))
TEMPLATES: dict[Template, str] = {
    "source-bos": f"$A {SPECIALS[BOS]}",
    "bos-text": f"{SPECIALS[BOS]} $A",
    "source": "$A",
}


def to_library_tokenizer(tokenizer: Tokenizer, template: Template = "source") -> Any:
    """A ``tokenizers.Tokenizer`` that encodes text (of up to ``PIECE`` characters a piece) to the ids of ``tokenizer``.

    ``template`` is where BOS is put when special tokens are added. Special tokens and labels never come out of text as
    long as ``encode_special_tokens`` stays true, which the library does not save: `to_transformers_tokenizer` does.
    """
    from tokenizers import Tokenizer as LibraryTokenizer
    from tokenizers import decoders, processors

    model, pre_tokenizer = _PARTS[tokenizer.kind](tokenizer)
    library = LibraryTokenizer(model)
    library.pre_tokenizer = pre_tokenizer
    library.decoder = decoders.Sequence([decoders.Replace(_pattern(rf"\A{LABEL}"), ""), decoders.ByteLevel()])
    if template != "source":
        library.post_processor = processors.TemplateProcessing(
            single=TEMPLATES[template], special_tokens=[(SPECIALS[BOS], BOS)]
        )
    library.add_special_tokens(list(SPECIALS))
    library.encode_special_tokens = True
    return library


def to_transformers_tokenizer(
    tokenizer: Tokenizer,
    template: Template,
    length: int,
    padding: Literal["left", "right"],
    cut: Literal["left", "right"],
) -> Any:
    """A ``PreTrainedTokenizerFast`` that reads ``length`` tokens; ``padding`` and ``cut`` are sides of a text."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=to_library_tokenizer(tokenizer, template),
        **NAMES,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=length,
        padding_side=padding,
        truncation_side=cut,
    )


def _byte_pairs(tokenizer: Tokenizer) -> tuple[Any, Any]:
    from tokenizers import models, pre_tokenizers

    state = json.loads(tokenizer.to_json())["state"]
    tokens = sorted(state["vocab"], key=state["vocab"].__getitem__)
    merges = [tuple(merge) for merge in state["merges"]]
    return models.BPE(vocab=_numbered(tokenizer, tokens), merges=merges), pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=True
    )


def _bytes(tokenizer: Tokenizer) -> tuple[Any, Any]:
    from tokenizers import models, pre_tokenizers

    model = models.BPE(vocab=_numbered(tokenizer, list(byte_spelling())), merges=[])
    return model, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _looked_up(pattern: Callable[[], str]) -> Callable[[Tokenizer], tuple[Any, Any]]:
    """Tokens are the matches of ``pattern``, looked up in a list."""

    def parts(tokenizer: Tokenizer) -> tuple[Any, Any]:
        from tokenizers import models, pre_tokenizers

        tokens = [_spelled(token) for token in json.loads(tokenizer.to_json())["state"]]
        split = pre_tokenizers.Split(_pattern(pattern()), "isolated")
        spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        model = models.WordLevel(_numbered(tokenizer, tokens), SPECIALS[UNK])
        return model, pre_tokenizers.Sequence([split, spell])

    return parts


@cache
def _word_pattern() -> str:
    r"""`` ?\w[\w marks]*| ?[^\w\s]|\s`` as Python reads it: the classes of the library's regular expressions differ."""
    word, space = _ranges(lambda character: character.isalnum() or character == "_"), _ranges(str.isspace)
    return f" ?[{word}][{word}{MARKS}]*| ?[^{word}{space}]|[{space}]"


def _ranges(belongs: Callable[[str], bool]) -> str:
    """The code points of a class as ranges for a regular expression."""
    codes = (code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and belongs(chr(code)))
    runs = (list(run) for _, run in groupby(enumerate(codes), lambda pair: pair[1] - pair[0]))
    return "".join(rf"\x{{{run[0][1]:X}}}-\x{{{run[-1][1]:X}}}" for run in runs)


def _numbered(tokenizer: Tokenizer, tokens: list[str]) -> dict[str, int]:
    """Every token with its id: special tokens, labels, text."""
    labels = [LABEL + _spelled(label) for label in tokenizer.labels]
    every = [*SPECIALS, *labels, *tokens]
    numbered = {token: number for number, token in enumerate(every)}
    assert len(numbered) == tokenizer.vocabulary, "two tokens are spelled alike"
    return numbered


def _spelled(text: str) -> str:
    spelling = byte_spelling()
    return "".join(spelling[byte] for byte in text.encode())


def _pattern(text: str) -> Any:
    from tokenizers import Regex

    return Regex(text)


_PARTS: dict[str, Callable[[Tokenizer], tuple[Any, Any]]] = {
    "bpe": _byte_pairs,
    "byte": _bytes,
    "char": _looked_up(lambda: r"(?m:.)"),
    "word": _looked_up(_word_pattern),
}
