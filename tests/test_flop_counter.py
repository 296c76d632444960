"""FLOPs are counted by what runs: every way to write a product counts, and what is no product does not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.positions import Alibi, RelativeBias, Rotary, Sinusoidal, rotated
from archbench.architectures.contract.counts.counter import counted
from archbench.architectures.contract.subject import BrokenError

ROWS, WIDTH, OUT = 6, 5, 7
Product = Callable[[Tensor, Tensor], Tensor]  # of rows (n, k) and a matrix (m, k): (n, m)
TERMS = {"addr": ROWS * OUT}  # a single column


def _added_up(x: Tensor, matrix: Tensor) -> Tensor:
    y = torch.zeros(len(x), len(matrix))
    for column in range(x.shape[1]):
        y = y + x[:, column, None] * matrix[:, column]
    return y


def _added_in_place(x: Tensor, matrix: Tensor) -> Tensor:
    y = torch.zeros(len(x), len(matrix))
    for column in range(x.shape[1]):
        y = torch.addcmul(y, x[:, column, None], matrix[:, column])
    return y


PRODUCTS: dict[str, Product] = {
    "broadcast and summed": lambda x, matrix: (x[:, None] * matrix).sum(-1),
    "summed over another axis": lambda x, matrix: (x[..., None] * matrix.T).sum(-2),
    "repeated, then summed": lambda x, matrix: (x[:, None].repeat(1, len(matrix), 1) * matrix).sum(-1),
    "averaged": lambda x, matrix: (x[:, None] * matrix).mean(-1) * x.shape[1],
    "cumulated": lambda x, matrix: (x[:, None] * matrix).cumsum(-1)[..., -1],
    "divided and summed": lambda x, matrix: (x[:, None] / (1 / matrix)).sum(-1),
    "row by row": lambda x, matrix: torch.stack([(matrix * row).sum(-1) for row in x]),
    "columns added up": _added_up,
    "columns added up in place": _added_in_place,
    "mv": lambda x, matrix: torch.stack([torch.mv(matrix, row) for row in x]),
    "addmv": lambda x, matrix: torch.stack([torch.addmv(torch.zeros(len(matrix)), matrix, row) for row in x]),
    "dot": lambda x, matrix: torch.stack([torch.stack([torch.dot(row, other) for other in matrix]) for row in x]),
    "outer": lambda x, matrix: sum(torch.outer(a, b) for a, b in zip(x.T, matrix.T, strict=True)),  # type: ignore[misc]
    "convolution": lambda x, matrix: nn.functional.conv1d(x[..., None], matrix[..., None])[..., 0],
    "addr": lambda x, matrix: torch.addr(torch.zeros(len(x), len(matrix)), x[:, 0], matrix[:, 0]),
    "cdist": torch.cdist,
}


def flops(run, *parameters: Tensor, inputs: tuple[Tensor, ...] = ()) -> int:
    """FLOPs of a pass and its backward pass in the given parameters."""
    model = nn.Module()
    model.weights = nn.ParameterList(parameters)
    with counted(model, inputs) as counter:
        result = run(*inputs, *model.weights)
        result.backward(torch.randn(result.shape))
    return counter.total


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_way_to_write_a_product_counts_as_one(name: str) -> None:
    x, matrix = torch.randn(ROWS, WIDTH), torch.rand(OUT, WIDTH) + 0.5
    model = nn.Module()
    model.matrix = nn.Parameter(matrix)
    with torch.no_grad(), counted(model, (x,)) as counter:
        PRODUCTS[name](x, model.matrix)
    assert counter.total == 2 * TERMS.get(name, ROWS * WIDTH * OUT)


@pytest.mark.parametrize("name", ["broadcast and summed", "summed over another axis", "repeated, then summed"])
def test_a_product_written_as_a_sum_has_a_backward_pass(name: str) -> None:
    x, matrix = torch.randn(ROWS, WIDTH), torch.randn(OUT, WIDTH)
    plain = flops(lambda a, b: a @ b.T, nn.Parameter(x), nn.Parameter(matrix))
    written = flops(PRODUCTS[name], nn.Parameter(x), nn.Parameter(matrix))
    assert plain == 6 * ROWS * WIDTH * OUT and written >= plain


@pytest.mark.parametrize("name", sorted({*PRODUCTS} - {"cdist", "addr"}))
def test_ways_to_write_a_product_are_products(name: str) -> None:
    x, matrix = torch.randn(ROWS, WIDTH), torch.rand(OUT, WIDTH) + 0.5
    assert torch.allclose(PRODUCTS[name](x, matrix), x @ matrix.T, atol=1e-5)


def manual_norm(x: Tensor, weight: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred * (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight


def places(n: int) -> tuple[Tensor, Tensor]:
    index = torch.arange(n)[None]
    return index, index


ELEMENTWISE = {
    "norm": lambda x, weight: F.layer_norm(x, x.shape[-1:], weight),
    "norm written out": manual_norm,
    "softmax": lambda x, weight: (x * weight).softmax(-1),
    "gate": lambda x, weight: F.silu(x * weight) * x,
    "mask": lambda x, weight: torch.where(torch.ones(9, 8).tril().bool(), x * weight, 0.0),
    "mean over positions": lambda x, weight: (x * weight * torch.rand(4, 9, 1)).mean(1),
    "embedding": lambda x, weight: F.embedding(torch.arange(8) % 3, weight[:, None]) + x[:, :8, :1],
    "sinusoids": lambda x, weight: x * weight + Sinusoidal(8)(*places(9)).added,
    "rotation": lambda x, weight: rotated((x * weight)[:, None], *Rotary(8)(*places(9)).rotation),
    "ALiBi": lambda x, weight: (x[..., :1] * weight[0] + Alibi(2)(*places(9)).bias[:, 0]).softmax(-1),
    "buckets": lambda x, weight: x * weight + RelativeBias(8, True)(*places(9)).bias.mean(1)[0, :, :1],
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_what_is_no_product_does_not_count(name: str) -> None:
    x, weight = torch.randn(4, 9, 8), nn.Parameter(torch.randn(8))
    assert flops(ELEMENTWISE[name], weight, inputs=(x,)) == 0


def test_an_operator_of_someone_else_is_refused() -> None:
    @torch.library.custom_op("archbench_tests::product", mutates_args=())
    def product(x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    message = r"archbench_tests.product.* is not PyTorch's: its FLOPs cannot be counted"
    with pytest.raises(BrokenError, match=message), torch.no_grad(), counted(nn.Module(), ()):
        product(torch.ones(2, 2), torch.ones(2, 2))


@torch.no_grad()
def test_inference_mode_hides_nothing() -> None:
    x, weight = torch.randn(ROWS, WIDTH), torch.randn(OUT, WIDTH)
    with counted(nn.Module(), (x, weight)) as counter, torch.inference_mode():
        F.linear(x, weight)
    assert counter.total == 2 * ROWS * WIDTH * OUT


def test_a_product_of_complex_numbers_is_four_real_ones() -> None:
    x, matrix = torch.randn(ROWS, WIDTH, dtype=torch.cfloat), torch.randn(WIDTH, OUT, dtype=torch.cfloat)
    with counted(nn.Module(), (x, matrix)) as counter:
        x @ matrix
    assert counter.total == 4 * 2 * ROWS * WIDTH * OUT
    with counted(nn.Module(), (x, matrix)) as counter:
        (x[:, :, None] * matrix[None].real).sum(1)
    assert counter.total == 2 * 2 * ROWS * WIDTH * OUT
