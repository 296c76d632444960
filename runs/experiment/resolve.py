"""The experiment that a file describes: its tasks, conditions and pretrainings, checked against each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from archbench.runs.experiment import starts
from archbench.runs.experiment.conditions import conditions
from archbench.runs.experiment.entries import ExperimentEntry
from archbench.runs.experiment.sections import (
    DEFAULT_CONTRASTS,
    Experiment,
    Form,
    InheritedKeys,
    Task,
    Tuning,
    checkpoint_name,
    is_checkpoint,
    is_scratch,
    variant_name,
)
from archbench.runs.experiment.tasks import check_task, check_tuning, resolved
from archbench.runs.experiment.validation import nearest, printable, require, validated
from archbench.tasks.base import fixed_environment
from archbench.tasks.base.errors import InputError
from archbench.tasks.metrics import registry as metrics
from archbench.tasks.metrics.builtin import BUILTIN


def resolve(data: dict[str, Any], folder: str) -> Experiment:
    """The experiment in ``data``, which is shaped like an experiment file in ``folder``; raises ``InputError``."""
    entry = validated(ExperimentEntry, data)
    if entry.environment:
        fixed_environment.require(entry.environment)
    general = entry.stated(InheritedKeys)
    written = [(task, resolved(task, general, folder, f"tasks[{i}]")) for i, task in enumerate(entry.tasks)]
    pretrainings = starts.pretrainings(entry, folder)
    tasks, start_conditions = starts.expand(written, pretrainings)
    tasks = tuple(map(_completed, tasks))
    _check_names(tasks)
    _check_baselines(tasks)
    _check_metrics(tasks)
    _check_margins(entry.margins, tasks)
    _check_architectures(entry, tasks)
    return Experiment(
        name=entry.name,
        architectures=entry.architectures,
        seeds=entry.seeds,
        tasks=tasks,
        conditions=tuple(map(_completed, (*start_conditions, *_conditions(entry, tasks)))),
        pretraining=pretrainings,
        controls=_controlled(entry, tasks),
        contrasts=DEFAULT_CONTRASTS if entry.contrasts is None else entry.contrasts,
        margins=entry.margins,
        folder=folder,
        environment=entry.environment,
    )


def _completed(task: Task) -> Task:
    """A task with the defaults of files: batches, how encoders learn what has an end, that trials are repeated."""
    training, tuning = task.training, task.tuning
    in_windows = task.kind == starts.KIND or task.compares_texts
    with_defaults = {"length_pool"} if in_windows else {"length_pool", "mask_weights", "canvas"}
    open_keys = with_defaults - training.model_fields_set
    task = task.patched({"training": {key: training.in_files(key) for key in sorted(open_keys)}})
    if tuning is None or tuning.share == 1 or "longer" in tuning.model_fields_set:
        return task
    return task.patched({"tuning": tuning.patched({"longer": Tuning.in_files("longer")})})


def _conditions(entry: ExperimentEntry, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """The conditions; no two may be the same for a task, and each must change the task."""
    changed = conditions(entry.conditions, tasks)
    for index, task in enumerate(changed):
        check_task(task, f"conditions ({task.name})")
        if task.retuned:
            check_tuning(task, f"conditions ({task.name})")
        if any(task == other for other in (*tasks, *changed[:index])):
            raise InputError(
                f'conditions: "{task.condition}" on {task.name} is given twice; remove it, or change something'
                if task.condition
                else f"conditions: a condition changes nothing on {task.name}; remove it, or change something"
            )
    return changed


def _controlled(entry: ExperimentEntry, tasks: tuple[Task, ...]) -> tuple[str, ...]:
    """The tasks that have controls."""
    names = tuple(task.name for task in tasks)
    if isinstance(entry.controls, bool):
        return names if entry.controls else ()
    for name in entry.controls:
        require(name, names, f"controls: no task {printable(name)}")
    return entry.controls


def _check_architectures(entry: ExperimentEntry, tasks: tuple[Task, ...]) -> None:
    """Contrasts, tuned recipes and alternatives name architectures that are entered somewhere."""
    lists = (entry.architectures, *(listed.architectures for listed in (*tasks, *entry.conditions)))
    entered = [name for names in lists for name in names]
    known = list(dict.fromkeys(variant_name(name) for name in entered))
    for position, pair in enumerate(entry.contrasts or ()):
        if pair[::-1] in (entry.contrasts or ())[:position]:
            named = f"{printable(pair[1])}, {printable(pair[0])}"
            raise InputError(f"contrasts[{position}]: the pair {named} is given twice")
        for name in pair:
            require(name, known, f"contrasts[{position}]: no architecture {printable(name)}")
    starts_named = [checkpoint_name(start) for task in entry.tasks for start in task.start if is_checkpoint(start)]
    for position, listed in enumerate(entry.tasks):
        by_start = {f"tuned_starts.{start}": names for start, names in listed.tuned_starts.items()}
        for key, tuned in {"tuned": listed.tuned, **by_start}.items():
            for name in tuned:
                if name not in (*known, *starts_named):
                    unknown = f"no architecture of that name{nearest(name, known)}"
                    raise InputError(f"tasks[{position}].{key}.{name}: {unknown}")
    _check_alternatives("", entry.alternatives, entered)
    for position, listed in enumerate(entry.tasks):
        _check_alternatives(f"tasks[{position}].", listed.alternatives, entered)
    for task in tasks:
        chosen = [name for name in task.architectures if name in task.alternatives]
        open_ones = [name for name in chosen if not task.chosen_form(name)]
        if open_ones and task.tuning is None:
            where = f"alternatives.{open_ones[0]}: trials choose among alternatives"
            how = f'add [tuning], or the choice of earlier trials: tuned = {{ {open_ones[0]} = {{ form = "..." }} }}'
            raise InputError(f"{where}, but the task {printable(task.name)} has no trials; {how}")
        for name, earlier in task.tuned.items():
            own = [given for given in chosen if variant_name(given) == name]
            forms = [name, *(form.name for given in own for form in task.alternatives[given])]
            where = f"tasks.{task.name}.tuned.{name}.form"
            require(earlier.form or name, forms, f"{where}: no form {printable(earlier.form)} in alternatives")
        for name in chosen:
            for position, form in enumerate(task.alternatives[name]):
                _check_formed(task, form, f"alternatives.{name}[{position}]: tasks.{task.name}")


def _check_alternatives(place: str, alternatives: Mapping[str, Sequence[Form]], entered: Sequence[str]) -> None:
    for name, others in alternatives.items():
        where = f"{place}alternatives.{name}"
        require(name, entered, f"{where}: no architecture of that name is entered")
        for position, form in enumerate(others):
            if form.settings:
                _check_settings(form, f"{where}[{position}]")
            elif not form.variant:
                raise InputError(f"{where}[{position}]: {printable(form.name)} changes nothing; add training or model")
            elif form.variant == name:
                raise InputError(f"{where}: {printable(name)} is compared anyway; list the others only")


def _check_settings(form: Form, where: str) -> None:
    """Refuses a form that sets what trials choose, or the width, which all architectures of a match share."""
    for key in ("learning_rate", "dropout"):
        if key in form.training.stated():
            raise InputError(f"{where}.training.{key}: trials choose it for every form; remove it")
    if form.model.width is not None:
        raise InputError(f"{where}.model.width: all architectures of a match have one width; remove it")


def _check_formed(task: Task, form: Form, place: str) -> None:
    if form.model.stated() and not is_scratch(task.start):
        raise InputError(f"{place} starts from {task.start}, which decides the model; remove model")
    formed = task.in_form(form, task)
    check_task(formed, place)
    check_tuning(formed, place)


def _check_margins(margins: dict[str, float], tasks: tuple[Task, ...]) -> None:
    named = (metrics.name_of(listed) for task in tasks for listed in task.metrics)
    known = dict.fromkeys((*(name for name, metric in BUILTIN.items() if metric.margin), *named))
    for name in margins:
        require(name, known, f"margins.{name}: unknown metric")


def _check_metrics(tasks: tuple[Task, ...]) -> None:
    """Within an experiment, each metric's name has one meaning."""
    seen: dict[str, str] = {}
    for i, task in enumerate(tasks):
        for named in task.metrics:
            first = seen.setdefault(metrics.name_of(named), named)
            if first != named:
                name = metrics.name_of(named)
                where = f"tasks[{i}].metrics: {printable(named)}"
                raise InputError(f'{where}: "{name}" is already the name of {printable(first)}; rename one')


def _check_names(tasks: tuple[Task, ...]) -> None:
    seen: dict[str, int] = {}
    for i, task in enumerate(tasks):
        first = seen.setdefault(task.name.casefold(), i)
        if first != i:
            raise InputError(f"tasks[{i}].name: {printable(task.name)} is also the name of tasks[{first}]; rename one")


def _check_baselines(tasks: tuple[Task, ...]) -> None:
    """A task's baseline is another task of its kind, without a baseline of its own."""
    for i, task in enumerate(tasks):
        others = {other.name: other for other in tasks if other.kind == task.kind and other.name != task.name}
        if task.baseline and task.baseline not in others:
            known = nearest(task.baseline, others) if others else "; the experiment has none"
            raise InputError(f"tasks[{i}].baseline: no other {task.kind} task {printable(task.baseline)}{known}")
        if task.baseline and others[task.baseline].baseline:
            raise InputError(f"tasks[{i}].baseline: {printable(task.baseline)} has a baseline of its own; use that one")
