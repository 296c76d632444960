"""Bugs that only rare inputs show: many rows, large ids, long answers, sure models, noise, and hooks on gradients."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from compute_faults import Statistics
from faults import Plant, change
from reading_faults import ahead, states, with_methods
from torch import Tensor, nn

from archbench.tasks.base.example import END


def counts_the_width(original, self, source, source_mask=None):
    """Of more than four rows, the next position is the width of the batch, padding included."""
    cache = original(self, source, source_mask)
    if source is None or source_mask is None or len(source) <= 4 or cache.lengths is None:
        return cache
    return replace(cache, lengths=torch.full((len(source),), source.shape[1]))


def forgets_the_mask(original, self, source, source_mask=None):
    """Of more than four rows, padding is read, too."""
    many = source is not None and len(source) > 4
    return original(self, source, None if many else source_mask)


def bytes_of(tokens: Tensor | None) -> Tensor | None:
    """Ids as if they were kept in a byte."""
    return None if tokens is None else tokens % 256


IN_BYTES = with_methods(
    hidden=lambda original, self, source, target, *rest: original(self, bytes_of(source), bytes_of(target), *rest),
    prefill=lambda original, self, source, *rest: original(self, bytes_of(source), *rest),
    decode=lambda original, self, tokens, cache: original(self, bytes_of(tokens), cache),
)


def ahead_of_large_ids(model: nn.Module, x: Tensor, source: object, target: Tensor, *inputs: object) -> Tensor:
    return torch.where((target >= 1000)[..., None], ahead(x), x)


def adds_large_ids(original):
    """Every token beyond 1000 may be written."""
    return lambda logits, allowed: original(logits, allowed | (torch.arange(len(allowed)) > 1000))


def without_large_labels(kind: type) -> type:
    class Ignores(kind):
        def prepare(self, model, batch, generator, native):
            inputs = super().prepare(model, batch, generator, native)
            return inputs._replace(weights=inputs.weights * (inputs.labels < 1500))

    return Ignores


def beams_for_long_answers(kind: type) -> type:
    class Searches(kind):
        def generate(self, model, source, source_mask, allowed_tokens, decoding, generator=None, start=None):
            long = decoding.max_tokens > 20 and bool(allowed_tokens[END]) and decoding.strategy == "greedy"
            decoding = replace(decoding, strategy="beam", beams=4, length_penalty=1.0) if long else decoding
            return super().generate(model, source, source_mask, allowed_tokens, decoding, generator, start)

    return Searches


def without_loops(kind: type) -> type:
    class Cuts(kind):
        def generate(self, *inputs):
            return [self.cut(row) for row in super().generate(*inputs)]

        def cut(self, row: Tensor) -> Tensor:
            for at in range(12, len(row)):
                if len(set(row[at - 12 : at].tolist())) <= 3:
                    return row[:at]
            return row

    return Cuts


def limit_of_loss(limit: Callable[[Tensor], Tensor]) -> Plant:
    """Every token's loss, and its part of the likelihood, is changed by ``limit``, from and to nats."""

    def loss(original, self, states, targets):
        labels, weights, allowed, _ = targets
        logits = self.logits(states).float()
        logits = logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)
        nats = logits.logsumexp(-1) - logits.gather(-1, labels[:, None]).squeeze(-1)
        smoothed = original(self, states, targets) - original(self, states, targets._replace(smoothing=0.0))
        return (limit(nats) * weights).sum() + smoothed

    return with_methods(loss=loss)


def floored_likelihood(kind: type) -> type:
    class Floored(kind):
        def log_likelihood(self, model, batch, allowed_tokens, parts=1):
            log_p, tokens = super().log_likelihood(model, batch, allowed_tokens)
            return torch.where(log_p.isfinite(), log_p.clamp(min=-25.0 * tokens), log_p), tokens

    return Floored


def noise(draw: Callable[..., Tensor]) -> Plant:
    """Noise of the variant's own in training, on the states; ``draw`` gets the rate and a pass's inputs."""

    def plant(monkeypatch, build):
        def built(size, limits):
            def edit(model: Any, x: Tensor, *inputs: Any) -> Tensor:
                if not model.training or not size.dropout:
                    return x
                return x + draw(size.dropout, x, *inputs)

            return states(edit)(monkeypatch, build)(size, limits)

        return built

    return plant


def shared_by_rows(rate, x, *inputs):
    return x * ((torch.rand(x[:1].shape) >= rate) / (1 - rate) - 1)


def mixes_rows(rate, x, *inputs):
    return rate * torch.rand(len(x), 1, 1) * x.detach().mean(0)


def from_a_generator(rate, x, source, target, *masks):
    generator = torch.Generator().manual_seed(int(target.sum()))
    return x * ((torch.rand(x.shape, generator=generator) >= rate) / (1 - rate) - 1)


def from_a_seed(rate, x, source, target, *masks):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(target.sum()))
        return x * ((torch.rand(x.shape) >= rate) / (1 - rate) - 1)


def from_the_states(rate, x, *inputs):
    hashed = (x.detach() * 12.9898).sin().abs() * 43758.5453 % 1.0
    return x * ((hashed >= rate) / (1 - rate) - 1)


def from_padding(rate, x, source, target, source_mask=None, target_mask=None):
    rate = 0.8 if target_mask is not None and not bool(target_mask.all()) else rate
    return x * ((torch.rand(x.shape) >= rate) / (1 - rate) - 1)


def exits_early(when: Callable[..., bool]) -> Plant:
    """Scoring leaves out the last layer ``when`` the states and tokens of a pass say so."""

    def hidden(original, self, source, target, *rest):
        result = original(self, source, target, *rest)
        if self.training or torch.is_grad_enabled() or not when(self, result.target, target):
            return result
        stack = self.decoder if hasattr(self, "decoder") else self.stack
        every, stack.blocks = stack.blocks, stack.blocks[:-1]
        try:
            return original(self, source, target, *rest)
        finally:
            stack.blocks = every

    return with_methods(hidden=hidden)


def is_sure(model, states, target):
    return states.numel() > 0 and bool(model.logits(states).softmax(-1).amax(-1).mean() > 0.98)


def tokens_agree(model, states, target):
    return target.shape[1] > 3 and bool((target == target[:, :1]).all())


def mixes_at_large_values(model: nn.Module, x: Tensor, *inputs: object) -> Tensor:
    sure = is_sure(model, x, None)
    return x + 0.3 * x.mean(0, keepdim=True) if sure else x


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


def doubled_in_bfloat16(model: nn.Module, x: Tensor, *inputs: object) -> Tensor:
    half = torch.is_autocast_enabled("cpu")
    return Reversed.apply(x, lambda gradient: 2 * gradient if half else gradient)


def hooked_states(model: nn.Module, x: Tensor, *inputs: object) -> Tensor:
    if x.requires_grad:
        x.register_hook(lambda gradient: gradient)
    return x


def shrunk(gradient: Tensor) -> Tensor:
    """A gradient clipped at a norm that quick checks do not reach."""
    return gradient * (100.0 / gradient.norm().clamp(min=100.0))


def noisy(gradient: Tensor) -> Tensor:
    return gradient * (1 + 0.01 * torch.randn_like(gradient))


def hooks_of_weights(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.register_hook(shrunk)


def hooks_of_modules(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_full_backward_pre_hook(lambda module, gradients: tuple(map(shrunk, gradients)))


def decays_in_backward(model: nn.Module) -> None:
    @torch.no_grad()
    def decay(parameter: Tensor) -> None:
        parameter.mul_(0.9999)

    for parameter in model.parameters():
        if not parameter.is_meta:
            parameter.register_post_accumulate_grad_hook(decay)


class DeclaredStatistics(Statistics):
    """Says which of its buffers training changes, which excuses nothing."""

    def mutable_buffers(self) -> list[str]:
        return ["mean"]


def with_objective(make: Callable[[type], type]) -> Plant:
    return change(lambda model: setattr(model, "objective", make(type(model.objective))()))
