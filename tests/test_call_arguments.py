"""The Python call refuses what the file and the command line refuse, in one line, and takes NumPy's numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import archbench
from archbench import inputs
from archbench.runs.execution import compare
from archbench.runs.experiment import spec
from archbench.runs.experiment.validation import validated
from archbench.tasks.base.errors import InputError

EXPERIMENT = {
    "name": "mine",
    "architectures": ["decoder"],
    "budget": {"parameters": 20_000, "tokens": 1_000},
    "training": {"batch_tokens": 512},
    "tuning": {"learning_rate": [0.001, 0.01], "seeds": [7]},
    "tasks": [{"data": "phrases-en-de:200", "name": "phrases"}],
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": "abc"}, 'seeds: "abc": expected a list'),
        ({"seeds": [-1]}, "seeds[0]: -1: expected at least 0"),
        ({"seeds": [1.5]}, "seeds[0]: 1.5: expected a whole number"),
        ({"seeds": 1.5}, "seeds: 1.5: expected a list"),
        ({"seeds": True}, "seeds: true: expected a list"),
        ({"seeds": [True]}, "seeds[0]: true: expected a whole number"),
        ({"seeds": ["0"]}, 'seeds[0]: "0": expected a whole number'),
        ({"seeds": [0, np.int64(0)]}, "seeds: 0 is given twice"),
        ({"seeds": np.arange(0)}, "seeds: is empty"),
        ({"seeds": 10**9}, "seeds: 1000000000: expected at most 10000"),
        ({"seeds": [2**31]}, "seeds[0]: 2147483648: expected less than"),
        ({"seeds": 8}, "tuning.seeds: 7 is a seed of the reported runs of phrases"),
        ({"architectures": "decoder"}, 'architectures: "decoder": expected a list'),
        ({"architectures": [1]}, "architectures[0]: 1: expected text"),
        ({"architectures": [""]}, "architectures[0]: is empty"),
        ({"tasks": "phrases"}, 'tasks: "phrases": expected a list'),
        ({"tasks": [None]}, "tasks[0]: None: expected text"),
        ({"match": 3}, "match: 3: expected a list"),
        ({"match": []}, "match: is empty"),
        ({"device": 3}, "device: 3: expected text"),
        ({"device": "gpu"}, 'device: "gpu": expected auto, cpu or cuda'),
        ({"jobs": -1}, "jobs: -1: expected at least 1"),
        ({"jobs": 0}, "jobs: 0: expected at least 1"),
        ({"jobs": True}, "jobs: true: expected a whole number"),
        ({"jobs": "2"}, 'jobs: "2": expected a whole number'),
        ({"jobs": 1.5}, "jobs: 1.5: expected a whole number"),
        ({"deterministic": "no"}, 'deterministic: "no": expected true or false'),
        ({"deterministic": 1}, "deterministic: 1: expected true or false"),
        ({"out": 3}, "out: 3: expected a folder"),
        ({"out": ""}, "out: is empty; name a folder"),
    ],
)
def test_a_wrong_argument_is_one_line_and_nothing_is_written(
    options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        archbench.compare(EXPERIMENT, **options)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("experiment", [None, 3, ["quick"], b"quick"])
def test_what_is_no_experiment_is_named(experiment: Any) -> None:
    with pytest.raises(InputError, match=r"experiment: .*expected a file, a preset.s name or a dictionary"):
        archbench.compare(experiment)


@pytest.mark.parametrize("seeds", [2, np.int64(2), [0, 1], (0, 1), range(2), np.arange(2), [np.int32(0), 1.0], 2.0])
def test_seeds_of_python_and_numpy_mean_the_same(seeds: Any) -> None:
    assert spec.override(spec.from_dict(EXPERIMENT), seeds=seeds).seeds == (0, 1)
    if not np.isscalar(seeds):
        assert spec.from_dict({**EXPERIMENT, "seeds": seeds}).seeds == (0, 1)


def test_other_arguments_of_numpy_and_pathlib_are_taken(tmp_path: Path) -> None:
    options = {"jobs": np.int64(2), "deterministic": np.bool_(True)}
    assert validated(compare.RunOptions, options) == compare.RunOptions(jobs=2, deterministic=True)
    changed = spec.override(spec.from_dict(EXPERIMENT), architectures=[tmp_path / "mine.py"])
    assert changed.architectures == (str(tmp_path / "mine.py"),)


def test_the_recorded_call_holds_plain_values() -> None:
    call = inputs.call("quick", seeds=np.arange(2), jobs=np.int64(1), deterministic=np.bool_(False))
    assert call == "archbench.compare('quick', seeds=[0, 1], jobs=1)"
