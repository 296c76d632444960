"""The properties of a pass again, on texts, token ids and weights that are not random."""

from collections.abc import Callable

import torch
from torch import Tensor

from archbench.architectures.contract.counter import counted
from archbench.architectures.contract.decoding import answers_are_likeliest
from archbench.architectures.contract.losses import is_defined
from archbench.architectures.contract.relations import PADDING, modes_alike, read_alike
from archbench.architectures.contract.subject import Subject, allowed, require, sequences, subject
from archbench.architectures.contract.weights import WEIGHTS, remembered
from archbench.architectures.families.size import Limits
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.example import BOS, MASK, SPECIALS, UNK

VOCABULARY = 2053  # more than a byte tells apart, than 1000, and than 2048
SHAPES = ((3, 5, 6), (2, 21, 18))  # rows, tokens of source and target
NEAR = 1e-4  # of the mean distance between states: the same token
FLOPS = 0.01  # of the operations of a pass


def random_texts(shape: tuple[int, int, int], limits: Limits) -> Batch:
    rows, *lengths = shape
    return Batch(*(sequences(rows, n, seed=seed, limits=limits) for seed, n in enumerate(lengths)))


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


@torch.no_grad()
def unusual_texts_and_weights_are_read_alike(case: Subject) -> None:
    """Repeated texts and confident, large or trained weights leave every property of a pass as it is.

    A model may leave layers out where it is sure or where tokens agree, limit what it computes, or mix rows at large
    values only: scores then come from another model than the one that was trained, or from fewer FLOPs than it
    declares. Logits of hundreds, sharp attention and weights after training are tried on random, repeated and copied
    texts. Compute the same for every input, and subtract the largest value before an exponential.
    """
    roomy = case.with_room(*(max(shape[side] for shape in SHAPES) + PADDING for side in (1, 2)))
    flops = _flops(roomy, random_texts(SHAPES[0], case.limits))
    for number, (weights, with_weights) in enumerate(WEIGHTS.items()):
        model = with_weights(roomy)
        modes_alike(model, remembered(model), f"{weights}, texts of training")
        for other, (name, texts) in enumerate(TEXTS.items()):
            shape = SHAPES[(number + other) % len(SHAPES)]
            read_alike(model, texts(shape, case.limits), f"{weights}, {name}")
            taken = _flops(model, texts(SHAPES[0], case.limits))
            message = f"a pass of scoring takes {taken} FLOPs, {flops} on random texts with random weights"
            require(abs(taken - flops) <= FLOPS * flops, f"{message} ({weights}, {name})")


def _flops(case: Subject, batch: Batch) -> int:
    with counted(case.model, batch[:2]) as counter:
        case.model(*batch)
    return counter.total


@torch.no_grad()
def large_ids_are_read_alike(case: Subject) -> None:
    """Tokens of a large vocabulary are told apart, read, scored and written like those of a small one.

    Vocabularies of tasks have thousands of tokens. Look for an integer type or a table that is too small, a hash of
    ids, and rules for some tokens: ids of up to 2052 are tried. Take the number of tokens from `limits.vocabulary`.
    """
    limits = Limits(VOCABULARY, 9 + PADDING, 9 + PADDING)
    large = subject(case.build, case.size, limits)
    for shape in ((1, 5, 6), (3, 8, 9)):
        batch = random_texts(shape, limits)
        read_alike(large, batch, f"{VOCABULARY} tokens")
        is_defined(large, batch, f"{VOCABULARY} tokens")
    few = allowed(limits=limits)
    few[len(SPECIALS) + 1 :: 3] = False
    answers_are_likeliest(large, random_texts((4, 9, 0), limits), few, limits.target_length)
    _are_told_apart(large)


def _are_told_apart(case: Subject) -> None:
    """Requires every token, as a source and as a target, to have a state of its own."""
    tokens = torch.arange(len(SPECIALS), case.limits.vocabulary)[:, None]
    beside = torch.full_like(tokens, BOS if case.causal else MASK)
    for what, batch in (("source", Batch(tokens, beside)), ("target", Batch(beside, tokens))):
        states = case.model.hidden(*batch).target[:, -1]
        first, second = _nearest(states)
        message = f"{what} tokens {int(tokens[first])} and {int(tokens[second])} are read alike"
        require(first == second, message)


def _nearest(states: Tensor) -> tuple[int, int]:
    """The two states (n, d) that are nearest if they are nearly equal; else the first, twice."""
    distances = torch.cdist(states, states, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.mean().item()
    nearest = divmod(int(distances.fill_diagonal_(torch.inf).argmin()), len(states))
    return nearest if distances[nearest].item() <= NEAR * mean else (0, 0)
