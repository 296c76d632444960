"""Tasks again with something changed: another axis, supervision or optimizer, or a part of the budget.

[[conditions]]
tasks = ["sentiment"]
seeds = [0, 1, 2]
supervision = "target"
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from archbench.runs.experiment.sections import Budget, ConditionEntry, Section, Task
from archbench.runs.experiment.validation import nearest, printable
from archbench.tasks.base.errors import InputError

Part = TypeVar("Part", bound=Section)

HOW_LONG = ("tokens", "flops", "seconds")
OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}


def conditions(entries: Sequence[ConditionEntry], tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Every condition on every task that it names, in their order; raises ``InputError`` for an unknown task."""
    return tuple(_changed(task, entry) for index, entry in enumerate(entries) for task in _named(entry, tasks, index))


def merged(general: Part, specific: Part) -> Part:
    """``general`` with the keys that ``specific`` sets."""
    values = {name: getattr(specific, name) for name in specific.model_fields_set}
    return general.model_copy(update=values)


def merged_budget(general: Budget, specific: Budget) -> Budget:
    """Whoever says how long is trained replaces how long the general budget says, in whichever unit."""
    if any(getattr(specific, unit) is not None for unit in HOW_LONG):
        general = general.model_copy(update=dict.fromkeys(HOW_LONG))
    return merged(general, specific)


def _named(entry: ConditionEntry, tasks: Sequence[Task], index: int) -> list[Task]:
    names = [task.name for task in tasks]
    for name in entry.tasks or ():
        if name not in names:
            raise InputError(f"conditions[{index}].tasks: no task {printable(name)}{nearest(name, names)}")
    return [task for task in tasks if entry.tasks is None or task.name in entry.tasks]


def _changed(task: Task, entry: ConditionEntry) -> Task:
    if entry.share == 1:
        raise InputError("conditions: share = 1 is the budget itself; leave it out, or give another part or multiple")
    changes: dict[str, Any] = {
        "architectures": entry.architectures or task.architectures,
        "seeds": entry.seeds or task.seeds,
        "supervision": entry.supervision or task.supervision,
        "budget": merged_budget(task.budget, entry.budget),
        "model": merged(task.model, entry.model),
        "training": merged(task.training, entry.training),
        "share": entry.share or 1.0,
        "tuned": task.tuned if entry.tuning is None else {},
        "tuning": entry.tuning or task.tuning,
        "retuned": entry.tuning is not None,
        "fixed": tuple(sorted(entry.training.model_fields_set)),
        "own_lists": tuple(name for name in ("architectures", "seeds") if getattr(entry, name)),
        "condition": ", ".join(_changes_in_words(entry)) if entry.name is None else entry.name,
    }
    return task.model_copy(update=changes)


def _changes_in_words(entry: ConditionEntry) -> Iterator[str]:
    """What a condition without a name changes, in words; nothing where only axis, seeds or share differ."""
    if entry.supervision is not None:
        yield f"{entry.supervision} supervision"
    for section in (entry.training, entry.model, entry.budget):
        for key in sorted(section.model_fields_set - {"match"}):
            value, label = getattr(section, key), key.replace("_", " ")
            if key == "optimizer":
                yield OPTIMIZERS[value]
            elif isinstance(value, bool | str):
                yield f"{label} {value}".lower()
            else:
                yield f"{label} {value:,}"
    if entry.tuning is not None:
        yield "tuned"
