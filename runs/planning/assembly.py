"""Assembles the plan of a run from a model, its data and what the run costs."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from archbench.architectures.catalogue import digests
from archbench.architectures.families.size import Counts, Size
from archbench.architectures.families.variant import Variant
from archbench.runs.base import disk, foreign_code
from archbench.runs.base.plan import ExecutionSetting, Plan
from archbench.runs.experiment.sections import Training
from archbench.runs.planning import budget
from archbench.runs.training import compiled
from archbench.tasks.base.values import Prepared
from archbench.tasks.kinds import registry, task


@dataclass(frozen=True)
class RunCost:
    """FLOPs of training on ``tokens``, of the optimizer, and of scoring: likelihoods and answers for the test examples.

    ``loss_tokens`` of the tokens have a loss.
    """

    tokens: int
    flops: float
    loss_tokens: float
    optimizer_flops: float
    scoring_flops: float

    @property
    def total_flops(self) -> float:
        return self.flops + self.optimizer_flops + self.scoring_flops


class PlanAssembler:
    """Assembles the plans of all runs on the same data. ``experiment`` is its name."""

    def __init__(self, experiment: str, prepared: Prepared, setting: ExecutionSetting) -> None:
        self.experiment, self.prepared, self.setting = experiment, prepared, setting

    def plan(
        self,
        variant: Variant,
        identifier: str,
        training: Training,
        cost: RunCost,
        *,
        size: Size,
        counts: Counts,
        seed: int,
        match: str,
        supervision: str,
        precision: str,
    ) -> Plan:
        """A run from scratch. What only some runs have (a start, a trial, a prompt) is for the caller to add.

        ``identifier``: the name or path by which other processes find the variant.
        """
        setting, prepared = self.setting, self.prepared
        speed = setting.speed * training.devices
        return Plan(
            experiment=self.experiment,
            architecture=variant.name,
            family=variant.family,
            description=variant.document,
            seed=seed,
            match=match,
            task=prepared.config,
            data=prepared.digest,
            vocabulary=prepared.tokenizer.vocabulary,
            **self._own_kind,
            variant=identifier,
            variant_text=variant.text,
            variant_digest=digests.of(variant),
            breaks=", ".join(variant.breaks),
            size=size,
            counts=counts,
            training=compiled.chosen(training, setting.device, cost.flops),
            supervision=supervision,
            targets={},
            tokens=cost.tokens,
            loss_tokens=cost.loss_tokens,
            flops=cost.flops,
            optimizer_flops=cost.optimizer_flops,
            device=setting.device,
            precision=precision,
            threads=setting.threads,
            deterministic=setting.deterministic,
            cache=str(setting.cache),
            expected_seconds=budget.OVERHEAD_SECONDS + cost.total_flops / speed,
            scoring_seconds=cost.scoring_flops / speed,
            predictions=self._predictions,
            environment=dict(setting.environment),
        )

    @cached_property
    def _predictions(self) -> int:
        return disk.predictions(self.prepared)

    @cached_property
    def _own_kind(self) -> dict[str, Any]:
        """The entries of a plan for a kind that is not archbench's own."""
        kind = registry.of(self.prepared.config)
        if not kind.origin:
            return {}
        decoding = asdict(task.decoding(self.prepared)) if kind.decoding is not None else {}
        decoding.pop("rounds", None)  # of a strategy that no kind can choose
        code = foreign_code.of_kind(self.prepared.config)
        return {"kind_form": kind.form, "kind_code": code, "decoding": decoding}
