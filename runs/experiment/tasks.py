"""The settings of one task: its own, else the experiment's, else its kind's; and what contradicts what in them."""

import math
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import PurePath
from typing import Any

from archbench.runs.experiment.entries import TaskEntry
from archbench.runs.experiment.sections import (
    HOW_LONG,
    TRANSFER,
    Budget,
    Data,
    Model,
    Task,
    TaskKeys,
    Tokenizer,
    TrainingEntry,
)
from archbench.runs.experiment.validation import nearest, printable
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import every_column
from archbench.tasks.builtin_data import builtin
from archbench.tasks.builtin_data.skills.skill import PREFIX
from archbench.tasks.data.sources import is_accepted
from archbench.tasks.kinds import registry
from archbench.tasks.metrics import registry as metrics

VOCABULARIES: dict[Tokenizer, int] = {"char": 0, "byte": 0, "word": 2048, "bpe": 2048}
STEPS = 500  # of a small budget, if batch_tokens is not given
BATCH_TOKENS = (512, 4096)
BPE_FLOOR = 300  # 256 bytes, the special tokens, some labels


def resolved(entry: TaskEntry, general: Mapping[str, Any], folder: str, place: str) -> Task:
    """The task that ``entry`` describes; ``general`` are the experiment's keys for all tasks. Raises ``InputError``."""
    kind = _kind(entry, folder, place)
    if isinstance(entry.data, dict) and "train" not in entry.data and not kind.compares_texts:
        raise InputError(f'{place}.data: "train" is missing; name at least the training file')
    usual = next(name for name in VOCABULARIES if name == kind.tokenizer)
    tokenizer = entry.tokenizer or usual
    context, source, target = _lengths(entry, kind, place)
    filled_in: dict[str, Any] = {
        "kind": kind.name,
        "kind_file": entry.kind if entry.kind is not None and registry.is_file(entry.kind) else "",
        "name": _name(entry, place),
        "columns": _columns(entry, kind, place),
        "tokenizer": tokenizer,
        "vocabulary": _vocabulary(entry.vocabulary, tokenizer, place),
        "context": context,
        "source_length": source,
        "target_length": target,
        "test_examples": entry.test_examples or kind.test_examples,
        "baseline": entry.baseline or "",
        "primary": _primary(entry, kind, place),
        "metrics": entry.metrics,
    }
    _check_metrics(entry, kind, folder, f"{place}.metrics")
    task = Task(data=entry.data, **filled_in).patched(general).patched(entry.stated(TaskKeys) | filled_in)
    task = _with_batches(task).patched({"tuning": None} if entry.tuned or entry.tuned_starts else {})
    check_task(task, place)
    for key in ("tuned", "tuned_starts"):
        if getattr(entry, key) and entry.tuning:
            raise InputError(f"{place}: {key} and tuning are given; keep only one")
    check_tuning(task, place)
    _check_reading(task, kind, place)
    return task


def check_task(task: Task, place: str) -> None:
    """Raises ``InputError`` where the settings of one resolved task contradict each other."""
    _check_budget(task.budget, task.training, place, task.trains)
    _check_supervision(task, place)
    _check_model(task.model, place)
    _check_transfer(task, place)
    _check_devices(task, place)


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


def _unknown(data: Data) -> str:
    """A hint for a name that looks built in but is not."""
    plain = isinstance(data, str) and re.fullmatch(r"[A-Za-z-]+", data)
    hint = _of_preset(str(data)) or nearest(str(data), builtin.names()) if plain else ""
    return f"; {printable(data)} is not built in{hint}" if plain else ""


def _of_preset(name: str) -> str:
    """Words for the data and kind of a task of this name in the first preset with one; empty if there is none."""
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
    """The name of built-in data, a skill, a corpus or a file; empty for a table of splits."""
    if not isinstance(data, str):
        return ""
    if data.startswith(PREFIX):
        return data.removeprefix(PREFIX).partition(",")[0]
    return data.partition(":")[0] if registry.kinds_served_by(data) else PurePath(data.partition("@")[0]).stem


def _columns(entry: TaskEntry, kind: TaskKind, place: str) -> dict[str, str | list[str]]:
    """The columns by key; of texts that are compared, the last key may have several, and all are different."""
    known: dict[str, str | list[str]] = {name: name for name in kind.columns}
    for key, value in (entry.columns or {}).items():
        if key not in known:
            raise InputError(f"{place}.columns.{key}: unknown key for {kind.name}{nearest(key, known)}")
        if not isinstance(value, str) and not (kind.compares_texts and key == kind.columns[-1]):
            raise InputError(f"{place}.columns.{key}: {printable(value)}: expected one column")
    columns = {**known, **(entry.columns or {})}
    names = every_column(columns)
    if kind.compares_texts and (twice := [name for name in names if names.count(name) > 1]):
        raise InputError(f"{place}.columns: {printable(twice[0])} is given twice; {kind.name} compares different texts")
    return columns


def _vocabulary(vocabulary: int | None, tokenizer: Tokenizer, place: str) -> int:
    if vocabulary is not None and not VOCABULARIES[tokenizer]:
        raise InputError(
            f'{place}.vocabulary: {vocabulary}: a "{tokenizer}" tokenizer has a vocabulary of its own; remove this key'
        )
    if vocabulary is not None and tokenizer == "bpe" and vocabulary < BPE_FLOOR:
        raise InputError(f'{place}.vocabulary: {vocabulary}: "bpe" includes all bytes; expected at least {BPE_FLOOR}')
    return vocabulary or VOCABULARIES[tokenizer]


def _primary(entry: TaskEntry, kind: TaskKind, place: str) -> tuple[str, ...]:
    known = (*kind.judged, *map(metrics.name_of, entry.metrics))
    for name in entry.primary or ():
        if name not in known:
            raise InputError(f"{place}.primary: {printable(name)}: expected {' or '.join(known)} for {kind.name}")
    return entry.primary or registry.primary(kind, entry.data)


def _check_metrics(entry: TaskEntry, kind: TaskKind, folder: str, place: str) -> None:
    """The names of further metrics must differ. Code of metrics from outside archbench is run."""
    seen = dict.fromkeys(kind.metrics, f"a metric of {kind.name}")
    for named in entry.metrics:
        name = metrics.name_of(named)
        if name in seen:
            raise InputError(f'{place}: {printable(named)}: "{name}" is already {seen[name]}; remove or rename it')
        metrics.find(named, folder, place)
        seen[name] = f"the name of {printable(named)}"


def _lengths(entry: TaskEntry, kind: TaskKind, place: str) -> tuple[int | None, int, int]:
    """Context (for running text only), source length and target length in tokens."""
    if kind.form == "running text":
        return _window(entry, kind, place)
    if entry.context is not None:
        raise InputError(f"{place}.context: only generation has a context; set source_length and target_length")
    usual_source, usual_target = registry.limits(kind, entry.data)
    source = usual_source if entry.source_length is None else entry.source_length
    if source < 1:
        raise InputError(f"{place}.source_length: {source}: expected at least 1 for {kind.name}")
    target = usual_target if entry.target_length is None else entry.target_length
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


def _with_batches(task: Task) -> Task:
    """``task`` with its batch size; by default one that divides the tokens into about ``STEPS`` steps."""
    if "batch_tokens" in task.training.stated() or task.budget.tokens is None:
        return task
    return task.patched({"training": {"batch_tokens": usual_batch(task.budget.tokens, STEPS)}})


def usual_batch(tokens: int, steps: int) -> int:
    """The batch, in tokens, that divides a budget into about ``steps`` steps, within bounds."""
    usual: int = 2 ** round(math.log2(max(1, tokens / steps)))
    smallest, largest = BATCH_TOKENS
    return min(max(usual, smallest), largest)


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


def check_tuning(task: Task, place: str) -> None:
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


def _check_budget(budget: Budget, training: TrainingEntry, place: str, trains: bool) -> None:
    if budget.parameters is None:
        raise InputError(f"{place}.budget.parameters: missing here and in [budget]; give the first architecture's size")
    given = [unit for unit in HOW_LONG if getattr(budget, unit) is not None]
    if len(given) != 1 and (given or trains):
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
