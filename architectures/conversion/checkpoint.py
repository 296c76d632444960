"""Checkpoints of ``transformers`` in a local folder, as architectures that have their weights already.

A checkpoint keeps its own tokenizer. Its tokens are renumbered as everywhere here, special tokens and labels first, and
the rows of its token table and output matrix with them:

    <pad> <bos> <end> <mask> <unk>     the rows of its own tokens for these: what starts and ends its texts
    a label                            that of its own token, where archbench trained and exported the checkpoint; else
                                       the mean of the rows of its name's tokens, so that its logit is their mean logit
    text                               the rows of its vocabulary, in its order

Sources stand between the special tokens that its tokenizer puts around a text: see ``conversion.framing``.
Nothing is unpickled: weights are read from safetensors files.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.positions import Learned
from archbench.architectures.conversion.convert import SHAPES, from_transformers
from archbench.architectures.conversion.framing import Framed
from archbench.architectures.conversion.quiet import quiet
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import ExternalCheckpoint, Variant
from archbench.architectures.formats.shape import Shape
from archbench.tasks.base.errors import InputError, irregular
from archbench.tasks.base.example import LABEL, SPECIALS

TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
LOCAL = {"local_files_only": True, "trust_remote_code": False}  # else transformers asks, and runs the folder's code


@dataclass(frozen=True)
class _Folder:
    """A checkpoint that was opened: its configuration, its shape, its tokenizer of ``transformers``."""

    path: Path
    config: Any
    shape: Shape
    tokenizer: Any

    @property
    def fills_in(self) -> bool:
        """True if the model of this checkpoint fills in masks."""
        return self.shape.model.endswith("MaskedLM")


def variant(path: Path) -> Variant:
    """The checkpoint in the folder ``path``; raises ``InputError`` where it cannot be used, saying why."""
    folder = _opened(path)
    ours = _described(folder)
    text = json.dumps({"checkpoint": folder.shape.model, "files": _digests(path)}, sort_keys=True)
    return Variant(
        name=f"./{path.resolve().name}",
        path=str(path),
        is_builtin=False,
        family=ours.family,
        document=f"{folder.shape.model} checkpoint, scored without training",
        text=text,
        build=lambda size, limits: _built(folder, limits, ()),
        checkpoint=ExternalCheckpoint(
            size=_size(ours),
            tokenizer=folder.tokenizer.backend_tokenizer.to_str(),
            length=_length(folder, ours),
            build=lambda limits, labels: _built(folder, limits, labels),
            blank=lambda limits: _blank(folder, limits),
            special=_special_rows(folder),
        ),
    )


def _check_header(file: Path) -> None:
    """Raises what ``safetensors`` raises where the file is not whole."""
    with safe_open(file, "pt") as opened:
        opened.keys()


def _described(folder: _Folder) -> Any:
    """Our model of the configuration, without memory for weights."""
    try:
        with torch.device("meta"):
            return folder.shape.build(folder.config, False)
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{folder.path}/config.json: {reason}") from error


def _opened(path: Path) -> _Folder:
    _check_files(path)
    import transformers

    config = _read(path, "config.json", lambda: transformers.AutoConfig.from_pretrained(path, **LOCAL))
    shape = next((shape for shape in SHAPES if shape.name == config.model_type), None)
    if shape is None:
        known = ", ".join(shape.name for shape in SHAPES)
        raise InputError(f"{path}/config.json: the model_type {config.model_type!r} is not supported (known: {known})")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        raise InputError(f"{path}: there are no weights in the safetensors format{_pickled(path, shape)}")
    for file in weights:
        _read(path, file.name, partial(_check_header, file))
    if not any((path / name).is_file() for name in TOKENIZERS):
        raise InputError(f"{path}: there is no tokenizer in it ({', '.join(TOKENIZERS)}); save the model's own there")
    read = _read(path, "the tokenizer", lambda: transformers.AutoTokenizer.from_pretrained(path, **LOCAL))
    if getattr(read, "backend_tokenizer", None) is None:
        raise InputError(f"{path}: a {type(read).__name__} is not supported; give the folder a tokenizer.json")
    return _Folder(path, config, shape, read)


def _check_files(path: Path) -> None:
    """Raises ``InputError`` where there is no folder with a configuration of a model of ``transformers``."""
    hint = "" if path.exists() else '; write the name of a model of the hub as "hub:owner/name"'
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise InputError(
            f"architectures: {path} {what}; expected a checkpoint's folder (or, in architectures, a .py file){hint}"
        )
    for file in _deciding(path):
        if unreadable := irregular(file):
            raise InputError(f"{file}: {unreadable}")
    if not (path / "config.json").is_file():
        raise InputError(
            f"architectures: {path} has no checkpoint of transformers: there is no config.json in it; save a model of "
            "transformers there with its tokenizer"
        )
    if _kind(path) == "archbench":
        raise InputError(
            f"{path}: is an export of a model that only archbench has; name its architecture instead, or its run to "
            "archbench predict"
        )


def _kind(path: Path) -> object:
    """The ``model_type`` that config.json names, if it can be read."""
    try:
        return dict(json.loads((path / "config.json").read_bytes())).get("model_type")
    except (ValueError, TypeError):
        return None


def _pickled(path: Path, shape: Shape) -> str:
    """Words for what to do about weights in another format."""
    if not any(path.glob("*.bin")):
        return " in it"
    return (
        f"; write them with transformers.{shape.model}.from_pretrained({str(path)!r}).save_pretrained({str(path)!r}) "
        "if you trust the ones that are there"
    )


def _read(path: Path, what: str, read: Callable[[], Any]) -> Any:
    """Result of ``read`` with ``transformers`` kept quiet; raises ``InputError`` with one line for any error."""
    try:
        with quiet():
            return read()
    except (Exception, SystemExit) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        if "mismatched" in reason:
            reason = "tensors of other shapes than config.json says"
        raise InputError(f"{path}: {what} cannot be read: {type(error).__name__}: {reason}") from error


def _loaded(folder: _Folder) -> Any:
    """The model of ``transformers`` with its weights, all of them."""
    import transformers

    kind = getattr(transformers, folder.shape.model)
    model, report = _read(
        folder.path,
        "the weights",
        lambda: kind.from_pretrained(
            folder.path, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **LOCAL
        ),
    )
    missing = sorted(report["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder.path}: the weights of {missing[0]}{more} are missing; expected a {kind.__name__}")
    return model


def _built(folder: _Folder, limits: Limits, labels: Sequence[str]) -> Any:
    """Our model of the checkpoint, its tokens renumbered for a task with these labels."""
    model = from_transformers(_loaded(folder), canvas=limits.target_length)
    count = limits.vocabulary - len(SPECIALS) - len(labels)
    rows = _rows(folder, labels, count, model.embedding.weight.shape[0])
    renumber(model, lambda table: _gathered(table, rows))
    before, after = _frame(folder, len(SPECIALS) + len(labels))
    if folder.fills_in and after:
        after = after[:-1]  # the objective ends the source with <bos>, which is that token
    elif folder.fills_in:
        before = before[:-1]  # a tokenizer that puts nothing but this token around a text
    model.objective = Framed(model.objective, before, after, direct=model.family == "decoder")
    return model.eval()


def _blank(folder: _Folder, limits: Limits) -> Any:
    """The same without memory for its weights: to count."""
    with torch.device("meta"):
        model = folder.shape.build(folder.config, folder.config.tie_word_embeddings)
        renumber(model, lambda table: torch.empty(limits.vocabulary, *table.shape[1:]))
    if folder.fills_in:
        model.canvas = limits.target_length
    return model


def renumber(model: Any, changed: Callable[[Tensor], Tensor]) -> None:
    """Change the token table, and the output matrix and its bias as well; a tied matrix stays tied."""
    tied = model.head.weight is model.embedding.weight
    model.embedding.weight = nn.Parameter(changed(model.embedding.weight))
    model.head.weight = model.embedding.weight if tied else nn.Parameter(changed(model.head.weight))
    if model.head.bias is not None:
        model.head.bias = nn.Parameter(changed(model.head.bias))


def _frame(folder: _Folder, shift: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids, from ``shift`` on, of the tokens that the tokenizer puts before and behind a text."""
    tokenizer = folder.tokenizer
    bare, whole = (tokenizer.encode("a", add_special_tokens=special) for special in (False, True))
    begin = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    before, after = whole[:begin], whole[begin + len(bare) :]
    return tuple(token + shift for token in before), tuple(token + shift for token in after)


def _rows(folder: _Folder, labels: Sequence[str], count: int, size: int) -> list[list[int]]:
    """For each of our tokens the rows of the checkpoint that it is the mean of."""
    named = [[row] for row in _special_rows(folder)]
    label_rows = {
        folder.tokenizer.decode([row]).removeprefix(LABEL): row
        for token, row in folder.tokenizer.get_vocab().items()
        if token.startswith(LABEL)
    }
    spelled = [
        [label_rows[label]] if label in label_rows else folder.tokenizer.encode(f" {label}", add_special_tokens=False)
        for label in labels
    ]
    _check_labels(folder, labels, spelled)
    if count > size:
        raise InputError(f"{folder.path}: the tokenizer has {count:,} tokens, the model only {size:,}")
    return [*named, *spelled, *([row] for row in range(count))]


def _check_labels(folder: _Folder, labels: Sequence[str], spelled: list[list[int]]) -> None:
    """Raises ``InputError`` where the tokenizer cannot tell a label from nothing or from another label."""
    unknown = folder.tokenizer.unk_token_id
    seen: dict[tuple[int, ...], str] = {}
    for label, rows in zip(labels, spelled, strict=True):
        if not set(rows) - {unknown}:
            raise InputError(f"{folder.path}: its tokenizer does not know the label {label!r}; rename the label")
        other = seen.setdefault(tuple(sorted(rows)), label)
        if other != label:
            raise InputError(
                f"{folder.path}: its tokenizer spells the labels {other!r} and {label!r} alike; rename one"
            )


def _special_rows(folder: _Folder) -> tuple[int, ...]:
    """The checkpoint's rows for <pad>, <bos>, <end>, <mask>, <unk>; where it has none, those of what ends a text."""
    tokenizer, config = folder.tokenizer, folder.config
    end = _first(tokenizer.eos_token_id, tokenizer.sep_token_id, getattr(config, "eos_token_id", None), 0)
    start = getattr(config, "decoder_start_token_id", None) if config.is_encoder_decoder else tokenizer.bos_token_id
    if folder.fills_in:
        before, after = _frame(folder, 0)
        start = (after or before or (end,))[-1]
    return (
        _first(tokenizer.pad_token_id, end),
        _first(start, end),
        end,
        _first(tokenizer.mask_token_id, end),
        _first(tokenizer.unk_token_id, end),
    )


def _first(*ids: Any) -> int:
    """The first id that is one; of a list, its first."""
    first = next(token for token in ids if token is not None)
    return int(first[0] if isinstance(first, list) else first)


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
    shared = model.family == "decoder" or (folder.fills_in and len(before + after) > 0)  # BOS is in it, or nowhere
    return model.positions.weight.shape[0] - len(before) - len(after) + int(shared)


def _deciding(path: Path) -> list[Path]:
    """The files in the checkpoint's folder that decide what it computes."""
    return sorted(file for pattern in ("*.json", "*.safetensors", "*.txt", "*.model") for file in path.glob(pattern))


def _digests(path: Path) -> dict[str, str]:
    """SHA-256 of every file that decides what the checkpoint computes."""
    states = [(file, file.stat()) for file in _deciding(path)]
    return {file.name: _digest(file, state.st_size, state.st_mtime_ns) for file, state in states}


@functools.cache
def _digest(file: Path, size: int, changed: int) -> str:
    """SHA-256 of a file, read once as long as its size and time of change stay."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
