"""From an experiment to its runs: data prepared, sizes fitted to the budget, one plan for every run."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archbench.architectures.families.variant import Variant
from archbench.runs.experiment.sections import UNMATCHED, Experiment, StartKeys, Task, Training
from archbench.runs.machine import machine
from archbench.runs.planning import tuning
from archbench.runs.planning.isolation import Architectures
from archbench.runs.planning.planner import Planner, PlanningContext, Wanted
from archbench.runs.planning.preparation import Preparation
from archbench.runs.planning.pretraining import Pretrainings
from archbench.runs.planning.task_runs import TaskRuns
from archbench.runs.planning.trials import recipe
from archbench.runs.plans.placement import PlacedPlan, Placement
from archbench.runs.plans.plan import ExecutionSetting, Plan
from archbench.runs.store import store
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say

THREADS = 1  # of every worker process


@dataclass(frozen=True)
class Matrix:
    """All runs of an experiment, in its order, the roles of each, and a row for each data set.

    ``later`` are the runs that wait for trials, with their recipe so far.
    """

    plans: tuple[Plan, ...]
    entries: tuple[Placement, ...]
    datasets: tuple[dict[str, Any], ...]
    later: tuple[Plan, ...] = ()

    @property
    def waiting_tasks(self) -> tuple[str, ...]:
        """The tasks with runs that wait for trials or for a pretraining."""
        return tuple(dict.fromkeys(plan.task.name for plan in self.later))


def plan(
    experiment: Experiment,
    *,
    device: str,
    deterministic: bool,
    cache: Path,
    root: Path,
    say: Say,
    architectures: Architectures | None = None,
) -> Matrix:
    """Prepare the data, fit every size and name every run; raises ``InputError`` before anything is trained.

    Speeds for a match by time are measured once and kept in ``root``; so are the outcomes of trials.
    ``architectures`` finds the experiment's; None: a new one, only for planning.
    """
    rate = machine.training_rate(device, bf16=machine.precision("auto", device) == "bf16")
    setting = ExecutionSetting(device, deterministic, THREADS, cache, rate, experiment.environment)
    opened = nullcontext(architectures) if architectures else Architectures(Path(experiment.folder), cache)
    with opened as found:
        preparation = Preparation(experiment, cache, say)
        runs = list(_runs(PlanningContext(experiment, setting, root, say, found), preparation))
    ready, later = _divided(runs, root)
    entries = dict.fromkeys(run.placement for run in ready)
    return Matrix(_merged(ready), tuple(entries), tuple(preparation.rows.values()), _merged(later))


def _divided(runs: Sequence[PlacedPlan], root: Path) -> tuple[list[PlacedPlan], list[PlacedPlan]]:
    """The runs that can begin, since all that they need have ended, and the others."""
    needed = {need.placement.run: need for run in runs for need in run.needs}
    ended = {name for name, run in needed.items() if _has_ended(run, root)}
    begins = [all(need.placement.run in ended for need in run.needs) for run in runs]
    ready = [run for run, can_begin in zip(runs, begins, strict=True) if can_begin]
    return ready, [run for run, can_begin in zip(runs, begins, strict=True) if not can_begin]


def _has_ended(run: PlacedPlan, root: Path) -> bool:
    """True if runs that need this one can begin: a trial may have failed, a pretraining has weights to start from."""
    name = run.placement.run
    if run.plan.trial:
        return tuning.losses(root, [name]) is not None
    return store.is_finished(store.run_folder(root, name), weights=True)


def _runs(context: PlanningContext, preparation: Preparation) -> Iterator[PlacedPlan]:
    """All runs of an experiment in its order: pretrainings, then those of each task."""
    pretrainings = Pretrainings(context, preparation)
    yield from pretrainings.runs()
    for task in context.experiment.tasks:
        context.say(f"{task.name}: preparing the data")
        entries = [entry for entry in context.experiment.tasks_and_conditions if entry.name == task.name]
        trained = [entry for entry in entries if not entry.checkpoint]
        variants = {name: context.architectures.find(name) for entry in trained[:1] for name in entry.architectures}
        scored = [(name, variant) for name, variant in variants.items() if variant.checkpoint]
        for base, conditions in by_examples(trained if len(scored) < len(variants) else []):
            prepared = preparation.for_task(task, base)
            yield from TaskRuns(context, base, prepared, conditions, pretrainings).runs()
        for entry in entries:
            if entry.checkpoint:
                variant = context.architectures.checkpoint(entry)
                yield from _of_checkpoint(context, preparation, entry, entry.checkpoint, variant)
        drawing = {name: getattr(task, name) for name in ("examples", "draw", "validation_examples")}
        as_it_is = task.patched({**dict(StartKeys()), **drawing})
        for name, variant in scored:
            yield from _of_checkpoint(context, preparation, as_it_is, name, variant)


def _of_checkpoint(
    context: PlanningContext, preparation: Preparation, task: Task, entered: str, variant: Variant
) -> Iterator[PlacedPlan]:
    """The runs that train a checkpoint, where the task starts from it; else the one that scores it as it is."""
    prepared, is_first = preparation.for_checkpoint(variant, task)
    if not task.checkpoint:
        match, seeds, training = UNMATCHED, task.seeds[:1], Training.of(task.training)
    elif task.budget.seconds is None:
        match, seeds, training = task.budget.match[0], task.seeds, recipe(task, variant.name)
        task = task.patched({"supervision": "target"})
    else:
        where = f"tasks.{task.name}.start"
        raise InputError(f"{where}: {variant.name} needs a budget in tokens or FLOPs; set one of these")
    planner = Planner(context, prepared, task, entered)
    for seed in seeds:
        baselines = is_first and seed == seeds[0]
        run = Wanted(task=task, architecture=entered, seed=seed, match=match, training=training, baselines=baselines)
        yield planner.placed(run)


def by_examples(entries: Sequence[Task]) -> Iterator[tuple[Task, list[Task]]]:
    """A task and its conditions by their number of training examples: the first of each number, and the others."""
    for count in dict.fromkeys(entry.examples for entry in entries):
        base, *others = [entry for entry in entries if entry.examples == count]
        yield base if base is entries[0] else base.patched({"retuned": False}), others


def _merged(runs: Sequence[PlacedPlan]) -> tuple[Plan, ...]:
    """Every run once, with all axes that it serves; runs of the headline come first."""
    plans: dict[str, Plan] = {}
    places = [run.placement for run in runs]
    axes = {placement.dataset: placement.match for placement in reversed(places)}
    early = {placement.run for placement in places if _is_headline(placement, axes)}
    for plan, placement, _ in runs:
        known = plans.get(placement.run, plan)
        match = ",".join(dict.fromkeys((*known.match.split(","), *plan.match.split(","))))
        targets, baselines = {**plan.targets, **known.targets}, known.baselines or plan.baselines
        stage = int(placement.run not in early)
        plans[placement.run] = replace(known, match=match, targets=targets, baselines=baselines, stage=stage)
    return tuple(plans.values())


def _is_headline(placement: Placement, axes: Mapping[str, str]) -> bool:
    """True if an entry is compared or a trial under its data set's first condition, or is a pretraining."""
    first = not placement.condition and placement.match == axes[placement.dataset]
    return (first and placement.role in ("compared", "trial")) or placement.role == "pretraining"
