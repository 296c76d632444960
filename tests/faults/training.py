"""Faults in training: gradients, noise, chance, initial weights, and what a step leaves behind."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.norm import PreNorm
from archbench.architectures.components.states import States
from archbench.architectures.contract.trials import USUAL
from archbench.architectures.families.size import Size
from faults.plant import (
    CAUSAL,
    ENCODER,
    THREE,
    Fault,
    Plant,
    ask,
    change,
    feedforwards,
    patch,
    sized,
    sized_states,
    states,
    with_methods,
)


class LayerDrop(nn.Module):
    """A feed-forward network that is left out at the rate of dropout, as ``draw`` says."""

    def __init__(self, inner: nn.Module, rate: float, draw: Callable[[], float]) -> None:
        super().__init__()
        self.inner, self.rate, self.draw, self.flops = inner, rate, draw, inner.flops

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return 0.0 * y if self.training and self.rate and self.draw() < self.rate else y


def layer_drop(draw: Callable[[], float]) -> Plant:
    return feedforwards(lambda inner, model, size: LayerDrop(inner, size.dropout, draw))


def seeds_itself(original, self, *inputs):
    if self.training:
        torch.manual_seed(1)
    return original(self, *inputs)


class Undivided(nn.Module):
    """Dropout that leaves what it keeps as it is."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(x.shape) >= self.rate) if self.training and self.rate else x


def undivided_dropout(model: Any, size: Size) -> None:
    for block in model.stack.blocks:
        block.dropout = Undivided(size.dropout)


def noise(draw: Callable[..., Tensor]) -> Plant:
    """Noise of the variant's own in training, on the states; ``draw`` gets the rate and a pass's inputs."""
    return sized_states(
        lambda size, model, x, *inputs: x + draw(size.dropout, x, *inputs) if model.training and size.dropout else x
    )


def dropped(x: Tensor, drawn: Tensor, rate: float) -> Tensor:
    """The change of x where it is kept if what is drawn, 0 to 1, is at least the rate."""
    return x * ((drawn >= rate) / (1 - rate) - 1)


def mixes_rows(rate, x, *inputs):
    return rate * torch.rand(len(x), 1, 1) * x.detach().mean(0)


def from_a_generator(rate, x, source, target, *masks):
    return dropped(x, torch.rand(x.shape, generator=torch.Generator().manual_seed(int(target.sum()))), rate)


def from_a_seed(rate, x, source, target, *masks):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(target.sum()))
        return dropped(x, torch.rand(x.shape), rate)


def from_the_states(rate, x, *inputs):
    return dropped(x, (x.detach() * 12.9898).sin().abs() * 43758.5453 % 1.0, rate)


def from_padding(rate, x, source, target, source_mask=None, target_mask=None):
    rate = 0.8 if target_mask is not None and not bool(target_mask.all()) else rate
    return dropped(x, torch.rand(x.shape), rate)


class Statistics(nn.Module):
    """Keeps a mean of what passes in training, in a buffer: changed in place, or another tensor each time."""

    def __init__(self, dim: int, in_place: bool) -> None:
        super().__init__()
        self.in_place = in_place
        self.register_buffer("mean", torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean = x.detach().flatten(0, -2).mean(0)
            self.mean = self.mean.lerp_(mean, 0.1) if self.in_place else self.mean.lerp(mean, 0.1)
        return x


def statistics(in_place: bool) -> Plant:
    return change(lambda model: setattr(model.embedding, "norm", Statistics(model.embedding.weight.shape[1], in_place)))


class Jitter(nn.Module):
    """A norm with random numbers that are not saved."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("noise", torch.randn(dim), persistent=False)

    def forward(self, x):
        return x + self.noise


def numpy_weights(model: Any) -> None:
    weight = model.embedding.weight
    if not weight.is_meta:
        weight.data.copy_(torch.from_numpy(np.random.default_rng().normal(size=weight.shape)))


def fixed_weights(model: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, device="cpu"))


def seeds_its_attention(model: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000)
        for block in model.stack.blocks:
            nn.init.normal_(block.attention.query_key_value.weight, std=0.02)


class HandsOn(nn.Module):
    """Later layers add what enters the first one, which stands in a list until the last one has read it."""

    def __init__(self, inner: nn.Module, entered: list[Tensor], is_last: bool) -> None:
        super().__init__()
        self.inner, self.entered, self.is_last, self.flops = inner, entered, is_last, inner.flops

    def forward(self, x: Tensor) -> Tensor:
        if not self.entered:
            self.entered.append(x)
        (first,) = self.entered
        if self.is_last:
            self.entered.clear()
        y: Tensor = self.inner(x)
        return y + 0.1 * first if first.shape == x.shape else y


def hands_on_outside_of_the_context(model: Any) -> None:
    entered: list[Tensor] = []
    for block in model.stack.blocks:
        block.feedforward = HandsOn(block.feedforward, entered, block is model.stack.blocks[-1])


def straight_through(dim: int) -> Plant:
    """The values of the states, and a gradient to the next row or position (``dim`` 0 or 1) too."""

    def edit(model: Any, x: Tensor, *inputs: object) -> Tensor:
        other = 0.3 * x.roll(1 if dim == 0 else -1, dim)
        return x + (other - other.detach())

    return states(edit)


def steep_without_source_loss(original, self, source, target, source_mask=None, target_mask=None, at=None):
    """Twice the gradient where no state of the source is asked for."""
    result = original(self, source, target, source_mask, target_mask, at)
    if at is None or at.source is not None:
        return result
    return States(result.source, 2 * result.target - result.target.detach())


class Reversed(torch.autograd.Function):
    """The identity, whose gradient is changed by ``change``."""

    @staticmethod
    def forward(ctx, x, change):
        ctx.change = change
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.change(gradient), None


def in_backward(change: Callable[[Tensor], Tensor]) -> Plant:
    return states(lambda model, x, *inputs: Reversed.apply(x, change))


def doubled_in_bfloat16(model: Any, x: Tensor, *inputs: object) -> Tensor:
    half = torch.is_autocast_enabled("cpu")
    return Reversed.apply(x, lambda gradient: 2 * gradient if half else gradient)


def hooked_states(model: Any, x: Tensor, *inputs: object) -> Tensor:
    if x.requires_grad:
        x.register_hook(lambda gradient: gradient)
    return x


def shrunk(gradient: Tensor) -> Tensor:
    """A gradient clipped at a norm that quick checks do not reach."""
    return gradient * (100.0 / gradient.norm().clamp(min=100.0))


def noisy(gradient: Tensor) -> Tensor:
    return gradient * (1 + 0.01 * torch.randn_like(gradient))


def hooks_of_weights(model: Any) -> None:
    for parameter in model.parameters():
        parameter.register_hook(shrunk)


def hooks_of_modules(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_full_backward_pre_hook(lambda module, gradients: tuple(map(shrunk, gradients)))


def decays_in_backward(model: Any) -> None:
    @torch.no_grad()
    def decay(parameter: Tensor) -> None:
        parameter.mul_(0.9999)

    for parameter in model.parameters():
        if not parameter.is_meta:
            parameter.register_post_accumulate_grad_hook(decay)


def too_small(original, self, x):
    result = original(self, x)
    return result._replace(vectors=result.vectors * 3e-4)


BUFFER, OF_ROWS = "a training step changes the buffers embedding.norm.mean", "the noise of rows has a correlation of"
OWN_CHANCE = "draws from a generator of its own|calls torch.*manual_seed|without `nn.Dropout`, the same under two seeds"
IN_PROPORTION, FINITE = "times the loss, the gradient of .* is not", "its gradient says"
FAULTS = {
    "training_changes_no_buffer": (
        Fault("statistics of batches", BUFFER, statistics(in_place=True), THREE),
        Fault("statistics of batches in another tensor each time", BUFFER, statistics(in_place=False)),
    ),
    "a_training_step_repeats": (
        Fault(
            "layers left out by Python's chance",
            "Python's `random`: it draws from there|gives another",
            layer_drop(random.random),
        ),
        Fault(
            "layers left out by NumPy's chance",
            "numpy.random|gives another",
            layer_drop(lambda: float(np.random.rand())),
        ),
        Fault(
            "layers left out by the clock",
            "gives another",
            layer_drop(lambda: time.perf_counter() * 1e6 % 1.0),
            trials=USUAL,
        ),
        Fault(
            "a pass that seeds PyTorch", "a pass seeds PyTorch's generator itself", with_methods(hidden=seeds_itself)
        ),
    ),
    "dropout_is_noise_in_training": (
        Fault("dropout ignored", "whatever is drawn", ask(size=lambda x: replace(x, dropout=0.0)), ENCODER),
        Fault(
            "dropout bounded",
            "where `size.dropout` is 0.5, the rate of .* 0.03",
            ask(size=lambda x: replace(x, dropout=min(x.dropout, 0.03))),
        ),
        Fault(
            "dropout of a rate of its own",
            "where `size.dropout` is 0.001, the rate of .* 0.3",
            ask(size=lambda x: replace(x, dropout=0.3 if x.dropout else 0.0)),
        ),
        Fault(
            "dropout that is not divided by what it keeps",
            r"the mean of stack\.blocks\.\d\.dropout in training is 0\.3\d standard deviations off",
            sized(undivided_dropout),
        ),
    ),
    "dropout_depends_on_chance_alone": (
        Fault(
            "a mask that rows share",
            OF_ROWS,
            noise(lambda rate, x, *inputs: dropped(x, torch.rand(x[:1].shape), rate)),
            THREE,
        ),
        Fault("noise from other rows", f"{OF_ROWS}|other tokens in other rows", noise(mixes_rows), THREE),
        Fault("noise from a generator of its own", OWN_CHANCE, noise(from_a_generator), THREE),
        Fault("noise from a seed of its own", OWN_CHANCE, noise(from_a_seed), THREE),
        Fault("noise from the states", OWN_CHANCE, noise(from_the_states), THREE),
        Fault("more noise beside padding", "logits vary by .* with padding", noise(from_padding), CAUSAL),
    ),
    "building_is_repeatable": (
        Fault(
            "weights from another generator",
            "built twice under one seed, these differ: embedding.weight",
            change(numpy_weights),
            THREE,
        ),
    ),
    "initial_weights_follow_the_seed": (
        Fault(
            "layers drawn under a fixed seed",
            "random tensors are the same under another seed",
            change(fixed_weights),
            THREE,
        ),
        Fault(
            "attention with a seed of its own",
            r"2 of \d+ random tensors are the same under another seed",
            change(seeds_its_attention),
        ),
    ),
    "weights_survive_saving": (
        Fault(
            "random numbers that are not saved",
            "logits after saving and loading: off by",
            change(lambda model: setattr(model.embedding, "norm", Jitter(model.embedding.weight.shape[1]))),
            THREE,
            alone=True,
        ),
    ),
    "recomputing_changes_nothing": (
        Fault(
            "values handed from layer to layer outside of the context",
            "a layer computes other tensors the second time",
            change(hands_on_outside_of_the_context),
            also=(
                *("forward_is_prefill_and_decode", "caches_last", "writing_follows_scoring", "long_answers_are_greedy"),
                *("selected_states_are_those_of_one_pass", "the_training_loss_is_the_likelihood"),
                *("long_texts_are_read_alike", "unusual_texts_and_weights_are_read_alike", "large_ids_are_read_alike"),
            ),
        ),
    ),
    "every_parameter_gets_a_gradient": (
        Fault(
            "a module that is never called",
            "parameters that never get a gradient: idle.weight",
            change(lambda model: setattr(model, "idle", nn.Linear(4, 4, bias=False))),
            THREE,
        ),
        Fault(
            "embedding detached",
            "parameters that never get a gradient: embedding.weight",
            patch(Embedding, "forward", lambda original, *inputs: original(*inputs).detach()),
            THREE,
        ),
    ),
    "every_part_of_a_matrix_is_trained": (
        Fault(
            "half of a matrix unused",
            r"24 of 48 rows of [\w.]+.gate_up.weight never get a gradient",
            patch(
                GatedFeedForward,
                "forward",
                lambda original, self, x: self.down(self.activation(self.gate_up(x).chunk(2, -1)[0])),
            ),
            THREE,
        ),
    ),
    "gradients_stay_in_place": (
        Fault("a gradient to the next token", "sends a gradient to target token", straight_through(1)),
        Fault("a gradient to another row", "sends a gradient to .* token .* of row", straight_through(0), ENCODER),
    ),
    "gradients_are_those_of_the_loss": (
        Fault(
            "residual stream detached",
            FINITE,
            patch(PreNorm, "after", lambda original, self, x, y: original(self, x.detach(), y)),
            THREE,
        ),
        Fault(
            "another gradient where the source has no loss",
            "the loss of the target alone changes by",
            with_methods(hidden=steep_without_source_loss),
        ),
        Fault("clipping in the backward pass", IN_PROPORTION, in_backward(shrunk), THREE),
        Fault("noise in the backward pass", IN_PROPORTION, in_backward(noisy), THREE),
        Fault("clipping in hooks of weights", FINITE, change(hooks_of_weights), THREE),
        Fault("clipping in hooks of modules", FINITE, change(hooks_of_modules), THREE),
        Fault(
            "twice the gradient in bfloat16",
            "in bfloat16 the gradient of .* is .* times that in float32",
            states(doubled_in_bfloat16),
            THREE,
        ),
        Fault(
            "weights that decay in the backward pass",
            "a backward pass changes the weights",
            change(decays_in_backward),
            THREE,
        ),
        Fault("a hook on states", "hooks on the gradient of a tensor of shape", states(hooked_states), THREE),
    ),
    "a_batch_can_be_learned": (
        Fault(
            "logits far too small",
            "after 300 steps on one batch the loss is still",
            patch(Head, "product", too_small),
        ),
    ),
}
