"""Weights as bytes that name their run: safetensors whose header has it beside the tensors."""

import io
from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor

from runs import store


def packed(tensors: Mapping[str, Tensor], run: str) -> bytes:
    """Tensors of ``run`` in the safetensors format; ones that share memory (tied weights) are written out each."""
    return save({name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}, {"run": run})


def unpacked(raw: bytes, run: str) -> dict[str, Tensor]:
    """The tensors that ``packed`` wrote, on the CPU.

    Raises ValueError where they are of another run than ``run``, SafetensorError where they are no tensors. Weights
    that name no run are taken: an older archbench wrote them.
    """
    named = store.run_of_weights(io.BytesIO(raw))
    if named not in ("", run):
        raise ValueError(f"weights of another run, {named}")
    return dict(load(raw))
