"""The runs of one task: trials, axes, conditions, controls."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.prompted import Prompt
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import Variant
from archbench.runs.base.placement import PlacedPlan, Placement
from archbench.runs.base.plan import ExecutionSetting, Plan
from archbench.runs.experiment.sections import (
    FROZEN,
    PROMPT,
    SCRATCH,
    SCRATCH_WITH,
    TRANSFER,
    Experiment,
    Task,
    Training,
)
from archbench.runs.planning import budget, external_checkpoints, isolation
from archbench.runs.planning.assembly import PlanAssembler, RunCost
from archbench.runs.planning.calibrate import Calibration
from archbench.runs.planning.fitted_sizes import FittedSizes, Order
from archbench.runs.planning.isolation import Architectures
from archbench.runs.planning.pretraining import Pretrainings
from archbench.runs.planning.trials import TuningTrials
from archbench.runs.training import prompts
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared

CONTROL_SEEDS = 1_000_000  # added to the seeds of the control that is the same architecture again
HALF = 0.5
FROZEN_FACTOR = 10  # of the learning rate, for a head alone: docs/tuning.md


@dataclass(frozen=True)
class Entrant:
    """An architecture of a comparison: the variants, each after its name or path, among which trials choose."""

    name: str
    candidates: list[tuple[str, Variant]]


class Planner:
    """Plans the runs of one task under ``conditions``, which train on the same examples.

    ``pretrainings`` are the experiment's; a run that starts from one waits until it has ended.
    """

    def __init__(
        self,
        experiment: Experiment,
        task: Task,
        prepared: Prepared,
        setting: ExecutionSetting,
        calibration: Calibration,
        root: Path,
        architectures: Architectures,
        conditions: Sequence[Task] = (),
        pretrainings: Pretrainings | None = None,
    ) -> None:
        self.experiment, self.task, self.prepared, self.setting = experiment, task, prepared, setting
        self.root, self.architectures, self.pretrainings = root, architectures, pretrainings
        self.assembler = PlanAssembler(experiment.name, prepared, setting)
        self.variants = self._variants(task)
        self.conditions = conditions
        self.limits = Limits(prepared.tokenizer.vocabulary, task.source_length, task.target_length)
        first, measurements = self.variants[0][1], architectures.measurements
        where = setting.device, calibration, self.limits
        self.fitted_sizes = FittedSizes(first, prepared, *where, measurements, setting.cache)

    def trials(self) -> list[PlacedPlan]:
        """The tuning trials that are known so far and can begin: outcomes may add more. None without tuning."""
        return [placed for placed in self._known_trials() if self._has_start(placed)]

    def ready(self) -> list[PlacedPlan]:
        """The runs of the task, then of its conditions and controls, that wait for no trial."""
        return [placed for tuned, placed in self._wanted() if tuned and self._has_start(placed)]

    def later(self) -> list[PlacedPlan]:
        """The runs that wait for trials or for their start, with the recipe that they would have without trials."""
        waiting = [placed for placed in self._known_trials() if not self._has_start(placed)]
        return waiting + [placed for tuned, placed in self._wanted() if not (tuned and self._has_start(placed))]

    def _known_trials(self) -> list[PlacedPlan]:
        return [placed for trials in self._trials for placed in trials.placed_plans()]

    def _has_start(self, placed: PlacedPlan) -> bool:
        """Whether the pretraining that a run starts from has ended, or it starts from none."""
        run = placed.plan.start
        return not run or (self.pretrainings is not None and self.pretrainings.is_finished(run))

    def _wanted(self) -> Iterator[tuple[bool, PlacedPlan]]:
        """All runs of the task, then of its conditions and controls, and whether the trials of each have ended."""
        for number, task in enumerate((self.task, *self.conditions)):
            for match, (position, entrant) in product(task.budget.match, enumerate(self._trained(task))):
                tuned = self._is_tuned(task, entrant)
                makes_baselines = number == position == 0 and self._is_experiment_task
                runs = self._compared(task, entrant, match, makes_baselines)
                yield from ((tuned, placed) for placed in runs)
        if self.task.name in self.experiment.controls and self._is_experiment_task:
            first = self._entrants(self.task)[0]
            tuned = self._is_tuned(self.task, first)
            yield from ((tuned, placed) for placed in self._controls(first))

    @property
    def _is_experiment_task(self) -> bool:
        """Whether the task is one of the experiment's, and not a condition with fewer examples."""
        return any(self.task is task for task in self.experiment.tasks)

    @cached_property
    def _is_adapted(self) -> bool:
        """Whether starts, adaptations or numbers of examples are compared on the data set."""
        tasks = self.experiment.tasks_and_conditions
        return any(task.is_adapted for task in tasks if task.name == self.task.name)

    def _is_tuned(self, task: Task, entrant: Entrant) -> bool:
        """Whether the trials of all candidates have ended."""
        trials = self._trials_of(task)
        return trials is None or trials.ended.issuperset(variant.name for _, variant in entrant.candidates)

    @cached_property
    def _trials(self) -> list[TuningTrials]:
        """The trials of the task and of each condition with its own tuning."""
        sharing = [task for task in (self.task, *self.conditions) if not task.retuned]
        tuned = [(self.task, sharing), *((task, [task]) for task in self.conditions if task.retuned)]
        trials: list[TuningTrials] = []
        for task, tasks in tuned:
            if task.tuning is not None and (entered := self._entered(tasks)):
                default_trials = next((known for known in trials if known.task is self.task), None)
                leading = self._leading(entered)
                trials.append(TuningTrials(task, entered, leading, self._plan, self._epochs, self.root, default_trials))
        return trials

    def _trials_of(self, task: Task) -> TuningTrials | None:
        tuned_task = task if task.retuned else self.task
        return next((trials for trials in self._trials if trials.task is tuned_task), None)

    def _entered(self, tasks: Sequence[Task]) -> list[tuple[str, Variant]]:
        """Every architecture of these tasks once."""
        entered = [entry for task in tasks for entrant in self._trained(task) for entry in entrant.candidates]
        return list({variant.name: (name_or_path, variant) for name_or_path, variant in entered}.values())

    def _leading(self, entered: Sequence[tuple[str, Variant]]) -> set[str]:
        """The architectures that may extend the grid, so that one added later does not change it for others."""
        if self.experiment.against is not None:
            return set()  # the published grid stays as it is
        names = {variant.name for _, variant in entered}
        contrasted = {name for pair in self.experiment.contrasts for name in pair}
        entrants = [entrant for task in (self.task, *self.conditions) for entrant in self._entrants(task)]
        leading = {
            variant.name for entrant in entrants if entrant.name in contrasted for _, variant in entrant.candidates
        }
        return names & leading or names

    def _compared(self, task: Task, entrant: Entrant, match: str, makes_baselines: bool) -> Iterator[PlacedPlan]:
        """The runs of one architecture on one axis, seed by seed."""
        name_or_path, variant = self._chosen(task, entrant)
        recipe, role = self._recipe(task, variant), "compared" if task.share == 1 else "share"
        for seed in (*task.seeds, *self._added(task, entrant, match)):
            first = makes_baselines and seed == task.seeds[0]
            plan = self._plan(task, name_or_path, variant, match, seed, recipe, baselines=first)
            placement = Placement(plan.run, task.name, task.condition, match, role, entrant.name, task.share)
            yield PlacedPlan(plan, placement)

    def _chosen(self, task: Task, entrant: Entrant) -> tuple[str, Variant]:
        """The candidate with the lowest validation loss in the trials; before they have ended, the first."""
        trials = self._trials_of(task)
        if trials is None or len(entrant.candidates) == 1:
            return entrant.candidates[0]
        losses = trials.nll_by_architecture
        return min(entrant.candidates, key=lambda candidate: losses.get(candidate[1].name, math.inf))

    def _added(self, task: Task, entrant: Entrant, match: str) -> range:
        """The seeds added after the listed ones: under the first condition and axis only."""
        counts = self.experiment.added.get(task.name, {})
        if not task.extends or match != self.task.budget.match[0]:
            return range(0)
        last = self.experiment.last_seed(task.name) + 1
        return range(last, last + counts.get(entrant.name, 0))

    def _controls(self, entrant: Entrant) -> Iterator[PlacedPlan]:
        """The first architecture again with other seeds, and with half its budget."""
        (name_or_path, variant), match = self._chosen(self.task, entrant), self.task.budget.match[0]
        again = self.task.model_copy(update={"seeds": tuple(seed + CONTROL_SEEDS for seed in self.task.seeds)})
        half = self.task.model_copy(update={"share": HALF})
        for name, task in ((f"{entrant.name}, again", again), (f"{entrant.name}, half the budget", half)):
            for seed in task.seeds:
                plan = self._plan(task, name_or_path, variant, match, seed, self._recipe(task, variant))
                yield PlacedPlan(plan, Placement(plan.run, task.name, "", match, "control", name, task.share))

    def _entrants(self, task: Task) -> list[Entrant]:
        """The architectures of a task that are trained. Raises ``InputError`` for an alternative of another kind."""
        entrants = []
        for name in task.architectures:
            candidates = [
                (name_or_path, self.architectures.find(name_or_path)) for name_or_path in task.candidates(name)
            ]
            family = candidates[0][1].family
            for name_or_path, variant in candidates[1:]:
                if variant.checkpoint is not None or variant.family != family:
                    what = "a checkpoint" if variant.checkpoint is not None else f"of the family {variant.family}"
                    raise InputError(
                        f"alternatives.{name}: {name_or_path} is {what}; expected a variant of family {family}"
                    )
            if candidates[0][1].checkpoint is None:
                entrants.append(Entrant(candidates[0][1].name, candidates))
        return entrants

    def _trained(self, task: Task) -> list[Entrant]:
        """The architectures that are trained here; the others of a published comparison were trained elsewhere."""
        against = self.experiment.against
        return [entry for entry in self._entrants(task) if against is None or entry.name == against.architecture]

    def _variants(self, task: Task) -> list[tuple[str, Variant]]:
        """Every variant that may be trained, once."""
        return list(dict.fromkeys(candidate for entrant in self._entrants(task) for candidate in entrant.candidates))

    def _recipe(self, task: Task, variant: Variant) -> Training:
        """How an architecture is trained: by its condition, else its trials, else its own or the common setting."""
        tuned = task.tuned.get(variant.name)
        values = tuned.model_dump(exclude_none=True) if tuned else {}
        trials = self._trials_of(task)
        point = trials.best.get(variant.name) if trials is not None else None
        if trials is not None:
            values = {"learning_rate": point.learning_rate, "dropout": point.dropout} if point else {}
        if task.adapt == FROZEN and not values and task.training.learning_rate != TRANSFER:
            values = {"learning_rate": FROZEN_FACTOR * task.training.learning_rate}
        fixed = set(task.fixed)
        if task.training.learning_rate == TRANSFER:
            fixed.discard("learning_rate")
            if values and task.tuning is not None:
                values["proxy_width"] = task.tuning.width
        if trials is not None and point is not None and trials.tuning.share < 1:
            multiple = trials.task.share * trials.tuning.share / task.share
            values |= {"proxy_share": multiple} if multiple != 1 and "learning_rate" not in fixed else {}
        return Training.of(task.training, **{key: value for key, value in values.items() if key not in fixed})

    def _epochs(self, task: Task) -> float:
        """Passes over the training data of the architecture that reads the most of it."""
        match, variants = task.budget.match[0], [variant for _, variant in self._variants(task)]
        return max(self.fitted_sizes.tokens(task, variant, match) for variant in variants) / max(
            1.0, budget.data_tokens(self.prepared.train)
        )

    def _scoring_flops(self, variant: Variant, size: Size) -> float:
        """FLOPs of likelihoods and answers for the test examples, doubled for float32."""
        test = self.prepared.test
        lengths = test.source_lengths.astype(float), test.target_lengths.astype(float)
        return external_checkpoints.SCORING * self.architectures.measurements(variant).answer_flops(
            size, self.limits, lengths
        )

    def _plan(
        self,
        task: Task,
        name_or_path: str,
        variant: Variant,
        match: str,
        seed: int,
        training: Training,
        *,
        trial: bool = False,
        baselines: bool = False,
    ) -> Plan:
        start = self._start(task, name_or_path, seed)
        size = replace(start.size, dropout=0.0) if start else self.fitted_sizes.size(task, variant, match)
        if trial and task.tuning is not None and task.tuning.width is not None:
            narrow = task.tuning.width
            if narrow >= size.dim:
                raise InputError(f"tasks.{task.name}.tuning.width: {narrow}: expected less than the width {size.dim}")
            size = budget.at_width(size, narrow)
        full_tokens = self.fitted_sizes.tokens(task, variant, match)
        budget.check_epochs(f"tasks.{task.name}", task.budget.epochs, variant.name, full_tokens, self.prepared.train)
        order = Order(seed, training.batch_tokens)
        tokens = 0 if task.adapt == PROMPT else self.fitted_sizes.run_tokens(task, variant, match, order)
        measured, flops = self.architectures.measurements(variant), tokens * self.fitted_sizes.cost(task, variant, size)
        update = measured.optimizer_flops(size, self.limits, training.optimizer)
        scoring = 0.0 if trial else self._scoring_flops(variant, size)
        targets = self.fitted_sizes.targets(task, match, order)
        if task.adapt == PROMPT and start is not None:
            self._check_prompt(task, start, seed)
            del targets["tokens"]
            scoring *= len(self.prepared.tokenizer.labels)
        plan = self.assembler.plan(
            variant,
            isolation.variant_id(name_or_path, variant),
            training,
            RunCost(
                tokens=tokens,
                flops=flops,
                loss_tokens=tokens * self.fitted_sizes.loss_share(task, variant, size),
                optimizer_flops=update * tokens / training.batch_tokens,
                scoring_flops=scoring,
            ),
            size=replace(size, dropout=training.dropout),
            counts=measured.counts(size, self.limits),
            seed=seed,
            match=match,
            supervision=self.fitted_sizes.supervision(task, variant, size, self.task.supervision),
            precision=self.fitted_sizes.precision(task),
        )
        return replace(
            plan,
            targets=targets,
            baselines=baselines,
            trial=trial,
            predictions=0 if trial else plan.predictions,
            heads=measured.heads(size, self.limits),
            foreign=catalogue.is_foreign(name_or_path),
            sampled=measured.is_sampled(size, self.limits),
            adapt=task.adapt,
            examples=len(self.prepared.train) if self._is_adapted else 0,
            start=start.run if start else "",
            start_name=_start_name(task),
            pretraining_tokens=start.total_tokens if start else 0.0,
            pretraining_flops=start.total_flops if start else 0.0,
            shots=task.shots,
            verbalizers=task.verbalizers,
        )

    def _check_prompt(self, task: Task, start: Plan, seed: int) -> None:
        """Raises ``InputError`` where a prompt cannot be made or does not fit."""
        assert self.pretrainings is not None
        tokenizer = self.pretrainings.prepared[task.start].tokenizer

        def made(shots: int) -> Prompt:
            return prompts.prompt(self.prepared, tokenizer, start.objective, shots, seed, task.verbalizers)

        try:
            prompts.check(made, task.shots, self.prepared, start.task.source_length + start.task.target_length)
        except InputError as error:
            raise InputError(f"tasks.{task.name}.{error}") from None

    def _start(self, task: Task, name_or_path: str, seed: int) -> Plan | None:
        """The pretraining run that a run starts from."""
        if task.start == SCRATCH:
            return None
        assert self.pretrainings is not None
        return self.pretrainings.start(task.start, name_or_path, seed)


def _start_name(task: Task) -> str:
    """What the table of runs calls a run's start; empty for scratch."""
    if task.with_tokens_of:
        return SCRATCH_WITH + task.with_tokens_of
    return "" if task.start == SCRATCH else task.start
