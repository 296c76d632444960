"""What a variant computes, measured apart from the contract: by other sizes, lengths, weights and modes."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from archbench.architectures.families.size import Limits, Size, count
from archbench.architectures.objectives.objective import Batch, estimate, mean_loss
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, END, SPECIALS

Build = Callable[[Size, Limits], Any]
Values = dict[str, Tensor]

SIZE = Size(dim=32, heads=4, depth=3, hidden=20)
LIMITS = Limits(vocabulary=29, source_length=9, target_length=7)
LABEL = Limits(vocabulary=29, source_length=9, target_length=1)
LONG = Limits(vocabulary=29, source_length=90, target_length=12)
CHANGE = 1e-3  # of the largest value: ten times the contract's tolerance for a value of 1
FAILED = "raises"
ERROR = torch.tensor(float("nan"))


def behaviour(build: Build) -> Values:
    """Named results of every probe on unedited code; an exception of edited code is a result too."""
    results = list(_results(build))
    assert len(results) == len(dict(results)), "two results have one name"
    failed = [name for name, _ in results if f": {FAILED} " in name]
    assert not failed, f"probes of unedited code fail and would see no edit: {failed}"
    return dict(results)


def difference(build: Build, before: Values) -> str | None:
    """The first result of a variant that is not the one ``before``, None where all are."""
    names = set()
    for name, value in _results(build):
        names.add(name)
        if name not in before or not _alike(before[name], value):
            return name
    return next((name for name in before if name not in names), None)


def _results(build: Build) -> Iterator[tuple[str, Tensor]]:
    for probe in PROBES:
        label = probe.__name__.removeprefix("_").replace("_", " ")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                for name, value in probe(build):
                    yield f"{label}: {name}", value.detach().clone()
            except Exception as error:
                yield f"{label}: {FAILED} {type(error).__name__}: {error}", ERROR


def _alike(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    a, b = (x.double().nan_to_num(nan=1e30, posinf=2e30, neginf=-2e30) for x in (a, b))
    scale = a.abs().where(a.abs() < 1e29, 0.0).max().item() if a.numel() else 0.0
    return a.numel() == 0 or bool(((a - b).abs() <= CHANGE * max(scale, 1e-6)).all())


def _initial_weights(build: Build) -> Iterator[tuple[str, Tensor]]:
    for seed in (0, 1):
        model = _fresh(build, seed=seed)
        for name, parameter in model.named_parameters():
            yield f"{name} of seed {seed}", parameter
    names: dict[int, int] = {}
    ties = [names.setdefault(id(p), len(names)) for _, p in model.named_parameters(remove_duplicate=False)]
    yield "ties", torch.tensor(ties)
    yield "trained", torch.tensor([p.requires_grad for p in model.parameters()])


def _counts(build: Build) -> Iterator[tuple[str, Tensor]]:
    for depth, hidden, heads, vocabulary in ((3, 20, 4, 29), (2, 24, 4, 29), (5, 70, 8, 40)):
        size = replace(SIZE, depth=depth, hidden=hidden, heads=heads)
        model = _fresh(build, size, replace(LIMITS, vocabulary=vocabulary))
        counts = count(model)
        yield f"parameters {depth} {hidden}", torch.tensor([counts.parameters, counts.embedding_parameters])
        for s, t in ((9.0, 7.0), (0.0, 5.0), (4.0, 1.0), (90.0, 60.0)):
            counted = [model.flops(s, t, t), model.flops(s, t, 1.0)]
            for native in (False, True):
                counted += [model.objective.training_flops(model, s, t, native)]
            amounts = [amount for flops in counted for amount in (flops.executed, flops.model)]
            amounts += [model.objective.loss_tokens(model, s, t, native) for native in (False, True)]
            amounts += [model.objective.answer_flops(model, s, t)]
            for place, value in enumerate(amounts):
                yield f"{place} at {s} {t} of size {depth} {hidden}", torch.as_tensor(value)


def _logits(build: Build) -> Iterator[tuple[str, Tensor]]:
    for name, limits in (("short", LIMITS), ("label", LABEL), ("long", LONG)):
        model, pairs = _random(build, limits=limits), _batch(limits)
        source, target, source_mask, target_mask = pairs
        for mode in ("eval", "train"):
            model.train(mode == "train")
            with torch.set_grad_enabled(mode == "train"):
                logits = model(source, target, source_mask, target_mask)
                real = torch.ones_like(target, dtype=torch.bool) if target_mask is None else target_mask
                yield f"{name}, {mode}, padded", logits[real]
                yield f"{name}, {mode}, full", model(source, target)
        model.eval()
        with torch.no_grad():
            left = (source.flip(1), target, source_mask.flip(1), target_mask)
            yield f"{name}, left padding", model(*left)[real]
            yield f"{name}, no source", model(None, target)
            yield f"{name}, one row", model(source[:1], target[:1])
            states = model.hidden(source, target).source
            if states is not None:
                yield f"{name}, states", states
            yield f"{name}, again", model(source, target)
            yield f"{name}, copied", copy.deepcopy(model)(source, target)
            for place, (after, before) in enumerate(zip(pairs, _batch(limits), strict=True)):
                yield f"{name}, input {place}", (after != before).sum()


def _dropout(build: Build) -> Iterator[tuple[str, Tensor]]:
    model = _random(build, replace(SIZE, dropout=0.3))
    source, target, *masks = _batch(LIMITS)
    with torch.no_grad():
        yield "in scoring", model(source, target, *masks)
        torch.manual_seed(3)
        yield "in training", model.train()(source, target, *masks)
    yield "draws", torch.rand(1)


def _loss(build: Build) -> Iterator[tuple[str, Tensor]]:
    for seed, (native, smoothing, dropout) in enumerate(((False, 0.0, 0.0), (True, 0.0, 0.0), (True, 0.1, 0.2))):
        for limits in (LIMITS, LABEL):
            model, pairs = _random(build, replace(SIZE, dropout=dropout), limits).train(), _batch(limits)
            for step in range(3):
                generator = torch.Generator().manual_seed(10 * seed + step)
                loss = mean_loss(model, pairs, _answers(), generator, native, smoothing)
                loss.backward()
                yield f"{native} {smoothing} {step} {limits.target_length}", loss
            for name, parameter in model.named_parameters():
                grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                yield f"gradient of {name}, {native} {smoothing} {limits.target_length}", grad
    with torch.autocast("cpu", torch.bfloat16):
        for size in (SIZE, Size(dim=64, heads=1, depth=1, hidden=20)):
            model, generator = _random(build, size, LONG), torch.Generator().manual_seed(0)
            loss = mean_loss(model, _batch(LONG), _answers(), generator)
            scale = torch.tensor(6.0)  # a change is 0.006 nats: rotated by one position more, rounding changes 0.005
            yield f"bfloat16 of {size.heads} heads", torch.stack([loss, scale])
    yield "draws", torch.rand(1)


@torch.no_grad()
def _likelihood(build: Build) -> Iterator[tuple[str, Tensor]]:
    for name, limits in (("short", LIMITS), ("label", LABEL)):
        model, pairs, few = _random(build, limits=limits), _batch(limits), _answers()
        few[10:15] = False
        for what, allowed_tokens in (("all", _answers()), ("few", few)):
            for place, value in enumerate(model.objective.log_likelihood(model, pairs, allowed_tokens)):
                yield f"{name}, {what} {place}", value
        if model.objective.needs_pass_per_token:
            yield f"{name}, estimate", estimate(model, pairs, _answers(), torch.Generator().manual_seed(0), 3)
        yield f"{name}, again", model.objective.log_likelihood(model, pairs, _answers())[0]
        yield f"{name}, answers", few
        yield f"{name}, target", pairs.target
    yield "draws", torch.rand(1)


@torch.no_grad()
def _writing(build: Build) -> Iterator[tuple[str, Tensor]]:
    model, pairs = _random(build), _batch(LIMITS)
    start = torch.full((len(pairs.source), 2), 9)
    settings = (
        (Decoding(7), None),
        (Decoding(5), start),
        (Decoding(7, "sample", temperature=2.0), None),
        (Decoding(5, "sample", temperature=2.0, top_k=3), start),
        (Decoding(7, "sample", top_p=0.5), None),
        (Decoding(7, "beam", beams=3), None),
        (Decoding(4, "beam", beams=3, length_penalty=0.0), start),
        (Decoding(7, "beam", beams=3, length_penalty=4.0), None),
        *([(Decoding(7, "confident", rounds=3), None)] if model.family == "encoder" else []),
    )
    for place, (decoding, prefix) in enumerate(settings):
        generator = torch.Generator().manual_seed(1)
        arguments = pairs.source, pairs.source_mask, _answers(), decoding, generator, prefix
        rows = model.objective.generate(model, *arguments)
        for row, text in enumerate(rows):
            yield f"{decoding.strategy} {place} row {row}", text
        yield f"{decoding.strategy} {place} generator", torch.rand(1, generator=generator)
    yield "draws", torch.rand(1)


def _cache(build: Build) -> Iterator[tuple[str, Tensor]]:
    for name, limits, grad in (("short", LIMITS, False), ("with gradients", LIMITS, True), ("long", LONG, False)):
        model, (source, target, mask, _) = _random(build, limits=limits), _batch(limits)
        tokens = torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1)
        with torch.set_grad_enabled(grad):
            left = source.flip(1), mask.flip(1)
            for what, read, step in (("full", (source, None), 1), ("padded", (source, mask), 1), ("left", left, 2)):
                for position, logits in _decoded(model, *read, tokens, step):
                    yield f"{name}, {what}, step {step}, {position}", logits
            cache = model.prefill(None)
            for place in range(2):
                logits, cache = model.decode(tokens[:, place : place + 1], cache)
                yield f"{name}, no source, token {place}", logits


def _decoded(
    model: Any, source: Tensor, mask: Tensor | None, tokens: Tensor, step: int
) -> Iterator[tuple[str, Tensor]]:
    cache, order = model.prefill(source, mask), torch.tensor([3, 1, 1])
    for place, piece in enumerate(tokens[:, : 3 * step].split(step, 1)):
        logits, longer = model.decode(piece, cache)
        yield f"token {place}", logits
        if place == 1:
            model.decode((piece + 1).clamp(max=LIMITS.vocabulary - 1), cache)
            yield "again", model.decode(piece, cache)[0]
            logits, rows = model.decode(tokens[order, 4:5], longer.rows(order))
            yield "rows", logits
            yield "longer rows", model.decode(tokens[order, 5:6], rows)[0]
        cache = longer


PROBES = (_initial_weights, _counts, _logits, _dropout, _loss, _likelihood, _writing, _cache)


def _fresh(build: Build, size: Size = SIZE, limits: Limits = LIMITS, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build(size, limits)


def _random(build: Build, size: Size = SIZE, limits: Limits = LIMITS) -> Any:
    """A model with random weights, none of them zero."""
    model = _fresh(build, size, limits, seed=5).eval()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.12)
    torch.manual_seed(7)
    return model


def _batch(limits: Limits) -> Batch:
    """Four rows of other lengths, the last with an empty source; padding at the right holds arbitrary tokens."""
    generator = torch.Generator().manual_seed(8)
    s, t = limits.source_length, limits.target_length
    source = torch.randint(len(SPECIALS), limits.vocabulary, (4, s), generator=generator)
    target = torch.randint(len(SPECIALS), limits.vocabulary, (4, t), generator=generator)
    source_mask = torch.arange(s) < torch.tensor([s, s - 3, 2, 0])[:, None]
    lengths = torch.tensor([t, max(t - 2, 1), max(t - 1, 1), min(t, 3)])
    target_mask = torch.arange(t) < lengths[:, None]
    if t > 1:
        target[torch.arange(4), lengths - 1] = END
    return Batch(source, target, source_mask, target_mask)


def _answers() -> Tensor:
    allowed_tokens = torch.ones(LIMITS.vocabulary, dtype=torch.bool)
    allowed_tokens[: len(SPECIALS)] = False
    allowed_tokens[END] = True
    return allowed_tokens
