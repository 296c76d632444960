"""Tasks again with something changed: another axis, supervision or optimizer, or a part of the budget.

[[conditions]]
tasks = ["sentiment"]
seeds = [0, 1, 2]
supervision = "target"
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from archbench.runs.experiment.entries import ConditionEntry
from archbench.runs.experiment.optimizers import OPTIMIZERS
from archbench.runs.experiment.sections import ComparedKeys, Task
from archbench.runs.experiment.validation import printable, require
from archbench.tasks.base.errors import InputError

LISTS: tuple[str, ...] = ("architectures", "seeds")
TABLES = ("training", "model", "budget")


def conditions(entries: Sequence[ConditionEntry], tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Every condition on every task that it names, in their order; raises ``InputError`` for an unknown task."""
    return tuple(_changed(task, entry) for index, entry in enumerate(entries) for task in _named(entry, tasks, index))


def changed(task: Task, values: Mapping[str, Any]) -> Task:
    """``task`` with ``values``, which may name lists of its own."""
    return task.patched({"own_lists": tuple(name for name in LISTS if name in values), **values})


def limited(task: Task, lists: Mapping[str, tuple[Any, ...]]) -> Task:
    """``task`` with these architectures and seeds; of its own lists, what is among them."""
    own = {
        name: tuple(item for item in getattr(task, name) if item in lists[name])
        for name in task.own_lists
        if name in lists
    }
    return task.patched({**lists, **own})


def _named(entry: ConditionEntry, tasks: Sequence[Task], index: int) -> list[Task]:
    names = [task.name for task in tasks]
    for name in entry.tasks or ():
        require(name, names, f"conditions[{index}].tasks: no task {printable(name)}")
    return [task for task in tasks if entry.tasks is None or task.name in entry.tasks]


def _changed(task: Task, entry: ConditionEntry) -> Task:
    if entry.share == 1:
        raise InputError("conditions: share = 1 is the budget itself; leave it out, or give another part or multiple")
    values = entry.stated(ComparedKeys)
    notes = {
        "condition": ", ".join(_in_words(values)) if entry.name is None else entry.name,
        "share": entry.share or 1.0,
        "fixed": tuple(sorted(values.get("training", ()))),
        "retuned": "tuning" in values,
    }
    return changed(task, values | notes | ({"tuned": {}} if notes["retuned"] else {}))


def _in_words(values: Mapping[str, Any]) -> Iterator[str]:
    """Words for the changes of a condition without a name; none where only axis, seeds or share differ."""
    others = {key: value for key, value in values.items() if key not in (*LISTS, *TABLES, "tuning")}
    for table in (others, *(values.get(name, {}) for name in TABLES)):
        for key in sorted(table.keys() - {"match"}):
            value, label = table[key], key.replace("_", " ")
            if key == "supervision":
                yield f"{value} supervision"
            elif key == "optimizer":
                yield OPTIMIZERS[value].title
            else:
                yield f"{label} {value}".lower() if isinstance(value, bool | str) else f"{label} {value:,}"
    if "tuning" in values:
        yield "tuned"
