"""Makes an experiment's report: its tables, figures and page."""

from pathlib import Path
from typing import TYPE_CHECKING

from runs.store import read_experiment

if TYPE_CHECKING:
    from reports.contrasts import Judged


def build(root: Path) -> list[Path]:
    """Make the tables, figures and page of the experiment in `root` (`DIR`); return the paths written, the page first.

    See `report`.
    """
    return report(root)[0]


def report(root: Path) -> "tuple[list[Path], Judged]":
    """Make the tables, figures and page of an experiment; return the paths written, the page first, and the outcome.

    The tables are gathered anew where the runs' records are there; figures and page are made from the tables alone, so
    a folder that holds only `tables/` is enough. Raises `InputError` if `root` holds neither.
    """
    from reports import page, tables
    from reports.contrasts import judge

    folder = root / "tables"
    written: list[Path] = []
    if _has_runs(root) or not (folder / "runs.parquet").is_file():
        read_experiment(root)
        written = tables.write(tables.collect(root), folder)
    judged = judge(tables.read(folder))
    return page.write(judged, root / "report") + written, judged


def _has_runs(root: Path) -> bool:
    runs = root / "runs"
    return (root / "experiment.json").is_file() and runs.is_dir() and any(path.is_dir() for path in runs.iterdir())
