"""A run from plan to record: complete, repeatable to the last bit, and the same after any interruption."""

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_runs
import torch

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Size
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.plans.messages import Event, Interrupted, LogLine
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import predict
from archbench.runs.store import store
from archbench.runs.training import from_plan, train
from archbench.runs.training.batches import Batch
from archbench.runs.training.step import StepResult, Trainer
from archbench.runs.updates.replicated import Replicated
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.kinds import registry

SECONDS: dict[str, object] = {
    "tasks": [{"data": "phrases-en-de"}],
    "budget": {"match": "seconds", "parameters": 20_000, "seconds": 2},
}
COLOURS = {"red": "warm", "orange": "warm", "blue": "cold", "green": "cold", "grey": "dull", "brown": "dull"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small data of all three kinds that can be learned."""
    place = tmp_path_factory.mktemp("data")
    things = [f"{colour} {thing} {n}" for colour in COLOURS for thing in ("house", "car", "door") for n in range(20)]
    rows = [f"{text}\t{COLOURS[text.split()[0]]}\t{' '.join(reversed(text.split()))}" for text in things]
    (place / "things.tsv").write_text("\n".join(["text\tlabel\tturned", *rows]) + "\n")
    (place / "things.txt").write_text(". ".join(things) * 4)
    return place


def experiment(folder: Path, **changes: object) -> spec.Experiment:
    values = {
        "name": "tiny",
        "architectures": ["decoder", "encoder", "encoder-decoder", "prefix-decoder"],
        "budget": {"parameters": 20_000, "tokens": 6_000},
        "model": {"width": 32},
        "training": {"batch_tokens": 400, "learning_rate": 0.01, "precision": "float32"},
        "tasks": [
            {
                "kind": "classification",
                "name": "colours",
                "data": "things.tsv",
                "tokenizer": "word",
                "vocabulary": 64,
                "source_length": 4,
            },
            {
                "kind": "translation",
                "name": "turned",
                "data": "things.tsv",
                "columns": {"source": "text", "target": "turned"},
                "tokenizer": "char",
                "source_length": 16,
                "target_length": 18,
                "test_examples": 6,
            },
            {
                "kind": "generation",
                "name": "running",
                "data": "things.txt",
                "tokenizer": "char",
                "context": 64,
                "source_length": 32,
                "test_examples": 6,
            },
        ],
    }
    return spec.from_dict({**values, **changes}, folder=folder)


def planned(folder: Path, tmp_path: Path, task: str | None = None, **changes: object) -> tuple[Plan, ...]:
    chosen = spec.override(experiment(folder, **changes), tasks=[task] if task else None)
    return tiny_runs.planned(chosen, folder, tmp_path).plans


def perform(plan: Plan, root: Path, steps: int | None = None) -> Path:
    """Does a run, or the first ``steps`` steps of it."""
    place, calls = root / "runs" / plan.run, iter(range(10**9))
    work.perform(plan, place, lambda progress: None, lambda: steps is not None and next(calls) >= steps)
    return place


def outcome(place: Path) -> dict[str, object]:
    """What must be equal to the last bit; only times may differ, and the run's own name."""
    curves = pd.read_csv(place / "curves.csv").drop(columns="seconds")
    return {
        "weights": (place / "model.safetensors").read_bytes().replace(place.name.encode(), b"its run"),
        "scores": json.loads((place / "scores.json").read_text().replace(place.name, "its run")),
        "curves": curves.to_csv().replace(place.name, "its run"),
        "predictions": pd.read_parquet(place / "predictions.parquet").to_csv(),
    }


def test_every_architecture_gets_the_same_budget_on_every_task(folder: Path, tmp_path: Path) -> None:
    plans = planned(folder, tmp_path)
    assert len({plan.run for plan in plans}) == len(plans) == 12
    for plan in plans:
        assert plan.counts.parameters == pytest.approx(20_000, rel=0.01)
        assert plan.tokens == 6_000 and plan.size.dim == 32


@pytest.mark.parametrize("architecture", ["decoder", "encoder", "encoder-decoder", "prefix-decoder"])
@pytest.mark.parametrize("task", ["colours", "turned", "running"])
def test_a_run_fills_its_record_and_is_the_same_after_interruptions(
    folder: Path, tmp_path: Path, task: str, architecture: str
) -> None:
    (plan,) = planned(folder, tmp_path, task, architectures=[architecture])
    whole = perform(plan, tmp_path / "whole")
    for steps in (7, 8):
        with pytest.raises(Interrupted):
            perform(plan, tmp_path / "parts", steps=steps)
    parts = perform(plan, tmp_path / "parts")
    assert outcome(parts) == outcome(whole)

    record = store.read_record(whole)
    assert record is not None and record["status"] == "done"
    assert record["train_tokens"] == pytest.approx(plan.tokens, rel=0.01)
    assert record["train_flops"] == pytest.approx(plan.flops, rel=0.05)
    assert not (whole / "checkpoint").exists()
    rows = json.loads((whole / "scores.json").read_text())
    assert any(row["split"] == "validation" and row["metric"] == "nll_per_token" for row in rows)
    scores = {row["metric"]: row for row in rows if row["split"] == "test"}
    expected = {
        "colours": {"accuracy", "macro_f1", "nll_per_token"},
        "turned": {"exact_match", "bleu", "chrf", "bits_per_byte", "nll_per_token"},
        "running": {"bits_per_byte", "perplexity", "repetition", "distinct_2", "copied", "sample_bits_per_byte"},
    }
    assert expected[task] <= set(scores)
    assert ("bits_per_byte_bound" in scores) == (architecture == "encoder" and task != "colours")
    for row in scores.values():
        assert math.isfinite(row["value"]) and row["lower"] <= row["value"] <= row["upper"]


def test_a_learnable_task_is_learned_and_predict_answers_like_the_run(folder: Path, tmp_path: Path) -> None:
    (plan,) = planned(
        folder, tmp_path, "colours", architectures=["decoder"], budget={"parameters": 20_000, "tokens": 12_000}
    )
    place = perform(plan, tmp_path)
    rows = json.loads((place / "scores.json").read_text())
    scores = {row["metric"]: row["value"] for row in rows if row["split"] == "test"}
    assert scores["accuracy"] > 0.85
    answer = predict.predict(place, "blue car 3")
    assert answer.text == "cold" and sum(p for _, p in answer.probabilities) == pytest.approx(1)
    references = sealed.read_sealed(tmp_path / "references" / "colours.json")
    assert {"majority", "tfidf_logistic", "untrained"} <= {row["name"] for row in references}
    with pytest.raises(InputError, match="empty"):
        predict.predict(place, "")


def test_a_run_says_which_attention_its_device_is_to_have(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan,) = planned(folder, tmp_path, "colours", architectures=["decoder"])
    devices: list[str] = []
    monkeypatch.setattr(work.machine, "disable_cudnn_attention", devices.append)
    perform(plan, tmp_path / "once")
    assert devices == ["cpu"]


def test_losses_read_late_and_batches_made_ahead_tell_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan,) = planned(folder, tmp_path, "colours", architectures=["decoder"])
    at_once = outcome(perform(plan, tmp_path / "once"))
    monkeypatch.setitem(train.READ_STEPS, "cpu", 7)
    monkeypatch.setitem(train.PREFETCHED, "cpu", train.PREFETCHED["cuda"])
    with pytest.raises(Interrupted):
        perform(plan, tmp_path / "late", steps=5)
    assert outcome(perform(plan, tmp_path / "late")) == at_once


@pytest.mark.fault(
    "a loss or gradient that is not finite",
    "the run stops at once, recorded as diverged with step and cause",
)
@pytest.mark.parametrize(("part", "cause"), [("loss", "loss nan"), ("norm", r"gradient not finite \(loss [\d.]+\)")])
@pytest.mark.parametrize("steps", [1, 4, 100])
def test_a_loss_that_is_not_finite_is_a_result(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, part: str, cause: str
) -> None:
    """A weight that is no number before the forward pass of step 6, or a gradient that becomes infinite in it."""
    monkeypatch.setitem(train.READ_STEPS, "cpu", steps)
    (plan,) = planned(folder, tmp_path, "colours", architectures=["decoder"])
    step = Trainer.step

    def broken(self: Trainer, batch: Batch, number: int, progress: float) -> StepResult:
        weight = next(self.model.parameters())
        if number != 5:
            return step(self, batch, number, progress)
        if part == "loss":
            weight.data[batch.source[0, 0]] = math.nan
            return step(self, batch, number, progress)
        hook = weight.register_hook(lambda gradient: gradient * math.inf)
        try:
            return step(self, batch, number, progress)
        finally:
            hook.remove()

    monkeypatch.setattr(Trainer, "step", broken)
    events: list[Event] = []
    work.perform(plan, tmp_path / "runs" / plan.run, events.append, lambda: False)
    record = store.read_record(tmp_path / "runs" / plan.run)
    assert record is not None and record["status"] == "diverged"
    assert [event.line for event in events if isinstance(event, LogLine)] == [
        f"diverged, which is a result: {record['error']}"
    ]
    assert re.fullmatch(rf"{cause} at step 6; best checkpoint: step \d+", record["error"])


@pytest.mark.parametrize("last", [False, True])
def test_weights_that_are_no_numbers_are_never_the_best(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    """Weights that become NaN by a step whose loss and gradient were finite, in the middle or at the very end."""
    (plan,) = planned(folder, tmp_path, "turned", architectures=["decoder"])
    step = Trainer.step
    steps = Trainer.stream(from_plan.new_trainer(plan, from_plan.prepared_data(plan)), plan.tokens).total_steps()

    def broken(self: Trainer, batch: object, number: int, progress: float) -> StepResult:
        stepped = step(self, batch, number, progress)  # type: ignore[arg-type]
        if number == (steps - 1 if last else 4):
            next(self.model.parameters()).data.fill_(float("nan"))
        return stepped

    monkeypatch.setattr(Trainer, "step", broken)
    record = store.read_record(perform(plan, tmp_path))
    assert record is not None and record["status"] == "diverged" and "nan at step" in record["error"]
    assert record["best_step"] < (steps if last else 5) and 0 < record["validation_loss"] < math.inf


def test_the_earliest_of_equally_good_checkpoints_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan,) = planned(folder, tmp_path, "colours", architectures=["decoder"])
    losses = itertools.chain([2.0], itertools.repeat(1.0))
    monkeypatch.setattr(train, "validation_loss", lambda *_, **__: next(losses))
    record = store.read_record(perform(plan, tmp_path))
    curve = pd.read_csv(tmp_path / "runs" / plan.run / "curves.csv")
    steps = curve[curve["split"] == "validation"]["step"].tolist()
    assert record is not None and len(steps) > 2 and record["best_step"] == steps[1]


def test_the_last_weights_are_kept_where_the_recipe_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"batch_tokens": 400, "keep": "last"}
    (plan,) = planned(folder, tmp_path, "colours", architectures=["decoder"], training=training)
    finish, losses = Replicated.finish, itertools.count(1.0)

    def compared(self: Replicated, weights: Any) -> None:
        assert all(torch.equal(weight, weights[name]) for name, weight in self.step.model.state_dict().items())
        finish(self, weights)

    monkeypatch.setattr(train, "validation_loss", lambda *_, **__: next(losses))
    monkeypatch.setattr(Replicated, "finish", compared)
    record = store.read_record(perform(plan, tmp_path))
    assert record is not None and record["keep"] == "last" and record["best_step"] == record["steps"] > 0


def test_a_run_records_the_version_of_its_numerics_which_names_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plan,) = planned(folder, tmp_path, "colours", architectures=["decoder"])
    kind, run = registry.BUILTIN[plan.task.kind], plan.run
    facts = json.loads((perform(plan, tmp_path) / "environment.json").read_text())
    assert facts["numerics"] == str(kind.numerics)
    monkeypatch.setitem(registry.BUILTIN, plan.task.kind, replace(kind, numerics=kind.numerics + 1))
    assert plan.run != run


@pytest.mark.parametrize("architecture", ["decoder", "encoder", "encoder-decoder"])
def test_deterministic_kernels_are_asked_for_and_change_nothing_on_a_cpu(
    folder: Path, tmp_path: Path, architecture: str
) -> None:
    (plain,) = planned(folder, tmp_path, "turned", architectures=[architecture])
    same = replace(plain, deterministic=True)
    assert same.run != plain.run
    try:
        deterministic = perform(same, tmp_path)
        assert torch.are_deterministic_algorithms_enabled()
        assert json.loads((deterministic / "environment.json").read_text())["deterministic"] == "true"
    finally:
        expected = perform(plain, tmp_path)  # asks for none
    assert not torch.are_deterministic_algorithms_enabled()
    assert outcome(deterministic) == outcome(expected)


@pytest.mark.fault(
    "training that diverges with a finite loss",
    "recorded as diverged, with the loss before and after; not scored",
)
@pytest.mark.parametrize("architecture", ["decoder", "encoder", "encoder-decoder"])
def test_a_loss_that_ends_far_above_where_it_began_has_diverged(
    folder: Path, tmp_path: Path, architecture: str
) -> None:
    wild = {"batch_tokens": 400, "learning_rate": 10, "clip": 0, "optimizer": "adamw", "precision": "float32"}
    (plan,) = planned(folder, tmp_path, "colours", architectures=[architecture], training=wild)
    record = store.read_record(perform(plan, tmp_path))
    assert record is not None and record["status"] == "diverged" and record["best_step"] == 0
    rise = re.fullmatch(
        r"loss risen from ([\d.e+]+) at step 1 to ([\d.e+]+) at step (\d+); best checkpoint: step 0", record["error"]
    )
    assert rise and float(rise[2]) > 2 * float(rise[1]) and int(rise[3]) == record["steps"]


def test_what_cannot_be_learned_has_not_diverged_and_is_told(folder: Path, tmp_path: Path) -> None:
    """Labels that training has turned round: the more is learned, the worse validation becomes."""
    rows = [f"{colour} thing {n}" for colour in ("red", "blue") for n in range(60)]
    for name, turned in (("train", False), ("other", True)):
        labelled = [f"{row}\t{'warm' if row.startswith('red') != turned else 'cold'}" for row in rows]
        (tmp_path / f"{name}.tsv").write_text("\n".join(["text\tlabel", *labelled]) + "\n")
    data = {"train": "train.tsv", "validation": "other.tsv", "test": "other.tsv"}
    task = {"kind": "classification", "name": "turned", "data": data, "tokenizer": "word", "vocabulary": 99}
    (plan,) = planned(tmp_path, tmp_path, architectures=["decoder"], tasks=[{**task, "source_length": 4}])
    messages: list[str] = []
    place = tmp_path / "runs" / plan.run
    work.perform(plan, place, lambda event: messages.append(str(event)), lambda: False)
    record = store.read_record(place)
    assert record is not None and (record["status"], record["best_step"]) == ("done", 0)
    assert any("validation never improved in training" in line for line in messages)


@pytest.mark.fault(
    "too little memory for scoring or generation",
    "batches are halved until they fit; the same answers, likelihoods equal up to rounding",
)
@pytest.mark.parametrize("architecture", ["decoder", "encoder"])
def test_scoring_goes_on_in_smaller_batches_where_memory_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    (plan,) = planned(folder, tmp_path, "turned", architectures=[architecture])
    whole = perform(plan, tmp_path / "whole")
    model = from_plan.new_trainer(plan, from_plan.prepared_data(plan)).model
    refused = []

    def refuse(part: type, name: str, place: int) -> None:
        method = getattr(part, name)

        def short(self: Any, *arguments: Any) -> Any:
            if len(arguments[place]) > 2 and not torch.is_grad_enabled():
                refused.append(name)
                raise MemoryError
            return method(self, *arguments)

        monkeypatch.setattr(part, name, short)

    refuse(type(model), "hidden", 1)
    refuse(type(model.objective), "generate", 1)
    halved = perform(plan, tmp_path / "halved")
    assert set(refused) == {"hidden", "generate"}
    expected, predictions = (pd.read_parquet(place / "predictions.parquet") for place in (whole, halved))
    assert list(predictions["answer"]) == list(expected["answer"])
    np.testing.assert_allclose(predictions["log_likelihood"], expected["log_likelihood"], rtol=1e-4)


@pytest.mark.fault(
    "too little memory for a batch of a run",
    "micro-batches are halved until they fit, reported and recorded; scores equal up to rounding",
)
@pytest.mark.parametrize("architecture", ["decoder", "encoder"])
def test_training_goes_on_in_micro_batches_where_memory_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    (plan,) = planned(folder, tmp_path, "turned", architectures=[architecture])
    whole = perform(plan, tmp_path / "whole")
    model = type(from_plan.new_trainer(plan, from_plan.prepared_data(plan)).model)
    hidden, place, events = model.hidden, tmp_path / "cut" / "runs" / plan.run, list[Event]()

    def short(self: Any, source: Any, target: torch.Tensor, *masks: Any) -> Any:
        if len(target) > 2 and torch.is_grad_enabled():
            raise MemoryError
        return hidden(self, source, target, *masks)

    monkeypatch.setattr(model, "hidden", short)
    work.perform(plan, place, events.append, lambda: False)
    lines = [event.line for event in events if isinstance(event, LogLine)]
    record = store.read_record(place)
    assert record is not None and record["status"] == "done" and record["micro_batches"] > 1
    assert lines[0].startswith("out of memory at step 1: from here on")
    assert lines[-1].endswith(f"from here on {record['micro_batches']} micro-batches a batch")
    expected, scores = (pd.read_json(run_folder / "scores.json") for run_folder in (whole, place))
    pd.testing.assert_frame_equal(scores, expected, rtol=1e-3)
    with pytest.raises(Interrupted):
        perform(plan, tmp_path / "parts", steps=7)
    assert outcome(perform(plan, tmp_path / "parts")) == outcome(place)


def test_snapshots_are_kept_at_even_steps(folder: Path, tmp_path: Path) -> None:
    training = {"batch_tokens": 400, "precision": "float32", "snapshots": 3}
    (plan,) = planned(folder, tmp_path, "colours", architectures=["decoder"], training=training)
    place = perform(plan, tmp_path)
    steps = [int(path.stem) for path in sorted((place / "snapshots").iterdir())]
    record = store.read_record(place)
    assert record is not None and len(steps) == 3 and steps[-1] == record["steps"]


def test_what_decides_the_outcome_names_the_run(folder: Path, tmp_path: Path) -> None:
    def first(**changes: object) -> str:
        return planned(folder, tmp_path, "colours", architectures=["decoder"], **changes)[0].run

    assert first() == first(name="other")
    others = [
        first(training={"batch_tokens": 400, "learning_rate": 0.02}),
        first(budget={"parameters": 20_000, "tokens": 13_000}),
        first(supervision="target"),
        first(seeds=[1]),
    ]
    assert len({first(), *others}) == 5


def test_axes_equalise_what_they_name(folder: Path, tmp_path: Path) -> None:
    budget = {"match": ["parameters", "flops", "flops-by-tokens"], "parameters": 40_000, "tokens": 12_000}
    plans = planned(folder, tmp_path, "turned", budget=budget, architectures=["decoder", "encoder-decoder"])
    by = {(plan.architecture, plan.match): plan for plan in plans}
    decoder = by["decoder", "parameters,flops,flops-by-tokens"]  # the reference is one run on all axes
    equal, larger, longer = (by["encoder-decoder", match] for match in budget["match"])
    assert equal.counts.parameters == pytest.approx(decoder.counts.parameters, rel=0.01)
    assert larger.flops == pytest.approx(decoder.flops, rel=0.01) and larger.tokens == decoder.tokens
    assert longer.flops == pytest.approx(decoder.flops, rel=0.01) and longer.size == equal.size
    assert larger.counts.parameters > equal.counts.parameters and longer.tokens > equal.tokens


def test_seconds_are_calibrated_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archbench.runs.budgets import calibrate

    monkeypatch.setattr(calibrate, "SECONDS", 0.05)
    budget = {"match": "seconds", "parameters": 20_000, "seconds": 2}
    changes = {"budget": budget, "architectures": ["decoder", "encoder"], "tasks": [experiment_task("colours")]}
    first, again = (planned(folder, tmp_path, **changes) for _ in range(2))
    assert [plan.run for plan in first] == [plan.run for plan in again]
    assert all(plan.tokens > 0 for plan in first)
    alike = planned(folder, tmp_path, **{**changes, "budget": {**budget, "match": "parameters"}})
    assert len({plan.tokens for plan in alike}) == 1  # as many as the reference reads in that time


@pytest.mark.parametrize("damage", ["digit", "[1]", '{"a": 1}', '{"sha256": "", "sealed": [1]}', "{"])
def test_a_changed_calibration_is_measured_again_unless_a_run_was_planned_by_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    from archbench.runs.budgets import calibrate

    measured: list[int] = []

    def measure() -> float:
        measured.append(1)
        return 1_234.5

    messages: list[str] = []
    calibration = calibrate.Calibration(tmp_path, messages.append)
    monkeypatch.setattr(calibrate.Work, "key", lambda *_: "key")
    task = spec.from_dict({"name": "x", "architectures": ["decoder"], **SECONDS}).tasks[0]
    timed = calibrate.Work(None, task, "cpu", "float32")  # type: ignore[arg-type]
    decoder, size = catalogue.find("decoder"), Size(8, 2, 1, 1)

    def rate() -> float:
        return calibration.rate(timed, decoder, size, measure)

    def spoil() -> None:
        text = calibration.path.read_text()
        calibration.path.write_text(text.replace("1234.5", "1834.5") if damage == "digit" else damage)

    assert rate() == rate() == 1_234.5 and len(measured) == 1
    spoil()
    assert rate() == rate() == 1_234.5 and len(measured) == 2
    assert messages[1].endswith(
        "calibration.json: has changed since it was written; the training speeds are measured again"
    )
    store.write_record(tmp_path / "runs" / "other", {"dataset": "other", "status": "done"})
    store.write_record(tmp_path / "runs" / "begun", {"dataset": "phrases-en-de", "status": "unfinished"})
    spoil()
    assert rate() == 1_234.5 and len(measured) == 3
    store.write_record(tmp_path / "runs" / "one", {"dataset": "phrases-en-de", "status": "done"})
    assert rate() == 1_234.5
    spoil()
    with pytest.raises(InputError, match="has changed since it was written, and the finished run one was planned with"):
        rate()
    calibration.path.unlink()
    assert rate() == 1_234.5 and len(measured) == 4


def experiment_task(name: str) -> dict[str, object]:
    return {"kind": "classification", "name": name, "data": "things.tsv", "tokenizer": "word", "vocabulary": 64}


def test_validation_is_the_same_few_examples_for_everybody(folder: Path, tmp_path: Path) -> None:
    plans = planned(folder, tmp_path, "turned")
    subsets = []
    for plan in plans[:2]:
        subsets.append(train._fixed_subset(from_plan.prepared_data(plan).validation, plan, plan.device))
    assert all(torch.equal(a.source, b.source) for a, b in zip(*subsets, strict=True))
