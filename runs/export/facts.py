"""The facts on the card of an exported run, from the run's records and the files beside it.

Files beside a run say nothing if they are of another data set or comparison, or lack something.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from archbench.runs.scoring.finished import FinishedRun
from archbench.runs.store import run_scores, store
from archbench.runs.store.store import Row
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

EXAMPLE = 100  # characters of a test text that are shown
Kinds = Mapping[str, type | tuple[type, ...]]
NUMBER = (int, float)

RECORD: Kinds = {
    "run": str,
    "parameters": int,
    "embedding_parameters": int,
    "train_tokens": int,
    "epochs": NUMBER,
    "steps": int,
    "tokens_per_parameter": NUMBER,
    "train_flops": NUMBER,
    "optimizer": str,
    "learning_rate": NUMBER,
    "best_step": int,
}
DATA: Kinds = {
    "dataset": str,
    "kind": str,
    "primary": str,
    "licence": str,
    "origin": str,
    "train_examples": int,
    "validation_examples": int,
    "test_examples": int,
    "train_tokens": int,
}
SCORE: Kinds = {"metric": str, "value": NUMBER, "lower": NUMBER, "upper": NUMBER, "n": int}
BASELINE: Kinds = {"name": str, "metric": str, "value": NUMBER}


@dataclass(frozen=True)
class Facts:
    """``record`` is the run's; ``data``, ``baselines`` and ``version`` (archbench's) are empty where nothing says.

    ``model`` is the class that the run was exported as, ``stock`` says whether it is one of ``transformers``' own,
    ``own_file`` whether its variant lies beside it; ``length`` is the most tokens of a text that it is asked about,
    with the special ones around it; ``example`` is a text of the test split, cut.
    """

    run: FinishedRun
    model: str
    stock: bool
    own_file: bool
    length: int
    example: str
    record: Row
    data: Row
    scores: list[Row]
    baselines: list[Row]
    version: str


def read(folder: Path, run: FinishedRun, model: str, stock: bool, own_file: bool, length: int) -> Facts:
    """The facts about the run in ``folder``, exported as the class ``model``.

    Raises ``InputError`` where the run's record lacks any.
    """
    root, name, digest = folder.resolve().parent.parent, run.plan.task.name, run.plan.data
    record = store.read_record(folder) or {}
    lacking = _lacking(record, RECORD)
    if lacking:
        raise InputError(f"{folder}/record.json: has no {lacking}; run its compare command again")
    baselines = [
        row
        for row in _rows(root / "references" / f"{name}.json", BASELINE)
        if row.get("data") == digest and row.get("split") != "validation"
    ]
    data = _row(root / "data" / f"{name}.json", DATA)
    scores = run_scores.joined(_rows(folder / "scores.json", SCORE), run_scores.by_kind(folder))
    return Facts(
        run,
        model,
        stock,
        own_file,
        length,
        _example(folder),
        record,
        data if data.get("digest") == digest else {},
        [row for row in scores if row.get("split") == "test"],
        baselines,
        _version(root / "experiment.json", folder.resolve().name),
    )


def _version(path: Path, run: str) -> str:
    """The archbench of the comparison whose record is ``path``, if ``run`` is one of its runs."""
    experiment = _row(path, {"archbench": str, "runs": list})
    return str(experiment["archbench"]) if experiment and run in experiment["runs"] else ""


def _example(folder: Path) -> str:
    """Beginning of the first source of the test examples; of the first window where windows of text have no sources."""
    with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
        first = pq.ParquetFile(folder / "predictions.parquet").read().slice(0, 1).to_pylist()[0]
        if first["source"] or first["reference"]:
            return str(first["source"] or first["reference"][:40])[:EXAMPLE]
    return "The"


def _row(path: Path, kinds: Kinds) -> Row:
    """The row in a file, empty where there is none or it is not whole."""
    contents = _json(path)
    return contents if isinstance(contents, dict) and not _lacking(contents, kinds) else {}


def _rows(path: Path, kinds: Kinds) -> list[Row]:
    """The rows in a file that are whole."""
    contents = _json(path)
    rows = contents if isinstance(contents, list) else []
    return [row for row in rows if isinstance(row, dict) and not _lacking(row, kinds)]


def _lacking(row: Row, kinds: Kinds) -> str:
    """The first thing that a row does not say; empty where it says everything."""
    return next((name for name, kind in kinds.items() if not isinstance(row.get(name), kind)), "")


def _json(path: Path) -> Any:
    """Record beside a run; None where there is none or it cannot be read."""
    try:
        return sealed.read_sealed(path)
    except (InputError, json.JSONDecodeError):
        return None
