"""What a variant's code changes outside of itself is noticed, wherever it does so, and the variant refused."""

import builtins
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from sacrebleu.metrics.chrf import CHRF
from torch import nn
from torch.nn import functional as F

from archbench.architectures.catalogue import catalogue, shared_state
from archbench.architectures.components import feedforward
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward
from archbench.architectures.components.stack import Stack
from archbench.architectures.objectives import masked
from archbench.architectures.objectives.masked import Masked
from archbench.tasks.base import example
from archbench.tasks.base.errors import InputError

Patch = Callable[[pytest.MonkeyPatch], Any]


def set_on(owner: Any, name: str, value: object) -> Patch:
    return lambda patched: patched.setattr(owner, name, value, raising=False)


CHANGES: dict[str, tuple[str, Patch]] = {
    "a method of a shared class": (
        "archbench.architectures.components.feedforward.GatedFeedForward.forward",
        set_on(GatedFeedForward, "forward", FeedForward.forward),
    ),
    "a shared class": (
        "archbench.architectures.components.feedforward.FeedForward",
        set_on(feedforward, "FeedForward", GatedFeedForward),
    ),
    "a value of a shared class": (
        "archbench.architectures.components.stack.Stack.recompute",
        set_on(Stack, "recompute", True),
    ),
    "a method that a class inherits": (
        "archbench.architectures.components.feedforward.FeedForward.__call__",
        set_on(FeedForward, "__call__", lambda self, x: x),
    ),
    "a default argument": (
        "archbench.architectures.objectives.masked.Masked.__init__",
        set_on(Masked.__init__, "__defaults__", (True, 0.5)),
    ),
    "the code of a function": (
        "archbench.architectures.objectives.masked._canvas",
        set_on(masked._canvas, "__code__", (lambda cells, mask, length: cells).__code__),
    ),
    "what a constant contains": (
        "archbench.architectures.objectives.masked.CANVASES",
        lambda patched: patched.setitem(masked.CANVASES, "cpu", 1),
    ),
    "a constant of the tasks": ("archbench.tasks.base.example.END", set_on(example, "END", 3)),
    "a function of torch": ("torch.nn.functional.silu", set_on(F, "silu", F.relu)),
    "a module of torch": ("torch.nn.modules.activation.GELU.forward", set_on(nn.GELU, "forward", nn.ReLU.forward)),
    "a method of tensors": ("torch.Tensor.norm", set_on(torch.Tensor, "norm", lambda self: self)),
    "a method that tensors inherit": ("torch.Tensor.softmax", set_on(torch.Tensor, "softmax", lambda self, dim: self)),
    "the code of a function of torch": (
        "torch.nn.functional.silu",
        set_on(F.silu, "__code__", (lambda input, inplace=False: input).__code__),
    ),
    "a default argument of torch": ("torch.nn.functional.layer_norm", set_on(F.layer_norm, "__defaults__", (1e-3,))),
    "a metric of a library": ("sklearn.metrics.f1_score", set_on(sklearn.metrics, "f1_score", lambda *_, **named: 1.0)),
    "a method of a library's metric": (
        "sacrebleu.metrics.chrf.CHRF.corpus_score",
        set_on(CHRF, "corpus_score", lambda *_: 100.0),
    ),
    "a clock": ("time.perf_counter", set_on(time, "perf_counter", lambda: 0.0)),
    "a generator of NumPy": ("numpy.random.default_rng", set_on(np.random, "default_rng", lambda seed=None: None)),
    "a function of NumPy": ("numpy.argmax", set_on(np, "argmax", np.argmin)),
    "a built-in function": ("builtins.sum", set_on(builtins, "sum", max)),
}

SETTINGS: dict[str, tuple[str, Callable[[], object], Callable[[], object]]] = {
    "default type": (
        "torch.get_default_dtype()",
        lambda: torch.set_default_dtype(torch.float64),
        lambda: torch.set_default_dtype(torch.float32),
    ),
    "threads": (
        "torch.get_num_threads()",
        lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        lambda: torch.set_num_threads(torch.get_num_threads() - 1),
    ),
    "gradients": (
        "torch.is_grad_enabled()",
        lambda: torch.set_grad_enabled(False),
        lambda: torch.set_grad_enabled(True),
    ),
    "small numbers": (
        "torch.set_flush_denormal()",
        lambda: torch.set_flush_denormal(True),
        lambda: torch.set_flush_denormal(False),
    ),
    "precision": (
        "torch.get_float32_matmul_precision()",
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("highest"),
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_of_what_is_shared_is_named(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change = CHANGES[case]
    before = shared_state.snapshot()
    with monkeypatch.context() as patched:
        change(patched)
        changed = shared_state.changes(before)
    assert name in changed
    assert shared_state.changes(before) == [], "put back, nothing is changed"


@pytest.mark.parametrize("case", SETTINGS)
def test_a_setting_of_torch_is_named(case: str) -> None:
    name, change, restore = SETTINGS[case]
    before = shared_state.snapshot()
    change()
    try:
        changed = shared_state.changes(before)
    finally:
        restore()
    assert changed == [f"torch settings.{name}"]


def test_settings_that_contradict_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where precision was set by torch's older and by its newer interface, torch refuses to say what it is."""
    before = shared_state.snapshot()
    name = "torch.get_float32_matmul_precision()"

    def refuse() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setitem(shared_state.SETTINGS, name, refuse)
    assert f"torch settings.{name}" in shared_state.changes(before)


def test_a_hook_of_all_modules_is_noticed() -> None:
    before = shared_state.snapshot()
    hook = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: None)
    changed = shared_state.changes(before)
    hook.remove()
    assert changed == ["torch settings.hooks of all modules"]


def test_what_torch_does_to_itself_is_no_change() -> None:
    before = shared_state.snapshot()
    compiled = torch.compile(nn.Linear(2, 2), backend="eager")
    compiled(torch.ones(1, 2)).sum().backward()
    assert shared_state.changes(before) == []


@pytest.fixture
def restored() -> Iterator[None]:
    """Puts back what the files below change."""
    forward, silu = GatedFeedForward.forward, F.silu
    yield
    GatedFeedForward.forward, F.silu = forward, silu  # type: ignore[method-assign, assignment]
    torch.set_default_dtype(torch.float32)


FILE = '''"""A decoder that {what}."""
import torch
from torch.nn import functional as F
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.feedforward import FeedForward, GatedFeedForward
{top}

def build(size, limits):
    {inside}
    return catalogue.find("decoder").build(size, limits)
'''


@pytest.mark.parametrize("at_import", [True, False])
@pytest.mark.parametrize(
    "line, name",
    [
        (
            "GatedFeedForward.forward = lambda self, x: self.down(self.gate_up(x)[0])",
            "archbench.architectures.components.feedforward.GatedFeedForward.forward",
        ),
        ("F.silu = F.relu", "torch.nn.functional.silu"),
        ("torch.set_default_dtype(torch.bfloat16)", r"torch settings.torch.get_default_dtype\(\)"),
    ],
)
def test_a_file_that_changes_it_is_refused(
    restored: None, tmp_path: Path, line: str, name: str, at_import: bool
) -> None:
    text = FILE.format(what="is better", top=line if at_import else "", inside="pass" if at_import else line)
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(InputError, match=f"mine.py: loading it changes {name}, which other architectures use too"):
        catalogue.find("mine.py", tmp_path)


def test_a_file_of_its_own_classes_is_not(tmp_path: Path) -> None:
    top = "class Own(GatedFeedForward):\n    def forward(self, x):\n        return F.relu(super().forward(x))\n"
    (tmp_path / "mine.py").write_text(FILE.format(what="differs", top=top, inside="pass"))
    before = shared_state.snapshot()
    catalogue.find("mine.py", tmp_path)
    assert shared_state.changes(before) == []


def test_many_changes_are_counted() -> None:
    assert shared_state.listed(list("ab")) == "a, b"
    assert shared_state.listed(list("abcde")) == "a, b, c and 2 more"
