"""A new key of the experiment file is one line in ``sections.py``: here that line is added, and nothing else is."""

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import tiny_runs

from archbench.runs.experiment import spec

VALUES: dict[str, Any] = {
    "name": "tiny",
    "architectures": ["decoder"],
    "budget": {"parameters": 20_000, "tokens": 1_500},
    "model": {"width": 32},
    "training": {"batch_tokens": 250, "precision": "float32"},
    "tasks": [{"name": "colours", "test_examples": 5, **tiny_runs.TASKS["colours"]}],
}
LINES = {  # above each new line, the one that it follows
    "    clip: Annotated[Number, Field(ge=0)] = 1.0\n": "    momentum: Annotated[Fraction, Key(later=True)] = 0.5\n",
    '    supervision: Supervision = "native"\n': '    schedule: Annotated[str, Key(later=True)] = "linear"\n',
    "    depth: Annotated[Whole, Field(ge=1, le=96)] | None = None\n": "    kv: Annotated[int, Key(later=True)] = 1\n",
}
PLACES = ("experiment", "task", "condition")
ALONE: dict[str, Any] = {"training": {"momentum": 0.9}, "schedule": "cosine", "model": {"kv": 2}}
IN_A_CHANGED_ROOM = """
import importlib.machinery, importlib.util, json, sys
from pathlib import Path
import archbench.runs.experiment as room

folder, lines, cases = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
path, name = Path(room.__file__).with_name("sections.py"), "archbench.runs.experiment.sections"
source = path.read_text()
for above, line in lines.items():
    assert source.count(above) == 1, above
    source = source.replace(above, above + line)
sys.modules[name] = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, None))
exec(compile(source, str(path), "exec"), sys.modules[name].__dict__)

import tiny_runs
from archbench.runs.experiment import settings, spec

def outcome(values, words):
    experiment = spec.from_dict(values, folder=folder, settings=settings.parsed(words))
    matrix = tiny_runs.planned(experiment, folder, folder / "none")
    plans = {plan.run: plan for plan in matrix.plans}
    plan, task = plans[matrix.entries[-1].run], experiment.tasks_and_conditions[-1]
    recorded = task.plain()
    return {
        "momentum": plan.training.momentum,
        "schedule": task.schedule,
        "run": plan.run,
        "recorded": ["momentum" in recorded["training"], "schedule" in recorded],
    }

print(json.dumps({case: outcome(*given) for case, given in cases.items()}))
"""


def written(where: str, **keys: Any) -> dict[str, Any]:
    """The experiment with these keys in one of its tables."""
    if where == "experiment":
        return {**VALUES, **{key: {**VALUES[key], **keys[key]} if key in VALUES else keys[key] for key in keys}}
    if where == "task":
        return {**VALUES, "tasks": [{**VALUES["tasks"][0], **keys}]}
    return {**VALUES, "conditions": [keys]}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last task or condition of each experiment and its run, where the file of keys has the new lines."""
    both = {"training": {"momentum": 0.9}, "schedule": "cosine"}
    cases: dict[str, Any] = {where: (written(where, **both), []) for where in PLACES}
    for where, (key, value) in product(PLACES, ALONE.items()):
        cases[f"{key} in {where}"] = written(where, **{key: value}), []
    for kv in (1, 2):
        stage = {"name": "before", "data": "things.txt", "vocabulary": 300, "context": 16, "model": {"kv": kv}}
        task = {**VALUES["tasks"][0], "start": "before"}
        cases[f"pretraining {kv}"] = {**VALUES, "tasks": [task], "pretraining": [stage]}, []
    cases["default"] = written("task", training={"momentum": 0.5}, schedule="linear", model={"kv": 1}), []
    cases["neither"] = VALUES, []
    cases["--set"] = VALUES, ["training.momentum=0.9", "schedule=cosine"]
    cases["--set of a task"] = VALUES, ["tasks.colours.training.momentum=0.9", "tasks.colours.schedule=cosine"]
    folder = tiny_runs.write_data(tmp_path_factory.mktemp("keys"))
    words = (str(folder), json.dumps(LINES), json.dumps(cases))
    command = [sys.executable, "-c", IN_A_CHANGED_ROOM, *words]
    path = {"PYTHONPATH": str(Path(__file__).parent)}
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **path})
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_new_key_may_stand_wherever_its_table_does_and_reaches_the_recipe(outcomes: dict[str, Any]) -> None:
    places = (*PLACES, "--set", "--set of a task")
    assert all((outcomes[place]["momentum"], outcomes[place]["schedule"]) == (0.9, "cosine") for place in places)
    assert {outcomes[place]["run"] for place in places} == {outcomes["task"]["run"]}
    assert all(outcomes[place]["recorded"] == [True, True] for place in places)


def test_a_new_key_alone_names_runs_wherever_it_stands(outcomes: dict[str, Any]) -> None:
    names = {key: {outcomes[f"{key} in {where}"]["run"] for where in PLACES} for key in ALONE}
    assert all(len(found) == 1 for found in names.values())
    assert len(set.union(*names.values(), {outcomes["neither"]["run"], outcomes["task"]["run"]})) == len(ALONE) + 2
    assert outcomes["pretraining 1"]["run"] != outcomes["pretraining 2"]["run"]


def test_a_new_key_names_and_records_runs_only_where_it_differs_from_its_default(
    outcomes: dict[str, Any], tmp_path: Path
) -> None:
    folder = tiny_runs.write_data(tmp_path)
    (before,) = tiny_runs.planned(spec.from_dict(VALUES, folder=folder), folder, folder / "none").plans
    for case in ("neither", "default"):
        assert (outcomes[case]["run"], outcomes[case]["recorded"]) == (before.run, [False, False])
    assert outcomes["task"]["run"] != before.run
