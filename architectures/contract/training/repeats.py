"""Checks of repeatability: passes keep no state, and steps draw from PyTorch's generator alone."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import SCORING, TRAINING, Mode
from archbench.architectures.contract.subject import (
    Subject,
    allowed,
    answers,
    equal,
    fresh,
    log_likelihood,
    logits_of,
    loss_of,
    require,
    sequences,
    subject,
)
from archbench.architectures.contract.training.state import reachable, settings
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import listed
from archbench.tasks.base.example import BOS

CLOCKS = ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time")
TEXTS = 3  # of the same lengths, in turn
RATES = (0.001, 0.02, 0.5)  # of dropout
DRAWS = 6
UNBIASED = 0.1  # rate of dropout whose mean is compared
NOISES = 400  # draws of it
BIAS = 0.2  # in standard deviations: four standard errors; without division by 0.9 it is 0.33
GROWS = 2.0  # times as much noise at the next rate, at least


def nothing_is_remembered(case: Subject) -> None:
    """A pass changes no state that a later pass can read: no attribute, buffer, closure, global or setting.

    A model that counts its calls or stores its inputs can answer from memory, and its score depends on the order
    of the examples. Everything that the model, `build` and the variant's file can reach is compared before and after
    many passes. Keep what a pass computes in local variables and in
    the cache that `decode` returns.
    """
    texts = [_text(case, seed) for seed in range(TEXTS)]
    buffers = {name: buffer.clone() for name, buffer in case.model.named_buffers()}
    for text in texts:
        _scores(case, text)
    written_to = [n for n, buffer in case.model.named_buffers() if not torch.equal(buffer, buffers.get(n, buffer))]
    require(not written_to, f"scoring changes the buffers {listed(written_to)}")
    for text in texts:
        _uses(case, text)  # what is computed once and kept is kept from now on
    before, around = reachable(model=case.model, build=case.build), settings()
    for call in range(case.trials.calls):
        _uses(case, texts[call % TEXTS])
    after, later = reachable(model=case.model, build=case.build), settings()
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    require(not changed, f"passes change {listed(changed)}")
    moved = [name for name, value in around.items() if later[name] != value]
    require(not moved, f"passes change {', '.join(moved)}")
    for text in texts:
        new = subject(case.build, case.size, case.limits)
        new.model.load_state_dict(case.model.state_dict())
        expected = _uses(new, text)
        for what, value in _uses(case, text).items():
            equal(value, expected[what], f"{what} after many other passes, compared with those of a new model")


def after_weights_change(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Results of a model whose weights were loaded or changed in place after use, and of a new one with these."""
    other = subject(case.build, case.size, case.limits, seed=1)
    used = subject(case.build, case.size, case.limits)
    for what, change in (("loaded", _load_from(other)), ("changed in place", _halve)):
        _values(used, mode)
        change(used.model)
        new = subject(case.build, case.size, case.limits)
        new.model.load_state_dict(used.model.state_dict())
        expected, actual = _values(new, mode), _values(used, mode)
        for use, value in actual.items():
            yield f"{use} {mode} after weights are {what}, compared with those of a new model", value, expected[use]


def _load_from(other: Subject) -> Callable[[Any], object]:
    return lambda model: model.load_state_dict(other.model.state_dict())


@torch.no_grad()
def _halve(model: Any) -> None:
    for parameter in model.parameters():
        parameter.mul_(0.5)


def _values(case: Subject, mode: Mode) -> dict[str, Tensor]:
    """Results of all uses of a model in a mode."""
    text, words = _text(case, 0), allowed(limits=case.limits)
    with mode.of(case.model):
        answer = answers(case, text.source, words, Decoding(case.limits.target_length), torch.Generator())
        first, cache = case.model.decode(torch.full((1, 1), BOS), case.model.prefill(text.source))
        second, _ = case.model.decode(text.target[:, :1], cache)
        values = {
            "logits": case.model(*text),
            "logits from a cache": torch.cat([first, second], 1),
            "the loss": mean_loss(case.model, text, words, torch.Generator().manual_seed(0), native=True)[None],
            "likelihoods": log_likelihood(case, text, words),
            "the answer": answer.float(),
        }
    return {use: value.detach().clone() for use, value in values.items()}


def _text(case: Subject, seed: int) -> Batch:
    return Batch(*(sequences(1, n, seed=2 * seed + n, limits=case.limits) for n in (3, 2)))


def _uses(case: Subject, text: Batch) -> dict[str, Tensor]:
    """Results of cheap uses of a model: scoring, generating and training."""
    return {**_scores(case, text), "losses": loss_of(case, text, TRAINING, native=True).detach()[None]}


def _scores(case: Subject, text: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        start = torch.full((1, 1), BOS)
        first, cache = case.model.decode(start, case.model.prefill(text.source))
        second, _ = case.model.decode(text.target[:, :1], cache)
    return {
        "logits": logits_of(case, text),
        "likelihoods": log_likelihood(case, text, allowed(limits=case.limits)),
        "logits from a cache": torch.cat([first, second], 1),
    }


def steps_again(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Losses and gradients of training steps, and of the same ones later, when other generators draw otherwise."""
    for step in range(case.trials.steps):
        batch = Batch(*(sequences(2, n, seed=step + n, limits=case.limits) for n in (4, 5)))
        state = {name: tensor.clone() for name, tensor in case.model.state_dict().items()}
        first = _step(case, batch, step)
        case.model.load_state_dict(state)
        with _later(1e6 * step + 1000.5), _other_draws(step + 1):
            logits_of(case, batch, SCORING)
            again = _step(case, batch, step)
        for name, value in first.items():
            yield f"step {step}, repeated from its seed, gives another {name}", again[name], value


def _step(case: Subject, batch: Batch, step: int) -> dict[str, Tensor]:
    """The loss and the gradients of a training step, seeded as in training."""
    around = {name: value for name, value in settings().items() if "random" in name}
    torch.manual_seed(step)
    case.model.zero_grad()
    loss = loss_of(case, batch, TRAINING, seed=step, native=True)
    torch.autograd.backward(loss)
    require(torch.initial_seed() == step, "a pass seeds PyTorch's generator itself")
    for name, value in settings().items():
        require(name not in around or around[name] == value, f"a training step changes {name}: it draws from there")
    grads = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    values = {"loss": loss.detach(), **{f"gradient of {name}": grad.clone() for name, grad in grads.items()}}
    case.model.zero_grad()
    return values


@contextmanager
def _later(seconds: float) -> Iterator[None]:
    """Runs the block at another time of day, according to Python's clocks."""

    def shifted(clock: Callable[[], Any], name: str) -> Callable[[], Any]:
        return lambda: clock() + (int(seconds * 1e9) if name.endswith("_ns") else seconds)

    with ExitStack() as patches:
        for name in CLOCKS:
            patches.enter_context(mock.patch.object(time, name, shifted(getattr(time, name), name)))
        yield


@contextmanager
def _other_draws(seed: int) -> Iterator[None]:
    """Seeds the generators of Python and NumPy in the block."""
    states = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def dropout_is_noise_in_training(case: Subject) -> None:
    """`size.dropout` makes the training loss noisy, more so at higher rates, and does not affect scoring.

    An experiment sets one rate for all architectures, and tunes it. A variant that ignores it, limits it or uses a rate
    of its own is regularized differently from its rivals; pass `size.dropout` to the blocks and to the embedding. What
    is kept is divided by 1 - rate, so that a layer's mean in training is what it computes in scoring (1207.0580).
    """
    batch = Batch(*(sequences(3, n, seed=n, limits=case.limits) for n in (5, case.limits.target_length)))
    expected, moved = logits_of(case, batch), {}
    for rate in RATES:
        noisy = subject(case.build, replace(case.size, dropout=rate), case.limits, trials=case.trials)
        noisy.model.load_state_dict(case.model.state_dict())
        scored = logits_of(noisy, batch)
        equal(scored, expected, f"logits of scoring with dropout {rate}, compared with those without")
        losses, distances = [], []
        for seed in range(DRAWS):
            torch.manual_seed(seed)
            losses.append(loss_of(noisy, batch, TRAINING).item())
            distances.append((logits_of(noisy, batch, TRAINING) - expected).abs().mean().item())
        is_noisy = len(set(losses)) > 1 or rate == RATES[0]  # so small a rate may drop nothing
        require(is_noisy, f"with dropout {rate} the training loss is {losses[0]:.4f}, whatever is drawn")
        moved[rate] = sum(distances) / DRAWS
    for rate in (*RATES, 0.9):
        model = fresh(case.build, size=replace(case.size, dropout=rate), limits=case.limits)
        others = [
            f"{n} {m.p:g}" for n, m in model.named_modules() if isinstance(m, nn.Dropout) and m.p not in (0.0, rate)
        ]
        require(not others, f"where `size.dropout` is {rate}, the rate of {listed(others)}")
    for low, high in pairwise(RATES):
        message = f"dropout {high} moves logits by {moved[high]:.2g} in training, dropout {low} by {moved[low]:.2g}"
        require(moved[high] > GROWS * moved[low], message)
    _noise_has_no_bias(case, batch)


@torch.no_grad()
def _noise_has_no_bias(case: Subject, batch: Batch) -> None:
    """Requires the mean output of every noisy module in training to equal its output in scoring."""
    model = subject(case.build, replace(case.size, dropout=UNBIASED), case.limits).model
    noisy: list[str] = []
    for name, call in sorted(_calls(model, batch).items(), key=lambda call: -call[0].count(".")):
        try:
            first, second = (_output(call, seed) for seed in (0, 1))
        except Exception:
            continue  # what cannot be called again is not compared
        if first.shape != second.shape:
            continue  # nor what grows with each call, as a cache does
        if torch.equal(first, second) or any(other.startswith(f"{name}.") for other in noisy):
            continue
        noisy.append(name)
        outputs = torch.stack([_output(call, seed) for seed in range(NOISES)])
        model.eval()
        bias = (outputs.mean(0) - _output(call, 0)).pow(2).mean().sqrt() / outputs.std(0).pow(2).mean().sqrt()
        model.train()
        message = f"the mean of {name} in training is {bias:.2f} standard deviations off what it computes in scoring"
        require(bias.item() <= BIAS, f"{message}; divide what dropout keeps by 1 - rate")


def _calls(model: nn.Module, batch: Batch) -> dict[str, Callable[[], Any]]:
    """The first call of every submodule of a model, in a pass in training mode."""
    calls: dict[str, Callable[[], Any]] = {}
    with ExitStack() as hooks:
        for name, module in model.named_modules():

            def note(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                calls.setdefault(name, partial(module, *args, **kwargs))

            if name:
                hooks.callback(module.register_forward_pre_hook(note, with_kwargs=True).remove)
        model.train()(*batch)
    return calls


def _output(call: Callable[[], Any], seed: int) -> Tensor:
    torch.manual_seed(seed)
    return torch.cat([torch.zeros(0), *(x.flatten() for x in tree_leaves(call()) if isinstance(x, Tensor))])


def drawn_again(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Losses and samples that are drawn twice from generators with the same seeds."""
    torch.manual_seed(0)
    state = torch.get_rng_state()
    (losses, samples), (losses_again, samples_again) = (_draws(case) for _ in range(2))
    yield "the loss differs between two draws from the same generator", losses_again, losses
    yield "sampling writes two texts from the same generator", samples_again, samples
    yield "the objective draws from PyTorch's default generator", torch.get_rng_state(), state


def drawn_from_other_generators(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Losses and samples from generators with other seeds, and from the first one alone."""
    losses, samples = _draws(case)
    if case.model.objective.needs_pass_per_token:
        yield "the loss hides the same tokens, whatever generator it is given", losses, losses[:1].expand_as(losses)
    yield (
        "sampling writes the same, whatever generator it is given",
        samples.flatten(),
        samples[:1].expand_as(samples).flatten(),
    )


def _draws(case: Subject) -> tuple[Tensor, Tensor]:
    """Losses (n,) and the tokens of samples (n, m) from generators with the seeds 0 to n - 1."""
    words, sample = allowed(limits=case.limits), Decoding(min(4, case.limits.target_length), strategy="sample")
    losses, samples = [], []
    for seed in range(DRAWS):
        text = Batch(*(sequences(3, n, seed=n, limits=case.limits) for n in (5, case.limits.target_length)))
        losses.append(loss_of(case, text, SCORING, seed, True))
        samples.append(answers(case, text.source, words, sample, torch.Generator().manual_seed(seed)).flatten())
    return torch.stack(losses), torch.stack(samples)
