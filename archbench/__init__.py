"""Decoder-only, encoder-only and encoder-decoder transformers compared under the same budget."""

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archbench.isolated import isolated

if TYPE_CHECKING:
    import pandas as pd

    from archbench.runs.execution.execute import Outcome
    from archbench.runs.experiment.spec import Experiment

__all__ = ["compare", "figures", "reproduce"]


def __getattr__(name: str) -> Any:
    if name == "figures":
        import importlib

        return importlib.import_module("archbench.figures")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@isolated
def compare(
    experiment: "str | Path | Mapping[str, Any] | Experiment",
    out: str | Path | None = None,
    *,
    architectures: Sequence[str | Path] | None = None,
    tasks: Sequence[str] | None = None,
    seeds: int | Sequence[int] | None = None,
    match: str | Sequence[str] | None = None,
    set: Mapping[str, Any] | None = None,
    device: str = "auto",
    jobs: int | None = None,
    deterministic: bool = False,
    until_decided: bool = False,
    max_seeds: int | None = None,
    against: str | None = None,
    on: str = "local",
) -> "dict[str, pd.DataFrame]":
    """Trains the missing runs of an experiment and returns its tables: ``runs``, ``scores``, ``curves`` and so on.

    ``experiment`` is the path of an experiment file, the name of a preset, or a dictionary with the same content. The
    default of ``out`` is ``results/<name>``. ``set`` replaces keys of the experiment, as in
    ``set={"training.learning_rate": 0.005, "tasks.sst2.vocabulary": 1024}``. With ``until_decided=True, max_seeds=12``
    the architectures of open primary contrasts get more seeds, until all are decided or have 12. With ``against``,
    ``experiment`` is an architecture that joins the published comparison of that name or folder. ``on`` is "local",
    "ray" or "slurm": where the runs are trained. Failed runs are rows with the status ``failed``. Raises ``InputError``
    (a ``ValueError``) for wrong input, ``KeyboardInterrupt`` when interrupted, and ``OSError`` when the disk is full;
    the same call resumes. Code of the user (a variant, a task kind, a metric) runs in other processes only.
    """
    from archbench import inputs, published_tables
    from archbench.reports import build
    from archbench.reports.base import tables
    from archbench.reports.claims import ledger
    from archbench.runs.execution.compare import RunOptions, run
    from archbench.runs.experiment import spec
    from archbench.runs.experiment.validation import validated

    overrides = {"architectures": architectures, "tasks": tasks, "seeds": seeds, "match": match}
    options = validated(RunOptions, {"device": device, "jobs": jobs, "deterministic": deterministic, "on": on})
    published = None
    if against is None:
        base = inputs.experiment(experiment, set)
    else:
        fixed = {"architectures": architectures, "seeds": seeds, "match": match, "set": set, "max_seeds": max_seeds}
        base, published = published_tables.join(experiment, against, fixed)
    chosen = spec.override(base, architectures=architectures, tasks=tasks, seeds=seeds, match=match)
    root, rule = inputs.out_folder(chosen, out), inputs.sequential(until_decided, max_seeds)
    if published is not None:
        published.keep(root, [task.name for task in chosen.tasks])
    adding = {"until_decided": until_decided, "max_seeds": max_seeds, "against": against}
    call = inputs.call(experiment, out=out, **overrides, set=chosen.settings or None, **options.model_dump(), **adding)
    outcome = run(chosen, root, options, call, inputs.say, ledger.declaration(), rule)
    _raise_if_stopped(outcome, root)
    build(root)
    return tables.read(root / "tables")


@isolated
def reproduce(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    runs: int | str = 3,
    jobs: int | None = None,
    device: str = "auto",
    on: str = "local",
) -> "pd.DataFrame":
    """Trains ``runs`` (a number or "all") of the runs in published tables again and compares their scores.

    ``folder`` has the tables of a comparison. The default of ``out`` is ``results/reproduce-<name>``. Returns a row for
    each run and metric: the published score, the new one, their difference and the largest that agrees, the mean of the
    other published seeds, their 95% prediction interval for one further seed, and a verdict. Raises as ``compare``
    does; the same call resumes.
    """
    from archbench import inputs, published_tables
    from archbench.runs.execution.compare import RunOptions
    from archbench.runs.experiment.validation import validated
    from archbench.tasks.base.errors import InputError

    source, root = inputs.named_folder("folder", folder), inputs.named_folder("out", out)
    if source is None:
        raise InputError("folder: None: expected a folder")
    options = validated(RunOptions, {"device": device, "jobs": jobs, "on": on})
    call = f"archbench.reproduce({str(source)!r}, runs={runs!r})"
    result = published_tables.reproduce(source, root, inputs.number_of_runs(runs), options, call, inputs.say)
    _raise_if_stopped(result.outcome, result.root)
    if result.rows is None:
        raise KeyboardInterrupt
    return result.rows


def _raise_if_stopped(outcome: "Outcome", root: Path) -> None:
    """Raises as documented where runs were interrupted or the disk is full."""
    from archbench import inputs

    if outcome.signal is not None:
        raise KeyboardInterrupt
    if outcome.full:
        raise OSError(errno.ENOSPC, f"{outcome.full}; free disk space, then {inputs.GO_ON}", str(root))
