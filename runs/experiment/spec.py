"""Experiment files: architectures, tasks and budget of a comparison.

    name = "shakespeare-char"
    architectures = ["decoder", "encoder"]
    [budget]
    parameters = 800_000
    tokens = 1_536_000
    [[tasks]]
    data = "shakespeare"

``load``, ``preset`` and ``from_dict`` check everything that can be checked without the data. They return an
``Experiment`` whose tasks carry all of their settings: their own, else the experiment's, else their kind's default.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from archbench.runs.experiment import starts
from archbench.runs.experiment.conditions import LISTS, limited
from archbench.runs.experiment.entries import Overrides
from archbench.runs.experiment.resolve import resolve
from archbench.runs.experiment.sections import (
    ADAPTED,
    BETWEEN_MEASURES,
    DEFAULT_CONTRASTS,
    FINETUNE,
    HELD,
    MATCHES,
    PROMPT,
    SCRATCH,
    SCRATCH_WITH,
    UNMATCHED,
    ZERO_SHOT,
    Budget,
    Experiment,
    Task,
    TrainingEntry,
    is_checkpoint,
    is_path,
    is_scratch,
)
from archbench.runs.experiment.settings import applied, blamed, checked
from archbench.runs.experiment.tasks import check_task, check_tuning_seeds
from archbench.runs.experiment.validation import key_path, printable, require, validated
from archbench.tasks.base.errors import InputError, irregular, shortened
from archbench.tasks.kinds import registry
from archbench.tasks.metrics.builtin import BUILTIN

__all__ = [
    "ADAPTED",
    "BETWEEN_MEASURES",
    "DEFAULT_CONTRASTS",
    "FINETUNE",
    "HELD",
    "JUDGED",
    "MARGINS",
    "MATCHES",
    "ONE_ANSWER",
    "PROMPT",
    "SCRATCH",
    "SCRATCH_WITH",
    "UNMATCHED",
    "ZERO_SHOT",
    "Budget",
    "Experiment",
    "Task",
    "TrainingEntry",
    "absolute",
    "from_dict",
    "is_checkpoint",
    "is_scratch",
    "load",
    "override",
    "preset",
    "presets",
    "recorded",
]

MARGINS = {name: metric.margin for name, metric in BUILTIN.items() if metric.margin}  # differences that matter
JUDGED = {name: kind.judged for name, kind in registry.BUILTIN.items()}  # metrics that may be primary
ONE_ANSWER = tuple(name for name, kind in registry.BUILTIN.items() if kind.one_answer)  # kinds


def load(path: str | Path, settings: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment in a TOML file, with ``settings``; raises ``InputError`` naming the file and the line or key."""
    path = Path(path)
    if unreadable := irregular(path):
        raise InputError(f"{path}: {unreadable}")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        hint = f"; to run the preset, use --preset {path}" if str(path) in presets() else ""
        raise InputError(f"{path}: no such file; expected an experiment file (TOML){hint}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # the path has a NUL character
        raise InputError(f"{printable(str(path))}: cannot be read: {error}") from None
    if path.suffix == ".py":
        raise InputError(
            f"{path}: expected an experiment file (TOML); to compare this architecture, use "
            f"--architectures decoder,{path} or {path} --against public-v1"
        )
    return from_dict(_parsed(raw, str(path)), origin=str(path), folder=path.parent, settings=settings)


def preset(name: str, settings: Mapping[str, Any] | None = None) -> Experiment:
    """A preset by its name, with ``settings``; raises ``InputError`` that suggests the nearest known one."""
    require(name, presets(), f"unknown preset {printable(name)}")
    raw = (resources.files("archbench.runs") / "presets" / f"{name}.toml").read_bytes()
    return from_dict(_parsed(raw, f"preset {name}"), origin=f"preset {name}", settings=settings)


def presets() -> dict[str, str]:
    """The presets by name, each with its one-line description: the first comment of its file."""
    return dict(sorted(_preset_lines()))


def from_dict(
    data: Mapping[str, Any],
    *,
    origin: str = "experiment",
    folder: str | Path = ".",
    settings: Mapping[str, Any] | None = None,
) -> Experiment:
    """The experiment in a dictionary shaped like an experiment file; errors start with ``origin``.

    ``settings`` (``{"training.learning_rate": 0.005}``) replace keys of ``data`` before they are checked; an error
    that they cause starts with ``--set`` and the key.
    """
    wanted = {} if settings is None else checked(settings)
    table, placed = applied(data, wanted)
    try:
        return resolve(table, str(folder)).patched({"settings": wanted})
    except InputError as error:
        mistake = str(error)
    if not placed or mistake == _mistake(data, folder):
        raise InputError(f"{origin}: {mistake}")
    raise InputError(blamed(mistake, placed))


def recorded(specification: Mapping[str, Any], *, origin: str, folder: str | Path = ".") -> Experiment:
    """The experiment that ``Experiment.digestable`` wrote, now or in an older version; errors start with ``origin``."""
    try:
        return Experiment.model_validate_json(json.dumps(dict(specification))).patched({"folder": str(folder)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = key_path(first["loc"])
        raise InputError(
            f"{origin}: this archbench cannot read the specification ({where}: {first['msg']}); "
            "use the archbench that wrote it"
        ) from None


def _mistake(data: Mapping[str, Any], folder: str | Path) -> str:
    """The error in an experiment without settings; empty if there is none."""
    try:
        resolve(dict(data), str(folder))
    except InputError as error:
        return str(error)
    return ""


def override(
    experiment: Experiment,
    *,
    architectures: Sequence[str | Path] | None = None,
    tasks: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    match: str | Sequence[str] | None = None,
) -> Experiment:
    """``experiment`` with the command line's settings, which override every task's own settings.

    ``tasks`` selects by name or kind, in the experiment's order; ``seeds`` as a number means 0 to ``seeds`` - 1.
    Pretrainings follow (``starts.overridden``). NumPy integers and arrays, ranges and tuples are accepted in place of
    lists. Paths of variant files are relative to the current folder. Raises ``InputError`` that names the argument.
    """
    overrides = {"architectures": architectures, "tasks": tasks, "seeds": seeds, "match": match}
    wanted = validated(Overrides, overrides).stated()
    chosen, axes = _chosen(experiment, wanted.get("tasks")), wanted.get("match")
    lists = {key: wanted[key] for key in LISTS if key in wanted}
    if "architectures" in lists:
        lists["architectures"] = tuple(map(absolute, lists["architectures"]))
    by_name = {task.name: task for task in chosen}
    conditions = [task for task in experiment.conditions if task.name in by_name]
    if axes is not None:
        chosen = tuple(_matched(task, axes) for task in chosen)
        same = [task.budget.match == by_name[task.name].budget.match for task in conditions]
        conditions = [_matched(task, axes) if is_same else task for task, is_same in zip(conditions, same, strict=True)]
    narrowed = [limited(task, lists) for task in conditions]
    changed = {
        "tasks": tuple(task.patched(lists) for task in chosen),
        "conditions": tuple(task for task in narrowed if all(getattr(task, key) for key in lists)),
    }
    for task in (*changed["tasks"], *changed["conditions"]):
        check_tuning_seeds(task)
    stages = starts.overridden(experiment, tuple(by_name), axes, lists)
    starts.check_overridden((*changed["tasks"], *changed["conditions"]), stages, experiment.pretraining)
    return experiment.patched({**lists, **changed, "pretraining": stages})


def absolute(name_or_path: str) -> str:
    """A path relative to the current folder as an absolute one; names are unchanged."""
    return str(Path(name_or_path).expanduser().absolute()) if is_path(name_or_path) else name_or_path


def _chosen(experiment: Experiment, wanted: Sequence[str] | None) -> tuple[Task, ...]:
    if wanted is None:
        return experiment.tasks
    names = [task.name for task in experiment.tasks]
    kinds = [task.kind for task in experiment.tasks]
    for word in wanted:
        require(word, [*names, *kinds], f"tasks: no task {printable(word)}")
    return tuple(task for task in experiment.tasks if task.name in wanted or task.kind in wanted)


def _matched(task: Task, axes: Sequence[str]) -> Task:
    for axis in axes:
        require(axis, MATCHES, f"match: unknown axis {printable(axis)}")
    task = task.patched({"budget": {"match": axes}})
    check_task(task, f"tasks.{task.name}")
    return task


def _preset_lines() -> Iterator[tuple[str, str]]:
    for entry in (resources.files("archbench.runs") / "presets").iterdir():
        if entry.name.endswith(".toml"):
            first = entry.read_text(encoding="utf-8").partition("\n")[0]
            yield entry.name.removesuffix(".toml"), first.lstrip("# ").strip()


def _parsed(raw: bytes, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        broken = raw[: error.start].count(b"\n") + 1
        raise InputError(f"{origin}:{broken}: not UTF-8 text; save the file as UTF-8") from None
    except RecursionError:
        raise InputError(f"{origin}: not an experiment: tables or lists nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        position = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
        line = position[1] if position and position[1] else str(raw.count(b"\n") + 1)
        text = message[: position.start()] if position else message
        hint = _unquoted(raw, int(line)) if text == "Invalid value" else ""
        raise InputError(f"{origin}:{line}: not valid TOML: {text[:1].lower()}{text[1:]}{hint}") from None
    except ValueError:  # Python limits the digits of an integer
        raise InputError(f"{origin}: not an experiment: a number has too many digits") from None


def _unquoted(raw: bytes, number: int) -> str:
    """A hint where the line with this number, from 1, gives a key a bare word; else empty."""
    lines = raw.decode("utf-8-sig").split("\n")
    key, _, value = (lines[number - 1] if number <= len(lines) else "").partition("=")
    key, word = key.strip(), value.partition("#")[0].strip()
    if not re.fullmatch(r"[\w.-]+", key) or not re.fullmatch(r"[A-Za-z_~./][^\"'\[\]{},=]*", word):
        return ""
    if word.lower() in ("true", "false"):
        return f"; write {shortened(key)} = {word.lower()}"
    return f"; quote text: {shortened(key)} = {printable(word)}"
