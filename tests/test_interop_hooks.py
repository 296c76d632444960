"""A model of ``transformers`` with something attached that weights do not show is refused, and the module named."""

import re
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils import parametrizations, prune
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from archbench.architectures.interop import from_transformers
from archbench.tasks.base.errors import InputError

SIZES = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 24, "vocab_size": 30}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=12, n_embd=16, n_layer=1, n_head=2)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES)),
    "modernbert": lambda: ModernBertForMaskedLM(ModernBertConfig(**SIZES, pad_token_id=0)),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    ),
}


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
@pytest.mark.parametrize("name", MODELS)
def test_what_is_attached_to_a_module_is_named(name: str, attach: Callable[[Any], object], message: str) -> None:
    model = MODELS[name]()
    from_transformers(model)
    place, part = linear(model)
    attach(part)
    with pytest.raises(InputError, match=rf"from_transformers: {re.escape(place)} \(.*\) has {message}"):
        from_transformers(model)


def test_a_hook_on_the_whole_model_is_named_and_a_removed_one_does_no_harm() -> None:
    model = MODELS["gpt2"]()
    handle = model.register_forward_hook(tripled)
    with pytest.raises(InputError, match=r"from_transformers: the model \(GPT2LMHeadModel\) has a forward hook"):
        from_transformers(model)
    handle.remove()
    from_transformers(model)


def test_a_removed_parametrization_stays_in_the_weights() -> None:
    model = MODELS["llama"]().eval()
    _, part = linear(model)
    parametrizations.weight_norm(part, dim=None)
    with torch.no_grad():
        part.parametrizations.weight.original0.mul_(3.0)
    torch.nn.utils.parametrize.remove_parametrizations(part, "weight")
    ids = torch.arange(5)[None]
    with torch.no_grad():
        assert torch.allclose(from_transformers(model)(None, ids), model(ids).logits, atol=1e-4)
