"""Plans published runs again: with the learning rates, dropout and variants that trials chose for them, without trials.

Each published run becomes a task of its own, with one seed, axis and architecture, which the planner plans as any
other. What its row records then replaces the training that was planned.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archbench.runs.experiment.sections import SCRATCH, Against, Experiment, Task, is_path, variant_name
from archbench.runs.machine import machine
from archbench.runs.planning.matrix import Matrix
from archbench.runs.planning.preparation import check_data
from archbench.runs.plans.placement import Placement
from archbench.runs.plans.plan import Plan
from archbench.runs.store import store
from archbench.tasks.base.errors import InputError

SETTINGS = {  # of a run's row, with their names in a sentence
    "device": "device",
    "precision": "precision",
    "threads": "threads",
    "planned_tokens": "training tokens",
    "supervision": "supervision",
    "width": "width",
    "heads": "heads",
    "depth": "depth",
    "hidden": "feed-forward width",
    "batch_tokens": "tokens of a batch",
    "optimizer": "optimizer",
}
MACHINE = ("processor", "cpu_capability", "torch")  # of the environment: what may change rounding
LATER = 20  # numerics versions after this archbench's that are tried


@dataclass(frozen=True)
class PublishedRun:
    """A run of published tables and its place in their comparison.

    ``variant`` is what was trained under the name ``architecture``, and ``form`` the name of its form, if it has one.
    ``row`` is its row in the table of runs, without empty cells; ``environment`` has the facts about its machine.
    ``data`` is the digest of its data; "" if unknown.
    """

    run: str
    dataset: str
    condition: str
    match: str
    role: str
    architecture: str
    share: float
    seed: int
    variant: str
    row: Mapping[str, Any]
    environment: Mapping[str, str]
    data: str
    form: str = ""

    @property
    def place(self) -> Placement:
        where = self.dataset, self.condition, self.match, self.role, self.architecture, self.share, self.form
        return Placement(self.run, *where)


@dataclass(frozen=True)
class ReproducedRun:
    """A published run, its plan here, and what differs between the two, a line each; empty if nothing does."""

    published: PublishedRun
    plan: Plan
    differences: tuple[str, ...]


def narrowed(experiment: Experiment, runs: Sequence[PublishedRun]) -> Experiment:
    """The experiment with nothing but these runs: one condition for each, beside tasks that only state the reference.

    With pretrainings, all that starts from one stays, without runs: it decides which texts share a tokenizer. Raises
    ``InputError`` for a run that the experiment does not have.
    """
    named = {run.dataset for run in runs}
    tasks = tuple(_reference_only(task) for task in experiment.tasks if task.name in named or experiment.pretraining)
    sharing = [_untuned(task, seeds=()) for task in experiment.conditions if task.start != SCRATCH]
    conditions = (*(_alone(experiment, run) for run in runs), *sharing)
    return experiment.patched({"tasks": tasks, "conditions": conditions, "controls": (), "added": {}})


def pretrainings_first(matrix: Matrix, root: Path) -> tuple[Plan, ...]:
    """The pretrainings that runs of a narrowed experiment wait for and that can be trained in ``root`` now."""
    plans = {plan.run: plan for plan in (*matrix.plans, *matrix.later)}
    needed: dict[str, Plan] = {}
    names = [plan.start for plan in matrix.later if not plan.is_pretraining]
    while names:
        plan = plans[names.pop()]
        needed[plan.run] = plan
        names += [plan.start] * bool(plan.start)
    ready = [plan for plan in matrix.plans if plan.run in needed]
    return tuple(plan for plan in ready if not store.is_finished(store.run_folder(root, plan.run), weights=True))


def reproduced(matrix: Matrix, experiment: Experiment, runs: Sequence[PublishedRun]) -> tuple[ReproducedRun, ...]:
    """The runs with their plans: ``matrix`` is of the narrowed ``experiment``. Raises ``InputError`` if data differ."""
    plans = {plan.run: plan for plan in matrix.plans}
    digests = {row["dataset"]: str(row["digest"]) for row in matrix.datasets}  # conditions may read a part of the data
    entries = {
        (entry.dataset, entry.condition, entry.match, entry.share, entry.architecture, plans[entry.run].seed): entry
        for entry in matrix.entries
    }
    chosen = []
    for run in runs:
        entry = entries[run.dataset, run.condition, run.match, run.share, run.variant, run.seed]
        in_seconds = _stated(experiment, run).budget.seconds is not None
        plan = _as_published(plans[entry.run], run, in_seconds)
        if run.data:
            check_data(run.dataset, run.data, digests[run.dataset])
        chosen.append(ReproducedRun(run, plan, tuple(_differences(plan, run))))
    return tuple(chosen)


def placed(matrix: Matrix, runs: Sequence[ReproducedRun]) -> Matrix:
    """The matrix of these runs, each in the place that it has in the published comparison."""
    plans = {item.plan.run: item.plan for item in runs}
    entries = dict.fromkeys(replace(item.published.place, run=item.plan.run) for item in runs)
    return Matrix(tuple(plans.values()), tuple(entries), matrix.datasets)


def joined_by(
    experiment: Experiment,
    variant: str,
    others: Sequence[str],
    against: Against,
    grids: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]],
) -> Experiment:
    """The headline of a published experiment with one more architecture, the only one that is trained.

    Its trials have the learning rates and dropout values of ``grids``, and are not repeated; it is tested against each
    of ``others``.
    """

    def joined(task: Task) -> Task:
        tuning = task.tuning
        if tuning is not None and task.name in grids:
            rates, dropouts = grids[task.name]
            tuning = tuning.patched({"learning_rate": rates, "dropout": dropouts, "longer": False})
        named = {"architectures": (*_reference_only(task).architectures, variant), "alternatives": {}}
        return task.patched({**named, "tuning": tuning, "budget": {"match": task.budget.match[:1]}})

    tasks = tuple(map(joined, experiment.tasks))
    name = f"{against.architecture}-against-{against.published}"
    declared = {"contrasts": tuple((against.architecture, other) for other in others), "against": against}
    without = {"conditions": (), "controls": ()}
    changes = {"name": name, "architectures": tasks[0].architectures, "tasks": tasks, **without, **declared}
    return experiment.patched(changes)


def called(variant: str) -> str:
    """The name of the variant that is entered by this name or path."""
    return variant_name(variant) if is_path(variant) else variant.replace("_", "-")


def _reference_only(task: Task) -> Task:
    """A task without runs: its first trained architecture is the reference that sizes are fitted to."""
    trained = (name for name in task.architectures if name.endswith(".py") or not is_path(name))
    return _untuned(task, architectures=(next(trained),), seeds=())


def _alone(experiment: Experiment, run: PublishedRun) -> Task:
    """The task of one published run."""
    task = _stated(experiment, run)
    entered = next((name for name in task.all_candidates if _is_called(name, run.variant)), run.variant)
    budget: dict[str, Any] = {"match": (run.match,)}
    if task.budget.seconds is not None:  # the recorded tokens are what the seconds sufficed for there
        budget |= {"seconds": None, "tokens": max(1, round(run.row["planned_tokens"] / run.share))}
    alone = _untuned(
        task,
        architectures=(entered,),
        seeds=(run.seed,),
        share=run.share,
        budget=task.budget.model_copy(update=budget),
    )
    usual = next(known for known in experiment.tasks if known.name == task.name)
    forms = (form for name in task.architectures for form in task.candidates(name) if form.variant == entered)
    chosen = next((form for form in forms if run.form and form.name == run.form), None)
    return alone.in_form(chosen, usual) if chosen else alone


def _untuned(task: Task, **changes: Any) -> Task:
    return task.patched({"tuning": None, "retuned": False, "alternatives": {}, **changes})


def _stated(experiment: Experiment, run: PublishedRun) -> Task:
    """The task or the condition that a run belongs to; a control is one of the task itself."""
    tasks = [task for task in experiment.tasks_and_conditions if task.name == run.dataset]
    own_share = 1.0 if run.role == "control" else run.share
    fitting = [task for task in tasks if (task.condition, task.share) == (run.condition, own_share)]
    if not fitting:
        raise InputError(f"{run.run}: the specification has no such run; give tables as compare or report wrote them")
    return next((task for task in fitting if _has(task, run)), fitting[0])


def _has(task: Task, run: PublishedRun) -> bool:
    entered = any(_is_called(name, run.variant) for name in task.all_candidates)
    return entered and run.seed in task.seeds and run.match in task.budget.match


def _is_called(entered: str, variant: str) -> bool:
    """True if a variant that was entered by this name or path has the name ``variant``."""
    return variant in (entered, called(entered))


def _as_published(plan: Plan, run: PublishedRun, in_seconds: bool) -> Plan:
    """The plan with what trials chose for the published run, its heads, precision and, for seconds, its tokens.

    Every machine computes in float32, but not every one in bfloat16, so only float32 is taken over.
    """
    training = plan.training.patched(_rates(run.row))
    heads = _size_heads(plan, run.row)
    plan = replace(
        plan,
        match=run.match,
        training=training,
        size=replace(plan.size, dropout=training.dropout, heads=heads),
        heads=heads if plan.heads == plan.size.heads else plan.heads,
        precision="float32" if run.row.get("precision") == "float32" else plan.precision,
        deterministic=run.environment.get("deterministic") == "true",
    )
    if not in_seconds:
        return plan
    tokens = int(run.row["planned_tokens"])
    costs = ("flops", "optimizer_flops", "loss_tokens", "expected_seconds")
    return replace(plan, tokens=tokens, **{name: getattr(plan, name) * tokens / plan.tokens for name in costs})


def _size_heads(plan: Plan, row: Mapping[str, Any]) -> int:
    """The published number of heads, unless the variant has one of its own: narrow models once had one by default."""
    own = plan.heads not in (None, plan.size.heads)
    return plan.size.heads if own else int(row.get("heads", plan.size.heads))


def _rates(row: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded values that trials may choose; the last two are recorded only where they are set."""
    return {
        "learning_rate": float(row["learning_rate"]),
        "dropout": float(row["dropout"]),
        "proxy_width": int(row["proxy_width"]) if "proxy_width" in row else None,
        "proxy_share": float(row["proxy_share"]) if "proxy_share" in row else None,
    }


def _differences(plan: Plan, run: PublishedRun) -> Iterator[str]:
    """Why the new scores may differ from the published ones, as far as it can be known."""
    planned = plan.row()
    for key, name in SETTINGS.items():
        if key in run.row and run.row[key] != planned[key]:
            yield f"{name}: {run.row[key]} there, {planned[key]} here"
    if not run.data:
        yield "data: the tables have no digest of them"
    if plan.run != run.run:
        yield from _other_code(plan, run)
    facts = machine.environment(plan.device)
    for key in MACHINE:
        there = run.environment.get(key, facts[key])
        if there != facts[key]:
            yield f"{key.replace('_', ' ')}: {there} there, {facts[key]} here"


def _other_code(plan: Plan, run: PublishedRun) -> Iterator[str]:
    """Causes of another name beside the settings in the run's row: a numerics version that fits, else a guess."""
    there = _with_settings(plan, run.row)
    identity = there.identity()
    here = identity["numerics"]
    fitting = (n for n in range(1, here + LATER) if there.named({**identity, "numerics": n}) == run.run)
    numerics = next(fitting, None)
    if numerics is None:
        yield "code: archbench's numerics, the architecture's code or a setting that the tables do not record differ"
    elif numerics != here:
        yield f"numerics: version {numerics} there, {here} here"


def _with_settings(plan: Plan, row: Mapping[str, Any]) -> Plan:
    """The plan with the settings of a published row."""
    sizes = {"dim": "width", "depth": "depth", "hidden": "hidden"}
    size = replace(plan.size, **{part: int(row[key]) for part, key in sizes.items() if key in row})
    texts = {key: row[key] for key in ("device", "precision", "supervision") if key in row}
    tokens, threads = int(row.get("planned_tokens", plan.tokens)), int(row.get("threads", plan.threads))
    return replace(plan, size=size, tokens=tokens, threads=threads, **texts)
