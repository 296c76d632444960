"""Every built-in variant holds the contract, and the contract notices when one does not."""

import pytest
import torch

from architectures import catalogue, contract
from architectures.embedding import Embedding, Head

VARIANTS = catalogue.names()


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", VARIANTS)
def test_variant_holds_the_contract(name: str, check: contract.Check) -> None:
    check(contract.subject(catalogue.find(name).build))


def test_the_four_default_variants_exist() -> None:
    assert {"decoder", "encoder", "encoder-decoder", "prefix-decoder"} <= set(VARIANTS)


def test_look_ahead_by_one_position_is_noticed() -> None:
    class Peeking(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.inner, self.family = model, "decoder"

        def forward(self, source, target, source_mask=None, target_mask=None):
            return self.inner(source, target.roll(-1, 1), source_mask, target_mask)

    case = contract.subject(catalogue.find("decoder").build)
    with pytest.raises(AssertionError, match="logits before position"):
        contract.no_look_ahead(contract.Subject(case.build, Peeking(case.model)))


def test_forgotten_flops_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Head, "flops", lambda self, outputs: 0.0 * outputs)
    with pytest.raises(AssertionError, match="FLOPs by formula"):
        contract.flops_are_counted(contract.subject(catalogue.find("decoder").build))


def test_a_parameter_without_gradient_is_noticed() -> None:
    def build(size, limits):
        model = catalogue.find("decoder").build(size, limits)
        model.idle = Embedding(4, 4)
        return model

    with pytest.raises(AssertionError, match="never get a gradient: idle"):
        contract.every_parameter_gets_a_gradient(contract.subject(build))
