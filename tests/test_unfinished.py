"""Records of a comparison move to another machine without weights, and count as finished there."""

from pathlib import Path

import tiny_runs
from simulation_scripts import load

from archbench.reports.base import tables
from archbench.runs.store import store
from archbench.tasks.base import sealed


def test_packed_records_are_finished_runs_without_weights(tmp_path: Path) -> None:
    records = load("records", "unfinished")
    place = tiny_runs.write_data(tmp_path)
    run = tiny_runs.trained(place, tmp_path / "here", "decoder", "turned")
    broken = tiny_runs.trained(place, tmp_path / "here", "encoder", "turned")
    (broken / "scores.json").write_text("[]")
    assert records.pack(tmp_path / "here", tmp_path / "records.tar.xz") == 1
    assert records.unpack(tmp_path / "records.tar.xz", tmp_path / "there") == 1
    moved = store.run_folder(tmp_path / "there", run.name)
    assert store.is_finished(moved, weights=True)
    assert not list(moved.glob("*.safetensors"))
    assert not store.run_folder(tmp_path / "there", broken.name).exists()
    assert records.unpack(tmp_path / "records.tar.xz", tmp_path / "here") == 0
    assert records.pack(tmp_path / "here", tmp_path / "fewer.tar.xz", ["turned-decoder"]) == 0
    for root in ("here", "there"):
        head = {"schema": 1, "archbench": "0", "name": "tiny", "command": "", "experiment": {}, "runs": [run.name]}
        sealed.write_sealed(tmp_path / root / "experiment.json", head)
    original, copied = (tables.collect(tmp_path / root) for root in ("here", "there"))
    for name in ("runs", "scores", "curves", "predictions"):
        assert original[name].equals(copied[name])
