"""Objectives: bounds hold in expectation, what is hidden follows its distribution, and losses equal likelihoods."""

import contextlib
import itertools
import math
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract.subject import BrokenError
from archbench.architectures.families.variant import STOCK
from archbench.architectures.objectives import masked, objective
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import Masked, _ended
from archbench.architectures.objectives.objective import Batch, LossInputs, estimate, mean_loss
from archbench.runs.experiment.sections import Training
from archbench.runs.updates.optimizer import build
from archbench.tasks.base.example import BOS
from archbench.tasks.base.example import MASK as MASK_TOKEN

SOURCE, TARGET = contract.sequences(4, 5), contract.sequences(4, 6, seed=1)
LENGTHS = torch.tensor([6, 4, 1, 3])
MASK = torch.arange(6) < LENGTHS[:, None]
PADDED = Batch(SOURCE, TARGET.masked_fill(~MASK, 0), None, MASK)


def allowed_tokens() -> torch.Tensor:
    allowed = torch.ones(contract.LIMITS.vocabulary, dtype=torch.bool)
    allowed[[0, 1, 3, 4]] = False
    return allowed


def model(name: str):
    return contract.subject(catalogue.find(name).build).model


@pytest.mark.parametrize("name", ["decoder", "encoder-decoder", "prefix-decoder"])
def test_causal_loss_is_the_mean_negative_log_likelihood(name: str) -> None:
    loss = mean_loss(model(name), PADDED, allowed_tokens(), objective=Causal())
    log_p, tokens = Causal().log_likelihood(model(name), PADDED, allowed_tokens())
    assert tokens.tolist() == LENGTHS.tolist()
    assert loss.item() == pytest.approx(-log_p.sum().item() / tokens.sum().item(), rel=1e-5)


def test_native_supervision_adds_the_source_of_a_causal_decoder_only() -> None:
    plain, native = (
        mean_loss(model("decoder"), PADDED, allowed_tokens(), native=n, objective=Causal()) for n in (False, True)
    )
    assert native.item() != pytest.approx(plain.item(), rel=1e-3)
    for name in ("encoder-decoder", "prefix-decoder"):
        plain, native = (
            mean_loss(model(name), PADDED, allowed_tokens(), native=n, objective=Causal()) for n in (False, True)
        )
        assert native.item() == plain.item()


def test_one_token_targets_are_always_masked_and_their_bound_is_exact() -> None:
    pairs, encoder = Batch(SOURCE, TARGET[:, :1]), model("encoder")
    loss = mean_loss(encoder, pairs, allowed_tokens(), torch.Generator().manual_seed(0), objective=Masked())
    log_p, _ = Masked().log_likelihood(encoder, pairs, allowed_tokens())
    assert loss.item() == pytest.approx(-log_p.mean().item(), rel=1e-5)


def test_hidden_cells_are_uniform_in_number_and_place() -> None:
    present = (torch.arange(5) < 4).expand(4000, 5)
    masked, predicted, weights = Masked()._draw_mask(present, torch.Generator().manual_seed(0))
    counts = masked.sum(1)
    assert torch.equal(masked, predicted) and not masked[:, 4].any() and counts.min() == 1 and counts.max() == 4
    assert torch.bincount(counts, minlength=5)[1:].float().div(4000).sub(0.25).abs().max() < 0.03
    assert masked[:, :4].float().mean(0).sub(0.625).abs().max() < 0.03
    assert torch.equal(weights[:, 0], 4 / counts)


@pytest.mark.parametrize("stratified", [False, True])
def test_mask_rates_are_uniform_for_every_row(stratified: bool) -> None:
    """The expected loss is that of rates drawn one by one, whatever the row of a batch."""
    generator = torch.Generator().manual_seed(0)
    rates = torch.stack([Masked(stratified=stratified)._rates(4, generator)[:, 0] for _ in range(4000)])
    assert rates.min() >= 0 and rates.max() < 1
    for row in rates.T:
        assert row.mul(5).long().bincount(minlength=5).div(4000).sub(0.2).abs().max() < 0.03


def test_stratified_rates_cover_every_batch_evenly() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        rates = Masked(stratified=True)._rates(8, generator)[:, 0]
        assert sorted((8 * rates).long().tolist()) == list(range(8))
    apart = Masked()._rates(8, generator)[:, 0]
    assert sorted((8 * apart).long().tolist()) != list(range(8))


def test_suffix_masks_hide_the_end() -> None:
    masked = Masked(suffix=True)._draw_mask(MASK, torch.Generator().manual_seed(0)).masked
    for row, length in zip(masked, LENGTHS.tolist(), strict=True):
        count = int(row.sum())
        assert row.tolist() == [length - count <= cell < length for cell in range(6)]


def test_a_next_cell_is_predicted_with_every_later_one_hidden() -> None:
    masked, predicted, weights = Masked(next_cell=True)._draw_mask(MASK, torch.Generator().manual_seed(0))
    for row, alone, weight, length in zip(masked, predicted, weights, LENGTHS.tolist(), strict=True):
        begin = int(alone.int().argmax())
        assert alone.sum() == 1 and weight[begin] == length
        assert row.tolist() == [begin <= cell < length for cell in range(6)]


def test_the_bound_is_the_mean_over_all_orders() -> None:
    """Over every order of writing a target of three tokens, the mean of the chain rule's -log p."""
    encoder, target, allowed = model("encoder"), TARGET[:1, :3], allowed_tokens()
    source, _ = _ended(SOURCE[:1], None)

    def nats(cell: int, revealed: list[int]) -> float:
        canvas = torch.full((1, encoder.canvas), MASK_TOKEN)
        canvas[0, revealed] = target[0, revealed]
        logits = encoder(source, canvas)[0, cell].masked_fill(~allowed, float("-inf"))
        return -logits.log_softmax(-1)[target[0, cell]].item()

    with torch.no_grad():
        orders = list(itertools.permutations(range(3)))
        exact = sum(nats(cell, list(order[:i])) for order in orders for i, cell in enumerate(order)) / len(orders)
        pairs = Batch(SOURCE[:1].expand(200, -1), target.expand(200, -1))
        bound = estimate(encoder, pairs, allowed, torch.Generator().manual_seed(0), draws=20).mean().item()
    assert bound == pytest.approx(exact, rel=0.02)


def test_exact_likelihood_does_not_depend_on_how_many_canvases_go_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, likelihoods = model("encoder"), []
    for count in (3, 1000):
        monkeypatch.setitem(masked.CANVASES, "cpu", count)
        with torch.no_grad():
            likelihoods.append(Masked().log_likelihood(encoder, PADDED, allowed_tokens())[0])
    assert torch.allclose(*likelihoods, atol=1e-5)


def test_likelihood_is_over_answers_alone() -> None:
    allowed = torch.zeros(contract.LIMITS.vocabulary, dtype=torch.bool)
    allowed[[7, 9]] = True
    for name in catalogue.names():
        with torch.no_grad():
            mass = sum(
                model(name)
                .objective.log_likelihood(model(name), Batch(SOURCE, torch.full((4, 1), label)), allowed)[0]
                .exp()
                for label in (7, 9)
            )
            other, _ = model(name).objective.log_likelihood(model(name), Batch(SOURCE, torch.full((4, 1), 8)), allowed)
        assert torch.allclose(mass, torch.ones(4, dtype=torch.float64), atol=1e-5)
        assert other.tolist() == [-math.inf] * 4


def test_label_smoothing_stays_finite_where_answers_are_few_and_keeps_the_likeliest() -> None:
    allowed = torch.zeros(contract.LIMITS.vocabulary, dtype=torch.bool)
    allowed[[7, 9]] = True
    loss = mean_loss(model("decoder"), Batch(SOURCE, torch.full((4, 1), 7)), allowed, smoothing=0.1)
    assert loss.isfinite()


def test_padding_of_the_source_does_not_change_a_masked_loss() -> None:
    encoder = model("encoder")
    wide = torch.cat([SOURCE, torch.zeros(4, 2, dtype=torch.long)], 1)
    mask = (torch.arange(7) < 5).expand(4, 7)
    losses = [
        mean_loss(
            encoder,
            Batch(source, TARGET, source_mask),
            allowed_tokens(),
            torch.Generator().manual_seed(3),
            objective=Masked(),
        ).item()
        for source, source_mask in ((SOURCE, None), (wide, mask))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def on_meta(name: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, LossInputs]:
    """A model and its inputs on PyTorch's meta device, whose tensors have no values: what would wait for one fails."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)  # it knows no meta device
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **named: contextlib.nullcontext())
    subject = contract.subject(catalogue.find(name).build).model.to("meta")
    source_mask = torch.arange(5) < torch.tensor([5, 2, 3, 4])[:, None]
    batch = Batch(SOURCE, TARGET, source_mask, MASK)
    inputs = subject.objective.prepare(subject, batch, torch.Generator().manual_seed(0), native)
    return subject, inputs.to(torch.device("meta"))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", [name for name in catalogue.names() if name not in STOCK])
def test_a_training_step_reads_nothing_back_from_a_device(
    name: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, inputs = on_meta(name, native, monkeypatch)
    optimizer = build(subject, Training())
    for smoothing in (0.0, 0.1):
        torch.autograd.backward(subject.objective.loss(subject, inputs, allowed_tokens().to("meta"), smoothing))
        optimizer.step()
        optimizer.zero_grad()


class Aboard(TorchDispatchMode):
    """Fails where a tensor of the host takes part: it would have to be sent to the device."""

    def __torch_dispatch__(self, function: Any, kinds: Any, arguments: Any = (), named: Any = None) -> Any:
        result = function(*arguments, **(named or {}))
        for tensor in tree_leaves((arguments, named, result)):
            assert not isinstance(tensor, torch.Tensor) or tensor.device.type == "meta" or not tensor.ndim, function
        return result


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    "name", ["decoder", "prefix-decoder", "encoder", "encoder-decoder", "gpt2", "llama", "bert", "t5"]
)
def test_a_loss_takes_nothing_from_the_host(name: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, inputs = on_meta(name, native, monkeypatch)
    allowed = allowed_tokens().to("meta")
    with Aboard():
        torch.autograd.backward(subject.objective.loss(subject, inputs, allowed))


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", ["decoder", "prefix-decoder", "encoder", "encoder-decoder"])
@pytest.mark.parametrize("parts", [2, 3, 4, 9])
def test_the_losses_of_parts_add_up_to_that_of_the_batch(name: str, native: bool, parts: int) -> None:
    subject = model(name)
    source_mask = torch.arange(5) < torch.tensor([5, 2, 3, 4])[:, None]
    batch = Batch(SOURCE, TARGET, source_mask, MASK)
    inputs = subject.objective.prepare(subject, batch, torch.Generator().manual_seed(0), native)
    split = list(inputs.split(parts))
    assert len(split) == -(-4 // -(-4 // parts)) and sum(part.tokens for part in split) == inputs.tokens
    whole = subject.objective.loss(subject, inputs, allowed_tokens())
    losses = [subject.objective.loss(subject, part, allowed_tokens()) for part in split]
    assert torch.stack(losses).sum().item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["decoder", "encoder"])
def test_likelihoods_in_parts_are_those_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = model(name).eval()

    def likelihoods() -> torch.Tensor:
        if subject.objective.needs_pass_per_token:
            return estimate(subject, PADDED, allowed_tokens(), torch.Generator().manual_seed(0), 2)
        return subject.objective.log_likelihood(subject, PADDED, allowed_tokens())[0]

    with torch.no_grad():
        whole, widest = likelihoods(), 0
        logits = subject.logits

        def watched(states: torch.Tensor) -> torch.Tensor:
            nonlocal widest
            widest = max(widest, states.numel() // states.shape[-1])
            return logits(states)

        monkeypatch.setattr(objective, "LOGITS", 2 * contract.LIMITS.vocabulary)
        monkeypatch.setattr(subject, "logits", watched)
        assert torch.allclose(likelihoods(), whole, atol=1e-5)
    assert widest <= max(2, PADDED.target.shape[1])


def test_what_a_causal_model_sees_is_the_target_behind_bos() -> None:
    target = torch.tensor([[7, 8, 9]])
    inputs = Causal().example_inputs(None, Batch(torch.tensor([[5, 6]]), target))
    assert inputs.target.tolist() == [[BOS, 7, 8]] and inputs.source.tolist() == [[5, 6]]


def test_every_source_of_an_encoder_ends_with_bos() -> None:
    source, mask = _ended(torch.tensor([[5, 6], [7, 0]]), torch.tensor([[True, True], [True, False]]))
    assert source.tolist() == [[5, 6, BOS], [7, 0, BOS]]
    assert mask is not None and mask.tolist() == [[True, True, True], [True, False, True]]


class CausalZLoss(Causal):
    """``Causal`` with a z-loss (2204.02311), which keeps logits small."""

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: torch.Tensor, smoothing: float = 0.0):
        return super().loss(model, inputs, allowed_tokens, smoothing) + z_loss(model, inputs, allowed_tokens).sum()


class MaskedZLoss(Masked):
    uniform = True

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: torch.Tensor, smoothing: float = 0.0):
        term = z_loss(model, inputs, allowed_tokens, self.uniform).sum()
        return super().loss(model, inputs, allowed_tokens, smoothing) + term


class PlainZLoss(MaskedZLoss):
    """The term is not 0 for a uniform model."""

    uniform = False


class BatchZLoss(Masked):
    """The term is a statistic of the batch."""

    def loss(self, model: Any, inputs: LossInputs, allowed_tokens: torch.Tensor, smoothing: float = 0.0):
        term = 100.0 * z_loss(model, inputs, allowed_tokens).sum().square()
        return super().loss(model, inputs, allowed_tokens, smoothing) + term


def z_loss(model: Any, inputs: LossInputs, allowed_tokens: torch.Tensor, from_uniform: bool = True) -> torch.Tensor:
    """The term of each position with a loss (n,)."""
    logits = model.logits(objective.hidden_states(model, inputs).target).float()
    log_z = logits[:, allowed_tokens].logsumexp(-1)
    return 0.01 * (log_z - from_uniform * math.log(int(allowed_tokens.sum()))).square() * inputs.weights


def test_only_a_drawn_loss_may_have_a_term_of_its_own_within_rows() -> None:
    """As the page on the parts of a variant says."""

    def subject(name: str, of_its_own: Any) -> contract.Subject:
        def build(size, limits):
            built = catalogue.find(name).build(size, limits)
            built.objective = of_its_own
            return built

        return contract.subject(build)

    with pytest.raises(BrokenError, match="compared with the likelihood per token"):
        contract.check("the_training_loss_is_the_likelihood")(subject("decoder", CausalZLoss()))
    with pytest.raises(BrokenError, match="with other rows by"):
        contract.check("losses_of_rows_add_up")(subject("encoder", BatchZLoss()))
    with pytest.raises(BrokenError, match="training loss of a uniform model"):
        contract.check("a_uniform_model_has_known_losses")(subject("encoder", PlainZLoss()))
    allowed = subject("encoder", MaskedZLoss())
    contract.check("the_training_loss_is_the_likelihood")(allowed)
    contract.check("losses_of_rows_add_up")(allowed)
    contract.check("gradients_stay_in_place")(allowed)
    contract.check("a_uniform_model_has_known_losses")(allowed)
