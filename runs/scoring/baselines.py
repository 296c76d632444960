"""The baselines of a data set: classical methods, and a model of its first run before any training."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from archbench.runs.base import sealed, store
from archbench.runs.base.messages import Notify
from archbench.runs.base.plan import Plan
from archbench.runs.scoring.score import Scorer, progress
from archbench.runs.training.from_plan import new_trainer, prepared_data
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
    rows = [asdict(baseline) for baseline in task.baselines(prepared)]
    if plan.is_trained:
        model = new_trainer(plan, prepared).model
        scored = Scorer(model, prepared, plan.device, progress(plan.run, notify), stop).score(prepared.test)
        rows += [{"name": "untrained", "split": "test", "metric": s.metric, "value": s.value} for s in scored.scores]
    facts = {"data": plan.data, "version": VERSION}
    sealed.write_sealed(_path(plan, root), [{"dataset": prepared.name, **row, **facts} for row in rows])


def exist(plan: Plan, root: Path) -> bool:
    """Whether the baselines of the plan's data set, as it is now, are there, made by the rules of this version."""
    try:
        rows = store.read_dataset_file(_path(plan, root))
        return bool(rows) and all((row.get("data"), row.get("version")) == (plan.data, VERSION) for row in rows)
    except (InputError, AttributeError, TypeError):  # none yet, or damaged
        return False


def _path(plan: Plan, root: Path) -> Path:
    return root / "references" / f"{plan.task.name}.json"


def make_missing(plan: Plan, root: Path) -> None:
    """Make the baselines where they are missing and the run that makes them was finished before."""
    if plan.baselines and not exist(plan, root):
        make(plan, prepared_data(plan), root)
