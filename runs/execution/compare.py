"""A whole comparison: plans the runs of an experiment, performs the missing ones, writes their records."""

import contextlib
import importlib.metadata
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from archbench.runs.execution import progress_file
from archbench.runs.execution.execute import Outcome, execute
from archbench.runs.execution.progress import Display, some_runs
from archbench.runs.execution.until_decided import UntilDecided
from archbench.runs.executors import executor
from archbench.runs.executors.executor import On
from archbench.runs.experiment.keys import Section
from archbench.runs.experiment.spec import Experiment
from archbench.runs.experiment.values import Flag, Whole
from archbench.runs.machine import capacity
from archbench.runs.plans.messages import Event, Notify
from archbench.runs.store import disk, locks, store
from archbench.tasks.base import fixed_environment, sealed
from archbench.tasks.base.errors import InputError, one_line
from archbench.tasks.base.progress import Say
from archbench.tasks.metrics import registry
from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.metrics.metric import Metric

if TYPE_CHECKING:
    from archbench.runs.planning.isolation import Architectures
    from archbench.runs.planning.matrix import Matrix
    from archbench.runs.plans.placement import Placement
    from archbench.runs.plans.plan import Plan


class RunOptions(Section):
    """Where and how an experiment runs; ``jobs`` None: one for each core or GPU, on a cluster as many as fit."""

    device: str = "auto"
    jobs: Annotated[Whole, Field(ge=1)] | None = None
    deterministic: Flag = False
    on: On = "local"


def cache(shared: Path | None = None) -> Path:
    """Where data are kept between experiments: ``ARCHBENCH_CACHE``, else the platform's folder for caches.

    For a cluster, ``shared`` replaces the latter: a folder that all nodes see.
    """
    named = os.environ.get("ARCHBENCH_CACHE")
    if named:
        return Path(named).absolute()
    if shared is not None:
        return shared.absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("archbench"))


def run(
    experiment: Experiment,
    root: Path,
    options: RunOptions,
    command: str,
    say: Say,
    declared: Mapping[str, str] | None = None,
    until_decided: UntilDecided | None = None,
    listeners: Sequence[Notify] = (),
) -> Outcome:
    """Does every run of ``experiment`` that is missing in ``root``; raises ``InputError`` before the first one.

    ``command`` is what was called, ``declared`` what the report will judge by, recorded before the first run.
    ``until_decided`` adds seeds after the listed ones, as long as all runs succeed. ``listeners`` receive the events of
    all runs and must not raise.
    """
    if until_decided is not None:
        until_decided.check(experiment)
    say = once(say)
    with checked_architectures(experiment, options, say) as architectures, locks.locked(root, say):
        progress_file.pause(root)
        if until_decided is None:
            head: dict[str, Any] = {"command": command, "declared": declared}
            return _train_in_rounds(experiment, root, options, say, architectures, head, listeners)
        growing: Experiment | None = until_decided.resumed(experiment, root)
        while growing is not None:
            head = {"command": command, "declared": declared, "until_decided": until_decided.record(growing, root)}
            outcome = _train_in_rounds(growing, root, options, say, architectures, head, listeners)
            growing = until_decided.further(growing, root, say) if outcome.status == 0 else None
    return outcome


def _train_in_rounds(
    experiment: Experiment,
    root: Path,
    options: RunOptions,
    say: Say,
    architectures: "Architectures",
    head: Mapping[str, Any],
    listeners: Sequence[Notify],
) -> Outcome:
    """Train what is missing, pretrainings and trials first, then plan again until nothing waits; then the baselines.

    ``head`` is recorded with the experiment.
    """
    from archbench.runs.machine import machine
    from archbench.runs.scoring import task_metrics

    trials: list[str] = []
    outcome, tried = Outcome(), frozenset[str]()
    while True:
        matrix, device, jobs = planned(experiment, root, options, say, architectures)
        if outcome.failed and tried == {plan.run for plan in matrix.plans}:
            break  # the others wait for runs that fail each time
        tried = frozenset(plan.run for plan in matrix.plans)
        for line in grown_grids(matrix, trials):
            say(line)
        trials = [entry.run for entry in matrix.entries if entry.role == "trial"]
        if matrix.waiting_tasks:
            of_tasks = f"of {', '.join(matrix.waiting_tasks)}"
            say(f"{_what_comes_first(matrix)} first; then {some_runs(len(matrix.later))} {of_tasks}")
        else:
            _say_what_is_left_out(matrix, root, say)
        write_head(experiment, matrix, root, **head)
        warn_of_disk(matrix, root, jobs, say)
        _renew_numbers(matrix, root, say)
        outcome = performed(matrix.plans, root, device, jobs, options.on, matrix.later, listeners)
        outcome = replace(outcome, waiting=len(matrix.later))
        if not matrix.waiting_tasks or outcome.signal is not None or outcome.full or outcome.unfinished:
            break
    if outcome.signal is not None or outcome.full:
        return outcome
    with machine.one_thread():
        errors = task_metrics.complete(matrix.plans, root, say)
    return replace(outcome, errors=(*_complete_baselines(matrix, root), *errors))


def _renew_numbers(matrix: "Matrix", root: Path, say: Say) -> None:
    """Scores finished runs again whose code of a score has changed, and drops baselines of what is no longer there.

    An interrupted comparison would have numbers of old code beside those of new code. What fails is tried at the end.
    """
    from archbench.runs.machine import machine
    from archbench.runs.scoring import baselines, task_metrics

    with machine.one_thread():
        task_metrics.complete(matrix.plans, root, say)
    for plan in matrix.plans:
        baselines.drop_others(plan, root)


def _what_comes_first(matrix: "Matrix") -> str:
    """Words for the runs that others wait for."""
    roles = {entry.role for entry in matrix.entries}
    waiting = {"pretraining": "pretraining", "trial": "tuning on validation"}
    return " and ".join(words for role, words in waiting.items() if role in roles)


def performed(
    plans: "Sequence[Plan]",
    root: Path,
    device: str,
    jobs: int | None,
    on: On = "local",
    later: "Sequence[Plan]" = (),
    listeners: Sequence[Notify] = (),
) -> Outcome:
    """Does the missing runs, shows their progress and tells ``listeners``; ``later`` are those that wait for them."""
    cuda = device == "cuda"
    gpus = capacity.gpus() if cuda and on == "local" else []
    share = capacity.gpu_share(_largest(plans)) if cuda else 0.0
    with Display(plans, jobs or len(plans), later=later) as display:
        everyone: tuple[Notify, ...] = (display, *listeners)

        def notify(event: Event) -> None:
            for listener in everyone:
                listener(event)

        return execute(plans, root, jobs, notify, gpus=gpus, on=on, gpu_share=share)


def once(say: Say) -> Say:
    """``say``, but each line only once: runs are planned again after trials and with more seeds."""
    reported: set[str] = set()

    def new(line: str) -> None:
        if line not in reported:
            reported.add(line)
            say(line)

    return new


def grown_grids(matrix: "Matrix", before: Sequence[str]) -> list[str]:
    """A line for each data set whose grid has grown since the trials ``before``, or whose trials are repeated.

    None where there were no trials.
    """
    tried = [entry for entry in matrix.entries if entry.role == "trial"]
    known = {(entry.dataset, entry.condition, entry.share) for entry in tried if entry.run in before}
    added: dict[tuple[str, float | None], set[str]] = {}
    for entry in tried:
        if before and entry.run not in before:
            is_known = (entry.dataset, entry.condition, entry.share) in known
            added.setdefault((entry.dataset, None if is_known else entry.share), set()).add(entry.run)
    lines = []
    for (dataset, share), runs in added.items():
        rates = sorted({plan.training.learning_rate for plan in matrix.plans if plan.run in runs})
        more = (
            f"{len(runs)} more trial{'s' * (len(runs) > 1)}, learning rate {', '.join(f'{rate:g}' for rate in rates)}"
        )
        why = "a best setting is at the edge of the grid; adding"
        if share is not None:
            why = f"no trial of an architecture learned; repeating all on {share:g} of the tokens:"
        lines.append(f"{dataset}: {why} {more}")
    return lines


def planned(
    experiment: Experiment, root: Path, options: RunOptions, say: Say, architectures: "Architectures"
) -> "tuple[Matrix, str, int | None]":
    """The runs, the kind of device, the number of workers; None if that is the cluster's affair."""
    from archbench.runs.machine import machine
    from archbench.runs.planning.matrix import plan

    local = options.on == "local"
    device = machine.device(options.device, here=local)
    kept = cache() if local else cache(root / "cache")
    where: dict[str, Any] = {"cache": kept, "root": root, "say": say, "architectures": architectures}
    with machine.one_thread():
        matrix = plan(experiment, device=device, deterministic=options.deterministic, **where)
    architectures.check_plans((*matrix.plans, *matrix.later))
    if local:
        _check_devices((*matrix.plans, *matrix.later), device, say)
        return matrix, device, capacity.jobs(device, options.jobs, _largest(matrix.plans))
    if any(plan.match == "seconds" for plan in matrix.plans):
        raise InputError(f"--on {options.on}: budgets in seconds need speeds of this machine; use --on local")
    return matrix, device, options.jobs


def _largest(plans: "Sequence[Plan]") -> int:
    """Trainable parameters of the largest run; 0 for budgets in seconds, since parallel runs would slow each other."""
    if any(plan.match == "seconds" for plan in plans):
        return 0
    return max((plan.counts.parameters + plan.counts.embedding_parameters for plan in plans), default=0)


@contextlib.contextmanager
def checked_architectures(
    experiment: Experiment, options: RunOptions, say: Say, contract: bool = True
) -> "Iterator[Architectures]":
    """The architectures of an experiment, checked before any data are fetched or anything is written.

    Raises ``InputError``, also if two variants of a task have the same name or, where the ``contract`` is checked, a
    user's variant breaks it.
    """
    from archbench.runs.machine import machine
    from archbench.runs.planning.isolation import Architectures

    if experiment.environment:
        fixed_environment.require(experiment.environment)
    machine.device(options.device, here=options.on == "local")
    executor.check(options.on)
    with Architectures(Path(experiment.folder), cache(), contract) as architectures:
        _check(experiment, architectures, say)
        yield architectures


def _check(experiment: Experiment, architectures: "Architectures", say: Say) -> None:
    entries = experiment.tasks_and_conditions
    entered = dict.fromkeys(name_or_path for task in entries for name_or_path in task.all_candidates)
    for name_or_path in entered:
        if name_or_path.endswith(".py") and (Path(experiment.folder) / os.path.expanduser(name_or_path)).is_file():
            say(f"{name_or_path}: running the code in this file, in separate processes")
    for task in entries:
        if task.checkpoint:
            architectures.checkpoint(task)
    variants = {name_or_path: architectures.find(name_or_path) for name_or_path in entered}
    for task in entries:
        _apart(task.name, {name_or_path: variants[name_or_path].name for name_or_path in task.all_candidates})
    for variant in variants.values():
        architectures.check_contract(variant)


def _apart(task: str, names: dict[str, str]) -> None:
    """Rejects two variants with the same name, because their rows could not be distinguished."""
    known: dict[str, str] = {}
    for name_or_path, name in names.items():
        if name in known:
            raise InputError(
                f'{task}: architectures: "{known[name]}" and "{name_or_path}" are both called {name}; '
                "give each once, or rename one of the files"
            )
        known[name] = name_or_path


def _say_what_is_left_out(matrix: "Matrix", root: Path, say: Say) -> None:
    """Says which earlier runs are not on the page: it shows the last command's; all stay on disk."""
    if not (root / "experiment.json").is_file():
        return
    others = set(store.read_experiment(root)["runs"]) - {plan.run for plan in matrix.plans}
    if others:
        say(f"{root}: not in this report: {some_runs(len(others))} of earlier commands (kept on disk)")


def _some_gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count != 1)}" if count else "no GPU"


def _check_devices(plans: "Sequence[Plan]", device: str, say: Say) -> None:
    """Raises ``InputError`` where a run needs more GPUs than this machine has; says so for cores, which are shared."""
    devices = max((plan.devices for plan in plans), default=1)
    if device == "cuda" and devices > max(len(capacity.gpus()), 1):
        raise InputError(f"training.devices: {devices}: this machine has {_some_gpus(len(capacity.gpus()))}")
    if device == "cpu" and devices > max(capacity.cores(), 1):
        say(f"training.devices is {devices}, and this machine has {capacity.cores()} cores, which the processes share")


def warn_of_disk(matrix: "Matrix", root: Path, jobs: int | None, say: Say) -> None:
    missing = [plan for plan in matrix.plans if not store.is_finished(store.run_folder(root, plan.run))]
    needed, free = disk.needed(missing, jobs or len(missing)), disk.free(root)
    if needed > free:
        say(
            f"{root}: up to {needed / 1e6:,.0f} MB will be needed and {free / 1e6:,.0f} MB are free; delete other "
            "files, or the comparison stops when the disk is full (finished runs are kept; the same command resumes)"
        )


def write_head(
    experiment: Experiment,
    matrix: "Matrix",
    root: Path,
    command: str,
    declared: Mapping[str, str] | None = None,
    until_decided: Mapping[str, Any] | None = None,
    reproduces: str = "",
) -> None:
    roles = _roles(matrix)
    store.write_experiment(
        root,
        name=experiment.name,
        command=command,
        version=importlib.metadata.version("archbench"),
        experiment=experiment.digestable(),
        rows={plan.run: plan.labels() | roles.get(plan.run, {}) for plan in matrix.plans},
        entries=[asdict(entry) for entry in matrix.entries],
        metrics=[metric.facts() for metric in (*BUILTIN.values(), *named_metrics(experiment))],
        declared=declared,
        settings=experiment.settings,
        later=_later(matrix),
        until_decided=dict(until_decided or {}),
        reproduces=reproduces,
        against=experiment.against.published if experiment.against else "",
    )
    for row in matrix.datasets:
        sealed.write_sealed(root / "data" / f"{row['dataset']}.json", row)
    present = {f"{row['dataset']}.json" for row in matrix.datasets}
    for path in (root / "data").glob("*.json"):
        if path.name not in present and sealed.is_sealed(path):  # of an earlier command, not somebody's
            path.unlink()


def _later(matrix: "Matrix") -> dict[str, float]:
    """The number of runs that wait for trials and their expected seconds; empty if none waits."""
    if not matrix.later:
        return {}
    return {"runs": len(matrix.later), "expected_seconds": sum(plan.expected_seconds for plan in matrix.later)}


def named_metrics(experiment: Experiment) -> list[Metric]:
    """The metrics of tasks that are not archbench's own, each once."""
    names = dict.fromkeys(name for task in experiment.tasks for name in task.metrics)
    metrics = (registry.find(name, experiment.folder) for name in names)
    return [metric for metric in metrics if metric.name not in BUILTIN]


def _roles(matrix: "Matrix") -> dict[str, dict[str, str]]:
    """The purpose of each run in the table of runs: every role and condition once."""
    mine: dict[str, list[Placement]] = {}
    for entry in matrix.entries:
        mine.setdefault(entry.run, []).append(entry)
    keys = ("role", "condition")
    return {
        run: {key: ",".join(dict.fromkeys(getattr(entry, key) for entry in entries)) for key in keys}
        for run, entries in mine.items()
    }


def _complete_baselines(matrix: "Matrix", root: Path) -> tuple[str, ...]:
    """Makes missing baselines of finished runs; returns a line for each data set for which that fails."""
    from archbench.runs.machine import machine
    from archbench.runs.scoring import baselines

    errors = []
    for plan in matrix.plans:
        if store.is_finished(store.run_folder(root, plan.run)):
            try:
                with machine.one_thread():
                    baselines.make_missing(plan, root)
            except Exception as error:
                errors.append(f"{plan.task.name}: its baselines failed: {one_line(error)}")
    return tuple(errors)
