"""Faults that begin at a length are found: by the contract in texts of 150 tokens, by compare at a task's own."""

from pathlib import Path

import pytest

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.runs.execution import compare
from archbench.runs.experiment.spec import Experiment, from_dict
from archbench.tasks.base.errors import InputError

AHEAD = '''"""A decoder that looks ahead {what}."""
import torch
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.decoder import DecoderOnly

class Ahead(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.flops = inner, inner.flops

    def forward(self, x):
        y = self.inner(x)
        return {result}

def build(size, limits):
    model = catalogue.find("decoder").build(size, limits)
    for block in model.stack.blocks:
        block.feedforward = Ahead(block.feedforward)
    return model
'''
FAR = "y if y.ndim == 2 else y + torch.nn.functional.pad(y, (0, 0, 0, 20))[:, 20:]"  # the last block's has no length
LONG = "y if y.ndim == 2 or y.shape[1] <= {n} else y + y.roll(-1, 1)"


def variant_file(folder: Path, result: str) -> Path:
    path = folder / "ahead.py"
    path.write_text(AHEAD.format(what="somewhere", result=result))
    return path


@pytest.mark.parametrize("result", [FAR, LONG.format(n=100)], ids=["20 positions ahead", "beyond 100 tokens"])
def test_far_look_ahead_is_named(result: str, tmp_path: Path) -> None:
    build = catalogue.find(str(variant_file(tmp_path, result))).build
    assert contract.check("no_look_ahead")(contract.subject(build)) is None  # short texts do not show it
    with pytest.raises(AssertionError, match=r"when later (tokens|ones) change"):
        contract.check("long_texts_are_read_alike")(contract.subject(build))


def test_compare_checks_at_the_lengths_of_its_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHBENCH_CACHE", str(tmp_path / "cache"))
    path = variant_file(tmp_path, LONG.format(n=300))
    contract.check("long_texts_are_read_alike")(
        contract.subject(catalogue.find(str(path)).build)
    )  # 150 tokens are too few
    task = {"kind": "generation", "data": "phrases-en-de:600", "source_length": 0}
    values = {"name": "long", "architectures": [str(path)], "budget": {"parameters": 20_000, "tokens": 5_000}}
    for context, refused in ((100, False), (320, True)):
        experiment = from_dict({**values, "tasks": [{**task, "context": context}]})
        if refused:
            with pytest.raises(InputError, match=r"texts_are_read_alike: logits before position .* of 320"):
                check(experiment, tmp_path)
        else:
            check(experiment, tmp_path)


def check(experiment: Experiment, folder: Path) -> None:
    options = compare.RunOptions(device="cpu", jobs=1)
    with compare.checked_architectures(experiment, options, lambda line: None) as architectures:
        compare.planned(experiment, folder / "out", options, lambda line: None, architectures)


@pytest.mark.parametrize(
    ("old", "new"), [("size.depth, block", "2, block"), ("size.hidden)", "24)")], ids=["depth", "hidden"]
)
def test_a_size_that_is_not_used_is_named(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "fixed.py"
    path.write_text(catalogue.find("decoder").text.replace(old, new))
    with pytest.raises(AssertionError, match=r"`size\."):
        contract.check("size_is_used")(contract.subject(catalogue.find(str(path)).build))
