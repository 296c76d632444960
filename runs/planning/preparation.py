"""The data of an experiment, encoded as its runs read them, and what users should hear of them.

Pretrainings and the tasks that start from them share a tokenizer. A checkpoint reads a task with its own.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from archbench.architectures.families.size import Limits
from archbench.architectures.families.variant import Variant
from archbench.runs.budgets import budget
from archbench.runs.experiment.sections import BETWEEN_MEASURES, ONCE, SCRATCH, Experiment, Pretraining, Task
from archbench.runs.experiment.starts import task_of
from archbench.runs.experiment.validation import printable
from archbench.runs.scoring import task_metrics
from archbench.runs.training.pretraining_objectives import sentinel_count
from archbench.tasks.base import files
from archbench.tasks.base.dataset import SPLITS
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared, TaskConfig
from archbench.tasks.data.overlap import WORDS
from archbench.tasks.kinds import registry, seen_in, shared_tokenizer
from archbench.tasks.kinds.task import prepare
from archbench.tasks.text.splits import Subset

# parts of the names of counts that a user should hear of
REPORTED_COUNTS = (
    *("truncated", "excluded", "unseen", "unknown", "dropped", "seen_in_train", "differ_in_case"),
    *("rows_of_equal_texts", "text_in_pieces"),
)
# the counts that are told of a checkpoint's encoding
CHECKPOINT_COUNTS = ("test_truncated_sources", "test_excluded_targets", "test_unknown_tokens")


class Preparation:
    """Encodes the data of an experiment. ``rows`` has a row for each data set that was encoded, by name."""

    def __init__(self, experiment: Experiment, cache: Path, say: Say) -> None:
        self.experiment, self.cache, self.say = experiment, cache, say
        self.rows: dict[str, dict[str, Any]] = {}
        self.texts: dict[str, Prepared] = {}  # of pretrainings
        self._stages = {stage.name: stage for stage in experiment.pretraining}
        self._compared = set[str]()  # texts and tasks, by the key of their overlap
        self._configs = {task.name: task_config(task, experiment.folder) for task in experiment.tasks}
        if experiment.pretraining:
            self._configs = self._with_shared_tokenizers()
        for stage in experiment.pretraining:
            say(f"{stage.name}: preparing the text")
            with self._naming_pretrainings():
                self.texts[stage.name] = prepare(self._configs[stage.name], cache, say)
            self._check_overlap(stage)
            self._say_of_starts(stage)
        self.rows |= {stage.name: _row(self.texts[stage.name], stage.task) for stage in experiment.pretraining}

    def for_task(self, task: Task, entry: Task) -> Prepared:
        """The data of ``entry``: the task, or a condition with another number of examples. Raises ``InputError``.

        All examples where each seed draws its own.
        """
        examples = entry.examples if entry.draw == ONCE else 0
        prepared = prepare(replace(self._configs[task.name], examples=examples), self.cache, self.say)
        task_metrics.check(prepared)
        reported = [key for key in prepared.notes if any(word in key for word in REPORTED_COUNTS)]
        if lines := list(filter(None, (_counted(prepared.notes, reported), _sampled(prepared)))):
            self.say(f"{task.name}: {', '.join(lines)}")
        if entry is task:
            if against := self.experiment.against:
                check_data(task.name, against.digests.get(task.name, ""), prepared.digest)
            self.rows[task.name] = _row(prepared, task)
        return prepared

    def for_checkpoint(self, variant: Variant, task: Task) -> tuple[Prepared, bool]:
        """The task as a checkpoint reads it, and whether it is encoded first here and so has the baselines.

        A copy of the checkpoint's tokenizer is kept in the cache.
        """
        assert variant.checkpoint is not None
        text = variant.checkpoint.tokenizer
        path = self.cache / "tokenizers" / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
        if not path.is_file() or path.read_bytes() != text.encode():
            files.write_text(path, text)
        self.say(f"{task.name}: encoding for {variant.name} with its own tokenizer")
        config = task_config(task, self.experiment.folder)
        own = replace(config, tokenizer="pretrained", vocabulary=0, pretrained=str(path.resolve()))
        prepared = prepare(own, self.cache)
        task_metrics.check(prepared)
        if counted := _counted(prepared.notes, CHECKPOINT_COUNTS):
            self.say(f"{task.name}: {variant.name}: {counted}")
        _check_length(variant, prepared)
        is_first = task.name not in self.rows
        self.rows.setdefault(task.name, _row(prepared, task))
        return prepared, is_first

    def _say_of_starts(self, stage: Pretraining) -> None:
        """Says which runs differ from what they start from or are compared with in size or axis."""
        entries, held = self.experiment.tasks_and_conditions, stage.task.budget
        size, axis = held.parameters, held.match[0]
        starting = [task for task in entries if task.start == stage.name]
        names = dict.fromkeys(task.name for task in starting)
        for name in names:
            scratch = [task for task in entries if task.name == name and task.start == SCRATCH and not task.checkpoint]
            others = dict.fromkeys(f"{task.budget.parameters:,}" for task in scratch if task.budget.parameters != size)
            if others:
                sizes = f"{size:,} parameters, models from scratch {', '.join(others)}"
                self.say(f"{name}: models that start from {stage.name} have {sizes}: they also differ in size")
        for name in names:
            axes = dict.fromkeys(other for task in starting if task.name == name for other in task.budget.match)
            if further := [other for other in axes if other != axis]:
                text = f"the pretraining {stage.name}, which is matched by {axis}"
                self.say(f"{name}: runs matched by {' and '.join(further)} start from {text}")
        if not starting and not any(after.before == stage.name for after in self.experiment.pretraining):
            self.say(f"{stage.name}: nothing starts from it; it is trained for its likelihood alone")

    def _check_overlap(self, stage: Pretraining) -> None:
        """Says how much of the tasks' tests stands in the text of a pretraining or of one that it goes on from.

        Raises ``InputError`` where too much does.
        """
        entries, chain = self.experiment.tasks_and_conditions, [stage]
        while chain[-1].before:
            chain.append(self._stages[chain[-1].before])
        for text, name in product(chain, sorted({task.name for task in entries if task.start == stage.name})):
            configs = self._configs[text.name], self._configs[name]
            if (key := seen_in.key(*configs)) in self._compared:
                continue
            self._compared.add(key)
            overlap = seen_in.overlap_of(*configs, self.cache, self.say)
            many = f"{overlap.seen:,} of {overlap.checked:,} test texts of {name} occur in its text"
            own = task_of(text, entries)  # its training texts are read in any case
            if overlap.too_much and (own is None or own.name != name):
                raise InputError(
                    f"pretraining.{text.name}.data: {many} (half of their {WORDS}-word sequences; shorter ones whole), "
                    f"for example {printable(overlap.example[:60])}; take them out of the text, or pretrain on another"
                )
            self.say(f"{text.name}: {many}")

    def _with_shared_tokenizers(self) -> dict[str, TaskConfig]:
        """The configurations with those of pretrainings; what is joined by a start shares a tokenizer."""
        stages = self.experiment.pretraining
        configs = self._configs | {stage.name: self._text_config(stage) for stage in stages}
        for names in _joined(self.experiment):
            first, *others = [stage.task for stage in stages if stage.name in names]
            for task in others:
                if (task.tokenizer, task.vocabulary) != (first.tokenizer, first.vocabulary):
                    raise InputError(
                        f"pretraining.{task.name}.tokenizer: tasks start from {first.name} and {task.name}, which "
                        "therefore share a tokenizer; give both the same tokenizer and vocabulary"
                    )
            sharing, settings = [configs[name] for name in names], (first.tokenizer, first.vocabulary)
            with self._naming_pretrainings():
                path = shared_tokenizer.trained_file(sharing, *settings, self.cache, self.say)
            for config in sharing:
                shared = replace(config, tokenizer=first.tokenizer, vocabulary=0)
                configs[config.name] = replace(shared, shared_tokenizer=str(path))
        for stage in stages:
            count = sentinel_count(stage.task.source_length + stage.task.target_length)
            configs[stage.name] = replace(configs[stage.name], sentinels=count)
        return configs

    def _text_config(self, stage: Pretraining) -> TaskConfig:
        """The running text of a pretraining: its own data, or the texts of the task that starts from it."""
        config = task_config(stage.task, self.experiment.folder)
        task = task_of(stage, self.experiment.tasks_and_conditions)
        if task is None:
            return config
        read = self._configs[task.name]
        config = replace(config, data=read.data, columns=read.columns, encoding=read.encoding)
        return replace(config, texts_of=read.kind_file or read.kind)

    @contextmanager
    def _naming_pretrainings(self) -> Iterator[None]:
        """Errors say `pretraining.NAME.` for `tasks.NAME.`: the text of a pretraining is read like a task's data."""
        try:
            yield
        except InputError as error:
            message = str(error)
            for stage in self.experiment.pretraining:
                message = message.replace(f"tasks.{stage.name}.", f"pretraining.{stage.name}.", 1)
            raise InputError(message) from error


def check_data(dataset: str, published: str, here: str) -> None:
    """Raises ``InputError`` if these digests differ: of the data set's published tokens ("" if unknown) and of ours."""
    if published != here:
        raise InputError(
            f"{dataset}: the data or their tokens are not the published ones (digest {published[:12] or 'unknown'} "
            f"there, {here[:12]} here), so no score can be compared; use the data that the tables describe"
        )


def task_config(task: Task, folder: str) -> TaskConfig:
    """The part of a task that decides its encoded examples."""
    values = {field.name: getattr(task, field.name) for field in fields(TaskConfig) if hasattr(task, field.name)}
    few = {"examples": task.examples if task.draw == ONCE else 0, "validation_examples": 0}  # each seed draws its own
    return TaskConfig(**values | few, folder=folder)


def _check_length(variant: Variant, prepared: Prepared) -> None:
    """Raises ``InputError`` where a checkpoint is too short for the task."""
    assert variant.checkpoint is not None
    room, config = variant.checkpoint.length, prepared.config
    needed = Limits(prepared.tokenizer.vocabulary, config.source_length, config.target_length).length
    if room is not None and needed > room:
        raise InputError(
            f"{variant.path}: has room for {room - 1} tokens of source and target, but {prepared.name} needs "
            f"{needed - 1}; shorten its context, source_length or target_length"
        )


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


def _sampled(prepared: Prepared) -> str:
    """How many test examples a user's kind scores, where it is not all: its ``measure`` may look for their partners."""
    if not registry.of(prepared.config).origin or not isinstance(prepared.test, Subset):
        return ""
    scored, known = len(prepared.test), len(prepared.test.examples)
    return f"{scored:,} of {known:,} test examples are scored (test_examples)" if scored < known else ""


def _counted(notes: Mapping[str, int], keys: Iterable[str]) -> str:
    """Words for what was cut, left out or unknown: "287 train truncated sources"."""
    return ", ".join(f"{notes[key]:,} {key.replace('_', ' ')}" for key in keys if notes.get(key))


def _row(prepared: Prepared, task: Task) -> dict[str, Any]:
    """A data set's row: kind, primary measures, origin and amount."""
    return {
        "dataset": prepared.name,
        "kind": prepared.kind,
        "primary": BETWEEN_MEASURES.join(task.primary),
        "one_answer": registry.of(prepared.config).one_answer,
        "licence": prepared.licence,
        "origin": prepared.origin,
        "digest": prepared.digest,
        "tokenizer": prepared.tokenizer.kind,
        "vocabulary": prepared.tokenizer.vocabulary,
        "source_length": prepared.config.source_length,
        "target_length": prepared.config.target_length,
        **{f"{split}_examples": len(getattr(prepared, split)) for split in SPLITS},
        "train_tokens": int(budget.data_tokens(prepared.train)),
        "notes": dict(prepared.notes),
    }
