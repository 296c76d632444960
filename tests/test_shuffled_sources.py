"""``bits_per_byte_shuffled``: nobody keeps its source, targets stay, other scores stay, and only readers lose."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import trained, write_data

from archbench.architectures.objectives.objective import Batch
from archbench.reports.base import tables
from archbench.runs.scoring import shuffled
from archbench.runs.scoring.score import Predictor, scored
from archbench.runs.scoring.shuffled import EXAMPLES, METRIC, ExchangedSources, partners
from archbench.runs.store import store
from archbench.runs.training.batches import fixed
from archbench.tasks.base import sealed
from archbench.tasks.base.values import Prepared, Score, TaskConfig
from archbench.tasks.kinds import task
from archbench.tasks.text.splits import Subset


def prepared(folder: Path, count: int = 100, source: str = "", **changes: Any) -> Prepared:
    """Pairs of a word and the word backwards, of many lengths; or of one ``source`` and each word backwards."""
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdef"), 1 + n % 11)) + "xyz"[n % 3] for n in range(count)]
    (folder / "pairs.tsv").write_text(
        "source\ttarget\n" + "".join(f"{source or word}\t{word[::-1]}\n" for word in words)
    )
    data = dict.fromkeys(("train", "validation", "test"), "pairs.tsv")
    settings = {"tokenizer": "char", "source_length": 16, "target_length": 16, **changes}
    return task.prepare(TaskConfig("translation", "x", data, folder=str(folder), **settings), folder / "cache")


class Model:
    """Stands for a model and its objective, whose nats are a function of real source and target tokens."""

    estimate_is_bound = needs_pass_per_token = False

    def __init__(self, nats: Callable[[list[int], list[int]], float]) -> None:
        self.nats, self.targets = nats, 0

    @property
    def objective(self) -> "Model":
        return self

    def eval(self) -> "Model":
        return self

    def log_likelihood(self, model: Any, batch: Batch, allowed_tokens: torch.Tensor) -> Any:
        rows = zip(batch.source, batch.target, *batch.real(), strict=True)
        pairs = [(source[s].tolist(), target[t].tolist()) for source, target, s, t in rows]
        self.targets += len(pairs)
        return torch.tensor([-self.nats(*pair) for pair in pairs], dtype=torch.float64), batch.target_lengths


def reading(source: list[int], target: list[int]) -> float:
    return 0.1 if source[::-1] == target[:-1] else 3.0 * len(target)


def ignoring(source: list[int], target: list[int]) -> float:
    return 1.5 * len(target) + 0.01 * sum(target)


def scores(model: Model, task_of: Prepared) -> tuple[float, list[Score]]:
    """Bits per byte of the examples that are exchanged, with their own sources, and the score when exchanged."""
    predictor = Predictor(model, task_of, "cpu", lambda done, total: None, lambda: False)
    predictions = predictor.predict(task_of.test, answering=False)
    usual = scored(task_of, task_of.test, predictions)
    count = min(EXAMPLES, len(task_of.test))
    nats, size = usual.outputs.nats[:count].sum(), usual.outputs.bytes[:count].sum()
    rescored = scored(task_of, task_of.test, predictor.with_shuffled(predictions))
    assert rescored.scores[: len(usual.scores)] == usual.scores
    return nats / math.log(2) / size, list(rescored.scores[len(usual.scores) :])


@pytest.mark.parametrize("count", [2, 3, 5, 64, 500])
def test_everybody_gets_another_ones_source_always_the_same(count: int) -> None:
    chosen = partners(count)
    assert sorted(chosen) == list(range(count)) and (chosen != np.arange(count)).all()
    assert (chosen == partners(count)).all()


def test_targets_stay_and_sources_of_all_lengths_move(tmp_path: Path) -> None:
    test = prepared(tmp_path).test
    assert isinstance(test, Subset) and len(set(test.source_lengths[:EXAMPLES])) > 5
    examples = ExchangedSources(test, EXAMPLES)
    sources = [tuple(test[i].source) for i in range(EXAMPLES)]
    assert sorted(tuple(examples[i].source) for i in range(EXAMPLES)) == sorted(sources)
    assert all(examples[i].target.tolist() == test[i].target.tolist() for i in range(EXAMPLES))
    assert all(len(examples[i].source) == examples.source_lengths[i] for i in range(EXAMPLES))
    assert (examples.target_bytes == test.target_bytes[:EXAMPLES]).all()
    for index, batch in fixed(examples, np.arange(EXAMPLES), 200):
        for row, (source, target) in enumerate(zip(batch.source, batch.target, strict=True)):
            real = [mask[row] for mask in batch.real()]
            assert source[real[0]].tolist() == examples[int(index[row])].source.tolist()
            assert target[real[1]].tolist() == examples[int(index[row])].target.tolist()


def test_who_ignores_sources_loses_nothing_and_who_reads_them_does(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    bits, (score,) = scores(Model(ignoring), data)
    assert score.value == pytest.approx(bits, rel=1e-6)
    bits, (score,) = scores(Model(reading), data)
    assert score.value > 10 * bits
    assert score.metric == METRIC and score.n == EXAMPLES and score.lower <= score.value <= score.upper


@pytest.mark.parametrize(("count", "expected"), [(100, EXAMPLES), (30, 30)])
def test_examples_are_bounded_and_counted(tmp_path: Path, count: int, expected: int) -> None:
    model, data = Model(ignoring), prepared(tmp_path, count)
    _, (score,) = scores(model, data)
    assert score.n == expected and model.targets == len(data.test) + expected


def test_there_is_no_score_without_sources_or_bits_per_byte(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    predictor = Predictor(Model(ignoring), data, "cpu", lambda done, total: None, lambda: False)
    usual = predictor.predict(data.test, answering=False)
    for config in (replace(data.config, source_length=0), replace(data.config, kind="classification")):
        predictor.prepared = replace(data, config=config)
        assert predictor.with_shuffled(usual) is usual


def recorded(place: Path) -> dict[tuple[str, str], Any]:
    rows = json.loads((place / "scores.json").read_text())
    return {(row["split"], row["metric"]): (row["value"], row["lower"], row["upper"], row["n"]) for row in rows}


def test_a_run_has_it_and_no_other_score_and_no_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder has an estimate that is drawn, too. A run of an earlier version lacks the score; tables hold both."""
    write_data(tmp_path)
    new = trained(tmp_path, tmp_path / "new", "encoder", "turned")
    monkeypatch.setattr(Predictor, "with_shuffled", lambda predictor, made: made)
    old = trained(tmp_path, tmp_path / "old", "encoder", "turned")
    assert new.name == old.name
    with_it, without = recorded(new), recorded(old)
    value, *_, count = with_it.pop(("test", METRIC))
    assert with_it == without and ("test", "bits_per_byte") in without
    predictions, older = (pd.read_parquet(place / "predictions.parquet") for place in (new, old))
    exchanged = predictions.pop("log_likelihood_shuffled").dropna()
    pd.testing.assert_frame_equal(predictions, older)
    size = sum(len(text.encode()) for text in predictions["reference"])
    assert count == len(exchanged) == 5 and value == pytest.approx(-exchanged.sum() / math.log(2) / size)
    for place in (new, old):
        about = {"schema": store.SCHEMA, "runs": [place.name], "name": "tiny", "command": "", "experiment": {}}
        sealed.write_sealed(place.parent.parent / "experiment.json", about)
        assert (METRIC in set(tables.collect(place.parent.parent)["scores"]["metric"])) == (place == new)


@pytest.mark.parametrize(("name", "has"), [("colours", False), ("running", True), ("windows", False)])
def test_kinds_with_a_source_and_text_targets_have_it(tmp_path: Path, name: str, has: bool) -> None:
    place = trained(write_data(tmp_path), tmp_path / "out", "decoder", name)
    assert (("test", METRIC) in recorded(place)) == has
    rows = sealed.read_sealed(tmp_path / "out" / "references" / f"{name}.json")
    assert METRIC not in {row["metric"] for row in rows}, "the untrained model has no need of it"
    assert shuffled.METRIC not in {metric for split, metric in recorded(place) if split == "validation"}


def test_without_different_sources_nothing_is_exchanged(tmp_path: Path) -> None:
    """As with a fixed prompt: no model could pass the gate that asks what a source is worth."""
    assert scores(Model(ignoring), prepared(tmp_path, source="abc"))[1] == []
