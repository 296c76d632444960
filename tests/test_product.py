"""Products on a CPU: rows are rounded up, which nothing but the number of shapes tells."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from whole_models import padded_pairs, perturbed

from archbench.architectures.components.initial import linear
from archbench.architectures.contract import LIMITS
from archbench.architectures.contract.counts.counter import counted
from archbench.architectures.kernels import product
from archbench.architectures.kernels.table import optimize
from archbench.architectures.objectives.objective import mean_loss
from archbench.tasks.base.example import END


def random_tensor(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


class Shapes(TorchDispatchMode):
    """The shapes of all products of matrices that are made under it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, tuple[int, ...], tuple[int, ...]]] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        name = function.overloadpacket.__name__
        tensors = [x for x in args if isinstance(x, Tensor)][-2:]
        is_product = name in ("mm", "addmm", "bmm", "baddbmm") and tensors[0].numel() and tensors[1].numel()
        if is_product and tensors[0].dtype == torch.bfloat16:
            self.seen.add((name, tuple(tensors[0].shape), tuple(tensors[1].shape)))
        return function(*args, **(kwargs or {}))


@pytest.fixture
def bf16() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.mark.parametrize("shape", [(5, 13, 24), (1, 24), (64, 24), (2, 32, 24), (130, 24), (0, 24)])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("bf16")
def test_it_is_the_linear_map_with_its_gradients(shape: tuple[int, ...], biased: bool, kind: torch.dtype) -> None:
    x = random_tensor(*shape, seed=0).detach().to(kind).requires_grad_()
    weight, bias = random_tensor(40, 24, seed=1), random_tensor(40, seed=2) if biased else None
    used = [x, weight] if bias is None else [x, weight, bias]
    above = random_tensor(*shape[:-1], 40, seed=3).detach().bfloat16()
    output, expected = product.product(x, weight, bias), F.linear(x, weight, bias)
    assert output.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(output, expected, atol=1e-2, rtol=1e-2)
    theirs = torch.autograd.grad(expected, used, above)
    for ours, reference in zip(torch.autograd.grad(output, used, above), theirs, strict=True):
        assert ours.dtype == reference.dtype
        torch.testing.assert_close(ours, reference, atol=0.1, rtol=1e-2)


@pytest.mark.usefixtures("bf16")
def test_it_reads_tensors_that_do_not_lie_in_a_row() -> None:
    x, weight = random_tensor(6, 50, 7, seed=0).transpose(1, 2), random_tensor(8, 50, seed=1)
    torch.testing.assert_close(product.product(x, weight), F.linear(x, weight), atol=1e-2, rtol=1e-2)


@pytest.mark.usefixtures("bf16")
def test_what_a_row_gives_does_not_depend_on_rows_of_zeros() -> None:
    x, weight = random_tensor(2 * product.ROUND, 24, seed=0), random_tensor(40, 24, seed=1)
    whole = product.product(x, weight)
    for rows in (1, 63, 65, 127):
        assert torch.equal(product.product(x[:rows], weight), whole[:rows])


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder"])
def test_batches_of_many_shapes_make_products_of_few(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "ROUND", 512)  # more than there are rows
    monkeypatch.setattr(product, "FEW", 512)
    model, pairs = perturbed(name, 0.1), padded_pairs()
    allowed_tokens = torch.arange(LIMITS.vocabulary) >= END
    shapes_seen: list[set[tuple[str, tuple[int, ...], tuple[int, ...]]]] = []
    for rows in range(1, len(pairs.target) + 1):
        some = type(pairs)(*(None if x is None else x[:rows] for x in pairs))
        with Shapes() as shapes:
            with torch.autocast("cpu", torch.bfloat16):
                loss = mean_loss(model, some, allowed_tokens, torch.Generator().manual_seed(rows), True)
            loss.backward()
        shapes_seen.append(shapes.seen)
    assert len(shapes_seen) > 1 and shapes_seen[0] and all(shape_set == shapes_seen[0] for shape_set in shapes_seen)


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "gpt2", "bert", "t5"])
def test_training_in_bfloat16_is_as_near_to_float32_as_with_the_linear_maps_of_pytorch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.1), padded_pairs()
    allowed_tokens = torch.arange(LIMITS.vocabulary) >= END

    def gradient(autocast: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = mean_loss(model, pairs, allowed_tokens, torch.Generator().manual_seed(1), True)
        parts = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    exact, ours = gradient(False), gradient(True)
    monkeypatch.setattr(product, "in_bf16", lambda x: False)
    assert (ours - exact).norm() <= 1.3 * (gradient(True) - exact).norm()


@pytest.mark.parametrize("gradients", [False, True])
def test_who_counts_flops_finds_the_rows_that_there_are(gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "onednn_is_faster", lambda: True)
    x, module = random_tensor(65, 200, seed=0), optimize(linear(200, 400))
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=gradients)
    with torch.set_grad_enabled(gradients), bf16, counted(module, [x]) as counter:
        module(x)
    assert counter.total == 2 * 65 * 200 * 400


@pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="PyTorch without oneDNN")
@pytest.mark.parametrize("shape", [(5, 13, 200), (33, 200), (64, 200), (100, 200), (8, 200)])
@pytest.mark.parametrize("biased", [False, True])
def test_without_gradients_too(shape: tuple[int, ...], biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "onednn_is_faster", lambda: True)
    x, weight, bias = (
        random_tensor(*shape, seed=0),
        random_tensor(400, 200, seed=1),
        random_tensor(400, seed=2) if biased else None,
    )
    rows: list[int] = []
    multiply = torch.ops.mkldnn._linear_pointwise

    def counted(x: Tensor, *rest: object) -> Tensor:
        rows.append(x.numel() // x.shape[-1])
        return multiply(x, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
    with torch.no_grad():
        torch.testing.assert_close(product.product(x, weight, bias), F.linear(x, weight, bias), atol=1e-4, rtol=1e-5)
    assert rows and rows[0] % (product.ROUND if rows[0] > product.ROUND else product.FEW) == 0


@pytest.mark.usefixtures("bf16")
def test_a_large_product_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = random_tensor(65, 24, seed=0).detach().bfloat16(), random_tensor(40, 24, seed=1)
    expected = product.product(x, weight)
    slope = torch.autograd.grad(expected.float().sum(), weight)[0]
    monkeypatch.setattr(product, "rounded", lambda x, rows: pytest.fail("its rows are copied"))
    monkeypatch.setattr(product, "LARGE", 65 * 24 * 40)
    output = product.product(x, weight)
    torch.testing.assert_close(output, expected, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(torch.autograd.grad(output.float().sum(), weight)[0], slope, atol=0.1, rtol=1e-2)
