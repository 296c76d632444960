"""The shared encoder-decoder is the plain one with the decoder's copies left out: counted, trained and stored once."""

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.families.size import Limits, Size, count, layers
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.runs.budgets import budget
from archbench.runs.training import checkpoint
from archbench.runs.updates import muon, optimizer
from archbench.runs.updates.muon import Muon

BUILD = catalogue.find("shared-encoder-decoder").build
SHARED = ("attention", "around_attention", "feedforward", "around_feedforward")
DEPTH = contract.SIZE.depth


@dataclass(frozen=True)
class OneStepRecipe:
    optimizer: str = "muon"
    learning_rate: float = 0.01
    weight_decay: float = 0.1


def random_model(seed: int = 0) -> EncoderDecoder:
    model: EncoderDecoder = contract.subject(BUILD, seed=seed).model
    return model


def unshared() -> EncoderDecoder:
    """A plain encoder-decoder with the weights of the shared one: the same function."""
    model: EncoderDecoder = catalogue.find("encoder-decoder").build(contract.SIZE, contract.LIMITS)
    model.load_state_dict(random_model().state_dict())
    return model.eval()


def pairs_of_modules(model: EncoderDecoder) -> list[tuple[nn.Module, nn.Module]]:
    """What encoder and decoder have in common: the same module where it is shared."""
    stacks = list(zip(model.encoder.blocks, model.decoder.blocks, strict=True))
    return [
        (model.encoder.norm, model.decoder.norm),
        *((getattr(encoder, part), getattr(decoder, part)) for encoder, decoder in stacks for part in SHARED),
    ]


def assert_shared(model: EncoderDecoder) -> None:
    assert all(encoder_part is decoder_part for encoder_part, decoder_part in pairs_of_modules(model))
    crosses = {id(block.cross) for block in model.decoder.blocks}
    assert len(crosses) == DEPTH and all(block.cross is None for block in model.encoder.blocks)


def loss(model: EncoderDecoder) -> Tensor:
    allowed_tokens = torch.ones(contract.LIMITS.vocabulary, dtype=torch.bool)
    return mean_loss(model, Batch(contract.sequences(4, 6), contract.sequences(4, 5, seed=1)), allowed_tokens)


def test_the_count_is_that_of_the_unshared_without_the_decoders_copies() -> None:
    plain = unshared()
    copies = sum(p.numel() for _, module in pairs_of_modules(plain) for p in module.parameters())
    assert copies > 0
    assert count(random_model()).parameters == count(plain).parameters - copies
    assert count(random_model()).embedding_parameters == count(plain).embedding_parameters
    assert layers(random_model()) == DEPTH and layers(plain) == 2 * DEPTH


def test_it_computes_and_costs_what_the_unshared_does() -> None:
    source, target = contract.sequences(3, 6), contract.sequences(3, 5, seed=1)
    assert torch.equal(random_model()(source, target), unshared()(source, target))
    assert random_model().flops(6, 5, 5) == unshared().flops(6, 5, 5)


def test_gradients_of_both_uses_add_up() -> None:
    model, plain = random_model(), unshared()
    loss(model).backward()
    loss(plain).backward()
    for (shared, _), (encoder_part, decoder_part) in zip(pairs_of_modules(model), pairs_of_modules(plain), strict=True):
        for parameter, first, second in zip(
            shared.parameters(), encoder_part.parameters(), decoder_part.parameters(), strict=True
        ):
            assert parameter.grad is not None and first.grad is not None and second.grad is not None
            assert first.grad.abs().max() > 1e-6 and second.grad.abs().max() > 1e-6
            torch.testing.assert_close(parameter.grad, first.grad + second.grad, atol=1e-5, rtol=1e-4)


def test_sharing_survives_a_copy_a_checkpoint_and_training(tmp_path: Path) -> None:
    model = copy.deepcopy(random_model())
    assert_shared(model)
    loss(model).backward()
    optimizer.build(model, OneStepRecipe()).step()
    assert_shared(model)
    checkpoint.save(tmp_path, "run", {"model": model.state_dict(), "optimizer": {}, "best": {}}, {})
    restored = checkpoint.load(tmp_path, "run", print)
    assert restored is not None
    again = random_model(seed=1)
    again.load_state_dict(restored.tensors["model"])
    assert_shared(again)
    source, target = contract.sequences(3, 6), contract.sequences(3, 5, seed=1)
    assert torch.equal(again(source, target), model(source, target))
    assert not torch.equal(again(source, target), random_model()(source, target))


def test_muon_updates_every_shared_matrix_once() -> None:
    model = random_model()
    loss(model).backward()
    trained = optimizer.build(model, OneStepRecipe())
    matrices = [matrix for group in trained.param_groups if group["hidden"] for matrix in group["params"]]
    places = [(id(matrix), piece.begin) for matrix in matrices for piece in muon._pieces(matrix)]
    assert len(places) == len(set(places)) == DEPTH * (3 + 1 + 2 + 1 + 3 + 1)  # attention, gated feed-forward, cross
    matrix = model.encoder.blocks[0].feedforward.down.weight
    alone = nn.Parameter(matrix.detach().clone())
    alone.grad = matrix.grad.clone()
    Muon([alone], 0.01, 0.1).step()
    before = matrix.detach().clone()
    trained.step()
    torch.testing.assert_close(matrix, alone, atol=1e-5, rtol=0.0)
    assert (matrix - before).abs().max() > 1e-4


@pytest.mark.parametrize("parameters", [30_000, 100_000, 800_000, 3_000_000])
def test_a_budget_makes_it_about_as_deep_and_wide_as_a_decoder(parameters: int) -> None:
    width, limits = budget.reference_width(parameters), Limits(300, 32, 16)
    start, coarse = Size(width, budget.usual_heads(width), 1, 1), parameters >= budget.COARSE_FROM
    sizes = []
    for name in ("decoder", "shared-encoder-decoder"):
        build = catalogue.find(name).build
        sizes.append(budget.fit(build, start, limits, budget.parameters, parameters, coarse, name))
        assert budget.counts(build, sizes[-1], limits).parameters == pytest.approx(parameters, rel=0.01)
    decoder, shared = sizes
    assert decoder.depth - 1 <= shared.depth <= decoder.depth
    assert 0.6 * decoder.hidden <= shared.hidden <= 1.2 * decoder.hidden
