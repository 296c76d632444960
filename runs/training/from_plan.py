"""What a run needs to begin, made from its plan: the encoded data, and a new model with its optimizer."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from archbench.architectures.catalogue import catalogue
from archbench.runs.base import foreign_code
from archbench.runs.base.plan import Plan
from archbench.runs.experiment.sections import FINETUNE, PROMPT, ZERO_SHOT
from archbench.runs.training import prompts
from archbench.runs.training.pretraining_objectives import window_limits
from archbench.runs.training.ranks import ALONE, Ranks
from archbench.runs.training.step import Trainer
from archbench.runs.training.weight_transfer import PretrainedWeights
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
    build = catalogue.find(plan.variant).builder(prepared.tokenizer.labels, trained=plan.tokens > 0)
    adapt, limits = plan.adapt, window_limits(plan.objective, plan.limits) if plan.is_pretraining else plan.limits
    if adapt == ZERO_SHOT and start is not None:  # the model as it was pretrained
        limits, adapt = replace(window_limits(start.objective, start.limits), vocabulary=plan.vocabulary), FINETUNE
    if adapt == PROMPT and start is not None:  # the weights are those of the model that is prompted
        build, start, adapt = partial(prompts.prompted, prepared, start, plan), None, FINETUNE
    return Trainer.build(
        build,
        plan.size,
        limits,
        prepared,
        plan.training,
        plan.native,
        plan.seed,
        plan.device,
        plan.precision,
        objective=plan.objective,
        mask_rate=plan.mask_rate,
        start=start,
        adapt=adapt,
        ranks=ranks,
    )
