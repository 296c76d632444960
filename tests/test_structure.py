"""A model is written as a class of ``transformers`` only if nothing on any of its parts makes it compute otherwise."""

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from interop_cases import randomised
from torch.nn.utils import parametrizations

from archbench.architectures.catalogue import catalogue
from archbench.architectures.conversion import convert
from archbench.architectures.conversion.structure import difference
from archbench.architectures.families.size import Limits, Size
from archbench.tasks.base.errors import InputError


def gpt2(change: Callable[[Any], object] = lambda block: None) -> Any:
    """The built-in GPT-2, whose first block was changed."""
    model = catalogue.find("gpt2").build(Size(16, 2, 2, 24), Limits(30, 6, 4))
    change(model.stack.blocks[0])
    return randomised(model, 0)


def tripled(*arguments: Any) -> Any:
    return arguments[-1] * 3


CHANGES: dict[str, Callable[[Any], object]] = {
    "a hook": lambda block: block.feedforward.register_forward_hook(tripled),
    "a hook before": lambda block: block.feedforward.register_forward_pre_hook(lambda part, inputs: (inputs[0] * 3,)),
    "a method": lambda block: setattr(block.feedforward, "forward", tripled),
    "a bound method": lambda block: setattr(block.around_attention, "after", types.MethodType(tripled, block)),
    "a parametrization": lambda block: parametrizations.weight_norm(block.feedforward.up),
    "a private number": lambda block: setattr(block, "_gain", 3.0),
    "a list": lambda block: setattr(block, "gains", [1.0, 3.0]),
    "a dictionary": lambda block: setattr(block, "gains", {"up": 3.0}),
    "a set": lambda block: setattr(block, "gains", {3.0}),
    "a tensor": lambda block: setattr(block, "gain", torch.tensor(3.0)),
    "an array": lambda block: setattr(block, "gain", np.array([3.0, 4.0])),
    "an object": lambda block: setattr(block, "gain", object()),
    "a buffer": lambda block: block.register_buffer("gain", torch.tensor(3.0)),
    "an unsaved buffer": lambda block: block.register_buffer("gain", torch.tensor(3.0), persistent=False),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_changed_on_one_part_is_no_class_of_transformers(change: Callable[[Any], object]) -> None:
    convert.to_transformers(gpt2())
    with pytest.raises(InputError, match=r"this decoder is no GPT2LMHeadModel: stack\.blocks\.0"):
        convert.to_transformers(gpt2(change))


def test_lists_dictionaries_and_tensors_are_compared_by_value() -> None:
    def keeping(number: float) -> Callable[[Any], object]:
        attribute = {"a": [torch.tensor([1.0, number]), (number, None)], "b": torch.ones(2, dtype=torch.bfloat16)}
        return lambda block: setattr(block, "kept", attribute)

    assert difference(gpt2(keeping(3.0)), gpt2(keeping(3.0))) is None
    assert "blocks.0.kept" in (difference(gpt2(keeping(3.0)), gpt2(keeping(4.0))) or "")


def test_training_and_compiling_change_no_structure() -> None:
    model = gpt2().train()
    model.compile(backend="eager")
    assert difference(model, gpt2()) is None


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "modernbert", "t5"])
def test_other_logits_are_noticed_whatever_makes_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = randomised(catalogue.find(name).build(Size(16, 2, 2, 24), Limits(30, 6, 4)), 0)
    theirs = convert.to_transformers(model.train().bfloat16())
    assert model.training and model.head.weight.dtype == torch.bfloat16 and not theirs.training
    stack = model.encoder if name == "t5" else model.stack
    stack.blocks[0].feedforward.register_forward_hook(tripled)
    monkeypatch.setattr(convert, "difference", lambda actual, expected: None)
    with pytest.raises(InputError, match="with these weights gives other logits than this model"):
        convert.to_transformers(model.float())
