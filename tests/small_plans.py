"""Small experiments, planned without training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archbench.runs.experiment import spec
from archbench.runs.planning import matrix
from archbench.runs.planning.matrix import Matrix


def write_things(folder: Path) -> None:
    """``things.tsv``: 600 short texts with three labels."""
    rows = [f"{colour} house {n} by the sea\t{colour}" for colour in ("red", "blue", "green") for n in range(200)]
    (folder / "things.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")


def plan(values: Mapping[str, Any], folder: Path, root: Path, say: Callable[[str], None] = lambda line: None) -> Matrix:
    """The runs of an experiment on data in ``folder``; outcomes of trials are read from ``root``."""
    return matrix.plan(
        spec.from_dict(dict(values), folder=folder),
        device="cpu",
        deterministic=False,
        cache=folder / "cache",
        root=root,
        say=say,
    )
