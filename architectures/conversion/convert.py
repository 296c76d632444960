"""Models of ``transformers`` as ours with equal logits, and back."""

import copy
from typing import Any

import torch

from archbench.architectures.conversion.agreement import agree
from archbench.architectures.conversion.hooks import refuse_attached
from archbench.architectures.conversion.structure import difference
from archbench.architectures.formats import bert, gpt2, llama, modernbert, t5
from archbench.architectures.formats.shape import Config, Shape, pull, push
from archbench.architectures.kernels.table import optimize
from archbench.tasks.base.errors import InputError

SHAPES: tuple[Shape, ...] = (gpt2.SHAPE, llama.SHAPE, bert.SHAPE, modernbert.SHAPE, t5.SHAPE)


def from_transformers(model: Any, canvas: int = 1) -> Any:
    """Our model with the weights of ``model``, in evaluation mode, float32 on the CPU, and equal logits.

    GPT-2, Llama, BERT, ModernBERT: ``ours(None, input_ids, None, attention_mask)``; T5:
    ``ours(input_ids, decoder_input_ids, attention_mask)``. Logits are equal at real positions, where theirs count
    positions over tokens only. ``canvas``: cells that an encoder writes to.

    Raises ``InputError`` for another class, a configuration that asks for what we do not have, a model with tensors
    that ours has no place for, or one with hooks, parametrizations or replaced forward methods. Only of an untied BERT
    a tensor stays behind, an output bias that it holds and never reads.
    """
    shape = _shape(type(model).__name__)
    refuse_attached(model)
    tied = is_tied(model)
    ours = shape.build(model.config, tied)
    if ours.family == "encoder":
        ours.canvas = canvas
    try:
        pull(ours, model, shape.links(model.config, tied))
    except AssertionError as error:
        raise InputError(f"from_transformers: this {shape.model} is not supported: {error}") from error
    return optimize(ours.eval())


def to_transformers(model: Any) -> Any:
    """The model of ``transformers`` with the weights and the logits of ``model``, in evaluation mode.

    Raises ``InputError`` where our model is none of the five shapes, naming what differs from the nearest, and where
    logits differ on a small random batch.
    """
    match = recognised(model)
    if isinstance(match, str):
        raise InputError(f"to_transformers: {match}")
    shape, config, tied = match
    theirs = empty(shape, config, tied)
    push(model, theirs, shape.links(config, tied))
    if not agree(model, theirs.eval()):
        raise InputError(f"to_transformers: a {shape.model} with these weights gives other logits than this model")
    return theirs


def recognised(model: Any) -> tuple[Shape, Config, bool] | str:
    """Shape and configuration of our model, and whether its table is tied; or in words why it has none.

    A description counts only if the model that it builds has the structure of ``model`` in every part.
    """
    tied = model.head.weight is model.embedding.weight
    reasons = []
    for shape in SHAPES:
        try:
            config = shape.describe(model)
            with torch.device("meta"):
                built = shape.build(config, tied)
        except Exception:  # a description of another shape may fail in any way
            continue
        reason = difference(model, built)
        if reason is None:
            return shape, config, tied
        reasons.append((len(reason), f"this {model.family} is no {shape.model}: {reason}"))
    names = ", ".join(shape.model for shape in SHAPES)
    return min(reasons)[1] if reasons else f"this {model.family} has the shape of none of {names}"


def empty(shape: Shape, config: Config, tied: bool) -> Any:
    """A new model of ``transformers``, its output matrix tied or not whatever the configuration says."""
    import transformers

    model = getattr(transformers, shape.model)(copy.deepcopy(config))
    if not tied and is_tied(model):
        output = model.get_output_embeddings()
        output.weight = torch.nn.Parameter(output.weight.detach().clone())
        model.config.tie_word_embeddings = False  # else whatever asks for `tie_weights` later would tie it again
    return model


def is_tied(model: Any) -> bool:
    """True if the output matrix of a model of ``transformers`` is its token table: one tensor, not equal values."""
    output = model.get_output_embeddings()
    return output is not None and output.weight is model.get_input_embeddings().weight


def _shape(name: str) -> Shape:
    for shape in SHAPES:
        if shape.model == name:
            return shape
    known = ", ".join(shape.model for shape in SHAPES)
    raise InputError(f"from_transformers: a {name} is not supported; expected one of {known}")
