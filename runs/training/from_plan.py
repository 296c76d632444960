"""The start of a run, made from its plan: the encoded data, and a new model with its optimizer."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from archbench.architectures.catalogue import catalogue
from archbench.runs.experiment.sections import FINETUNE, PROMPT, ZERO_SHOT
from archbench.runs.plans import foreign_code
from archbench.runs.plans.plan import Plan
from archbench.runs.training import prompts
from archbench.runs.training.batches import EncodedExamples
from archbench.runs.training.pretraining_objectives import pretraining_objective, pretraining_windows, window_limits
from archbench.runs.training.step import Trainer, TrainingStep
from archbench.runs.training.weight_transfer import PretrainedWeights, copy_weights, with_head
from archbench.runs.updates import optimizer
from archbench.runs.updates.ranks import ALONE, Ranks
from archbench.runs.updates.replicated import Replicated
from archbench.runs.updates.sharded import Sharded
from archbench.tasks.base.values import Prepared
from archbench.tasks.kinds import task


def prepared_data(plan: Plan) -> Prepared:
    """The encoded data of a plan; raises ``RuntimeError`` if it is no longer what the plan was made for."""
    prepared = task.prepare(plan.task, Path(plan.cache), lambda line: None)
    if prepared.digest != plan.data:
        raise RuntimeError(f"the data of {plan.task.name} changed since the runs were planned; run the command again")
    if foreign_code.of_kind(plan.task) != plan.kind_code:
        raise RuntimeError(f"the kind of {plan.task.name} changed since the runs were planned; run the command again")
    return prepared


def new_trainer(
    plan: Plan, prepared: Prepared, start: PretrainedWeights | None = None, ranks: Ranks = ALONE
) -> Trainer:
    """A new model of the plan, with all that a training step needs; ``start`` are the weights that it starts from."""
    model, training = _new_model(plan, prepared, start), plan.training
    data: EncodedExamples = prepared.train
    allowed_tokens = torch.tensor(prepared.allowed_tokens)
    if plan.is_pretraining:
        data = pretraining_windows(model, prepared, plan.objective)
        allowed_tokens[list(prepared.tokenizer.label_ids)] = True  # sentinels
    step = TrainingStep(model, model.objective, allowed_tokens.to(plan.device), training.label_smoothing)
    is_sharded = training.strategy == "fsdp" and ranks.world_size > 1
    around = Sharded(step, ranks) if is_sharded else Replicated(step, ranks)
    ratio = plan.size.dim / training.proxy_width if training.proxy_width else 1.0
    bf16 = plan.precision == "bf16"
    trained = optimizer.build(model, training, ratio, bf16)
    if isinstance(around, Sharded):
        around.share_matrices(trained)
    return Trainer(step, trained, data, training, plan.native, plan.seed, bf16, around)


def _new_model(plan: Plan, prepared: Prepared, start: PretrainedWeights | None) -> Any:
    """The model on its device, initialised from the seed alone or with the weights that it starts from."""
    build = catalogue.find(plan.variant).builder(prepared.tokenizer.labels, trained=plan.tokens > 0)
    adapt, limits = plan.adapt, window_limits(plan.objective, plan.limits) if plan.is_pretraining else plan.limits
    if adapt == ZERO_SHOT and start is not None:  # the model as it was pretrained
        limits, adapt = replace(window_limits(start.objective, start.limits), vocabulary=plan.vocabulary), FINETUNE
    if adapt == PROMPT and start is not None:  # the weights are those of the model that is prompted
        build, start, adapt = partial(prompts.prompted, prepared, start, plan), None, FINETUNE
    torch.manual_seed(plan.seed)
    model: Any = build(plan.size, limits).to(plan.device)
    if plan.is_pretraining:
        model.objective = pretraining_objective(model, plan.objective, plan.mask_rate)
    if start is not None:
        copy_weights(model, start, prepared.tokenizer, plan.training.pretrained_share)
    return with_head(model, limits.vocabulary, adapt).to(plan.device)
