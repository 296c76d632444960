"""Text to token ids and back: characters, bytes, words and byte-level byte pairs.

    ids     0..4                5..4+L    5+L..
    tokens  <pad> ... <unk>     labels    text

Special tokens and labels never come out of text: the text "<end>" is five ordinary characters. ``byte`` and ``bpe``
(byte-level BPE, 1508.07909, with GPT-2's splitting into words) give back any text exactly; ``char`` and ``word``
give UNK for characters and words that the training split lacks. A word includes the space before it, so known words
come back exactly too. ``pretrained`` is the tokenizer that a pretrained model came with.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import SPECIALS, UNK, Tokens
from archbench.tasks.base.kind import TOKENIZERS
from archbench.tasks.text.coders import (
    PIECE,
    BytePairs,
    Bytes,
    Characters,
    Coder,
    LibraryCoder,
    Words,
    alphabet,
    frequent_words,
    pieces,
    trained_merges,
    valid,
)


@final
class Tokenizer:
    """Special tokens, labels and the tokens of one coder under one numbering.

    ``vocabulary`` counts all ids. ``digest`` is the SHA-256 of `to_json`.
    """

    def __init__(self, kind: str, coder: Coder, labels: Sequence[str] = ()) -> None:
        self.kind = kind
        self.labels = tuple(labels)
        self._coder = coder
        self._shift = len(SPECIALS) + len(self.labels)
        self.vocabulary = self._shift + len(coder.table)

    @property
    def label_ids(self) -> range:
        return range(len(SPECIALS), self._shift)

    @property
    def text_ids(self) -> range:
        return range(self._shift, self.vocabulary)

    @property
    def writable(self) -> NDArray[np.bool_]:
        """True at the ids (v,) of text that an answer may use: UNK where unknown text exists, no special token."""
        allowed = np.zeros(self.vocabulary, np.bool_)
        allowed[self._shift :] = True
        allowed[UNK] = self.kind in ("char", "word")
        if isinstance(self._coder, LibraryCoder):
            allowed[[self._shift + index for index in self._coder.special]] = False
            allowed[UNK] = self._coder.unknown is not None
        return allowed

    @property
    def own_unknown(self) -> int | None:
        """The id that the own numbering of a pretrained tokenizer has for unknown text, if it has one."""
        return self._coder.unknown if isinstance(self._coder, LibraryCoder) else None

    def is_lossless(self, texts: Iterable[str]) -> bool:
        """True if decoding gives back the texts, except for white space at the ends.

        True for archbench's tokenizers (unknown tokens are counted elsewhere); a pretrained one may lack capitals.
        """
        if not isinstance(self._coder, LibraryCoder):
            return True
        whole = [text for text in texts if "\ufffd" not in text]  # a window cuts no character of these
        return all(
            UNK not in ids and self.decode(ids).strip() == text.strip()
            for text, ids in zip(whole, self.encode_batch(whole), strict=True)
        )

    def relabelled(self, labels: Sequence[str]) -> "Tokenizer":
        """The same tokens of text with other labels; the number of labels shifts the ids of text."""
        return Tokenizer(self.kind, self._coder, labels)

    def same_text(self, other: "Tokenizer") -> bool:
        """True if both have the same tokens of text in the same order; labels may differ."""
        return (self.kind, self._coder.state()) == (other.kind, other._coder.state())

    def label_id(self, label: str) -> int:
        """The id of a label, UNK for one that training never saw."""
        return self._label_ids.get(label, UNK)

    def encode(self, text: str) -> list[int]:
        return [int(token) for token in self.encode_array(text)]

    def encode_array(self, text: str) -> Tokens:
        """Token ids (t,) of a text of any length, encoded piece by piece."""
        parts = [self._numbered(part) for part in self._coder.encode(list(pieces([text])))]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids (t,) of each text; the same as encoding them one by one, faster."""
        if any(len(text) > PIECE for text in texts):
            return [self.encode_array(text) for text in texts]
        return [self._numbered(part) for part in self._coder.encode([valid(text) for text in texts])]

    def encode_stream(self, chunks: Iterable[str]) -> Iterator[tuple[str, Tokens, NDArray[np.int64]]]:
        """(text, ids, bytes per token) for consecutive pieces of running text, the same however it is cut into chunks.

        Bytes per token (t,) are the UTF-8 bytes of the text that each token stands for.
        """
        for text in pieces(chunks):
            ids = self._coder.encode([text])[0]
            yield text, self._numbered(ids), self._coder.bytes_per_token(text, ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids: special tokens are dropped, a label gives its text, a cut character gives U+FFFD."""
        parts = groupby((int(token) for token in ids if token >= len(SPECIALS)), key=lambda token: token >= self._shift)
        return b"".join(self._spelled(list(tokens), text) for text, tokens in parts).decode("utf-8", "replace")

    def to_json(self) -> str:
        state = {"kind": self.kind, "labels": self.labels, "state": self._coder.state()}
        return json.dumps(state, sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @cached_property
    def _label_ids(self) -> dict[str, int]:
        return dict(zip(self.labels, self.label_ids, strict=True))

    def _spelled(self, tokens: list[int], text: bool) -> bytes:
        if text:
            return self._coder.decode([token - self._shift for token in tokens])
        return "".join(self.labels[token - len(SPECIALS)] for token in tokens).encode()

    def _numbered(self, ids: Tokens) -> Tokens:
        return np.where(ids < 0, UNK, ids + self._shift).astype(np.int32)


def train_tokenizer(kind: str, texts: Iterable[str], vocabulary: int = 4096, labels: Sequence[str] = ()) -> Tokenizer:
    """A tokenizer fitted to ``texts``, deterministically.

    ``vocabulary`` bounds all ids of ``bpe`` and ``word``, special tokens and labels included; ``char`` takes every
    character of the texts, ``byte`` needs no fitting. `training_sample` bounds how much text ``bpe`` and ``word`` see.
    Raises InputError for an unknown kind or a vocabulary that is too small.
    """
    needed = {"byte": 0, "char": 0, "word": 1, "bpe": 256}
    if kind not in needed:
        raise InputError(f'tokenizer: unknown kind "{kind}"; give one of {", ".join(TOKENIZERS)}')
    reserved = len(SPECIALS) + len(labels)
    if needed[kind] and vocabulary < reserved + needed[kind]:
        raise InputError(
            f"vocabulary: {vocabulary} is too small for {kind}, which needs {reserved + needed[kind]} "
            f"({len(SPECIALS)} special tokens, {len(labels)} labels, {needed[kind]} for text); raise it or take char"
        )
    return Tokenizer(kind, _train(kind, texts, vocabulary - reserved), labels)


def load_tokenizer(text: str) -> Tokenizer:
    """The tokenizer that `Tokenizer.to_json` wrote."""
    saved = json.loads(text)
    return Tokenizer(saved["kind"], _coder(saved["kind"], saved["state"]), saved["labels"])


def from_library_json(serialized: str, labels: Sequence[str] = ()) -> Tokenizer:
    """A tokenizer of the ``tokenizers`` library, from its JSON, wrapped as one of archbench."""
    return Tokenizer("pretrained", LibraryCoder(serialized), labels)


def training_sample(texts: Iterable[str], size: int, limit: int = 20_000_000) -> Iterator[str]:
    """About ``limit`` of ``size`` characters or bytes of text: the same share of every text, from its beginning."""
    share = min(1.0, limit / max(1, size))
    for text in texts:
        yield text if share == 1.0 else text[: max(1, round(len(text) * share))]


def _train(kind: str, texts: Iterable[str], room: int) -> Coder:
    if kind == "byte":
        return Bytes()
    if kind == "char":
        return Characters(alphabet(texts))
    if kind == "word":
        return Words(frequent_words(texts, room))
    return BytePairs(trained_merges(texts, room))


def _coder(kind: str, state: Any) -> Coder:
    if kind == "byte":
        return Bytes()
    if kind == "char":
        return Characters(state)
    if kind == "pretrained":
        return LibraryCoder(state)
    return Words(state) if kind == "word" else BytePairs(state)
