"""Makes an experiment's report: its tables, figures and page."""

from pathlib import Path

from runs.store import read_experiment


def build(root: Path) -> list[Path]:
    """Make the tables, figures and page of the experiment in `root` (`DIR`); return the paths written, the page first.

    The tables are gathered anew where the runs' records are there; figures and page are made from the tables alone, so
    a folder that holds only `tables/` is enough. Raises `InputError` if `root` holds neither.
    """
    from reports import page, tables

    folder = root / "tables"
    written: list[Path] = []
    if _has_runs(root) or not (folder / "runs.parquet").is_file():
        read_experiment(root)
        written = tables.write(tables.collect(root), folder)
    return page.write(tables.read(folder), root / "report") + written


def _has_runs(root: Path) -> bool:
    runs = root / "runs"
    return (root / "experiment.json").is_file() and runs.is_dir() and any(path.is_dir() for path in runs.iterdir())
