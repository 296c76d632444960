"""Turns an entry of ``metrics`` in an experiment into a metric of texts.

    "chrf"                            a built-in one
    "mine.py:shared_words"            a function of the user's, or a ``Metric``, in a file beside the experiment
    "evaluate:./exact"                a local folder of the ``evaluate`` library; "evaluate:./exact:name" picks a result
    "other-name"                      what an installed package offers by the entry point ``archbench.metrics``

A file says of its functions ``DIRECTION = "higher"`` (or "lower") and ``RANGE = (0.0, 1.0)``, and may say ``LABEL``,
``UNIT``, ``DECIMALS`` and ``MARGIN``; where they differ, a function has attributes of these names in lower case. Such
code is run, and only when it is named.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from archbench.tasks.base import code
from archbench.tasks.base.errors import InputError, one_line
from archbench.tasks.metrics.builtin import BUILTIN, TEXTS
from archbench.tasks.metrics.metric import Metric

ENTRY_POINTS = "archbench.metrics"
EVALUATE = "evaluate:"
FORMS = f'{", ".join(TEXTS)}, "FILE.py:FUNCTION", "{EVALUATE}./FOLDER" or a name that a package offers'


def offered() -> dict[str, str]:
    """Metrics of installed packages, by name, with where each is; nothing is imported."""
    return code.offered(ENTRY_POINTS, BUILTIN)


def name_of(place: str) -> str:
    """A metric's name in tables, found without running code."""
    if place.startswith(EVALUATE):
        folder, key = evaluate_parts(place)
        return key or folder.name
    return place.rpartition(":")[2]


def evaluate_parts(place: str) -> tuple[Path, str]:
    """The folder of a metric of the ``evaluate`` library, and the key of the result to use (empty: not given)."""
    folder, _, key = place.removeprefix(EVALUATE).partition(":")
    return Path(folder).expanduser(), key


def file_of(place: str, folder: str | Path) -> Path | None:
    """The Python file that ``place`` names; None where the metric is elsewhere."""
    name, mark, _ = place.rpartition(":")
    is_file = bool(mark) and name.endswith(".py") and not place.startswith(EVALUATE)
    return Path(folder) / Path(name).expanduser() if is_file else None


def find(place: str, folder: str | Path = ".", where: str = "metrics") -> Metric:
    """The metric that ``place`` stands for; paths are relative to ``folder``.

    ``where`` begins messages. Raises ``InputError`` where there is none, its code fails or declares too little.
    """
    where, name = f"{where}: {place}", name_of(place)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", name) or place.endswith(".py"):
        wanted = f'name a function in it, "{place}:FUNCTION"' if place.endswith(".py") else f"expected {FORMS}"
        raise InputError(f"{where}: names no metric; {wanted}")
    if place in BUILTIN:
        return _builtin(place, where)
    if name in BUILTIN:
        raise InputError(f'{where}: "{name}" is the name of a built-in metric; choose another name')
    if place.startswith(EVALUATE):
        from archbench.tasks.metrics import evaluate_folders

        metric_folder, key = evaluate_parts(place)
        return evaluate_folders.find(Path(folder) / metric_folder, key, where)
    path = file_of(place, folder)
    if path is not None:
        return _of_module(code.load_file(path, where), name, where)
    entry = code.entry(ENTRY_POINTS, place)
    if entry is None:
        raise InputError(f"{where}: unknown metric{code.hint(place, [*TEXTS, *sorted(offered())])}")
    return _declared(code.load_entry(entry, where), None, name, where)


def tried(metric: Metric, references: Sequence[str], where: str) -> None:
    """Raises ``InputError`` if the metric fails on typical answers: wrong, right or empty ones."""
    answers = [*references[1:], ""]
    try:
        metric.value(list(references), answers)
    except Exception as error:
        message = str(error) if type(error) is ValueError else f"raises {one_line(error)}"
        raise InputError(
            f"{where}: {message} (tried on {len(answers)} answers; a model may answer anything)"
        ) from error


def declared(function: Any, module: ModuleType | None, name: str, where: str, document: str) -> dict[str, Any]:
    """The arguments of ``Metric`` that code declares: attributes of the function, else constants of its module."""

    def attribute(key: str) -> Any:
        return getattr(function, key, getattr(module, key.upper(), None))

    direction, extent = attribute("direction"), attribute("range")
    if direction not in ("higher", "lower"):
        problem = "states no direction" if direction is None else f"DIRECTION = {direction!r}"
        raise InputError(f'{where}: {problem}; write DIRECTION = "higher" in the file, or "lower": which is better?')
    if not isinstance(extent, tuple | list) or len(extent) != 2:
        problem = "states no range" if extent is None else f"RANGE = {extent!r}"
        raise InputError(f"{where}: {problem}; write RANGE = (0.0, 1.0) in the file: the least and the greatest value")
    known = {key: attribute(key) for key in ("label", "unit", "decimals", "margin") if attribute(key) is not None}
    meaning = document.strip().split("\n")[0].rstrip(".") or "a metric of the user's own"
    extras = {"label": name.replace("_", " "), "meaning": meaning[:1].lower() + meaning[1:], **known}
    return {"name": name, "better": direction, "least": extent[0], "most": extent[1], **extras}


def made(values: dict[str, Any], where: str, **functions: Any) -> Metric:
    """A metric; raises ``InputError`` where its values contradict each other."""
    try:
        return Metric(**values, **functions)
    except (ValueError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error


def _builtin(name: str, where: str) -> Metric:
    if name not in TEXTS:
        raise InputError(f"{where}: is not computed from texts; expected {FORMS}")
    return TEXTS[name]


def _of_module(module: ModuleType, name: str, where: str) -> Metric:
    if not hasattr(module, name):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f'{where}: the file has no "{name}"{code.hint(name, functions) if functions else ""}')
    return _declared(getattr(module, name), module, name, where)


def _declared(value: Any, module: ModuleType | None, name: str, where: str) -> Metric:
    """A metric from a value in a file: a ``Metric``, or a function with declarations."""
    if isinstance(value, Metric):
        computed = value.function is not None or value.statistics is not None
        if value.name != name or not computed or value.reads != "texts":
            raise InputError(f'{where}: expected Metric(name="{name}", ..., function=...) that reads texts')
        return value
    if not callable(value):
        raise InputError(f"{where}: is a {type(value).__name__}; expected a function of references and predictions")
    if module is None:
        import inspect

        module = inspect.getmodule(value)
    return made(declared(value, module, name, where, value.__doc__ or ""), where, function=value)
