"""Users' files run under a fixed hash seed, without the caller's variables, and with those that the experiment gives.

The real command runs in processes of its own, so that nothing of pytest's environment helps.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import commands
import pandas as pd
import pytest

import archbench
from archbench.runs.experiment import spec
from archbench.tasks.base import fixed_environment
from archbench.tasks.base.errors import InputError

NOTE = '''
import os, sys
from pathlib import Path
with open(Path(__file__).parent / "seen", "a") as file:
    print(Path(__file__).name, sys.flags.hash_randomization, os.environ.get("WINDOW", "unset"), file=file)
'''
# The order of a set decides which weights are drawn first; the window, how large they are.
VARIANT = f'''"""A decoder whose weights are drawn in the order of a set."""
{NOTE}
import torch
from archbench.architectures.catalogue import catalogue


def build(size, limits):
    model = catalogue.find("decoder").build(size, limits)
    weights = {{name: weight for name, weight in model.named_parameters() if weight.dim() == 2}}
    for name in set(weights):
        torch.nn.init.normal_(weights[name], std=0.01 * int(os.environ.get("WINDOW", "4")))
    return model
'''
KIND = f'''"""Colours, measured by what the environment says."""
{NOTE}
from dataclasses import replace
from archbench.tasks import Metric, Score
from archbench.tasks.kinds.classification import KIND as LIKE
from archbench.tasks.kinds.task import USUAL


def measure(prepared, outputs):
    scores = USUAL["labels"].measure(prepared, outputs)
    window = float(os.environ.get("WINDOW", "4"))
    return [replace(score, value=score.value / window, low=None, high=None) for score in scores]


KIND = replace(LIKE, name="windowed", measure=measure)
'''
METRIC = f'''"""A metric of what the environment says."""
{NOTE}
DIRECTION, RANGE = "higher", (0.0, 100.0)


def window(references, predictions):
    """The window."""
    return float(os.environ.get("WINDOW", "4"))
'''
EXPERIMENT = """
name = "small"
architectures = ["mine.py"]
[budget]
parameters = 20_000
tokens = 2_000
[model]
width = 32
[training]
batch_tokens = 512
precision = "float32"
[[tasks]]
kind = "classification"
name = "colours"
data = "things.csv"
tokenizer = "word"
vocabulary = 64
source_length = 8
test_examples = 10
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    commands.write(tmp_path, EXPERIMENT)
    for name, text in (("mine.py", VARIANT), ("kinds.py", KIND), ("metrics.py", METRIC)):
        (tmp_path / name).write_text(text)
    return tmp_path


def compared(place: Path, *more: str, out: str = "out", env: Mapping[str, str] | None = None) -> dict[str, float]:
    """The primary score of each run of a comparison by the real command, by name."""
    arguments = ("compare", str(place / "small.toml"), "--out", str(place / out), "--jobs", "1", *more)
    process = commands.start(place, *arguments, env=env or {})
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    scores = pd.read_parquet(place / out / "tables/scores.parquet").query("split == 'test' and metric == 'nll'")
    return dict(zip(scores["run"], scores["value"], strict=True))


def seen(place: Path) -> set[tuple[str, ...]]:
    """File, whether hashes are random, and the window, of every time that a file was run."""
    return {tuple(line.split()) for line in (place / "seen").read_text().splitlines()}
