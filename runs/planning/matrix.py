"""From an experiment to its runs: data prepared, sizes fitted to the budget, one plan for every run."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from archbench.architectures.families.variant import Variant
from archbench.runs.base import machine
from archbench.runs.base.placement import PlacedPlan, Placement
from archbench.runs.base.plan import ExecutionSetting, Plan
from archbench.runs.experiment.sections import Experiment, Pretraining, Task
from archbench.runs.experiment.starts import task_of
from archbench.runs.planning import budget, external_checkpoints
from archbench.runs.planning.calibrate import Calibration
from archbench.runs.planning.isolation import Architectures
from archbench.runs.planning.planner import Planner
from archbench.runs.planning.pretraining import Pretrainings
from archbench.runs.scoring import task_metrics
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared, TaskConfig
from archbench.tasks.kinds import registry
from archbench.tasks.kinds.task import prepare
from archbench.tasks.text.splits import Subset

THREADS = 1  # of every worker process
# counts that a user should hear of
REPORTED_COUNTS = ("truncated", "excluded", "unseen", "unknown", "dropped", "seen_in_train", "differ_in_case")


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
    if architectures is None:
        with Architectures(Path(experiment.folder), cache) as opened:
            return plan(
                experiment,
                device=device,
                deterministic=deterministic,
                cache=cache,
                root=root,
                say=say,
                architectures=opened,
            )
    rate = machine.training_rate(device, bf16=machine.precision("auto", device) == "bf16")
    setting = ExecutionSetting(device, deterministic, THREADS, cache, rate, experiment.environment)
    planning = _Planning(experiment, setting, root, say, architectures)
    planning.plan_pretrainings()
    for task in experiment.tasks:
        say(f"{task.name}: preparing the data")
        planning.plan_training(task)
        planning.plan_finetuning(task)
        planning.plan_scoring(task)
    entries = dict.fromkeys(entry for _, entry in planning.placed)
    return Matrix(_merged(planning.placed), tuple(entries), tuple(planning.datasets.values()), _merged(planning.later))


class _Planning:
    """The runs of an experiment as they are planned, one kind of run after the other.

    ``placed`` are those that can start, ``later`` those that wait; ``datasets`` has a row for each data set, by name.
    """

    def __init__(
        self, experiment: Experiment, setting: ExecutionSetting, root: Path, say: Say, architectures: Architectures
    ) -> None:
        self.experiment, self.setting, self.root, self.say = experiment, setting, root, say
        self.architectures = architectures
        self.placed: list[PlacedPlan] = []
        self.later: list[PlacedPlan] = []
        self.datasets: dict[str, dict[str, Any]] = {}
        self.configs = {task.name: task_config(task, experiment.folder) for task in experiment.tasks}
        self.pretrainings: Pretrainings | None = None

    def plan_pretrainings(self) -> None:
        """The pretrainings; from here on ``configs`` have the tokenizers that tasks share with them."""
        experiment = self.experiment
        if not experiment.pretraining:
            return
        configs = self.configs | {
            stage.name: _text_config(experiment, stage, self.configs) for stage in experiment.pretraining
        }
        self.pretrainings = Pretrainings(experiment, configs, self.setting, self.root, self.say, self.architectures)
        self.configs = self.pretrainings.configs
        for prepared in self.pretrainings.prepare():
            self.datasets[prepared.name] = dataset_row(prepared, "")
        for planned in self.pretrainings.placed_plans():
            start = planned.plan.start
            ready = not start or self.pretrainings.is_finished(start)
            (self.placed if ready else self.later).append(planned)

    def plan_training(self, task: Task) -> None:
        """The runs of a task and its conditions that train architectures, with their trials."""
        if all(variant.checkpoint for variant in self._variants(task)):
            return
        for base, conditions in by_examples(_by_start(self.experiment, task)[0]):
            prepared = _prepared(replace(self.configs[task.name], examples=base.examples), self.setting.cache, self.say)
            if base is task:
                _check_digest(self.experiment, prepared)
                self.datasets[task.name] = dataset_row(prepared, task.primary)
            planner = Planner(
                self.experiment,
                base,
                prepared,
                self.setting,
                Calibration(self.root, self.say),
                self.root,
                self.architectures,
                conditions,
                self.pretrainings,
            )
            self.placed += planner.trials()
            self.placed += planner.ready()
            self.later += planner.later()

    def plan_finetuning(self, task: Task) -> None:
        """The runs of a task and its conditions that train external checkpoints."""
        for entry in _by_start(self.experiment, task)[1]:
            variant = external_checkpoints.find(self.architectures, entry)
            prepared, is_first = self._encoded_for(variant, task, entry.examples)
            for seed in entry.seeds:
                plan = external_checkpoints.finetuning_plan(
                    self.experiment,
                    entry,
                    variant,
                    prepared,
                    self.setting,
                    seed,
                    baselines=is_first and seed == entry.seeds[0],
                )
                placement = Placement(plan.run, task.name, entry.condition, plan.match, "compared", plan.architecture)
                self.placed.append(PlacedPlan(plan, placement))

    def plan_scoring(self, task: Task) -> None:
        """The runs of a task that score external checkpoints as they are."""
        for variant in self._variants(task):
            if variant.checkpoint is None:
                continue
            prepared, is_first = self._encoded_for(variant, task, task.examples)
            plan = external_checkpoints.scoring_plan(
                self.experiment, task, variant, prepared, self.setting, baselines=is_first
            )
            placement = Placement(plan.run, task.name, "", plan.match, "compared", plan.architecture)
            self.placed.append(PlacedPlan(plan, placement))

    def _variants(self, task: Task) -> list[Variant]:
        """The listed architectures of a task, external checkpoints among them."""
        trained = _by_start(self.experiment, task)[0][:1]
        return [self.architectures.find(name_or_path) for entry in trained for name_or_path in entry.architectures]

    def _encoded_for(self, variant: Variant, task: Task, examples: int) -> tuple[Prepared, bool]:
        """The task as a checkpoint reads it, and whether it is encoded first here and so has the baselines."""
        config = replace(task_config(task, self.experiment.folder), examples=examples)
        prepared = external_checkpoints.encoded_for(variant, config, self.setting.cache, self.say)
        is_first = task.name not in self.datasets
        self.datasets.setdefault(task.name, dataset_row(prepared, task.primary))
        return prepared, is_first


def _text_config(experiment: Experiment, stage: Pretraining, tasks: Mapping[str, TaskConfig]) -> TaskConfig:
    """The running text of a pretraining: its own data, or the texts of the task that starts from it."""
    config = task_config(stage.task, experiment.folder)
    task = task_of(stage, experiment.tasks_and_conditions)
    if task is None:
        return config
    read = tasks[task.name]
    same = {key: getattr(read, key) for key in ("data", "columns", "encoding")}
    return replace(config, texts_of=read.kind_file or read.kind, **same)


def _by_start(experiment: Experiment, task: Task) -> tuple[list[Task], list[Task]]:
    """The task and its conditions: those that train the architectures, and those that train a checkpoint."""
    entries = [task, *(condition for condition in experiment.conditions if condition.name == task.name)]
    return [entry for entry in entries if not entry.checkpoint], [entry for entry in entries if entry.checkpoint]


def by_examples(entries: Sequence[Task]) -> Iterator[tuple[Task, list[Task]]]:
    """A task and its conditions by their number of training examples: the first of each number, and the others."""
    for count in dict.fromkeys(entry.examples for entry in entries):
        base, *others = [entry for entry in entries if entry.examples == count]
        yield base if base is entries[0] else base.model_copy(update={"retuned": False}), others


def _merged(placed: Sequence[PlacedPlan]) -> tuple[Plan, ...]:
    """Every run once, with all axes that it serves; runs of the headline come first."""
    plans: dict[str, Plan] = {}
    axes = {placement.dataset: placement.match for _, placement in reversed(placed)}
    early = {placement.run for _, placement in placed if _is_headline(placement, axes)}
    for plan, _ in placed:
        known = plans.get(plan.run)
        if known is not None:
            match = dict.fromkeys((*known.match.split(","), *plan.match.split(",")))
            targets, baselines = {**plan.targets, **known.targets}, known.baselines or plan.baselines
            plan = replace(known, match=",".join(match), targets=targets, baselines=baselines)
        plans[plan.run] = replace(plan, stage=int(plan.run not in early))
    return tuple(plans.values())


def _is_headline(placement: Placement, axes: Mapping[str, str]) -> bool:
    """Whether an entry belongs to its data set's first condition, or is a trial that other runs wait for."""
    first = not placement.condition and placement.match == axes[placement.dataset]
    return (first and placement.role in ("compared", "trial")) or placement.role == "pretraining"


def _prepared(config: TaskConfig, cache: Path, say: Say) -> Prepared:
    prepared = prepare(config, cache, say)
    task_metrics.check(prepared)
    counted = ", ".join(filter(None, (_counted(prepared.notes), _sampled(prepared))))
    if counted:
        say(f"{config.name}: {counted}")
    return prepared


def _sampled(prepared: Prepared) -> str:
    """How many test examples a user's kind scores, where it is not all: its ``measure`` may look for their partners."""
    if not registry.of(prepared.config).origin or not isinstance(prepared.test, Subset):
        return ""
    scored, known = len(prepared.test), len(prepared.test.examples)
    return f"{scored:,} of {known:,} test examples are scored (test_examples)" if scored < known else ""


def _check_digest(experiment: Experiment, prepared: Prepared) -> None:
    """Raises ``InputError`` if these are not the data of the published comparison that an architecture joins."""
    against = experiment.against
    known = against.digests.get(prepared.name, "") if against else ""
    if against and known != prepared.digest:
        raise InputError(
            f"{prepared.name}: the data or their tokens are not those of {against.published} (digest "
            f"{known[:12] or 'unknown'} there, {prepared.digest[:12]} here), so no score can be compared"
        )


def _counted(notes: Mapping[str, int]) -> str:
    """What was cut, left out or unknown, in words: "287 train truncated sources"."""
    counted = [key for key in notes if any(word in key for word in REPORTED_COUNTS) and notes[key]]
    return ", ".join(f"{notes[key]:,} {key.replace('_', ' ')}" for key in counted)


def task_config(task: Task, folder: str) -> TaskConfig:
    """The part of a task that decides its encoded examples."""
    values = {field.name: getattr(task, field.name) for field in fields(TaskConfig) if hasattr(task, field.name)}
    return TaskConfig(**values, folder=folder)


def dataset_row(prepared: Prepared, primary: str) -> dict[str, Any]:
    """A data set's row: kind, origin and amount; its own primary metric if the task states none."""
    splits = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
    return {
        "dataset": prepared.name,
        "kind": prepared.kind,
        "primary": primary or prepared.primary,
        "one_answer": registry.of(prepared.config).one_answer,
        "licence": prepared.licence,
        "origin": prepared.origin,
        "digest": prepared.digest,
        "tokenizer": prepared.tokenizer.kind,
        "vocabulary": prepared.tokenizer.vocabulary,
        "source_length": prepared.config.source_length,
        "target_length": prepared.config.target_length,
        **{f"{split}_examples": len(examples) for split, examples in splits.items()},
        "train_tokens": int(budget.data_tokens(prepared.train)),
        "notes": dict(prepared.notes),
    }
