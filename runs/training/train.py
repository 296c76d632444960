"""The training loop: batches until the budget is used up, validation on the way, checkpoints that resume exactly."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archbench.architectures.objectives.objective import Batch, estimate, exact_log_likelihood
from archbench.runs.plans.messages import Interrupted, LogLine, Notify, Progress
from archbench.runs.plans.plan import Plan
from archbench.runs.store.weights import packed
from archbench.runs.training import checkpoint, goal
from archbench.runs.training.batches import Position, fixed
from archbench.runs.training.prefetch import prefetch
from archbench.runs.training.step import READ_STEPS, StepResult, Trainer, seed_from
from archbench.runs.updates import grad_accumulation
from archbench.tasks.base import files
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.base.values import Examples, Prepared

EXACT_NLL, SAMPLED_NLL = "nll_per_token", "nll_per_token_sampled"  # what validation measures
EVALUATIONS = 12
LOSS_POINTS = 60
CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.05  # of the time goes into saving checkpoints, at most
VALIDATION_TOKENS = (2_000, 20_000)  # at least and at most; in between a part of the budget
VALIDATION_PART, LABELLED_PART = 100, 10  # of the budget; 2,000 tokens hold about 80 labelled sentences
SCORING_TOKENS = {"cpu": 4_096, "cuda": 8_192}  # cells of a batch that is not trained on
SAMPLES = 2  # tokens of each target whose exact loss is measured where a likelihood takes a pass per token
DIVERGED_FACTOR = 2.0  # a run that never improved and ends above this multiple of its first loss has diverged

PREFETCHED = {"cpu": 0, "cuda": 2}  # batches that a thread prepares: on a CPU it would take the core that trains


@dataclass
class TrainingState:
    """The state of training without weights and optimizer, which a checkpoint stores as JSON.

    Losses are in nats per target token.
    """

    step: int = 0
    position: Position = field(default_factory=Position)
    loss_tokens: float = 0.0
    flops: float = 0.0
    executed_flops: float = 0.0
    padded_tokens: int = 0  # positions that were read, padding included
    seconds: float = 0.0
    best_validation_loss: float = math.inf
    best_step: int = 0
    first_loss: float = math.nan  # of step 1
    last_evaluation: int = -1  # evaluations are numbered from 0 to EVALUATIONS; -1: none yet
    losses_since_point: list[float] = field(default_factory=list)  # of the steps after the last point of the curve
    curves: list[dict[str, Any]] = field(default_factory=list)
    goal_tokens: float = math.inf  # read when the goal was first reached, see `goal`; infinite before
    divergence: str = ""  # its cause; empty as long as there is none
    micro_batches: int = 1

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "position": self.position.__dict__}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "TrainingState":
        return TrainingState(**{**value, "position": Position(**value["position"])})


class TrainingLoop:
    """One run's training: `run` leaves the best weights of the validation in the model, or the last ones.

    A run diverges, which ends it, where a loss or the norm of a gradient is not finite (`_read_losses`), where a
    validation loss is not finite (`_evaluate`), or where the loss at the end is more than ``DIVERGED_FACTOR`` times the
    first although the last weights would be kept: in a pretraining, by ``keep``, or if validation never
    improved (`_add_train_point`).
    """

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        trainer: Trainer,
        folder: Path,
        notify: Notify,
        stop: Callable[[], bool],
    ) -> None:
        self.plan, self.trainer, self.folder = plan, trainer, folder / "checkpoint"
        self.snapshots = folder / "snapshots"
        self.around, self.ranks = trainer.around, trainer.around.ranks
        self.notify, self.stop = notify, stop
        self.state = TrainingState(micro_batches=trainer.parts)
        self.loss: float | None = None
        self.best_weights: dict[str, Tensor] = trainer.weights()
        self.unread: list[StepResult] = []  # losses that are still on the device, of the latest steps
        self.uncounted: list[Batch] = []  # what the latest steps read, not yet in the state's counts
        self.stream = trainer.stream(plan.tokens)
        self.steps = self.stream.total_steps()
        self.validation = _fixed_subset(prepared.validation, plan, trainer.device.type)
        self.allowed_tokens = torch.tensor(prepared.allowed_tokens, device=trainer.device)
        self.has_goal, self.prepared = goal.has_goal(plan, prepared), prepared

    def run(self) -> TrainingState:
        """Train from the newest checkpoint, or from the start; raises ``Interrupted`` after saving one."""
        self._resume()
        due_at = time.monotonic() + CHECKPOINT_SECONDS
        for batch, position in self._batches():
            self._step(batch, position)
            if self.state.divergence:
                break
            self._evaluate_when_due()
            self._snapshot_when_due()
            stopping, due = self._any_rank_wants(self.stop(), time.monotonic() > due_at)
            if stopping or due:
                begun = time.monotonic()
                self._save()
                due_at = time.monotonic() + max(CHECKPOINT_SECONDS, (time.monotonic() - begun) / CHECKPOINT_SHARE)
            if stopping:
                raise Interrupted
        if not self.state.divergence:
            self._save()
            if not self.state.best_step:
                self._say("validation never improved in training; the weights that it began with are scored")
        self._count()
        self.around.finish(self.best_weights)
        return self.state

    def _any_rank_wants(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any rank has set it. GPUs synchronize only every few steps."""
        if self.ranks.world_size > 1 and self.state.step % READ_STEPS[self.trainer.device.type]:
            return tuple(False for _ in flags)
        return self.ranks.any(*flags)

    def _batches(self) -> Iterator[tuple[Batch, Position]]:
        if self.state.last_evaluation < 0:
            self._evaluate()
        if self.state.divergence:
            return iter(())
        batches = self.stream.start(self.state.position)
        depth = PREFETCHED[self.trainer.device.type]
        return prefetch(batches, depth) if depth else batches

    def _step(self, batch: Batch, position: Position) -> None:
        """Train on one batch; read its loss, and add a point to the training curve, when that is due."""
        state, begun = self.state, time.perf_counter()
        self._train_on(batch, position)
        is_point = state.step % max(1, self.steps // LOSS_POINTS) == 0 or state.step == self.steps
        if is_point or state.step % READ_STEPS[self.trainer.device.type] == 0 or self._is_due():
            self._read_losses()
        state.seconds += time.perf_counter() - begun
        if state.divergence:
            return
        if is_point:
            self._add_train_point()
        speed = state.position.tokens / max(state.seconds, 1e-9)
        self.notify(Progress(self.plan.run, "train", position.tokens, self.plan.tokens, self.loss, speed))

    def _train_on(self, batch: Batch, position: Position) -> None:
        """Update the weights; ``position`` is where the stream of batches is after this one."""
        state = self.state
        progress = (state.position.tokens + batch.tokens / 2) / self.plan.tokens
        self.unread.append(self.trainer.step(batch, state.step, min(progress, 1.0)))
        if self.trainer.parts > state.micro_batches:
            state.micro_batches = self.trainer.parts
            self._say(
                f"out of memory at step {state.step + 1}: from here on {state.micro_batches} micro-batches a batch"
            )
        state.step, state.position = state.step + 1, position
        self.uncounted.append(batch)

    def _add_train_point(self) -> None:
        """Add the mean loss since the last point to the curve; a last mean that is far too large is a divergence."""
        state = self.state
        mean = sum(state.losses_since_point) / len(state.losses_since_point)
        self._point("train", "loss", mean)
        state.losses_since_point = []
        never_better = self.plan.keeps_last or not state.best_step
        if state.step == self.steps and never_better and mean > DIVERGED_FACTOR * state.first_loss:
            rise = f"loss risen from {state.first_loss:.4g} at step 1 to {mean:.4g} at step {state.step}"
            state.divergence = f"{rise}; best checkpoint: step {state.best_step}"

    def _read_losses(self) -> None:
        """Take the losses from the device; the first that is not finite, or has no finite gradient, ends the run."""
        losses = torch.stack([torch.stack(tuple(stepped)) for stepped in self.unread]).tolist() if self.unread else []
        self.unread = []
        for place, (loss, norm) in enumerate(losses):
            if not math.isfinite(loss + norm):
                step = self.state.step - len(losses) + place + 1
                cause = f"gradient not finite (loss {loss:.4g})" if math.isfinite(loss) else f"loss {loss}"
                self.state.divergence = f"{cause} at step {step}; best checkpoint: step {self.state.best_step}"
                return
            if math.isnan(self.state.first_loss):
                self.state.first_loss = loss
            self.state.losses_since_point.append(loss)
            self.loss = loss

    def _count(self) -> None:
        """Count what the latest steps cost, many at once: for small models counting is no small part of a step."""
        if not self.uncounted:
            return
        batches, self.uncounted = self.uncounted, []
        model, state, native = self.trainer.model, self.state, self.plan.native
        source, target = (
            np.concatenate([getattr(batch, name) for batch in batches]).astype(np.float64)
            for name in ("source_lengths", "target_lengths")
        )
        rows, *widths = np.array(
            [(len(batch.target), batch.source.shape[1], batch.target.shape[1]) for batch in batches], np.float64
        ).T
        executed = model.objective.training_flops(model, *widths, native).executed
        state.executed_flops += float(np.sum(executed * rows))
        state.flops += float(np.sum(model.objective.training_flops(model, source, target, native).model))
        state.loss_tokens += float(np.sum(model.objective.loss_tokens(model, source, target, native)))
        state.padded_tokens += sum(batch.cells for batch in batches)

    def _is_due(self) -> bool:
        """True if the validation subset is to be measured after this step."""
        return self.state.step * EVALUATIONS // self.steps > self.state.last_evaluation

    def _evaluate_when_due(self) -> None:
        if self._is_due():
            self._evaluate()

    def _evaluate(self) -> None:
        """Measure the validation subset; the weights are kept where they are the best so far, ties to the earliest.

        Of a pretraining the last ones are kept: what follows is not judged by this likelihood. So they are by ``keep``.
        """
        state = self.state
        state.last_evaluation = state.step * EVALUATIONS // self.steps
        value = validation_loss(self.trainer, self.validation, self.allowed_tokens, self.plan.sampled)
        self._point("validation", SAMPLED_NLL if self.plan.sampled else EXACT_NLL, value)
        if not math.isfinite(value):
            state.divergence = f"validation loss {value} at step {state.step}; best checkpoint: step {state.best_step}"
        elif value < state.best_validation_loss or self.plan.keeps_last:
            state.best_validation_loss, state.best_step, self.best_weights = value, state.step, self.trainer.weights()
        if self.has_goal and math.isinf(state.goal_tokens) and goal.is_reached(self.trainer, self.prepared):
            state.goal_tokens = state.position.tokens

    def _snapshot_when_due(self) -> None:
        """Keep the weights at ``snapshots`` evenly spaced steps, the last step among them."""
        step, wanted = self.state.step, self.plan.training.snapshots
        if step * wanted // self.steps > (step - 1) * wanted // self.steps:
            weights = self.around.whole(self.trainer.model.state_dict())
            if self.ranks.is_main:
                files.write_bytes(self.snapshots / f"{step:08d}.safetensors", packed(weights, self.plan.run))

    def _point(self, split: str, metric: str, value: float) -> None:
        self._count()
        state = self.state
        where = {"step": state.step, "tokens": state.position.tokens, "flops": state.flops, "seconds": state.seconds}
        state.curves.append({**where, "split": split, "metric": metric, "value": value})

    def _save(self) -> None:
        self._read_losses()
        self._count()
        model, best = map(self.around.whole, (self.trainer.weights(), self.best_weights))
        parts = {"model": model, "optimizer": self.around.optimizer_state(self.trainer.optimizer), "best": best}
        if self.ranks.is_main:
            checkpoint.save(self.folder, self.plan.run, parts, self.state.to_json())

    def _say(self, line: str) -> None:
        self.notify(LogLine(self.plan.run, line))

    def _resume(self) -> None:
        saved = checkpoint.load(self.folder, self.plan.run, self._say) if self.ranks.is_main else None
        state = self.ranks.gathered(saved.state if saved else None)[0]
        if state is None:
            return
        if not self.ranks.is_main and self.around.reads_checkpoints:  # now that damaged ones are removed
            saved = checkpoint.load(self.folder, self.plan.run, self._say)
        model, optimizer, best = (saved.tensors[part] if saved else {} for part in checkpoint.PARTS)
        self.around.load(model, self.trainer.optimizer, optimizer)
        self.best_weights = self.around.placed(best)
        self.state = TrainingState.from_json(state)
        self.trainer.parts = max(self.state.micro_batches, self.ranks.world_size)


@torch.no_grad()
def validation_loss(trainer: Trainer, batches: list[Batch], allowed: Tensor, sampled: bool) -> float:
    """Negative log-likelihood per target token in nats, by the tokens that answers may use: ``allowed`` (v,).

    ``sampled``: by a few tokens of each target, the same ones every time.
    """
    with trainer.around.evaluated() as model:
        return _validation_loss(trainer, model, batches, allowed, sampled)


def _validation_loss(trainer: Trainer, model: Any, batches: list[Batch], allowed: Tensor, sampled: bool) -> float:
    ranks, nats, tokens = trainer.around.ranks, 0.0, 0

    def measured(batch: Batch, number: int, parts: int) -> Tensor:
        with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.bf16):
            if sampled:
                drawn = torch.Generator().manual_seed(seed_from(0, number))
                return estimate(model, batch, allowed, drawn, SAMPLES, parts, model.objective.left_to_right_estimator)
            return -exact_log_likelihood(model, batch, allowed, parts)

    measured_here: list[tuple[float, int]] = []
    for number, batch in list(enumerate(batches))[ranks.rank :: ranks.world_size]:
        losses = grad_accumulation.retry_in_parts(partial(measured, batch.to(trainer.device), number))
        possible = ~losses.isposinf()  # not of targets that the model cannot produce; nan stays and marks divergence
        measured_here.append((losses[possible].sum().item(), int(batch.target_lengths[possible.cpu().numpy()].sum())))
    for batch_nats, batch_tokens in ranks.in_order(measured_here):
        nats, tokens = nats + batch_nats, tokens + batch_tokens
    return nats / max(tokens, 1)


def _fixed_subset(examples: Examples, plan: Plan, device: str) -> list[Batch]:
    """The same validation examples at every evaluation and for every architecture; more where labels are drawn."""
    order = seeded_order(len(examples), 0)
    ends = np.cumsum((examples.source_lengths + examples.target_lengths)[order])
    drawn_labels = plan.task.draw_seed is not None and plan.task.target_length == 1
    part = LABELLED_PART if drawn_labels else VALIDATION_PART
    wanted = min(max(plan.tokens // part, VALIDATION_TOKENS[0]), VALIDATION_TOKENS[1])
    chosen = order[: int(np.searchsorted(ends, wanted)) + 1]
    return [batch for _, batch in fixed(examples, chosen, SCORING_TOKENS[device])]
