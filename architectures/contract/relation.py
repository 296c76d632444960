"""Properties as relations: readings of a batch that must agree, tried in several modes and on many batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from archbench.architectures.contract.inputs.batches import Compared, Found, ShapedBatch, small
from archbench.architectures.contract.modes import SCORING, Mode
from archbench.architectures.contract.subject import TOLERANCE, Subject, equal, require

SLACK = 1e-3  # of the largest logit: sharp attention makes rounding errors large
NEAR = 0.05  # root mean square of what rounding to bfloat16 moves logits by, in their standard deviations
INFLUENCE = 1e-6  # logits that move by less did not read a token
COUNTS = 0.01  # relative difference between counts of FLOPs

Readings = Callable[[Subject, ShapedBatch, Mode], Compared]
Batches = Callable[[Subject], Found]
Agreement = Callable[[Tensor, Tensor, str], None]


@dataclass(frozen=True)
class Relation:
    """Two readings that must agree in each of ``modes``, on each batch that ``batches`` makes for a model.

    ``readings`` reads a batch in a mode and yields what it compares: words, a tensor, and the tensor that it must agree
    with. It yields nothing where the relation has no meaning, or where it requires a fact of one reading itself.
    ``everywhere``: it holds on every batch without padding, and so is tried on long and unusual texts as well.
    """

    readings: Readings
    batches: Batches = small
    modes: tuple[Mode, ...] = (SCORING,)
    agree: Agreement = equal
    everywhere: bool = False

    def try_on(self, case: Subject, shaped: ShapedBatch) -> int:
        """The number of pairs, all of which agree on this batch; else ``BrokenError``."""
        compared, where = 0, f" ({shaped.name})" if shaped.name else ""
        for mode in self.modes:
            for what, actual, expected in self.readings(case, shaped, mode):
                self.agree(actual, expected, f"{what}{mode.note}{where}")
                compared += 1
        return compared


class Property:
    """A check made of relations: a function of a ``Subject`` with a name and, in its docstring, a text for users.

    The text gives the property first, then why it matters and what to do. ``otherwise`` is the reason that the check
    returns if nothing was compared. ``every_size``: it is tried at other widths, heads and depths as well.
    """

    def __init__(
        self, name: str, text: str, *relations: Relation, otherwise: str | None = None, every_size: bool = False
    ) -> None:
        self.__name__, self.__doc__ = name, text
        self.relations, self.otherwise, self.every_size = relations, otherwise, every_size

    @torch.no_grad()
    def __call__(self, case: Subject) -> str | None:
        compared = 0
        for batches, relations in groupby(self.relations, lambda relation: relation.batches):
            tried = tuple(relations)
            for subject, shaped in batches(case):
                compared += sum(relation.try_on(subject, shaped) for relation in tried)
        return None if compared else self.otherwise


def over(relations: Sequence[Relation], batches: Batches, agree: Agreement | None = None) -> tuple[Relation, ...]:
    """The same relations on other batches; with ``agree``, those that compare tensors with ``equal`` use it instead."""
    return tuple(
        replace(relation, batches=batches, agree=agree if agree and relation.agree is equal else relation.agree)
        for relation in relations
    )


def near(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires logits to agree within ``SLACK`` of the largest."""
    size = max(1.0, expected.abs().max().item())
    equal(actual / size, expected / size, what, tolerance=SLACK)


def near_on_average(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires the root mean square of the difference to be within ``NEAR`` standard deviations."""
    distance = ((actual - expected).pow(2).mean().sqrt() / expected.std()).item()
    require(distance <= NEAR, f"{what} differ by {distance:.2g} standard deviations")


def differ(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires every number of logits (n, v) to move at some token, where ``what`` says that they do not."""
    require(bool(((actual - expected).abs().amax(-1) > INFLUENCE).all()), what)


def identical(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires two tensors to be equal bit by bit, where ``what`` says that they are not."""
    require(bool(torch.equal(actual, expected)), what)


def equal_in_nats(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires nats to agree within ``TOLERANCE`` of their size."""
    equal(actual.double(), expected.double(), what, tolerance=TOLERANCE * (1.0 + expected.abs().max().item()))


def equal_in_sum(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires nats of up to 70 tokens to agree within the rounding errors of their sum."""
    equal(actual, expected, what, tolerance=8 * TOLERANCE)


def same_count(actual: Tensor, expected: Tensor, what: str) -> None:
    """Requires two counts to be within 1% of each other; ``what`` has a place for the expected one and the other."""
    is_near = abs((actual - expected).item()) <= COUNTS * max(actual.item(), 1.0)
    require(is_near, what.format(expected.item(), actual.item()))


def no_more(actual: Tensor, most: Tensor, what: str) -> None:
    """Requires a count to be at most 1% above another; ``what`` has a place for ``most`` and the actual one."""
    require(bool(actual <= (1 + COUNTS) * most), what.format(most.item(), actual.item()))
