"""Items made ahead are the same items; compiling and recomputing train as the plain path does."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.stack import Block, recompute_blocks
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.runs.experiment.sections import Training
from archbench.runs.training import compiled
from archbench.runs.training.compiled import compile_blocks
from archbench.runs.training.prefetch import prefetch


def test_the_order_is_kept() -> None:
    assert list(prefetch(iter(range(50)), 2)) == list(range(50))
    assert list(prefetch(iter(()), 2)) == []


def test_items_are_made_before_they_are_asked_for_but_not_many() -> None:
    produced: list[int] = []

    def making() -> Iterator[int]:
        for item in range(20):
            produced.append(item)
            yield item

    items = prefetch(making(), 2)
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(produced) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert 3 <= len(produced) <= 5
    items.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "batches ahead"]


def test_what_goes_wrong_shows_where_it_would_have() -> None:
    def making() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    items = prefetch(making(), 2)
    assert next(items) == 1
    with pytest.raises(OSError, match="no more"):
        next(items)


def built(name: str = "decoder") -> tuple[DecoderOnly, Batch]:
    torch.manual_seed(0)
    model = catalogue.find(name).build(Size(32, 2, 3, 48, dropout=0.1), Limits(40, 8, 8))
    tokens = torch.randint(10, 40, (2, 4, 8))
    return model, Batch(tokens[0], tokens[1])


def trained(model: DecoderOnly, pairs: Batch, allowed_tokens: torch.Tensor) -> list[torch.Tensor]:
    """The loss and every gradient of one step, dropout included."""
    torch.manual_seed(1)
    loss = mean_loss(model.train(), pairs, allowed_tokens, torch.Generator().manual_seed(2), True)
    loss.backward()  # type: ignore[no-untyped-call]
    return [loss.detach(), *(weight.grad for weight in model.parameters() if weight.grad is not None)]


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "prefix-decoder", "t5"])
def test_recomputing_changes_no_gradient(name: str) -> None:
    allowed_tokens = torch.ones(40, dtype=torch.bool)
    (plain, pairs), (recomputed, _) = built(name), built(name)
    recompute_blocks(recomputed)
    for expected, other in zip(
        trained(plain, pairs, allowed_tokens), trained(recomputed, pairs, allowed_tokens), strict=True
    ):
        assert torch.equal(expected, other)


def test_recomputing_keeps_less_for_the_backward_pass() -> None:
    def saved_size(recompute: bool) -> int:
        model, pairs = built()
        if recompute:
            recompute_blocks(model)
        sizes: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            mean_loss(model.train(), pairs, torch.ones(40, dtype=torch.bool), None, True)
        return sum(sizes)

    assert saved_size(True) < 0.6 * saved_size(False)


def test_without_a_compiler_training_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    messages: list[str] = []
    model, _ = built()
    assert not compile_blocks(model, tmp_path, messages.append)
    assert len(messages) == 1 and "no C++ compiler" in messages[0]


def test_where_compiling_fails_training_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def compile(function: object) -> None:
        raise RuntimeError("Python.h: No such file\nor directory")

    monkeypatch.setattr(compiled, "_missing", lambda device: "")
    monkeypatch.setattr(torch, "compile", compile)
    messages: list[str] = []
    model, _ = built()
    assert not compile_blocks(model, tmp_path, messages.append)
    assert (
        len(messages) == 1
        and "\n" not in messages[0]
        and "Python.h" in messages[0]
        and "continues without compiling" in messages[0]
    )


def test_what_is_compiled_is_what_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[object] = []

    def compile(function: Callable[..., object], **options: object) -> Callable[..., object]:
        def call(*inputs: object, **named: object) -> object:
            calls.append(function)
            return function(*inputs, **named)

        return call

    monkeypatch.setattr(compiled, "_missing", lambda device: "")
    monkeypatch.setattr(torch, "compile", compile)
    model, pairs = built()
    model.eval()
    blocks = sum(isinstance(part, Block) for part in model.modules())
    assert compile_blocks(model, tmp_path, lambda line: None)
    calls.clear()  # of the trial
    with torch.no_grad():
        before = model.hidden(*pairs).target
    assert not calls
    assert torch.equal(model.hidden(*pairs).target, before) and len(calls) == blocks


def test_auto_compiles_runs_that_are_long_enough_and_leaves_what_is_said_as_it_is() -> None:
    auto, least = Training(), compiled.PAYS["cpu"]
    assert [compiled.chosen(auto, "cpu", flops).compile for flops in (0.0, least / 2, least)] == [False, False, True]
    assert compiled.chosen(auto, "cuda", least).compile is False
    for setting in (True, False):
        assert compiled.chosen(Training(compile=setting), "cpu", least * (1 - setting)).compile is setting


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling takes a compiler")
def test_compiled_blocks_train_as_plain_ones_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    allowed_tokens = torch.ones(40, dtype=torch.bool)
    (plain, pairs), (fast, _) = built(), built()
    for model in (plain, fast):
        model.requires_grad_(True)
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    assert compile_blocks(fast, tmp_path, lambda line: None)
    for expected, other in zip(
        trained(plain, pairs, allowed_tokens), trained(fast, pairs, allowed_tokens), strict=True
    ):
        torch.testing.assert_close(expected, other, rtol=1e-4, atol=1e-5)
