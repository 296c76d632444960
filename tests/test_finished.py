"""A finished run is read back only as what was trained: whatever has changed since is told, not run."""

from pathlib import Path

import checkpoint_folders
import pytest
from tiny_runs import trained, write_data

from archbench.runs.scoring import finished
from archbench.runs.scoring.predict import predict
from archbench.runs.store import store
from archbench.tasks.base.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("architecture", ["decoder", "mine.py"])
def test_a_changed_variant_file_is_told_and_not_run(folder: Path, tmp_path: Path, architecture: str) -> None:
    name = str(folder / architecture) if architecture.endswith(".py") else architecture
    place = trained(folder, tmp_path, name, "colours")
    assert predict(place, "red house").text
    text = (place / "variant.py").read_text()
    for changed in (f"{text}# a word more\n", f"raise SystemExit('this ran')\n{text}"):
        assert changed != text
        (place / "variant.py").write_text(changed)
        with pytest.raises(InputError, match=r"this run is damaged \(variant\.py has changed\); run"):
            predict(place, "red house")
    store.write_record(place, store.read_record(place) or {})  # sealed again, by someone who wants it to run
    with pytest.raises(InputError, match=r"this run is damaged \(ValueError: variant\.py has changed since\); run"):
        predict(place, "red house")


def test_a_changed_checkpoint_is_told_and_what_to_do(folder: Path, tmp_path: Path) -> None:
    checkpoint_folders.gpt2(tmp_path / "theirs")
    place = trained(folder, tmp_path, str(tmp_path / "theirs"), "colours")
    finished.read(place)
    config = tmp_path / "theirs" / "config.json"
    config.write_text(config.read_text().replace('"gelu_new"', '"relu"'))
    with pytest.raises(InputError) as error:
        finished.read(place)
    assert str(error.value).endswith(
        "theirs has changed since: that command scores the checkpoint as it is now); run its compare command again"
    )


def test_a_run_that_has_not_ended_is_not_read_whatever_lies_in_its_folder(folder: Path, tmp_path: Path) -> None:
    place = trained(folder, tmp_path, "decoder", "colours")
    store.write_record(place, {**(store.read_record(place) or {}), "status": "unfinished"})
    with pytest.raises(InputError, match=r"this run is not finished; run its compare command again first"):
        finished.read(place)
