"""A run that is exported and scored as a checkpoint gets its own scores again: the two ways meet."""

from pathlib import Path

import pytest
from tiny_runs import trained, write_data

from archbench.runs.export import export
from archbench.tasks.base import sealed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("task", ["colours", "turned", "running", "windows"])
@pytest.mark.parametrize("architecture", ["gpt2", "bert", "t5"])
def test_scores_are_those_of_the_run(architecture: str, task: str, folder: Path, tmp_path: Path) -> None:
    run = trained(folder, tmp_path, architecture, task)
    export.export(run, tmp_path / "exported")
    again = trained(folder, tmp_path / "again", str(tmp_path / "exported"), task)
    before, after = (
        {row["metric"]: row["value"] for row in sealed.read_json(place / "scores.json") if row["split"] == "test"}
        for place in (run, again)
    )
    assert after["nll_per_token"] == pytest.approx(before["nll_per_token"], abs=1e-4)
    sampled = {"repetition", "distinct_2", "copied", "rouge_l", "sample_bits_per_byte"}
    random_metrics = sampled if task == "running" else set()
    bounds = {metric for metric in before if metric.endswith("_bound")}  # of other random masks
    if task == "turned":  # its words do not tell the text's bytes once they are a checkpoint's tokens
        assert before.keys() - after.keys() <= {"bits_per_byte", "bits_per_byte_bound", "bits_per_byte_shuffled"}
        random_metrics |= before.keys() - after.keys()
    for metric in before.keys() - random_metrics - bounds:
        assert after[metric] == pytest.approx(before[metric], rel=1e-4), metric
