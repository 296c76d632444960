"""Scores that are computed from what runs have kept: by a kind that is not archbench's own, by metrics of the task.

The metrics that a task names beside those of its kind are computed from the table of predictions, the scores of a kind
from its kept outputs. Neither affects training: a run that lacks one, or whose code of it has changed, is scored again.
These scores are in ``metrics.json`` of the run's folder.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from archbench.runs.plans import foreign_code
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import kept_outputs, untrained
from archbench.runs.store import store
from archbench.runs.store.run_scores import BY_KIND
from archbench.runs.training.from_plan import prepared_data
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError, one_line
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared, Score
from archbench.tasks.kinds import own, task
from archbench.tasks.metrics import registry

FILE = store.METRICS
TRIED = 20  # references that a metric is tried on before anything is trained
PREDICTIONS = "predictions.parquet"


def check(prepared: Prepared) -> None:
    """Raises ``InputError`` where a metric of the task or its kind fails on answers as models may give them."""
    config = prepared.config
    untrained.try_kind(prepared)
    references = [prepared.test.target_text(i) for i in range(min(TRIED, len(prepared.test)))]
    for place in config.metrics:
        where = f"tasks.{config.name}.metrics"
        registry.tried(registry.find(place, config.folder, where), references, f"{where}: {place}")


def complete(plans: Sequence[Plan], root: Path, say: Say) -> tuple[str, ...]:
    """Scores every finished run of ``plans`` by what it lacks; a line for each that fails on one."""
    errors: list[str] = []
    wanting: dict[str, list[str]] = {}
    for plan in plans:
        if _places(plan) and _answered(store.run_folder(root, plan.run)):
            wanting.setdefault(plan.run, []).extend(_missing(plan, root))
    by_run = {plan.run: plan for plan in plans}
    counted = Counter(_name(by_run[run], place) for run, places in wanting.items() for place in places)
    for name, count in counted.items():
        say(f"{name}: scoring the answers of {count} {'run' if count == 1 else 'runs'}")
    for plan in plans:
        if wanting.get(plan.run):
            errors += _score(plan, root, wanting.pop(plan.run))
    return tuple(errors)


def score_by_kind(plan: Plan, prepared: Prepared, root: Path) -> None:
    """Scores a finished run by its kind, if that is not archbench's own. Raises ``InputError`` where that fails."""
    if plan.kind_code and _answered(store.run_folder(root, plan.run)):
        _write(plan, root, {BY_KIND: _by_kind(plan, root, prepared)})


def _places(plan: Plan) -> tuple[str, ...]:
    """The kind and the metrics that score the kept outputs of a run of the plan."""
    return (*((BY_KIND,) if plan.kind_code else ()), *plan.task.metrics)


def _name(plan: Plan, place: str) -> str:
    return f"{plan.task.kind_file or plan.task.kind}: measure" if place == BY_KIND else place


def _answered(folder: Path) -> bool:
    """True if a run is finished and has kept answers: trials and diverged runs have none."""
    return store.is_finished(folder) and (folder / PREDICTIONS).is_file()


def _missing(plan: Plan, root: Path) -> list[str]:
    """The kind and metrics by which the run has no score, or one from other code or other answers."""
    known = {row["place"]: row for row in _rows(plan, root)}
    stamps = {place: _stamp(plan, root, place) for place in _places(plan)}
    return [place for place, stamp in stamps.items() if {**known.get(place, {}), **stamp} != known.get(place)]


def _stamp(plan: Plan, root: Path, place: str) -> dict[str, Any]:
    """Hashes of the inputs of a score: its code, and the answers."""
    kept = kept_outputs.FILE if place == BY_KIND else PREDICTIONS
    code = plan.kind_code if place == BY_KIND else foreign_code.of_metric(place, plan.task.folder)
    return {"code": code, "answers": store.sealed_as(store.run_folder(root, plan.run), kept)}


def _rows(plan: Plan, root: Path) -> list[dict[str, Any]]:
    """The scores that the run has; none where the file is damaged or another run's."""
    with contextlib.suppress(InputError, TypeError, KeyError):
        rows = sealed.read_sealed(store.run_folder(root, plan.run) / FILE)
        return [row for row in rows if row["run"] == plan.run and row["place"]]
    return []


def _score(plan: Plan, root: Path, places: Sequence[str]) -> list[str]:
    """Scores a run by each of ``places`` in place of earlier scores; returns a line for each failure."""
    made: dict[str, list[Score]] = {}
    errors = []
    for place in places:
        try:
            made[place] = _by_kind(plan, root) if place == BY_KIND else _by_metric(plan, root, place)
        except Exception as error:
            made[place] = []
            message = str(error) if isinstance(error, InputError) else f"{_name(plan, place)}: {one_line(error)}"
            errors.append(f"{plan.run}: not scored: {message}; fix it and run the same command again")
    _write(plan, root, made)
    return errors


def _write(plan: Plan, root: Path, made: Mapping[str, Sequence[Score]]) -> None:
    """Writes these scores by place, and keeps those of other places that the task still names."""
    places = _places(plan)
    rows = [row for row in _rows(plan, root) if row["place"] in places and row["place"] not in made]
    for place, scores in made.items():
        about = {"run": plan.run, "split": "test"}
        rows += [{**about, **asdict(score), "place": place, **_stamp(plan, root, place)} for score in scores]
    rows.sort(key=lambda row: places.index(row["place"]))
    sealed.write_sealed(store.run_folder(root, plan.run) / FILE, rows)


def _by_kind(plan: Plan, root: Path, prepared: Prepared | None = None) -> list[Score]:
    prepared = prepared_data(plan) if prepared is None else prepared
    return task.scores_by_kind(prepared, kept_outputs.read(store.run_folder(root, plan.run), prepared))


def _by_metric(plan: Plan, root: Path, place: str) -> list[Score]:
    """The score of the answers; none where the run has none."""
    table = pq.read_table(store.run_folder(root, plan.run) / PREDICTIONS, columns=["reference", "answer"]).to_pylist()
    rows = [row for row in table if row["answer"] is not None and row["reference"] is not None]
    if not rows:
        return []
    metric = registry.find(place, plan.task.folder, f"tasks.{plan.task.name}.metrics")
    score = metric.score([row["reference"] for row in rows], [row["answer"] for row in rows])
    return [own.plain(score, len(table))]
