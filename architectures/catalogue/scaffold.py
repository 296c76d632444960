"""Starts a variant file: the built-in variant of a family with comments, under a name of its own."""

import difflib
import importlib.util
import re
from importlib.resources import files
from pathlib import Path

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families import builtin
from archbench.tasks.base.errors import InputError

FAMILIES = tuple(kind.family for kind in builtin.FAMILIES)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def write(name: str, family: str | None, folder: Path) -> Path:
    """Writes ``name``.py into ``folder`` and returns its path; a suffix ``.py`` of ``name`` is ignored.

    Raises ``InputError`` if the family is unknown, the name cannot be a variant's, or the file exists.
    """
    text, stem = _template(family), plain(name)
    if stem.replace("_", "-").lower() in (*catalogue.names(), *catalogue.ablated()):
        raise InputError(f'NAME: "{stem}" is already an architecture; choose another name')
    return place(stem, text.replace("NAME", stem, 1), folder)


def plain(name: str) -> str:
    """The name without ``.py``; raises ``InputError`` if it cannot name a Python file."""
    stem = name.removesuffix(".py")
    if not NAME.fullmatch(stem):
        raise InputError(f'NAME: "{stem}": expected a letter, then letters, digits, "-" and "_", without a folder')
    return stem


def place(stem: str, text: str, folder: Path) -> Path:
    """Writes a new ``stem``.py into ``folder`` and returns its path; raises ``InputError`` if the file exists."""
    path = folder / f"{stem}.py"
    if path.exists():
        raise InputError(f"{path}: already exists; choose another name, or delete the file first")
    _free(stem)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def _template(family: str | None) -> str:
    if family not in FAMILIES:
        near = difflib.get_close_matches(str(family).lower(), FAMILIES, 1)
        problem = "missing" if family is None else f'unknown "{family}"'
        hint = f'; did you mean "{near[0]}"?' if family is not None and near else ""
        raise InputError(f"--family: {problem}; expected {', '.join(FAMILIES[:-1])} or {FAMILIES[-1]}{hint}")
    return (
        files("archbench.architectures.templates")
        .joinpath(f"{family.replace('-', '_')}.py")
        .read_text(encoding="utf-8")
    )


def _free(stem: str) -> None:
    """Refuses the name of an installed module: beside a script, the file would be found in its place."""
    spec = importlib.util.find_spec(stem)
    if spec is not None and spec.has_location:
        raise InputError(f"NAME: a file {stem}.py can hide Python's module {stem}; choose another name")
