"""Looks into a model while it reads: attention weights, the residual stream, what each sublayer adds; removes heads.

Forward hooks note what passes; attention weights, which fast kernels never make, are computed beside the pass.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.stack import Block

Axis = Literal["source", "target", "both"]
Part = Literal["self", "cross"]


@dataclass
class Layer:
    """The recorded computation of one block for a batch.

    ``axis`` says what stands along its positions t: the source, the target, or both in one sequence; ``number`` counts
    its blocks from 1. ``before`` and ``after`` (b, t, d) are the residual stream; ``added`` what each sublayer gave to
    it (b, t, d). ``weights`` are those of its attentions, "self" (b, heads, t, t) and "cross" (b, heads, t, s); their
    rows add up to 1.
    """

    axis: Axis
    number: int
    block: Block
    before: Tensor
    after: Tensor | None = None
    weights: dict[Part, Tensor] = field(default_factory=dict)
    added: dict[str, Tensor] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return {"source": "encoder layer", "target": "decoder layer", "both": "layer"}[self.axis] + f" {self.number}"


@dataclass(frozen=True)
class Site:
    """An attention of a model: ``path`` is its name as a module, ``part`` "self" or "cross"."""

    path: str
    part: Part
    attention: Attention


def sites(model: nn.Module) -> list[Site]:
    """Every attention of the model's blocks once, in order of the modules."""
    all_sites = []
    for path, block in model.named_modules():
        if isinstance(block, Block):
            for part, name in (("self", "attention"), ("cross", "cross")):
                attention = getattr(block, name)
                if isinstance(attention, Attention):
                    all_sites.append(Site(f"{path}.{name}", part, attention))  # type: ignore[arg-type]
    return list({id(site.attention): site for site in all_sites}.values())


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[list[Layer]]:
    """Notes every pass through a block within the context, in order."""
    layers: list[Layer] = []
    blocks = [block for block in model.modules() if isinstance(block, Block)]
    crossing = any(block.cross is not None for block in blocks)
    handles: list[Any] = []
    for block in blocks:
        handles.append(block.register_forward_pre_hook(partial(_enter, layers, crossing)))
        handles.append(block.register_forward_hook(partial(_leave, layers)))
        handles.append(block.feedforward.register_forward_hook(partial(_add, layers, "feed-forward")))
    for site in {id(site.attention): site for site in sites(model)}.values():
        handles.append(site.attention.register_forward_hook(partial(_note, layers, site), with_kwargs=True))
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def without(attention: Attention, head: int) -> Iterator[None]:
    """Within the context a head of an attention adds nothing to the residual stream."""

    def mute(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        mask = torch.ones(attention.inner, device=inputs[0].device, dtype=inputs[0].dtype)
        mask[head * attention.head_dim : (head + 1) * attention.head_dim] = 0
        return (inputs[0] * mask,)

    handle = attention.output.register_forward_pre_hook(mute)
    try:
        yield
    finally:
        handle.remove()


def weights(attention: Attention, queries: Tensor, key_values: KeyValues, context: AttentionContext) -> Tensor:
    """Attention weights (b, heads, q, k) of queries (b, heads, q, e), plainly, in float32."""
    keys = key_values.keys.repeat_interleave(attention.heads // attention.kv_heads, 1)
    scores = attention.scaling * queries.float() @ keys.float().mT
    return context.masked(scores, attention.window).softmax(-1)


def _note(
    layers: list[Layer], site: Site, attention: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], result: Any
) -> None:
    """Note what an attention gave, and its weights, which are computed once more."""
    assert isinstance(attention, Attention)
    (x, context, *_), (answer, memory), layer = inputs, result, layers[-1]
    if site.part == "self":
        layer.added["attention"] = answer.detach()
        layer.weights["self"] = weights(attention, attention.queries(x, context), memory, context).detach()
        return
    key_values = attention.project_keys_values(memory) if isinstance(memory, Tensor) else memory
    layer.added["cross-attention"] = answer.detach()
    layer.weights["cross"] = weights(attention, attention.project_queries(x), key_values, context).detach()


def _enter(layers: list[Layer], crossing: bool, block: nn.Module, inputs: tuple[Any, ...]) -> None:
    assert isinstance(block, Block)
    axis: Axis = "both" if not crossing else "source" if len(inputs) < 4 or inputs[3] is None else "target"
    number = 1 + sum(layer.axis == axis for layer in layers)
    layers.append(Layer(axis, number, block, inputs[0].detach()))


def _leave(layers: list[Layer], block: nn.Module, inputs: Any, result: tuple[Tensor, KeyValues]) -> None:
    layers[-1].after = result[0].detach()


def _add(layers: list[Layer], name: str, module: nn.Module, inputs: Any, result: Tensor) -> None:
    layers[-1].added[name] = result.detach()
