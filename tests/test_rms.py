"""Division by the root mean square is what PyTorch computes, in value and derivatives."""

import pytest
import torch
from torch.nn import functional as F

from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.kernels import rms


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    module = RMSNorm(len(weight), eps)
    module._parameters["weight"] = weight  # type: ignore[assignment]
    return rms.forward(module, x)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(7,), (0, 5), (3, 1), (4, 9, 16)])
def test_values_and_derivatives_are_those_of_pytorch(shape: tuple[int, ...]) -> None:
    x = (3 * torch.randn(shape)).requires_grad_()
    weight = torch.randn(shape[-1]).requires_grad_()
    above = torch.randn(shape)
    theirs, ours = F.rms_norm(x, shape[-1:], weight, 1e-6), rms_norm(x, weight, 1e-6)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(*(torch.autograd.grad(y, (x, weight), above) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_a_row_of_zeros_stays_zero() -> None:
    x = torch.zeros(2, 4, requires_grad=True)
    y = rms_norm(x, torch.ones(4), 1e-6)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert not y.any()
    assert slope.isfinite().all()


def test_bfloat16_is_left_to_pytorch() -> None:
    x = torch.randn(3, 8).bfloat16()
    assert rms_norm(x, torch.ones(8).bfloat16(), 1e-6).dtype == torch.bfloat16


def test_states_in_bfloat16_keep_their_type_without_a_warning() -> None:
    x, weight = torch.randn(3, 8).bfloat16(), torch.randn(8)
    with torch.no_grad():
        y = rms_norm(x, weight, 1e-6)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, F.rms_norm(x.float(), (8,), weight, 1e-6).bfloat16(), rtol=0, atol=0)
