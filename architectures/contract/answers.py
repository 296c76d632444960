"""Checks of scoring and writing answers."""

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from architectures.contract.subject import (
    LIMITS,
    SIZE,
    TOLERANCE,
    Subject,
    allowed,
    equal,
    nats,
    require,
    sequences,
    subject,
)
from architectures.generate import Decoding
from architectures.objectives import Pairs
from tasks.example import END, MASK, SPECIALS


@torch.no_grad()
def limits_are_reached(case: Subject) -> None:
    """A source and a target as long as the limits allow can be trained on, scored and written.

    Tables of positions need `limits.length` entries (source, target and a token between them), and an encoder's canvas
    has `limits.target_length` cells, whatever the target.
    """
    pairs = Pairs(sequences(2, LIMITS.source_length), sequences(2, LIMITS.target_length, seed=1))
    words, model = allowed(end=False), case.model
    canvas = getattr(model, "canvas", LIMITS.target_length)
    require(canvas == LIMITS.target_length, f"the canvas has {canvas} cells, expected {LIMITS.target_length}")
    loss = model.objective.loss(model, pairs, words, torch.Generator().manual_seed(0))
    require(bool(loss.isfinite()), f"the training loss of the longest example is {loss.item()}")
    score = nats(case, pairs, words)
    require(bool(score.isfinite().all()), f"the likelihood of the longest target is {score[0].item()}")
    written = model.objective.generate(model, pairs.source, None, words, Decoding(max_tokens=LIMITS.target_length))
    lengths = [len(row) for row in written]
    require(lengths == [LIMITS.target_length] * 2, f"targets of {LIMITS.target_length} tokens came out as {lengths}")


@torch.no_grad()
def scoring_is_still(case: Subject) -> None:
    """With dropout configured, scoring and writing twice give the same: evaluation draws and remembers nothing.

    Dropout belongs to training alone (`nn.Dropout`, or `p if self.training else 0.0`). A model must keep no state
    between calls: what a pass leaves behind would change the next score, and a target that was scored could come back
    as an answer.
    """
    noisy, answers = subject(case.build, size=replace(SIZE, dropout=0.3)), allowed()
    pairs, others = (Pairs(sequences(3, 4, seed=s), sequences(3, 4, seed=s + 1)) for s in (0, 2))
    state = torch.get_rng_state()
    written = _written(noisy, sequences(3, 4), answers)  # each time a new copy: a model may change what it reads
    first = nats(noisy, pairs, answers)
    nats(noisy, others, answers)
    _written(noisy, others.source, answers)
    equal(nats(noisy, pairs, answers), first, "likelihood, computed twice")
    require(_written(noisy, sequences(3, 4), answers) == written, "an answer is another one once its target was scored")
    require(bool(torch.equal(state, torch.get_rng_state())), "scoring draws from the global random generator")


@torch.no_grad()
def answers_are_allowed(case: Subject) -> None:
    """Only tokens that an answer may use are written or have any likelihood, and no target is longer than asked.

    Scores of architectures compare only if each divides its probability among the same tokens. Set the logits of all
    others (`answers` is False: <mask>, <bos>, padding and so on) to minus infinity before the softmax or the choice.
    """
    few = torch.zeros(LIMITS.vocabulary, dtype=torch.bool)
    few[[END, len(SPECIALS), len(SPECIALS) + 2]] = True
    source = sequences(16, 5)
    strategies = ("greedy", "sample", "beam") if case.causal else ("greedy", "sample", "beam", "confident")
    for strategy in strategies:
        decoding = Decoding(max_tokens=5, strategy=strategy, temperature=3.0, beams=3, rounds=3)
        generator = torch.Generator().manual_seed(0)
        written = case.model.objective.generate(case.model, source, None, few, decoding, generator)
        require(len(written) == 16 and all(len(row) <= 5 for row in written), f"{strategy} writes too much")
        found = {int(token) for row in written for token in row}
        wrong = [_spelled(token) for token in sorted(found) if not few[token] or token == END]
        require(not wrong, f"{strategy} writes {', '.join(wrong)}, which no answer may use")
    for token in (MASK, len(SPECIALS) + 1):
        score = nats(case, Pairs(sequences(1, 5), torch.tensor([[len(SPECIALS), token, END]])), few).item()
        require(score == -torch.inf, f"a target with {_spelled(token)}, which no answer may use, scores {score:.2f}")


@torch.no_grad()
def the_end_is_scored(case: Subject) -> None:
    """A target that ends counts one token more than the same one cut off, and is less likely by that END.

    Without END a model that never stops scores as well as one that knows when to: `log_likelihood` sums over all tokens
    of the target, its END included.
    """
    source, target, answers = sequences(2, 5), sequences(2, 3, seed=1), allowed()
    ended = torch.cat([target, torch.full((2, 1), END)], 1)
    score = case.model.objective.log_likelihood
    (cut, short), (whole, long) = (score(case.model, Pairs(source, t), answers) for t in (target, ended))
    require(bool((long == short + 1).all()), f"three tokens and END are counted as {int(long[0])} scored tokens")
    require(bool((whole < cut).all()), f"END costs {(cut - whole)[0].item():.3g} nats; expected more than 0")


def likelihood_sums_to_one(case: Subject) -> None:
    """Over a vocabulary small enough to enumerate, all ended and all cut-off targets have probability 1 together.

    Otherwise the likelihood is none, and bits per byte mean nothing: above 1 the model was shown what it should predict
    or some token went unscored; below 1 probability is lost to tokens that cannot be written.
    """
    limits = replace(LIMITS, target_length=3, vocabulary=len(SPECIALS) + 3)
    small = subject(case.build, limits=limits)
    words = list(range(len(SPECIALS), limits.vocabulary))
    source = sequences(1, 4, limits=limits)
    total = 0.0
    for length in range(1, limits.target_length + 1):
        endings = [[*start, END] for start in product(words, repeat=length - 1)]
        if length == limits.target_length:
            endings += [list(text) for text in product(words, repeat=length)]
        pairs = Pairs(source.expand(len(endings), -1), torch.tensor(endings))
        total += nats(small, pairs, allowed(limits=limits)).exp().sum().item()
    require(abs(total - 1.0) < TOLERANCE, f"the mass of all targets is {total:.6f}")


@torch.no_grad()
def writing_follows_scoring(case: Subject) -> None:
    """Greedy writing picks the token to which scoring gives the highest likelihood, at every step.

    An answer is written by `generate` and judged by `log_likelihood`; both must condition on the same source and on
    what was written so far.
    """
    source, answers, steps = sequences(3, 5), allowed(end=False), 3
    words = answers.nonzero()
    written = case.model.objective.generate(case.model, source, None, answers, Decoding(max_tokens=steps))
    for row, text in enumerate(written):
        for step in range(steps):
            candidates = torch.cat([text[:step].expand(len(words), -1), words], 1)
            scores = nats(case, Pairs(source[row : row + 1].expand(len(words), -1), candidates), answers)
            loss = (scores.max() - scores[words[:, 0] == text[step]]).item()
            require(
                loss <= TOLERANCE, f"greedy writing picks a token {loss:.2g} nats below the likeliest (step {step})"
            )


def _written(case: Subject, source: Tensor, answers: Tensor) -> list[list[int]]:
    """Token ids that are written greedily for each source (b, s)."""
    rows = case.model.objective.generate(case.model, source, None, answers, Decoding(max_tokens=3))
    return [row.tolist() for row in rows]


def _spelled(token: int) -> str:
    return SPECIALS[token] if token < len(SPECIALS) else f"token {token}"
