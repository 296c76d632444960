"""What a run will read is known before it trains, so that training costs what the budget says, seed by seed."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archbench.architectures.catalogue import catalogue
from archbench.runs.budgets import budget
from archbench.runs.budgets.reading import Reading
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix
from archbench.runs.plans.plan import Plan
from archbench.runs.training.batches import Stream
from archbench.tasks.base.example import Example
from archbench.tasks.kinds.task import prepare

NAMES = [name for name in catalogue.names() if not name.startswith("transformers:")]
TASKS: dict[str, dict[str, Any]] = {
    "phrases-en-de": {"data": "phrases-en-de:6000", "vocabulary": 300, "source_length": 20, "target_length": 24},
    "turned": {"kind": "translation", "data": "turned.tsv", "tokenizer": "word", "vocabulary": 300},
    "labels": {"kind": "classification", "data": "labels.tsv", "tokenizer": "word", "vocabulary": 300},
    "running": {"kind": "generation", "data": "running.txt", "context": 48},
}


class Uneven:
    """Examples of lengths that differ, cut elsewhere in every epoch."""

    def __init__(self, count: int, shift: int = 0) -> None:
        self.source_lengths = (np.arange(count) * 7 + shift) % 11
        self.target_lengths = 1 + (np.arange(count) * 5 + shift) % 13

    def __len__(self) -> int:
        return len(self.target_lengths)

    def __getitem__(self, index: int) -> Example:
        tokens = np.ones(40, np.int32)
        return Example(tokens[: self.source_lengths[index]], tokens[: self.target_lengths[index]])

    def epoch(self, seed: int, epoch: int) -> "Uneven":
        return self if epoch == 0 else Uneven(len(self), seed + epoch)


def cost(source: Any, target: Any) -> Any:
    return 100.0 + source**2 + 3.0 * target


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 200), st.integers(0, 3), st.integers(1, 1500))
def test_it_costs_what_the_stream_gives(count: int, batch_tokens: int, seed: int, tokens: int) -> None:
    examples = Uneven(count)
    batches = [batch for batch, _ in Stream(examples, batch_tokens, seed, tokens, 16).start()]
    total_cost = float(sum(cost(batch.source_lengths.astype(float), batch.target_lengths).sum() for batch in batches))
    reading = Reading(examples, batch_tokens, seed, 16)
    assert reading.total(tokens, cost) == pytest.approx(total_cost)
    token_count = reading.tokens(total_cost, cost)
    assert token_count == sum(batch.tokens for batch in batches) and reading.total(token_count, cost) == pytest.approx(
        total_cost
    )


@cache
def data(folder: Path) -> Path:
    """Texts of very different lengths, and so batches of very different cost."""
    words = ["sea", "house", "red", "by", "the", "old"]
    texts = [" ".join(words[(n + k) % 6] for k in range(1 + (n * n) % 40)) + f" {n}" for n in range(3000)]
    turned = [f"{text}\t{' '.join(reversed(text.split()[:20]))}" for text in texts]
    labels = [f"{text}\t{'odd' if n % 2 else 'even'}" for n, text in enumerate(texts)]
    (folder / "turned.tsv").write_text("\n".join(["source\ttarget", *turned]) + "\n")
    (folder / "labels.tsv").write_text("\n".join(["text\tlabel", *labels]) + "\n")
    (folder / "running.txt").write_text("\n".join(texts) + "\n")
    return folder


def planned(
    folder: Path, task: str, match: str, names: list[str], tokens: int = 40_000, supervision: str = "native"
) -> tuple[Plan, ...]:
    experiment = spec.from_dict(
        {
            "name": "tiny",
            "architectures": ["decoder", *names],
            "seeds": [0, 1, 2, 3],
            "supervision": supervision,
            "budget": {"match": match, "parameters": 40_000, "tokens": tokens},
            "model": {"width": 32},
            "training": {"batch_tokens": 256, "precision": "float32"},
            "tasks": [{"name": task, "test_examples": 4, **TASKS[task]}],
        },
        folder=folder,
    )
    planned_matrix = matrix.plan(
        experiment, device="cpu", deterministic=False, cache=folder / "cache", root=folder, say=lambda line: None
    )
    return planned_matrix.plans


def realised(plan: Plan) -> tuple[float, float]:
    """Model FLOPs and tokens of the batches that training reads, as training counts them."""
    model, source, target = read(plan)
    flops = model.objective.training_flops(model, source, target, plan.native).model
    return float(np.sum(flops)), float(source.sum() + target.sum())


def with_loss(plan: Plan) -> float:
    """Tokens with a loss in the batches that training reads, as training counts them."""
    model, source, target = read(plan)
    return float(np.sum(model.objective.loss_tokens(model, source, target, plan.native)))


def read(plan: Plan) -> tuple[Any, Any, Any]:
    """The model, and the source and target lengths of the examples that training reads."""
    train = prepare(plan.task, Path(plan.cache), lambda line: None).train
    model = budget.blank(catalogue.find(plan.variant).build, plan.size, plan.limits)
    batches = [
        batch
        for batch, _ in Stream(
            train, plan.training.batch_tokens, plan.seed, plan.tokens, plan.training.length_pool
        ).start()
    ]
    source, target = (
        np.concatenate([getattr(batch, f"{side}_lengths") for batch in batches]).astype(float)
        for side in ("source", "target")
    )
    return model, source, target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("match", ["flops", "flops-by-tokens"])
@pytest.mark.parametrize("task", TASKS)
def test_training_costs_what_the_reference_costs_for_every_seed(folder: Path, task: str, match: str) -> None:
    others = [name for name in NAMES if name != "decoder"]
    for plan in planned(folder, task, match, others):
        flops, tokens = realised(plan)
        assert flops == pytest.approx(plan.targets["flops"], rel=0.01), (plan.architecture, plan.seed)
        if match == "flops":
            # sizes of so small models come in steps, and tokens make up for half of one
            assert tokens == pytest.approx(plan.targets["tokens"], rel=0.03), (plan.architecture, plan.seed)


@pytest.mark.parametrize("supervision", ["native", "target"])
@pytest.mark.parametrize("task", TASKS)
def test_every_seed_has_a_loss_on_as_many_tokens_as_the_reference(folder: Path, task: str, supervision: str) -> None:
    if task == "labels" and supervision == "native":
        return
    others = ["encoder", "encoder-decoder"]
    plans = planned(folder, task, "loss-tokens", others, supervision=supervision)
    reference = {plan.seed: plan for plan in plans if plan.architecture == "decoder"}
    assert {plan.architecture for plan in plans} == {"decoder", *others}
    for plan in plans:
        first = reference[plan.seed]
        assert plan.counts.parameters == pytest.approx(first.counts.parameters, rel=0.01)
        assert with_loss(plan) == pytest.approx(plan.targets["loss_tokens"], rel=0.01), (plan.architecture, plan.seed)
        assert with_loss(plan) == pytest.approx(with_loss(first), rel=0.01)
        assert plan.loss_tokens == pytest.approx(with_loss(plan), rel=0.05)  # by the mean of all examples
        assert set(plan.targets) == {"parameters", "loss_tokens"}


def test_the_reference_reads_the_same_under_every_match(folder: Path) -> None:
    runs = [
        {plan.run for plan in planned(folder, "turned", match, ["encoder"]) if plan.architecture == "decoder"}
        for match in ("parameters", "flops", "flops-by-tokens", "loss-tokens")
    ]
    assert runs[0] == runs[1] == runs[2] == runs[3]


def test_few_batches_cost_what_they_should_before_they_are_as_many_tokens(folder: Path) -> None:
    for plan in planned(folder, "turned", "flops", ["encoder"], tokens=2_000):
        flops, _ = realised(plan)
        assert flops == pytest.approx(plan.targets["flops"], rel=0.02)  # one example is about a hundredth


def test_a_run_records_the_tokens_with_a_loss_that_were_planned(folder: Path, tmp_path: Path) -> None:
    plans = planned(folder, "turned", "loss-tokens", ["encoder", "encoder-decoder"], 4_000, "target")
    for plan in (plan for plan in plans if plan.seed == 0):
        work.perform(plan, tmp_path / plan.run, lambda progress: None, lambda: False)
        record = json.loads((tmp_path / plan.run / "record.json").read_text())
        assert record["train_loss_tokens"] == pytest.approx(with_loss(plan), abs=1)
        if plan.architecture != "decoder":
            assert record["train_loss_tokens"] == pytest.approx(record["target_loss_tokens"], rel=0.01)


def test_a_run_records_the_flops_that_were_planned(folder: Path, tmp_path: Path) -> None:
    (plan,) = (p for p in planned(folder, "turned", "flops-by-tokens", ["encoder"], 4_000) if "-encoder-s0" in p.run)
    work.perform(plan, tmp_path / plan.run, lambda progress: None, lambda: False)
    record = json.loads((tmp_path / plan.run / "record.json").read_text())
    assert record["train_flops"] == pytest.approx(realised(plan)[0], rel=1e-9)
    assert record["train_flops"] == pytest.approx(record["target_flops"], rel=0.01)
