"""The plan of a run: all that follows from the task, the architecture, the seed and the role that are asked for."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from archbench.architectures.catalogue import catalogue, digests
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import Variant
from archbench.runs.budgets import budget
from archbench.runs.budgets.calibrate import Calibration
from archbench.runs.budgets.fitted_sizes import FittedSizes, Order
from archbench.runs.budgets.measurements import TokenCost
from archbench.runs.experiment.sections import (
    ONCE,
    PROMPT,
    SCRATCH,
    SCRATCH_WITH,
    UNMATCHED,
    UNTRAINED,
    Experiment,
    Pretraining,
    Task,
    Training,
)
from archbench.runs.planning import isolation
from archbench.runs.planning.isolation import Architectures
from archbench.runs.plans import foreign_code
from archbench.runs.plans.placement import PlacedPlan, Placement
from archbench.runs.plans.plan import ExecutionSetting, Plan
from archbench.runs.store import disk
from archbench.runs.training import compiled
from archbench.runs.training.pretraining_objectives import MASKED, has_source_loss
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared
from archbench.tasks.data.prepare import drawn
from archbench.tasks.kinds import registry
from archbench.tasks.kinds import task as task_kinds

IN_FLOAT32 = 2.0  # what scoring takes, over the time of as many FLOPs in training


@dataclass(frozen=True)
class PlanningContext:
    """Everything but its data that a plan depends on. Outcomes of runs and measured speeds are in ``root``."""

    experiment: Experiment
    setting: ExecutionSetting
    root: Path
    say: Say
    architectures: Architectures


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A run as it is asked for. ``match`` is ``UNMATCHED`` for a checkpoint that is scored as it is."""

    task: Task
    architecture: str  # name or path
    seed: int = 0
    match: str
    role: str = ""  # where it is neither that of the comparison nor of a share of the budget
    training: Training  # the recipe
    name: str = ""  # in the comparison, where it is not the variant's
    form: str = ""  # of the architecture, where it has other settings than the task
    start: PlacedPlan | None = None  # the pretraining run that it starts from
    trials: tuple[PlacedPlan, ...] = ()  # those that choose its recipe
    stage: Pretraining | None = None  # the pretraining that it is a run of
    tokens: int = 0  # of the pretraining's budget
    baselines: bool = False

    @property
    def is_scored_only(self) -> bool:
        return self.match == UNMATCHED


class Planner:
    """Plans runs on the same data; sizes are fitted to those of ``reference``, a name or path.

    Where each seed draws its labelled examples, ``prepared`` has all of them, and sizes are fitted to their lengths.
    ``task`` has the usual supervision: that of models that have a loss on the same tokens under both.
    """

    def __init__(self, context: PlanningContext, prepared: Prepared, task: Task, reference: str) -> None:
        self.context, self.prepared, self.task = context, prepared, task
        self.architectures, self.setting = context.architectures, context.setting
        limits = Limits(prepared.tokenizer.vocabulary, task.source_length, task.target_length)
        where = self.setting.device, Calibration(context.root, context.say), limits
        first, measurements = self.architectures.find(reference), self.architectures.measurements
        self._drawn: dict[int, Prepared] = {}
        self.sizes = FittedSizes(first, prepared, *where, measurements, self.setting.cache, self.data)

    def data(self, seed: int) -> Prepared:
        """The data of the runs with a seed: all that were prepared, or the labelled examples that the seed draws."""
        if self.task.draw == ONCE:
            return self.prepared
        if seed not in self._drawn:
            count, validation = self.task.examples, self.task.validation_examples
            few = replace(self.prepared.config, examples=count, validation_examples=validation, draw_seed=seed)
            self._drawn[seed] = drawn(self.prepared, few)
        return self._drawn[seed]

    def placed(self, wanted: Wanted) -> PlacedPlan:
        """The plan of a run, its place in the comparison, and the runs that it needs. Raises ``InputError``."""
        plan, task = self.plan_of(wanted), wanted.task
        role = wanted.role or ("compared" if task.share == 1 else "share")
        name, share = wanted.name or plan.architecture, _share(task, role)
        placement = Placement(plan.run, task.name, task.condition, plan.match, role, name, share, wanted.form)
        return PlacedPlan(plan, placement, (*wanted.trials, *([wanted.start] if wanted.start else ())))

    def plan_of(self, wanted: Wanted) -> Plan:
        """The whole plan of a run; raises ``InputError`` where its size or budget cannot be."""
        prepared, setting, task = self.data(wanted.seed), self.setting, wanted.task
        variant, stage = self.architectures.find(wanted.architecture), wanted.stage
        whole = {} if wanted.start else {"pretrained_share": 1.0}  # names no run without a pretraining
        training = wanted.training.patched(self._masking(variant, task) | whole)
        measured, is_trial = self.architectures.measurements(variant), wanted.role == "trial"
        start = wanted.start.plan if wanted.start else None
        size = self._size(wanted, variant)
        cost, limits = self.sizes.token_cost(task, variant, size, stage), self.sizes.limits(task)
        tokens = self._tokens(wanted, variant, cost)
        counts, flops = measured.counts(size, limits), tokens * cost.flops
        updates = measured.optimizer_flops(size, limits, training.optimizer) * tokens / training.batch_tokens
        scoring = 0.0 if is_trial else self._scoring_flops(task, variant, size)
        speed = setting.speed * training.devices
        return Plan(
            experiment=self.context.experiment.name,
            architecture=variant.name,
            family=variant.family,
            description=_description(variant, tokens),
            seed=wanted.seed,
            match=wanted.match,
            trial=is_trial,
            task=prepared.config,
            data=prepared.digest,
            vocabulary=prepared.tokenizer.vocabulary,
            **self._labelled(wanted),
            **self._own_kind,
            variant=isolation.variant_id(wanted.architecture, variant),
            variant_text=variant.text,
            variant_digest=digests.of(variant),
            foreign=catalogue.is_foreign(wanted.architecture),
            breaks=", ".join(variant.breaks),
            size=size if variant.checkpoint else replace(size, dropout=training.dropout),
            counts=counts,
            heads=measured.heads(size, limits),
            training=compiled.chosen(training, setting.device, flops),
            settings=(stage or task).later(),
            supervision=self._supervision(wanted, variant, size, cost),
            objective=cost.objective,
            mask_rate=stage.mask_rate if stage and MASKED in cost.objective else None,
            sampled=not wanted.is_scored_only and measured.is_sampled(size, limits),
            start=wanted.start.placement.run if wanted.start else "",
            start_name=_start_name(task, variant),
            adapt=task.adapt,
            shots=task.shots,
            verbalizers=task.verbalizers,
            pretraining_tokens=start.total_tokens if start else 0.0,
            pretraining_flops=start.total_flops if start else 0.0,
            targets=self._targets(wanted, variant, float(counts.parameters), tokens),
            tokens=tokens,
            loss_tokens=tokens * cost.loss_tokens,
            flops=flops,
            optimizer_flops=updates,
            device=setting.device,
            precision="float32" if wanted.is_scored_only else self.sizes.precision(task),
            threads=setting.threads,
            deterministic=setting.deterministic,
            cache=str(setting.cache),
            expected_seconds=budget.OVERHEAD_SECONDS + (flops + updates + scoring) / speed,
            scoring_seconds=scoring / speed,
            predictions=0 if is_trial else self._predictions,
            baselines=wanted.baselines,
            environment=dict(setting.environment),
        )

    def _masking(self, variant: Variant, task: Task) -> dict[str, str]:
        """Keys that do not apply, as usual: any without masks; a predicted length where it is always the same."""
        if not variant.learns_as_told:
            return Training().masking
        return {} if self.prepared.ends and task.target_length > 1 else {"canvas": Training().canvas}

    def _size(self, wanted: Wanted, variant: Variant) -> Size:
        """The size that the match asks for, that of the start, or that of trials at another width."""
        task = wanted.task
        if wanted.start:
            size = replace(wanted.start.plan.size, dropout=0.0)
        else:
            size = self.sizes.size(task, variant, "parameters" if wanted.stage else wanted.match)
        width = task.tuning.width if wanted.role == "trial" and task.tuning else None
        if width is None:
            return size
        if width >= size.dim:
            raise InputError(f"tasks.{task.name}.tuning.width: {width}: expected less than the width {size.dim}")
        return budget.at_width(size, width)

    def _tokens(self, wanted: Wanted, variant: Variant, cost: TokenCost) -> int:
        """The training tokens; none where a model is scored as it is."""
        task, stage, train = wanted.task, wanted.stage, self.data(wanted.seed).train
        if wanted.is_scored_only or task.adapt in UNTRAINED:
            return 0
        if stage:
            first = self.architectures.find(self.context.experiment.architectures[0])
            tokens = round(wanted.tokens * self.sizes.token_factor(stage, first, cost))
        else:
            tokens = self.sizes.tokens(task, variant, wanted.match)
        key = f"{'pretraining' if stage else 'tasks'}.{task.name}"
        budget.check_epochs(key, task.budget.epochs, variant.name, tokens, train)
        return tokens if stage else self.sizes.run_tokens(task, variant, wanted.match, _order(wanted))

    def _targets(self, wanted: Wanted, variant: Variant, parameters: float, tokens: int) -> dict[str, float]:
        """Values by axis that the match holds equal; empty for a checkpoint."""
        if variant.checkpoint:
            return {}
        if wanted.stage:
            return {"parameters": parameters, "tokens": float(tokens)}
        targets = self.sizes.targets(wanted.task, wanted.match, _order(wanted))
        return {axis: value for axis, value in targets.items() if tokens or axis != "tokens"}

    def _supervision(self, wanted: Wanted, variant: Variant, size: Size, cost: TokenCost) -> str:
        if wanted.stage:
            return "native" if has_source_loss(cost.objective) else "target"
        return self.sizes.supervision(wanted.task, variant, size, self.task.supervision)

    def _scoring_flops(self, task: Task, variant: Variant, size: Size) -> float:
        """FLOPs of likelihoods and answers for the test examples, also in rounds.

        A likelihood is taken to cost what an answer does. A prompt is read again with every label.
        """
        test, measured, limits = self.prepared.test, self.architectures.measurements(variant), self.sizes.limits(task)
        lengths = test.source_lengths.astype(float), test.target_lengths.astype(float)
        flops = 2.0 * measured.answer_flops(size, limits, lengths)
        if self._is_written_in_rounds:
            flops += measured.rounds_flops(size, limits, lengths)
        return IN_FLOAT32 * flops * (len(self.prepared.tokenizer.labels) if task.adapt == PROMPT else 1)

    @cached_property
    def _is_written_in_rounds(self) -> bool:
        """True if scoring adds answers in rounds where a model can give them (``Predictor.with_rounds``)."""
        is_own = bool(registry.of(self.prepared.config).origin)
        return not is_own and task_kinds.decoding(self.prepared).strategy == "greedy"

    @cached_property
    def _is_adapted(self) -> bool:
        """True if starts, adaptations or numbers of examples are compared on the data set."""
        tasks = self.context.experiment.tasks_and_conditions
        return any(task.is_adapted for task in tasks if task.name == self.task.name)

    def _labelled(self, wanted: Wanted) -> dict[str, Any]:
        """The entries of a plan for the numbers of labelled examples, where a report compares such numbers."""
        if not self._is_adapted or wanted.is_scored_only:
            return {}
        data = self.data(wanted.seed)
        return {"examples": len(data.train), "validation_examples": len(data.validation)}

    @cached_property
    def _predictions(self) -> int:
        return disk.predictions(self.prepared)

    @cached_property
    def _own_kind(self) -> dict[str, Any]:
        """The entries of a plan for a kind that is not archbench's own."""
        kind = registry.of(self.prepared.config)
        if not kind.origin:
            return {}
        decoding = asdict(task_kinds.decoding(self.prepared)) if kind.decoding is not None else {}
        decoding.pop("rounds", None)  # of a strategy that no kind can choose
        code = foreign_code.of_kind(self.prepared.config)
        return {"kind_form": kind.form, "kind_code": code, "decoding": decoding}


def _share(task: Task, role: str) -> float:
    """The part of the budget that a place states; of trials that are never repeated it says nothing."""
    is_stated = role != "pretraining" and (role != "trial" or (task.tuning is not None and task.tuning.longer))
    return task.share if is_stated else 1.0


def _order(wanted: Wanted) -> Order:
    return Order(wanted.seed, wanted.training.batch_tokens, wanted.training.length_pool)


def _description(variant: Variant, tokens: int) -> str:
    finetuned = variant.checkpoint is not None and tokens > 0
    return variant.document.replace("scored without training", "finetuned") if finetuned else variant.document


def _start_name(task: Task, variant: Variant) -> str:
    """Name of a run's start in the table of runs; empty for scratch."""
    if task.checkpoint:
        return variant.name
    if task.with_tokens_of:
        return SCRATCH_WITH + task.with_tokens_of
    return "" if task.start == SCRATCH else task.start
