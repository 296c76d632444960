"""Makes an experiment's report: its tables, figures and page."""

import gc
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from archbench.runs.store.locks import REPORT_LOCK, locked
from archbench.runs.store.store import read_experiment
from archbench.tasks.base.sealed import read_json, write_json

if TYPE_CHECKING:
    from archbench.reports.base.tables import Tables
    from archbench.reports.report import Report


MADE: Final = ".made.json"  # what a report was made from, and which files it has


def build(root: Path) -> list[Path]:
    """Make the tables, figures and page of the experiment in `root` (`DIR`); return the paths written, the page first.

    See `report`.
    """
    return report(root)[0]


def report(root: Path, anew: bool = True, say: Callable[[str], None] = print) -> "tuple[list[Path], Report]":
    """Make the tables, figures and page of an experiment; return the paths written, the page first, and the outcome.

    The tables are gathered anew where the runs' records are there; figures and page are made from the tables alone, so
    a folder that holds only `tables/` is enough. Unless ``anew``, figures and page stay where they were made from the
    same tables by the same code and are all there. One process at a time makes them. Raises `InputError` if `root`
    holds neither, or tables that are not archbench's.
    """
    from archbench.reports.published import schema

    gather = _has_runs(root) or not (root / "tables" / "runs.parquet").is_file()
    if gather:
        read_experiment(root)
    given = None if gather else schema.read(root / "tables")
    with locked(root, say, REPORT_LOCK), _less_frequent_gc():
        return _report(root, given, anew)


def gathered(root: Path) -> "Tables":
    """The tables of a comparison: from the records of its runs where they are there, else those that were written.

    Nothing is written. Raises ``InputError`` if ``root`` holds neither, or faulty tables.
    """
    from archbench.reports.base import tables
    from archbench.reports.published import schema

    folder = schema.place(root)
    if _has_runs(root) or not (folder / "runs.parquet").is_file():
        read_experiment(root)
        return tables.collect(root)
    return schema.read(folder)


def _report(root: Path, given: "Tables | None", anew: bool) -> "tuple[list[Path], Report]":
    """Makes the report of the ``given`` tables, or of those that are gathered from the records of runs."""
    from archbench.reports.base import tables
    from archbench.reports.page import page
    from archbench.reports.report import Report

    folder = root / "tables"
    written = tables.write(tables.collect(root), folder) if given is None else []
    judged = Report(tables.read(folder) if given is None else given)
    made, stamp = root / "report" / MADE, _stamp(folder)
    drawn = [] if anew else _unchanged(made, stamp)
    if not drawn:
        made.unlink(missing_ok=True)
        drawn = page.write(judged, root / "report")
        write_json(made, {"from": stamp, "files": [path.name for path in drawn]})
    return drawn + written, judged


@contextmanager
def _less_frequent_gc() -> Iterator[None]:
    """Tables and figures are many long-lived objects; collecting garbage less often saves a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _unchanged(made: Path, stamp: str) -> list[Path]:
    """The files of a report that was made from what ``stamp`` stands for, the page first; none if one is missing."""
    try:
        record = read_json(made)
        paths = [made.parent / str(name) for name in record["files"]] if record["from"] == stamp else []
    except (ValueError, KeyError, TypeError):
        return []
    return paths if all(path.is_file() for path in paths) else []


def _stamp(folder: Path) -> str:
    """A hash of the tables and of the code that makes a page of them."""
    code = sorted(
        path for path in Path(__file__).parents[1].rglob("*") if path.suffix in (".py", ".html", ".css", ".toml")
    )
    digest = hashlib.sha256()
    for path in (*sorted(folder.glob("*.parquet")), *code):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _has_runs(root: Path) -> bool:
    runs = root / "runs"
    return (root / "experiment.json").is_file() and runs.is_dir() and any(path.is_dir() for path in runs.iterdir())
