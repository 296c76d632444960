"""Keys and values in a room: a single query finds what any attention finds, and who holds them keeps what it held."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whole_models import padded_pairs, perturbed

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.key_values import STEP, KeyValues
from archbench.architectures.components.mask import BIDIRECTIONAL, CAUSAL
from archbench.architectures.components.stack import CrossAttentionCache
from archbench.architectures.components.states import position_ids
from archbench.architectures.kernels import single
from archbench.architectures.kernels.attend import additive

ROWS, HEADS, CHANNELS = 3, 4, 8
LENGTHS = (1, STEP - 1, STEP, STEP + 1, 2 * STEP)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def random_tensor(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def applies(q: Tensor, stored: KeyValues) -> bool:
    return stored.buffer is not None and single.applies(q, stored.keys)


def attended(q: Tensor, stored: KeyValues, mask: Tensor | None, scale: float) -> Tensor:
    """What a single query finds."""
    assert stored.buffer is not None
    return single.attention(q, stored.buffer.keys, stored.buffer.values, stored.keys.shape[2], mask, scale)


def random_keys_values(length: int, heads: int = HEADS, seed: int = 0) -> KeyValues:
    shape = (ROWS, heads, length, CHANNELS)
    return KeyValues(random_tensor(*shape, seed=seed), random_tensor(*shape, seed=seed + 1))


def masks(length: int) -> dict[str, Tensor | None]:
    """What a query may see, or what is added to its scores; its last key is seen by everyone."""
    hides = random_tensor(ROWS, 1, 1, length, seed=7) > 0
    hides[..., -1] = False
    return {"none": None, "hides": ~hides, "adds": random_tensor(1, HEADS, 1, length, seed=8)}


@pytest.mark.parametrize("mask", ["none", "hides", "adds"])
@pytest.mark.parametrize("kv_heads", [HEADS, 2, 1])
@pytest.mark.parametrize("length", LENGTHS)
def test_a_single_query_finds_what_any_attention_finds(length: int, kv_heads: int, mask: str) -> None:
    stored, q = random_keys_values(length, kv_heads).buffered(), random_tensor(ROWS, HEADS, 1, CHANNELS, seed=5)
    assert applies(q, stored)
    allowed = masks(length)[mask]
    expected = F.scaled_dot_product_attention(q, stored.keys, stored.values, allowed, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(attended(q, stored, allowed, 0.3), expected)


@pytest.mark.parametrize("length", LENGTHS)
def test_what_comes_later_or_was_left_out_is_not_seen(length: int) -> None:
    q, first = random_tensor(ROWS, HEADS, 1, CHANNELS, seed=5), random_keys_values(length)
    stored = first.buffered()
    expected = attended(q, stored, None, 1.0)
    stored.then(
        KeyValues(
            1e3 * random_tensor(ROWS, HEADS, 1, CHANNELS, seed=6), 1e3 * random_tensor(ROWS, HEADS, 1, CHANNELS, seed=6)
        )
    )
    torch.testing.assert_close(attended(q, stored, None, 1.0), expected, rtol=0, atol=0)
    index = torch.tensor([2, 0, 0, 1])
    selected = stored.rows(index)
    torch.testing.assert_close(attended(q[index], selected, None, 1.0), expected[index], rtol=0, atol=0)


def test_whoever_goes_on_from_the_same_keys_goes_on_alone() -> None:
    prefix = random_keys_values(3).buffered()
    branch, other = prefix.then(random_keys_values(1, seed=10)), prefix.then(random_keys_values(1, seed=20))
    selected = branch.rows(torch.tensor([0, 1, 2]))
    selected.then(random_keys_values(1, seed=30)), branch.then(random_keys_values(1, seed=40))
    for continued, last in ((branch, 10), (other, 20), (selected, 10)):
        torch.testing.assert_close(
            continued.keys, torch.cat([prefix.keys, random_keys_values(1, seed=last).keys], 2), rtol=0, atol=0
        )
        torch.testing.assert_close(
            continued.values, torch.cat([prefix.values, random_keys_values(1, seed=last).values], 2), rtol=0, atol=0
        )


def test_masks_of_other_rows_are_computed_for_them() -> None:
    places, present = torch.arange(3)[None], torch.tensor([[True, True, False], [True, True, True]])
    context = AttentionContext(places, places, present=present)
    assert additive(context, None, 3) is not None and context.mask() is not None
    chosen = CrossAttentionCache(torch.zeros(2, 3, 4), context).rows(torch.tensor([1])).context
    alone = AttentionContext(places, places, present=present[1:])
    for mask, expected in ((additive(chosen, None, 3), additive(alone, None, 3)), (chosen.mask(), alone.mask())):
        assert mask is not None and expected is not None and torch.equal(mask, expected)


def test_memory_grows_by_few_places_that_lie_idle() -> None:
    stored = random_keys_values(1).buffered()
    for length in range(2, 4 * STEP):
        stored = stored.then(random_keys_values(1, seed=length))
        assert stored.buffer is not None
        assert stored.keys.shape[2] == length
        assert stored.buffer.keys.shape[2] - length < STEP


def test_several_queries_gradients_and_other_types_take_the_usual_way() -> None:
    prefix, q = random_keys_values(5).buffered(), random_tensor(ROWS, HEADS, 1, CHANNELS, seed=5)
    assert not applies(q, random_keys_values(5)), "without a room"
    assert not applies(q.expand(-1, -1, 2, -1), prefix)
    assert not applies(q.double(), prefix)
    with torch.enable_grad():
        assert not applies(q, prefix)
        assert random_keys_values(5).buffered().buffer is None
    double = KeyValues(*(tensor.double() for tensor in random_keys_values(5)[:2]))
    assert double.buffered().buffer is None


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ["decoder", "prefix-decoder", "encoder-decoder", "llama", "t5"])
def test_writing_looks_by_single_queries_and_sees_the_same(
    name: str, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.2).eval(), padded_pairs()
    mask = pairs.source_mask if padded else None

    def logits() -> Tensor:
        cache, outputs = model.prefill(pairs.source, mask), []
        for place in range(pairs.target.shape[1]):
            step, cache = model.decode(pairs.target[:, [place]], cache)
            outputs.append(step)
        return torch.cat(outputs, 1)

    calls: list[int] = []
    attention = single.attention
    monkeypatch.setattr(single, "attention", lambda *arguments: calls.append(1) or attention(*arguments))
    single_logits = logits()
    steps, crosses = pairs.target.shape[1], model.family == "encoder-decoder"
    depth = len((model.decoder if crosses else model.stack).blocks)
    assert len(calls) == depth * (2 * steps - 1 if crosses else steps)  # its first token has nobody but itself to see
    monkeypatch.setattr(single, "applies", lambda q, keys: False)
    torch.testing.assert_close(single_logits, logits(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"bias": True, "kv_heads": 2}, {"scale": 0.4}], ids=str)
def test_cross_attention_one_by_one_is_that_of_all_at_once(options: dict[str, bool | int | float]) -> None:
    torch.manual_seed(0)
    module = Attention(32, 4, **options)  # type: ignore[arg-type]
    for parameter in module.parameters():
        parameter.normal_(0, 0.3)
    x, memory, keys = (
        random_tensor(2, 5, 32, seed=1),
        random_tensor(2, 9, 32, seed=2),
        position_ids(9, torch.device("cpu")),
    )
    context = AttentionContext(keys[:, :1], keys, present=keys < torch.tensor([[9], [4]]))
    expected, _ = module(x, AttentionContext(keys[:, :5], keys, present=context.present), memory=memory)
    with torch.no_grad():
        cache = module.project_keys_values(memory).buffered()
        assert cache.buffer is not None
        outputs = torch.cat([module(x[:, [place]], context, memory=cache)[0] for place in range(5)], 1)
    torch.testing.assert_close(outputs, expected)


@pytest.mark.parametrize("gradients", [False, True])
def test_keys_and_values_may_differ_in_heads_and_width(gradients: bool) -> None:
    """As in an attention of a variant's own, whose values are wider than its keys."""
    steps = [
        KeyValues(random_tensor(ROWS, 2, n, 4, seed=n), random_tensor(ROWS, 1, n, 12, seed=10 + n)) for n in (3, 1, 2)
    ]
    with torch.set_grad_enabled(gradients):
        kept = steps[0].then(steps[1]).then(steps[2])
    index = torch.tensor([2, 0, 0])
    for part, selected, *parts in zip(kept[:2], kept.rows(index)[:2], *(step[:2] for step in steps), strict=True):
        assert torch.equal(part, torch.cat(parts, 2)) and torch.equal(selected, part[index])


@pytest.mark.parametrize("window", [None, 1])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_masked_scores_hide_what_a_query_does_not_see(
    padded: bool, causal: bool, biased: bool, window: int | None
) -> None:
    """A causal square without padding too, where ``additive`` gives no mask."""
    places = torch.arange(4)[None]
    present = torch.tensor([[False, True, True, True], [True, True, True, True]]) if padded else None
    bias = random_tensor(1, 2, 4, 4, seed=1) if biased else None
    context = AttentionContext(places, places, CAUSAL if causal else BIDIRECTIONAL, present=present, bias=bias)
    scores = random_tensor(2, 2, 4, 4, seed=0)
    hidden = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    for query in range(4):
        for key in range(4):
            hidden[:, 0, query, key] |= (causal and key > query) or (window is not None and abs(key - query) > window)
    if padded:
        hidden[0, 0, :, 0] = True
        hidden[0, 0] &= ~hidden[0, 0].all(-1, keepdim=True)  # a query that sees nothing reads all: no NaN
    expected = (scores if bias is None else scores + bias).masked_fill(hidden, float("-inf"))
    torch.testing.assert_close(context.masked(scores, window), expected)


class LastKeys(NamedTuple):
    keys: Tensor
    values: Tensor
    places: Tensor  # (b, k)
    present: Tensor  # (b, k)

    def rows(self, index: Tensor) -> "LastKeys":
        return LastKeys(*(part[index] for part in self))


class Trimmed(nn.Module):
    """Attention within a window of 2 that keeps no more than the last two keys that are present."""

    window = 2

    def __init__(self, inner: Attention) -> None:
        super().__init__()
        self.inner, self.dim, self.flops = inner, inner.dim, inner.flops

    def forward(self, x: Tensor, context: AttentionContext, past: LastKeys | None = None) -> tuple[Tensor, LastKeys]:
        q, k, v = self.inner.project(x, context)
        places = context.keys[:, -x.shape[1] :].expand(x.shape[:2])
        present = torch.ones_like(places, dtype=torch.bool)
        if context.present is not None:
            present = context.present[:, -x.shape[1] :]
        if past is not None:
            k, v = torch.cat([past.keys, k], 2), torch.cat([past.values, v], 2)
            places, present = torch.cat([past.places, places], 1), torch.cat([past.present, present], 1)
        scores = self.inner.scaling * q @ k.mT
        y = context.fresh(keys=places, present=present).masked(scores, self.window).softmax(-1) @ v
        last = torch.where(present, places, -1).topk(min(self.window, places.shape[1])).indices
        index = last[:, None, :, None].expand(-1, k.shape[1], -1, k.shape[3])
        state = LastKeys(k.gather(2, index), v.gather(2, index), places.gather(1, last), present.gather(1, last))
        return self.inner.output(y.transpose(1, 2).flatten(2)), state


@pytest.mark.parametrize(
    "check",
    [
        contract.check("no_look_ahead"),
        contract.check("padding_is_invisible"),
        contract.check("forward_is_prefill_and_decode"),
        contract.check("caches_are_values"),
        contract.check("caches_last"),
    ],
    ids=lambda check: check.__name__,
)
def test_a_state_may_keep_the_last_keys_alone(check: contract.Check) -> None:
    def build(size, limits):
        model = catalogue.find("decoder").build(size, limits)
        for block in model.stack.blocks:
            block.attention = Trimmed(block.attention)
        return model

    check(contract.subject(build))
