"""The notebook `docs/quickstart.ipynb` runs off line, from top to bottom, and is saved with what it prints."""

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from archbench import command_line

NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"
MOST_BYTES = 300_000
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
SOURCES = ["".join(cell["source"]) for cell in CODE]


def shell(command: str) -> None:
    subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)


def execute(source: str, names: dict[str, Any]) -> None:
    """Does in the current folder what Jupyter does: Python, ``!command {name}``, ``%%writefile FILE``."""
    if source.startswith("%%writefile "):
        first, _, text = source.partition("\n")
        Path(first.split()[1]).write_text(text, encoding="utf-8")
        return
    python = re.sub(r"^!(.*)$", lambda line: f"shell(f{line[1]!r})", source, flags=re.MULTILINE)
    exec(compile(python, str(NOTEBOOK), "exec"), names)


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    matplotlib.use("Agg")
    names: dict[str, Any] = {"__name__": "__main__", "shell": shell}
    for source in SOURCES:
        execute(source, names)
    assert "properties hold" in capfd.readouterr().out
    runs = names["tables"]["runs"]
    assert set(runs["status"]) == {"done"} and len(runs) == 8
    assert set(runs["architecture"]) == {"decoder", "encoder", "encoder-decoder", "mine"}
    assert [row["weights"] for _, row in names["snapshots"].query("rank == 1").iterrows()][-1] == "as scored"
    assert names["snapshots"]["weights"].nunique() == 5
    assert all(panel.images for panel in names["panels"])


def test_the_notebook_is_saved_with_its_outputs() -> None:
    assert NOTEBOOK.stat().st_size < MOST_BYTES
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert all(cell["outputs"] for cell in CODE)
    assert not any(output["output_type"] == "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert not re.search(r"/(home|work|tmp|root)/", json.dumps(outputs))


def test_what_the_notebook_names_exists() -> None:
    text = "\n".join(SOURCES)
    named = set(re.findall(r"\barchbench((?:\.[A-Za-z_]\w*)+)", text))
    assert {".compare", ".figures.curves_tokens"} <= named
    for path in named:
        value: Any = importlib.import_module("archbench")
        for part in path[1:].split("."):
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(f"{value.__name__}.{part}")
            value = getattr(value, part)
    commands = {command.name for command in command_line.app.registered_commands}
    assert {"check", "inspect"} <= set(re.findall(r"^!archbench (\w+)", text, re.MULTILINE)) <= commands
