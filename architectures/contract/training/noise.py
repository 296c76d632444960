"""The check of noise in training: a row's dropout depends on the random generator alone."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from archbench.architectures.contract.modes import TRAINING
from archbench.architectures.contract.subject import (
    TOLERANCE,
    Subject,
    equal,
    logits_of,
    padded,
    require,
    sequences,
    subject,
)
from archbench.architectures.contract.training.initial_weights import Draws, seeds_that_are_set
from archbench.architectures.contract.training.losses import gradients_are_confined
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.errors import listed

RATE = 0.3
DRAWS = 64
ROWS = 16  # with the same tokens
TOGETHER = 0.015  # correlation of their noise: six standard errors; with one mask of many in common 0.02 to 0.2
OFF = 0.4  # between means of draws, in standard deviations; by chance alone it is 0.18
SPREAD = 1.25  # between standard deviations, as a ratio
PADDING = 4


def dropout_depends_on_chance_alone(case: Subject) -> None:
    """Each row draws its noise by itself, whatever its tokens, its padding and the other rows are.

    A mask that rows share, noise that mixes rows or comes from the tokens, or a rate that depends on padding trains
    differently from batch to batch, and no setting records it. Draw masks as large as the states (`nn.Dropout`,
    `torch.rand_like`) from PyTorch's default generator, and set no seed.
    """
    noisy = subject(case.build, replace(case.size, dropout=RATE), case.limits, trials=case.trials)
    gradients_are_confined(noisy, 3, 6, 5)
    roomy = noisy.with_room(6 + PADDING, 5 + PADDING)
    batch = Batch(sequences(4, 6, limits=case.limits), sequences(4, 5, seed=1, limits=case.limits))
    alone = Batch(batch.source[:1], batch.target[:1])
    _come_from_the_default_generator(roomy, batch)
    _are_apart(_drawn(roomy, Batch(*(tokens.repeat(ROWS, 1) for tokens in alone[:2]))))
    expected, together = _drawn(roomy, alone)[:, 0], _drawn(roomy, batch)[:, 0]
    _is_like(together, expected, "beside other rows")
    others = Batch(*(torch.cat([tokens[:1], tokens[1:].flip(0, 1)]) for tokens in batch[:2]))
    _has_no_part(together, _drawn(roomy, others)[:, 0], "other rows")
    first, second = (_drawn(roomy, _with_padding(batch, seed))[:, 0, : expected.shape[1]] for seed in (3, 5))
    _is_like(first, expected, "with padding")
    _has_no_part(first, second, "padding")


def _with_padding(batch: Batch, seed: int) -> Batch:
    """The first row padded on the right, the others as long as that."""
    source, source_mask = padded(batch.source, 0, PADDING, seed)
    target, target_mask = padded(batch.target, 0, PADDING, seed + 1)
    source_mask[1:], target_mask[1:] = True, True
    return Batch(source, target, source_mask, target_mask)


def _come_from_the_default_generator(case: Subject, batch: Batch) -> None:
    """Requires a pass in training to draw from PyTorch's default generator, to set no seed, and to follow it."""
    with Draws() as watch, seeds_that_are_set((torch, "manual_seed"), (torch.random, "manual_seed")) as seeded:
        logits_of(case, batch, TRAINING)
    require(not seeded, f"a pass in training calls {listed(seeded)}")
    require(not watch.own, "a pass in training draws from a generator of its own")
    before = {module: module.p for module in case.model.modules() if isinstance(module, nn.Dropout)}
    for module in before:
        module.p = 0.0
    first, second = (_at_seed(case, batch, seed) for seed in (0, 1))
    scored = logits_of(case, batch)
    for module, rate in before.items():
        module.p = rate
    if torch.equal(first, second):
        equal(first, scored, "logits in training without `nn.Dropout`, the same under two seeds, and those of scoring")


def _drawn(case: Subject, batch: Batch) -> Tensor:
    """Logits (draws, b, t, v) in training, under another seed each."""
    return torch.stack([_at_seed(case, batch, seed) for seed in range(DRAWS)])


def _at_seed(case: Subject, batch: Batch, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return logits_of(case, batch, TRAINING)


def _are_apart(draws: Tensor) -> None:
    """Requires the noise of rows with the same tokens, in draws (n, b, t, v), not to be correlated."""
    noise = draws - draws.mean(0)
    alone, rows = noise.pow(2).sum().item(), draws.shape[1]
    together = (noise.sum(1).pow(2).sum().item() - alone) / ((rows - 1) * max(alone, 1e-12))
    require(together <= TOGETHER, f"the noise of rows has a correlation of {together:.2g}; each row must draw its own")


def _is_like(draws: Tensor, expected: Tensor, where: str) -> None:
    """Requires draws (n, t, v) of a row to have the same mean and spread as when it stands alone."""
    spread, alone = (x.std(0).pow(2).mean().sqrt().item() for x in (draws, expected))
    message = f"in training with dropout {RATE} a row's logits vary by {spread:.3g} {where}, by {alone:.3g} alone"
    require(alone <= SPREAD * spread and spread <= SPREAD * alone, message)
    off = (draws.mean(0) - expected.mean(0)).pow(2).mean().sqrt().item() / max(alone, 1e-12)
    require(off <= OFF, f"the mean of a row's logits in training is off by {off:.2f} standard deviations {where}")


def _has_no_part(first: Tensor, second: Tensor, what: str) -> None:
    """Requires draws (n, t, v) under the same seeds, with other tokens in ``what``, to differ by chance at most."""
    difference = first - second
    off = difference.mean(0).pow(2).mean().sqrt() / difference.std(0).pow(2).mean().sqrt().clamp(min=TOLERANCE)
    message = f"in training with dropout {RATE} other tokens in {what} move the mean of a row's logits"
    require(off.item() <= OFF, f"{message} by {off.item():.2g} standard deviations")
