"""Shared components assembled into decoder-only, encoder-only and encoder-decoder transformers.

Everything that a variant is made of is imported from here, and these names are stable:

    from archbench.architectures import Attention, Block, DecoderOnly, Embedding, ...

A name is loaded when it is first used, so that importing this package loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archbench.architectures.components.attention import Attention, AttentionContext
    from archbench.architectures.components.cache import Cache
    from archbench.architectures.components.embedding import Embedding, Head, Targets, Transform
    from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward, NoFeedForward
    from archbench.architectures.components.initial import filled, linear
    from archbench.architectures.components.key_values import KeyValues, LayerState
    from archbench.architectures.components.norm import (
        LayerNorm,
        NoNorm,
        NoResidual,
        Norm,
        PostNorm,
        PreNorm,
        RMSNorm,
        Wiring,
    )
    from archbench.architectures.components.numbers import Amount, Flops
    from archbench.architectures.components.positions import (
        Alibi,
        Geometry,
        Learned,
        NoPositions,
        RelativeBias,
        Rotary,
        Sinusoidal,
    )
    from archbench.architectures.components.stack import (
        AttentionLike,
        Block,
        CrossAttentionCache,
        FeedForwardLike,
        Stack,
        select,
    )
    from archbench.architectures.components.states import StateIndex, States
    from archbench.architectures.families.decoder import DecoderOnly
    from archbench.architectures.families.encoder import EncoderOnly
    from archbench.architectures.families.encoder_decoder import EncoderDecoder
    from archbench.architectures.families.family import Family
    from archbench.architectures.families.size import Limits, Size
    from archbench.architectures.objectives.causal import Causal
    from archbench.architectures.objectives.masked import Masked
    from archbench.architectures.objectives.objective import Batch, LossInputs, Objective
    from archbench.architectures.parts.averaging import Average
    from archbench.architectures.parts.canon import Canon
    from archbench.architectures.parts.experts import Experts, switch_balance
    from archbench.architectures.parts.gated_attention import GatedAttention
    from archbench.architectures.parts.gated_delta import GatedDelta
    from archbench.tasks.base.decoding import Decoding

_MODULES = {
    "components.attention": ("Attention", "AttentionContext", "attend"),
    "components.cache": ("Cache",),
    "components.embedding": ("Embedding", "Head", "Targets", "Transform"),
    "components.feedforward": ("FeedForward", "GatedFeedForward", "NoFeedForward", "gelu_tanh"),
    "components.initial": ("filled", "linear"),
    "components.key_values": ("KeyValues", "LayerState"),
    "components.mask": ("BIDIRECTIONAL", "CAUSAL", "PREFIX", "Mask"),
    "components.norm": ("LayerNorm", "NoNorm", "NoResidual", "Norm", "PostNorm", "PreNorm", "RMSNorm", "Wiring"),
    "components.numbers": ("Amount", "Flops"),
    "components.positions": ("Alibi", "Geometry", "Learned", "NoPositions", "RelativeBias", "Rotary", "Sinusoidal"),
    "components.stack": ("AttentionLike", "Block", "CrossAttentionCache", "FeedForwardLike", "Stack", "select"),
    "components.states": ("StateIndex", "States"),
    "families.decoder": ("DecoderOnly",),
    "families.encoder": ("EncoderOnly",),
    "families.encoder_decoder": ("EncoderDecoder",),
    "families.family": ("Family",),
    "families.size": ("Limits", "Size"),
    "objectives.causal": ("Causal",),
    "objectives.generate": ("Decoding",),
    "objectives.masked": ("Masked",),
    "objectives.objective": ("Batch", "LossInputs", "Objective"),
    "parts.averaging": ("Average",),
    "parts.canon": ("Canon",),
    "parts.experts": ("Experts", "switch_balance"),
    "parts.gated_attention": ("GatedAttention",),
    "parts.gated_delta": ("GatedDelta",),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BIDIRECTIONAL",
    "CAUSAL",
    "PREFIX",
    "Alibi",
    "Amount",
    "Attention",
    "AttentionContext",
    "AttentionLike",
    "Average",
    "Batch",
    "Block",
    "Cache",
    "Canon",
    "Causal",
    "CrossAttentionCache",
    "DecoderOnly",
    "Decoding",
    "Embedding",
    "EncoderDecoder",
    "EncoderOnly",
    "Experts",
    "Family",
    "FeedForward",
    "FeedForwardLike",
    "Flops",
    "GatedAttention",
    "GatedDelta",
    "GatedFeedForward",
    "Geometry",
    "Head",
    "KeyValues",
    "LayerNorm",
    "LayerState",
    "Learned",
    "Limits",
    "LossInputs",
    "Mask",
    "Masked",
    "NoFeedForward",
    "NoNorm",
    "NoPositions",
    "NoResidual",
    "Norm",
    "Objective",
    "PostNorm",
    "PreNorm",
    "RMSNorm",
    "RelativeBias",
    "Rotary",
    "Sinusoidal",
    "Size",
    "Stack",
    "StateIndex",
    "States",
    "Targets",
    "Transform",
    "Wiring",
    "attend",
    "filled",
    "gelu_tanh",
    "linear",
    "select",
    "switch_balance",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
