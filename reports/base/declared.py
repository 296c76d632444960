"""The experiment's declarations, read from its tables: tasks, conditions, contrasts, margins."""

import json
from typing import Any

import pandas as pd

from archbench.reports.base.tables import Tables
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS, MARGINS, ONE_ANSWER

Pair = tuple[str, str]


def experiment(tables: Tables) -> dict[str, str]:
    """Recorded facts of the experiment, by key."""
    present = tables["experiment"].dropna(subset=["key", "value"])
    return dict(zip(present["key"].astype(str), present["value"].astype(str), strict=True))


def specification(tables: Tables) -> dict[str, Any]:
    """The experiment as it was resolved; empty where that cannot be read."""
    rows = tables["experiment"]
    texts = rows.loc[(rows["key"] == "specification").fillna(False), "value"].dropna()
    try:
        settings = json.loads(texts.iloc[0]) if len(texts) else {}
    except ValueError:
        settings = {}
    return settings if isinstance(settings, dict) else {}


def entered(tables: Tables, key: str) -> list[dict[str, Any]]:
    """The ``tasks``, or the ``conditions``, of the experiment as it was resolved."""
    entries = specification(tables).get(key)
    return [task for task in entries if isinstance(task, dict)] if isinstance(entries, list) else []


def contrasts_and_margins(tables: Tables) -> tuple[tuple[Pair, ...], dict[str, float]]:
    """The contrasts that the experiment declares, and its margins by metric."""
    settings = specification(tables)
    pairs = settings.get("contrasts", DEFAULT_CONTRASTS)
    return tuple((str(a), str(b)) for a, b in pairs), {**MARGINS, **_margins(tables), **settings.get("margins", {})}


def one_answer(tables: Tables, dataset: str) -> bool:
    """True if an example of the data set has one right answer; older records tell it by the kind of task alone."""
    rows = tables["datasets"]
    rows = rows[(rows["dataset"] == dataset).fillna(False)]
    known = rows["one_answer"].dropna() if "one_answer" in rows else rows["kind"].isin(ONE_ANSWER)
    return bool(known.iloc[0]) if len(known) else False


def _margins(tables: Tables) -> dict[str, float]:
    """The margins that metrics of the user's own state."""
    rows = tables["metrics"].dropna(subset=["margin"]) if "metrics" in tables else pd.DataFrame()
    if rows.empty:
        return {}
    return {str(name): float(margin) for name, margin in zip(rows["metric"], rows["margin"], strict=True)}


def baselines(tables: Tables) -> dict[str, str]:
    """The baseline of each task that the experiment gives one."""
    tasks = entered(tables, "tasks")
    return {str(task.get("name")): str(task["baseline"]) for task in tasks if task.get("baseline")}
