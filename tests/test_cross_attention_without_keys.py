"""Few queries look at a memory without keys and values of its own: the same answers, gradients and counts."""

import pytest
import torch
from torch import Tensor
from whole_models import perturbed

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.states import position_ids
from archbench.architectures.contract import LIMITS
from archbench.architectures.kernels import blockwise, direct
from archbench.architectures.kernels.table import optimize
from archbench.architectures.objectives.objective import Batch, mean_loss

NEAR = 0.03  # relative error of a whole tensor: bfloat16 has 8 bits, and products are made in another order
ANSWERS = torch.ones(LIMITS.vocabulary, dtype=torch.bool)


def attention(
    bias: bool = False, kv_heads: int = 4, scale: float | None = None, dropout: float = 0.0, qk_norm: bool = False
) -> Attention:
    torch.manual_seed(0)
    layer = Attention(64, 4, kv_heads, bias=bias, scale=scale, dropout=dropout, qk_norm=qk_norm)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(0, 0.2)
    return optimize(layer)


def random_tensor(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def context(length: int, lengths: list[int] | None) -> AttentionContext:
    keys = position_ids(length, torch.device("cpu"))
    present = None if lengths is None else keys < torch.tensor(lengths)[:, None]
    return AttentionContext(keys[:, :1], keys, present=present)


def results(
    module: Attention, x: Tensor, memory: Tensor, geometry: AttentionContext, queries: int | None
) -> list[Tensor]:
    """Answer and gradients, directly in bfloat16 or, without a number of queries, by keys and values in float32."""
    with torch.autocast("cpu", torch.bfloat16, enabled=queries is not None):
        source = memory if queries is not None else module.project_keys_values(memory)
        y, _ = module(x, geometry, memory=source)
    above = torch.randn(y.shape, generator=torch.Generator().manual_seed(9))
    gradients = torch.autograd.grad(y.float(), [x, memory, *module.parameters()], above)
    return [y, *gradients]


@pytest.mark.parametrize("lengths", [None, [40, 3, 17]], ids=["whole", "padded"])
@pytest.mark.parametrize("queries", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": True},
        {"kv_heads": 2},
        {"kv_heads": 2, "bias": True, "scale": 0.4},
        {"kv_heads": 2, "qk_norm": True},
    ],
    ids=str,
)
def test_it_is_attention_with_keys_and_values(
    options: dict[str, bool | int | float], queries: int, lengths: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archbench.architectures.kernels.direct.DIRECT", 1)
    module = attention(**options)  # type: ignore[arg-type]
    x, memory, geometry = random_tensor(3, queries, 64, seed=1), random_tensor(3, 40, 64, seed=2), context(40, lengths)
    actual, expected = (results(module, x, memory, geometry, count) for count in (queries, None))
    names = ["answer", "x", "memory", *(name for name, _ in module.named_parameters())]
    for name, ours, plain in zip(names, actual, expected, strict=True):
        error, size = (ours - plain).float(), plain.float()
        if name == "query_key_value.bias":  # a key's bias has no gradient, but for rounding
            has_gradient = torch.ones(len(size), dtype=torch.bool)
            has_gradient[module.inner : module.inner + module.kv_heads * module.head_dim] = False
            assert error[~has_gradient].norm() <= NEAR * size[has_gradient].norm()
            error, size = error[has_gradient], size[has_gradient]
        assert error.norm() <= NEAR * size.norm(), name


def test_a_hidden_part_of_the_memory_changes_nothing() -> None:
    module, x = attention(), random_tensor(2, 1, 64, seed=1)
    memory = random_tensor(2, 40, 64, seed=2).detach()
    other = torch.where(torch.arange(40)[:, None] < 9, memory, 7.0)
    with torch.autocast("cpu", torch.bfloat16):
        output, changed = (module(x, context(40, [9, 9]), memory=m)[0] for m in (memory, other))
    torch.testing.assert_close(output, changed, atol=0, rtol=0)


@pytest.mark.parametrize("why", ["many queries", "short", "float32", "dropout"])
def test_keys_and_values_are_made_where_they_serve_better(why: str) -> None:
    module, queries, length = attention(dropout=0.1 * (why == "dropout")), 4, 40
    memory = torch.randn(1, blockwise.SHORT - 1 if why == "short" else length, 64)

    def applies(module: Attention, memory: Tensor, queries: int) -> bool:
        q = torch.randn(1, module.heads, queries, module.head_dim)
        return direct.applies(q, memory, module.query_key_value.weight, module.active_dropout)

    with torch.autocast("cpu", torch.bfloat16, enabled=why != "float32"):
        assert not applies(module, memory, queries + (why == "many queries"))
    with torch.autocast("cpu", torch.bfloat16):
        assert applies(attention(), torch.randn(1, length, 64), queries)


@pytest.mark.parametrize("name", ["encoder-decoder", "shared-encoder-decoder", "t5-gated"])
def test_a_model_learns_the_same_from_a_label(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = perturbed(name, 0.1)
    length = min(40, LIMITS.source_length)
    tokens = torch.randint(8, LIMITS.vocabulary, (4, length + 1), generator=torch.Generator().manual_seed(0))
    pairs = Batch(tokens[:, :length], tokens[:, length:])
    used = []
    attend = direct.attention
    monkeypatch.setattr(direct, "attention", lambda *arguments: used.append(1) or attend(*arguments))

    def gradient(multiplications: float, shortest: int) -> Tensor:
        monkeypatch.setattr("archbench.architectures.kernels.direct.DIRECT", multiplications)
        monkeypatch.setattr(blockwise, "SHORT", shortest)
        with torch.autocast("cpu", torch.bfloat16):
            loss = mean_loss(model, pairs, ANSWERS, torch.Generator().manual_seed(1), False, 0.0)
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))])

    actual, expected = gradient(0.0, 0), gradient(1e9, 0)
    assert used and (actual - expected).norm() <= NEAR * expected.norm()
