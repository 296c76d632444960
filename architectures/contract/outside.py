"""The check of what a variant changes outside its own model."""

import contextlib

import torch

from archbench.architectures.catalogue import shared_state
from archbench.architectures.contract.subject import (
    LIMITS,
    SIZE,
    Subject,
    allowed,
    fresh,
    log_likelihood,
    require,
    sequences,
)
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.decoding import Decoding


def nothing_shared_is_changed(case: Subject) -> None:
    """Building, training, scoring and generating change no class, function, constant or setting that others use.

    A patched class, `torch.nn.functional.silu = ...` or `torch.set_default_dtype` would change every other architecture
    in the same process. Subclass or wrap instead, and keep the change inside the model.
    """
    before = shared_state.snapshot()
    with contextlib.suppress(Exception):  # what fails is another property's to name
        model = fresh(case.build, size=SIZE, limits=LIMITS).train()
        batch = Batch(sequences(2, 4), sequences(2, 3, seed=1))
        torch.autograd.backward(mean_loss(model, batch, allowed(), torch.Generator().manual_seed(0)))
        log_likelihood(Subject(case.build, model.eval()), batch, allowed())
        with torch.no_grad():
            model.objective.generate(model, batch.source, None, allowed(), Decoding(max_tokens=3))
    changed = shared_state.changes(before)
    require(not changed, f"these have changed: {shared_state.listed(changed)}")
