"""Gates that an inspected run fails, from its records and the baselines of its comparison."""

from contextlib import suppress
from pathlib import Path

import pandas as pd

from archbench.reports.base import tables
from archbench.reports.results.gates import ACCURACY, BITS_PER_BYTE, BOUND, MACRO_F1, SHUFFLED, Gates
from archbench.runs.store import run_scores, store
from archbench.runs.store.store import Row


def failed_gates(run: Path) -> str:
    """Which gates the run in this folder fails, in words with their numbers; empty where it passes or nothing tells.

    A comparison judges an architecture by all its seeds, this function only one run.
    """
    record = store.read_record(run) or {}
    scores, answers = run / "scores.json", run / "predictions.parquet"
    if not scores.is_file() or not answers.is_file():
        return ""
    own = tables.completed(
        {
            "scores": pd.DataFrame(run_scores.of_run(run), dtype=object),
            "predictions": pd.read_parquet(answers).assign(run=record["run"]),
            "references": pd.DataFrame(_baselines(run, str(record["dataset"])), dtype=object),
        }
    )
    test = own["scores"][own["scores"]["split"] == "test"]
    values = {
        name: test[test["metric"] == name].set_index("run")["value"]
        for name in (BITS_PER_BYTE, BOUND, SHUFFLED, ACCURACY, MACRO_F1)
    }
    runs = pd.DataFrame({"run": [record["run"]]})
    return Gates(own, values).of(str(record["dataset"]), str(record["architecture"]), runs).reason


def _baselines(run: Path, dataset: str) -> list[Row]:
    """The baselines of the run's data set, where its comparison has them."""
    file = run.absolute().parent.parent / "references" / f"{dataset}.json"
    with suppress(ValueError):
        return list(store.read_dataset_file(file)) if file.is_file() else []
    return []
