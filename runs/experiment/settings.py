"""Keys of an experiment file that ``--set KEY=VALUE`` or ``archbench.compare(..., set={key: value})`` replace.

``training.learning_rate``, ``tasks.sst2.vocabulary`` (a task by its name), ``conditions.long.seeds`` (a condition or a
pretraining by its ``name``). A value replaces what the file says before anything is checked, so it counts as if it
stood in the file.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archbench.runs.experiment.tasks import default_name
from archbench.runs.experiment.validation import key_path, nearest, printable
from archbench.tasks.base.errors import InputError, shortened

LISTS = {
    "tasks": "task",
    "conditions": "condition",
    "pretraining": "pretraining",
}  # lists of tables, which are addressed by name
EXAMPLE = "training.learning_rate=0.005"


@dataclass(frozen=True)
class Setting:
    """A key as the user wrote it, its place in the experiment's tables, and its value."""

    key: str
    place: tuple[str | int, ...]
    value: Any


def parsed(words: Iterable[str] | None) -> dict[str, Any]:
    """The keys and values of ``KEY=VALUE`` words. A value is TOML; what is not TOML and has no quotes is text."""
    settings: dict[str, Any] = {}
    for word in words or ():
        key, sign, text = (part.strip() for part in word.partition("="))
        if not key or not sign:
            raise InputError(f"--set {shortened(word)}: expected KEY=VALUE, such as {EXAMPLE}")
        if key in settings:
            raise InputError(f"--set {shortened(key)}: is given twice")
        settings[key] = _value(key, text)
    return settings


def _value(key: str, text: str) -> Any:
    problem = "expected a value after =" if not text else f"{printable(text)}: not a TOML value"
    try:
        table = tomllib.loads(f"value = {text}") if text and "\n" not in text else {}
    except RecursionError:
        problem, table = "lists or tables nested too deeply", {}
    except tomllib.TOMLDecodeError:
        table = {} if text[0] in "[{\"'" else {"value": text}
    except ValueError:  # Python limits the digits of an integer
        problem, table = "a number has too many digits", {}
    if "value" not in table:
        raise InputError(f"--set {shortened(key)}: {problem}")
    return table["value"]


def plain(value: Any) -> Any:
    """A setting of a Python call as JSON has it: NumPy values, ranges, tuples and paths as numbers, lists and text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def checked(settings: object) -> dict[str, Any]:
    """The ``set`` of a Python call; raises ``InputError`` if it is not a dictionary of keys."""
    if not isinstance(settings, Mapping):
        raise InputError(
            f'--set: {printable(settings)}: expected a dictionary like {{"training.learning_rate": 0.005}}'
        )
    for key in settings:
        if not isinstance(key, str):
            raise InputError(f"--set {printable(key)}: expected a key such as training.learning_rate")
    return {key: plain(value) for key, value in settings.items()}


def applied(data: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[Setting]]:
    """The tables of an experiment file with ``settings``, and the place of each; ``data`` stays as it is."""
    table: Any = dict(data)
    placed = []
    for key, value in settings.items():
        setting = Setting(key, _place(key, table), value)
        table = _replaced(table, setting.place, value)
        placed.append(setting)
    return table, placed


def blamed(message: str, settings: Sequence[Setting]) -> str:
    """An error about an experiment with ``settings``: ``--set KEY`` takes the position's place.

    >>> blamed('training.rate: unknown key', [Setting("training.rate", ("training", "rate"), 1)])
    '--set training.rate: unknown key'
    """
    for setting in settings:
        path = key_path(setting.place)
        if message.startswith(f"{path}: "):
            return f"--set {shortened(setting.key)}: {message.removeprefix(f'{path}: ')}"
        if message.startswith((f"{path}.", f"{path}[")):
            return f"--set {shortened(setting.key)}: {message}"
    for setting in settings:
        for length in range(len(setting.place) - 1, 0, -1):
            table = key_path(setting.place[:length])
            if message.startswith(f"{table}: "):
                return f"--set {shortened(setting.key)}: {message.removeprefix(f'{table}: ')}"
    return f"{' '.join(f'--set {shortened(setting.key)}' for setting in settings)}: {message}"


def _place(key: str, table: Mapping[str, Any]) -> tuple[str | int, ...]:
    parts = _parts(key)
    entries = table.get(parts[0])
    if parts[0] not in LISTS or len(parts) == 1:
        return tuple(parts)
    what = LISTS[parts[0]]
    names = [_name(parts[0], entry) for entry in entries] if isinstance(entries, list | tuple) else []
    for length in range(len(parts) - 1, 0, -1):  # a name may contain dots
        name = ".".join(parts[1 : 1 + length])
        if name and name in names:
            if length == len(parts) - 1:
                raise InputError(f"--set {shortened(key)}: names a {what}, not a key of it; add the key")
            return (parts[0], names.index(name), *parts[1 + length :])
    known = [name for name in names if name]
    hint = nearest(parts[1], known) if known else f"; no {what} has a name"
    raise InputError(f"--set {shortened(key)}: no {what} {printable(parts[1])}{hint}")


def _parts(key: str) -> list[str]:
    """``tasks."a.b".data`` as its parts, which TOML reads."""
    try:
        table: Any = tomllib.loads(f"{key} = 0") if "\n" not in key and "=" not in key else 0
    except (ValueError, RecursionError):
        table = 0
    parts = []
    while isinstance(table, dict) and table:
        (part, table), *_ = table.items()
        parts.append(part)
    if not parts:
        raise InputError(f"--set {shortened(key)}: not a key; expected one such as training.learning_rate")
    return parts


def _name(table: str, entry: Any) -> str:
    """The name of a ``[[tasks]]`` or ``[[conditions]]`` table that has not been checked yet; empty without one."""
    if not isinstance(entry, Mapping):
        return ""
    name = entry.get("name")
    if name is None and table == "tasks":
        return default_name(entry.get("data"))
    return name if isinstance(name, str) else ""


def _replaced(table: Any, keys: Sequence[str | int], value: Any) -> Any:
    """``table`` with ``value`` at ``keys``; what is not a table on the way there becomes one."""
    if not keys:
        return value
    first, *rest = keys
    if isinstance(first, int):
        return [_replaced(entry, rest, value) if i == first else entry for i, entry in enumerate(table)]
    known = dict(table) if isinstance(table, Mapping) else {}
    return known | {first: _replaced(known.get(first), rest, value)}
