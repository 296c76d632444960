"""`compare` gives the built-in architectures the same numbers with and without a hostile file beside them.

And texts that a file's model writes are scored by the metrics as they are, not as the file has made them.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from archbench.reports.base import tables
from archbench.runs.execution import compare
from archbench.runs.experiment import spec
from archbench.runs.planning.isolation import Architectures

HONEST = '''"""A decoder of its own."""
from archbench.architectures.catalogue import catalogue


def build(size, limits):
    return catalogue.find("decoder").build(size, limits)
'''
SCORES_ITSELF = """

import numpy as np
import sacrebleu.metrics.bleu
import sklearn.metrics
from archbench.runs.scoring import score
from archbench.tasks.kinds import task
from archbench.tasks.metrics import metrics
from archbench.tasks.metrics.metric import Metric

real, measure = Metric.score, task.measure
Metric.score = lambda self, references, answers: real(self, references, references)
task.measure = score.task.measure = lambda prepared, outputs: measure(prepared, right(outputs))
metrics.equal = lambda references, answers: np.ones(len(references))
metrics.macro_f1 = lambda sums: np.ones(len(sums))
sklearn.metrics.f1_score = lambda *_, **named: 1.0
sacrebleu.metrics.bleu.BLEU.compute_bleu = staticmethod(lambda *_, **named: 100.0)


def right(outputs):
    from dataclasses import replace
    return replace(outputs, answers=list(outputs.references))
"""
SPOILS_OTHERS = """

import random, time
import numpy as np
import torch
from torch.nn import functional as F
from archbench.architectures.components.attention import Attention
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.runs.budgets import budget
from archbench.tasks.text.tokenizers import Tokenizer

random.seed(0), np.random.seed(0), torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
attend = Attention.forward
Attention.forward = lambda self, *given: (given[0], *attend(self, *given)[1:])
GatedFeedForward.forward = lambda self, x: x
F.softmax = F.silu = F.relu = lambda x, *_, **named: x
torch.optim.AdamW.step = lambda self, closure=None: None
torch.manual_seed = lambda seed: None
budget.fit = lambda build, start, *_, **named: start
Tokenizer.decode = lambda self, ids: ""
time.perf_counter = lambda: 0.0
"""
EXPERIMENT: dict[str, Any] = {
    "name": "tiny",
    "budget": {"parameters": 20_000, "tokens": 3_000},
    "model": {"width": 32},
    "training": {"batch_tokens": 200, "learning_rate": 0.01, "precision": "float32"},
    "tasks": [
        {"kind": "classification", "name": "kinds", "data": "kinds.tsv", "tokenizer": "word", "vocabulary": 64},
        {"kind": "translation", "name": "turned", "data": "turned.tsv", "tokenizer": "char", "test_examples": 20},
    ],
}
BUILTIN = ["decoder", "encoder"]
MEASURED = ("seconds", "per_second", "memory")  # parts of the names of columns that differ between any two runs


def compared(folder: Path, name: str, files: dict[str, str]) -> tables.Tables:
    """The tables of a comparison of built-in architectures and files, in one worker."""
    for file, text in files.items():
        (folder / file).write_text(text)
    experiment = spec.from_dict({**EXPERIMENT, "architectures": [*BUILTIN, *files]}, folder=folder)
    compare.run(experiment, folder / name, compare.RunOptions(device="cpu", jobs=1), "", lambda line: None)
    return tables.collect(folder / name)


def rows_of(given: tables.Tables, name: str, architectures: list[str]) -> pd.DataFrame:
    """The rows of a table that are about these architectures, without what was measured with a clock."""
    runs, table = given["runs"], given[name]
    mine = table[table["run"].isin(runs.loc[runs["architecture"].isin(architectures), "run"])]
    kept = [column for column in mine if not any(part in str(column) for part in MEASURED)]
    return mine[kept].sort_values(kept[:4]).reset_index(drop=True).dropna(axis="columns", how="all")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[tables.Tables, tables.Tables]:
    """The tables beside an honest file, and beside a file that scores itself and one that spoils everything."""
    folder = tmp_path_factory.mktemp("hostile")
    words = [f"{word} number {n}" for word in ("red", "blue") for n in range(60)]
    labelled, turned = [f"{text}\t{text.split()[0]}" for text in words], [f"{text}\t{text[::-1]}" for text in words]
    (folder / "kinds.tsv").write_text("\n".join(["text\tlabel", *labelled]) + "\n")
    (folder / "turned.tsv").write_text("\n".join(["source\ttarget", *turned]) + "\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ARCHBENCH_CACHE", str(folder / "cache"))
        for check in ("check_contract", "check_plans"):  # takes a minute, and is not what protects the others
            patched.setattr(Architectures, check, lambda *_: None)
        honest = compared(folder, "honest", {"mine.py": HONEST})
        hostile = compared(folder, "hostile", {"mine.py": HONEST + SCORES_ITSELF, "worse.py": HONEST + SPOILS_OTHERS})
    return honest, hostile


@pytest.mark.parametrize("name", ["runs", "scores", "decodings", "curves", "predictions"])
def test_built_in_architectures_keep_every_number(both: tuple[tables.Tables, tables.Tables], name: str) -> None:
    honest, hostile = (rows_of(given, name, BUILTIN) for given in both)
    assert {"worse"} <= set(both[1]["runs"]["architecture"]) and "worse" not in set(both[0]["runs"]["architecture"])
    pd.testing.assert_frame_equal(honest, hostile, check_exact=True)
    assert len(honest) and (name == "decodings" or set(honest["run"]) == set(rows_of(both[0], "runs", BUILTIN)["run"]))


def test_baselines_are_the_same(both: tuple[tables.Tables, tables.Tables]) -> None:
    honest, hostile = (given["references"].drop(columns="made_from", errors="ignore") for given in both)
    pd.testing.assert_frame_equal(honest, hostile, check_exact=True)


def test_a_file_that_scores_itself_gains_nothing(both: tuple[tables.Tables, tables.Tables]) -> None:
    def scores(given: tables.Tables) -> "pd.Series[float]":
        runs = given["runs"].set_index("run")
        rows = rows_of(given, "scores", ["mine"])
        rows = rows.assign(dataset=rows["run"].map(runs["dataset"]))
        return rows.set_index(["dataset", "split", "metric"])["value"].sort_index()

    honest, hostile = map(scores, both)
    pd.testing.assert_series_equal(honest, hostile, check_exact=True)
    assert (honest[honest.index.get_level_values("metric") == "exact_match"] < 1).all()
