"""The tables of several comparisons, perhaps of strangers, joined into one report: ``archbench merge``."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Merge:
    """The page, what a reader has to know, and the folders that could not be used."""

    page: Path
    lines: list[str] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)


def merge(folders: Sequence[Path], out: Path) -> Merge:
    """Joins the tables in ``folders`` (or in ``tables`` inside) and writes them and a report to ``out``.

    A folder whose tables are faulty is left out; ``lines`` tells each fault. Raises ``InputError`` if ``out`` cannot be
    used, a folder is given twice, the first folder is faulty, or fewer than two folders remain; then
    nothing is written.
    """
    from archbench.reports import build
    from archbench.reports.analysis import merging
    from archbench.reports.base import tables
    from archbench.runs.base import disk
    from archbench.tasks.base.errors import InputError, MistakesError

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("merge: the same folder is given twice")
    if (out / "experiment.json").exists() or out.resolve() in {folder.resolve() for folder in folders}:
        raise InputError(f"--out: {out} is the folder of a comparison; name a new one")
    if (out / "tables").exists():
        raise InputError(f"--out: {out} has tables already; name a new folder, or remove this one")
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"merge: {folder}: no such folder")
    disk.check_writable(out)
    result = Merge(out)
    sources = []
    for folder, name in zip(folders, _names(folders), strict=True):
        try:
            sources.append(merging.read(_tables(folder), name))
        except InputError as error:
            faults = str(error).splitlines()
            if folder == folders[0]:
                first = f"merge: {folder}: the first folder defines the experiment and must be intact"
                raise MistakesError([*faults, first]) from error
            result.refused.append(folder)
            result.lines += [f"left out: {fault}" for fault in faults]
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


def _tables(folder: Path) -> Path:
    return folder / "tables" if (folder / "tables").is_dir() else folder


def _names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder: its own, with a number where two are called alike."""
    names: list[str] = []
    for folder in folders:
        resolved = folder.resolve()
        name = resolved.parent.name if resolved.name == "tables" else resolved.name
        names.append(name if name not in names else f"{name}-{len(names) + 1}")
    return names
