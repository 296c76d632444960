"""The scores of a run: those sealed with it, and those computed again when their code changes.

scores.json    likelihoods, and the scores of archbench's own kinds of task
metrics.json   what is scored from kept outputs: by a kind that is not archbench's own, by metrics that a task names
"""

from collections.abc import Sequence
from pathlib import Path

from archbench.runs.store.store import METRICS, Row
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

BY_KIND = "measure()"  # the place of a score by the task's kind; no metric that a task names is called so


def of_run(folder: Path) -> list[Row]:
    """The scores of the run in ``folder``, without those by metrics that its task names.

    Raises ``InputError`` where ``scores.json`` cannot be read.
    """
    return joined(sealed.read_json(folder / "scores.json"), by_kind(folder))


def by_kind(folder: Path) -> list[Row]:
    """The scores by a user's kind of task; empty where there are none or they are damaged."""
    try:
        rows = sealed.read_sealed(folder / METRICS)
    except InputError:
        return []
    return [row for row in rows if row.get("place") == BY_KIND and row.get("run") == folder.name]


def joined(scores: Sequence[Row], of_kind: Sequence[Row]) -> list[Row]:
    """All scores, those of the kind first; it may measure a likelihood in its own way, which then counts."""
    known = {(row["split"], row["metric"]) for row in of_kind}
    return [*of_kind, *(row for row in scores if (row.get("split"), row.get("metric")) not in known)]
