"""Attention in blocks equals that of PyTorch in float32, to the rounding of bfloat16, gradients too."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from whole_models import padded_pairs, perturbed

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.mask import CAUSAL, PREFIX
from archbench.architectures.components.positions import rotated
from archbench.architectures.contract import LIMITS
from archbench.architectures.kernels import blockwise
from archbench.architectures.kernels.attend import additive, is_causal_square
from archbench.architectures.objectives.objective import mean_loss

NEAR = 0.02  # relative error of a whole tensor: bfloat16 has 8 bits


def random_tensor(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16().requires_grad_()


def near(actual: Tensor, expected: Tensor) -> bool:
    return bool((actual.float() - expected.float()).norm() <= NEAR * expected.float().norm())


@pytest.mark.parametrize("block", [4, 128], ids=["blocks", "one block"])
@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("kind", ["causal", "all", "bias", "causal and bias", "padding", "cross"])
@pytest.mark.parametrize("scale", [0.35, 1.0])
@pytest.mark.parametrize("step", [0, 1, 16], ids=["float32", "bfloat16", "bfloat16, rounded up"])
def test_it_is_attention(
    kind: str, shared: int, block: int, scale: float, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockwise, "BLOCK", block)
    monkeypatch.setattr(blockwise, "WIDE", block)
    monkeypatch.setattr(blockwise, "SHORT", 0 if step else 32)
    monkeypatch.setattr(blockwise, "STEP", step)
    monkeypatch.setattr(blockwise, "MANY", 1)  # 12 sequences times heads are rounded up to 16
    n, m = 10, 7 if kind == "cross" else 10
    q, k, v = (
        random_tensor(3, 4, n, 8, seed=0),
        random_tensor(3, 4 // shared, m, 8, seed=1),
        random_tensor(3, 4 // shared, m, 8, seed=2),
    )
    causal, mask = "causal" in kind, None
    if "bias" in kind:
        mask = torch.randn(1, 4, n, m, generator=torch.Generator().manual_seed(3)).requires_grad_()
    if kind in ("padding", "cross"):
        mask = torch.zeros(3, 1, 1, m).masked_fill(
            torch.arange(m) >= torch.tensor([m, 3, 1])[:, None, None, None], -1e9
        )
        mask = mask.expand(3, 1, n, m)
    hidden = torch.full((n, m), float("-inf")).triu(1) if causal else torch.zeros(n, m)
    added = None if mask is None else mask + hidden
    expected = F.scaled_dot_product_attention(
        q.float(), k.float(), v.float(), hidden if added is None else added, scale=scale, enable_gqa=shared > 1
    )
    expected = expected.transpose(1, 2).flatten(2)
    output = blockwise.attention(q, k, v, added, causal, scale)
    assert output.dtype == torch.bfloat16 and near(output, expected)
    above = random_tensor(3, n, 32, seed=4)
    inputs = [q, k, v] + ([mask] if mask is not None and mask.requires_grad else [])
    theirs = torch.autograd.grad(expected, inputs, above.float())
    for ours, reference in zip(torch.autograd.grad(output, inputs, above), theirs, strict=True):
        assert near(ours, reference)


@pytest.mark.parametrize("length", [1, 3, 128, 191, 193, 257, 300, 1000])
@pytest.mark.parametrize("causal", [True, False])
def test_blocks_are_all_queries_once_and_none_is_a_sliver(length: int, causal: bool) -> None:
    blocks, size = blockwise._blocks(length, length, causal), blockwise.BLOCK if causal else blockwise.WIDE
    assert [i for begin, end, _ in blocks for i in range(begin, end)] == list(range(length))
    assert all(end - begin <= 1.5 * size and keys == (end if causal else length) for begin, end, keys in blocks)
    assert len(blocks) == 1 or min(end - begin for begin, end, _ in blocks) >= size / 2


def test_it_serves_bfloat16_on_a_processor_alone() -> None:
    q, k = torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, blockwise.LONGEST, 4)
    assert not blockwise.applies(q, k, 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert blockwise.applies(q, k, 0.0)
        assert not blockwise.applies(q, k, 0.1)
        assert not blockwise.applies(q, torch.zeros(1, 1, blockwise.LONGEST + 1, 4), 0.0)
        assert not blockwise.applies(q.to("meta"), k, 0.0)


def test_a_view_that_only_is_causal_square_needs_no_mask() -> None:
    places = torch.arange(5)[None]
    assert additive(AttentionContext(places, places, CAUSAL), None, 5) is None
    padded = AttentionContext(places, places, CAUSAL, present=torch.tensor([[True, True, True, False, False]]))
    assert is_causal_square(padded) and additive(padded, None, 5) is not None
    assert not is_causal_square(AttentionContext(places, places, PREFIX, torch.tensor([[2]])))
    assert not is_causal_square(AttentionContext(places[:, 4:], places, CAUSAL))


@pytest.mark.parametrize(
    "name",
    [
        "decoder",
        "encoder",
        "encoder-decoder",
        "prefix-decoder",
        "gpt2",
        "llama",
        "bert",
        "modernbert",
        "t5",
        "t5-gated",
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_training_in_bfloat16_gets_the_gradients_of_the_kernel_of_pytorch(
    name: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.05), padded_pairs()
    allowed_tokens = torch.ones(LIMITS.vocabulary, dtype=torch.bool)

    def gradients(bf16: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = mean_loss(model, pairs, allowed_tokens, torch.Generator().manual_seed(1), native, 0.0)
        weight_gradients = torch.autograd.grad(
            loss, list(model.parameters()), allow_unused=True, materialize_grads=True
        )
        return [loss.detach(), *weight_gradients]

    exact, ours = gradients(bf16=False), gradients(bf16=True)
    monkeypatch.setattr(blockwise, "applies", lambda *arguments: False)
    theirs = gradients(bf16=True)

    def errors(values: list[Tensor]) -> list[float]:
        return [float((a.float() - b).norm() / (b.norm() + 1e-4)) for a, b in zip(values, exact, strict=True)]

    for our_error, their_error in zip(errors(ours), errors(theirs), strict=True):
        assert our_error < 3 * their_error + 0.02


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "t5"])
def test_a_backward_pass_inside_autocast_gives_the_same_gradients(name: str) -> None:
    model, pairs = perturbed(name, 0.05), padded_pairs()
    allowed_tokens, parameters = torch.ones(LIMITS.vocabulary, dtype=torch.bool), list(model.parameters())

    def gradients(inside: bool) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            loss = mean_loss(model, pairs, allowed_tokens, torch.Generator().manual_seed(1), True, 0.0)
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            return list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))

    assert all(map(torch.equal, gradients(inside=True), gradients(inside=False)))


def test_rotation_turns_back_in_the_backward_pass() -> None:
    x = torch.randn(2, 3, 5, 8, dtype=torch.double, requires_grad=True)
    angles = torch.cat([torch.rand(1, 1, 5, 4, dtype=torch.double)] * 2, -1)
    assert torch.autograd.gradcheck(lambda x: rotated(x, angles.cos(), angles.sin()), x)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_single_position_is_rotated_alike(rows: int) -> None:
    x = torch.randn(rows, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    angles = torch.cat([torch.rand(1, 1, 5, 4, generator=torch.Generator().manual_seed(1))] * 2, -1)
    expected = rotated(x, angles.cos(), angles.sin())
    with torch.no_grad():
        for place in range(5):
            angle = angles[:, :, [place]]
            single = rotated(x[:, :, [place]], angle.cos(), angle.sin())
            torch.testing.assert_close(single, expected[:, :, [place]], rtol=0, atol=0)


def test_dropout_of_attention_weights_takes_the_kernel_that_has_it() -> None:
    attention, places = Attention(8, 2, dropout=0.5).train(), torch.arange(6)[None]
    torch.nn.init.normal_(attention.output.weight)
    x = torch.randn(2, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        first, second = (attention(x, AttentionContext(places, places, CAUSAL))[0] for _ in range(2))
        assert not torch.equal(first, second)
        attention.eval()
        first, second = (attention(x, AttentionContext(places, places, CAUSAL))[0] for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize("keys", [1, 2, blockwise.VECTOR - 1, blockwise.VECTOR, blockwise.VECTOR + 1])
def test_a_softmax_of_few_keys_is_a_softmax(keys: int) -> None:
    scores = 5 * torch.randn(3, 4, keys, generator=torch.Generator().manual_seed(0))
    scores = scores.masked_fill(torch.ones(4, keys).triu(1).bool(), float("-inf")).requires_grad_()
    above = torch.randn(3, 4, keys, generator=torch.Generator().manual_seed(1))
    expected = scores.softmax(-1)
    softmax = blockwise._softmax(scores.detach().clone())
    torch.testing.assert_close(softmax, expected)
    slope = blockwise._softmax_grad(above.clone(), softmax)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, scores, above)[0], rtol=1e-5, atol=1e-6)
