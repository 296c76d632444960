"""Models with other weights than random ones: confident, large and trained ones."""

from collections.abc import Callable
from dataclasses import replace

import torch

from archbench.architectures.contract.subject import Subject, allowed, fresh, sequences, subject
from archbench.architectures.families.size import embedding_parameters
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.example import END

STEEP = 300.0  # the largest logit of a confident model
LARGE = 1.5  # times as large weights
STEPS = 40
LEARNING_RATE = 0.01


def random(case: Subject) -> Subject:
    """The same weights as those of ``case``."""
    return subject(case.build, case.size, case.limits, trials=case.trials)


@torch.no_grad()
def confident(case: Subject) -> Subject:
    """Logits of up to ``STEEP``: the output matrix is scaled, or all tables where there is none."""
    steep = random(case)
    head = getattr(steep.model, "head", None)
    left_out = embedding_parameters(steep.model)
    tables = head.parameters() if head is not None else steep.model.parameters()
    largest = steep.model(*remembered(case)).abs().max().item()
    for table in tables:
        if id(table) in left_out:
            table.mul_(STEEP / max(largest, 1e-3))
    return steep


@torch.no_grad()
def large(case: Subject) -> Subject:
    """Every weight is ``LARGE`` times as large, so that attention and gates are sharp."""
    bigger = random(case)
    for parameter in bigger.model.parameters():
        parameter.mul_(LARGE)
    return bigger


@torch.enable_grad()
def trained(case: Subject) -> Subject:
    """A model as it is built, after ``STEPS`` training steps on one batch."""
    model, generator = fresh(case.build, size=case.size, limits=case.limits).train(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(mean_loss(model, remembered(case), allowed(limits=case.limits), generator, native=True))
        optimizer.step()
    optimizer.zero_grad()
    return replace(case, model=model.eval())


def remembered(case: Subject) -> Batch:
    """The batch on which ``trained`` models were trained: texts, one that ends early, and one token repeated."""
    lengths = min(6, case.limits.source_length), min(6, case.limits.target_length)
    source, target = (sequences(3, n, seed=seed, limits=case.limits) for seed, n in enumerate(lengths))
    source[2], target[2] = source[2, 0], source[2, 0]
    target[0, -1] = END
    return Batch(source, target)


WEIGHTS: dict[str, Callable[[Subject], Subject]] = {
    "random weights": random,
    "confident logits": confident,
    "large weights": large,
    "trained weights": trained,
}
