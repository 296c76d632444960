"""Digests of the code of task kinds and metrics that are not archbench's own: of theirs and of what they import.

Docstrings and comments of their own files count for nothing. The experiment's variables, which such code reads, count.
"""

import hashlib
from pathlib import Path

from archbench.architectures.catalogue import catalogue, sources
from archbench.tasks.base import code, fixed_environment
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.kinds import registry
from archbench.tasks.metrics import evaluate_folders
from archbench.tasks.metrics import registry as metrics
from archbench.tasks.metrics.builtin import BUILTIN


def of_kind(config: TaskConfig) -> str:
    """SHA-256 of the code of a task's kind; "" for archbench's own. Raises ``InputError`` where it cannot be read."""
    if config.kind_file:
        return of_file(Path(config.folder) / Path(config.kind_file).expanduser())
    return "" if config.kind in registry.BUILTIN else of_entry(registry.ENTRY_POINTS, config.kind)


def of_file(path: Path) -> str:
    """SHA-256 of a Python file and of the modules of the user that it imports."""
    return _digest(sources.text(path))


def of_entry(group: str, name: str) -> str:
    """SHA-256 of the package that offers ``name`` in this group of entry points."""
    entry = code.entry(group, name)
    file = sources.module_file(entry.module) if entry is not None else None
    if entry is None or file is None:
        raise InputError(f'no installed package offers "{name}" ({group}); install it again')
    return _digest(sources.text(file, catalogue.offered_with(entry)))


def of_metric(place: str, folder: str) -> str:
    """A digest of the code of a metric; "" for archbench's own. Raises ``InputError`` where it cannot be read."""
    if place in BUILTIN:
        return ""
    if place.startswith(metrics.EVALUATE):
        return evaluate_folders.digest(Path(folder) / metrics.evaluate_parts(place)[0]) + _variables()
    path = metrics.file_of(place, folder)
    return of_entry(metrics.ENTRY_POINTS, place) if path is None else of_file(path)


def _digest(text: str) -> str:
    return hashlib.sha256((sources.code(text) + _variables()).encode()).hexdigest()


def _variables() -> str:
    """The experiment's variables as text; "" where it has none."""
    variables = fixed_environment.declared()
    return f"environment {sorted(variables.items())}" if variables else ""
