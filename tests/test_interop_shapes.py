"""What holds of every shape in ``archbench.architectures.interop``, whichever it is."""

import pytest

from archbench.architectures.conversion import bert, gpt2, llama, modernbert, t5
from archbench.architectures.conversion.shape import IDLE


@pytest.mark.parametrize("shape", [bert, gpt2, llama, modernbert, t5], ids=lambda shape: shape.SHAPE.name)
def test_a_field_is_accounted_for_once(shape: object) -> None:
    """What every configuration may have stands in ``IDLE``; a shape lists what only its own has."""
    parts = [IDLE, *(set(getattr(shape, name, ())) for name in ("READ", "IGNORED", "FIXED"))]
    fields = [field for part in parts for field in part]
    assert sorted(fields) == sorted(set(fields))
