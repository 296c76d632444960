"""Checks of one forward pass: who sees what, and what goes in."""

import torch
from torch import Tensor

from architectures.contract.inside import changed_memory, crossing, embedded
from architectures.contract.subject import LIMITS, Subject, allowed, equal, nats, padded, require, sequences, stacked
from architectures.objectives import Pairs
from tasks.example import BOS, SPECIALS

INFLUENCE = 1e-6  # logits that move by less did not read a token


@torch.no_grad()
def no_look_ahead(case: Subject) -> None:
    """Nothing is predicted from what comes later: not a logit of a causal model, not a token's likelihood.

    A model that sees what it should predict has a splendid loss and writes nonsense. Causality is the mask's affair
    (`View(causal=True)`); look for a target that was not shifted, a window or a convolution that reaches to the right,
    or, in an encoder, a cell that is scored while its token is on the canvas.
    """
    source, target = sequences(3, 5), sequences(3, 6, seed=1)
    if case.causal:
        before = case.model(source, target)
        for position in range(1, target.shape[1]):
            changed = target.clone()
            changed[:, position:] = sequences(3, target.shape[1] - position, seed=2 + position)
            found = case.model(source, changed)[:, :position]
            equal(found, before[:, :position], f"logits before position {position}, when later tokens change")
    answers = allowed(end=False)
    for length in range(3):
        start = target[:1, :length]
        expected = nats(case, Pairs(source[:1], start), answers) if length else torch.zeros(1, dtype=torch.float64)
        words = answers.nonzero()
        longer = Pairs(source[:1].expand(len(words), -1), torch.cat([start.expand(len(words), -1), words], 1))
        total = nats(case, longer, answers).logsumexp(0, keepdim=True)
        equal(total, expected, f"likelihood of the first {length} tokens, by that of all {length + 1}")


@torch.no_grad()
def cross_attention_reads_the_source(case: Subject) -> str | None:
    """Through cross-attention every target position reads every source token of its row, no padding and no other row.

    Cross-attention has the source's mask, not the target's: no causality, and `present` False at the source's padding
    (`Memory(..., View(..., present=...))`).
    """
    if not crossing(case.model):
        two = case.model.family == "encoder-decoder"
        return "its blocks are not the shared ones" if two else "it has no cross-attention"
    source, target = sequences(2, 4), sequences(2, 5, seed=1)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    for what, logits in (("in one pass", _once), ("from a cache", _step_by_step)):
        before = logits(case, source, target, mask)
        for row, key in ((0, 0), (0, 3), (1, 2), (1, 3)):
            with changed_memory(case.model, row, key):
                moved = (logits(case, source, target, mask) - before).abs().amax(-1) > INFLUENCE
            require(not moved[1 - row].any(), f"{what}, row {1 - row} reads the source of row {row}")
            if mask[row, key]:
                deaf = (~moved[row]).nonzero().flatten().tolist()
                require(not deaf, f"{what}, target positions {deaf} do not read source token {key} of their row")
            else:
                require(not moved[row].any(), f"{what}, cross-attention reads padding of the source")
    return None


@torch.no_grad()
def padding_is_invisible(case: Subject) -> None:
    """Padding on either side of source or target, whatever it holds, leaves the logits at tokens as they were.

    Else a score depends on which other texts share the batch. Padding has no keys that others see (`View.present`) and
    does not count as a position (`count_positions`).
    """
    source, target = sequences(2, 4), sequences(2, 5, seed=1)
    expected = case.model(source, target)
    cached = _step_by_step(case, source, target, None)
    for left, right in ((0, 2), (2, 0), (1, 1)):
        wide, wide_mask = padded(source, left, right, seed=3)
        equal(case.model(wide, target, wide_mask), expected, f"logits with source padding {left}+{right}")
        found = _step_by_step(case, wide, target, wide_mask)
        equal(found, cached, f"logits from a cache with source padding {left}+{right}")
        tall, tall_mask = padded(target, left, right, seed=4)
        found = case.model(source, tall, None, tall_mask)[:, left : left + target.shape[1]]
        equal(found, expected, f"logits with target padding {left}+{right}")
        found = case.model(wide, tall, wide_mask.long(), tall_mask.long())[:, left : left + target.shape[1]]
        equal(found, expected, f"logits with padding {left}+{right} of both")


@torch.no_grad()
def an_empty_source_is_none(case: Subject) -> None:
    """No source, a source of no tokens and one of nothing but padding are the same.

    Generation from nothing has an empty source, alone or in a batch with others. A softmax over nothing gives NaN: a
    decoder has nothing before BOS then, and an encoder reads one BOS.
    """
    target, noise = sequences(2, 4, seed=1), sequences(2, 3, seed=2)
    nothing = torch.zeros_like(noise, dtype=torch.bool)
    for what, logits in (("in one pass", _once), ("from a cache", _step_by_step)):
        expected = logits(case, None, target, None)
        equal(logits(case, noise[:, :0], target, None), expected, f"{what}, logits of a source of no tokens")
        equal(logits(case, noise, target, nothing), expected, f"{what}, logits of a source of padding")


@torch.no_grad()
def rows_are_apart(case: Subject) -> None:
    """A row's logits and likelihood are the same alone and in a batch of rows of other lengths.

    Scores must not depend on the batch size. Look for statistics over the batch (BatchNorm), a mask of one row used for
    all, or a `view` that mixes rows with positions.
    """
    lengths = ((4, 5), (0, 2), (6, 3))
    sources = [sequences(1, s, seed=s) for s, _ in lengths]
    targets = [sequences(1, t, seed=10 + t) for _, t in lengths]
    source, source_mask = stacked(sources)
    target, target_mask = stacked(targets)
    found = case.model(source, target, source_mask, target_mask)
    scores = nats(case, Pairs(source, target, source_mask, target_mask), allowed())
    for row, (_, t) in enumerate(lengths):
        equal(found[row : row + 1, :t], case.model(sources[row], targets[row]), f"logits of row {row} of a batch")
        alone = nats(case, Pairs(sources[row], targets[row]), allowed())
        equal(scores[row : row + 1], alone, f"likelihood of row {row} of a batch")


@torch.no_grad()
def source_matters(case: Subject) -> None:
    """Changing any token of the source changes the logits.

    A source that is not read, in part or at all, makes classification and translation a guess. Look for a mask that
    hides it, or a window too small for the depth.
    """
    source, target = sequences(1, 4), sequences(1, 4, seed=1)
    before = case.model(source, target)
    for position in range(source.shape[1]):
        difference = (case.model(_other(source, position), target) - before).abs().max().item()
        require(difference > INFLUENCE, f"source token {position} has no influence on the logits")


@torch.no_grad()
def target_matters(case: Subject) -> None:
    """What is predicted next depends on the token just written and on the one before it.

    A model that does not read what it has written repeats itself. Look for a target that was shifted twice (the
    objective puts BOS in front), or a causal mask that hides what came before.
    """
    source, target = sequences(1, 3), sequences(1, 4, seed=1)
    if not case.causal:
        target[:, -1] = sequences(1, 1, seed=2)[:, 0]
    before = case.model(source, target)
    for position in range(target.shape[1] - 1):
        difference = (case.model(source, _other(target, position)) - before).abs().amax(-1)[0]
        for place in (position, position + 1):
            require(difference[place].item() > INFLUENCE, f"logits {place} do not depend on target token {position}")


@torch.no_grad()
def inputs_are_only_read(case: Subject) -> None:
    """Tokens and masks are the same after a pass as before it, and need not be contiguous in memory.

    A batch is used again, for the next epoch or the next score. Use `x = x + y`, not `x += y`, on what was handed in,
    and `reshape` or `flatten` in place of `view`.
    """
    source, source_mask = stacked([sequences(1, 4), sequences(1, 3)])
    target, target_mask = stacked([sequences(1, 3, seed=1), sequences(1, 5, seed=1)])
    inputs = (source, target, source_mask, target_mask)
    copies = [x.clone() for x in inputs]
    expected = case.model(*inputs)
    case.model.objective.loss(case.model, Pairs(*inputs), allowed(), torch.Generator().manual_seed(0))
    nats(case, Pairs(*inputs), allowed())
    names = ("source", "target", "source mask", "target mask")
    for name, found, copy in zip(names, inputs, copies, strict=True):
        require(bool(torch.equal(found, copy)), f"the {name} has changed")
    equal(case.model(*(x.t().contiguous().t() for x in inputs)), expected, "logits of inputs that are not contiguous")


@torch.no_grad()
def embedding_enters_once(case: Subject) -> str | None:
    """The first block reads each token's row of the table, scaled, with segment and positions, normed: each just once.

    Scale, segments, norm and positions belong to `Embedding`; a family or variant that applies one of them again trains
    another model than its name says.
    """
    source, target, read = sequences(2, 4), sequences(2, 5, seed=1), False
    for what, logits in (("in one pass", _once), ("from a cache", _step_by_step)):
        for expected, found in embedded(case.model, lambda run=logits: run(case, source, target, None)):  # type: ignore[misc]
            equal(found, expected, f"{what}, input of the first block, beside the embedding made from its parts")
            read = True
    return None if read else "its blocks are not the shared ones"


def _once(case: Subject, source: Tensor | None, target: Tensor, mask: Tensor | None) -> Tensor:
    logits: Tensor = case.model(source, target, mask)
    return logits


def _step_by_step(case: Subject, source: Tensor | None, target: Tensor, mask: Tensor | None) -> Tensor:
    """Logits (b, t, v) of writing a target token by token after the source was read."""
    cache, found = case.model.prefill(source, mask), []
    for tokens in torch.cat([torch.full_like(target[:, :1], BOS), target[:, :-1]], 1).unbind(1):
        logits, cache = case.model.decode(tokens[:, None], cache)
        found.append(logits)
    return torch.cat(found, 1)


def _other(tokens: Tensor, position: int) -> Tensor:
    """Tokens with another text token at ``position``."""
    changed = tokens.clone()
    texts = LIMITS.vocabulary - len(SPECIALS)
    changed[:, position] = (changed[:, position] - len(SPECIALS) + 1) % texts + len(SPECIALS)
    return changed
