"""Scoring and generating answers: checks, and readings that must agree."""

from collections import Counter
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import Mode
from archbench.architectures.contract.subject import (
    LIMITS,
    Subject,
    allowed,
    answers,
    log_likelihood,
    require,
    sequences,
    subject,
    written,
)
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import END, MASK, SPECIALS

SUMS = (  # words, of which so many are allowed, the most tokens, targets at a time
    (3, 3, 3, 1000),
    (5, 2, 2, 2),
    (1, 1, 4, 1),
    (2, 2, 4, 3),
    (4, 4, 2, 1),
    (9, 3, 3, 8),
    (4, 4, 4, 1000),
)
LONGEST = 66  # tokens of a target whose likelihood is shared out: an encoder takes a pass for each
SIGMAS = 5.0
BEAMED = 6  # sources that are answered by beams
ENCODED = 12  # steps from one that is tried to the next, where each token costs a pass


@torch.no_grad()
def limits_are_reached(case: Subject) -> None:
    """A source and a target of the maximum lengths can be trained on, scored and generated.

    Tables of positions need `limits.length` entries (source, target and a token between them). An encoder's canvas has
    `limits.target_length` cells for every target.
    """
    batch = Batch(sequences(2, LIMITS.source_length), sequences(2, LIMITS.target_length, seed=1))
    words, model = allowed(end=False), case.model
    canvas = getattr(model, "canvas", LIMITS.target_length)
    require(canvas == LIMITS.target_length, f"the canvas has {canvas} cells, expected {LIMITS.target_length}")
    loss = mean_loss(model, batch, words, torch.Generator().manual_seed(0))
    require(bool(loss.isfinite()), f"the training loss of the longest example is {loss.item()}")
    score = log_likelihood(case, batch, words)
    require(bool(score.isfinite().all()), f"the likelihood of the longest target is {score[0].item()}")
    written = model.objective.generate(model, batch.source, None, words, Decoding(max_tokens=LIMITS.target_length))
    lengths = [len(row) for row in written]
    require(lengths == [LIMITS.target_length] * 2, f"targets of {LIMITS.target_length} tokens came out as {lengths}")


def scored_and_answered_again(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Likelihoods and greedy answers before and after other texts; each use reads a copy, which it may change."""
    words, state, others = allowed(limits=case.limits), torch.get_rng_state(), shaped.other_rows(-1, seed=2)

    def greedy(batch: Batch) -> Tensor:
        return answers(case, batch.source.clone(), words, Decoding(max_tokens=3))

    def score(batch: Batch) -> Tensor:
        return log_likelihood(case, Batch(batch.source.clone(), batch.target.clone()), words)

    written, scored = greedy(shaped.batch), score(shaped.batch)
    score(others)
    greedy(others)
    yield "likelihood, computed twice", score(shaped.batch), scored
    yield "an answer changes after its target was scored", greedy(shaped.batch), written
    require(bool(torch.equal(state, torch.get_rng_state())), "scoring draws from the global random generator")


@torch.no_grad()
def answers_are_allowed(case: Subject) -> None:
    """Only allowed tokens are generated or have nonzero likelihood, and no answer exceeds the requested length.

    Scores are comparable only if all architectures normalise their probabilities over the same tokens. Before the
    softmax or argmax, set the logits of all other tokens (`allowed_tokens` is False: <mask>, <bos>, padding and so
    on) to minus infinity.
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
        tokens = {int(token) for row in written for token in row}
        wrong = [_spelled(token) for token in sorted(tokens) if not few[token] or token == END]
        require(not wrong, f"{strategy} writes {', '.join(wrong)}, which no answer may use")
    for token in (MASK, len(SPECIALS) + 1):
        score = log_likelihood(case, Batch(sequences(1, 5), torch.tensor([[len(SPECIALS), token, END]])), few).item()
        require(score == -torch.inf, f"a target with {_spelled(token)}, which no answer may use, scores {score:.2f}")


@torch.no_grad()
def the_end_is_scored(case: Subject) -> None:
    """A target with END has one more scored token than the same target without END, and is less likely.

    `log_likelihood` must sum over all tokens of the target, including END. Otherwise a model that never stops would
    score as well as one that stops correctly.
    """
    source, target, allowed_tokens = sequences(2, 5), sequences(2, 3, seed=1), allowed()
    ended = torch.cat([target, torch.full((2, 1), END)], 1)
    score = case.model.objective.log_likelihood
    (cut, short), (whole, long) = (score(case.model, Batch(source, t), allowed_tokens) for t in (target, ended))
    require(bool((long == short + 1).all()), f"three tokens and END are counted as {int(long[0])} scored tokens")
    require(bool((whole < cut).all()), f"END costs {(cut - whole)[0].item():.3g} nats; expected more than 0")


def mass_of_all_targets(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The sum of the probabilities of all targets of up to some tokens, the last ones cut off, and 1."""
    for words, allowed_words, length, rows in SUMS if case.trials.sizes else SUMS[:2]:
        limits = replace(LIMITS, target_length=length, vocabulary=len(SPECIALS) + words)
        small, allowed_tokens = subject(case.build, limits=limits), allowed(limits=limits)
        allowed_tokens[len(SPECIALS) + allowed_words :] = False
        few = range(len(SPECIALS), len(SPECIALS) + allowed_words)
        source, total = sequences(1, 4, limits=limits), torch.zeros(1, dtype=torch.float64)
        for size in range(1, length + 1):
            endings = [[*start, END] for start in product(few, repeat=size - 1)]
            if size == length:
                endings += [list(text) for text in product(few, repeat=size)]
            for texts in torch.split(torch.tensor(endings), rows):
                batch = Batch(source.expand(len(texts), -1), texts)
                total += log_likelihood(small, batch, allowed_tokens).exp().sum()
        what = f"{allowed_words} of {words} words, {length} tokens at most, {rows} targets at a time"
        yield f"the mass of all targets is {total.item():.6f}, expected 1 ({what})", total, torch.ones_like(total)


def likelihood_of_long_continuations(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The likelihood of a text, as long as its source, and the sum over all tokens that may come next."""
    for length, (end, texts) in product(case.trials.lengths, ((True, 3), (False, 5))):
        if length > LONGEST:
            continue
        limits = replace(case.limits, source_length=length, target_length=length + 1)
        long, allowed_tokens = subject(case.build, case.size, limits), allowed(end, limits)
        allowed_tokens[len(SPECIALS) + texts :] = False
        start = sequences(1, length, seed=length, limits=replace(limits, vocabulary=len(SPECIALS) + texts))
        words, source = allowed_tokens.nonzero(), sequences(1, length, seed=1)
        longer = Batch(source.expand(len(words), -1), torch.cat([start.expand(len(words), -1), words], 1))
        total = log_likelihood(long, longer, allowed_tokens).logsumexp(0, keepdim=True)
        expected = log_likelihood(long, Batch(source, start), allowed_tokens)
        yield (
            f"likelihood of a text of {length} tokens, compared with the sum over its continuations",
            total,
            expected,
        )


def scores_of_greedy_tokens(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """The likelihood of the token that greedy decoding picks at a step, and that of the likeliest one."""
    (source, target, *_), allowed_tokens = shaped.batch, allowed(end=False)
    words, room = allowed_tokens.nonzero(), target.shape[1]
    # an encoder takes a pass for each token of a long answer
    steps = range(room) if case.causal or case.limits.target_length > room else range(room - 1, 0, -ENCODED)
    for row, text in enumerate(written(case, source, allowed_tokens, Decoding(max_tokens=room))):
        for step in steps:
            candidates = torch.cat([text[:step].expand(len(words), -1), words], 1)
            batch = Batch(source[row : row + 1].expand(len(words), -1), candidates)
            scores = log_likelihood(case, batch, allowed_tokens)
            what = f"the token that greedy writing picks at step {step} of {room}, in nats below the likeliest"
            yield what, scores[words[:, 0] == text[step]], scores.amax(0, keepdim=True)


@torch.no_grad()
def sampling_follows_scoring(case: Subject) -> None:
    """Sample frequencies match likelihoods; a beam search that keeps all candidates finds the best.

    This shows that the generating model is the scored model. At temperature t the probability of the first token is
    raised to the power 1 / t and normalised. Of the result, `top_k` keeps the likeliest tokens, and `top_p` the fewest
    whose mass reaches it. With one candidate (`top_k`) sampling is greedy, and so is a single beam.
    """
    limits = replace(LIMITS, target_length=2, vocabulary=len(SPECIALS) + 3)
    small = subject(case.build, limits=limits)
    allowed_tokens, source = allowed(limits=limits), sequences(1, 4, limits=limits)
    words = range(len(SPECIALS), limits.vocabulary)
    texts = [(END,), *((a, b) for a in words for b in (END, *words))]
    mass = {
        text: log_likelihood(small, Batch(source, torch.tensor([text])), allowed_tokens).exp().item() for text in texts
    }
    count = case.trials.samples
    many = source.expand(count, -1)
    sampled = written(small, many, allowed_tokens, Decoding(max_tokens=2, strategy="sample"))
    _as_often(sampled, {_cut(text): chance for text, chance in mass.items()}, "samples")
    first = {_cut((word,)): sum(p for text, p in mass.items() if text[0] == word) for word in (END, *words)}
    for decoding in _first_samplings(first):
        what = f"samples at temperature 2, top_k {decoding.top_k}, top_p {decoding.top_p:.3f}"
        _as_often(written(small, many, allowed_tokens, decoding), _configured(first, decoding), what)
    wide = Decoding(max_tokens=2, strategy="beam", beams=len(texts), length_penalty=0.0)
    sources = sequences(BEAMED, 4, seed=2, limits=limits)
    for row, text in enumerate(written(small, sources, allowed_tokens, wide)):
        scores = [
            log_likelihood(small, Batch(sources[row : row + 1], torch.tensor([candidate])), allowed_tokens).item()
            for candidate in texts
        ]
        best = _cut(texts[max(range(len(texts)), key=scores.__getitem__)])
        sample = tuple(text.tolist())
        require(sample == best, f"{len(texts)} beams write {sample}, the likeliest answer is {best}")
    few = sequences(5, 4, seed=3, limits=limits)
    greedy, one = (
        answers(small, few, allowed_tokens, Decoding(max_tokens=2, strategy=strategy, top_k=1), torch.Generator())
        for strategy in ("greedy", "sample")
    )
    require(bool(torch.equal(one, greedy)), "sampling one candidate is not greedy")


def _first_samplings(first: dict[tuple[int, ...], float]) -> list[Decoding]:
    """Settings for a first token; one token reaches ``top_p`` before the temperature is applied, but not after it."""
    heated = Decoding(max_tokens=1, strategy="sample", temperature=2.0)
    reached = (max(first.values()) + max(_configured(first, heated).values())) / 2
    return [heated, replace(heated, top_k=2), replace(heated, top_p=reached)]


def _configured(first: dict[tuple[int, ...], float], decoding: Decoding) -> dict[tuple[int, ...], float]:
    """The probabilities with which a first token is sampled, given those at temperature 1."""
    ordered = sorted(first, key=first.__getitem__, reverse=True)
    heated = torch.tensor([first[text] for text in ordered]) ** (1 / decoding.temperature)
    heated /= heated.sum()
    kept = heated.cumsum(0) - heated < decoding.top_p
    kept[decoding.top_k or len(kept) :] = False
    chances = heated.masked_fill(~kept, 0.0)
    return dict(zip(ordered, (chances / chances.sum()).tolist(), strict=True))


def _cut(text: tuple[int, ...]) -> tuple[int, ...]:
    """A text as it is generated: without its END."""
    return tuple(token for token in text if token != END)


def _as_often(texts: list[Tensor], chances: dict[tuple[int, ...], float], what: str) -> None:
    """Requires the frequency of each text to equal its probability within ``SIGMAS`` standard deviations."""
    counts = Counter(tuple(text.tolist()) for text in texts)
    for text, chance in chances.items():
        share = counts[text] / len(texts)
        error = (chance * (1 - chance) / len(texts)) ** 0.5
        message = f"{share:.4f} of {what} are {text}, whose probability is {chance:.4f}"
        require(abs(share - chance) <= SIGMAS * error + 1e-9, message)


def _spelled(token: int) -> str:
    return SPECIALS[token] if token < len(SPECIALS) else f"token {token}"
