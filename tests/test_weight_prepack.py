"""Packed weights are seen by the clock alone: products stay what they are, whatever becomes of the weights."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from whole_models import perturbed

from archbench.architectures.contract import LIMITS
from archbench.architectures.kernels import product, weight_prepack
from archbench.architectures.objectives import generate

pytestmark = pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="PyTorch without oneDNN")


@pytest.fixture(autouse=True)
def onednn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(product, "onednn_is_faster", lambda: True)
    with torch.no_grad():
        yield


def random_tensor(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rows", [1, 3, 8, 40, 70])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("part", [slice(None), slice(10, 50)], ids=["a matrix", "a part of one"])
def test_products_are_the_same_before_and_after_packing(rows: int, biased: bool, part: slice) -> None:
    weight, bias = nn.Parameter(random_tensor(64, 24, seed=0)), random_tensor(64, seed=1)[part] if biased else None
    with weight_prepack.prepacked_weights():
        for use in range(2 * weight_prepack.OFTEN):
            x = random_tensor(rows, 1, 24, seed=use)
            output = product.product(x, weight[part], bias)
            torch.testing.assert_close(output, F.linear(x, weight[part], bias))
            assert (weight_prepack.packed(weight[part], rows) is not None) == (2 * use + 2 >= weight_prepack.OFTEN)


def test_a_weight_that_changes_is_packed_anew() -> None:
    weight = nn.Parameter(random_tensor(64, 24, seed=0))
    with weight_prepack.prepacked_weights():
        for use in range(2 * weight_prepack.OFTEN):
            x = random_tensor(9, 24, seed=use)
            torch.testing.assert_close(product.product(x, weight), F.linear(x, weight))
            weight.neg_()


def test_nothing_is_packed_that_is_no_parameter_or_when_nobody_asked() -> None:
    weight = nn.Parameter(random_tensor(64, 24, seed=0))
    with weight_prepack.prepacked_weights():
        assert not any(
            weight_prepack.packed(weight.detach() * 2, 9) is not None for _ in range(2 * weight_prepack.OFTEN)
        )
        with weight_prepack.prepacked_weights():  # one that is asked for within another is that other
            assert [weight_prepack.packed(weight, 9) for _ in range(weight_prepack.OFTEN)][-1] is not None
        assert weight_prepack.packed(weight, 9) is not None
    assert weight_prepack.packed(weight, 9) is None


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder"])
@pytest.mark.parametrize("rows", [1, 12])
def test_what_is_written_does_not_depend_on_it(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = perturbed(name, 0.3).eval()
    source = torch.randint(5, LIMITS.vocabulary, (rows, 6), generator=torch.Generator().manual_seed(2))
    allowed_tokens = torch.ones(LIMITS.vocabulary, dtype=torch.bool)
    decoding = generate.Decoding(max_tokens=LIMITS.target_length)

    def written() -> list[list[int]]:
        return [row.tolist() for row in generate.decode_left_to_right(model, source, None, allowed_tokens, decoding)]

    monkeypatch.setattr(weight_prepack, "OFTEN", 10**9)
    plain = written()
    monkeypatch.setattr(weight_prepack, "OFTEN", 2)
    assert written() == plain
