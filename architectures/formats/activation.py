"""Activations by the names that configurations of ``transformers`` use."""

from torch.nn import functional as F

from archbench.architectures.components.feedforward import Activation, gelu_tanh
from archbench.tasks.base.errors import InputError

ACTIVATIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}


def activation(name: str) -> Activation:
    """Raises ``InputError`` for one that we do not have."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise InputError(f'the activation "{name}" is not supported; expected one of {known}')
    return ACTIVATIONS[name]


def activation_name(function: Activation) -> str:
    """The first name of an activation; raises ``ValueError`` for one that has none."""
    for name, known in ACTIVATIONS.items():
        if known is function:
            return name
    raise ValueError("this activation has no name in transformers")
