"""Measurements of a variant for planning: the size that meets a budget, counts, FLOPs, speed.

Questions and answers are plain values, so that a user's variant can be measured in another process.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from archbench.architectures.families.size import Counts, Limits, Size, count, heads
from archbench.architectures.families.variant import Variant
from archbench.architectures.objectives.objective import is_exact
from archbench.runs.budgets import budget, calibrate
from archbench.runs.budgets.budget import Lengths
from archbench.runs.experiment.sections import Task
from archbench.runs.scoring.score import ROUNDS
from archbench.runs.training import pretraining_objectives
from archbench.runs.updates import optimizer
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.kinds.task import prepare

Ask = Callable[..., Any]  # (question, *arguments) -> a JSON value
KEPT: Final = 256  # answers to a question that this process keeps: a plan asks the same for every seed


class Measurements:
    """Measurements of one variant; ``ask`` answers in this process or asks the variant's own process."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def fit(
        self,
        start: Size,
        limits: Limits,
        lengths: Lengths,
        axis: str,
        native: bool,
        target: float,
        coarse: bool,
        depth: int | None,
    ) -> Size:
        """The size within 1% of ``target``, which is in the unit of this axis: FLOPs are those of a token.

        ``native`` is the supervision that FLOPs depend on. ``coarse``: the feed-forward width changes in steps of
        ``budget.COARSE``. ``depth`` None: any. Raises ``InputError`` where there is no such size.
        """
        return Size(**self._ask("fit", start, limits, lengths, axis, native, target, coarse, depth))

    def counts(self, size: Size, limits: Limits) -> Counts:
        return Counts(**self._ask("counts", size, limits))

    def heads(self, size: Size, limits: Limits) -> int | None:
        count: int | None = self._ask("heads", size, limits)
        return count

    def flops_per_token(self, size: Size, limits: Limits, lengths: Lengths, native: bool) -> float:
        """Model FLOPs of training on a data token of examples with these source and target lengths."""
        return float(self._ask("flops_per_token", size, limits, lengths, native))

    def example_flops(self, size: Size, limits: Limits, lengths: Lengths, native: bool) -> NDArray[np.float64]:
        """Model FLOPs (n,) of training on each of n examples with these source and target lengths."""
        return np.array(self._ask("example_flops", size, limits, lengths, native), np.float64)

    def example_loss_tokens(self, size: Size, limits: Limits, lengths: Lengths, native: bool) -> NDArray[np.float64]:
        """Expected tokens with a loss (n,) in each of n examples with these source and target lengths."""
        return np.array(self._ask("example_loss_tokens", size, limits, lengths, native), np.float64)

    def has_one_loss(self, size: Size, limits: Limits, lengths: Lengths) -> bool:
        """True if native and target supervision ask for a loss at the same tokens."""
        return bool(self._ask("has_one_loss", size, limits, lengths))

    def is_sampled(self, size: Size, limits: Limits) -> bool:
        """True if validation in training samples the likelihood, which takes a pass per token."""
        return bool(self._ask("is_sampled", size, limits))

    def pretraining(
        self,
        config: TaskConfig,
        cache: Path,
        objective: Mapping[str, float],
        rate: float | None,
        size: Size,
        masking: Mapping[str, str],
    ) -> "TokenCost":
        """Cost of a token in pretraining on these data by this objective; raises ``InputError`` where it cannot be."""
        return TokenCost(**self._ask("pretraining", config, cache, dict(objective), rate, size, dict(masking)))

    def answer_flops(self, size: Size, limits: Limits, lengths: Lengths) -> float:
        """Model FLOPs of generating answers of these lengths for sources of these lengths."""
        return float(self._ask("answer_flops", size, limits, lengths))

    def rounds_flops(self, size: Size, limits: Limits, lengths: Lengths) -> float:
        """The same for the answers that scoring adds, in each number of rounds; 0 of a model that writes in none."""
        return float(self._ask("rounds_flops", size, limits, lengths))

    def weights(self, size: Size, limits: Limits) -> frozenset[str]:
        """The names of the model's weights."""
        return frozenset(self._ask("weights", size, limits))

    def optimizer_flops(self, size: Size, limits: Limits, name: str) -> float:
        """FLOPs of one step of an optimizer."""
        return float(self._ask("optimizer_flops", size, limits, name))

    def rate(self, work: calibrate.Work, size: Size, limits: Limits, cache: Path) -> float:
        """Data tokens per second in training, measured now."""
        config = work.prepared.config
        return float(self._ask("rate", config, cache, work.task, work.device, work.precision, size, limits))


@dataclass(frozen=True)
class TokenCost:
    """Model FLOPs and tokens with a loss for each token that is read; a pretraining's objectives with their shares."""

    flops: float
    loss_tokens: float
    objective: dict[str, float] = field(default_factory=dict)


def answer(variant: Variant, question: str, *arguments: Any) -> Any:
    """Measures a variant in this process."""
    return _ANSWERS[question](variant, *arguments)


@lru_cache(maxsize=KEPT)
def _blank(variant: Variant, size: Size, limits: Limits) -> Any:
    """The model on the meta device: without memory for its weights. A checkpoint has its own size."""
    if variant.checkpoint is not None:
        return variant.checkpoint.blank(limits)
    return budget.blank(variant.build, size, limits, variant.name)


def _fit(
    variant: Variant,
    start: Size,
    limits: Limits,
    lengths: Lengths,
    axis: str,
    native: bool,
    target: float,
    coarse: bool,
    depth: int | None,
) -> dict[str, Any]:
    measure = budget.flops_per_token(lengths, native) if axis == "flops" else budget.COUNTED[axis]
    active = axis != "parameters"
    size = budget.fit(variant.build, start, limits, measure, target, coarse, variant.name, depth, active)
    return asdict(size)


@lru_cache(maxsize=KEPT)
def _counts(variant: Variant, size: Size, limits: Limits) -> dict[str, int]:
    return asdict(count(_blank(variant, size, limits)))


@lru_cache(maxsize=KEPT)
def _heads(variant: Variant, size: Size, limits: Limits) -> int | None:
    return heads(_blank(variant, size, limits))


def _flops_per_token(variant: Variant, size: Size, limits: Limits, lengths: Lengths, native: bool) -> float:
    return budget.flops_per_token(lengths, native)(_blank(variant, size, limits))


def _example_flops(variant: Variant, size: Size, limits: Limits, lengths: Lengths, native: bool) -> list[float]:
    model = _blank(variant, size, limits)
    flops = model.objective.training_flops(model, *lengths, native).model
    flops_each: list[float] = np.broadcast_to(flops, lengths[0].shape).tolist()
    return flops_each


def _example_loss_tokens(variant: Variant, size: Size, limits: Limits, lengths: Lengths, native: bool) -> list[float]:
    model = _blank(variant, size, limits)
    tokens = model.objective.loss_tokens(model, *lengths, native)
    tokens_each: list[float] = np.broadcast_to(tokens, lengths[0].shape).tolist()
    return tokens_each


def _has_one_loss(variant: Variant, size: Size, limits: Limits, lengths: Lengths) -> bool:
    model = _blank(variant, size, limits)
    native, target = (model.objective.loss_tokens(model, *lengths, native) for native in (True, False))
    return bool(np.array_equal(native, target))


@lru_cache(maxsize=KEPT)
def _is_sampled(variant: Variant, size: Size, limits: Limits) -> bool:
    return not is_exact(_blank(variant, size, limits).objective, limits.target_length)


def _pretraining(
    variant: Variant,
    config: TaskConfig,
    cache: Path,
    objective: dict[str, float],
    rate: float | None,
    size: Size,
    masking: dict[str, str],
) -> dict[str, Any]:
    prepared = prepare(config, cache)
    usual = Limits(prepared.tokenizer.vocabulary, config.source_length, config.target_length, **masking)
    shares = pretraining_objectives.resolved(_blank(variant, size, usual), objective, variant.name)
    model = _blank(variant, size, pretraining_objectives.window_limits(shares, usual))
    learned = pretraining_objectives.pretraining_objective(model, shares, rate)
    lengths = budget.sample_lengths(pretraining_objectives.pretraining_windows(model, prepared, shares))
    native, tokens = pretraining_objectives.has_source_loss(shares), float(sum(map(np.sum, lengths)))
    flops = learned.training_flops(model, *lengths, native).model
    losses = learned.loss_tokens(model, *lengths, native)
    return {
        "objective": shares,
        "flops": float(np.sum(np.broadcast_to(flops, lengths[0].shape))) / tokens,
        "loss_tokens": float(np.sum(np.broadcast_to(losses, lengths[0].shape))) / tokens,
    }


def _answer_flops(variant: Variant, size: Size, limits: Limits, lengths: Lengths) -> float:
    model = _blank(variant, size, limits)
    return float(np.sum(model.objective.answer_flops(model, *lengths)))


def _rounds_flops(variant: Variant, size: Size, limits: Limits, lengths: Lengths) -> float:
    model = _blank(variant, size, limits)
    flops = getattr(model.objective, "rounds_flops", None)
    if flops is None or not _is_sampled(variant, size, limits):
        return 0.0
    return float(sum(np.sum(flops(model, *lengths, rounds)) for rounds in ROUNDS))


@lru_cache(maxsize=KEPT)
def _weights(variant: Variant, size: Size, limits: Limits) -> list[str]:
    return sorted(_blank(variant, size, limits).state_dict())


@lru_cache(maxsize=KEPT)
def _optimizer_flops(variant: Variant, size: Size, limits: Limits, name: str) -> float:
    return optimizer.flops(_blank(variant, size, limits), name)


def _rate(
    variant: Variant,
    config: TaskConfig,
    cache: Path,
    task: Task,
    device: str,
    precision: str,
    size: Size,
    limits: Limits,
) -> float:
    work = calibrate.Work(prepare(config, cache), task, device, precision)
    return calibrate.measured(work, variant, size, limits)


_ANSWERS: dict[str, Callable[..., Any]] = {
    "fit": _fit,
    "counts": _counts,
    "heads": _heads,
    "flops_per_token": _flops_per_token,
    "example_flops": _example_flops,
    "example_loss_tokens": _example_loss_tokens,
    "has_one_loss": _has_one_loss,
    "is_sampled": _is_sampled,
    "pretraining": _pretraining,
    "answer_flops": _answer_flops,
    "rounds_flops": _rounds_flops,
    "weights": _weights,
    "optimizer_flops": _optimizer_flops,
    "rate": _rate,
}
