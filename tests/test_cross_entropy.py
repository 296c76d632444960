"""The loss that never holds a batch's logits equals the plain one, and so do its gradients."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from whole_models import padded_pairs, perturbed

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.embedding import Targets
from archbench.architectures.components.embedding import cross_entropy as plain_cross_entropy
from archbench.architectures.contract import LIMITS, SIZE
from archbench.architectures.kernels import cross_entropy
from archbench.architectures.objectives.objective import mean_loss
from archbench.tasks.base.example import END

ROWS, DIM, VOCABULARY = 150, 12, 37


def parts(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    states = torch.randn(ROWS, DIM, generator=draw, requires_grad=True)
    matrix = torch.randn(VOCABULARY, DIM, generator=draw, requires_grad=True)
    bias = torch.randn(VOCABULARY, generator=draw, requires_grad=True)
    labels = torch.randint(5, VOCABULARY, (ROWS,), generator=draw)
    return states, matrix, bias, labels, torch.rand(ROWS, generator=draw)


@pytest.fixture(params=[True, False], ids=["in chunks", "at once"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param:
        monkeypatch.setitem(cross_entropy.LOGITS, "cpu", VOCABULARY * 70)
        assert len(cross_entropy._chunks(ROWS, VOCABULARY, "cpu")) == 3
    yield


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.usefixtures("chunks")
def test_loss_and_gradients_are_those_of_the_plain_loss(biased: bool, restricted: bool, smoothing: float) -> None:
    states, matrix, bias, labels, weights = parts()
    allowed_tokens = (torch.arange(VOCABULARY) >= 5) if restricted else None
    used = [states, matrix, bias] if biased else [states, matrix]
    expected = plain_cross_entropy(F.linear(*used), labels, allowed_tokens, smoothing)
    expected = (expected * weights).sum()
    total = cross_entropy.total(states, matrix, bias if biased else None, labels, weights, allowed_tokens, smoothing)
    torch.testing.assert_close(total, expected)
    for ours, theirs in zip(
        torch.autograd.grad(3.0 * total, used), torch.autograd.grad(3.0 * expected, used), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


def test_one_weight_serves_all_rows() -> None:
    states, matrix, bias, labels, _ = parts()
    total = cross_entropy.total(states, matrix, bias, labels, torch.full((1,), 1 / ROWS))
    torch.testing.assert_close(total, F.cross_entropy(F.linear(states, matrix, bias), labels))


def test_in_bfloat16_it_is_as_near_to_float32_as_the_plain_loss() -> None:
    states, matrix, bias, labels, weights = parts()
    used = [states, matrix, bias]
    exact = torch.autograd.grad(cross_entropy.total(states, matrix, bias, labels, weights), used)
    with torch.autocast("cpu", torch.bfloat16):
        fused = cross_entropy.total(states, matrix, bias, labels, weights)
        usual = (plain_cross_entropy(F.linear(states, matrix, bias), labels, None, 0.0) * weights).sum()
    for reference, ours, theirs in zip(
        exact, torch.autograd.grad(fused, used), torch.autograd.grad(usual, used), strict=True
    ):
        assert (ours - reference).norm() <= 1.1 * (theirs - reference).norm() + 1e-6
        assert ours.dtype == torch.float32


def test_a_label_that_is_no_answer_has_no_likelihood() -> None:
    states, matrix, _, labels, weights = parts()
    assert cross_entropy.total(states, matrix, None, labels, weights, torch.arange(VOCABULARY) >= 20) == float("inf")


@pytest.mark.parametrize(("rows", "vocabulary"), [(1, 10), (63, 50_000), (64, 50_000), (1000, 50_000), (1000, 7)])
def test_chunks_are_all_rows_and_never_many_logits(rows: int, vocabulary: int) -> None:
    chunks = cross_entropy._chunks(rows, vocabulary, "cpu")
    assert [row for chunk in chunks for row in range(rows)[chunk]] == list(range(rows))
    largest = max(chunk.stop - chunk.start for chunk in chunks)
    assert largest <= cross_entropy.ROWS or largest * vocabulary <= cross_entropy.LOGITS["cpu"]


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "gpt2", "bert", "t5", "modernbert", "llama"])
@pytest.mark.parametrize("native", [True, False])
def test_training_gets_the_gradients_of_the_plain_loss(
    name: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = perturbed(name, 0.1), padded_pairs()
    allowed_tokens = torch.arange(LIMITS.vocabulary) >= END

    def gradients() -> tuple[Tensor, ...]:
        loss = mean_loss(model, pairs, allowed_tokens, torch.Generator().manual_seed(1), native, 0.1)
        return loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)

    fused = gradients()
    monkeypatch.setattr(type(model), "logits", lambda self, states: self.head(states))
    for ours, theirs in zip(fused, gradients(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-4)


def test_a_head_of_another_kind_is_asked_for_its_logits() -> None:
    model = catalogue.find("decoder").build(SIZE, LIMITS)
    states, labels = torch.randn(5, SIZE.dim), torch.randint(0, LIMITS.vocabulary, (5,))
    with torch.no_grad():
        model.head.weight.normal_()

    def loss() -> Tensor:
        return model.loss(states, Targets(labels, torch.ones(1))).detach()

    usual, outputs = loss(), []
    handle = model.head.register_forward_hook(lambda head, inputs, output: outputs.append(output))
    torch.testing.assert_close(loss(), usual, rtol=0, atol=0)
    assert [output.shape for output in outputs] == [()], "hooks of the head see the loss"
    handle.remove()

    class Capped(type(model)):  # type: ignore[misc]
        def logits(self, states: Tensor) -> Tensor:
            return 3.0 * torch.tanh(super().logits(states))

    model.__class__ = Capped
    assert loss() != usual
