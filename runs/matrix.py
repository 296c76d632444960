"""From an experiment to its runs: data prepared, sizes fitted to the budget, one plan for every run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from architectures import catalogue
from architectures.catalogue import Variant
from architectures.size import Limits, Size, count
from runs import as_is, budget, machine, optimizer
from runs.calibrate import Calibration, Work
from runs.plan import Plan, Setting
from runs.sections import HELD, Experiment, Task
from tasks.task import prepare
from tasks.values import Prepared, TaskConfig

THREADS = 1  # of every worker process
OVERHEAD = 2.5  # seconds a run takes for reading data, metrics and records; for expected times only

TOLD = ("truncated", "excluded", "unseen", "unknown", "dropped", "seen_in_train")  # counts that a user should hear of

Say = Callable[[str], None]


@dataclass(frozen=True)
class Matrix:
    """All runs of an experiment, in its order, and a row for each of its data sets."""

    plans: tuple[Plan, ...]
    datasets: tuple[dict[str, Any], ...]


def plan(experiment: Experiment, *, device: str, deterministic: bool, cache: Path, root: Path, say: Say) -> Matrix:
    """Prepare the data, fit every size and name every run; raises ``InputError`` before anything is trained.

    What a match by time needs to measure is measured once and kept in ``root``.
    """
    plans: dict[str, Plan] = {}
    datasets = []
    rate = machine.matmul_rate(device, bf16=machine.precision("auto", device) == "bf16")
    setting = Setting(device, deterministic, THREADS, cache, rate)
    for task in experiment.tasks:
        say(f"{task.name}: preparing the data")
        places = [(place, catalogue.find(place, Path(experiment.folder))) for place in task.architectures]
        trained = [(place, variant) for place, variant in places if variant.pretrained is None]
        if trained:
            prepared = _prepared(task_config(task, experiment.folder), cache, say)
            datasets.append(dataset_row(prepared))
            planner = _Planner(experiment, task, prepared, setting, Calibration(root, say), trained)
            for one in planner.plans():
                known = plans.get(one.run)
                plans[one.run] = one if known is None else _on_both(known, one)
        for _, variant in places:
            if variant.pretrained is not None:
                prepared = as_is.prepared(task_config(task, experiment.folder), variant, cache, say)
                first = not datasets or datasets[-1]["dataset"] != task.name
                datasets += [dataset_row(prepared)] if first else []
                one = as_is.plan(experiment, task, variant, prepared, setting, references=first)
                plans[one.run] = one
    return Matrix(tuple(plans.values()), tuple(datasets))


def _prepared(config: TaskConfig, cache: Path, say: Say) -> Prepared:
    prepared = prepare(config, cache, say)
    counted = _counted(prepared.notes)
    if counted:
        say(f"{config.name}: {counted}")
    return prepared


def _on_both(known: Plan, again: Plan) -> Plan:
    """One run that serves several axes."""
    return replace(known, match=f"{known.match},{again.match}", targets={**again.targets, **known.targets})


def _counted(notes: Mapping[str, int]) -> str:
    """What was cut, left out or not known, in words: "287 train truncated sources"."""
    told = [key for key in notes if any(word in key for word in TOLD) and notes[key]]
    return ", ".join(f"{notes[key]:,} {key.replace('_', ' ')}" for key in told)


def task_config(task: Task, folder: str) -> TaskConfig:
    """The part of a task that decides its encoded examples."""
    own = {field.name: getattr(task, field.name) for field in fields(TaskConfig) if hasattr(task, field.name)}
    return TaskConfig(**own, folder=folder)


def dataset_row(prepared: Prepared) -> dict[str, Any]:
    """A data set's row: what it is, where it comes from, and how much of it there is."""
    splits = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
    tokens = int(prepared.train.source_lengths.sum() + prepared.train.target_lengths.sum())
    return {
        "dataset": prepared.name,
        "kind": prepared.kind,
        "primary": prepared.primary,
        "licence": prepared.licence,
        "origin": prepared.origin,
        "digest": prepared.digest,
        "tokenizer": prepared.tokenizer.kind,
        "vocabulary": prepared.tokenizer.vocabulary,
        "source_length": prepared.config.source_length,
        "target_length": prepared.config.target_length,
        **{f"{split}_examples": len(examples) for split, examples in splits.items()},
        "train_tokens": tokens,
        "notes": dict(prepared.notes),
    }


class _Planner:
    """Plans the runs of one task."""

    def __init__(
        self,
        experiment: Experiment,
        task: Task,
        prepared: Prepared,
        setting: Setting,
        calibration: Calibration,
        variants: Sequence[tuple[str, Variant]],
    ) -> None:
        self.experiment, self.task, self.prepared, self.setting = experiment, task, prepared, setting
        self.calibration = calibration
        self.native = task.supervision == "native"
        self.variants = variants
        self.limits = Limits(prepared.tokenizer.vocabulary, task.source_length, task.target_length)
        self.cost = budget.flops_per_token(budget.sample_lengths(prepared.train), self.native)
        self.precision = machine.precision(task.training.precision, setting.device)
        wanted = task.budget.parameters
        assert wanted is not None
        self.wanted = wanted
        self.reference = self._fit(self.variants[0][1], budget.parameters, wanted)

    def plans(self) -> Iterator[Plan]:
        """Axis by axis, architecture by architecture, seed by seed."""
        for match in self.task.budget.match:
            for position, (place, variant) in enumerate(self.variants):
                size = self._size(variant, match)
                tokens = self._tokens(variant, size, match)
                for seed in self.task.seeds:
                    first = position == 0 and seed == self.task.seeds[0]
                    yield self._plan(place, variant, size, match, tokens, seed, references=first)

    def _size(self, variant: Variant, match: str) -> Size:
        """The size that equals the reference's on this axis."""
        first = self.variants[0][1]
        if variant is first:
            return self.reference
        measure = self.cost if match == "flops" else budget.parameters
        return self._fit(variant, measure, measure(self._blank(first, self.reference)))

    def _tokens(self, variant: Variant, size: Size, match: str) -> int:
        """The training tokens that equal the reference's budget on this axis."""
        settings, first = self.task.budget, self.variants[0][1]
        if settings.seconds is not None:
            timed = (variant, size) if match == "seconds" else (first, self.reference)
            tokens = settings.seconds * self._rate(*timed)
        elif settings.flops is not None:
            tokens = settings.flops / self.cost(self._blank(first, self.reference))
        else:
            tokens = float(settings.tokens or 0)
        if match == "flops-by-tokens":
            tokens *= self.cost(self._blank(first, self.reference)) / self.cost(self._blank(variant, size))
        return max(1, round(tokens))

    def _targets(self, match: str) -> dict[str, float]:
        """The reference's figures on the axes that the match holds equal."""
        model = self._blank(self.variants[0][1], self.reference)
        tokens = self._tokens(self.variants[0][1], self.reference, match)
        figures = {
            "parameters": float(count(model).parameters),
            "tokens": float(tokens),
            "flops": tokens * self.cost(model),
            "seconds": self.task.budget.seconds or 0.0,
        }
        return {axis: figures[axis] for axis in HELD[match]}

    def _rate(self, variant: Variant, size: Size) -> float:
        work = Work(self.prepared, self.task, self.setting.device, self.precision)
        return self.calibration.rate(work, variant, size, self.limits)

    def _fit(self, variant: Variant, measure: budget.Measure, target: float) -> Size:
        width = self.task.model.width or budget.reference_width(self.wanted)
        heads = self.task.model.heads or budget.usual_heads(width)
        start = Size(width, heads, 1, 1, self.task.training.dropout)
        coarse = self.wanted >= budget.COARSE_FROM
        return budget.fit(variant.build, start, self.limits, measure, target, coarse, variant.name)

    def _blank(self, variant: Variant, size: Size) -> Any:
        return budget.blank(variant.build, size, self.limits, variant.name)

    def _scoring_flops(self, model: Any) -> float:
        """What likelihoods and answers of the test examples take, doubled for float32."""
        test = self.prepared.test
        source, target = test.source_lengths.astype(float), test.target_lengths.astype(float)
        return 4.0 * float(np.sum(model.objective.answer_flops(model, source, target)))

    def _plan(
        self, place: str, variant: Variant, size: Size, match: str, tokens: int, seed: int, references: bool
    ) -> Plan:
        model = self._blank(variant, size)
        training = self.task.training
        flops = tokens * self.cost(model)
        stepping = optimizer.flops(model, training.optimizer) * tokens / training.batch_tokens
        return Plan(
            experiment=self.experiment.name,
            architecture=variant.name,
            variant=str(Path(self.experiment.folder, place).resolve()) if place.endswith(".py") else place,
            variant_text=variant.text,
            family=variant.family,
            task=self.prepared.config,
            data=self.prepared.digest,
            vocabulary=self.limits.vocabulary,
            seed=seed,
            match=match,
            supervision=self.task.supervision,
            training=training,
            size=size,
            counts=count(model),
            targets=self._targets(match),
            tokens=tokens,
            flops=flops,
            optimizer_flops=stepping,
            device=self.setting.device,
            precision=self.precision,
            threads=self.setting.threads,
            deterministic=self.setting.deterministic,
            cache=str(self.setting.cache),
            expected_seconds=OVERHEAD + (flops + stepping + self._scoring_flops(model)) / self.setting.speed,
            description=variant.document,
            references=references,
        )
