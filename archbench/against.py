"""Joins one architecture to a published comparison: it alone is trained, by the published rules."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archbench.reports.base.tables import Tables
    from archbench.runs.experiment.spec import Experiment

HERE = Path(__file__).resolve().parent
BUILTIN = {"public-v1": (HERE.parent / "docs" / "reference" / "public", HERE / "published")}  # in a checkout, installed


def join(variant: object, published: str, fixed: Mapping[str, object]) -> "tuple[Experiment, Tables]":
    """The experiment that trains ``variant`` beside the ``published`` rows, and these rows.

    Raises ``InputError`` where one of the ``fixed`` options is given, which the published rules set, where the rows
    were made under other numerics or rules than those of this archbench, and where models are pretrained.
    """
    from archbench import reproduction
    from archbench.reports.analysis import against
    from archbench.reports.base.declared import specification
    from archbench.runs.experiment import spec
    from archbench.runs.experiment.validation import printable
    from archbench.runs.planning.published import called, joined_by
    from archbench.tasks.base.errors import InputError
    from archbench.tasks.kinds import registry

    if not isinstance(variant, str | os.PathLike):
        what = "name the architecture first" if variant is None else f"{printable(variant)}: expected an architecture"
        raise InputError(f"--against: {what}, as in: archbench compare mine.py --against public-v1")
    variant = os.fspath(variant)
    for option, value in fixed.items():
        if value is not None:
            raise InputError(f"{option}: --against keeps the published rules; leave it out (--tasks may select some)")
    folder = _folder(published)
    tables = against.headline(reproduction.read(folder))
    if reason := against.refusal(tables, registry.numerics):
        made_by = against.commits(tables)
        raise InputError(f"--against: {published}: {reason}; use the archbench that made it ({made_by})")
    experiment = spec.recorded(specification(tables), origin=str(folder))
    if experiment.pretraining:
        raise InputError(f"--against: {published}: its models are pretrained; join a comparison from scratch")
    name = called(variant)
    others = against.architectures(tables)
    _check_name(name, others, published)
    label = published if published in BUILTIN else folder.resolve().name
    digests = {dataset: reproduction.digest(dataset, tables) for dataset in tables["datasets"]["dataset"].dropna()}
    joined = joined_by(experiment, spec.absolute(variant), others, label, against.grids(tables), digests)
    return joined, tables


def keep(tables: "Tables", experiment: "Experiment", root: Path) -> None:
    """Copies the published rows of the experiment's tasks into ``root``, so that its report needs no other folder."""
    from archbench.reports.analysis import against
    from archbench.reports.base.tables import AGAINST, write_parquet

    tables = against.of_datasets(tables, [task.name for task in experiment.tasks])
    folder = root / AGAINST
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        write_parquet(frame, folder / f"{name}.parquet")


def _folder(published: str) -> Path:
    from archbench.runs.experiment.validation import nearest, printable
    from archbench.tasks.base.errors import InputError

    if published in BUILTIN and not Path(published).exists():
        folder = next((folder for folder in BUILTIN[published] if (folder / "tables").is_dir()), None)
        if folder is None:
            raise InputError(f"--against: {published}: this installation lacks its tables; install archbench again")
        return folder
    if not Path(published).is_dir():
        raise InputError(
            f"--against: {printable(published)}: no such folder{nearest(published, BUILTIN)}; "
            f"expected a folder with tables, or {' or '.join(BUILTIN)}"
        )
    return Path(published)


def _check_name(name: str, others: "list[str]", published: str) -> None:
    from archbench.tasks.base.errors import InputError

    if name in others:
        raise InputError(f"--against: {name} is part of {published} already; give an architecture with another name")
