"""Tokens of pairs and of running text, written piece by piece as arrays, and read back as splits.

A split ``train`` is the arrays ``train.tokens`` and ``train.text`` (UTF-8) and, for pairs, where each source and target
begins in them: ``train.offsets`` and ``train.text_offsets`` (2n + 1,); for running text ``train.widths``, the bytes of
text behind each token, which make byte counts exact even where a token cuts a character or stands for an unknown one.
For pairs, ``train.rows`` (n,) are the rows that they were read from.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.dataset import Table, Text
from archbench.tasks.base.example import END, UNK, Tokens
from archbench.tasks.text.arrays import ArrayWriter
from archbench.tasks.text.coders import valid
from archbench.tasks.text.splits import PairExamples, Windows
from archbench.tasks.text.tokenizers import Tokenizer

PARTS = ("tokens", "offsets", "text", "text_offsets", "rows")  # of pairs
_ROWS = 4096  # pairs that are encoded at a time


def read_pairs(arrays: Mapping[str, NDArray[Any]], split: str) -> PairExamples:
    """The pairs that `write_pairs` wrote."""
    return PairExamples(*(arrays[f"{split}.{name}"] for name in PARTS))


def read_windows(arrays: Mapping[str, NDArray[Any]], split: str, source_length: int, target_length: int) -> Windows:
    """The running text that `write_text` wrote, cut from its beginning."""
    tokens, bytes_per_token, text = (arrays[f"{split}.{name}"] for name in ("tokens", "widths", "text"))
    return Windows(tokens, bytes_per_token, text, source_length, target_length)


@dataclass(frozen=True)
class PairEncoding:
    """How pairs are encoded: limits in tokens (END counted), and whether targets are labels or text with END."""

    source_length: int
    target_length: int
    labels: bool


def write_pairs(
    writer: ArrayWriter, split: str, table: Table, tokenizer: Tokenizer, encoding: PairEncoding
) -> dict[str, int]:
    """Writes one split and returns counts.

    Sources beyond ``source_length`` tokens lose their end, examples with a target beyond ``target_length`` are left
    out; ``longest_target`` is the limit that would keep all.
    """
    notes: Counter[str] = Counter()
    lengths, sizes = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    for block in _blocks(table):
        sources, targets = _encoded(block, tokenizer, encoding)
        kept = [row for row, target in enumerate(targets) if len(target) <= encoding.target_length]
        tokens = list(chain.from_iterable((sources[row][: encoding.source_length], targets[row]) for row in kept))
        texts = [valid(text).encode() for row in kept for text in (block.sources[row], block.targets[row])]
        lengths.append(np.array([len(part) for part in tokens], np.int64))
        sizes.append(np.array([len(text) for text in texts], np.int64))
        writer.append(f"{split}.tokens", _joined(tokens).astype(token_type(tokenizer)))
        writer.append(f"{split}.text", np.frombuffer(b"".join(texts), np.uint8))
        writer.append(f"{split}.rows", np.array([block.rows[row] for row in kept], np.int64))
        notes["excluded_targets"] += len(targets) - len(kept)
        notes["truncated_sources"] += sum(len(sources[row]) > encoding.source_length for row in kept)
        notes["unseen_labels"] += sum(int(targets[row][0] == UNK) for row in kept) if encoding.labels else 0
        notes["unknown_tokens"] += sum(int((part == UNK).sum()) for part in tokens)
        notes["longest_target"] = max([notes["longest_target"], *(len(target) for target in targets)])
    writer.append(f"{split}.offsets", np.cumsum(np.concatenate(lengths)))
    writer.append(f"{split}.text_offsets", np.cumsum(np.concatenate(sizes)))
    notes["unknown_tokens"] -= notes["unseen_labels"]
    return dict(notes)


def write_text(writer: ArrayWriter, split: str, text: Text, tokenizer: Tokenizer) -> dict[str, int]:
    """Writes one split of running text, piece by piece, and returns counts."""
    notes: Counter[str] = Counter(tokens=0)
    byte_type = np.uint8 if tokenizer.kind in ("byte", "char") else np.uint32
    for piece, ids, bytes_per_token in chain([_NOTHING], tokenizer.encode_stream(text.chunks())):
        writer.append(f"{split}.tokens", ids.astype(token_type(tokenizer)))
        writer.append(f"{split}.widths", bytes_per_token.astype(byte_type))
        writer.append(f"{split}.text", np.frombuffer(piece.encode(), np.uint8))
        notes["tokens"] += len(ids)
        notes["unknown_tokens"] += int((ids == UNK).sum())
    return dict(notes)


def text_pieces(
    texts: Sequence[str], rows: Sequence[int], tokenizer: Tokenizer, source_length: int, target_length: int
) -> PairExamples:
    """Whole texts as examples without END; ``rows`` are those that they were read from.

    A text longer than a target goes on in further pieces. As in windows of running text, the tokens before a piece are
    its source, and a target leaves room for END where there are sources.

    source_length 3, target_length 4    "abcdefgh"  ->  "" "abc", "abc" "def", "def" "gh"
    """
    stride = target_length - (source_length > 0)
    tokens, raw, piece_rows = list[Tokens](), list[bytes](), list[int]()
    for text, row in zip(texts, rows, strict=True):
        ids, ends = _with_byte_ends(text, tokenizer)
        for start in range(0, max(1, len(ids)), stride):
            cuts = max(0, start - source_length), start, min(start + stride, len(ids))
            tokens += [ids[begin:end] for begin, end in pairwise(cuts)]
            raw += [valid(text).encode()[ends[begin] : ends[end]] for begin, end in pairwise(cuts)]
            piece_rows.append(row)
    offsets, text_offsets = (np.cumsum([0, *map(len, parts)]) for parts in (tokens, raw))
    kept = np.frombuffer(b"".join(raw), np.uint8)
    return PairExamples(_joined(tokens), offsets, kept, text_offsets, np.array(piece_rows, np.int64))


def _with_byte_ends(text: str, tokenizer: Tokenizer) -> tuple[Tokens, NDArray[np.int64]]:
    """The tokens (t,) of a text, and how many of its bytes come before each of them and after the last, (t + 1,)."""
    parts = list(tokenizer.encode_stream([text]))
    sizes = np.concatenate([np.zeros(1, np.int64), *(widths for _, _, widths in parts)])
    return _joined([ids for _, ids, _ in parts]), np.cumsum(sizes)


def token_type(tokenizer: Tokenizer) -> type[np.uint16] | type[np.int32]:
    """The narrowest type that holds every id."""
    return np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.int32


_NOTHING = ("", np.zeros(0, np.int32), np.zeros(0, np.int64))


def _blocks(table: Table) -> Iterator[Table]:
    """The table in slices of ``_ROWS`` rows; an empty table is one empty slice."""
    for start in range(0, max(1, len(table)), _ROWS):
        yield table.take(range(start, min(start + _ROWS, len(table))))


def _encoded(block: Table, tokenizer: Tokenizer, encoding: PairEncoding) -> tuple[list[Tokens], list[Tokens]]:
    sources = tokenizer.encode_batch(block.sources)
    if encoding.labels:
        return sources, [np.array([tokenizer.label_id(label)], np.int32) for label in block.targets]
    end = np.array([END], np.int32)
    return sources, [np.concatenate([target, end]) for target in tokenizer.encode_batch(block.targets)]


def _joined(parts: Sequence[Tokens]) -> Tokens:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)
