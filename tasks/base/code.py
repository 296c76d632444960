"""Loads Python code of the user or of another package (a task kind, a metric, a variant).

Whatever such code raises, also ``SystemExit`` and ``KeyboardInterrupt``, becomes a one-line ``InputError``; signals do
not.
"""

import difflib
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from archbench.tasks.base import fixed_environment
from archbench.tasks.base.errors import InputError, expand_home, irregular, is_signalled, one_line


def named_path(name: str, folder: Path, where: str) -> Path:
    """The path, relative to ``folder``, that the user's ``name`` of code stands for, whether or not a file is there.

    ``where`` begins messages. Raises ``InputError`` for a name that cannot be a path.
    """
    if name.endswith(".py") and not name.isprintable():
        raise InputError(f"{where}: {name!r}: the file's name has control characters; rename it")
    return folder / expand_home(name, where)


def load_file(path: Path, where: str) -> ModuleType:
    """The module of a Python file, after its code has run; cached while the file is unchanged.

    ``where`` begins messages. Raises ``InputError`` where there is no such file or its code fails.
    """
    if unreadable := irregular(path):
        raise InputError(f"{where}: {path} {unreadable}")
    if not path.is_file():
        raise InputError(f"{where}: {path}: there is no such file")
    return _module(path.absolute(), hashlib.sha256(path.read_bytes()).hexdigest(), where)


@lru_cache
def _module(path: Path, digest: str, where: str) -> ModuleType:
    return run_file(path, f"{path.stem}_{digest[:12]}", f"{where}: ", "fails")


def run_file(
    path: Path, name: str, before: str, failure: str, within: AbstractContextManager[None] | None = None
) -> ModuleType:
    """A new module called ``name``, after the code of the file has run ``within`` a context.

    Raises ``InputError`` where the code fails; its message is "{before}{file}:{line}: {failure}: {error}".
    """
    fixed_environment.require()
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        with within or nullcontext():
            spec.loader.exec_module(module)
    except BaseException as error:
        if is_signalled(error):
            raise
        line = getattr(error, "lineno", None) or line_in(error, str(spec.origin)) or 1
        raise InputError(f"{before}{path}:{line}: {failure}: {one_line(error)}") from error
    return module


def line_in(error: BaseException, path: str) -> int | None:
    """The last line of the file at ``path`` (absolute) in the error's traceback."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1] if lines else None


def offered(group: str, builtin: Iterable[str]) -> dict[str, str]:
    """Name and module of each entry point in ``group`` whose name is not in ``builtin``; nothing is imported."""
    entries, names = importlib.metadata.entry_points(group=group), set(builtin)
    return {entry.name: entry.value for entry in reversed(list(entries)) if entry.name not in names}


def entry(group: str, name: str) -> importlib.metadata.EntryPoint | None:
    """The entry point of an installed package under this name."""
    entries = importlib.metadata.entry_points(group=group)
    return next((entry for entry in entries if entry.name == name), None)


def load_entry(entry: importlib.metadata.EntryPoint, where: str) -> Any:
    """The object of an entry point, after its module has run; raises ``InputError`` if that fails."""
    fixed_environment.require()
    try:
        return entry.load()
    except BaseException as error:
        if is_signalled(error):
            raise
        raise InputError(f"{where}: {entry.name} of another package ({entry.value}) cannot be loaded: "
                         f"{one_line(error)}") from error  # fmt: skip


def hint(name: str, known: Iterable[str]) -> str:
    """``; did you mean "accuracy"?`` for a near miss, else the known names in parentheses."""
    names = list(known)
    near = difflib.get_close_matches(name, names, 1)
    return f'; did you mean "{near[0]}"?' if near else f" (known: {', '.join(names)})"
