"""Kernels take the place of plain methods, and a model computes the same with and without them."""

import copy
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from whole_models import padded_pairs, perturbed

from archbench.architectures import kernels
from archbench.architectures.components.attention import Attention
from archbench.architectures.components.norm import RMSNorm
from archbench.architectures.components.stack import Block
from archbench.architectures.contract import LIMITS
from archbench.architectures.kernels.table import KERNELS, SELECTION, Kernel, only, optimize, plain_class
from archbench.architectures.objectives.objective import mean_loss

HERE = Path(__file__).parent
EVERY = [(kernel, name) for kernel in KERNELS for name in kernel.methods]
ALLOWED = torch.ones(LIMITS.vocabulary, dtype=torch.bool)


@pytest.mark.parametrize(("kernel", "name"), EVERY, ids=lambda part: part if isinstance(part, str) else "")
def test_a_kernel_takes_what_the_plain_method_takes_and_has_a_test(kernel: Kernel, name: str) -> None:
    plain, fast = (list(inspect.signature(f).parameters) for f in (getattr(kernel.owner, name), kernel.methods[name]))
    assert fast[: len(plain)] == plain
    module = kernel.methods[name].__module__.rpartition(".")[2]
    assert module in (HERE / kernel.test).read_text() or module in ("attend", "selection")
    assert (HERE / kernel.test).is_file()


def test_every_module_is_used_by_the_table() -> None:
    modules = {module.name for module in pkgutil.iter_modules(kernels.__path__)} - {"table"}
    used = {"table"}
    for _ in modules:
        texts = [Path(kernels.__path__[0], f"{name}.py").read_text() for name in used]
        imports = re.findall(r"kernels(?: import (.*)|\.(\w+) import)", "\n".join(texts))
        used |= {name for several, one in imports for name in (*several.split(", "), one) if name}
    assert used - {"table"} == modules


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "gpt2", "llama", "t5", "t5-gated"])
def test_a_model_computes_the_same_without_kernels(name: str) -> None:
    model, pairs = perturbed(name, 0.1), padded_pairs()

    def computed() -> list[Tensor]:
        loss = mean_loss(model, pairs, ALLOWED, torch.Generator().manual_seed(1), True, 0.1)
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            cache, steps = model.prefill(pairs.source, pairs.source_mask), []
            for position in range(3):
                step, cache = model.decode(pairs.target[:, [position]], cache)
                steps.append(step)
            return [loss, *grads, model.objective.log_likelihood(model, pairs, ALLOWED)[0], torch.cat(steps, 1)]

    fast = computed()
    for kernel in (None, *KERNELS):
        with only(model, SELECTION if kernel is None else (*SELECTION, kernel)):
            for ours, theirs in zip(computed(), fast, strict=True):
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_kernels_are_put_in_and_taken_out() -> None:
    model = perturbed("llama", 0.1)
    before = [type(module) for module in model.modules()]
    assert any(kind is not plain_class(module) for kind, module in zip(before, model.modules(), strict=True))
    with only(model):
        assert all(type(module) is plain_class(module) for module in model.modules())
    assert [type(module) for module in model.modules()] == before
    copied = copy.deepcopy(model)
    assert [type(module) for module in optimize(copied).modules()] == before


def test_a_class_that_overrides_a_method_keeps_its_own() -> None:
    class Doubled(RMSNorm):
        def forward(self, x: Tensor) -> Tensor:
            return 2.0 * super().forward(x)

    class Named(Attention):
        def project_queries(self, x: Tensor) -> Tensor:
            return super().project_queries(x)

    x = torch.randn(3, 8, requires_grad=True)
    assert type(optimize(Doubled(8))) is Doubled
    torch.testing.assert_close(optimize(Doubled(8))(x), 2.0 * RMSNorm(8)(x))
    assert type(optimize(Named(8, 2))).attended is not Attention.attended


def test_a_block_of_another_kind_computes_every_position_and_counts_it() -> None:
    """A block with a ``forward`` of its own cannot be told which states are read."""
    model, pairs = perturbed("decoder", 0.1), padded_pairs()
    usual = model.flops(5.0, 4.0, 1.0)

    class Parallel(Block):
        def forward(self, x, context, past=None, memory=None, memory_context=None):  # type: ignore[no-untyped-def]
            return super().forward(x, context, past, memory, memory_context)

    expected = model.objective.log_likelihood(model, pairs, ALLOWED)[0]
    last: nn.Module = model.stack.blocks[-1]
    last.__class__ = Parallel
    optimize(model)
    more = 8.0 * last.feedforward.flops(1.0)  # type: ignore[operator, union-attr]
    assert model.flops(5.0, 4.0, 1.0).executed == usual.executed + more
    torch.testing.assert_close(model.objective.log_likelihood(model, pairs, ALLOWED)[0], expected)
