"""Sizes and limits of a model, and how its parameters are counted."""

from dataclasses import dataclass

from torch import nn

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Tables
from archbench.architectures.components.stack import FeedForwards
from archbench.architectures.parts.averaging import Average
from archbench.architectures.parts.gated_delta import GatedDelta

TOKENS = 1024  # of which the FLOPs of one are the mean: experts may take whole numbers of them


@dataclass(frozen=True)
class Size:
    """A fitted size: ``depth`` is the number of layers of each stack, ``hidden`` the feed-forward width."""

    dim: int
    heads: int
    depth: int
    hidden: int
    dropout: float = 0.0

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


@dataclass(frozen=True)
class Limits:
    """A task's limits: number of token ids, and the longest source and target in tokens (including END).

    ``mask_order``, ``mask_weights`` and ``canvas`` are how a model that fills in a canvas learns (`families.masking`).
    """

    vocabulary: int
    source_length: int
    target_length: int
    mask_order: str = "any"
    mask_weights: str = "bound"
    canvas: str = "mask"

    @property
    def of_data(self) -> "Limits":
        """The limits alone, with the usual way to learn."""
        return Limits(self.vocabulary, self.source_length, self.target_length)

    @property
    def length(self) -> int:
        """Positions needed for source, BOS and target in one sequence."""
        return self.source_length + self.target_length + 1


@dataclass(frozen=True)
class Counts:
    """Unique trainable scalars: ``embedding_parameters`` of the tables and output matrix, ``parameters`` of the rest.

    ``buffers`` are the elements of all buffers, saved or not. ``idle_parameters``, of ``parameters``, are those that a
    token does not use: of the experts that it does not choose.
    """

    parameters: int
    embedding_parameters: int
    buffers: int = 0
    idle_parameters: int = 0

    @property
    def active_parameters(self) -> int:
        return self.parameters - self.idle_parameters


def embedding_parameters(model: nn.Module) -> set[int]:
    """``id`` of each parameter that a budget excludes: token, position, segment tables, output matrix and bias."""
    return {id(table) for module in model.modules() if isinstance(module, Tables) for table in module.tables()}


def count(model: nn.Module) -> Counts:
    """Count unique trainable scalars (shared ones once); norms, biases and relative-bias tables count as parameters."""
    left_out = embedding_parameters(model)
    sizes = [(id(p) in left_out, p.numel()) for p in model.parameters() if p.requires_grad]
    buffers = sum(buffer.numel() for buffer in model.buffers())
    return Counts(
        parameters=sum(n for embedding, n in sizes if not embedding),
        embedding_parameters=sum(n for embedding, n in sizes if embedding),
        buffers=buffers,
        idle_parameters=sum(idle_parameters(network) for network in feedforwards(model)),
    )


def idle_parameters(network: nn.Module) -> int:
    """Elements of a feed-forward network's matrices that a token does not use, from its FLOPs: two for each used."""
    if not hasattr(network, "flops"):
        return 0
    elements = sum(p.numel() for p in network.parameters() if p.requires_grad and p.ndim > 1)
    flops: float = network.flops(float(TOKENS)) / TOKENS  # type: ignore[operator]
    return max(0, round(elements - flops / 2.0))


def feedforwards(model: nn.Module) -> list[nn.Module]:
    """The different feed-forward networks: one that layers share counts once."""
    stacks = (module for module in model.modules() if isinstance(module, FeedForwards))
    return list({id(network): network for stack in stacks for network in stack.feedforwards()}.values())


def layers(model: nn.Module) -> int:
    """Number of different feed-forward networks."""
    return len(feedforwards(model))


def heads(model: nn.Module) -> int | None:
    """The (largest) number of attention heads; None if the attention is not archbench's."""
    own = Attention | Average | GatedDelta
    return max((part.heads for part in model.modules() if isinstance(part, own)), default=None)
