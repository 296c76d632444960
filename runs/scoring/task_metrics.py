"""The metrics that a task names beside those of its kind, computed from the answers that its runs have kept.

They do not affect training: a run that lacks one, or whose metric's code has changed, is scored again from its table of
predictions. Their scores are in ``metrics.json`` of the run's folder.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from archbench.runs.base import foreign_code, sealed, store
from archbench.runs.base.plan import Plan
from archbench.tasks.base.errors import InputError, one_line
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared, Score
from archbench.tasks.metrics import registry
from archbench.tasks.metrics.metric import Metric

FILE = store.METRICS
TRIED = 20  # references that a metric is tried on before anything is trained
PREDICTIONS = "predictions.parquet"


def check(prepared: Prepared) -> None:
    """Raises ``InputError`` where a metric of the task fails on answers as models may give them."""
    config = prepared.config
    references = [prepared.test.target_text(i) for i in range(min(TRIED, len(prepared.test)))]
    for place in config.metrics:
        where = f"tasks.{config.name}.metrics"
        registry.tried(registry.find(place, config.folder, where), references, f"{where}: {place}")


def complete(plans: Sequence[Plan], root: Path, say: Say) -> tuple[str, ...]:
    """Scores every finished run of ``plans`` by what it lacks; a line for each metric that fails on one."""
    errors: list[str] = []
    wanting: dict[str, list[str]] = {}
    for plan in plans:
        if plan.task.metrics and _answered(store.run_folder(root, plan.run)):
            wanting.setdefault(plan.run, []).extend(_missing(plan, root))
    for place, count in Counter(place for places in wanting.values() for place in places).items():
        say(f"{place}: scoring the answers of {count} {'run' if count == 1 else 'runs'}")
    for plan in plans:
        if wanting.get(plan.run):
            errors += _score(plan, root, wanting.pop(plan.run))
    return tuple(errors)


def _answered(folder: Path) -> bool:
    """Whether a run is finished and has kept answers: trials and diverged runs have none."""
    return store.is_finished(folder) and (folder / PREDICTIONS).is_file()


def _missing(plan: Plan, root: Path) -> list[str]:
    """The metrics that the run has no score of, or one of other code or other answers."""
    known = {row["place"]: row for row in _rows(plan, root)}
    stamps = {place: _stamp(plan, root, place) for place in plan.task.metrics}
    return [place for place, stamp in stamps.items() if {**known.get(place, {}), **stamp} != known.get(place)]


def _stamp(plan: Plan, root: Path, place: str) -> dict[str, Any]:
    """Hashes of the inputs of a score: the metric's code, and the answers."""
    answers = store.sealed_as(store.run_folder(root, plan.run), PREDICTIONS)
    return {"code": foreign_code.of_metric(place, plan.task.folder), "answers": answers}


def _rows(plan: Plan, root: Path) -> list[dict[str, Any]]:
    """The scores that the run has; none where the file is damaged or another run's."""
    with contextlib.suppress(InputError, TypeError, KeyError):
        rows = sealed.read_sealed(store.run_folder(root, plan.run) / FILE)
        return [row for row in rows if row["run"] == plan.run and row["place"]]
    return []


def _score(plan: Plan, root: Path, places: Sequence[str]) -> list[str]:
    """Scores a run by these metrics and keeps its scores by others that the task names; what failed, in lines."""
    scores = [row for row in _rows(plan, root) if row["place"] in plan.task.metrics and row["place"] not in places]
    errors = []
    table = pq.read_table(store.run_folder(root, plan.run) / PREDICTIONS, columns=["reference", "answer"]).to_pylist()
    answered = [row for row in table if row["answer"] is not None and row["reference"] is not None]
    for place in places if answered else ():
        try:
            score = _score_by(plan, place, [row["reference"] for row in answered], [row["answer"] for row in answered])
        except Exception as error:
            message = str(error) if isinstance(error, InputError) else f"{place}: {one_line(error)}"
            errors.append(f"{plan.run}: not scored: {message}; fix it and run the same command again")
            continue
        values = {key: value for key, value in asdict(score).items() if key != "per_example"}
        scores.append({"run": plan.run, "split": "test", **values, "place": place, **_stamp(plan, root, place)})
    order = {place: number for number, place in enumerate(plan.task.metrics)}
    sealed.write_sealed(store.run_folder(root, plan.run) / FILE, sorted(scores, key=lambda row: order[row["place"]]))
    return errors


def _score_by(plan: Plan, place: str, references: Sequence[str], answers: Sequence[str]) -> Score:
    metric: Metric = registry.find(place, plan.task.folder, f"tasks.{plan.task.name}.metrics")
    return registry.score(metric, references, answers)
