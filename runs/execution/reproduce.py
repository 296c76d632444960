"""Trains published runs again, as a comparison of its own: resumable, on worker processes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from archbench.runs.execution import compare, progress_file
from archbench.runs.execution.compare import RunOptions
from archbench.runs.execution.execute import Outcome
from archbench.runs.experiment.spec import Experiment
from archbench.runs.machine import machine
from archbench.runs.planning import published
from archbench.runs.planning.published import PublishedRun, ReproducedRun
from archbench.runs.scoring import task_metrics
from archbench.runs.store import locks, store
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say


def run(
    experiment: Experiment,
    runs: Sequence[PublishedRun],
    root: Path,
    options: RunOptions,
    command: str,
    say: Say,
) -> tuple[Outcome, tuple[ReproducedRun, ...]]:
    """Does the ``runs`` of a published ``experiment`` that are missing in ``root``, after what they start from.

    Returns the outcome and the plan of each published run; no plans where a pretraining did not end. Raises
    ``InputError`` before the first run.
    """
    say = compare.once(say)
    check_folder(root)
    narrowed = published.narrowed(experiment, runs)
    with compare.checked_architectures(narrowed, options, say) as architectures, locks.locked(root, say):
        progress_file.pause(root)
        matrix, device, jobs = compare.planned(narrowed, root, options, say, architectures)
        while pretrainings := published.pretrainings_first(matrix, root):
            say(f"pretraining first: {', '.join(dict.fromkeys(plan.task.name for plan in pretrainings))}")
            outcome = compare.performed(pretrainings, root, device, jobs, options.on)
            if outcome.status or outcome.unfinished:
                return outcome, ()
            matrix, device, jobs = compare.planned(narrowed, root, options, say, architectures)
        again = published.reproduced(matrix, experiment, runs)
        matrix = published.placed(matrix, again)
        for line in differences(again):
            say(line)
        compare.write_head(narrowed, matrix, root, command, reproduces=experiment.name)
        compare.warn_of_disk(matrix, root, jobs, say)
        outcome = compare.performed(matrix.plans, root, device, jobs, options.on)
        if outcome.signal is None and not outcome.full:
            with machine.one_thread():
                outcome = replace(outcome, errors=task_metrics.complete(matrix.plans, root, say))
    return outcome, again


def check_folder(root: Path) -> None:
    """Raises ``InputError`` where ``root`` holds another comparison, whose record would be replaced."""
    if (root / "experiment.json").is_file() and not store.read_experiment(root).get("reproduces"):
        raise InputError(f"{root}: holds another comparison; give another --out")


def differences(runs: Sequence[ReproducedRun]) -> list[str]:
    """A line for each difference, with the runs that it concerns unless it concerns all."""
    runs_by_line: dict[str, list[str]] = {}
    for item in runs:
        for line in item.differences:
            runs_by_line.setdefault(line, []).append(item.published.run)
    return [line if len(names) == len(runs) else f"{', '.join(names)}: {line}" for line, names in runs_by_line.items()]
