"""How a model of ``transformers`` lies on ours: a shape says how to build, to describe and to link tensors.

    build       configuration -> our model, with new weights
    describe    our model -> the configuration that builds it
    links       configuration -> which of our tensors holds which of theirs

Whether a description is right is not left to it: see ``conversion.convert``.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, PAD

SPECIAL_TOKENS = {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD}  # of every model that we describe

Config = Any  # a transformers.PretrainedConfig


@dataclass(frozen=True)
class Link:
    """One tensor of ours, and the tensors of theirs that are its rows, in order; any name of a shared tensor will do.

    ``transposed``: theirs is (inputs, outputs), as GPT-2 stores its matrices. ``copies`` are further tensors of theirs
    that get the same values and are not read: those that their model holds without using them.
    """

    ours: str
    theirs: tuple[str, ...]
    transposed: bool = False
    copies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert not isinstance(self.theirs, str) and (len(self.theirs) == 1 or not self.transposed)


@dataclass(frozen=True)
class Shape:
    """One class of ``transformers`` models; ``tied`` says whether the output matrix is the token table.

    ``build(config, tied)`` raises ``InputError`` where the configuration asks for what we do not have. ``describe``
    may fail in any way on a model of another shape.
    """

    name: str
    model: str
    build: Callable[[Config, bool], Any]
    describe: Callable[[Any], Config]
    links: Callable[[Config, bool], Iterable[Link]]


def checked(
    config: Config, read: Set[str], ignored: Set[str] = frozenset(), fixed: Mapping[str, object] | None = None
) -> None:
    """Accounts for every field of a configuration; raises ``InputError`` naming the first that asks for what we lack.

    ``read`` fields are carried over, ``ignored`` ones do not change what the model computes, ``fixed`` ones are had at
    that value only. Any other field has to be at its default, that of a new configuration of the same class.
    """
    usual, fixed = type(config)().to_dict(), dict(fixed or {})
    idle = (IDLE | GenerationConfig().to_dict().keys()) - fixed.keys()
    for name, value in config.to_dict().items():
        if name in read or name in ignored or name in idle:
            continue
        wanted = fixed[name] if name in fixed else usual.get(name)
        if value != wanted and (value or name in fixed or name in usual):
            supported = f"; {name} = {wanted!r} is" if name in fixed or name in usual else ""
            raise InputError(f"{config.model_type} configuration: {name} = {value!r} is not supported{supported}")


# Fields of any configuration that do not change what a model computes in one pass; nor do those of a GenerationConfig.
IDLE = frozenset(
    {
        "_attn_implementation_autoset",
        "_name_or_path",
        "_num_labels",
        "architectures",
        "bos_token_id",
        "chunk_size_feed_forward",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "id2label",
        "initializer_range",
        "label2id",
        "mask_token_id",
        "model_type",
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "pad_token_id",
        "prefix",
        "problem_type",
        "return_dict",
        "sep_token_id",
        "task_specific_params",
        "tokenizer_class",
        "tie_word_embeddings",  # read from the tensors
        "torch_dtype",
        "transformers_version",
        "unk_token_id",
        "use_cache",
    }
)


def stored(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of a model by name; names that share one tensor have the same one."""
    return dict(model.state_dict(keep_vars=True))


@torch.no_grad()
def pull(ours: nn.Module, theirs: nn.Module, links: Iterable[Link]) -> None:
    """Copy their tensors into ours; an ``AssertionError`` names a tensor that is left over on either side."""
    our_tensors, their_tensors = stored(ours), stored(theirs)
    for link in _complete(links, our_tensors, their_tensors):
        parts = [their_tensors[name].T if link.transposed else their_tensors[name] for name in link.theirs]
        our_tensors[link.ours].copy_(_fitting(torch.cat(parts), our_tensors[link.ours], link))


@torch.no_grad()
def push(ours: nn.Module, theirs: nn.Module, links: Iterable[Link]) -> None:
    """Copy our tensors into theirs; an ``AssertionError`` names a tensor that is left over on either side."""
    our_tensors, their_tensors = stored(ours), stored(theirs)
    for link in _complete(links, our_tensors, their_tensors):
        whole = our_tensors[link.ours].T if link.transposed else our_tensors[link.ours]
        for name in link.copies:
            their_tensors[name].copy_(_fitting(whole, their_tensors[name], link))
        if link.transposed:
            their_tensors[link.theirs[0]].copy_(_fitting(whole, their_tensors[link.theirs[0]], link))
            continue
        parts = torch.split(whole, [their_tensors[name].shape[0] for name in link.theirs])
        for name, part in zip(link.theirs, parts, strict=True):
            their_tensors[name].copy_(_fitting(part, their_tensors[name], link))


def _complete(links: Iterable[Link], our_tensors: dict[str, Tensor], their_tensors: dict[str, Tensor]) -> list[Link]:
    listed = list(links)
    _accounted("ours", [link.ours for link in listed], [], our_tensors)
    read, copies = [name for link in listed for name in link.theirs], [name for link in listed for name in link.copies]
    _accounted("theirs", read, copies, their_tensors)
    return listed


def _accounted(side: str, linked: list[str], copies: list[str], tensors: dict[str, Tensor]) -> None:
    """Every tensor of a side is linked under one of its names, and once; a copy may also be one that is linked."""
    unknown = sorted({*linked, *copies} - tensors.keys())
    assert not unknown, f"tensors of {side} that are linked and do not exist: {', '.join(unknown)}"
    reached = [id(tensors[name]) for name in linked]
    assert len(set(reached)) == len(linked), f"a tensor of {side} is linked twice"
    reached += [id(tensors[name]) for name in copies]
    left = [name for name, tensor in tensors.items() if id(tensor) not in reached]
    assert not left, f"tensors of {side} that are linked on the other side only: {', '.join(left)}"


def _fitting(tensor: Tensor, destination: Tensor, link: Link) -> Tensor:
    assert tensor.shape == destination.shape, (
        f"{link.ours}: {tuple(tensor.shape)} does not fit {tuple(destination.shape)}"
    )
    return tensor
