"""The optimizers that ``training.optimizer`` can name. To add one, add an entry:

"sgd": OptimizerEntry("SGD", "torch.optim:SGD", {"momentum": 0.9}),

Groups bring the recipe's rate and weight decay; everything else has PyTorch's default unless ``options`` says so. That
includes the form of weight decay: for one apart from the gradient, as AdamW has it, NAdam and RAdam need
``{"decoupled_weight_decay": True}``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def inverse(ratio: float) -> float:
    """``1 / ratio``, as under muP (2203.03466, table 8)."""
    return 1 / ratio


def inverse_root(ratio: float) -> float:
    """``ratio ** -0.5``, for updates of equal entries, whose spectral norm grows with the root of the width."""
    return float(ratio**-0.5)


@dataclass(frozen=True)
class OptimizerEntry:
    """How an optimizer is called and made. Code is named as "module:name", because files are read without torch.

    ``title`` is its name in words. ``make`` is called with parameter groups (`updates.optimizer.parameter_groups`) and
    ``options`` and returns a ``torch.optim.Optimizer``; what it needs to resume must be tensors in its ``state``.
    ``hidden_factor``: of the rate of hidden matrices in a model ``ratio`` times as wide as the one that the rate is
    for. All other parameters keep the rate, the output matrix too: it starts at zero, and with muP's ``1 / ratio`` it
    learned too slowly (docs/tuning.md). ``flops`` counts a step's matrix products for a model; empty: there are none.
    """

    title: str
    make: str
    options: Mapping[str, Any] = field(default_factory=dict)
    hidden_factor: Callable[[float], float] = inverse
    flops: str = ""


_UPDATES = "archbench.runs.updates"
OPTIMIZERS: dict[str, OptimizerEntry] = {
    "muon": OptimizerEntry(
        "Muon", f"{_UPDATES}.optimizer:muon_and_adamw", hidden_factor=inverse_root, flops=f"{_UPDATES}.muon:flops"
    ),
    "adamw": OptimizerEntry("AdamW", f"{_UPDATES}.optimizer:adamw"),
}


def known(name: str) -> str:
    """``name``; raises ``ValueError`` where it is no optimizer."""
    if name not in OPTIMIZERS:
        raise ValueError(f'"{name}": expected ' + " or ".join(f'"{other}"' for other in OPTIMIZERS))
    return name
