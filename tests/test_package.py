"""One package is installed: nothing else lies bare, and a user's own files of its folders' names do no harm."""

import inspect
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from setuptools import find_packages

import archbench
from archbench import architectures
from archbench.architectures import Family, Objective

ROOT = Path(__file__).parents[1]
FOLDERS = ("architectures", "tasks", "runs", "reports", "benchmarks", "inspection", "sharing")


def test_every_folder_with_code_is_a_package_that_is_installed() -> None:
    for folder in FOLDERS:
        rooms = {path.parent.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")} - {Path()}
        assert {".".join(room.parts) for room in rooms} == set(find_packages(ROOT / folder))


def test_data_files_are_installed_with_their_room() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.search(r"\[tool\.setuptools\.package-data\]\n(.*?)\n\n", text, re.DOTALL)
    assert declared is not None
    patterns = re.findall(r'"archbench\.([a-z._]+)" = \["([^"]+)"\]', declared[1])
    matched = {path for room, pattern in patterns for path in (ROOT / room.replace(".", "/")).glob(pattern)}
    others = {
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".toml", ".html", ".css")
    }
    assert others and others <= matched


@pytest.mark.parametrize("command", [["script.py"], ["-m", "archbench", "--version"]], ids=["a script", "-m"])
def test_names_of_our_folders_beside_a_script_do_no_harm(command: list[str], tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')\n")
    (tmp_path / "script.py").write_text(
        "import archbench\nfrom archbench.architectures import Size\nfrom archbench.runs.experiment import spec\n"
        "print('archbench', Size(8, 2, 1, 16).head_dim, 'smoke' in spec.presets())\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("archbench"), done.stderr


MASKS = "BIDIRECTIONAL", "CAUSAL", "PREFIX"


def test_what_a_variant_is_made_of_comes_from_one_place() -> None:
    names = [name for names in architectures._MODULES.values() for name in names]
    assert sorted(names) == sorted(architectures.__all__) and set(names) <= set(dir(architectures))
    assert all(
        getattr(architectures, name).__name__ for name in names if name not in ("Norm", "Wiring", "Amount", *MASKS)
    )
    with pytest.raises(AttributeError, match="has no attribute 'Attntion'"):
        _ = architectures.Attntion


def test_what_a_family_takes_and_returns_is_exported() -> None:
    family = [function for name, function in vars(Family).items() if inspect.isfunction(function) and name[0] != "_"]
    hints = [hint for function in family for hint in typing.get_type_hints(function).values()]
    for function in (Objective.prepare, Objective.loss, Objective.log_likelihood, Objective.generate):
        hints += typing.get_type_hints(function).values()
    types = {part for hint in hints for part in (hint, *typing.get_args(hint)) if inspect.isclass(part)}
    ours = {part.__name__ for part in types if part.__module__.startswith("archbench.")}
    assert {"Batch", "LossInputs", "StateIndex", "States", "Targets"} <= ours <= set(architectures.__all__)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, archbench, archbench.architectures; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT).returncode == 0
    assert archbench.__all__ == ["compare", "figures", "reproduce"]
