"""Checks of training: gradients, precision, and whether the model learns."""

import contextlib

import torch
from torch import nn

from archbench.architectures.contract.modes import SCORING, Mode
from archbench.architectures.contract.subject import (
    Subject,
    allowed,
    fresh,
    log_likelihood,
    logits_of,
    require,
    sequences,
)
from archbench.architectures.objectives.objective import Batch, mean_loss

MANY_STEPS = 300
LONG = 256  # tokens
HALF = 3.0  # times as far as rounded weights move them may logits in bfloat16 be from those in float32
LEAST = 0.01  # of their size, which rounded weights count at least
FIRST_STEPS = 30
ROUNDING = 1e-6  # of the gradient of all parameters: smaller ones are rounding errors
LEARNING_RATE = 0.006  # in the first half of the steps, then less and less
LEARNED = 1.96  # nats per token: two thirds of what guessing costs; slow learners are no broken ones


def every_parameter_gets_a_gradient(case: Subject) -> None:
    """Every parameter gets a gradient from the loss.

    A parameter that never gets one counts in the budget but learns nothing: `forward` does not call its module, a
    `detach()` cuts it off, its branch is never taken, or its effect cancels, as that of a router whose shares are
    divided by their sum where one expert is chosen. Remove it, or use it. The same is required in the first steps of a
    model as it is built: two factors that are both zero get no gradient from each other, so one of them has to begin
    elsewhere.
    """
    idle = _idle(case.model, 4)
    require(not idle, f"parameters that never get a gradient: {', '.join(idle)}")
    idle = _idle(fresh(case.build), FIRST_STEPS, LEARNING_RATE)
    require(not idle, f"parameters that get no gradient in the first {FIRST_STEPS} steps: {', '.join(idle)}")


def _idle(model: nn.Module, batches: int, learning_rate: float = 0.0) -> list[str]:
    """Parameters that no batch gives a gradient, but for rounding errors in matrices; trained if there is a rate."""
    touched: set[str] = set()
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for seed in range(batches):
        batch = Batch(sequences(4, 5, seed=2 * seed), sequences(4, 6, seed=2 * seed + 1))
        optimizer.zero_grad()
        torch.autograd.backward(mean_loss(model, batch, allowed(), torch.Generator().manual_seed(seed)))
        sizes = {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}
        whole = sum(size**2 for size in sizes.values()) ** 0.5
        least = {name: ROUNDING * whole if p.dim() > 1 else 0.0 for name, p in model.named_parameters()}
        touched |= {name for name, size in sizes.items() if size > least[name]}
        if learning_rate:
            optimizer.step()
    return sorted({name for name, _ in model.named_parameters()} - touched)


def bfloat16_is_near(case: Subject) -> None:
    """Under bfloat16 autocast loss and logits stay near those of float32, also of long texts; gradients are finite.

    GPUs train in this precision. Mask with minus infinity or booleans instead of large numbers, and compute positions,
    angles, states of a recurrence and sums that must be exact in float32. Logits of long texts may be off by up to
    three times as much as with weights that are rounded to bfloat16.
    """
    batch = Batch(sequences(3, 6), sequences(3, 5, seed=1))
    for native in (False, True):
        losses = []
        for context in (contextlib.nullcontext(), torch.autocast("cpu", torch.bfloat16)):
            case.model.zero_grad()
            with context:
                generator = torch.Generator().manual_seed(0)
                loss = mean_loss(case.model, batch, allowed(), generator, native=native)
            torch.autograd.backward(loss)
            losses.append(loss.item())
            broken = [n for n, p in case.model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
            require(not broken, f"gradients that are not finite: {', '.join(broken)}")
        exact, half = losses
        require(abs(half - exact) <= 0.1 * (1 + abs(exact)), f"the loss is {exact:.3f}, in bfloat16 {half:.3f}")
    _is_near_in_long_texts(case.with_room(LONG, LONG))


@torch.no_grad()
def _is_near_in_long_texts(case: Subject) -> None:
    """Requires bfloat16 to move the logits of long texts little more than rounding the weights does."""
    texts = Batch(sequences(2, LONG), sequences(2, LONG, seed=1))
    expected, half = (logits_of(case, texts, mode) for mode in (SCORING, Mode(bfloat16=True)))
    for parameter in case.model.parameters():
        parameter.copy_(parameter.bfloat16())
    rounded = logits_of(case, texts)
    off, least = (((x - expected).norm(dim=-1) / expected.norm(dim=-1)).mean().item() for x in (half, rounded))
    message = f"in bfloat16, logits of {LONG} tokens after a source of {LONG} are off by {off:.1%} of their size"
    require(off <= HALF * max(least, LEAST), f"{message}, with rounded weights by {least:.1%}")


def a_batch_can_be_learned(case: Subject) -> None:
    """Training on one batch brings the loss far below that of guessing.

    A model that cannot overfit four short texts cannot learn from a corpus. Look
    for dead activations, an initialisation far too large or small, or gradients that do not reach early layers.
    """
    loss = loss_after_training(case, LEARNED)
    problem = f"after {MANY_STEPS} steps on one batch the loss is still {loss:.2f} nats a token; guessing costs 2.94"
    require(loss < LEARNED, problem)


def loss_after_training(case: Subject, enough: float) -> float:
    """The loss (nats per token) of a new model after training on one batch, until it is below ``enough``."""
    model = fresh(case.build)
    batch, allowed_tokens = Batch(sequences(4, 5), sequences(4, 5, seed=1)), allowed()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(0)
    nats_per_token = float("inf")
    for step in range(1, MANY_STEPS + 1):
        loss = mean_loss(model.train(), batch, allowed_tokens, generator)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, 2.0 - 2.0 * step / (MANY_STEPS + 1))
        optimizer.step()
        if step % 30 == 0:
            nats_per_token = (
                -log_likelihood(Subject(case.build, model.eval()), batch, allowed_tokens).mean().item()
                / batch.target.shape[1]
            )
        if nats_per_token < enough:
            break
    return nats_per_token
