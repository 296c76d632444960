"""A shareable report: the same tables and page without the data sets' texts."""

from pathlib import Path

from archbench.reports.base import tables
from archbench.reports.base.formatting import portable
from archbench.reports.base.tables import Tables
from archbench.reports.page import page
from archbench.reports.report import Report
from archbench.runs.store import disk
from archbench.tasks.metrics.builtin import BUILTIN

LARGE = ("predictions", "curves")  # as Parquet alone


def publish(root: Path, folder: Path) -> list[Path]:
    """Write the report in `root` without its texts into `folder`; return the paths written, the page first.

    Of a prediction there remain whether it is right, its ROUGE or stored bits, what it contributes to BLEU, chrF and
    macro F1, how many bytes its reference has and its log-likelihood, so that intervals are the same.
    """
    check(root, folder)
    published = shareable(tables.read(root / "tables"))
    written = tables.write({name: frame for name, frame in published.items() if name not in LARGE}, folder / "tables")
    for name in LARGE:
        written.append(tables.write_parquet(published[name], folder / "tables" / f"{name}.parquet"))
    return page.write(Report(tables.read(folder / "tables")), folder / "report") + written


def check(root: Path, folder: Path) -> None:
    """Raises `ValueError` or `OSError` where nothing can be published into `folder`; leaves nothing there."""
    target, source = folder.resolve(), root.resolve()
    if target == source or (folder / "experiment.json").exists():
        raise ValueError(f"--publish: {folder} is the folder of a comparison; name another one")
    if source in target.parents:
        raise ValueError(f"--publish: {folder} is inside the folder of the comparison; name one outside of it")
    disk.check_writable(folder)


def without_texts(tables: Tables) -> Tables:
    """The tables with numbers in place of the texts of `predictions`."""
    rows = tables["predictions"]
    measured = [name for name, metric in BUILTIN.items() if metric.recorded and name in rows]
    smaller = {name: "float32" for name in ("log_likelihood", *(name for name in measured if BUILTIN[name].of_sums))}
    shuffled = [name for name in ("log_likelihood_shuffled",) if name in rows]
    kept = rows[["run", "example", "log_likelihood", "correct", "bytes", *measured, *shuffled]]
    return {**tables, "predictions": kept.astype({**smaller, "bytes": "Int32"})}


def shareable(tables: Tables) -> Tables:
    """The tables without the data sets' texts, and with a command that names no folder of this machine."""
    experiment = tables["experiment"].copy()
    command = (experiment["key"] == "command").fillna(False)
    experiment.loc[command, "value"] = experiment.loc[command, "value"].map(portable, na_action="ignore")
    return without_texts({**tables, "experiment": experiment})
