"""Rotation with its backward pass written out is the plain rotation."""

import pytest
import torch

from archbench.architectures.kernels import rotate


def random_tensor(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind, near", [(torch.float32, 1e-6), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("rows", [1, 3])
def test_values_and_gradients_are_those_of_the_plain_version(rows: int, kind: torch.dtype, near: float) -> None:
    x, above = (random_tensor(3, 2, 5, 8, seed=seed).to(kind) for seed in (0, 1))
    angles = random_tensor(rows, 1, 5, 4, seed=2)
    cos, sin = (torch.cat([part, part], -1).to(kind) for part in (angles.cos(), angles.sin()))
    x.requires_grad_()
    assert rotate.applies(x)
    ways = (results(run, x, cos, sin, above) for run in (rotate.rotated, rotate.plain))
    for actual, expected in zip(*ways, strict=True):
        torch.testing.assert_close(actual, expected, atol=near, rtol=near)


def results(run, x, cos, sin, above):
    y = run(x, cos, sin)
    return y, *torch.autograd.grad(y, x, above)


def test_a_single_position_without_gradients_takes_the_plain_version() -> None:
    x = random_tensor(3, 2, 1, 8, seed=0)
    assert rotate.applies(x)
    with torch.no_grad():
        assert not rotate.applies(x)
