"""The sentence above the ranks names the pairs whose order depends on the condition."""

import pytest

from archbench.reports.base.statistics import Interval
from archbench.reports.figures.kinds.ranks import Placed, _takeaway

KNOWN = Interval(0.5, 0.4, 0.6, 0.05, 9)


def placed(**beaten_by: tuple[int, int]) -> list[Placed]:
    """Architectures by how many others beat them, under tokens and under FLOPs."""
    return [
        Placed(condition, name, KNOWN, numbers[place])
        for place, condition in enumerate(("tokens", "FLOPs"))
        for name, numbers in beaten_by.items()
    ]


@pytest.mark.parametrize(
    ("decoder", "encoder", "sentence"),
    [
        ((0, 1), (1, 0), "Rank order reversed between conditions: decoder and encoder on text."),
        ((0, 0), (1, 1), "No pair reverses its rank order between conditions."),
        (
            (0, 0),
            (1, 0),
            "No pair reverses its rank order between conditions; tied under some conditions only: decoder and encoder "
            "on text.",
        ),
    ],
)
def test_a_pair_whose_order_depends_on_the_condition_is_named(
    decoder: tuple[int, int], encoder: tuple[int, int], sentence: str
) -> None:
    assert _takeaway({"text": placed(decoder=decoder, encoder=encoder)}) == sentence
    assert _takeaway({"text": placed(encoder=encoder, decoder=decoder)}) == sentence


def test_many_tied_pairs_are_counted() -> None:
    names = {f"variant-{number}": (0, 0 if number else 1) for number in range(6)}
    assert _takeaway({"text": placed(**names)}).endswith("tied under some conditions only: 5 pairs.")
