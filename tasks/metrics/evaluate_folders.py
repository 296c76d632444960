"""Metrics of the ``evaluate`` library in local folders: ``exact/exact.py``, loaded without network."""

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from archbench.tasks.base import fixed_environment
from archbench.tasks.base.errors import InputError, is_signalled, one_line
from archbench.tasks.metrics import registry
from archbench.tasks.metrics.metric import Metric


def script(folder: Path) -> Path:
    """The Python file of a metric that ``evaluate`` finds in a folder: it has the folder's name."""
    folder = folder.absolute()
    return Path(os.path.normpath(folder)) / f"{os.path.basename(os.path.normpath(folder))}.py"


def digest(folder: Path) -> str:
    """SHA-256 of the files in the folder of a metric."""
    total, home = hashlib.sha256(), script(folder).parent
    for path in sorted(home.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(home)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def find(folder: Path, key: str, where: str) -> Metric:
    """The metric in ``folder``; ``key`` names which of its results is meant where it gives several.

    Its script states DIRECTION and RANGE, as every file with a metric does. Raises ``InputError``.
    """
    path = script(folder)
    if not path.is_file():
        raise InputError(f"{where}: no metric of the evaluate library there; expected the file {path}")
    return _metric(path, key, where, digest(folder))


@lru_cache
def _metric(path: Path, key: str, where: str, digest: str) -> Metric:
    try:
        loaded = _loaded(path)
    except BaseException as error:
        if is_signalled(error):
            raise
        raise InputError(f"{where}: the evaluate library cannot load it: {one_line(error)}") from error
    name = key or path.stem
    document = str(getattr(loaded, "description", "") or "")
    module = sys.modules.get(type(loaded).__module__)
    values = registry.declared(type(loaded), module, name, where, document)
    return registry.made(values, where, function=_value(loaded, name))


def _loaded(path: Path) -> Any:
    """Takes seconds the first time: it imports ``evaluate``."""
    fixed_environment.require()
    import evaluate

    # without progress bars and network: the path is that of a local script
    return evaluate.load(str(path), keep_in_memory=True)


def _value(loaded: Any, name: str) -> Callable[[Sequence[str], Sequence[str]], float]:
    def value(references: Sequence[str], predictions: Sequence[str]) -> Any:
        results = loaded.compute(references=list(references), predictions=list(predictions))
        return named_result(results, name)

    return value


def named_result(results: Any, name: str) -> Any:
    """The result called ``name``, else the only one. Raises ``ValueError``."""
    if not isinstance(results, dict) or not results:
        raise ValueError(f"gives a {type(results).__name__}; expected a dictionary of results")
    if name not in results and len(results) > 1:
        raise ValueError(
            f'gives {", ".join(map(str, results))}; say which, as in "evaluate:./FOLDER:{next(iter(results))}"'
        )
    return results.get(name, next(iter(results.values())))
