"""Parts of a tokenizer: text is cut into pieces, and coders number the tokens of a piece."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import LABEL, Tokens

PIECE = 1 << 16  # characters that are encoded at a time
MARKS = "\u0300-\u036f"  # combining marks, as on "ɔ̃", belong to their letter
_WORD = re.compile(rf" ?\w[\w{MARKS}]*| ?[^\w\s]|\s")
_SEAM = re.compile(r"(?<=\S)[ \n](?=\S)")


class Coder(Protocol):
    """A kind of tokenizer without special tokens and labels: its ids count from 0, and an unknown token is -1."""

    @property
    def table(self) -> Sequence[bytes]:
        """The UTF-8 bytes of every token."""
        ...

    def encode(self, texts: Sequence[str]) -> list[Tokens]: ...

    def bytes_per_token(self, text: str, ids: Tokens) -> NDArray[np.int64]:
        """UTF-8 bytes of ``text`` that each of its tokens stands for; they sum to the bytes of ``text``."""
        ...

    def decode(self, ids: Sequence[int]) -> bytes:
        """The UTF-8 bytes of tokens."""
        ...

    def state(self) -> Any:
        """Plain JSON values from which the coder can be rebuilt."""
        ...


class _Spelled:
    """Tokens that each stand for their own bytes."""

    table: Sequence[bytes]

    def decode(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.table[index] for index in ids)


class Bytes(_Spelled):
    """UTF-8 bytes."""

    table = tuple(bytes([value]) for value in range(256))

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]

    def bytes_per_token(self, text: str, ids: Tokens) -> NDArray[np.int64]:
        return np.ones(len(ids), np.int64)

    def state(self) -> None:
        return None


class Characters(_Spelled):
    """The Unicode code points in ``characters``; others are unknown."""

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self.table = [character.encode() for character in characters]
        self._ids = np.full(0x110000, -1, np.int32)
        self._ids[code_points(characters)] = np.arange(len(characters), dtype=np.int32)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        return [self._ids[code_points(text)] for text in texts]

    def bytes_per_token(self, text: str, ids: Tokens) -> NDArray[np.int64]:
        codes = code_points(text)
        return 1 + (codes > 0x7F).astype(np.int64) + (codes > 0x7FF) + (codes > 0xFFFF)

    def state(self) -> str:
        return self.characters


class Words(_Spelled):
    """The tokens in ``words``: words with the space before them, single punctuation marks, other white space."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.table = [word.encode() for word in self.words]
        self._ids = {word: index for index, word in enumerate(self.words)}

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        find = self._ids.get
        return [np.array([find(word, -1) for word in _WORD.findall(text)], np.int32) for text in texts]

    def bytes_per_token(self, text: str, ids: Tokens) -> NDArray[np.int64]:
        return np.array([len(word.encode()) for word in _WORD.findall(text)], np.int64)

    def state(self) -> list[str]:
        return self.words


class LibraryCoder:
    """A pretrained model's own tokenizer, of the ``tokenizers`` library, from its JSON.

    ``special`` are the ids of tokens that stand for no text: text that spells one is unknown, like all text that the
    tokenizer does not know. The decoded text may differ from the encoded one (an uncased tokenizer forgets capitals).
    """

    def __init__(self, serialized: str) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer as LibraryTokenizer

        self.serialized = serialized
        self._library = LibraryTokenizer.from_str(serialized)
        self._library.encode_special_tokens = True  # the text "<s>" is three characters
        self._library.no_padding()
        self._library.no_truncation()
        saved = json.loads(serialized)
        self.unknown = _unknown(saved["model"], self._library)
        vocabulary = self._library.get_vocab(with_added_tokens=True)
        marked = {token["id"] for token in saved["added_tokens"] if token["special"]}
        self.special = frozenset(marked | {index for token, index in vocabulary.items() if token.startswith(LABEL)})
        self.table = [b""] * (max(vocabulary.values()) + 1)  # only its length counts: tokens are decoded together

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        encoded = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._known(np.array(encoding.ids, np.int32)) for encoding in encoded]

    def bytes_per_token(self, text: str, ids: Tokens) -> NDArray[np.int64]:
        """From the end of the previous token to its own end, for the last token to the end of the text."""
        before = np.concatenate([[0], np.cumsum([len(character.encode()) for character in text])])
        ends = [end for _, end in self._library.encode(text, add_special_tokens=False).offsets]
        byte_ends = before[np.maximum.accumulate(np.array(ends, np.int64))] if ends else np.zeros(0, np.int64)
        byte_ends[-1:] = before[-1]
        return np.diff(byte_ends, prepend=0).astype(np.int64)

    def decode(self, ids: Sequence[int]) -> bytes:
        text: str = self._library.decode(list(ids), skip_special_tokens=True)
        return text.encode()

    def state(self) -> str:
        return self.serialized

    def _known(self, ids: Tokens) -> Tokens:
        reserved = [*self.special] if self.unknown is None else [*self.special, self.unknown]
        return np.where(np.isin(ids, reserved), -1, ids).astype(np.int32)


class BytePairs(_Spelled):
    """Byte-level BPE of the ``tokenizers`` library, built from the JSON of its model."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model
        spelling = {character: bytes([value]) for value, character in enumerate(byte_spelling())}
        tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
        self.table = [b"".join(spelling[character] for character in token) for token in tokens]
        self._lengths = np.array([len(token) for token in self.table], np.int64)
        self._library = _library_bpe(model)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        encoded = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in encoded]

    def bytes_per_token(self, text: str, ids: Tokens) -> NDArray[np.int64]:
        return self._lengths[ids]

    def state(self) -> dict[str, Any]:
        return self.model


def _unknown(model: dict[str, Any], library: Any) -> int | None:
    """The id that a tokenizer of the library gives to unknown text, if it has one."""
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    unknown = library.token_to_id(model["unk_token"]) if model.get("unk_token") else None
    return None if unknown is None else int(unknown)


def code_points(text: str) -> NDArray[np.uint32]:
    """The Unicode code points of a text, (t,)."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def pieces(chunks: Iterable[str]) -> Iterator[str]:
    """Running text in pieces of at most ``PIECE`` characters, the same however the text comes in chunks.

    A piece ends before a single space or line break between two other characters. No token of archbench's tokenizers
    reaches across such a place, so that encoding piece by piece changes nothing; a pretrained model's tokenizer may
    begin each piece with an extra token. Text is cut elsewhere only where ``PIECE`` characters have no such place.
    """
    held = ""
    for chunk in chunks:
        held += valid(chunk)
        start = 0
        while len(held) - start > PIECE:
            cut = _seam(held, start)
            yield held[start:cut]
            start = cut
        held = held[start:]
    if held:
        yield held


def valid(text: str) -> str:
    """The text with "?" for each lone surrogate, which UTF-8 cannot express."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _seam(held: str, start: int) -> int:
    """Where the piece that begins at ``start`` ends: the last seam of its ``PIECE`` characters."""
    width = 256
    while width < PIECE:
        last = [match.start() for match in _SEAM.finditer(held, start + PIECE - width, start + PIECE)]
        if last:
            return last[-1]
        width *= 4
    inside = [match.start() for match in _SEAM.finditer(held, start + 1, start + PIECE)]
    return inside[-1] if inside else start + PIECE


def alphabet(texts: Iterable[str]) -> str:
    """Every character of the texts, by code point."""
    seen = np.zeros(0x110000, np.bool_)
    for text in texts:
        seen[code_points(valid(text))] = True
    return "".join(chr(code) for code in np.flatnonzero(seen))


def frequent_words(texts: Iterable[str], room: int) -> list[str]:
    """The ``room`` most frequent words, ties in alphabetical order."""
    counts: Counter[str] = Counter()
    for piece in (piece for text in texts for piece in pieces([text])):
        counts.update(_WORD.findall(piece))
    return sorted(counts, key=lambda word: (-counts[word], word))[:room]


def trained_merges(texts: Iterable[str], room: int) -> dict[str, Any]:
    """The JSON of a BPE model with at most ``room`` tokens, all 256 bytes among them."""
    from tokenizers.trainers import BpeTrainer

    library = _library_bpe({"vocab": {}, "merges": []})
    trainer = BpeTrainer(vocab_size=room, initial_alphabet=sorted(byte_spelling()), show_progress=False)
    library.train_from_iterator((piece for text in texts for piece in pieces([text])), trainer)
    model = json.loads(library.to_str())["model"]
    return {"vocab": model["vocab"], "merges": model["merges"]}


def _library_bpe(model: dict[str, Any]) -> Any:
    """A tokenizer of the library without normaliser or special tokens; on one thread, which survives a fork."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer as LibraryTokenizer
    from tokenizers import models, pre_tokenizers

    merges = [tuple(merge) for merge in model["merges"]]
    library = LibraryTokenizer(models.BPE(vocab=model["vocab"], merges=merges))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return library


def byte_spelling() -> str:
    """The printable character by which byte-level BPE spells each byte: itself, or one from 256 on (GPT-2)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return "".join(chr(value if value in printable else next(others)) for value in range(256))
