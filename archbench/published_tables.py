"""Commands on published tables: ``merge`` and ``reproduce`` them, ``join`` them (``compare --against``)."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archbench.reports.base import tables
from archbench.reports.base.declared import specification
from archbench.reports.published import merging, reproduction
from archbench.reports.published import published as opening
from archbench.reports.published.published import Published
from archbench.runs.experiment import sections, spec
from archbench.runs.experiment.validation import nearest, printable
from archbench.runs.store import disk, store
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError, MistakesError, shortened
from archbench.tasks.base.progress import Say

if TYPE_CHECKING:
    import pandas as pd

    from archbench.runs.execution.compare import RunOptions
    from archbench.runs.execution.execute import Outcome
    from archbench.runs.planning.published import PublishedRun

HERE = Path(__file__).resolve().parent
BUILTIN = {"public-v1": (HERE.parent / "docs" / "reference" / "public", HERE / "published")}  # in a checkout, installed
FILE = "reproduction.csv"


def find(what: str, named: str | Path) -> tuple[str, Path]:
    """Name and folder of the tables that ``what``, a command or an option, is given: of a folder or of ``BUILTIN``."""
    folder = Path(named)
    if str(named) in BUILTIN and not folder.exists():
        installed = next((folder for folder in BUILTIN[str(named)] if (folder / "tables").is_dir()), None)
        if installed is None:
            raise InputError(f"{what}: {named}: this installation lacks its tables; install archbench again")
        return str(named), installed
    if not folder.is_dir():
        raise InputError(
            f"{what}: {shortened(str(named), 200)}: no such folder{nearest(str(named), BUILTIN)}; "
            f"expected a folder with tables, or {' or '.join(BUILTIN)}"
        )
    place = folder.resolve()
    return place.parent.name if place.name == "tables" else place.name, folder


def opened(what: str, named: str | Path) -> Published:
    """The tables that ``what`` is given; raises ``InputError`` where there are none or faulty ones."""
    name, folder = find(what, named)
    return opening.read(folder, name)


def _experiment(source: Published, folder: str = ".") -> spec.Experiment:
    """The experiment that the tables record; its tasks have the primary measures that the table of data sets has."""
    stated = specification(source.tables)
    if not stated:
        what = "the table experiment has no specification; give tables as compare writes them"
        raise InputError(f"{source.folder}: {what}")
    experiment = spec.recorded(stated, origin=str(source.folder), folder=folder)
    cards = {name: str(card.get("primary") or "").split(spec.BETWEEN_MEASURES) for name, card in source.cards.items()}
    judged = {
        part: tuple(task.patched({"primary": tuple(cards.get(task.name, task.primary))}) for task in tasks)
        for part, tasks in (("tasks", experiment.tasks), ("conditions", experiment.conditions))
    }
    return experiment.patched(judged)


@dataclass
class Merge:
    """The page, what a reader has to know, and the folders that could not be used."""

    page: Path
    lines: list[str] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)


def merge(folders: Sequence[Path], out: Path) -> Merge:
    """Joins the tables in ``folders`` and writes them and a report to ``out``.

    A folder whose tables are faulty is left out; ``lines`` tells each fault. Raises ``InputError`` if ``out`` cannot be
    used, a folder is given twice, the first folder is faulty, or fewer than two folders remain; then
    nothing is written.
    """
    from archbench.reports import build

    found = [find("merge", folder) for folder in folders]
    places = {folder.resolve() for _, folder in found}
    if len(places) < len(folders):
        raise InputError("merge: the same folder is given twice")
    if (out / "experiment.json").exists() or out.resolve() in places:
        raise InputError(f"--out: {out} is the folder of a comparison; name a new one")
    if (out / "tables").exists():
        raise InputError(f"--out: {out} has tables already; name a new folder, or remove this one")
    disk.check_writable(out)
    result = Merge(out)
    sources = list(_intact(found, result))
    if len(sources) < 2:
        raise MistakesError(["merge: at least two folders with valid tables are needed", *result.lines])
    merged = merging.merge(sources)
    is_new = not out.exists()
    try:
        tables.write(merged.tables, out / "tables")
        result.page = build(out)[0]
    except BaseException:
        for made in [out] if is_new else [out / "tables", out / "report"]:
            shutil.rmtree(made, ignore_errors=True)
        raise
    result.lines += merged.lines
    return result


def _intact(found: Sequence[tuple[str, Path]], result: Merge) -> Iterator[Published]:
    """The comparisons with valid tables, each under a name of its own; ``result`` tells of the others."""
    names: list[str] = []
    for name, folder in found:
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
        try:
            source = opening.read(folder, names[-1])
            if source.facts.get("rules") and source.other_rules:
                raise InputError(f"{folder}: {source.other_rules}")
        except InputError as error:
            faults = str(error).splitlines()
            if folder == found[0][1]:
                first = f"merge: {folder}: the first folder defines the experiment and must be intact"
                raise MistakesError([*faults, first]) from error
            result.refused.append(folder)
            result.lines += [f"left out: {fault}" for fault in faults]
        else:
            yield source


def join(variant: object, published: str, fixed: Mapping[str, object]) -> tuple[spec.Experiment, Published]:
    """The experiment that trains ``variant`` beside the ``published`` rows, and these rows.

    Raises ``InputError`` where one of the ``fixed`` options is given, which the published rules set, where the rows
    were made under other numerics or rules than those of this archbench, and where models are pretrained.
    """
    from archbench.runs.planning.published import called, joined_by
    from archbench.tasks.kinds import registry

    if not isinstance(variant, str | os.PathLike):
        what = "name the architecture first" if variant is None else f"{printable(variant)}: expected an architecture"
        raise InputError(f"--against: {what}, as in: archbench compare mine.py --against public-v1")
    for option, value in fixed.items():
        if value is not None:
            raise InputError(f"{option}: --against keeps the published rules; leave it out (--tasks may select some)")
    source = opened("--against", published).headline()
    if reason := source.refusal(registry.numerics):
        raise InputError(f"--against: {published}: {reason}; use the archbench that made it ({source.commits})")
    experiment, name = _experiment(source), called(os.fspath(variant))
    if experiment.pretraining:
        raise InputError(f"--against: {published}: its models are pretrained; join a comparison from scratch")
    if name in source.architectures:
        raise InputError(f"--against: {name} is part of {published} already; give an architecture with another name")
    digests = {dataset: str(card.get("digest", "")) for dataset, card in source.cards.items()}
    terms = sections.Against(published=source.name, architecture=name, digests=digests)
    return joined_by(experiment, spec.absolute(os.fspath(variant)), source.architectures, terms, source.grids), source


@dataclass(frozen=True)
class Reproduction:
    """How the runs ended, their folder and, unless they were interrupted, a row of the comparison for each score."""

    outcome: "Outcome"
    root: Path
    rows: "pd.DataFrame | None" = None

    @property
    def status(self) -> int:
        """The exit status: that of the runs, or 1 where a score disagrees."""
        return self.outcome.status or int(self.rows is not None and reproduction.disagrees(self.rows))


def reproduce(
    published: Path, root: Path | None, number: int | None, options: "RunOptions", command: str, say: Say
) -> Reproduction:
    """Trains ``number`` runs (None: all) of published tables again, in ``root``, and compares their scores."""
    from archbench.runs.execution import reproduce

    source = opened("reproduce", published)
    folder = source.folder
    chosen = reproduction.choose(source, number)
    if not chosen:
        raise InputError(f"{folder}: no finished run with scores in these tables; finish the comparison first")
    experiment = _experiment(source, _data_folder(folder, chosen[0]["run"]))
    root = root or Path("results") / f"reproduce-{experiment.name}"
    if root.resolve() in (folder.resolve(), (folder / "tables").resolve()):
        raise InputError(f"{root}: holds the published tables; give another --out")
    runs = [published_run(source, row) for row in chosen]
    outcome, again = reproduce.run(experiment, runs, root, options, command, say)
    if outcome.signal is not None or outcome.unfinished or outcome.full or not again:
        return Reproduction(outcome, root)
    new = {item.published.run: (item.plan.run, item.differences) for item in again}
    rows = reproduction.verdicts(source, tables.collect(root), chosen, new)
    tables.write_csv(rows, root / FILE)
    return Reproduction(outcome, root, rows)


def _data_folder(folder: Path, run: str) -> str:
    """Where relative paths of data and variants start: as recorded where the runs' records are, else here."""
    with contextlib.suppress(InputError, KeyError, TypeError):
        return str(sealed.read_json(store.run_folder(folder, run) / "plan.json")["task"]["folder"])
    return "."


def published_run(source: Published, row: Mapping[str, Any]) -> "PublishedRun":
    """A chosen row as the planner takes it."""
    from archbench.runs.planning.published import PublishedRun

    values = {part.name: row[part.name] for part in fields(PublishedRun) if part.name in row}
    data = str(source.cards.get(row["dataset"], {}).get("digest", ""))
    return PublishedRun(**values, row=row, environment=source.environment(row["run"]), data=data)
