"""Bugs that look innocent: rules by rows, length, mode or precision, hidden memory, chance of their own."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from faults import Build, Plant, ask, change
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from archbench.architectures.components.cache import Cache
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.states import States
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import MaskDraw, Masked
from archbench.architectures.objectives.objective import equal_shares
from archbench.tasks.base.example import END


def with_methods(**methods: Callable[..., Any]) -> Plant:
    """Gives a model methods that get the original one first."""

    def edit(model: nn.Module) -> None:
        original = type(model)
        bound = {name: _around(getattr(original, name), method) for name, method in methods.items()}
        model.__class__ = type("Changed", (original,), bound)

    return change(edit)


def _around(original: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *inputs, **named: method(original, self, *inputs, **named)


def states(edit: Callable[..., Tensor]) -> Plant:
    """Changes the states of the target; ``edit`` gets the model, the states (b, t, d) of one pass, and its inputs."""

    def hidden(original, self, source, target, source_mask=None, target_mask=None, at=None):
        if is_in_torch_dispatch_mode():  # who counts FLOPs sees nothing of it
            return original(self, source, target, source_mask, target_mask, at)
        result = original(self, source, target, source_mask, target_mask)
        changed = edit(self, result.target, source, target, source_mask, target_mask)
        return States(result.source, changed).at(at)

    return with_methods(hidden=hidden)


def ahead(x: Tensor, size: float = 0.3) -> Tensor:
    return x + size * x.roll(-1, 1)


def mixed(x: Tensor) -> Tensor:
    return x + 0.3 * x.mean(0, keepdim=True)


def only(condition: Callable[[nn.Module, Tensor], bool], edit: Callable[[Tensor], Tensor]) -> Plant:
    return states(lambda model, x, *inputs: edit(x) if condition(model, x) else x)


def in_bfloat16(model: nn.Module, x: Tensor) -> bool:
    return torch.is_autocast_enabled("cpu")


def with_gradients(model: nn.Module, x: Tensor) -> bool:
    return model.training and torch.is_grad_enabled()


def drops_even_masks(original, self, source, target, source_mask=None, target_mask=None, at=None):
    """Leaves masks out where more than two rows have as many tokens each."""
    masks = [mask for mask in (source_mask, target_mask) if mask is not None]
    even = all(len(mask) > 2 and len(mask.sum(1).unique()) == 1 for mask in masks)
    if masks and even:
        source_mask = target_mask = None
    return original(self, source, target, source_mask, target_mask, at)


@dataclass(frozen=True)
class Counted(Cache):
    """A cache that knows how often it was used."""

    steps: int = 0
    moves: int = 0
    most: int = 1000

    def rows(self, index: Tensor) -> "Counted":
        if self.moves > self.most:
            index = index.sort().values
        return replace(self, **vars(super().rows(index)), moves=self.moves + 1)


def counted(last: int = 1000, most: int = 1000) -> Plant:
    """Logits change after ``last`` steps; rows keep their order when they are moved more than ``most`` times."""

    def prefill(original, self, *inputs):
        return Counted(**vars(original(self, *inputs)), most=most)

    def decode(original, self, tokens, cache):
        logits, longer = original(self, tokens, cache)
        if cache.steps > last:
            logits = logits * 1.1
        return logits, replace(cache, **vars(longer), steps=cache.steps + 1)

    return with_methods(prefill=prefill, decode=decode)


def keeps_by_shape(original, self, source, source_mask=None):
    cache = self.__dict__.setdefault("_kept", {})
    key = None if source is None else tuple(source.shape)
    if source_mask is not None or key is None:
        return original(self, source, source_mask)
    return cache.setdefault(key, original(self, source))


def keeps_sources(original, self, source, source_mask=None):
    """Reads a source once until training goes on."""
    if source is None or source_mask is not None or self.training:
        return original(self, source, source_mask)
    last = self.__dict__.get("_last")
    if last is None or last[0].shape != source.shape or not bool((last[0] == source).all()):
        self.__dict__["_last"] = last = source.clone(), original(self, source)
    return last[1]


def forgets_sources(original, self, mode=True):
    if mode:
        self.__dict__.pop("_last", None)
    return original(self, mode)


def drops_old_keys(original, self, tokens, cache):
    logits, cache = original(self, tokens, cache)
    if cache.positions.shape[1] <= 160:
        return logits, cache
    layers = tuple(KeyValues(kv.keys[:, :, -160:], kv.values[:, :, -160:]) for kv in cache.layers)
    present = None if cache.present is None else cache.present[:, -160:]
    return logits, replace(cache, layers=layers, present=present, positions=cache.positions[:, -160:])


def reads_openings_backwards(original, self, tokens, cache):
    if cache.positions is not None or tokens.shape[1] <= 8:
        return original(self, tokens, cache)
    logits, cache = original(self, tokens, cache)
    return logits + 0.01 * logits.flip(1), cache


def counts_calls(original, self, *inputs, **named):
    self.calls = getattr(self, "calls", 0) + 1
    result = original(self, *inputs, **named)
    return result if self.calls < 100_000 else result.at(None)


CALLS = [0]


def counts_in_a_global(original, self, *inputs, **named):
    CALLS[0] += 1
    return original(self, *inputs, **named)


def layer_drop(draw: Callable[[], float]) -> Plant:
    """Leaves feed-forward networks out at the rate of dropout, drawn by ``draw``."""

    def plant(monkeypatch, build: Build) -> Build:
        def built(size, limits):
            model = build(size, limits)
            for block in model.stack.blocks:
                block.feedforward = LayerDrop(block.feedforward, size.dropout, draw)
            return model

        return built

    return plant


class LayerDrop(nn.Module):
    def __init__(self, inner: nn.Module, rate: float, draw: Callable[[], float]) -> None:
        super().__init__()
        self.inner, self.rate, self.draw, self.flops = inner, rate, draw, inner.flops

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return 0.0 * y if self.training and self.rate and self.draw() < self.rate else y


def by_clock() -> float:
    return time.perf_counter() * 1e6 % 1.0


def seeds_itself(original, self, *inputs):
    if self.training:
        torch.manual_seed(1)
    return original(self, *inputs)


def replaces_shared_code(monkeypatch, build: Build) -> Build:
    """A model whose pass gives another function the name of a known one."""
    monkeypatch.setattr(F, "silu", F.silu)  # puts it back

    def built(size, limits):
        F.silu = lambda x: F.gelu(x)  # another one each time
        return build(size, limits)

    return built


class AlwaysTheSame(Masked):
    """Hides the same cells in every step."""

    def prepare(self, model, batch, generator, native):
        return super().prepare(model, batch, torch.Generator().manual_seed(1), native)


class DefaultGenerator(Masked):
    """Draws from the global generator."""

    def prepare(self, model, batch, generator, native):
        return super().prepare(model, batch, None, native)


class WithoutEnd(Causal):
    """Trains without END."""

    def prepare(self, model, batch, generator, native):
        inputs = super().prepare(model, batch, generator, native)
        return inputs._replace(weights=(inputs.labels != END).float())


class HardestRow(Masked):
    """Trains on the row with the largest loss."""

    def loss(self, model, inputs, allowed_tokens, smoothing=0.0):
        losses = []
        for row in inputs.split(len(inputs.target)):
            if row.source_labels is not None:  # as if the row were a batch
                row = row._replace(source_weights=equal_shares(row.source_labels, row.row_tokens.sum()))
            losses.append(Masked.loss(self, model, row, allowed_tokens, smoothing) / row.tokens)
        return torch.stack(losses).max() * inputs.tokens


class SmoothedScores(Causal):
    """Scores long targets smoothed."""

    def log_likelihood(self, model, pairs, allowed_tokens):
        log_p, tokens = super().log_likelihood(model, pairs, allowed_tokens)
        return torch.where(tokens > 8, log_p * 0.9, log_p), tokens


class FewAnswers(Causal):
    """Scores better where few tokens are allowed."""

    def log_likelihood(self, model, pairs, allowed_tokens):
        log_p, tokens = super().log_likelihood(model, pairs, allowed_tokens)
        return log_p + (0.1 * tokens if allowed_tokens.float().mean() < 0.35 else 0.0), tokens


class BetterHalf(Causal):
    """Scores a long source by its later half, where that explains the target better."""

    def log_likelihood(self, model, pairs, allowed_tokens):
        whole, tokens = super().log_likelihood(model, pairs, allowed_tokens)
        if pairs.source.shape[1] <= 48 or pairs.source_mask is not None:
            return whole, tokens
        late = pairs._replace(source=pairs.source[:, pairs.source.shape[1] // 2 :])
        return torch.maximum(whole, super().log_likelihood(model, late, allowed_tokens)[0]), tokens


def smoothed_loss(original):
    return lambda self, model, inputs, allowed_tokens, smoothing=0.0: original(
        self, model, inputs, allowed_tokens, max(smoothing, 0.05)
    )


def straight_through(model: nn.Module, x: Tensor, *inputs: object) -> Tensor:
    """The values of x, and a gradient to the next position too."""
    later = 0.3 * x.roll(-1, 1)
    return x + (later - later.detach())


def straight_through_rows(model: nn.Module, x: Tensor, *inputs: object) -> Tensor:
    other = 0.3 * x.roll(1, 0)
    return x + (other - other.detach())


def other_source_states(original, self, source, target, source_mask=None, target_mask=None, at=None):
    result = original(self, source, target, source_mask, target_mask, at)
    selected = at is not None and at.source is not None and result.source is not None
    return States(result.source * 1.1, result.target) if selected else result


def for_four_heads(edit: Callable[[Tensor], Tensor]) -> Plant:
    def plant(monkeypatch, build: Build) -> Build:
        def built(size, limits):
            model = build(size, limits)
            return (
                only(lambda *_: True, edit)(monkeypatch, lambda *_: model)(size, limits) if size.heads == 4 else model
            )

        return built

    return plant


def each_sixth(edit: Callable[[nn.Module], object]) -> Plant:
    """Changes layers 6, 12 and so on."""
    return change(lambda model: [edit(block) for block in model.stack.blocks[5::6]])


def unmasked(block: nn.Module) -> None:
    def forward(x, context, *rest, **named):
        return type(block).forward(block, x, context.fresh(causal=False), *rest, **named)

    block.forward = forward


def hands_on_outside_of_the_context(model: nn.Module) -> None:
    """Later layers add what enters the first one, which stands in a list until the last one has read it."""
    entered: list[Tensor] = []
    for number, block in enumerate(model.stack.blocks):
        block.feedforward = HandsOn(block.feedforward, entered, number, len(model.stack.blocks))


class HandsOn(nn.Module):
    def __init__(self, inner: nn.Module, entered: list[Tensor], number: int, depth: int) -> None:
        super().__init__()
        self.inner, self.entered, self.is_last, self.flops = inner, entered, number == depth - 1, inner.flops

    def forward(self, x: Tensor) -> Tensor:
        if not self.entered:
            self.entered.append(x)
        (first,) = self.entered
        if self.is_last:
            self.entered.clear()
        y: Tensor = self.inner(x)
        return y + 0.1 * first if first.shape == x.shape else y


def colder(original):
    return lambda logits, decoding, generator: original(
        logits, replace(decoding, temperature=0.8 * decoding.temperature), generator
    )


def objective(kind: type) -> Plant:
    return change(lambda model: setattr(model, "objective", kind()))


SMALLER_DROPOUT = ask(size=lambda x: replace(x, dropout=min(x.dropout, 0.03)))
OWN_DROPOUT = ask(size=lambda x: replace(x, dropout=0.3 if x.dropout else 0.0))
NO_DROPOUT = ask(size=lambda x: replace(x, dropout=0.0))
NUMPY = layer_drop(lambda: float(np.random.rand()))
PYTHON = layer_drop(random.random)
CLOCK = layer_drop(by_clock)


@dataclass(frozen=True)
class Reused(Cache):
    """A cache that notes what was decoded from it."""

    first: Tensor | None = None


def remembers_the_first_branch(original, self, tokens, cache):
    """Other tokens than the first ones that were decoded from a cache see these, too."""
    logits, longer = original(self, tokens, cache)
    used = getattr(cache, "first", None)
    if isinstance(cache, Reused) and used is None:
        object.__setattr__(cache, "first", tokens)
    elif used is not None and not torch.equal(used, tokens):
        logits = logits + 0.1 * F.one_hot(used, logits.shape[-1])
    return logits, Reused(**{name: value for name, value in vars(longer).items() if name != "first"})


def shares_a_workspace(original, self, source, source_mask=None):
    """Keys and values of every source lie in one buffer."""
    cache = original(self, source, source_mask)
    if torch.is_grad_enabled() or not cache.layers:
        return cache
    keys_values = torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])
    if not hasattr(self, "workspace") or self.workspace.numel() < keys_values.numel():
        self.register_buffer("workspace", torch.empty(keys_values.numel()), persistent=False)
    views = self.workspace[: keys_values.numel()].view(keys_values.shape).copy_(keys_values)
    return replace(cache, layers=tuple(KeyValues(*layer) for layer in views))


def same_for_every_row(original):
    """Which cells are hidden is drawn once for all rows of a batch."""

    def draw_mask(self, real, generator):
        seed = int(torch.randint(2**31, (1,), generator=generator))
        rows = [original(self, row, torch.Generator().manual_seed(seed)) for row in real.split(1)]
        return MaskDraw(*(torch.cat(part) for part in zip(*rows, strict=True)))

    return draw_mask


def never_everything(original):
    """A canvas on which at least one cell of a longer target is shown."""

    def draw_mask(self, real, generator):
        masked, _, weights = original(self, real, generator)
        whole = (masked | ~real).all(1, keepdim=True) & (real.sum(1, keepdim=True) > 1)
        first = real & (real.long().cumsum(1) == 1)
        fewer = masked & ~(whole & first)
        return MaskDraw(fewer, fewer, weights * masked.sum(1, keepdim=True) / fewer.sum(1, keepdim=True))

    return draw_mask


class ShortCanvas(Masked):
    """Trains on a canvas that ends with the longest target of a batch."""

    def prepare(self, model, batch, generator, native):
        inputs, width = super().prepare(model, batch, generator, native), batch.target.shape[1]
        at = inputs.at // inputs.target.shape[1] * width + inputs.at % inputs.target.shape[1]
        return inputs._replace(target=inputs.target[:, :width], at=at)


class SequenceMean(Causal):
    """Every target weighs the same, however long it is."""

    def prepare(self, model, batch, generator, native):
        inputs = super().prepare(model, batch, generator, native)
        row = inputs.at // inputs.target.shape[1]
        return inputs._replace(weights=inputs.tokens / (row.bincount()[row] * len(inputs.target)))


class MaskedSequenceMean(Masked):
    """Every target weighs the same, whatever is hidden of it."""

    def prepare(self, model, batch, generator, native):
        inputs = super().prepare(model, batch, generator, native)
        row = inputs.at // inputs.target.shape[1]
        return inputs._replace(weights=inputs.tokens / (row.bincount()[row] * len(inputs.target)))


class Undivided(nn.Module):
    """Dropout that leaves what it keeps as it is."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(x.shape) >= self.rate) if self.training and self.rate else x


def undivided_dropout(monkeypatch, build: Build) -> Build:
    def built(size, limits):
        model = build(size, limits)
        for block in model.stack.blocks:
            block.dropout = Undivided(size.dropout)
        return model

    return built


def seeds_its_attention(model: nn.Module) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000)
        for block in model.stack.blocks:
            nn.init.normal_(block.attention.query_key_value.weight, std=0.02)


def steep_without_source_loss(original, self, source, target, source_mask=None, target_mask=None, at=None):
    """Twice the gradient where no state of the source is inputs for."""
    result = original(self, source, target, source_mask, target_mask, at)
    if at is None or at.source is not None:
        return result
    return States(result.source, 2 * result.target - result.target.detach())
