"""Decoding: beam search, sampling, rounds, and answers with a given start."""

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.inputs.texts import random_texts
from archbench.architectures.contract.inputs.weights import random, trained
from archbench.architectures.contract.modes import Mode
from archbench.architectures.contract.passes.conditional import from_passes
from archbench.architectures.contract.subject import (
    LIMITS,
    TOLERANCE,
    Subject,
    allowed,
    answers,
    equal,
    log_likelihood,
    require,
    sequences,
    stacked,
    subject,
    written,
)
from archbench.architectures.families.size import Limits
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import END, MASK, SPECIALS

ROOM = LIMITS.target_length
SOURCE = 65  # tokens at most of a source that is answered at length
CELLS = 24  # of an encoder's canvas in long answers: each costs a pass


@torch.no_grad()
def beams_find_the_likeliest(case: Subject) -> None:
    """With enough beams to hold every text, beam search returns the text with the highest score.

    Scores are log-likelihoods divided by length ** length_penalty; the length includes END. A search that leaves END
    out or mixes up the caches of its hypotheses returns a text with a lower score.
    """
    limits = replace(LIMITS, target_length=3, vocabulary=len(SPECIALS) + 3)
    small, allowed_tokens = subject(case.build, limits=limits), allowed(limits=limits)
    texts = _texts(range(len(SPECIALS), limits.vocabulary), limits.target_length)
    source = sequences(8, 4, limits=limits)
    scores = [_scores(small, row, texts, allowed_tokens) for row in torch.split(source, 1)]
    for penalty in (0.0, 1.0, 3.0):
        decoding = Decoding(limits.target_length, "beam", beams=3**limits.target_length, length_penalty=penalty)
        for row, text in enumerate(written(small, source, allowed_tokens, decoding)):
            ranked = scores[row] / torch.tensor([len(candidate) for candidate in texts]) ** penalty
            ended = text.tolist() + [END] * (len(text) < limits.target_length)
            require(ended in texts, f"beam search writes {ended}, which is no possible answer")
            loss = (ranked.max() - ranked[texts.index(ended)]).item()
            message = f"length penalty {penalty:g}: beam search writes a text whose score is {loss:.2g} below the best"
            require(loss <= TOLERANCE, message)


def samples_again(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Samples under one seed, those of the most restrictive settings and greedy answers, and the global generator."""
    words, warm, state = allowed(end=False), Decoding(ROOM, "sample", temperature=3.0), torch.get_rng_state()

    def answered(decoding: Decoding) -> Tensor:
        return answers(case, sequences(3, 5), words, decoding, torch.Generator().manual_seed(1))

    yield "samples under one seed differ", answered(warm), answered(warm)
    for name, cold in (("temperature", 1e-8), ("top_k", 1), ("top_p", 1e-4)):
        samples = answered(replace(warm, **{name: cold}))  # type: ignore[arg-type]
        yield f"samples with {name} = {cold:g} are not the greedy answer", samples, answered(Decoding(ROOM))
    yield "sampling draws from the global random generator", torch.get_rng_state(), state


def samples_of_the_next_call(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The samples of two calls with one generator."""
    generator, warm = torch.Generator().manual_seed(1), Decoding(ROOM, "sample", temperature=3.0)
    first, later = (answers(case, sequences(3, 5), allowed(end=False), warm, generator) for _ in range(2))
    yield "a second call with the same generator gives the same samples", later.flatten(), first.flatten()


@torch.no_grad()
def long_answers_are_greedy(case: Subject) -> None:
    """Every token of a long answer, and its END, is the likeliest by the logits of a pass over that answer.

    All architectures are asked for greedy answers, and their scores are compared. One that searches, avoids repetition,
    cuts loops, prefers some length or reads less of a long answer than in training has another decoder, not a better
    model. Long answers to sources of many rows are tried, with END and padding, whose likelihood must be that of the
    same logits, and answers that END soon ends. `generate` belongs to the objective; leave it as it is.
    """
    room = 2 * case.trials.decoded if case.causal else min(case.trials.decoded, CELLS)
    roomy = case.with_room(SOURCE, room)
    batch = _many_sources(6, roomy.limits)
    for with_weights in (random, trained):
        model = with_weights(roomy)
        for words in (2, case.limits.vocabulary):  # with two words an answer soon repeats itself
            allowed_tokens = allowed(limits=case.limits)
            allowed_tokens[len(SPECIALS) + words :] = False
            answers_are_likeliest(model, batch, allowed_tokens, room)
        answers_are_likeliest(model, batch, _end_or_an_unlikely_word(model, batch), room)
    for rows in (1, 3):
        _are_alike(roomy, _many_sources(rows, roomy.limits), min(room, CELLS))


def _end_or_an_unlikely_word(case: Subject, batch: Batch) -> Tensor:
    """END and the word (v,) that is less likely than END as the first token in most rows."""
    read = case.model.objective.example_inputs(case.model, batch._replace(target=batch.source[:, :1]))
    first = from_passes(case, read.source, batch.source[:, :1], read.source_mask)[:, 0]
    behind = (first < first[:, END, None]).sum(0)[len(SPECIALS) :]
    allowed_tokens = allowed(limits=case.limits)
    allowed_tokens[len(SPECIALS) :] = torch.arange(len(behind)) == behind.argmax()
    return allowed_tokens


def answers_are_likeliest(case: Subject, batch: Batch, allowed_tokens: Tensor, room: int) -> None:
    """Requires greedy answers to a batch of sources to hold the likeliest token at every step."""
    texts = written(case, batch.source, allowed_tokens, Decoding(room), mask=batch.source_mask)
    _is_likeliest(case, batch, texts, allowed_tokens, room, "greedy writing")


def answers_of_large_ids(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Requires answers in a large vocabulary to be the likeliest."""
    few = allowed(limits=case.limits)
    few[len(SPECIALS) + 1 :: 3] = False
    answers_are_likeliest(case, random_texts((4, 9, 0), case.limits), few, case.limits.target_length)
    yield from ()


def _are_alike(case: Subject, batch: Batch, room: int) -> None:
    """Requires the likeliest tokens also from sampling with ``top_k=1`` and after a given first token."""
    generate, words = case.model.objective.generate, allowed(limits=case.limits)
    one = Decoding(room, "sample", top_k=1)
    sampled = generate(case.model, batch.source, batch.source_mask, words, one, torch.Generator())
    _is_likeliest(case, batch, sampled, words, room, "sampling one candidate")
    start = sequences(len(batch.source), 1, seed=5, limits=case.limits)
    later = generate(case.model, batch.source, batch.source_mask, words, Decoding(room - 1), None, start)
    texts = [torch.cat(pair) for pair in zip(start, later, strict=True)]
    _is_likeliest(case, batch, texts, words, room, "writing from a given token", begins=1)


def _is_likeliest(
    case: Subject, batch: Batch, texts: list[Tensor], allowed_tokens: Tensor, room: int, what: str, begins: int = 0
) -> None:
    """Requires each token of the texts after the first ``begins``, and END after them, to have the highest logit."""
    longest = min(max(map(len, texts)) + 1, room)
    target = torch.stack([F.pad(text, (0, longest - len(text)), value=END) for text in texts])
    lengths = torch.tensor([min(len(text) + 1, longest) for text in texts])  # END counts, where there is one
    real = torch.arange(longest) < lengths[:, None]
    read = case.model.objective.example_inputs(case.model, batch._replace(target=target))
    logits = from_passes(case, read.source, target, read.source_mask).double().masked_fill(~allowed_tokens, -torch.inf)
    chosen = logits.gather(-1, target[..., None]).squeeze(-1)
    behind = torch.where(real, logits.amax(-1) - chosen, 0.0)
    behind[:, :begins] = 0.0
    row, step = divmod(int(behind.argmax()), longest)
    worst, where = behind[row, step].item(), f"step {step} of row {row} of {len(texts)}"
    message = f"{what} of up to {room} tokens picks a token whose logit is {worst:.2g} below the highest ({where})"
    require(worst <= _slack(logits), message)
    expected = torch.where(real, chosen - logits.logsumexp(-1), 0.0).sum(1)
    actual = log_likelihood(case, batch._replace(target=target, target_mask=real), allowed_tokens)
    equal(actual, expected, "likelihood of long answers, compared with the sum over plain logits", _slack(expected))


def _slack(values: Tensor) -> float:
    """The largest difference that rounding explains in values of this size."""
    return TOLERANCE * (1.0 + values[values.isfinite()].abs().max().item())


def _many_sources(rows: int, limits: Limits) -> Batch:
    """Sources of all lengths, padded on the right, without targets."""
    lengths = [1 + 29 * row % limits.source_length for row in range(rows)]
    source, mask = stacked([sequences(1, length, seed=row, limits=limits) for row, length in enumerate(lengths)])
    return Batch(source, source[:, :0], mask if rows > 1 else None)


def continued(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Answers after a given start, and the rest of the answers that begin with it."""
    source, words = sequences(3, 5), allowed(end=False)
    whole = answers(case, source, words, Decoding(ROOM))
    for strategy, known in product(("greedy", "beam"), (1, 3)):
        decoding, expected = Decoding(ROOM - known, strategy, beams=1), whole[:, known:]
        actual = answers(case, source, words, decoding, start=whole[:, :known])
        message = f"{strategy} writing from the first {known} tokens continues with {actual.tolist()}"
        yield f"{message}, not with {expected.tolist()}", actual, expected


def filled_in_rounds(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Answers that are written in one round and in one for each cell, and canvases filled from passes."""
    if case.causal:
        return
    source, words = sequences(3, 5), allowed(end=False)
    read = case.model.objective.example_inputs(case.model, Batch(source, torch.full((len(source), ROOM), MASK))).source
    for rounds in (1, ROOM):
        actual = answers(case, source, words, Decoding(ROOM, "confident", rounds=rounds))
        expected = _filled(case, read, words, ROOM // rounds)
        yield f"{rounds} rounds write {actual[0].tolist()}, expected {expected[0].tolist()}", actual, expected


def _filled(case: Subject, source: Tensor, allowed_tokens: Tensor, at_once: int) -> Tensor:
    """Canvases in which each pass fills the ``at_once`` most probable cells."""
    canvas = torch.full((len(source), ROOM), MASK)
    while (canvas == MASK).any():
        logits = case.model(source, canvas).masked_fill(~allowed_tokens, -torch.inf)
        sure, token = logits.softmax(-1).max(-1)
        cells = sure.masked_fill(canvas != MASK, -1.0).topk(at_once).indices
        canvas = canvas.scatter(1, cells, token.gather(1, cells))
    return canvas


def _texts(words: range, length: int) -> list[list[int]]:
    """All texts of at most ``length`` tokens including END, and those that are cut off there."""
    ended = [[*text, END] for size in range(length) for text in product(words, repeat=size)]
    return [*ended, *(list(text) for text in product(words, repeat=length))]


def _scores(case: Subject, source: Tensor, texts: list[list[int]], allowed_tokens: Tensor) -> Tensor:
    """Log-likelihoods of texts (n,) for one source (1, s)."""
    width = max(map(len, texts))
    mask = torch.tensor([[position < len(text) for position in range(width)] for text in texts])
    target = torch.tensor([text + [END] * (width - len(text)) for text in texts])
    return log_likelihood(case, Batch(source.expand(len(texts), -1), target, None, mask), allowed_tokens)
