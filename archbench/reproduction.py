"""Trains runs of published tables again and compares their scores with the published ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archbench.tasks.base.progress import Say

if TYPE_CHECKING:
    import pandas as pd

    from archbench.reports.base.tables import Tables
    from archbench.runs.execution.compare import RunOptions
    from archbench.runs.execution.execute import Outcome
    from archbench.runs.planning.published import PublishedRun

FILE = "reproduction.csv"


@dataclass(frozen=True)
class Reproduction:
    """How the runs ended, their folder and, unless they were interrupted, a row of the comparison for each score."""

    outcome: "Outcome"
    root: Path
    rows: "pd.DataFrame | None" = None

    @property
    def status(self) -> int:
        """The exit status: that of the runs, or 1 where a score disagrees."""
        from archbench.reports.analysis import reproduction

        return self.outcome.status or int(self.rows is not None and reproduction.disagrees(self.rows))


def reproduce(
    folder: Path, root: Path | None, number: int | None, options: "RunOptions", command: str, say: Say
) -> Reproduction:
    """Trains ``number`` runs (None: all) of the tables in ``folder`` again, in ``root``, and compares their scores."""
    from archbench.reports.analysis import reproduction
    from archbench.reports.base import tables
    from archbench.reports.base.declared import specification
    from archbench.runs.execution import reproduce
    from archbench.runs.experiment import spec
    from archbench.tasks.base.errors import InputError

    published = read(folder)
    stated = specification(published)
    if not stated:
        raise InputError(f"{folder}: the table experiment has no specification; give tables as compare writes them")
    chosen = reproduction.choose(published, number)
    if not chosen:
        raise InputError(f"{folder}: no finished run with scores in these tables; finish the comparison first")
    experiment = spec.recorded(stated, origin=str(folder), folder=_data_folder(folder, chosen[0]["run"]))
    root = root or Path("results") / f"reproduce-{experiment.name}"
    if root.resolve() in (folder.resolve(), (folder / "tables").resolve()):
        raise InputError(f"{root}: holds the published tables; give another --out")
    runs = [published_run(row, published) for row in chosen]
    outcome, again = reproduce.run(experiment, runs, root, options, command, say)
    if outcome.signal is not None or outcome.unfinished or outcome.full or not again:
        return Reproduction(outcome, root)
    names = {item.published.run: item.plan.run for item in again}
    alike = {item.plan.run for item in again if not item.differences}
    rows = reproduction.verdicts(published, tables.collect(root), chosen, names, alike)
    differences = {item.plan.run: "; ".join(item.differences) for item in again}
    rows["differences"] = rows["run"].map(differences)
    tables.write_csv(rows, root / FILE)
    return Reproduction(outcome, root, rows)


def read(folder: Path) -> "Tables":
    """The tables in ``folder`` or in ``folder/tables``; raises ``InputError`` where there are none or faulty ones."""
    from archbench.reports.base import schema

    inside = folder / "tables"
    return schema.read(inside if (inside / "runs.parquet").is_file() else folder)


def _data_folder(folder: Path, run: str) -> str:
    """Where relative paths of data and variants start: as recorded where the runs' records are, else here."""
    import contextlib

    from archbench.runs.base import store
    from archbench.tasks.base import sealed
    from archbench.tasks.base.errors import InputError

    with contextlib.suppress(InputError, KeyError, TypeError):
        return str(sealed.read_json(store.run_folder(folder, run) / "plan.json")["task"]["folder"])
    return "."


def published_run(row: dict[str, Any], tables: "Tables") -> "PublishedRun":
    """A chosen row as the planner takes it."""
    from dataclasses import fields

    from archbench.runs.planning.published import PublishedRun

    facts = tables["environment"][(tables["environment"]["run"] == row["run"]).fillna(False)].dropna()
    values = {field.name: row[field.name] for field in fields(PublishedRun) if field.name in row}
    environment = dict(zip(facts["key"], facts["value"], strict=True))
    return PublishedRun(**values, row=row, environment=environment, data=digest(row["dataset"], tables))


def digest(dataset: str, tables: "Tables") -> str:
    """The digest of a published data set; "" where the tables have none."""
    rows = tables["datasets"]
    if "digest" not in rows:
        return ""
    known = rows.loc[(rows["dataset"] == dataset).fillna(False), "digest"].dropna()
    return str(known.iloc[0]) if len(known) else ""
