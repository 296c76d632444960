"""Weights in the order in which products read them, kept while many products of few rows are made with the same ones.

A product of few rows reads its weight faster than it multiplies. In the order of oneDNN 32 rows take 0.7 to 0.9 of the
time, and a single row is multiplied with the transposed matrix, which lies as it is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

OFTEN = 8  # products after which it pays to reorder a weight, which takes as long as a few of them

_Key = tuple[int, torch.Size, bool]


class _Packs:
    """Packed weights by address, with the parameter that they are, or are a part of, and its version."""

    def __init__(self) -> None:
        self.uses: dict[_Key, int] = {}
        self.kept: dict[_Key, tuple[nn.Parameter, int, Tensor]] = {}

    def of(self, weight: Tensor, rows: int) -> Tensor | None:
        whole = weight if weight._base is None else weight._base
        if not isinstance(whole, nn.Parameter):
            return None  # its memory may soon be that of another
        key = weight.data_ptr(), weight.shape, rows == 1
        self.uses[key] = self.uses.get(key, 0) + 1
        if self.uses[key] < OFTEN:
            return None
        if key not in self.kept or self.kept[key][1] != whole._version:
            self.kept[key] = whole, whole._version, _reordered(weight.detach(), rows)
        return self.kept[key][2]


_packs: _Packs | None = None


@contextmanager
def prepacked_weights() -> Iterator[None]:
    """Within, weights that are often multiplied with are packed."""
    global _packs
    before, _packs = _packs, _packs or _Packs()
    try:
        yield
    finally:
        _packs = before


def is_packing() -> bool:
    """True while weights are packed: within ``prepacked_weights``."""
    return _packs is not None


def packed(weight: Tensor, rows: int) -> Tensor | None:
    """``weight`` (v, d) packed for a product of ``rows`` rows: for one (d, v), else as oneDNN has it; None: not yet."""
    return None if _packs is None else _packs.of(weight, rows)


def _reordered(weight: Tensor, rows: int) -> Tensor:
    if rows == 1:
        return weight.T.contiguous()
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return reordered
