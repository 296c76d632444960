"""The pretraining runs of an experiment: one for each pretraining, architecture and seed."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from archbench.architectures.families.size import Size
from archbench.runs.experiment.sections import SCRATCH, Pretraining
from archbench.runs.planning.planner import Planner, PlanningContext, Wanted
from archbench.runs.planning.preparation import Preparation
from archbench.runs.planning.trials import recipe
from archbench.runs.plans.placement import PlacedPlan
from archbench.runs.training.weight_transfer import weights_for_stacks
from archbench.tasks.base.errors import InputError

ROLE = "pretraining"


class Pretrainings:
    """Plans the pretraining runs of an experiment, each once: many tasks start from the same run."""

    def __init__(self, context: PlanningContext, preparation: Preparation) -> None:
        self.context, self.texts = context, preparation.texts
        self._stages = {stage.name: stage for stage in context.experiment.pretraining}
        self._planners = {
            name: Planner(context, self.texts[name], stage.task, stage.task.architectures[0])
            for name, stage in self._stages.items()
        }
        self._placed: dict[tuple[str, str, int, int | None], PlacedPlan] = {}

    def runs(self) -> Iterator[PlacedPlan]:
        """A run for each pretraining, architecture and seed, after the part of another that it goes on from."""
        for stage in self._stages.values():
            for architecture, seed in product(stage.task.architectures, stage.task.seeds):
                before = self._before(stage, architecture, seed)
                if before is not None and stage.share is not None:
                    words = f"{1 - stage.share:.4g} of the tokens of {stage.name}"
                    yield before._replace(placement=replace(before.placement, condition=words))
                yield self._run(stage, architecture, seed)

    def start(self, name: str, architecture: str, seed: int) -> PlacedPlan:
        """The pretraining run that a run of this architecture with this seed starts from.

        It has the same seed; where that was not pretrained with, one of those that were.
        """
        stage = self._stages[name]
        seeds = stage.task.seeds
        return self._run(stage, architecture, seed if seed in seeds else seeds[seed % len(seeds)])

    def _before(self, stage: Pretraining, architecture: str, seed: int) -> PlacedPlan | None:
        """The run that a pretraining goes on from."""
        if not stage.before:
            return None
        architecture, tokens = stage.before_architecture or architecture, stage.task.budget.tokens or 0
        if stage.share is None:
            return self.start(stage.before, architecture, seed)
        return self._run(self._stages[stage.before], architecture, seed, tokens - round(stage.share * tokens))

    def _run(self, stage: Pretraining, architecture: str, seed: int, spent: int | None = None) -> PlacedPlan:
        """A pretraining run; on ``spent`` tokens where another goes on from it."""
        key = stage.name, architecture, seed, spent
        if key not in self._placed:
            before = self._before(stage, architecture, seed)
            if before is not None:
                self._check_conversion(stage, architecture, replace(before.plan.size, dropout=0.0))
            tokens, share = stage.task.budget.tokens or 0, 1.0 if stage.share is None else stage.share
            task = stage.task.patched({"start": stage.before or SCRATCH})
            wanted = Wanted(
                task=task,
                architecture=architecture,
                seed=seed,
                match=task.budget.match[0],
                role=ROLE,
                training=recipe(task, self.context.architectures.find(architecture).name),
                start=before,
                stage=stage,
                tokens=round(share * tokens) if spent is None else spent,
            )
            self._placed[key] = self._planners[stage.name].placed(wanted)
        return self._placed[key]

    def _check_conversion(self, stage: Pretraining, architecture: str, size: Size) -> None:
        """Raises ``InputError`` where an architecture cannot begin with the weights that a pretraining goes on from."""
        find, measurements = self.context.architectures.find, self.context.architectures.measurements
        first, second = variants = [find(name) for name in (stage.before_architecture or architecture, architecture)]
        limits = self._planners[stage.name].sizes.limits(stage.task).of_data
        old, new = (measurements(variant).weights(size, limits) for variant in variants)
        if different := new ^ set(weights_for_stacks({name: name for name in old}, new)):
            raise InputError(
                f"pretraining.{stage.name}.from_architecture: weights of {first.name} do not fit {second.name} "
                f"({', '.join(sorted(different)[:2])}); a single stack can become a decoder, an encoder, a prefix "
                "decoder or an encoder-decoder"
            )
