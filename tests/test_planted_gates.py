"""Models that a real comparison trains too little, or whose sources say nothing, are caught: no verdict."""

import random
from pathlib import Path

import pytest

import archbench
from archbench.reports.report import Report

WORDS = [f"w{number}" for number in range(20)]
EXPERIMENT = {
    "name": "planted",
    "architectures": ["decoder", "encoder-decoder"],
    "seeds": [0, 1],
    "supervision": "target",
    "budget": {"parameters": 40_000, "tokens": 60_000},
    "model": {"width": 32, "heads": 2},
    "training": {"batch_tokens": 512, "precision": "float32", "learning_rate": 0.02},
}


def write(folder: Path, name: str, informative: bool) -> dict[str, object]:
    """Pairs whose target repeats two words; ``informative``: the source begins with them, otherwise it says nothing."""
    rng, rows = random.Random(0), ["source\ttarget"]
    for _ in range(3000):
        source, other = rng.choices(WORDS, k=3), rng.choices(WORDS, k=2)
        rows.append(f"{' '.join(source)}\t{' '.join((source[:2] if informative else other) * 3)}")
    (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    task = {"kind": "translation", "name": name, "data": f"{name}.tsv", "tokenizer": "word", "vocabulary": 40}
    return {**task, "source_length": 4, "target_length": 8, "test_examples": 60, "primary": "bits_per_byte"}


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Which side of each data set's contrast is below its gate, and why; empty where both pass."""
    folder = tmp_path_factory.mktemp("planted")
    long, short = {"budget": {"tokens": 150_000}, "seeds": [0, 1, 2]}, {"budget": {"tokens": 1_000}}
    tasks = [write(folder, "told", True) | long, write(folder, "blind", False), write(folder, "starved", True) | short]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("ARCHBENCH_CACHE", str(folder / "cache"))
        frames = archbench.compare({**EXPERIMENT, "tasks": tasks}, "out", jobs=1)
    return {contrast.dataset: contrast.gate for contrast in Report(frames).tested.primary}


def test_a_model_that_reads_its_source_and_is_trained_takes_part(reasons: dict[str, str]) -> None:
    assert reasons["told"] == ""


def test_one_whose_source_says_nothing_is_caught(reasons: dict[str, str]) -> None:
    """It beats the byte 5-gram, since targets repeat themselves, but not its own score with shuffled sources."""
    assert "shuffled" in reasons["blind"] and "5-gram" not in reasons["blind"]


def test_one_that_is_hardly_trained_is_caught(reasons: dict[str, str]) -> None:
    assert "5-gram" in reasons["starved"]
