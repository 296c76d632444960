"""Fills in the defaults of an experiment file and checks its tables against each other."""

import math
import os
import re
import tomllib
from importlib import resources
from pathlib import PurePath
from typing import Any, get_args

from archbench.runs.experiment import starts
from archbench.runs.experiment.conditions import HOW_LONG, conditions, merged, merged_budget
from archbench.runs.experiment.sections import (
    DEFAULT_CONTRASTS,
    TRANSFER,
    Budget,
    Data,
    Experiment,
    ExperimentEntry,
    Model,
    Task,
    TaskEntry,
    Tokenizer,
    TrainingEntry,
    checkpoint_name,
    is_checkpoint,
)
from archbench.runs.experiment.validation import nearest, printable, validated
from archbench.tasks.base import fixed_environment
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.builtin_data import builtin
from archbench.tasks.data.sources import is_accepted
from archbench.tasks.kinds import registry
from archbench.tasks.metrics import registry as metrics
from archbench.tasks.metrics.builtin import BUILTIN

VOCABULARIES: dict[Tokenizer, int] = {"char": 0, "byte": 0, "word": 2048, "bpe": 2048}
STEPS = 500  # of a small budget, if batch_tokens is not given
BATCH_TOKENS = (512, 4096)
BPE_FLOOR = 300  # 256 bytes, the special tokens, some labels


def resolve(data: dict[str, Any], folder: str) -> Experiment:
    """The experiment in ``data``, which is shaped like an experiment file in ``folder``; raises ``InputError``."""
    entry = validated(ExperimentEntry, data)
    if entry.environment:
        fixed_environment.require(entry.environment)
    resolved = [(task, _task(task, entry, folder, f"tasks[{i}]")) for i, task in enumerate(entry.tasks)]
    pretrainings = starts.pretrainings(entry, lambda task, general, place: _task(task, general, folder, place))
    tasks, start_conditions = starts.expand(resolved, pretrainings)
    _check_names(tasks)
    _check_baselines(tasks)
    _check_metrics(tasks)
    _check_margins(entry.margins, tasks)
    _check_architectures(entry, tasks)
    _check_alternatives(entry, tasks)
    return Experiment(
        name=entry.name,
        architectures=entry.architectures,
        seeds=entry.seeds,
        tasks=tasks,
        conditions=(*start_conditions, *_conditions(entry, tasks)),
        pretraining=pretrainings,
        controls=_controlled(entry, tasks),
        contrasts=DEFAULT_CONTRASTS if entry.contrasts is None else entry.contrasts,
        margins=entry.margins,
        folder=folder,
        environment=entry.environment,
    )


def _conditions(entry: ExperimentEntry, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """The conditions; no two may be the same for a task, and each must change the task."""
    resolved = conditions(entry.conditions, tasks)
    for index, task in enumerate(resolved):
        check_task(task, f"conditions ({task.name})")
        if task.retuned:
            _check_tuning(task, f"conditions ({task.name})")
        if any(task == other for other in (*tasks, *resolved[:index])):
            raise InputError(
                f'conditions: "{task.condition}" on {task.name} is given twice; remove it, or change something'
                if task.condition
                else f"conditions: a condition changes nothing on {task.name}; remove it, or change something"
            )
    return resolved


def _check_reading(task: Task, kind: TaskKind, place: str) -> None:
    """Some kinds accept only some tokenizers, or need whole sources."""
    if task.tokenizer not in kind.tokenizers:
        allowed = " or ".join(f'"{name}"' for name in kind.tokenizers)
        tokenizer = printable(task.tokenizer)
        raise InputError(f"{place}.tokenizer: {tokenizer}: {kind.name} needs {allowed}; remove this key")
    if task.source_length < kind.shortest_source and kind.form != "running text":
        raise InputError(
            f"{place}.source_length: {task.source_length}: a source of {kind.name} has {kind.shortest_source} tokens; "
            "remove this key"
        )


def _controlled(entry: ExperimentEntry, tasks: tuple[Task, ...]) -> tuple[str, ...]:
    """The tasks that have controls."""
    names = tuple(task.name for task in tasks)
    if isinstance(entry.controls, bool):
        return names if entry.controls else ()
    for name in entry.controls:
        if name not in names:
            raise InputError(f"controls: no task {printable(name)}{nearest(name, names)}")
    return entry.controls


def _check_tuning(task: Task, place: str) -> None:
    """Trials choose only settings that the task does not state, and have seeds of their own."""
    transfers, width = task.training.learning_rate == TRANSFER, task.tuning.width if task.tuning else None
    for key in ("learning_rate", "dropout"):
        if task.retuned and key in task.fixed and not (transfers and key == "learning_rate"):
            raise InputError(f"{place}: training.{key} and tuning are given; keep only one")
    if width is not None and not transfers:
        raise InputError(
            f"{place}.tuning.width: {width}: the rates of trials at a smaller width need training.learning_rate = "
            f'"{TRANSFER}"; add that, or remove this key'
        )
    _check_share(task, place)
    check_tuning_seeds(task)


def _check_share(task: Task, place: str) -> None:
    """Trials read at least one batch."""
    tokens, share = task.budget.tokens, task.tuning.share if task.tuning else 1.0
    if tokens is not None and share < 1 and tokens * share < task.training.batch_tokens:
        raise InputError(
            f"{place}.tuning.share: {share:g}: trials of {tokens * share:,.0f} tokens are less than one batch; "
            f"expected at least {task.training.batch_tokens / tokens:.2g}"
        )


def check_tuning_seeds(task: Task) -> None:
    """Raises ``InputError`` where a trial and a reported run of ``task`` would have the same seed."""
    shared = sorted(set(task.tuning.seeds) & set(task.seeds)) if task.tuning else []
    if shared:
        raise InputError(f"tuning.seeds: {shared[0]} is a seed of the reported runs of {task.name}; choose another")


def _check_architectures(entry: ExperimentEntry, tasks: tuple[Task, ...]) -> None:
    """Contrasts and tuned recipes name architectures that are entered somewhere."""
    listed_names = [entry.architectures, *(task.architectures for task in tasks)]
    listed_names += [listed.architectures for listed in entry.conditions if listed.architectures]
    entered = [name for listed in listed_names for name in listed]
    known = list(dict.fromkeys(variant_name(name) for name in entered))
    for position, pair in enumerate(entry.contrasts or ()):
        if pair[::-1] in (entry.contrasts or ())[:position]:
            named = f"{printable(pair[1])}, {printable(pair[0])}"
            raise InputError(f"contrasts[{position}]: the pair {named} is given twice")
        for name in pair:
            if name not in known:
                raise InputError(f"contrasts[{position}]: no architecture {printable(name)}{nearest(name, known)}")
    starts_named = [checkpoint_name(start) for task in entry.tasks for start in task.start if is_checkpoint(start)]
    for position, task in enumerate(entry.tasks):
        by_start = {f"tuned_starts.{start}": names for start, names in task.tuned_starts.items()}
        for key, names in {"tuned": task.tuned, **by_start}.items():
            for name in names:
                if name not in (*known, *starts_named):
                    unknown = f"no architecture of that name{nearest(name, known)}"
                    raise InputError(f"tasks[{position}].{key}.{name}: {unknown}")


def _check_alternatives(entry: ExperimentEntry, tasks: tuple[Task, ...]) -> None:
    """Alternatives belong to architectures that are entered, and trials choose among them."""
    lists = [entry.architectures, *(task.architectures for task in tasks)]
    lists += [condition.architectures for condition in entry.conditions if condition.architectures]
    entered = [name for listed in lists for name in listed]
    keys = {f"tasks[{position}].alternatives": task.alternatives or {} for position, task in enumerate(entry.tasks)}
    for key, alternatives in {"alternatives": entry.alternatives, **keys}.items():
        for name, others in alternatives.items():
            if name not in entered:
                raise InputError(f"{key}.{name}: no architecture of that name is entered{nearest(name, entered)}")
            if name in others:
                raise InputError(f"{key}.{name}: {printable(name)} is compared anyway; list the others only")
    for task in tasks:
        chosen = [name for name in task.architectures if name in task.alternatives]
        if chosen and task.tuning is None:
            where = f"alternatives.{chosen[0]}: trials choose among alternatives"
            raise InputError(f"{where}, but the task {printable(task.name)} has no trials; add [tuning]")


def _check_margins(margins: dict[str, float], tasks: tuple[Task, ...]) -> None:
    named = (metrics.name_of(listed) for task in tasks for listed in task.metrics)
    known = dict.fromkeys((*(name for name, metric in BUILTIN.items() if metric.margin), *named))
    for name in margins:
        if name not in known:
            raise InputError(f"margins.{name}: unknown metric{nearest(name, known)}")


def check_task(task: Task, place: str) -> None:
    """Raises ``InputError`` where the settings of one resolved task contradict each other."""
    _check_budget(task.budget, task.training, place)
    _check_supervision(task, place)
    _check_model(task.model, place)
    _check_transfer(task, place)
    _check_devices(task, place)


def _task(entry: TaskEntry, experiment: ExperimentEntry, folder: str, place: str) -> Task:
    kind = _kind(entry, folder, place)
    tokenizer = entry.tokenizer or _usual(kind)
    context, source, target = _lengths(entry, kind, place)
    budget = merged_budget(experiment.budget, entry.budget)
    task = Task(
        kind=kind.name,
        kind_file=entry.kind if entry.kind is not None and registry.is_file(entry.kind) else "",
        name=_name(entry, place),
        data=entry.data,
        columns=_columns(entry, kind, place),
        tokenizer=tokenizer,
        vocabulary=_vocabulary(entry.vocabulary, tokenizer, place),
        encoding=entry.encoding,
        context=context,
        source_length=source,
        target_length=target,
        test_examples=entry.test_examples or kind.test_examples,
        architectures=entry.architectures or experiment.architectures,
        seeds=entry.seeds or experiment.seeds,
        supervision=entry.supervision or experiment.supervision,
        budget=budget,
        model=merged(experiment.model, entry.model),
        training=_with_batches(merged(experiment.training, entry.training), budget),
        tuned=entry.tuned,
        tuning=None if entry.tuned or entry.tuned_starts else entry.tuning or experiment.tuning,
        baseline=entry.baseline or "",
        primary=_primary(entry, kind, place),
        metrics=_metrics(entry, kind, folder, f"{place}.metrics"),
        alternatives=experiment.alternatives if entry.alternatives is None else entry.alternatives,
    )
    check_task(task, place)
    for key in ("tuned", "tuned_starts"):
        if getattr(entry, key) and entry.tuning:
            raise InputError(f"{place}: {key} and tuning are given; keep only one")
    _check_tuning(task, place)
    _check_reading(task, kind, place)
    return task


def _kind(entry: TaskEntry, folder: str, place: str) -> TaskKind:
    """The kind that the entry names or, without one, the default kind of the built-in data."""
    kinds = registry.kinds_served_by(entry.data)
    if entry.kind is None:
        if not kinds:
            known = " or ".join(registry.BUILTIN)
            raise InputError(f"{place}.kind: missing; expected {known}{_unknown(entry.data)}")
        return registry.BUILTIN[kinds[0]]
    kind = registry.find(entry.kind, folder, f"{place}.kind")
    if not is_accepted(kind, entry.data):
        raise InputError(f'{place}.kind: "{kind.name}" accepts only {printable(kind.only_data)}; set data to that')
    if kinds and registry.builtin_kind(kind, entry.data) is None:
        raise InputError(
            f"{place}.data: the built-in {printable(entry.data)} is for {' or '.join(kinds)}, not for {kind.name}; "
            "choose other data (archbench list tasks prints the built-in ones)"
        )
    return kind


def _usual(kind: TaskKind) -> Tokenizer:
    return next(name for name in get_args(Tokenizer) if name == kind.tokenizer)


def _unknown(data: Data) -> str:
    """A hint for a name that looks built in but is not."""
    plain = isinstance(data, str) and re.fullmatch(r"[A-Za-z-]+", data)
    hint = _of_preset(str(data)) or nearest(str(data), builtin.names()) if plain else ""
    return f"; {printable(data)} is not built in{hint}" if plain else ""


def _of_preset(name: str) -> str:
    """What a task of this name has in the first preset with one; empty if there is none."""
    files = (resources.files("archbench.runs") / "presets").iterdir()
    for file in sorted(files, key=lambda entry: entry.name):
        tasks = tomllib.loads(file.read_text(encoding="utf-8")).get("tasks", ()) if file.name.endswith(".toml") else ()
        for task in tasks:
            if task.get("name") == name:
                keys = [f"{key} = {printable(task[key])}" for key in ("data", "kind") if key in task]
                return f"; the preset {file.name.removesuffix('.toml')} has a task of this name: {', '.join(keys)}"
    return ""


def _name(entry: TaskEntry, place: str) -> str:
    """A task's own name or, without one, the name of its built-in data, corpus or file."""
    if entry.name is not None:
        return entry.name
    stem = default_name(entry.data)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", stem):
        raise InputError(f"{place}.name: missing; name the task")
    return stem


def default_name(data: object) -> str:
    """The name of built-in data, a corpus or a file; empty for a table of splits."""
    if not isinstance(data, str):
        return ""
    return data.partition(":")[0] if registry.kinds_served_by(data) else PurePath(data.partition("@")[0]).stem


def _columns(entry: TaskEntry, kind: TaskKind, place: str) -> dict[str, str]:
    known = {name: name for name in kind.columns}
    for key in entry.columns or {}:
        if key not in known:
            raise InputError(f"{place}.columns.{key}: unknown key for {kind.name}{nearest(key, known)}")
    return {**known, **(entry.columns or {})}


def _vocabulary(vocabulary: int | None, tokenizer: Tokenizer, place: str) -> int:
    if vocabulary is not None and not VOCABULARIES[tokenizer]:
        raise InputError(
            f'{place}.vocabulary: {vocabulary}: a "{tokenizer}" tokenizer has a vocabulary of its own; remove this key'
        )
    if vocabulary is not None and tokenizer == "bpe" and vocabulary < BPE_FLOOR:
        raise InputError(f'{place}.vocabulary: {vocabulary}: "bpe" includes all bytes; expected at least {BPE_FLOOR}')
    return vocabulary or VOCABULARIES[tokenizer]


def _primary(entry: TaskEntry, kind: TaskKind, place: str) -> str:
    known = (*kind.judged, *map(metrics.name_of, entry.metrics))
    if entry.primary is not None and entry.primary not in known:
        raise InputError(f"{place}.primary: {printable(entry.primary)}: expected {' or '.join(known)} for {kind.name}")
    return entry.primary or ""


def _metrics(entry: TaskEntry, kind: TaskKind, folder: str, place: str) -> tuple[str, ...]:
    """The further metrics of a task; their names must differ. Code of metrics from outside archbench is run."""
    seen = dict.fromkeys(kind.metrics, f"a metric of {kind.name}")
    for named in entry.metrics:
        name = metrics.name_of(named)
        if name in seen:
            raise InputError(f'{place}: {printable(named)}: "{name}" is already {seen[name]}; remove or rename it')
        metrics.find(named, folder, place)
        seen[name] = f"the name of {printable(named)}"
    return entry.metrics


def _check_metrics(tasks: tuple[Task, ...]) -> None:
    """Within an experiment, each metric's name has one meaning."""
    seen: dict[str, str] = {}
    for i, task in enumerate(tasks):
        for named in task.metrics:
            first = seen.setdefault(metrics.name_of(named), named)
            if first != named:
                name = metrics.name_of(named)
                where = f"tasks[{i}].metrics: {printable(named)}"
                raise InputError(f'{where}: "{name}" is already the name of {printable(first)}; rename one')


def _lengths(entry: TaskEntry, kind: TaskKind, place: str) -> tuple[int | None, int, int]:
    """Context (for running text only), source length and target length in tokens."""
    if kind.form == "running text":
        return _window(entry, kind, place)
    if entry.context is not None:
        raise InputError(f"{place}.context: only generation has a context; set source_length and target_length")
    source = kind.source_length if entry.source_length is None else entry.source_length
    if source < 1:
        raise InputError(f"{place}.source_length: {source}: expected at least 1 for {kind.name}")
    target = kind.target_length if entry.target_length is None else entry.target_length
    if kind.form == "labels" and target != 1:
        raise InputError(f"{place}.target_length: {target}: a label is one token; remove this key")
    if kind.form == "pairs" and target < 2:
        raise InputError(f"{place}.target_length: {target}: expected at least 2, a token and END")
    return None, source, target


def _window(entry: TaskEntry, kind: TaskKind, place: str) -> tuple[int, int, int]:
    if entry.target_length is not None:
        raise InputError(f"{place}.target_length: for {kind.name} set context, which is source and target together")
    context = kind.source_length + kind.target_length if entry.context is None else entry.context
    source = context // 2 if entry.source_length is None else entry.source_length
    least = source + 2  # one token and END, or a window of two tokens
    if context < least:
        raise InputError(
            f"{place}.context: {context}: too short for source_length = {source} and a target; "
            f"expected at least {least}"
        )
    return context, source, context - source


def _with_batches(training: TrainingEntry, budget: Budget) -> TrainingEntry:
    """``training`` with its batch size; by default one that divides the tokens into about ``STEPS`` steps."""
    if "batch_tokens" in training.model_fields_set or budget.tokens is None:
        return training
    usual = 2 ** round(math.log2(max(1, budget.tokens / STEPS)))
    smallest, largest = BATCH_TOKENS
    return training.model_copy(update={"batch_tokens": min(max(usual, smallest), largest)})


def _check_budget(budget: Budget, training: TrainingEntry, place: str) -> None:
    if budget.parameters is None:
        raise InputError(f"{place}.budget.parameters: missing here and in [budget]; give the first architecture's size")
    given = [unit for unit in HOW_LONG if getattr(budget, unit) is not None]
    if len(given) != 1:
        mistake = " and ".join(given) + " are given" if given else "none is given here or in [budget]"
        raise InputError(f"{place}.budget: expected exactly one of tokens, flops and seconds; {mistake}")
    if budget.tokens is not None and budget.tokens < training.batch_tokens:
        raise InputError(
            f"{place}.budget.tokens: {budget.tokens}: less than one batch; expected at least "
            f"training.batch_tokens = {training.batch_tokens}"
        )
    if "seconds" in budget.match and budget.seconds is None:
        raise InputError(
            f'{place}.budget.match: "seconds" needs a budget in seconds; set seconds instead of {given[0]}'
        )


def _check_supervision(task: Task, place: str) -> None:
    """With labels, tokens with a loss are comparable only where the label alone has one."""
    labels = task.target_length == 1  # no other form of task has targets of one token
    if labels and "loss-tokens" in task.budget.match and task.supervision != "target":
        raise InputError(
            f'{place}.budget.match: "loss-tokens" on {task.kind} needs a loss on labels alone; set supervision = '
            '"target" with it, or choose another match'
        )


def _check_transfer(task: Task, place: str) -> None:
    if task.training.learning_rate == TRANSFER and (task.tuning is None or task.tuning.width is None):
        raise InputError(
            f'{place}.training.learning_rate: "{TRANSFER}" needs trials at a smaller width; give tuning.width and '
            "tuning.learning_rate"
        )


def _check_devices(task: Task, place: str) -> None:
    training = task.training
    if (training.devices > 1) != (training.strategy != "none"):
        raise InputError(
            f'{place}.training: devices = {training.devices} with strategy = "{training.strategy}": give both, such as '
            'devices = 2 and strategy = "ddp", or neither'
        )
    if training.devices > 1 and task.budget.seconds is not None:
        raise InputError(f"{place}.budget.seconds: speeds are measured on one device; give tokens or flops")


def _check_model(model: Model, place: str) -> None:
    if model.width and model.heads and model.width % model.heads:
        raise InputError(
            f"{place}.model.heads: {model.heads}: does not divide width = {model.width}; try {_divisors(model.width)}"
        )


def _divisors(width: int) -> str:
    """Numbers of heads that a width allows, a few of them."""
    known = [f"{heads}" for heads in range(1, width // 2 + 1) if width % (2 * heads) == 0]
    return " or ".join(known[:6]) or "another width"


def _check_names(tasks: tuple[Task, ...]) -> None:
    seen: dict[str, int] = {}
    for i, task in enumerate(tasks):
        first = seen.setdefault(task.name.casefold(), i)
        if first != i:
            raise InputError(f"tasks[{i}].name: {printable(task.name)} is also the name of tasks[{first}]; rename one")


def _check_baselines(tasks: tuple[Task, ...]) -> None:
    """A task's baseline is another task of its kind, without a baseline of its own."""
    for i, task in enumerate(tasks):
        others = {other.name: other for other in tasks if other.kind == task.kind and other.name != task.name}
        if task.baseline and task.baseline not in others:
            known = nearest(task.baseline, others) if others else "; the experiment has none"
            raise InputError(f"tasks[{i}].baseline: no other {task.kind} task {printable(task.baseline)}{known}")
        if task.baseline and others[task.baseline].baseline:
            raise InputError(f"tasks[{i}].baseline: {printable(task.baseline)} has a baseline of its own; use that one")


def variant_name(architecture: str) -> str:
    """What results call an architecture: "my-variant" for ``lab/my_variant.py``, "./bert" for a checkpoint's folder."""
    if architecture.endswith(".py"):
        return PurePath(architecture).stem.replace("_", "-")
    return checkpoint_name(architecture) if is_path(architecture) else architecture


def is_path(architecture: str) -> bool:
    """Whether an architecture is given by a path: it ends in ``.py`` or contains a folder."""
    named = architecture.startswith(("transformers:", "hub:"))
    return not named and (architecture.endswith(".py") or "/" in architecture or os.sep in architecture)
