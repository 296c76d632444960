"""Where an exported run goes, and as what: all of it or nothing, and as no class that computes something else."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import trained, write_data

from archbench.architectures.catalogue import catalogue
from archbench.architectures.objectives.masked import Masked
from archbench.runs.export import export
from archbench.runs.scoring import finished
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS

HOOKED = (
    catalogue.find("gpt2").text
    + """

plain = build


def build(size, limits):
    model = plain(size, limits)
    for block in model.stack.blocks:
        block.feedforward.register_forward_hook(lambda part, inputs, output: output * 3)
    return model
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(folder, tmp_path_factory.mktemp("root"), "gpt2", "colours")


def test_a_model_with_hooks_keeps_them(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    (tmp_path / "hooked.py").write_text(HOOKED)
    place = trained(folder, tmp_path, str(tmp_path / "hooked.py"), "colours")
    assert export.export(place, tmp_path / "out").model == "ArchbenchForCausalLM"
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", variant_file=tmp_path / "out" / "variant.py")
    ids, run = torch.tensor([[7, 8, 9, BOS]]), finished.read(place)
    expected = run.model(None, ids)
    torch.testing.assert_close(theirs(ids).logits, expected)
    for block in run.model.stack.blocks:
        block.feedforward._forward_hooks.clear()
    assert not torch.allclose(run.model(None, ids), expected, atol=1e-3), "the hooks do something"


def test_a_model_with_another_objective_is_no_class_of_transformers(place: Path) -> None:
    run = finished.read(place)
    assert export.model(run)[1]
    run.model.objective = Masked()
    assert not export.model(run)[1]


@pytest.mark.parametrize("way", [".", "new/..", "../here/", "../link"])
def test_an_empty_folder_is_filled_by_whatever_name(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    result = export.export(place, Path(way))
    assert folder.stat().st_ino == before, "it is still the folder that a shell is in"
    assert (
        sorted(result.files) == sorted(path.name for path in folder.iterdir()) and "model.safetensors" in result.files
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "link"]
    with pytest.raises(InputError, match="here: this folder is not empty"):
        export.export(place, Path(way))


@pytest.mark.parametrize("exists", [True, False])
def test_what_cannot_be_written_is_one_line_and_leaves_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    target = tmp_path / "out"
    if exists:
        target.mkdir()
    calls = iter(range(100))

    def busy(*arguments: Any) -> Any:
        if exists and next(calls) < 3:
            return rename(*arguments)
        raise OSError(errno.EBUSY, "Device or resource busy")

    rename = Path.rename
    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setattr(export.os, "replace", lambda *arguments: _replace(busy, *arguments))
    with pytest.raises(InputError, match=r"out: cannot be written: Device or resource busy; give another folder$"):
        export.export(place, target)
    assert [*tmp_path.rglob("*")] == ([target] if exists else [])


def _replace(busy: Any, source: Any, target: Any) -> Any:
    """Files of the store are put in place as ever; folders are not."""
    return busy(source, target) if Path(source).is_dir() else REPLACE(source, target)


REPLACE = os.replace


def test_a_place_that_cannot_be_is_one_line(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for target in (tmp_path / "file" / "out", tmp_path / "loop", tmp_path / ("x" * 300), Path("/proc/here/out")):
        with pytest.raises(InputError, match=r"cannot be written: .*; give another folder$"):
            export.export(place, target)
