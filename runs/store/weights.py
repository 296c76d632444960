"""Weights as bytes that name their run: safetensors with the run's name in the header."""

import io
from collections.abc import Mapping

from safetensors.torch import load, save
from torch import Tensor

from archbench.runs.store import store


def packed(tensors: Mapping[str, Tensor], run: str) -> bytes:
    """Tensors of ``run`` in the safetensors format; tied weights, which share memory, are written several times."""
    return save({name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}, {"run": run})


def unpacked(raw: bytes, run: str) -> dict[str, Tensor]:
    """The tensors that ``packed`` wrote, on the CPU.

    Raises ValueError if they belong to a run other than ``run``, SafetensorError if they are not tensors. Weights that
    name no run are accepted: an older archbench wrote them.
    """
    named = store.run_of_weights(io.BytesIO(raw))
    if named not in ("", run):
        raise ValueError(f"weights of another run, {named}")
    return dict(load(raw))
