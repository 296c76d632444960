"""The reference rows of a data set: classical methods, and a model of its first run before any training."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from archbench.architectures.catalogue import catalogue
from archbench.runs.base import foreign_code, store
from archbench.runs.base.messages import Notify
from archbench.runs.base.plan import Plan
from archbench.runs.experiment.sections import FINETUNE, PROMPT
from archbench.runs.scoring.score import Scorer, progress
from archbench.runs.training import prompts
from archbench.runs.training.pretraining_objectives import window_limits
from archbench.runs.training.ranks import ALONE, Ranks
from archbench.runs.training.step import Trainer
from archbench.runs.training.weight_transfer import PretrainedWeights
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared
from archbench.tasks.kinds import task
from archbench.tasks.references.references import VERSION


def make(
    plan: Plan,
    prepared: Prepared,
    root: Path,
    notify: Notify = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """The reference rows of a data set: classical methods, and this run's model before any training (if it trains)."""
    if exist(plan, root):
        return
    rows = [asdict(reference) for reference in task.references(prepared)]
    if plan.tokens:
        model = build_trainer(plan, prepared).model
        scored = Scorer(model, prepared, plan.device, 0, progress(plan.run, notify), stop).score(prepared.test)
        rows += [{"name": "untrained", "split": "test", "metric": s.metric, "value": s.value} for s in scored.scores]
    facts = {"data": plan.data, "version": VERSION}
    store.write_sealed(_path(plan, root), [{"dataset": prepared.name, **row, **facts} for row in rows])


def exist(plan: Plan, root: Path) -> bool:
    """Whether the reference rows of the plan's data set, as it is now, are there, made by the rules of this version."""
    try:
        rows = store.read_about(_path(plan, root))
        return bool(rows) and all((row.get("data"), row.get("version")) == (plan.data, VERSION) for row in rows)
    except (InputError, AttributeError, TypeError):  # none yet, or damaged
        return False


def _path(plan: Plan, root: Path) -> Path:
    return root / "references" / f"{plan.task.name}.json"


def make_missing(plan: Plan, root: Path) -> None:
    """Make the reference rows where they are missing and the run that makes them was finished before."""
    if plan.references and not exist(plan, root):
        make(plan, prepare(plan), root)


def prepare(plan: Plan) -> Prepared:
    """The encoded data of a plan; raises ``RuntimeError`` if it is no longer what the plan was made for."""
    prepared = task.prepare(plan.task, Path(plan.cache), lambda line: None)
    if prepared.digest != plan.data:
        raise RuntimeError(f"the data of {plan.task.name} changed since the runs were planned; run the command again")
    if foreign_code.of_kind(plan.task) != plan.kind_code:
        raise RuntimeError(f"the kind of {plan.task.name} changed since the runs were planned; run the command again")
    return prepared


def build_trainer(
    plan: Plan, prepared: Prepared, start: PretrainedWeights | None = None, ranks: Ranks = ALONE
) -> Trainer:
    """A new model of the plan, with all that a training step needs; ``start`` are the weights that it starts from."""
    build = catalogue.find(plan.variant).builder(prepared.tokenizer.labels, trained=plan.tokens > 0)
    adapt = plan.adapt
    if start is not None and adapt == PROMPT:
        build, start, adapt = partial(prompts.prompted, prepared, start, plan), None, FINETUNE
    limits = window_limits(plan.objective, plan.limits) if plan.objective else plan.limits
    return Trainer.build(
        build,
        plan.size,
        limits,
        prepared,
        plan.training,
        plan.native,
        plan.seed,
        plan.device,
        plan.precision,
        objective=plan.objective,
        mask_rate=plan.mask_rate,
        start=start,
        adapt=adapt,
        ranks=ranks,
    )
