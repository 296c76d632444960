"""Checks of how an answer is chosen: beams, samples, rounds, and targets that are begun."""

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from architectures.contract.subject import LIMITS, TOLERANCE, Subject, allowed, nats, require, sequences, subject
from architectures.generate import Decoding
from architectures.objectives import Pairs
from tasks.example import END, MASK, SPECIALS

SAMPLES = 600
FREQUENCY = 0.09  # of a token, by which samples of ``SAMPLES`` rows may miss its probability: over four deviations


@torch.no_grad()
def beams_find_the_likeliest(case: Subject) -> None:
    """With as many beams as there are texts, beam search writes the one with the highest score of all.

    Scores are log-likelihoods divided by length ** length_penalty, END counted. A search that leaves END out, exchanges
    the caches of its hypotheses or forgets one writes a worse text than the model knows.
    """
    limits = replace(LIMITS, target_length=3, vocabulary=len(SPECIALS) + 3)
    small, answers = subject(case.build, limits=limits), allowed(limits=limits)
    texts = _texts(range(len(SPECIALS), limits.vocabulary), limits.target_length)
    source = sequences(2, 4, limits=limits)
    pairs = Pairs(source, source[:, :1])
    scores = [_scores(small, row, texts, answers) for row in source.split(1)]
    for penalty in (0.0, 1.0, 3.0):
        decoding = Decoding(limits.target_length, "beam", beams=3**limits.target_length, length_penalty=penalty)
        written = small.model.objective.generate(small.model, pairs, answers, decoding)
        for row, text in enumerate(written):
            ranked = scores[row] / torch.tensor([len(each) for each in texts]) ** penalty
            ended = text.tolist() + [END] * (len(text) < limits.target_length)
            loss = (ranked.max() - ranked[texts.index(ended)]).item()
            require(loss <= TOLERANCE, f"length penalty {penalty:g}: beams write a text that scores {loss:.2g} less")


@torch.no_grad()
def samples_follow_the_likelihood(case: Subject) -> None:
    """Samples come as often as their likelihood says, at a temperature too, and from the given generator alone.

    Every row and every step draws anew. Nearly no temperature, one token to choose from (`top_k`) and nearly no mass
    (`top_p`) are greedy.
    """
    source, answers, objective = sequences(1, 5), allowed(end=False), case.model.objective
    words = answers.nonzero()
    logits = nats(case, Pairs(source.expand(len(words), -1), words), answers)
    many = Pairs(source.expand(SAMPLES, -1), source[:, :1].expand(SAMPLES, -1))
    generator, state = torch.Generator().manual_seed(0), torch.get_rng_state()
    for temperature in (1.0, 2.5):
        decoding = Decoding(1, "sample", temperature=temperature)
        rows = objective.generate(case.model, many, answers, decoding, generator)
        drawn = torch.bincount(torch.cat(rows), minlength=len(answers))[answers] / SAMPLES
        off = (drawn - (logits / temperature).softmax(0)).abs().max().item()
        require(off < FREQUENCY, f"at temperature {temperature:g} a token is drawn {off:.2g} too often or too seldom")
    few, room = Pairs(sequences(3, 5), sequences(3, 1)), LIMITS.target_length
    warm = Decoding(room, "sample", temperature=3.0)
    first, again, later = (
        _listed(case, few, answers, warm, generator.manual_seed(1) if reset else generator)
        for reset in (True, True, False)
    )
    require(first == again, "samples under one seed differ")
    require(first != later, "a generator gives the same samples again")
    greedy = _listed(case, few, answers, Decoding(room), None)
    for setting in ({"temperature": 1e-4}, {"top_k": 1}, {"top_p": 1e-4}):
        cold = _listed(case, few, answers, replace(warm, **setting), generator)  # type: ignore[arg-type]
        require(cold == greedy, f"samples with {setting} are not the greedy answer")
    require(bool(torch.equal(state, torch.get_rng_state())), "sampling draws from the global random generator")


@torch.no_grad()
def what_is_begun_is_continued(case: Subject) -> None:
    """Writing goes on from a given start as it does from its own tokens, greedily and by beams of one.

    Nothing else happens where a user gives the beginning of an answer. The start is read, not written again.
    """
    pairs, answers, room = Pairs(sequences(3, 5), sequences(3, 1)), allowed(end=False), LIMITS.target_length
    whole = torch.tensor(_listed(case, pairs, answers, Decoding(room), None))
    for strategy in ("greedy", "beam"):
        for known in (1, 3):
            decoding = Decoding(room - known, strategy, beams=1)
            rows = case.model.objective.generate(case.model, pairs, answers, decoding, None, whole[:, :known])
            found = [row.tolist() for row in rows]
            message = f"{strategy} writing from the first {known} tokens goes on with {found[0]}"
            require(found == whole[:, known:].tolist(), f"{message}, not {whole[0, known:].tolist()}")


@torch.no_grad()
def rounds_fill_confident_cells_first(case: Subject) -> str | None:
    """In rounds an encoder fills, of the cells that are open, those of whose token it is most sure.

    In one round all cells are filled from one pass; in as many rounds as cells, one cell at a time.
    """
    if case.causal:
        return "it writes from left to right alone"
    source, answers, cells = sequences(3, 5), allowed(end=False), LIMITS.target_length
    pairs = Pairs(source, source[:, :1])
    shown = case.model.objective.shown(case.model, pairs._replace(target=torch.full((3, cells), MASK))).source
    for rounds in (1, cells):
        decoding = Decoding(cells, "confident", rounds=rounds)
        found = _listed(case, pairs, answers, decoding, None)
        expected = _filled(case, shown, answers, cells // rounds)
        require(found == expected, f"{rounds} rounds write {found[0]}, expected {expected[0]}")
    return None


def _filled(case: Subject, source: Tensor, answers: Tensor, at_once: int) -> list[list[int]]:
    """Canvases that are filled ``at_once`` cells a pass, the surest first."""
    canvas = torch.full((len(source), LIMITS.target_length), MASK)
    while (canvas == MASK).any():
        logits = case.model(source, canvas).masked_fill(~answers, -torch.inf)
        sure, token = logits.softmax(-1).max(-1)
        cells = sure.masked_fill(canvas != MASK, -1.0).topk(at_once).indices
        canvas = canvas.scatter(1, cells, token.gather(1, cells))
    return [row.tolist() for row in canvas]


def _texts(words: range, length: int) -> list[list[int]]:
    """All texts of at most ``length`` tokens, END counted, and those that are cut off there."""
    ended = [[*text, END] for size in range(length) for text in product(words, repeat=size)]
    return [*ended, *(list(text) for text in product(words, repeat=length))]


def _scores(case: Subject, source: Tensor, texts: list[list[int]], answers: Tensor) -> Tensor:
    """Log-likelihoods of texts (n,) for one source (1, s)."""
    width = max(map(len, texts))
    mask = torch.tensor([[place < len(text) for place in range(width)] for text in texts])
    target = torch.tensor([text + [END] * (width - len(text)) for text in texts])
    return nats(case, Pairs(source.expand(len(texts), -1), target, None, mask), answers)


def _listed(
    case: Subject, pairs: Pairs, answers: Tensor, decoding: Decoding, generator: torch.Generator | None
) -> list[list[int]]:
    rows = case.model.objective.generate(case.model, pairs, answers, decoding, generator)
    return [row.tolist() for row in rows]
