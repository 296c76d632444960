"""A model of ``transformers`` with something attached that weights do not show is refused, and the module named."""

import re
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from interop_cases import assert_logits
from interop_families import FAMILIES, GPT2, LLAMA
from torch.nn.utils import parametrizations, prune

from archbench.architectures.interop import from_transformers
from archbench.tasks.base.errors import InputError


def linear(model: Any) -> tuple[str, torch.nn.Linear]:
    """The first linear map that is not the output matrix, and its name."""
    output = model.get_output_embeddings()
    parts = ((name, part) for name, part in model.named_modules() if part is not output)
    return next((name, part) for name, part in parts if hasattr(part, "weight") and "Norm" not in type(part).__name__)


def tripled(*arguments: Any) -> Any:
    return arguments[-1] * 3


ATTACHED: dict[str, tuple[Callable[[Any], object], str]] = {
    "forward hook": (lambda part: part.register_forward_hook(tripled), r"a forward hook \(tripled\)"),
    "pre-hook": (lambda part: part.register_forward_pre_hook(lambda *_: None), "a forward pre-hook"),
    "backward hook": (lambda part: part.register_full_backward_hook(lambda *_: None), "a backward hook"),
    "backward pre-hook": (lambda part: part.register_full_backward_pre_hook(lambda *_: None), "a backward pre-hook"),
    "gradient hook": (lambda part: part.weight.register_hook(lambda gradient: gradient * 3), "a gradient hook on its"),
    "weight norm": (parametrizations.weight_norm, "a parametrization of weight.*remove_parametrizations"),
    "spectral norm": (torch.nn.utils.spectral_norm, "a forward pre-hook .*remove_weight_norm"),
    "pruning": (lambda part: prune.l1_unstructured(part, "weight", 0.5), "a forward pre-hook .*prune.remove"),
    "class": (
        lambda part: setattr(part, "__class__", type("Mine", (type(part),), {"forward": tripled})),
        r"a class with a forward method of its own \(Mine\)",
    ),
    "forward": (lambda part: setattr(part, "forward", types.MethodType(tripled, part)), "a forward method of its own"),
}


@pytest.mark.parametrize(("attach", "message"), ATTACHED.values(), ids=ATTACHED)
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_attached_to_a_module_is_named(name: str, attach: Callable[[Any], object], message: str) -> None:
    model = FAMILIES[name].theirs()
    from_transformers(model)
    place, part = linear(model)
    attach(part)
    with pytest.raises(InputError, match=rf"from_transformers: {re.escape(place)} \(.*\) has {message}"):
        from_transformers(model)


def test_a_hook_on_the_whole_model_is_named_and_a_removed_one_does_no_harm() -> None:
    model = GPT2.theirs()
    handle = model.register_forward_hook(tripled)
    with pytest.raises(InputError, match=r"from_transformers: the model \(GPT2LMHeadModel\) has a forward hook"):
        from_transformers(model)
    handle.remove()
    from_transformers(model)


def test_a_removed_parametrization_stays_in_the_weights() -> None:
    model = LLAMA.theirs()
    _, part = linear(model)
    parametrizations.weight_norm(part, dim=None)
    with torch.no_grad():
        part.parametrizations.weight.original0.mul_(3.0)
    torch.nn.utils.parametrize.remove_parametrizations(part, "weight")
    assert_logits(model, "none")
