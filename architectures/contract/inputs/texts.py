"""Batches of long and of unusual texts, for models with other weights and larger vocabularies."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from archbench.architectures.contract.inputs.batches import Found, ShapedBatch, ended, unpadded
from archbench.architectures.contract.inputs.weights import WEIGHTS, confident, random, remembered, trained
from archbench.architectures.contract.subject import LIMITS, SIZE, Subject, sequences, subject
from archbench.architectures.contract.trials import QUICK
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.example import UNK

LONG = (90, 60)  # tokens of source and target
LONGER = (200, 130)  # beside those, where more than quick trials are asked for
LABELLED = (40, 1)  # a class is a target of one token
MOST = 1024  # tokens of either: longer texts are not tried
ROWS = 64  # of a large batch
VOCABULARY = 2053  # more than a byte tells apart, than 1000, and than 2048
SHAPES = ((3, 5, 6), (2, 21, 18))  # rows, tokens of source and target of unusual texts
FEW = replace(QUICK, rows=(5,), layouts=("plain", "right"))  # batches for other weights


def long(case: Subject) -> Found:
    """Two texts each, as long as the limits; one pair has a target of one token."""
    for lengths in (LABELLED, LONG, LONGER) if case.trials.sizes else (LABELLED, LONG):
        yield from as_long_as(*lengths)(case)


def as_long_as(source: int, target: int, size: Size = SIZE) -> Callable[[Subject], Found]:
    """Two texts of up to these lengths, each at most ``MOST``, for models of a size."""

    def texts(case: Subject) -> Found:
        limits = Limits(LIMITS.vocabulary, min(source, MOST), min(max(target, 1), MOST))
        lengths = limits.source_length, limits.target_length
        yield subject(case.build, size, limits), unpadded("", *_random(2, lengths, limits))

    return texts


def crowded(case: Subject) -> Found:
    """Many long rows with padding: large batches may be computed in parts."""
    if not case.trials.sizes:
        return
    order, lengths = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0)), []
    for room in LONGER:
        lengths.append(torch.linspace(room // 4, room, ROWS).round()[order])
    masks = [torch.arange(room) < length[:, None] for room, length in zip(LONGER, lengths, strict=True)]
    pairs = tuple((int(s), int(t)) for s, t in zip(*lengths, strict=True))
    yield (
        case.with_room(*LONGER),
        ShapedBatch(f"{ROWS} long rows", Batch(*_random(ROWS, LONGER, case.limits), *masks), pairs),
    )


def unusual(case: Subject) -> Found:
    """Random, repeated and copied texts, and those of training, for random, confident, large and trained weights."""
    roomy = case.with_room(*(max(shape[side] for shape in SHAPES) for side in (1, 2)))
    for number, (weights, with_weights) in enumerate(WEIGHTS.items()):
        model = with_weights(roomy)
        yield model, unpadded(f"{weights}, texts of training", *remembered(model)[:2])
        for other, (name, texts) in enumerate(TEXTS.items()):
            shape = SHAPES[(number + other) % len(SHAPES)]
            yield model, unpadded(f"{weights}, {name}", *texts(shape, case.limits)[:2])


def confidently_scored(case: Subject) -> Found:
    """Batches as objectives get them, for random, confident and trained weights."""
    for with_weights in (random, confident, trained):
        model = with_weights(case)
        for each in ended(FEW, case.limits):
            yield model, each


def large_ids(case: Subject) -> Found:
    """Texts of a large vocabulary."""
    limits = Limits(VOCABULARY, 12, 12)
    large = subject(case.build, case.size, limits)
    for shape in ((1, 5, 6), (3, 8, 9)):
        yield large, unpadded(f"{VOCABULARY} tokens", *random_texts(shape, limits)[:2])


def random_texts(shape: tuple[int, int, int], limits: Limits) -> Batch:
    rows, *lengths = shape
    return Batch(*_random(rows, lengths, limits))


def repeated(shape: tuple[int, int, int], limits: Limits) -> Batch:
    """Each row repeats one token; the first two rows are the same."""
    rows, source, target = shape
    token = sequences(rows, 1, seed=3, limits=limits)
    token[:2] = token[0]
    return Batch(token.repeat(1, source), token.repeat(1, target))


def copied(shape: tuple[int, int, int], limits: Limits) -> Batch:
    """Targets are their sources over and over; every third token of a source is unknown."""
    rows, source, target = shape
    text = sequences(rows, source, seed=4, limits=limits)
    target_text = text.repeat(1, -(-target // source))[:, :target]
    text[:, 1::3] = UNK
    return Batch(text, target_text)


TEXTS: dict[str, Callable[[tuple[int, int, int], Limits], Batch]] = {
    "random texts": random_texts,
    "one token over and over": repeated,
    "copied texts": copied,
}


def _random(rows: int, lengths: Sequence[int], limits: Limits) -> list[Tensor]:
    return [sequences(rows, length, seed, limits) for seed, length in enumerate(lengths)]
