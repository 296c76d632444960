"""Plans the pretrainings of an experiment: one tokenizer for all that start from one, a run for each architecture."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.runs.base import store
from archbench.runs.base.placement import PlacedPlan, Placement
from archbench.runs.base.plan import ExecutionSetting, Plan
from archbench.runs.experiment.sections import SCRATCH, Experiment, Pretraining, Training
from archbench.runs.experiment.starts import OWN_TEXT, task_of
from archbench.runs.experiment.validation import printable
from archbench.runs.planning import budget, external_checkpoints, isolation
from archbench.runs.planning.assembly import PlanAssembler, RunCost
from archbench.runs.planning.calibrate import Calibration
from archbench.runs.planning.fitted_sizes import FittedSizes
from archbench.runs.planning.isolation import Architectures
from archbench.runs.planning.measurements import PretrainingCost
from archbench.runs.training.pretraining_objectives import OWN, has_source_loss, sentinel_count
from archbench.runs.training.weight_transfer import weights_for_stacks
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared, TaskConfig
from archbench.tasks.data.overlap import WORDS
from archbench.tasks.kinds import seen_in, shared_tokenizer
from archbench.tasks.kinds.task import prepare

ROLE = "pretraining"
COSTS = {"flops-by-tokens": "flops", "loss-tokens": "loss_tokens"}  # of a token that is read, by axis


class Pretrainings:
    """The pretraining runs of an experiment. ``configs`` are those of its tasks and pretrainings, by name."""

    def __init__(
        self,
        experiment: Experiment,
        configs: Mapping[str, TaskConfig],
        setting: ExecutionSetting,
        root: Path,
        say: Say,
        architectures: Architectures,
    ) -> None:
        self.experiment, self.setting, self.root, self.architectures = experiment, setting, root, architectures
        self.say = say
        self.configs = self._sharing(configs)
        self.prepared: dict[str, Prepared] = {}
        self._sizes: dict[str, FittedSizes] = {}
        self._assemblers: dict[str, PlanAssembler] = {}
        self._plans: dict[tuple[str, str, int, int | None], Plan] = {}  # many tasks start from the same run
        self._compared: set[str] = set()  # texts and tasks, by the key of their overlap

    def prepare(self) -> list[Prepared]:
        """The encoded data of every pretraining; raises ``InputError`` where they cannot serve."""
        for stage in self.experiment.pretraining:
            self.say(f"{stage.name}: preparing the text")
            with _naming_pretrainings(self.experiment):
                prepared = prepare(self.configs[stage.name], self.setting.cache, self.say)
            self.prepared[stage.name] = prepared
            self._assemblers[stage.name] = PlanAssembler(self.experiment.name, prepared, self.setting)
            limits = Limits(prepared.tokenizer.vocabulary, stage.task.source_length, stage.task.target_length)
            first = self.architectures.find(stage.task.architectures[0])
            where = self.setting.device, Calibration(self.root, self.say), limits
            self._sizes[stage.name] = FittedSizes(
                first, prepared, *where, self.architectures.measurements, self.setting.cache
            )
            self._check_overlap(stage)
            self._say_of_sizes(stage)
            self._say_of_axes(stage)
            if not self._is_used(stage.name):
                self.say(f"{stage.name}: nothing starts from it; it is trained for its likelihood alone")
        return list(self.prepared.values())

    def _say_of_sizes(self, stage: Pretraining) -> None:
        """Says which tasks also train models of another size from scratch."""
        entries = self.experiment.tasks_and_conditions
        size = stage.task.budget.parameters
        for name in dict.fromkeys(task.name for task in entries if task.start == stage.name):
            scratch = [task for task in entries if task.name == name and task.start == SCRATCH and not task.checkpoint]
            others = dict.fromkeys(f"{task.budget.parameters:,}" for task in scratch if task.budget.parameters != size)
            if others:
                sizes = f"{size:,} parameters, models from scratch {', '.join(others)}"
                self.say(f"{name}: models that start from {stage.name} have {sizes}: they also differ in size")

    def _say_of_axes(self, stage: Pretraining) -> None:
        """Says which runs are matched in another way than the pretraining that they start from."""
        axis = stage.task.budget.match[0]
        others: dict[str, list[str]] = {}
        for task in self.experiment.tasks_and_conditions:
            if task.start == stage.name:
                others.setdefault(task.name, []).extend(other for other in task.budget.match if other != axis)
        for name, axes in others.items():
            if axes:
                matched = " and ".join(dict.fromkeys(axes))
                text = f"the pretraining {stage.name}, which is matched by {axis}"
                self.say(f"{name}: runs matched by {matched} start from {text}")

    def _is_used(self, name: str) -> bool:
        tasks = self.experiment.tasks_and_conditions
        return any(task.start == name for task in tasks) or any(
            stage.before == name for stage in self.experiment.pretraining
        )

    def placed_plans(self) -> list[PlacedPlan]:
        """A run for each pretraining, architecture and seed, after the run that it goes on from."""
        return [
            placed
            for stage in self.experiment.pretraining
            for name_or_path in stage.task.architectures
            for seed in stage.task.seeds
            for placed in self._placed(stage, name_or_path, seed)
        ]

    def _placed(self, stage: Pretraining, name_or_path: str, seed: int) -> Iterator[PlacedPlan]:
        before = self._before(stage, name_or_path, seed)
        if before is not None and stage.share is not None:
            words = f"{1 - stage.share:.4g} of the tokens of {stage.name}"
            placement = Placement(before.run, stage.before, words, before.match, ROLE, before.architecture)
            yield PlacedPlan(before, placement)
        plan = self._plan(stage, name_or_path, seed)
        yield PlacedPlan(plan, Placement(plan.run, stage.name, "", plan.match, ROLE, plan.architecture))

    def _before(self, stage: Pretraining, name_or_path: str, seed: int) -> Plan | None:
        """The run that a pretraining goes on from."""
        if not stage.before:
            return None
        architecture, tokens = stage.before_architecture or name_or_path, stage.task.budget.tokens or 0
        if stage.share is None:
            return self.start(stage.before, architecture, seed)
        return self._plan(self._named(stage.before), architecture, seed, tokens - round(stage.share * tokens))

    def _named(self, name: str) -> Pretraining:
        return next(stage for stage in self.experiment.pretraining if stage.name == name)

    def start(self, name: str, name_or_path: str, seed: int) -> Plan:
        """The pretraining run that a run of this architecture with this seed starts from.

        It has the same seed; where that was not pretrained with, one of those that were.
        """
        stage = self._named(name)
        seeds = stage.task.seeds
        return self._plan(stage, name_or_path, seed if seed in seeds else seeds[seed % len(seeds)])

    def is_finished(self, run: str) -> bool:
        """Whether a pretraining run has ended, with weights to start from."""
        return store.is_finished(store.run_folder(self.root, run), weights=True)

    def _plan(self, stage: Pretraining, name_or_path: str, seed: int, spent: int | None = None) -> Plan:
        """A pretraining run; on ``spent`` tokens where another goes on from it."""
        key = stage.name, name_or_path, seed, spent
        if key not in self._plans:
            self._plans[key] = self._planned(stage, name_or_path, seed, spent)
        return self._plans[key]

    def _planned(self, stage: Pretraining, name_or_path: str, seed: int, spent: int | None) -> Plan:
        task, config, variant = stage.task, self.configs[stage.name], self.architectures.find(name_or_path)
        prepared, sizes = self.prepared[stage.name], self._sizes[stage.name]
        limits = Limits(prepared.tokenizer.vocabulary, task.source_length, task.target_length)
        before, measured = self._before(stage, name_or_path, seed), self.architectures.measurements(variant)
        size = replace(before.size, dropout=0.0) if before else sizes.size(task, variant, "parameters")
        if before:
            self._check_conversion(stage, name_or_path, size, limits)
        try:
            cost = measured.pretraining(config, self.setting.cache, stage.objective, stage.mask_rate, size)
        except InputError as error:
            raise InputError(f"pretraining.{stage.name}.{error}") from None
        tokens = task.budget.tokens or 0
        if spent is not None:
            tokens = spent
        elif stage.share is not None:
            tokens = round(stage.share * tokens)
        tokens = round(tokens * self._factor(stage, cost))
        budget.check_epochs(f"pretraining.{stage.name}", task.budget.epochs, variant.name, tokens, prepared.train)
        training = Training.of(task.training)
        update = measured.optimizer_flops(size, limits, training.optimizer)
        lengths = prepared.test.source_lengths.astype(float), prepared.test.target_lengths.astype(float)
        counts = measured.counts(size, limits)
        plan = self._assemblers[stage.name].plan(
            variant,
            isolation.variant_id(name_or_path, variant),
            training,
            RunCost(
                tokens=tokens,
                flops=tokens * cost.flops,
                loss_tokens=tokens * cost.loss_tokens,
                optimizer_flops=update * tokens / training.batch_tokens,
                scoring_flops=external_checkpoints.SCORING * measured.answer_flops(size, limits, lengths),
            ),
            size=replace(size, dropout=training.dropout),
            counts=counts,
            seed=seed,
            match=task.budget.match[0],
            supervision="native" if has_source_loss(cost.objective) else "target",
            precision=sizes.precision(task),
        )
        return replace(
            plan,
            targets={"parameters": float(counts.parameters), "tokens": float(tokens)},
            heads=measured.heads(size, limits),
            foreign=catalogue.is_foreign(name_or_path),
            sampled=measured.is_sampled(size, limits),
            start=before.run if before else "",
            start_name=stage.before,
            pretraining_tokens=before.total_tokens if before else 0.0,
            pretraining_flops=before.total_flops if before else 0.0,
            objective=cost.objective,
            mask_rate=stage.mask_rate,
        )

    def _check_conversion(self, stage: Pretraining, name_or_path: str, size: Size, limits: Limits) -> None:
        """Raises ``InputError`` where an architecture cannot begin with the weights that a pretraining goes on from."""
        variants = [self.architectures.find(name) for name in (stage.before_architecture or name_or_path, name_or_path)]
        old, new = (self.architectures.measurements(variant).weights(size, limits) for variant in variants)
        if different := new ^ set(weights_for_stacks({name: name for name in old}, new)):
            first, second = (variant.name for variant in variants)
            raise InputError(
                f"pretraining.{stage.name}.from_architecture: weights of {first} do not fit {second} "
                f"({', '.join(sorted(different)[:2])}); a single stack can become a decoder, an encoder, a prefix "
                "decoder or an encoder-decoder"
            )

    def _factor(self, stage: Pretraining, cost: PretrainingCost) -> float:
        """The tokens of a run over the budget: on another axis than tokens, equal to the first architecture's."""
        quantity = COSTS.get(stage.task.budget.match[0])
        if quantity is None:
            return 1.0
        name = self.experiment.architectures[0]
        variant, config = self.architectures.find(name), self.configs[stage.name]
        size = self._sizes[stage.name].size(stage.task, variant, "parameters")
        usual = self.architectures.measurements(variant).pretraining(config, self.setting.cache, {OWN: 1.0}, None, size)
        return float(getattr(usual, quantity)) / float(getattr(cost, quantity))

    def _check_overlap(self, stage: Pretraining) -> None:
        """Says how much of the tasks' tests stands in the text of a pretraining or of one that it goes on from.

        Each text is compared with each task once. Raises ``InputError`` where too much does.
        """
        starts = {task.name for task in self.experiment.tasks_and_conditions if task.start == stage.name}
        for text, name in product(self._chain(stage), sorted(starts)):
            configs = self.configs[text.name], self.configs[name]
            if (key := seen_in.key(*configs)) in self._compared:
                continue
            self._compared.add(key)
            overlap = seen_in.overlap_of(*configs, self.setting.cache, self.say)
            many = f"{overlap.seen:,} of {overlap.checked:,} test texts of {name} occur in its text"
            if overlap.too_much and not self._is_own_text(text, name):
                raise InputError(
                    f"pretraining.{text.name}.data: {many} (half of their {WORDS}-word sequences; shorter ones whole), "
                    f"for example {printable(overlap.example[:60])}; take them out of the text, or pretrain on another"
                )
            self.say(f"{text.name}: {many}")

    def _is_own_text(self, stage: Pretraining, name: str) -> bool:
        """Whether a pretraining reads the training texts of the task ``name``, which trains on them in any case."""
        if stage.task.data != OWN_TEXT:
            return False
        owner = task_of(stage, self.experiment.tasks_and_conditions)
        return owner is not None and owner.name == name

    def _chain(self, stage: Pretraining) -> Iterator[Pretraining]:
        """A pretraining and those whose weights it goes on from."""
        yield stage
        if stage.before:
            yield from self._chain(self._named(stage.before))

    def _sharing(self, configs: Mapping[str, TaskConfig]) -> dict[str, TaskConfig]:
        """The configurations with their tokenizers: what is joined by a start shares one."""
        shared = dict(configs)
        for names in _joined(self.experiment):
            joined = [stage for stage in self.experiment.pretraining if stage.name in names]
            first = joined[0]
            for stage in joined[1:]:
                if (stage.task.tokenizer, stage.task.vocabulary) != (first.task.tokenizer, first.task.vocabulary):
                    raise InputError(
                        f"pretraining.{stage.name}.tokenizer: tasks start from {first.name} and {stage.name}, which "
                        "therefore share a tokenizer; give both the same tokenizer and vocabulary"
                    )
            where = self.setting.cache, self.say
            with _naming_pretrainings(self.experiment):
                path = shared_tokenizer.trained_file(
                    [configs[name] for name in names], first.task.tokenizer, first.task.vocabulary, *where
                )
            for name in names:
                shared[name] = replace(
                    configs[name], tokenizer=first.task.tokenizer, vocabulary=0, shared_tokenizer=str(path)
                )
        for stage in self.experiment.pretraining:
            count = sentinel_count(stage.task.source_length + stage.task.target_length)
            shared[stage.name] = replace(shared[stage.name], sentinels=count)
        return shared


@contextmanager
def _naming_pretrainings(experiment: Experiment) -> Iterator[None]:
    """Errors say `pretraining.NAME.` for `tasks.NAME.`: the text of a pretraining is read like the data of a task."""
    try:
        yield
    except InputError as error:
        message = str(error)
        for stage in experiment.pretraining:
            message = message.replace(f"tasks.{stage.name}.", f"pretraining.{stage.name}.", 1)
        raise InputError(message) from error


def _joined(experiment: Experiment) -> list[list[str]]:
    """The names of pretrainings and of the tasks that start from them, together where a start joins them."""
    groups = [{stage.name} for stage in experiment.pretraining]
    starts: dict[str, set[str]] = {}
    for task in experiment.tasks_and_conditions:
        if task.start != SCRATCH and not task.checkpoint:
            starts.setdefault(task.name, {task.name}).add(task.start)
    for stage in experiment.pretraining:
        if stage.before:
            starts.setdefault(stage.name, {stage.name}).add(stage.before)
    for names in starts.values():
        meeting = [group for group in groups if group & names]
        groups = [group for group in groups if group not in meeting] + [set().union(names, *meeting)]
    order = [*(stage.name for stage in experiment.pretraining), *(task.name for task in experiment.tasks)]
    return [[name for name in order if name in group] for group in groups]
