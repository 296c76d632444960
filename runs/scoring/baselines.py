"""The baselines of a data set: classical methods, and a model of its first run before any training."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archbench.runs.machine.own_process import OwnProcess
from archbench.runs.plans.messages import Notify
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring.score import Predictions, Predictor, progress, scored
from archbench.runs.store import store
from archbench.runs.training.from_plan import new_trainer, prepared_data
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared
from archbench.tasks.baselines.baselines import VERSION
from archbench.tasks.kinds import task


def make(
    plan: Plan,
    prepared: Prepared,
    root: Path,
    notify: Notify = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """The baselines of a data set: classical methods, and this run's model before any training (if it trains)."""
    if exist(plan, root):
        return
    bars = [task.bar(prepared)] if len(prepared.train) else []
    rows = [asdict(baseline) for baseline in (*task.baselines(prepared), *bars)]
    if plan.is_trained:
        rows += _untrained(plan, prepared, notify, stop)
    facts = _made_from(plan)
    sealed.write_sealed(_path(plan, root), [{"dataset": prepared.name, **row, **facts} for row in rows])


def exist(plan: Plan, root: Path) -> bool:
    """True if the folder has the baselines that ``make`` would make for this plan."""
    try:
        rows = store.read_dataset_file(_path(plan, root))
        facts = _made_from(plan).items()
        return bool(rows) and all(row.get(key) == value for row in rows for key, value in facts)
    except (InputError, AttributeError, TypeError):  # none yet, or damaged
        return False


def drop_others(plan: Plan, root: Path) -> None:
    """Removes baselines of the plan's data set that ``make`` would not make for it."""
    if plan.baselines and not exist(plan, root):
        _path(plan, root).unlink(missing_ok=True)


def _made_from(plan: Plan) -> dict[str, Any]:
    """Inputs of the baselines: the data, archbench's version of them, the untrained model and the kind's code.

    A run's name covers its model, the numerics and how it answers.
    """
    return {"data": plan.data, "version": VERSION, "made_from": f"{plan.run} {plan.kind_code}".strip()}


def _untrained(plan: Plan, prepared: Prepared, notify: Notify, stop: Callable[[], bool]) -> list[dict[str, Any]]:
    """The scores of the plan's model before any training."""
    if plan.foreign:
        with OwnProcess() as process:
            predicted: Predictions = process.call(f"{__name__}:predictions", plan, notify=notify, stop=stop)
    else:
        predicted = predictions(plan, notify, stop)
    made = scored(prepared, prepared.test, predicted)
    by_kind = task.scores_by_kind(prepared, made.outputs) if plan.kind_code else []
    scores = {score.metric: score.value for score in (*by_kind, *made.scores, *by_kind)}
    return [{"name": "untrained", "split": "test", "metric": metric, "value": scores[metric]} for metric in scores]


def predictions(plan: Plan, notify: Notify, stop: Callable[[], bool]) -> Predictions:
    """Predictions of the plan's model for the test split before any training."""
    prepared = prepared_data(plan)
    model = new_trainer(plan, prepared).model
    return Predictor(model, prepared, plan.device, progress(plan.run, notify), stop).predict(prepared.test)


def _path(plan: Plan, root: Path) -> Path:
    return root / "references" / f"{plan.task.name}.json"


def make_missing(plan: Plan, root: Path) -> None:
    """Make the baselines where they are missing and the run that makes them was finished before."""
    if plan.baselines and not exist(plan, root):
        make(plan, prepared_data(plan), root)
