"""The runs of one task that train architectures: trials, axes, conditions, controls."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product

from archbench.architectures.families.prompted import Prompt
from archbench.architectures.families.variant import Variant
from archbench.runs.budgets import budget
from archbench.runs.experiment.sections import PROMPT, SCRATCH, Form, Task
from archbench.runs.experiment.validation import printable
from archbench.runs.planning.planner import Planner, PlanningContext, Wanted
from archbench.runs.planning.pretraining import Pretrainings
from archbench.runs.planning.trials import TuningTrials, recipe
from archbench.runs.planning.tuning import Point
from archbench.runs.plans.placement import PlacedPlan
from archbench.runs.plans.plan import Plan
from archbench.runs.training import prompts
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared
from archbench.tasks.kinds import task as task_kinds

CONTROL_SEEDS = 1_000_000  # added to the seeds of the control that is the same architecture again
HALF = 0.5


class TaskRuns:
    """The runs of one task under ``conditions``, which train on the same examples.

    Architectures are names or paths, as they are entered. ``pretrainings`` are the experiment's.
    """

    def __init__(
        self,
        context: PlanningContext,
        task: Task,
        prepared: Prepared,
        conditions: Sequence[Task],
        pretrainings: Pretrainings,
    ) -> None:
        self.context, self.experiment, self.architectures = context, context.experiment, context.architectures
        self.task, self.conditions, self.pretrainings = task, conditions, pretrainings
        self.prepared, self.entries = prepared, (task, *conditions)
        self.planner = Planner(context, prepared, task, self._listed(task)[0])

    def runs(self) -> Iterator[PlacedPlan]:
        """The trials that are known so far, then the runs of the task, then of its conditions and controls."""
        self._say_of_forms()
        for trials in self._trials:
            yield from trials.runs
        is_own = any(self.task is task for task in self.experiment.tasks)  # no condition with fewer examples
        for number, task in enumerate(self.entries):
            for match, (position, name) in product(task.budget.match, enumerate(self._trained(task))):
                yield from self._compared(task, name, match, baselines=is_own and number == position == 0)
        if self.task.name in self.experiment.controls and is_own:
            yield from self._controls(self._listed(self.task)[0])

    def _say_of_forms(self) -> None:
        """Says where architectures have unequal numbers of forms. Raises ``InputError`` for a form without effect."""
        own = [trials for trials in self._trials if trials.task is self.task]
        if same := next((pair for trials in own for pair in trials.same), None):
            names = " and ".join(map(printable, same))
            raise InputError(f"alternatives: on {self.task.name}, {names} are the same runs; remove one of them")
        counts = {self._find(name).name: len(self._candidates(self.task, name)) for name in self._trained(self.task)}
        if own and len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            self.context.say(f"{self.task.name}: unequal numbers of forms, and so of trials: {listed}")

    def _compared(self, task: Task, name: str, match: str, baselines: bool) -> Iterator[PlacedPlan]:
        """The runs of one architecture on one axis, seed by seed."""
        wanted = self._chosen(task, name, match)
        for position, seed in enumerate((*task.seeds, *self._added(task, wanted.name, match))):
            yield self._placed(wanted, seed, baselines and position == 0)

    def _controls(self, name: str) -> Iterator[PlacedPlan]:
        """The first architecture again with other seeds, and with half its budget."""
        half = self.task.patched({"share": HALF})
        for words, task, more in (("again", self.task, CONTROL_SEEDS), ("half the budget", half, 0)):
            wanted = self._chosen(task, name, task.budget.match[0])
            for seed in task.seeds:
                yield self._placed(replace(wanted, role="control", name=f"{wanted.name}, {words}"), seed + more)

    def _placed(self, wanted: Wanted, seed: int, baselines: bool = False) -> PlacedPlan:
        start = self._start(wanted.task, wanted.architecture, seed)
        return self.planner.placed(replace(wanted, seed=seed, start=start, baselines=baselines))

    def _chosen(self, task: Task, name: str, match: str) -> Wanted:
        """Run that trials choose for a name: of the candidate with the lowest validation loss, by its recipe.

        Before they have ended, the first candidate.
        """
        trials, candidates = self._trials_of(task), self._candidates(task, name)
        losses = trials.nll_by_candidate if trials is not None and len(candidates) > 1 else {}
        form = min(candidates, key=lambda candidate: losses.get(self._called(candidate), math.inf))
        deciding = [trials.deciding(self._called(candidate)) for candidate in candidates] if trials else []
        formed = task.in_form(form, self.task)
        return Wanted(
            task=formed,
            architecture=form.variant,
            match=match,
            training=recipe(formed, self._called(form) if trials else self._find(name).name, trials),
            name=self._find(name).name,
            form=form.name if form.settings else "",
            trials=tuple(run for runs in deciding for run in runs),
        )

    def _added(self, task: Task, name: str, match: str) -> range:
        """The seeds added after the listed ones: under the first condition and axis only."""
        if not task.extends or match != self.task.budget.match[0]:
            return range(0)
        last = self.experiment.last_seed(task.name) + 1
        return range(last, last + self.experiment.added.get(task.name, {}).get(name, 0))

    @cached_property
    def _trials(self) -> list[TuningTrials]:
        """The trials of the task and of each condition with its own tuning, each followed by those on more tokens."""
        sharing = [task for task in self.entries if not task.retuned]
        tuned = [(self.task, sharing), *((task, [task]) for task in self.conditions if task.retuned)]
        trials: list[TuningTrials] = []
        for task, tasks in tuned:
            if task.tuning is not None and (entered := self._entered_by_name(tasks)):
                first = next((known for known in trials if known.task is self.task), None)
                where = self._leading(entered), self._trial, self._epochs(task), self.context.root
                look: TuningTrials | None = TuningTrials(task, entered, *where, lambda: self._bar, first)
                while look is not None:
                    trials.append(look)
                    look = look.longer
        return trials

    @cached_property
    def _bar(self) -> float:
        """The validation loss of a classical method, in nats per token, that trials which learned are below."""
        return task_kinds.bar(self.prepared).value

    def _trials_of(self, task: Task) -> TuningTrials | None:
        tuned_task = task if task.retuned else self.task
        return next((trials for trials in reversed(self._trials) if trials.task is tuned_task), None)

    def _trial(self, task: Task, form: Form, seed: int, point: Point) -> PlacedPlan:
        architecture, task = form.variant, task.in_form(form, self.task)
        match, start, training = task.budget.match[0], self._start(task, architecture, seed), point.of(task.training)
        trial = Wanted(task=task, architecture=architecture, match=match, role="trial", training=training, start=start)
        return self.planner.placed(replace(trial, seed=seed, form=form.name if form.settings else ""))

    def _entered_by_name(self, tasks: Sequence[Task]) -> dict[str, Form]:
        """Every candidate of these tasks once, by its name. Raises ``InputError`` for two of one name."""
        entered: dict[str, Form] = {}
        for form in (form for task in tasks for name in self._trained(task) for form in self._candidates(task, name)):
            if entered.setdefault(self._called(form), form).settings != form.settings:
                raise InputError(f"alternatives: two forms are called {printable(self._called(form))}; rename one")
        return entered

    def _called(self, form: Form) -> str:
        """Name of a candidate in trials: its variant, with the form where it has other settings."""
        variant = self._find(form.variant).name
        return f"{variant}, {form.name}" if form.settings else variant

    def _leading(self, entered: Collection[str]) -> set[str]:
        """The architectures that may extend the grid, so that one added later does not change it for others."""
        if self.experiment.against is not None:
            return set()  # the published grid stays as it is
        contrasted = {name for pair in self.experiment.contrasts for name in pair}
        listed = [(task, name) for task in self.entries for name in self._listed(task)]
        leading = [self._candidates(task, name) for task, name in listed if self._find(name).name in contrasted]
        return {self._called(form) for forms in leading for form in forms} & set(entered) or set(entered)

    def _epochs(self, task: Task) -> float:
        """Passes over the training data of the architecture that reads the most of it."""
        match, names = task.budget.match[0], self._listed(self.task)
        candidates = [form for name in names for form in self._candidates(self.task, name)]
        formed = [(task.in_form(form, self.task), self._find(form.variant)) for form in candidates]
        most = max(self.planner.sizes.tokens(task, variant, match) for task, variant in formed)
        seed = task.tuning.seeds[0] if task.tuning else 0  # the data of one trial
        return most / max(1.0, budget.data_tokens(self.planner.data(seed).train))

    def _find(self, architecture: str) -> Variant:
        return self.architectures.find(architecture)

    def _listed(self, task: Task) -> list[str]:
        """The architectures of a task that are trained. Raises ``InputError`` for an alternative of another kind."""
        return [name for name in task.architectures if self._candidates(task, name) and not self._find(name).checkpoint]

    def _trained(self, task: Task) -> list[str]:
        """The architectures that are trained here; the others of a published comparison were trained elsewhere."""
        against = self.experiment.against
        return [name for name in self._listed(task) if against is None or self._find(name).name == against.architecture]

    def _candidates(self, task: Task, name: str) -> tuple[Form, ...]:
        """Forms that may be compared under an architecture's name. Raises ``InputError`` for one of another kind."""
        family = self._find(name).family
        for form in task.candidates(name)[1:]:
            variant = self._find(form.variant)
            if variant.checkpoint is not None or variant.family != family:
                what = "a checkpoint" if variant.checkpoint is not None else f"of the family {variant.family}"
                where = f"alternatives.{name}: {form.variant} is {what}"
                raise InputError(f"{where}; expected a variant of family {family}")
        return task.candidates(name)

    def _start(self, task: Task, architecture: str, seed: int) -> PlacedPlan | None:
        """The pretraining run that a run starts from. Raises ``InputError`` for a prompt that does not fit."""
        if task.start == SCRATCH:
            return None
        start = self.pretrainings.start(task.start, architecture, seed)
        if task.adapt == PROMPT:
            self._check_prompt(task, start.plan, seed)
        return start

    def _check_prompt(self, task: Task, start: Plan, seed: int) -> None:
        tokenizer, data = self.pretrainings.texts[task.start].tokenizer, self.planner.data(seed)

        def made(shots: int) -> Prompt:
            return prompts.prompt(data, tokenizer, start.objective, shots, seed, task.verbalizers)

        try:
            prompts.check(made, task.shots, data, start.task.source_length + start.task.target_length)
        except InputError as error:
            raise InputError(f"tasks.{task.name}.{error}") from None
