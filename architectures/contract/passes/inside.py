"""Hooks into a model made of the shared parts, and the check of cross-attention that uses them."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.embedding import Embedding
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.positions import Geometry
from archbench.architectures.components.stack import Block, Stack
from archbench.architectures.contract.passes.conditional import from_cache, in_one_pass
from archbench.architectures.contract.subject import Subject, require, sequences

INFLUENCE = 1e-6  # logits that move by less did not read a token


@torch.no_grad()
def cross_attention_reads_the_source(case: Subject) -> str | None:
    """In cross-attention every target position reads every source token of its row, and no padding or other row.

    Cross-attention uses the source's mask, not the target's: it is not causal, and `present` is False at the source's
    padding (`CrossAttentionCache(..., AttentionContext(..., present=...))`).
    """
    if not crossing(case.model):
        two = case.model.family == "encoder-decoder"
        return "its blocks are not the shared ones" if two else "it has no cross-attention"
    source, target = sequences(2, 4), sequences(2, 5, seed=1)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    if memory_lengths(case.model, lambda: in_one_pass(case, source, target, mask)) - {source.shape[1]}:
        return "its memory is longer or shorter than its source"
    for what, logits in (("in one pass", in_one_pass), ("from a cache", from_cache)):
        before = logits(case, source, target, mask)
        for row, key in ((0, 0), (0, 3), (1, 2), (1, 3)):
            with changed_memory(case.model, row, key):
                moved = (logits(case, source, target, mask) - before).abs().amax(-1) > INFLUENCE
            require(not moved[1 - row].any(), f"{what}, row {1 - row} reads the source of row {row}")
            if mask[row, key]:
                deaf = (~moved[row]).nonzero().flatten().tolist()
                require(not deaf, f"{what}, target positions {deaf} do not read source token {key} of their row")
            else:
                require(not moved[row].any(), f"{what}, cross-attention reads padding of the source")
    return None


def crossing(model: nn.Module) -> list[Block]:
    """The blocks with cross-attention to the whole source."""
    blocks = (module for module in model.modules() if isinstance(module, Block))
    return [block for block in blocks if block.cross is not None and block.cross.window is None]


def memory_lengths(model: nn.Module, run: Callable[[], object]) -> set[int]:
    """How many keys of a memory cross-attention reads during ``run``, in any block."""
    lengths: set[int] = set()

    def note(block: nn.Module, inputs: tuple[Any, ...]) -> None:
        memory = inputs[3] if len(inputs) > 3 else None
        if isinstance(memory, KeyValues | Tensor):
            lengths.add(memory.shape[1] if isinstance(memory, Tensor) else memory.values.shape[2])

    with contextlib.ExitStack() as hooks:
        for block in crossing(model):
            hooks.callback(block.register_forward_pre_hook(note).remove)
        run()
    return lengths


@contextlib.contextmanager
def changed_memory(model: nn.Module, row: int, key: int) -> Iterator[None]:
    """Within this context, cross-attention reads other values at one source token of one row, in every block."""

    def change(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        memory = inputs[3] if len(inputs) > 3 else None
        if isinstance(memory, Tensor):
            memory = block.cross.project_keys_values(memory)  # type: ignore[union-attr,operator]
        if not isinstance(memory, KeyValues):
            return inputs
        values = memory.values.clone()
        values[row, :, key] += 1.0
        other = KeyValues(memory.keys, values)
        return (*inputs[:3], other if memory.buffer is None else other.buffered(), *inputs[4:])

    with contextlib.ExitStack() as hooks:
        for block in crossing(model):
            hooks.callback(block.register_forward_pre_hook(change).remove)
        yield


def embedded(model: nn.Module, run: Callable[[], object]) -> list[tuple[Tensor, Tensor]]:
    """The expected input of each stack, made from its parts, and its actual input (b, n, d), during ``run``."""
    pairs: list[tuple[Tensor, Tensor]] = []
    last: dict[str, Any] = {}

    def places(module: nn.Module, inputs: object, geometry: object) -> None:
        last["added"] = geometry.added if isinstance(geometry, Geometry) else None

    def tokens(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        last["embedding"], last["tokens"] = module, inputs[0]

    def enters(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if "embedding" in last:
            pairs.append((_made(last["embedding"], last["tokens"], last.get("added")), inputs[0]))

    with contextlib.ExitStack() as hooks:
        for child in {getattr(model, name, None) for name in ("positions", "decoder_positions")}:
            if isinstance(child, nn.Module):
                hooks.callback(child.register_forward_hook(places).remove)
        for module in model.modules():
            if isinstance(module, Embedding):
                hooks.callback(module.register_forward_pre_hook(tokens).remove)
            if isinstance(module, Stack):
                hooks.callback(module.register_forward_pre_hook(enters).remove)
        run()
    return pairs


def _made(embedding: Embedding, tokens: Tensor, added: Tensor | None) -> Tensor:
    x = F.embedding(tokens, embedding.weight) * embedding.scale
    if embedding.segments is not None:
        x = x + embedding.segments[0]
    y: Tensor = embedding.norm(x if added is None else x + added)
    return y
