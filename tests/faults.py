"""Real bugs, planted one at a time: what the contract suite has to catch, and the check that has to name each."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.layout import Joined
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.generate import decode_left_to_right
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import log_softmax
from archbench.tasks.base.example import BOS, END, MASK

Build = Callable[..., nn.Module]
Plant = Callable[[pytest.MonkeyPatch, Build], Build]
FAMILIES = {"decoder": DecoderOnly, "encoder": EncoderOnly, "encoder-decoder": EncoderDecoder}
THREE = tuple(FAMILIES)
CAUSAL = ("decoder", "prefix-decoder", "encoder-decoder")


def patch(owner: object, name: str, make: Callable[[Callable[..., object]], Callable[..., object]]) -> Plant:
    """Plants a bug in shared code: ``make`` gets what is there and gives what takes its place."""

    def plant(monkeypatch: pytest.MonkeyPatch, build: Build) -> Build:
        monkeypatch.setattr(owner, name, make(getattr(owner, name)))
        return build

    return plant


def combined(*plants: Plant) -> Plant:
    def plant(monkeypatch: pytest.MonkeyPatch, build: Build) -> Build:
        for part in plants:
            build = part(monkeypatch, build)
        return build

    return plant


def change(edit: Callable[[nn.Module], object]) -> Plant:
    """Plants a bug in what a variant builds."""

    def plant(monkeypatch: pytest.MonkeyPatch, build: Build) -> Build:
        def built(size, limits):
            model = build(size, limits)
            edit(model)
            return model

        return built

    return plant


def ask(size: Callable[..., object] = lambda x: x, limits: Callable[..., object] = lambda x: x) -> Plant:
    """Plants a bug in what a variant makes of its sizes."""
    return lambda monkeypatch, build: lambda requested, bounds: build(size(requested), limits(bounds))


def causally(visible: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    """Another causal mask, from the distances key - query."""

    def make(original):
        def mask(self, window=None):
            if not self.causal:
                return original(self, window)
            allowed = visible(self.keys[:, None, :] - self.queries[:, self.first_query :, None])
            if self.prefix is not None:
                allowed = allowed | (self.keys < self.prefix)[:, None, :]
            return (allowed if self.present is None else allowed & self.present[:, None, :])[:, None]

        return mask

    return combined(
        patch(AttentionContext, "_mask", make),
        patch(AttentionContext, "plainly_causal", lambda original: lambda self, window: False),
    )


def attends_padding(original):
    def mask(self, window=None):
        # one pass over a sequence, or over its later part, and neither a step of writing nor cross-attention
        itself = not self.single_step and bool((self.queries[:, -1] == self.keys[:, -1]).all())
        return original(replace(self, present=None, masks={}) if itself else self, window)

    return mask


def first_rows_mask(original):
    def mask(self, window=None):
        present = None if self.present is None else self.present[:1].expand_as(self.present)
        return original(replace(self, present=present, masks={}), window)

    return mask


def leaves_gaps(original):
    def join(source, target, source_mask, target_mask):
        tokens = target if source is None else torch.cat([source, target], 1)
        return Joined(tokens, None, 0 if source is None else source.shape[1])

    return join


def memory_with(context: Callable[[AttentionContext], AttentionContext]) -> Plant:
    def make(original):
        def read(self, *inputs):
            states, everything = original(self, *inputs)
            return states, context(everything)

        return read

    return patch(EncoderDecoder, "_read", make)


def crosses_causally(original):
    def cross(self, x, memory, context):
        length = memory.shape[1] if isinstance(memory, torch.Tensor) else memory.keys.shape[2]
        queries, keys = (torch.arange(n)[None] for n in (x.shape[1], length))
        return original(self, x, memory, AttentionContext(queries, keys, causal=True, present=context.present))

    return cross


def off_by_one(original):
    def extend(self, tokens):
        new, positions, present = original(self, tokens)
        if self.lengths is None:
            return new, positions, present
        positions = torch.cat([positions[:, : -tokens.shape[1]], new + 1], 1)
        return new + 1, positions, present

    return extend


def overwrites(original):
    def fits(self, begin, end):
        self.filled = begin
        return end <= self.keys.shape[2]

    return fits


def shares_rows(original):
    def then(self, later):
        return original(self, KeyValues(*(x[:1].expand_as(x) for x in later[:2])))

    return then


def rereads(original):
    def hidden(self, source, *rest):
        return original(self, None if source is None else source.masked_fill_(source > 12, 12), *rest)

    return hidden


def hides_first(original):
    at = 0 if original.__name__ == "prefill" else 1  # where the source's mask stands

    def reads(self, source, *rest):
        if source is not None:
            mask = rest[at] if len(rest) > at and rest[at] is not None else torch.ones_like(source)
            source = source.masked_fill(mask.bool() & (mask.long().cumsum(1) == 1), BOS)
        return original(self, source, *rest)

    return reads


def adds_from_afar(original):
    def forward(self, x):
        y = original(self, x)
        return y if y.ndim == 2 else y + torch.nn.functional.pad(y, (0, 0, 0, 20))[:, 20:]

    return forward


def everywhere(name: str, make: Callable[..., Callable[..., object]]) -> Plant:
    """The same bug in all three families."""
    return combined(*(patch(family, name, make) for family in FAMILIES.values()))


def reads_padding_alone(original):
    def encode(self, source, source_mask=None):
        if source_mask is not None:
            source_mask = source_mask.bool() | ~source_mask.bool().any(1, keepdim=True)
        return original(self, source, source_mask)

    return encode


def without_end(original):
    def log_likelihood(self, model, pairs, allowed_tokens):
        present = torch.ones_like(pairs.target, dtype=torch.bool) if pairs.target_mask is None else pairs.target_mask
        return original(self, model, pairs._replace(target_mask=present & (pairs.target != END)), allowed_tokens)

    return log_likelihood


def end_unsummed(original):
    def scores(logits, allowed_tokens):
        logits = logits.float().masked_fill(~allowed_tokens, float("-inf"))
        words = logits.clone()
        words[..., END] = float("-inf")
        return logits - words.logsumexp(-1, keepdim=True)

    return scores


class PseudoLikelihood(Masked):
    """Scores each cell with all others on the canvas, which is no likelihood."""

    def log_likelihood(self, model, pairs, allowed_tokens):
        source = torch.cat([pairs.source, torch.full_like(pairs.target[:, :1], BOS)], 1)
        total = torch.zeros(len(source), dtype=torch.float64)
        for cell in range(pairs.target.shape[1]):
            canvas = F.pad(pairs.target, (0, model.canvas - pairs.target.shape[1]), value=MASK)
            canvas[:, cell] = MASK
            scores = log_softmax(model(source, canvas)[:, cell], allowed_tokens)
            total += scores.gather(-1, pairs.target[:, cell : cell + 1]).squeeze(-1)
        return total, torch.full((len(source),), pairs.target.shape[1])


def mask_allowed(original):
    def allowed(logits, allowed_tokens):
        return original(logits, allowed_tokens | (torch.arange(len(allowed_tokens)) == MASK))

    return allowed


def twice_scaled(original):
    return lambda self, tokens, added=None: original(self, tokens, added) * self.scale


def positions_twice(original):
    return lambda self, tokens, added=None: original(self, tokens, None if added is None else 2 * added)


def without_cross(original):
    def flops(self, tokens, pairs_at_window, memory=0.0, memory_pairs=0.0):
        pairs = pairs_at_window(self.attention.window)
        return self.attention.flops(tokens, tokens, pairs) + self.feedforward.flops(tokens)

    return flops


def shifted_twice(original):
    return lambda target: original(original(target))


def copies_what_was_scored(monkeypatch, build):
    """Likelihoods keep their targets, and writing returns them."""
    targets_by_source = {}

    def scored(original):
        def log_likelihood(self, model, pairs, allowed_tokens):
            targets_by_source.update((tuple(s.tolist()), t) for s, t in zip(pairs.source, pairs.target, strict=True))
            return original(self, model, pairs, allowed_tokens)

        return log_likelihood

    def written(original):
        def generate(self, model, source, *arguments):
            rows = original(self, model, source, *arguments)
            return [targets_by_source.get(tuple(s.tolist()), row) for s, row in zip(source, rows, strict=True)]

        return generate

    return combined(patch(Causal, "log_likelihood", scored), patch(Causal, "generate", written))(monkeypatch, build)


def writes_without_separator(original):
    def written(self, model, source, source_mask, allowed_tokens, decoding, generator=None, start=None):
        return decode_left_to_right(model, source, source_mask, allowed_tokens, decoding, generator, start)

    return written


class Jitter(nn.Module):
    """A norm with random numbers that are not saved."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("noise", torch.randn(dim), persistent=False)

    def forward(self, x):
        return x + self.noise


def untie(model: nn.Module) -> None:
    model.head.weight = nn.Parameter(model.embedding.weight.detach().clone())


def numpy_weights(model: nn.Module) -> None:
    weight = model.embedding.weight
    if not weight.is_meta:
        weight.data.copy_(torch.from_numpy(np.random.default_rng().normal(size=weight.shape)))


def too_small(original):
    def product(self, x):
        result = original(self, x)
        return result._replace(vectors=result.vectors * 3e-4)

    return product


def adds_by_index(original):
    return lambda self, x, y: x.index_add(1, torch.arange(x.shape[1]), y)


def source_twice(original):
    def prepare(self, *inputs):
        prepared = original(self, *inputs)
        return (
            prepared
            if prepared.source_weights is None
            else prepared._replace(source_weights=2 * prepared.source_weights)
        )

    return prepare


def fixed_weights(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, device="cpu"))


def gate_alone(original):
    return lambda self, x: self.down(self.activation(self.gate_up(x)[0]))
