"""A new property of the contract is one entry: what is read twice, in which modes, on which batches."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract.inputs.batches import ShapedBatch, shaped
from archbench.architectures.contract.modes import EXACT, TRAINING, Mode
from archbench.architectures.contract.relation import Property, Relation
from archbench.architectures.contract.subject import Subject, logits_of
from archbench.architectures.objectives.objective import Batch


def in_another_order(case: Subject, batch: ShapedBatch, mode: Mode) -> Iterator[tuple[str, Tensor, Tensor]]:
    turned = Batch(*(None if part is None else part.flip(0) for part in batch.batch))
    yield "logits of rows in another order", logits_of(case, turned, mode).flip(0), logits_of(case, batch.batch, mode)


ENTRY = Property(
    "rows_may_stand_in_any_order",
    """Rows in another order have the logits that they had.

    Batches are shuffled.
    """,
    Relation(in_another_order, shaped, EXACT),
)


class Numbered(nn.Module):
    """An embedding that adds the number of each row, in the given modes."""

    def __init__(self, inner: nn.Module, always: bool) -> None:
        super().__init__()
        self.inner, self.always, self.weight = inner, always, inner.weight

    def forward(self, tokens: Tensor, added: Tensor | None = None) -> Tensor:
        x: Tensor = self.inner(tokens, added)
        number = torch.arange(len(x))[:, None, None] * torch.eye(x.shape[-1])[0]
        return x + number if self.always or self.training else x


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder"])
def test_an_entry_holds_for_a_model_without_the_fault(name: str) -> None:
    (result,) = contract.results(catalogue.find(name).build, checks=(ENTRY,))
    assert (result.name, result.problem, result.note) == ("rows_may_stand_in_any_order", None, None)
    assert contract.property_of(ENTRY) == "Rows in another order have the logits that they had."


@pytest.mark.parametrize("always", [True, False])
def test_an_entry_refuses_a_fault_in_any_of_its_modes_and_says_in_which(always: bool) -> None:
    def build(size, limits):
        model = catalogue.find("decoder").build(size, limits)
        model.embedding = Numbered(model.embedding, always)
        return model

    (result,) = contract.results(build, checks=(ENTRY,))
    assert result.problem is not None and result.problem.startswith("logits of rows in another order")
    assert (str(TRAINING) in result.problem) == (not always)
