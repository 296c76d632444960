"""Checkpoints in a comparison, with their own tokenizers: scored as they are, or finetuned.

Their earlier training is in no budget.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from archbench.architectures.families.size import Limits, count
from archbench.architectures.families.variant import Variant
from archbench.architectures.objectives import objective
from archbench.runs.base import machine
from archbench.runs.base.plan import ExecutionSetting, Plan
from archbench.runs.experiment.sections import UNMATCHED, Experiment, Task, Training
from archbench.runs.planning import budget
from archbench.runs.planning.assembly import PlanAssembler, RunCost
from archbench.runs.planning.isolation import Architectures
from archbench.runs.scoring import task_metrics
from archbench.runs.training import compiled, optimizer
from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared, TaskConfig
from archbench.tasks.kinds.task import prepare

REPORTED_COUNTS = ("test_truncated_sources", "test_excluded_targets", "test_unknown_tokens")  # counts that are reported
SCORING = 4.0  # FLOPs of scoring an example in float32, likelihood and answer, over those of one answer


def find(architectures: Architectures, task: Task) -> Variant:
    """The checkpoint that a task starts from; raises ``InputError``, which names the task's start."""
    try:
        return architectures.find(task.checkpoint)
    except InputError as error:
        raise InputError(f"tasks.{task.name}.start: {str(error).removeprefix('architectures: ')}") from error


def encoded_for(variant: Variant, general: TaskConfig, cache: Path, say: Say) -> Prepared:
    """The task as the checkpoint reads it: encoded with its tokenizer, a copy of which is kept in ``cache``."""
    assert variant.checkpoint is not None
    text = variant.checkpoint.tokenizer
    path = cache / "tokenizers" / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    if not path.is_file() or path.read_bytes() != text.encode():
        files.write_text(path, text)
    say(f"{general.name}: encoding for {variant.name} with its own tokenizer")
    config = replace(general, tokenizer="pretrained", vocabulary=0, pretrained=str(path.resolve()))
    encoded = prepare(config, cache)
    task_metrics.check(encoded)
    counts = [f"{encoded.notes[key]:,} {key.replace('_', ' ')}" for key in REPORTED_COUNTS if encoded.notes.get(key)]
    if counts:
        say(f"{general.name}: {variant.name}: {', '.join(counts)}")
    return encoded


def scoring_plan(
    experiment: Experiment,
    task: Task,
    variant: Variant,
    prepared: Prepared,
    setting: ExecutionSetting,
    baselines: bool,
) -> Plan:
    """The one run that scores a checkpoint; raises ``InputError`` where it is too short for the task."""
    checkpoint = variant.checkpoint
    assert checkpoint is not None
    limits = Limits(prepared.tokenizer.vocabulary, task.source_length, task.target_length)
    if checkpoint.length is not None and limits.length > checkpoint.length:
        raise InputError(
            f"{variant.path}: has room for {checkpoint.length - 1} tokens of source and target, but {task.name} needs "
            f"{limits.length - 1}; shorten its context, source_length or target_length"
        )
    model = checkpoint.blank(limits)
    source, target = prepared.test.source_lengths.astype(float), prepared.test.target_lengths.astype(float)
    scoring = SCORING * float(np.sum(model.objective.answer_flops(model, source, target)))
    plan = PlanAssembler(experiment.name, prepared, setting).plan(
        variant,
        str(Path(variant.path).resolve()),
        Training.of(task.training),
        RunCost(tokens=0, flops=0.0, loss_tokens=0.0, optimizer_flops=0.0, scoring_flops=scoring),
        size=checkpoint.size,
        counts=count(model),
        seed=task.seeds[0],
        match=UNMATCHED,
        supervision=task.supervision,
        precision="float32",
    )
    return replace(plan, baselines=baselines)


def finetuning_plan(
    experiment: Experiment,
    task: Task,
    variant: Variant,
    prepared: Prepared,
    setting: ExecutionSetting,
    seed: int,
    baselines: bool,
) -> Plan:
    """A run that trains a checkpoint; raises ``InputError`` where it is too short, or the budget is in seconds."""
    scored = scoring_plan(experiment, task, variant, prepared, setting, baselines)
    checkpoint = variant.checkpoint
    assert checkpoint is not None
    model, (source, target) = checkpoint.blank(scored.limits), budget.sample_lengths(prepared.train)
    read = float(np.sum(source) + np.sum(target))
    flops = float(np.sum(model.objective.training_flops(model, source, target, False).model)) / read
    losses = float(np.sum(model.objective.loss_tokens(model, source, target, False))) / read
    if task.budget.seconds is not None:
        raise InputError(f"tasks.{task.name}.start: {variant.name} needs a budget in tokens or FLOPs; set one of these")
    tokens = round((task.budget.tokens or (task.budget.flops or 0.0) / flops) * task.share)
    budget.check_epochs(f"tasks.{task.name}", task.budget.epochs, variant.name, tokens, prepared.train)
    tuned = task.tuned.get(variant.name)
    training = Training.of(task.training, **(tuned.model_dump(exclude_none=True) if tuned else {}))
    stepping = optimizer.flops(model, training.optimizer) * tokens / training.batch_tokens
    return replace(
        scored,
        seed=seed,
        match=task.budget.match[0],
        supervision="target",
        training=compiled.chosen(training, setting.device, tokens * flops),
        tokens=tokens,
        flops=tokens * flops,
        loss_tokens=tokens * losses,
        optimizer_flops=stepping,
        precision=machine.precision(training.precision, setting.device),
        description=variant.document.replace("scored without training", "finetuned"),
        expected_seconds=scored.expected_seconds + (tokens * flops + stepping) / (setting.speed * training.devices),
        sampled=not objective.is_exact(model.objective, task.target_length),
        start_name=variant.name,
        examples=len(prepared.train),
    )
