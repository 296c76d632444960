"""What the tests of every shape in ``architectures.interop`` share: random models and batches, and what "equal" means.

Logits count as equal within 1e-4 at real positions, weights bit for bit.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures.interop.convert import from_transformers, is_tied
from architectures.interop.shape import Shape, pull, push
from architectures.interop.structure import difference
from tasks.errors import InputError

SIDES = ("none", "right", "left")
TOLERANCE = 1e-4


@torch.no_grad()
def randomised(model: Any, seed: int) -> Any:
    """``model`` with every parameter drawn anew, in evaluation mode: norms about 1, all else (biases too) about 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        if parameter.dim() == 1 and not name.endswith("bias"):
            parameter.add_(1.0)
    return model.eval()


def batch(vocabulary: int, rows: int, width: int, side: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, mask of 0 and 1, and positions counted over tokens, each (rows, width).

    ``side`` is where padding stands: none, right or left; then the first row has none of it, the last a single token.
    Ids at padding are as random as any.
    """
    assert side in SIDES and (side == "none" or rows > 1)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary, (rows, width), generator=generator)
    lengths = torch.full((rows,), width)
    if side != "none":
        lengths = torch.linspace(width, 1, rows).round().long()
    mask = (torch.arange(width) < lengths[:, None]).long()
    if side == "left":
        mask = mask.flip(1)
    return ids, mask, (mask.cumsum(1) - 1).clamp(min=0)


def assert_close(found: Tensor, expected: Tensor, mask: Tensor | None = None) -> None:
    """Logits (b, t, v) are equal within 1e-4 where ``mask`` (b, t) is 1, and are no constant."""
    if mask is not None:
        assert mask.shape == found.shape[:2] == expected.shape[:2]
        found, expected = found[mask.bool()], expected[mask.bool()]
    assert expected.std() > 0.1, "logits that hardly differ show nothing"
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0.0)


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    """Two models of one class have the same tensors under the same names, bit for bit, and tie the same names."""
    assert type(a) is type(b)
    mine, other = a.state_dict(keep_vars=True), b.state_dict(keep_vars=True)
    assert mine.keys() == other.keys()
    for name, tensor in mine.items():
        assert tensor.dtype == other[name].dtype and torch.equal(tensor, other[name]), name
    assert _ties(mine) == _ties(other)


def assert_fields_are_carried(shape: Shape, config: Any, read: set[str], changes: Mapping[str, object]) -> None:
    """Every field in ``read``, set to its value in ``changes``, makes another model of ours: it is not just let by."""
    assert set(changes) == read
    with torch.device("meta"):
        usual = shape.build(config, False)
        for name, value in changes.items():
            changed = type(config)(**{**config.to_dict(), name: value})
            assert difference(shape.build(changed, False), usual) is not None, name


def assert_refused(theirs: Any, field: str, value: object) -> None:
    """A configuration that has ``value`` in ``field`` is an error that names the field."""
    before = getattr(theirs.config, field, None)
    setattr(theirs.config, field, value)
    with pytest.raises(InputError, match=field):
        from_transformers(theirs)
    setattr(theirs.config, field, before)


def assert_left_over_is_noticed(shape: Shape, theirs: Any) -> None:
    """A tensor that no link names, on either side and in either direction, fails by name; so does a missing link."""
    tied = is_tied(theirs)
    ours, links = shape.build(theirs.config, tied), list(shape.links(theirs.config, tied))
    for move in (pull, push):
        move(ours, theirs, links)
        for model in (ours, theirs):
            model.planted = nn.Parameter(torch.zeros(3))
            with pytest.raises(AssertionError, match="planted"):
                move(ours, theirs, links)
            del model.planted
        for link in links:
            with pytest.raises(AssertionError, match=re.escape(link.ours)):
                move(ours, theirs, [other for other in links if other is not link])


def cache_name(model: Any) -> str:
    """What ``forward`` and outputs of this release of ``transformers`` call the key/value cache."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def _ties(tensors: dict[str, Tensor]) -> list[str]:
    """For each name, the first name of the same tensor."""
    first: dict[int, str] = {}
    return [first.setdefault(id(tensor), name) for name, tensor in tensors.items()]
