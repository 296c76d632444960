"""Changes to a model after its variant built it: fast kernels, and how a model that fills in a canvas learns."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from archbench.architectures.families.encoder import EncoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.kernels.table import optimize
from archbench.architectures.objectives.masked import Masked

ORDERS: Final[dict[str, dict[str, Any]]] = {  # what is masked: random tokens, the last ones, half of each
    "any": {},
    "suffix": {"suffix": 1.0},
    "mixed": {"suffix": 0.5},
    "next-cell": {"next_cell": True},
}
WEIGHTS: Final[dict[str, dict[str, Any]]] = {"bound": {}, "equal": {"equal": True}}  # of predicted tokens
CANVASES: Final[dict[str, dict[str, Any]]] = {"mask": {}, "end": {"ended": True}, "length": {}}  # what follows a target


@dataclass(frozen=True)
class Told:
    """``build``, and after it kernels, and the settings of the limits, which change the objective of an encoder."""

    build: Callable[[Size, Limits], Any]

    def __call__(self, size: Size, limits: Limits) -> Any:
        model = self.build(size, limits)
        if isinstance(model, EncoderOnly) and isinstance(model.objective, Masked):
            _tell(model, model.objective, limits)
        return optimize(model)


def _tell(model: EncoderOnly, objective: Masked, limits: Limits) -> None:
    """Sets how an encoder learns and where its targets end."""
    settings = ORDERS[limits.mask_order] | WEIGHTS[limits.mask_weights] | CANVASES[limits.canvas]
    if settings:
        model.objective = replace(objective, **settings)
    if limits.canvas == "length":
        model.predict_lengths()
