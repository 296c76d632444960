"""Faults in what is kept: keys and values, rows of a cache, and anything that a call leaves behind."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.components.cache import Cache
from archbench.architectures.components.key_values import KeyValueBuffer, KeyValues
from archbench.architectures.contract.trials import USUAL
from archbench.architectures.families import encoder
from archbench.architectures.families.encoder import EncoderState
from archbench.tasks.base.example import PAD
from faults.plant import (
    CAUSAL,
    DECODER,
    ENCODER,
    ENCODER_DECODER,
    THREE,
    Build,
    Fault,
    Plant,
    combined,
    patch,
    with_methods,
)


def off_by_one(original, self, tokens):
    new, positions, present = original(self, tokens)
    if self.lengths is None:
        return new, positions, present
    return new + 1, torch.cat([positions[:, : -tokens.shape[1]], new + 1], 1), present


def overwrites(original, self, begin, end):
    self.filled = begin
    return end <= self.keys.shape[2]


def shares_rows(original, self, later):
    return original(self, KeyValues(*(x[:1].expand_as(x) for x in later[:2])))


def first_row(original, self, index):
    return original(self, 0 * index)


def blank_canvas_of_padding(monkeypatch, build: Build) -> Build:
    monkeypatch.setattr(encoder, "MASK", PAD)
    return build


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


def keeps_by_shape(original, self, source, source_mask=None):
    if source_mask is not None or source is None:
        return original(self, source, source_mask)
    return self.__dict__.setdefault("_kept", {}).setdefault(tuple(source.shape), original(self, source))


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
    opening = cache.positions is None and tokens.shape[1] > 8
    logits, cache = original(self, tokens, cache)
    return (logits + 0.01 * logits.flip(1) if opening else logits), cache


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


def counts_calls(original, self, *inputs, **named):
    self.calls = getattr(self, "calls", 0) + 1
    result = original(self, *inputs, **named)
    return result if self.calls < 100_000 else result.at(None)


CALLS = [0]


def counts_in_a_global(original, self, *inputs, **named):
    CALLS[0] += 1
    return original(self, *inputs, **named)


OFF_BY_ONE = "logits of decoding 5 tokens, compared with those of one pass: off by"
MANY_ROWS = r"logits of decoding .* \((5|8|9|16|33) rows"
FAULTS = {
    "nothing_is_remembered": (
        Fault(
            "keys and values kept between calls",
            "logits from a cache after many other passes, compared with those of a new model",
            with_methods(prefill=keeps_by_shape),
        ),
        Fault("calls are counted", r"passes change model\.calls", with_methods(hidden=counts_calls)),
        Fault("calls are counted in a global", "passes change .*CALLS", with_methods(hidden=counts_in_a_global)),
    ),
    "changed_weights_are_used": (
        Fault(
            "states of a source kept while weights change",
            "logits from a cache in evaluation mode after weights are loaded, compared with those of a new model",
            with_methods(prefill=keeps_sources, train=forgets_sources),
            ENCODER_DECODER,
        ),
    ),
    "caches_are_values": (
        Fault(
            "rows of a cache mixed up",
            "decoding from selected rows of a cache: off by",
            combined(patch(KeyValues, "rows", first_row), patch(EncoderState, "rows", first_row)),
            (*ENCODER, *CAUSAL),
        ),
        Fault(
            "a cache written over",
            "decoding on after others wrote from the same cache: off by",
            patch(KeyValueBuffer, "fits", overwrites),
            CAUSAL,
            alone=True,
        ),
        Fault(
            "a cache shared between rows",
            "decoding from selected rows of a cache: off by",
            patch(KeyValues, "then", shares_rows),
            ("decoder", "prefix-decoder"),
        ),
        Fault(
            "other tokens decoded from a cache see the first ones",
            "decoding other tokens from a cache that was used",
            with_methods(decode=remembers_the_first_branch),
        ),
        Fault(
            "keys and values of every source in one workspace",
            "decoding from a cache after another source was read",
            with_methods(prefill=shares_a_workspace),
        ),
    ),
    "forward_is_prefill_and_decode": (
        Fault("positions off by one after prefill", OFF_BY_ONE, patch(Cache, "extend", off_by_one), CAUSAL),
        Fault("a blank canvas of another token", OFF_BY_ONE, blank_canvas_of_padding, ENCODER),
        Fault(
            "the mask of many rows forgotten", MANY_ROWS, with_methods(prefill=forgets_the_mask), THREE, trials=USUAL
        ),
        Fault(
            "positions from the width of a batch of many rows",
            MANY_ROWS,
            with_methods(prefill=counts_the_width),
            DECODER,
            trials=USUAL,
        ),
    ),
    "caches_last": (
        Fault("a cache that counts 64 steps", "logits of step 7", counted(last=64), trials=USUAL),
        Fault(
            "a cache that loses the order of rows moved often",
            "from a cache whose rows were reordered",
            counted(most=3),
            ENCODER_DECODER,
        ),
    ),
    "long_texts_are_read_alike": (
        Fault(
            "longer texts written without their beginning",
            "decoding 130 tokens, compared with those of one pass",
            with_methods(decode=drops_old_keys),
            trials=USUAL,
        ),
        Fault(
            "an opening without a source read both ways",
            "compared with those of one pass, without a source",
            with_methods(decode=reads_openings_backwards),
        ),
    ),
}
