"""Checkpoints of ``transformers`` in a local folder, as architectures that have their weights already.

A checkpoint keeps its own tokenizer. Its tokens are renumbered as everywhere here, special tokens and labels first, and
the rows of its token table and output matrix with them:

    <pad> <bos> <end> <mask> <unk>     the rows of its own tokens for these: what starts and ends its texts
    a label                            that of its own token, where archbench trained and exported the checkpoint; else
                                       the mean of the rows of its name's tokens, so that its logit is their mean logit
    text                               the rows of its vocabulary, in its order

Sources stand between the special tokens that its tokenizer puts around a text: see ``architectures.interop.framing``.
Nothing is unpickled: weights are read from safetensors files.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from architectures.catalogue import Pretrained, Variant
from architectures.interop.convert import SHAPES, from_transformers
from architectures.interop.framing import Framed
from architectures.interop.shape import Shape
from architectures.positions import Learned
from architectures.size import Limits, Size
from tasks.errors import InputError
from tasks.example import LABEL, SPECIALS


@dataclass(frozen=True)
class _Folder:
    """A checkpoint that was opened: its configuration, its shape, its tokenizer of ``transformers``."""

    path: Path
    config: Any
    shape: Shape
    tokenizer: Any

    @property
    def fills_in(self) -> bool:
        """Whether its model fills in masks."""
        return self.shape.model.endswith("MaskedLM")


def variant(path: Path) -> Variant:
    """The checkpoint in the folder ``path``; raises ``InputError`` where it cannot be used, saying why."""
    folder = _opened(path)
    with torch.device("meta"):
        ours = folder.shape.build(folder.config, False)
    text = json.dumps({"checkpoint": folder.shape.model, "files": _digests(path)}, sort_keys=True)
    return Variant(
        name=path.resolve().name,
        path=str(path),
        own=False,
        family=ours.family,
        document=f"{folder.shape.model} checkpoint, scored as it is",
        text=text,
        build=lambda size, limits: _built(folder, limits, ()),
        pretrained=Pretrained(
            size=_size(ours),
            tokenizer=folder.tokenizer.backend_tokenizer.to_str(),
            length=_length(folder, ours),
            build=lambda limits, labels: _built(folder, limits, labels),
        ),
    )


def _opened(path: Path) -> _Folder:
    if not (path / "config.json").is_file():
        raise InputError(f"architectures: {path} holds no checkpoint of transformers: there is no config.json in it")
    import transformers

    config = _read(path, "config.json", lambda: transformers.AutoConfig.from_pretrained(path, local_files_only=True))
    shape = next((shape for shape in SHAPES if shape.name == config.model_type), None)
    if shape is None:
        known = ", ".join(shape.name for shape in SHAPES)
        raise InputError(f"{path}/config.json: the model_type {config.model_type!r} is not supported (known: {known})")
    if not any(path.glob("*.safetensors")):
        raise InputError(
            f"{path}: there are no weights in the safetensors format; write them with "
            f"transformers.{shape.model}.from_pretrained({str(path)!r}).save_pretrained({str(path)!r})"
        )
    read = _read(path, "the tokenizer", lambda: transformers.AutoTokenizer.from_pretrained(path, local_files_only=True))
    if getattr(read, "backend_tokenizer", None) is None:
        raise InputError(f"{path}: a {type(read).__name__} is not supported; give the folder a tokenizer.json")
    return _Folder(path, config, shape, read)


def _read(path: Path, what: str, read: Callable[[], Any]) -> Any:
    """What ``transformers`` reads, quietly; whatever it says against the folder is one line."""
    try:
        with _quiet():
            return read()
    except (Exception, SystemExit) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(f"{path}: {what} cannot be read: {type(error).__name__}: {reason}") from error


def _loaded(folder: _Folder) -> Any:
    """The model of ``transformers`` with its weights, all of them."""
    import transformers

    kind = getattr(transformers, folder.shape.model)
    model, report = _read(
        folder.path,
        "the weights",
        lambda: kind.from_pretrained(
            folder.path, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        ),
    )
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder.path}: the weights of {missing[0]}{more} are missing; expected a {kind.__name__}")
    return model


@contextlib.contextmanager
def _quiet() -> Any:
    """Loading without bars and reports on the terminal."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _built(folder: _Folder, limits: Limits, labels: Sequence[str]) -> Any:
    """Our model of the checkpoint, its tokens renumbered for a task with these labels."""
    model = from_transformers(_loaded(folder), canvas=limits.target_length)
    count = limits.vocabulary - len(SPECIALS) - len(labels)
    rows = _rows(folder, labels, count, model.embedding.weight.shape[0])
    tied = model.head.weight is model.embedding.weight
    model.embedding.weight = nn.Parameter(_gathered(model.embedding.weight, rows))
    model.head.weight = model.embedding.weight if tied else nn.Parameter(_gathered(model.head.weight, rows))
    if model.head.bias is not None:
        model.head.bias = nn.Parameter(_gathered(model.head.bias, rows))
    before, after = _frame(folder, len(SPECIALS) + len(labels))
    if folder.fills_in:
        after = after[:-1]  # the objective ends the source with <bos>, which is that token
    model.objective = Framed(model.objective, before, after, direct=model.family == "decoder")
    return model.eval()


def _frame(folder: _Folder, shift: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the tokenizer puts before and behind a text, as ids from ``shift`` on."""
    tokenizer = folder.tokenizer
    bare, whole = (tokenizer.encode("a", add_special_tokens=special) for special in (False, True))
    begin = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    before, after = whole[:begin], whole[begin + len(bare) :]
    return tuple(token + shift for token in before), tuple(token + shift for token in after)


def _rows(folder: _Folder, labels: Sequence[str], count: int, there: int) -> list[list[int]]:
    """For each of our tokens the rows of the checkpoint that it is the mean of."""
    named = [[row] for row in _special_rows(folder)]
    own = {folder.tokenizer.decode([row]): row for token, row in folder.tokenizer.get_vocab().items()
           if token.startswith(LABEL)}  # fmt: skip
    spelled = [
        [own[label]] if label in own else folder.tokenizer.encode(f" {label}", add_special_tokens=False)
        for label in labels
    ]
    empty = [label for label, rows in zip(labels, spelled, strict=True) if not rows]
    if empty:
        raise InputError(f"{folder.path}: its tokenizer has no token for the label {empty[0]!r}")
    if count > there:
        raise InputError(f"{folder.path}: the tokenizer has {count:,} tokens, the model only {there:,}")
    return [*named, *spelled, *([row] for row in range(count))]


def _special_rows(folder: _Folder) -> list[int]:
    """The checkpoint's rows for <pad>, <bos>, <end>, <mask>, <unk>; where it has none, those of what ends a text."""
    tokenizer, config = folder.tokenizer, folder.config
    end = _first(tokenizer.eos_token_id, tokenizer.sep_token_id, getattr(config, "eos_token_id", None), 0)
    start = getattr(config, "decoder_start_token_id", None) if config.is_encoder_decoder else tokenizer.bos_token_id
    if folder.fills_in:
        start = (_frame(folder, 0)[1] or (end,))[-1]
    return [
        _first(tokenizer.pad_token_id, end),
        _first(start, end),
        end,
        _first(tokenizer.mask_token_id, end),
        _first(tokenizer.unk_token_id, end),
    ]


def _first(*ids: Any) -> int:
    """The first id that is one; of a list, its first."""
    found = next(token for token in ids if token is not None)
    return int(found[0] if isinstance(found, list) else found)


@torch.no_grad()
def _gathered(table: Tensor, rows: list[list[int]]) -> Tensor:
    """Means of rows of a table (v, d) or of a bias (v,)."""
    flat = torch.tensor([row for mean in rows for row in mean])
    starts = torch.tensor([0, *(len(mean) for mean in rows[:-1])]).cumsum(0)
    return F.embedding_bag(flat, table.view(len(table), -1), starts, mode="mean").view(len(rows), *table.shape[1:])


def _size(model: Any) -> Size:
    """The size, as far as a checkpoint has the same one in all its layers; of two stacks, the encoder's depth."""
    stack = model.stack if hasattr(model, "stack") else model.encoder
    block = stack.blocks[0]
    return Size(block.attention.dim, block.attention.heads, len(stack.blocks), block.feedforward.down.in_features)


def _length(folder: _Folder, model: Any) -> int | None:
    """Positions that exist for source, BOS and target, None where there is no bound."""
    if not isinstance(model.positions, Learned):
        return None
    before, after = _frame(folder, 0)
    shared = model.family == "decoder" or (folder.fills_in and len(after) > 0)  # BOS is in the frame, or not there
    return model.positions.weight.shape[0] - len(before) - len(after) + int(shared)


def _digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file that decides what the checkpoint computes."""
    files = sorted([*path.glob("*.json"), *path.glob("*.safetensors"), *path.glob("*.txt"), *path.glob("*.model")])
    digests = {}
    for file in files:
        with file.open("rb") as opened:
            digests[file.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    return digests
