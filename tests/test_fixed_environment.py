"""Users' files run under a fixed hash seed, without the caller's variables, and with those that the experiment gives.

The real command runs in processes of its own, so that nothing of pytest's environment helps.
"""

import os
import shutil
import subprocess
import sys
import time
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

NOTE = """
import os, sys
from pathlib import Path
with open(Path(__file__).parent / "seen", "a") as file:
    print(Path(__file__).name, sys.flags.hash_randomization, os.environ.get("WINDOW", "unset"), file=file)
"""
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
from archbench.tasks.base.values import Score
from archbench.tasks.kinds.classification import KIND as LIKE


def measure(prepared, outputs):
    value = 1 / float(os.environ.get("WINDOW", "4"))
    return [Score("accuracy", value, value, value, len(outputs.references))]


kind = replace(LIKE, name="windowed", metrics=("accuracy",), measure=measure)
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
architectures = ["decoder"]
[budget]
parameters = 20_000
tokens = 2_000
[model]
width = 32
[training]
batch_tokens = 512
precision = "float32"
[[tasks]]
kind = "kinds.py"
name = "colours"
data = "things.csv"
metrics = ["metrics.py:window"]
tokenizer = "word"
vocabulary = 64
source_length = 8
test_examples = 10
"""
BUILTIN = EXPERIMENT.replace("kinds.py", "classification").replace('metrics = ["metrics.py:window"]\n', "")
OF_A_VARIANT = BUILTIN.replace("decoder", "mine.py")
TRAINING = """
import sys
from pathlib import Path
from archbench.runs.execution.execute import execute
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix

place = Path(sys.argv[1])
experiment = spec.load(place / "variant.toml", {"environment": dict(word.split("=") for word in sys.argv[2:])})
planned = matrix.plan(
    experiment, device="cpu", deterministic=False, cache=place / "cache", root=place / "out", say=lambda line: None
)
outcome = execute(planned.plans, place / "out", 1, lambda event: None)
assert outcome.status == 0, outcome
print(*(plan.run for plan in planned.plans))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    commands.write(tmp_path, EXPERIMENT)
    files = {"mine.py": VARIANT, "kinds.py": KIND, "metrics.py": METRIC, "variant.toml": OF_A_VARIANT}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def called(place: Path, *arguments: str, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Status, output and errors of the real command in the caller's environment ``env``."""
    process = commands.start(place, *arguments, env=dict(env))
    output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


def compared(place: Path, out: str, *more: str, env: Mapping[str, str]) -> dict[str, list[float]]:
    """The test scores of each run of a comparison, by name: accuracy and, where it is asked for, the user's metric."""
    arguments = ("compare", str(place / "small.toml"), "--out", str(place / out), "--jobs", "1", *more)
    status, _, errors = called(place, *arguments, env=env)
    assert status == 0, errors
    scores = pd.read_parquet(place / out / "tables/scores.parquet")
    scores = scores[(scores["split"] == "test") & scores["metric"].isin(["accuracy", "window"])]
    return {run: list(rows.sort_values("metric")["value"]) for run, rows in scores.groupby("run")}


def trained(place: Path, env: Mapping[str, str], *variables: str) -> Path:
    """The folder of a run of the variant, planned and trained as `compare` does it, without the checks of the file."""
    command = [sys.executable, "-P", "-c", TRAINING, str(place), *variables]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, cwd=place, timeout=300)
    assert done.returncode == 0, done.stderr
    return place / "out" / "runs" / done.stdout.strip()


def seen(folder: Path) -> set[tuple[str, ...]]:
    """File, whether hashes are random, and the window, of every time that a file in this folder was run."""
    return {tuple(line.split()) for line in (folder / "seen").read_text().splitlines()}


def test_neither_hash_seed_nor_variables_of_the_caller_change_a_run_of_a_variant(place: Path) -> None:
    first = trained(place, {"PYTHONHASHSEED": "1", "WINDOW": "9"})
    weights = (first / "model.safetensors").read_bytes()
    shutil.rmtree(place / "out")
    again = trained(place, {"PYTHONHASHSEED": "2"})
    assert again.name == first.name
    assert (again / "model.safetensors").read_bytes() == weights
    assert seen(place) == {("mine.py", "0", "unset")}


def test_a_variable_of_the_experiment_reaches_a_variant_and_names_its_runs(place: Path) -> None:
    plain = trained(place, {})
    given = fixed_environment.environment({"WINDOW": "8"})
    wide = trained(place, given, "WINDOW=8")
    assert wide.name != plain.name
    assert (wide / "model.safetensors").read_bytes() != (plain / "model.safetensors").read_bytes()
    assert seen(place) == {("mine.py", "0", "unset"), ("mine.py", "0", "8")}


def test_kinds_and_metrics_see_the_experiments_variables_and_none_of_the_callers(place: Path) -> None:
    caller = {"PYTHONHASHSEED": "1", "WINDOW": "9"}
    plain = compared(place, "out", env=caller)
    assert list(plain.values()) == [[0.25, 4.0]]
    eight = compared(place, "out", "--set", 'environment.WINDOW="8"', env=caller)
    assert list(eight.values()) == [[0.125, 8.0]]
    assert eight.keys() != plain.keys()
    assert {row[1:] for row in seen(place)} == {("0", "unset"), ("0", "8")}


def test_a_call_from_python_runs_no_users_file_in_its_own_process(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDOW", "9")
    tables = archbench.compare(place / "small.toml", place / "out", jobs=1, set={"environment": {"WINDOW": "2"}})
    scores = tables["scores"].set_index(["split", "metric"])["value"]
    assert (scores["test", "accuracy"], scores["test", "window"]) == (0.5, 2.0)
    assert {row[1:] for row in seen(place)} == {("0", "2")}
    with pytest.raises(InputError, match='the file has no "absent"'):  # told by the child
        archbench.compare(place / "small.toml", place / "out", set={"tasks.colours.metrics": ["metrics.py:absent"]})


def test_builtin_architectures_and_kinds_run_without_the_variables_and_keep_their_names(place: Path) -> None:
    (place / "small.toml").write_text(BUILTIN)
    plain = compared(place, "plain", env={"ONEDNN_MAX_CPU_ISA": "SSE41"})
    assert compared(place, "given", "--set", "environment.ONEDNN_MAX_CPU_ISA=SSE41", env={}) == plain


def test_commands_on_a_run_load_its_variant_in_the_same_environment(place: Path) -> None:
    run = trained(place, fixed_environment.environment({"WINDOW": "8"}), "WINDOW=8")
    more = {"predict": ["red house"], "inspect": ["--out", str(place / "page")], "export": [str(place / "model")]}
    for command, arguments in more.items():
        status, _, errors = called(place, command, str(run), *arguments, env={"PYTHONHASHSEED": "1", "WINDOW": "9"})
        assert status == 0, errors
        assert seen(run) == {("variant.py", "0", "8")}
        (run / "seen").unlink()


def test_check_loads_a_file_in_the_same_environment(place: Path) -> None:
    process = commands.start(place, "check", str(place / "mine.py"), env={"PYTHONHASHSEED": "1", "WINDOW": "9"})
    try:
        while process.poll() is None and not (place / "seen").exists():
            time.sleep(0.1)
    finally:
        process.kill()
        process.communicate()
    assert seen(place) == {("mine.py", "0", "unset")}


@pytest.mark.parametrize(
    ("variables", "mistake"),
    [
        ({"PATH": "/bin"}, "PATH: it is set by the caller"),
        ({"PYTHONHASHSEED": "3"}, "PYTHONHASHSEED: it is set by the caller"),
        ({"ARCHBENCH_CACHE": "x"}, "ARCHBENCH_CACHE: it is set by the caller"),
        ({"MY WINDOW": "3"}, "expected a name of letters"),
        ({"WINDOW": 3}, "environment.WINDOW"),
    ],
)
def test_wrong_variables_are_refused(variables: dict[str, Any], mistake: str, place: Path) -> None:
    with pytest.raises(InputError, match=mistake):
        spec.load(place / "variant.toml", {"environment": variables})


def test_what_changes_results_does_not_pass() -> None:
    changing = ("WINDOW", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_CBWR")
    changing += ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NCCL_ALGO")
    assert not any(map(fixed_environment.passes, changing))
    assert all(map(fixed_environment.passes, ("PATH", "HOME", "http_proxy", "LC_ALL", "CUDA_VISIBLE_DEVICES")))
