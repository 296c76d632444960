"""The picture of the three families follows from built models."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from simulation_scripts import DOCS, load


@pytest.fixture(scope="module")
def schematic() -> ModuleType:
    return load("schematic", ".")


@pytest.mark.parametrize("name", ["decoder", "encoder", "encoder-decoder", "prefix-decoder"])
def test_who_reads_whom_is_what_the_families_promise(
    schematic: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(schematic.LAYERS, name, 2)
    count = schematic.TOKENS
    causal, everything = torch.ones(count, count).tril().bool(), torch.ones(count, count).bool()
    source, back = {
        "decoder": (causal, ~everything),
        "prefix-decoder": (everything, ~everything),
        "encoder": (everything, everything),
        "encoder-decoder": (everything, ~everything),
    }[name]
    target = everything if name == "encoder" else causal
    rows = torch.cat([torch.cat([source, back], 1), torch.cat([everything, target], 1)])
    assert torch.equal(schematic.visible(schematic.build(name)), rows)


def test_the_picture_is_up_to_date(schematic: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schematic, "OUT", tmp_path / "families.svg")
    schematic.main()
    assert (tmp_path / "families.svg").read_bytes() == (DOCS / "families.svg").read_bytes()
