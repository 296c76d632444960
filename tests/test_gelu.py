"""GELU by its approximation is what PyTorch computes, in value and derivative."""

import pytest
import torch
from torch.nn import functional as F

from archbench.architectures.kernels import gelu
from archbench.architectures.kernels.gelu import by_exponential

CLOSE = {torch.float32: 2e-6, torch.bfloat16: 2e-2}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0, 3), (5,), (4, 7, 9)])
def test_values_and_derivatives_are_those_of_pytorch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = (3 * torch.randn(shape)).to(dtype).requires_grad_()
    above = torch.randn(shape).to(dtype)
    theirs = F.gelu(x, approximate="tanh")
    (by_theirs,) = torch.autograd.grad(theirs, x, above)
    ours = by_exponential(x)
    (by_ours,) = torch.autograd.grad(ours, x, above)
    torch.testing.assert_close(ours, theirs, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    torch.testing.assert_close(by_ours, by_theirs, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    with torch.no_grad():
        assert torch.equal(by_exponential(x), ours)


def test_parts_do_not_change_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(33, 5)[:, 1:4].requires_grad_()
    whole = by_exponential(x)
    monkeypatch.setattr(gelu, "AT_ONCE", 16)
    parts = by_exponential(x)
    torch.testing.assert_close(parts, whole)
    (by_parts,), (by_whole,) = (torch.autograd.grad(y.sum(), x) for y in (parts, whole))
    torch.testing.assert_close(by_parts, by_whole)


def test_far_out_it_is_zero_or_the_identity() -> None:
    x = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], requires_grad=True)
    y = by_exponential(x)
    assert torch.equal(y, torch.tensor([0.0, 0.0, 0.0, 50.0, 1e4]))
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
