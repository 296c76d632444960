"""Checks of decoding: beam search, sampling, rounds, and answers with a given start."""

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from archbench.architectures.contract.subject import (
    LIMITS,
    TOLERANCE,
    Subject,
    allowed,
    log_likelihood,
    require,
    sequences,
    subject,
    written,
)
from archbench.architectures.objectives.generate import Decoding
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.example import END, MASK, SPECIALS


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


@torch.no_grad()
def samples_are_drawn_as_configured(case: Subject) -> None:
    """Samples use only the given generator and differ between calls; the most restrictive settings are greedy.

    A temperature near zero, one candidate (`top_k`) or almost no probability mass (`top_p`) leaves only the likeliest
    token. The same seed gives the same samples; the next call with the same generator gives others.
    """
    source, allowed_tokens, room = sequences(3, 5), allowed(end=False), LIMITS.target_length
    warm, generator, state = Decoding(room, "sample", temperature=3.0), torch.Generator(), torch.get_rng_state()
    first = _listed(case, source, allowed_tokens, warm, generator.manual_seed(1))
    later = _listed(case, source, allowed_tokens, warm, generator)
    again = _listed(case, source, allowed_tokens, warm, generator.manual_seed(1))
    require(first == again, "samples under one seed differ")
    require(first != later, "a second call with the same generator gives the same samples")
    greedy = _listed(case, source, allowed_tokens, Decoding(room))
    for name, cold in (("temperature", 1e-8), ("top_k", 1), ("top_p", 1e-4)):
        samples = _listed(case, source, allowed_tokens, replace(warm, **{name: cold}), generator)  # type: ignore[arg-type]
        require(samples == greedy, f"samples with {name} = {cold:g} are not the greedy answer")
    require(bool(torch.equal(state, torch.get_rng_state())), "sampling draws from the global random generator")


@torch.no_grad()
def a_given_start_is_continued(case: Subject) -> None:
    """A given start is continued like the same tokens if generated, greedily and with one beam.

    A user may give the first tokens of an answer (`start`). The model reads them, but they are not part of the result.
    """
    source, allowed_tokens, room = sequences(3, 5), allowed(end=False), LIMITS.target_length
    whole = torch.tensor(_listed(case, source, allowed_tokens, Decoding(room)))
    for strategy in ("greedy", "beam"):
        for known in (1, 3):
            decoding = Decoding(room - known, strategy, beams=1)
            rows = case.model.objective.generate(
                case.model, source, None, allowed_tokens, decoding, None, whole[:, :known]
            )
            continued = [row.tolist() for row in rows]
            for text, expected in zip(continued, whole[:, known:].tolist(), strict=True):
                message = f"{strategy} writing from the first {known} tokens continues with {text}"
                require(text == expected, f"{message}, not with {expected}")


@torch.no_grad()
def rounds_fill_confident_cells_first(case: Subject) -> str | None:
    """Each round of decoding fills the open cells whose likeliest tokens have the highest probabilities.

    One round fills all cells from one pass; with as many rounds as cells, each fills one cell (Mask-Predict,
    1904.09324).
    """
    if case.causal:
        return "it writes from left to right alone"
    source, allowed_tokens, cells = sequences(3, 5), allowed(end=False), LIMITS.target_length
    read = case.model.objective.example_inputs(case.model, Batch(source, torch.full((3, cells), MASK))).source
    for rounds in (1, cells):
        decoding = Decoding(cells, "confident", rounds=rounds)
        actual = _listed(case, source, allowed_tokens, decoding)
        expected = _filled(case, read, allowed_tokens, cells // rounds)
        require(actual == expected, f"{rounds} rounds write {actual[0]}, expected {expected[0]}")
    return None


def _filled(case: Subject, source: Tensor, allowed_tokens: Tensor, at_once: int) -> list[list[int]]:
    """Canvases in which each pass fills the ``at_once`` most probable cells."""
    canvas = torch.full((len(source), LIMITS.target_length), MASK)
    while (canvas == MASK).any():
        logits = case.model(source, canvas).masked_fill(~allowed_tokens, -torch.inf)
        sure, token = logits.softmax(-1).max(-1)
        cells = sure.masked_fill(canvas != MASK, -1.0).topk(at_once).indices
        canvas = canvas.scatter(1, cells, token.gather(1, cells))
    return [row.tolist() for row in canvas]


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


def _listed(
    case: Subject, source: Tensor, allowed_tokens: Tensor, decoding: Decoding, generator: torch.Generator | None = None
) -> list[list[int]]:
    rows = case.model.objective.generate(case.model, source, None, allowed_tokens, decoding, generator)
    return [row.tolist() for row in rows]
