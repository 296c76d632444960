"""A preview of a comparison: its runs, sizes, budgets, time and disk space, and the checks that come first."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archbench.runs.execution.compare import RunOptions, checked_architectures, once, planned
from archbench.runs.execution.progress import aligned, duration, some_runs
from archbench.runs.execution.until_decided import UntilDecided, largest
from archbench.runs.experiment.spec import UNMATCHED, Experiment
from archbench.runs.plans.messages import PlannedRun
from archbench.runs.store import disk, store
from archbench.tasks.base.progress import Say

if TYPE_CHECKING:
    from archbench.runs.planning.matrix import Matrix
    from archbench.runs.plans.plan import Plan


def preview(
    experiment: Experiment, root: Path, options: RunOptions, say: Say, until_decided: UntilDecided | None = None
) -> str:
    """A table of the planned runs in ``root``, and lines with time and disk space; how many may be added at most.

    No contract is checked: lines say which variants have not been checked yet.
    """
    if until_decided is not None:
        until_decided.check(experiment)
    say = once(say)
    with checked_architectures(experiment, options, say, contract=False) as architectures:
        matrix, _, known = planned(experiment, root, options, say, architectures)
        jobs = known or 1
        most: Matrix | None = None
        if until_decided is not None:
            grown = largest(experiment, until_decided.max_seeds, lambda entered: architectures.find(entered).name)
            most, _, _ = planned(grown, root, options, _silent, architectures)
        due = architectures.due((*matrix.plans, *matrix.later))
    missing = [plan for plan in matrix.plans if not store.is_finished(store.run_folder(root, plan.run))]
    lines = [aligned(_table(matrix)), *_depths(matrix), *_checks(due)]
    lines.append(_totals(matrix.plans, missing, jobs, root, sum(seconds for _, seconds in due.values())))
    if matrix.later:
        lines.append(_then(matrix, jobs))
    if most is not None and until_decided is not None:
        lines.append(_most(matrix, most, jobs, until_decided.max_seeds))
    if experiment.against is not None:
        lines.append(_against(experiment, root))
    return "\n".join(lines)


def _checks(due: Mapping[str, tuple[str, float]]) -> list[str]:
    """A line for each variant whose contract is checked before the first run."""
    return [
        f"{name}: {words} come first, about {duration(seconds)} on an idle core"
        for name, (words, seconds) in due.items()
    ]


def _depths(matrix: "Matrix") -> list[str]:
    """A line for each architecture whose fitted depth is not that of the first one of its family.

    Families differ in depth by their design; within one, a depth that differs may be a side effect of the match.
    """
    rows = {plan.run: plan.row() for plan in matrix.plans}
    first: dict[tuple[str, ...], tuple[str, int]] = {}
    datasets: dict[tuple[str, str], dict[str, None]] = {}
    for entry in (entry for entry in matrix.entries if not entry.form):
        row = rows[entry.run]
        key = entry.dataset, entry.condition, entry.match, str(row.get("family", ""))
        name, depth = first.setdefault(key, (entry.architecture, row["depth"]))
        if row["depth"] != depth and row["match"] != UNMATCHED:
            words = f"{entry.architecture} has depth {row['depth']} where {name} has {depth}"
            end = f"to match {entry.match}; model.depth = {depth} makes the depths equal"
            datasets.setdefault((words, end), {})[entry.dataset] = None
    return [f"{words} ({', '.join(names)}), {end}" for (words, end), names in datasets.items()]


def _against(experiment: Experiment, root: Path) -> str:
    """The published architectures that one is compared with, in how many tests, and where the results go."""
    published = experiment.against.published if experiment.against else ""
    others = [other for _, other in experiment.contrasts]
    tests = len(others) * sum(len(task.primary) for task in experiment.tasks)
    return f"then compared with {', '.join(others)} of {published}: {tests} tests, corrected together\nresults: {root}"


def _then(matrix: "Matrix", jobs: int) -> str:
    """The runs that wait: for the settings that trials select, or for a pretraining."""
    seconds = sum(plan.expected_seconds for plan in matrix.later) / jobs
    started = sum(bool(plan.start) for plan in matrix.later)
    starts = f", {started} of them from pretrained weights" if started else ""
    if any(entry.role == "trial" for entry in matrix.entries) or not started:
        what = f"with the settings that the trials select ({', '.join(matrix.waiting_tasks)}){starts}"
        more = "more trials if a best setting is at the edge of its grid"
        if any(entry.role == "trial" and entry.share < 1 for entry in matrix.entries):
            more += "; trials are repeated on twice the tokens if none of an architecture learns"
        return f"then {some_runs(len(matrix.later))} {what}, about {duration(seconds)}; {more}"
    where = ", ".join(matrix.waiting_tasks)
    line = f"then {some_runs(len(matrix.later))} from pretrained weights ({where}), about {duration(seconds)}"
    return f"\n{aligned(_waiting(matrix.later))}\n{line}"


def _waiting(later: "Sequence[Plan]") -> list[list[str]]:
    """A row for each setting of the runs that wait for pretrained weights, the head first."""
    head = ["dataset", "architecture", "start", "adapt", "examples", "seeds", "parameters", "rate", "tokens"]
    alike: dict[tuple[str, ...], list[Plan]] = {}
    for plan in later:
        start = (plan.task.name, plan.architecture, plan.start_name, plan.adapt, plan.labelled)
        recipe = (f"{plan.counts.parameters:,}", f"{plan.training.learning_rate:g}", f"{plan.tokens:,}")
        alike.setdefault((*start, *recipe), []).append(plan)
    rows = [[*key[:5], str(len(plans)), *key[5:], duration(plans[0].expected_seconds)] for key, plans in alike.items()]
    return [[*head, "time per run"], *rows]


def _silent(line: str) -> None:
    pass


def _most(listed: "Matrix", largest: "Matrix", jobs: int, max_seeds: int) -> str:
    """How many runs are added at most, and what they take."""
    known = {plan.run for plan in (*listed.plans, *listed.later)}
    added = [plan for plan in (*largest.plans, *largest.later) if plan.run not in known]
    seconds = sum(plan.expected_seconds for plan in added) / jobs
    return (
        f"then at most {len(added)} more runs while primary contrasts are open (up to {max_seeds} seeds), about "
        f"{duration(seconds)}: {len(known) + len(added)} runs at most"
    )


def _table(matrix: "Matrix") -> list[list[str]]:
    head = ["dataset", "architecture", "form", "role", "condition", "match", "seeds", "examples", "parameters"]
    head += ["+ embedding", "buffers", "width", "heads", "depth", "hidden", "rate", "dropout", "share", "tokens"]
    head += ["with loss", "FLOPs", "time per run"]
    rows = {plan.run: {**plan.row(), "examples": plan.labelled} for plan in matrix.plans}
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in matrix.entries:
        row = {**rows[entry.run], **asdict(entry)}
        keys = ("dataset", "architecture", "form", "role", "condition", "match", "share", "learning_rate", "dropout")
        alike.setdefault(tuple(row[key] for key in keys), []).append(row)
    table = [head, *(_line(rows_alike) for rows_alike in alike.values())]
    plain = {"form": {""}, "role": {"compared"}, "condition": {""}, "share": {"1"}, "buffers": {"0"}, "examples": {""}}
    plain |= {name: {table[-1][head.index(name)]} for name in ("rate", "dropout")}
    if not any(entry.match == "loss-tokens" for entry in matrix.entries):
        plain["with loss"] = {row[head.index("with loss")] for row in table}
    bare = [column for column, name in enumerate(head) if {row[column] for row in table[1:]} <= plain.get(name, set())]
    return [[cell for column, cell in enumerate(row) if column not in bare] for row in table]


def _line(rows: Sequence[dict[str, Any]]) -> list[str]:
    row = rows[0]
    sizes = ("parameters", "embedding_parameters", "buffers", "width", "heads", "depth", "hidden")
    counts = [f"{row[key]:,}" for key in sizes]
    recipe = [f"{row[key]:g}" for key in ("learning_rate", "dropout", "share")]
    tokens = sorted({run_row["planned_tokens"] for run_row in rows})
    planned = f"{tokens[0]:,}" if len(tokens) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
    budget = [planned, f"{row['expected_loss_tokens']:,.0f}", f"{row['expected_flops']:.2e}"]
    budget.append(duration(row["expected_seconds"]))
    what = [row[key] for key in ("dataset", "architecture", "form", "role", "condition")]
    what.append("scored only" if row["match"] == UNMATCHED else row["match"])  # a checkpoint that is not trained
    return [*what, str(len(rows)), row["examples"], *counts, *recipe, *budget]


def _totals(plans: Sequence[PlannedRun], missing: Sequence[PlannedRun], jobs: int, root: Path, checks: float) -> str:
    """Words for the time and disk space of the runs, with the seconds of the checks that come before the first one."""
    seconds = [plan.expected_seconds for plan in missing]
    wall = max(sum(seconds) / jobs, max(seconds, default=0.0)) + checks
    finished = f" ({len(plans) - len(missing)} finished)" if len(missing) < len(plans) else ""
    workers = "1 job" if jobs == 1 else f"{jobs} jobs"
    devices = max((plan.devices for plan in plans), default=1)
    per_run = f", {devices} devices for each run" if devices > 1 else ""
    checking = f" ({duration(checks)} of it for the checks)" if checks else ""
    return (
        f"{some_runs(len(plans))}{finished}: about {duration(wall)} with {workers}{per_run}{checking}, "
        f"up to {disk.needed(missing, jobs) / 1e6:,.0f} MB on disk ({disk.free(root) / 1e6:,.0f} MB free)"
    )
