"""Today's code gives published runs their published names and sizes, off line: an edit that renames them is noticed.

A run is planned again from the published specification by the code of today: variant, size, recipe, kind of task, and
what names a run. The tables give what only the data, trials or a machine can tell: digest, vocabulary, tokens, device,
the chosen learning rate.

Of 2,927 published runs in 25 folders, 1,416 in 12 folders are planned here. Left out are 875 runs of these folders that
read a part of the data, as no table has its digest, and the 636 runs in the 13 folders of `OLDER`. Their names contain
the hash of a variant's whole file at the time, docstrings and comments included, lower versions of numerics (2 to 5),
and of encoders not that validation samples the likelihood: no table has the file, and code of today gives neither. The
digests under which ablations run today are held by tests/test_built_in_models.py.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reference_pages import NAMES, REFERENCE

from archbench import published_tables
from archbench.architectures.catalogue import digests
from archbench.architectures.families.size import Counts, Limits, Size
from archbench.architectures.families.variant import Variant
from archbench.reports.base.declared import specification
from archbench.reports.published import reproduction
from archbench.runs.budgets.calibrate import Calibration
from archbench.runs.budgets.fitted_sizes import FittedSizes
from archbench.runs.experiment import spec
from archbench.runs.experiment.sections import PROMPT, Experiment, Task, Training
from archbench.runs.planning import published
from archbench.runs.planning.isolation import Architectures
from archbench.runs.planning.preparation import task_config
from archbench.runs.planning.published import PublishedRun
from archbench.runs.plans.plan import Plan
from archbench.runs.training import compiled

OLDER = {name for name in NAMES if name.startswith("ablation-")} | {"capacity", "depth-width", "generalist", "scaling"}
COVERED = {  # the number of runs that are planned here
    "accounting": 40,
    "conversion": 170,
    "encoder-forms": 66,
    "late-switch": 20,
    "objectives": 190,
    "pretrained": 432,
    "public": 184,
    "public-budgets": 72,
    "public-factorial": 42,
    "repeats": 40,
    "standard": 100,
    "t5": 60,
}


class OneExample:
    """Stands for data whose lengths decide nothing."""

    source_lengths = target_lengths = np.ones(1, np.int64)

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True)
class Folder:
    """A published comparison: its specification, runs, and a row for each data set, by name."""

    experiment: Experiment
    runs: tuple[PublishedRun, ...]
    datasets: Mapping[str, Mapping[str, Any]]
    pretrainings: tuple[Mapping[str, Any], ...]


@functools.cache
def read(name: str) -> Folder:
    source = published_tables.opened("reproduce", REFERENCE / name)
    experiment = spec.recorded(specification(source.tables), origin=name, folder=".")
    rows = {row["run"]: row for row in reproduction.candidates(source)}.values()
    pretrainings = [row for row in source.runs.to_dict("records") if row["task"] == reproduction.PRETRAINING]
    runs = tuple(published_tables.published_run(source, row) for row in rows)
    return Folder(experiment, runs, source.cards, tuple(pretrainings))


def reads_all(folder: Folder, run: PublishedRun) -> bool:
    """Whether a run reads all data, whose digest is published; a prompt shows a few examples of all."""
    every = folder.datasets[run.dataset]["train_examples"]
    return run.row.get("adapt") == PROMPT or run.row.get("examples", every) == every


def starts(folder: Folder, task: Task, run: PublishedRun) -> Iterator[str]:
    """The published pretrainings that a run may start from; "" if it starts from none."""
    stage = next((stage for stage in folder.experiment.pretraining if stage.name == task.start), None)
    if stage is None:
        yield ""
        return
    seeds = stage.task.seeds
    seed = run.seed if run.seed in seeds else seeds[run.seed % len(seeds)]
    for row in folder.pretrainings:
        if (row["dataset"], row["architecture"], row["seed"]) == (stage.name, run.variant, seed):
            yield str(row["run"])


@functools.cache
def fits(architectures: Architectures, reference: str, limits: Limits) -> FittedSizes:
    """Sizes that equal the reference's parameters; those that equal its FLOPs would take the data."""
    prepared: Any = SimpleNamespace(train=OneExample())
    where = "cpu", Calibration(Path(), print), limits, architectures.measurements, Path()
    return FittedSizes(architectures.find(reference), prepared, *where)


def size(task: Task, run: PublishedRun, limits: Limits, architectures: Architectures) -> Size:
    """The size that is fitted today where that takes no data, else the published one."""
    row = run.row
    recorded = Size(*(int(row[key]) for key in ("width", "heads", "depth", "hidden")), float(row["dropout"]))
    if run.match in ("flops", "seconds") or row.get("start", "scratch") != "scratch":
        return recorded
    fitted = fits(architectures, task.architectures[0], limits).size(task, architectures.find(run.variant), run.match)
    return replace(fitted, heads=recorded.heads, dropout=recorded.dropout)


def planned(folder: Folder, run: PublishedRun, architectures: Architectures) -> Iterator[Plan]:
    """The plan of a published run, once for each pretraining that it may start from."""
    task, row, data = published._stated(folder.experiment, run), run.row, folder.datasets[run.dataset]
    lengths = {key: int(data[key]) for key in ("source_length", "target_length")}
    variant: Variant = architectures.find(run.variant)
    limits = Limits(int(data["vocabulary"]), *lengths.values())
    model = size(task, run, limits, architectures)
    recipe = Training.of(task.training, learning_rate=float(row["learning_rate"]))
    plan = Plan(
        experiment=folder.experiment.name,
        architecture=variant.name,
        family=variant.family,
        seed=run.seed,
        match=run.match,
        task=replace(task_config(task, "."), **lengths),
        data=run.data,
        vocabulary=limits.vocabulary,
        variant=run.variant,
        variant_text=variant.text,
        variant_digest=digests.of(variant),
        size=model,
        counts=Counts(0, 0),
        training=compiled.chosen(recipe, str(row["device"]), float(row["expected_flops"])),
        settings=task.later(),
        supervision=str(row["supervision"]),
        sampled=architectures.measurements(variant).is_sampled(model, limits),
        adapt=task.adapt,
        shots=task.shots,
        verbalizers=task.verbalizers,
        targets={},
        tokens=int(row["planned_tokens"]),
        flops=0.0,
        optimizer_flops=0.0,
        device=str(row["device"]),
        precision=str(row["precision"]),
        threads=int(row["threads"]),
        deterministic=False,
        cache="",
        expected_seconds=0.0,
    )
    for start in starts(folder, task, run):
        yield replace(published._as_published(plan, run, in_seconds=False), start=start)


def renamed(folder: Folder, runs: list[PublishedRun], cache: Path) -> dict[str, list[str]]:
    """The runs that would have another name today, each with the names that it could have."""
    with Architectures(Path(), cache) as architectures:
        names = {run.run: [plan.run for plan in planned(folder, run, architectures)] for run in runs}
    return {run: found for run, found in names.items() if run not in found}


def test_every_folder_is_covered_or_older() -> None:
    assert {*COVERED, *OLDER} == set(NAMES)


@pytest.mark.parametrize("name", COVERED)
def test_every_run_has_its_published_name_and_size(name: str, tmp_path: Path) -> None:
    folder = read(name)
    runs = [run for run in folder.runs if reads_all(folder, run)]
    assert len(runs) == COVERED[name]
    assert {run.variant for run in runs} == {run.variant for run in folder.runs}
    assert not renamed(folder, runs, tmp_path)


def test_an_edit_of_the_variant_or_of_what_names_a_run_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = read("repeats")
    runs = list(folder.runs)
    with monkeypatch.context() as edited:
        edited.setitem(digests.KEPT, "decoder", "0" * 64)
        assert set(renamed(folder, runs, tmp_path)) == {run.run for run in runs if run.variant == "decoder"}
    with monkeypatch.context() as edited:
        edited.setattr(Training, "identity", lambda self: {**self.model_dump(mode="json"), "new": 1})
        assert len(renamed(folder, runs, tmp_path)) == len(runs)
