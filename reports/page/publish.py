"""A shareable report: the same tables and page without the data sets' texts."""

from pathlib import Path

import pandas as pd

from archbench.reports.analysis.contributions import of_texts, right
from archbench.reports.analysis.judgement import judge
from archbench.reports.base import tables
from archbench.reports.base.formatting import portable
from archbench.reports.base.metrics import recorded
from archbench.reports.base.tables import Tables
from archbench.reports.page import page
from archbench.runs.base import disk

TEXTS = ("source", "reference", "answer")
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
    return page.write(judge(tables.read(folder / "tables")), folder / "report") + written


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
    sizes = rows["reference"].map(lambda text: len(text.encode()), na_action="ignore")
    known = {"correct": right(rows), "bytes": pd.to_numeric(sizes).astype("Int32")}
    kept = rows.drop(columns=[name for name in (*TEXTS, *known) if name in rows]).assign(**known)
    kept["log_likelihood"] = kept["log_likelihood"].astype("float32")
    measured = [name for name in (*recorded(), "log_likelihood_shuffled") if name in rows]
    own_rows = kept[["run", "example", "log_likelihood", *known, *measured]]
    return {**tables, "predictions": pd.concat([own_rows, of_texts(tables)], axis=1)}


def shareable(tables: Tables) -> Tables:
    """The tables without the data sets' texts, and with a command that names no folder of this machine."""
    experiment = tables["experiment"].copy()
    command = (experiment["key"] == "command").fillna(False)
    experiment.loc[command, "value"] = experiment.loc[command, "value"].map(portable, na_action="ignore")
    return without_texts({**tables, "experiment": experiment})
