"""The positional schemes of a model as pictures."""

from typing import Any

import torch

from archbench.architectures.components.positions import (
    Alibi,
    Geometry,
    Learned,
    NoPositions,
    RelativeBias,
    Rotary,
    Sinusoidal,
)
from archbench.inspection.subject import InspectedRun

SCHEMES = (NoPositions, Sinusoidal, Learned, Rotary, Alibi, RelativeBias)
LONGEST, CHANNELS = 48, 24


@torch.no_grad()
def schemes(subject: InspectedRun) -> list[dict[str, Any]]:
    """Each scheme of the model once, by what it does.

    Added vectors: their values by position and channel, and how alike positions are (cosine). Rotation: the cosine of
    the angle by distance and pair of channels. Bias: what is added to a score, by distance (key minus query) and head.
    """
    model, limits = subject.run.model, subject.run.plan.limits
    length = min(LONGEST, limits.length)
    rows = []
    for path, scheme in model.named_modules():
        if isinstance(scheme, SCHEMES):
            if isinstance(scheme, Learned):
                length = min(length, len(scheme.weight))
            positions = torch.arange(length)[None]
            rows.append({"path": path, "name": type(scheme).__name__, **_picture(scheme(positions, positions), length)})
    return rows


def _picture(geometry: Geometry, length: int) -> dict[str, Any]:
    if geometry.added is not None:
        vectors = geometry.added[0].float()
        unit = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-9)
        return {"kind": "added", "values": vectors[:, :CHANNELS].tolist(), "alike": (unit @ unit.T).tolist()}
    if geometry.rotation is not None:
        cosines = geometry.rotation[0][0, 0].float()
        return {"kind": "rotation", "values": cosines[:, : cosines.shape[-1] // 2].tolist()}
    if geometry.bias is not None:
        bias, middle = geometry.bias[0].float(), length // 2
        return {"kind": "bias", "first": -middle, "values": bias[:, middle].tolist()}
    return {"kind": "none"}
