"""The contract suite: what every variant must hold, as small checks on a tiny random model.

Each check takes a ``Subject`` and raises ``AssertionError`` with what was found where the property fails.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from architectures.generate import Decoding
from architectures.objectives import Pairs
from architectures.size import Limits, Size, count, embedding_parameters
from tasks.example import BOS, END, MASK, SPECIALS

TOLERANCE = 1e-4
SIZE = Size(dim=32, heads=2, depth=2, hidden=24)
LIMITS = Limits(vocabulary=23, source_length=7, target_length=6)


@dataclass(frozen=True)
class Subject:
    """A variant under test: its builder, and a model with random weights and no dropout."""

    build: Callable[[Size, Limits], Any]
    model: Any

    @property
    def causal(self) -> bool:
        return str(self.model.family) != "encoder"


Check = Callable[[Subject], None]


def subject(build: Callable[[Size, Limits], Any], size: Size = SIZE, limits: Limits = LIMITS, seed: int = 0) -> Subject:
    """A model in which every parameter is random, so that nothing starts out as zero and hides a fault."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(size, limits).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.15)
    return Subject(build, model)


def sequences(rows: int, length: int, seed: int = 0, limits: Limits = LIMITS) -> Tensor:
    """Random text tokens (rows, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(SPECIALS), limits.vocabulary, (rows, length), generator=generator)


def no_look_ahead(case: Subject) -> None:
    """A causal model's logits do not change when later tokens do; an unwritten cell's do not depend on its content."""
    source, target = sequences(3, 5), sequences(3, 6, seed=1)
    if not case.causal:
        return _unwritten_cells_are_unseen(case, source, target)
    before = case.model(source, target)
    for position in range(1, target.shape[1]):
        changed = target.clone()
        changed[:, position:] = sequences(3, target.shape[1] - position, seed=2 + position)
        _equal(case.model(source, changed)[:, :position], before[:, :position], f"logits before position {position}")


def _unwritten_cells_are_unseen(case: Subject, source: Tensor, target: Tensor) -> None:
    answers, cell = _answers(case), 3
    changed = target.clone()
    changed[:, cell:] = sequences(3, target.shape[1] - cell, seed=5)
    for length in range(1, cell + 1):
        nats = [_nats(case, Pairs(source, t[:, :length]), answers) for t in (target, changed)]
        _equal(nats[0], nats[1], f"likelihood of the first {length} cells")


def padding_is_invisible(case: Subject) -> None:
    """Padding on either side of source or target, whatever it holds, leaves the logits at tokens as they were."""
    source, target = sequences(2, 4), sequences(2, 5, seed=1)
    expected = case.model(source, target)
    for left, right in ((0, 2), (2, 0), (1, 1)):
        wide, wide_mask = _padded(source, left, right, seed=3)
        _equal(case.model(wide, target, wide_mask), expected, f"source padding {left}+{right}")
        tall, tall_mask = _padded(target, left, right, seed=4)
        found = case.model(source, tall, None, tall_mask)[:, left : left + target.shape[1]]
        _equal(found, expected, f"target padding {left}+{right}")
        found = case.model(wide, tall, wide_mask.long(), tall_mask.long())[:, left : left + target.shape[1]]
        _equal(found, expected, f"padding {left}+{right} of both")


def rows_are_apart(case: Subject) -> None:
    """A row's logits are the same alone and in a batch of rows of other lengths."""
    lengths = ((4, 5), (0, 2), (6, 3))
    sources = [sequences(1, s, seed=s) for s, _ in lengths]
    targets = [sequences(1, t, seed=10 + t) for _, t in lengths]
    source, source_mask = _stacked(sources)
    target, target_mask = _stacked(targets)
    found = case.model(source, target, source_mask, target_mask)
    for row, (_, t) in enumerate(lengths):
        alone = case.model(sources[row], targets[row])
        _equal(found[row : row + 1, :t], alone, f"row {row} of a batch")


def forward_is_prefill_and_decode(case: Subject) -> None:
    """One pass over everything equals reading the source and writing token by token, or by two, row by row padded."""
    source, mask = _stacked([sequences(1, 5), sequences(1, 3, seed=1), sequences(1, 0)])
    target = sequences(3, LIMITS.target_length, seed=2)
    inputs = torch.cat([torch.full((3, 1), BOS), target[:, :-1]], 1)
    expected = case.model(source, inputs, mask) if case.causal else _cell_by_cell(case, source, target, mask)
    for step in (1, 2):
        cache, found = case.model.prefill(source, mask), []
        for tokens in torch.split(inputs, step, 1):
            logits, cache = case.model.decode(tokens, cache)
            found.append(logits)
        _equal(torch.cat(found, 1), expected, f"decoding {step} at a time")


def caches_are_values(case: Subject) -> None:
    """Decoding from a cache leaves it as it was, and rows picked from a cache are those rows' own."""
    source, tokens = sequences(3, 4), torch.full((3, 1), BOS)
    _, cache = case.model.decode(tokens, case.model.prefill(source))
    first, _ = case.model.decode(sequences(3, 1, seed=1), cache)
    case.model.decode(sequences(3, 1, seed=2), cache)
    again, _ = case.model.decode(sequences(3, 1, seed=1), cache)
    _equal(again, first, "decoding from the same cache again")
    order = torch.tensor([2, 0])
    picked, _ = case.model.decode(sequences(3, 1, seed=1)[order], cache.rows(order))
    _equal(picked, first[order], "decoding from picked rows")


def source_matters(case: Subject) -> None:
    """Changing any token of the source changes the logits."""
    source, target = sequences(1, 5), sequences(1, 4, seed=1)
    before = case.model(source, target)
    for position in range(source.shape[1]):
        changed = source.clone()
        changed[:, position] = (changed[:, position] - len(SPECIALS) + 1) % (LIMITS.vocabulary - len(SPECIALS)) + 5
        difference = (case.model(changed, target) - before).abs().max().item()
        assert difference > 1e-6, f"source token {position} has no influence on the logits"


def flops_are_counted(case: Subject) -> None:
    """The executed FLOPs agree within 1% with PyTorch's counter, under the math attention, for several shapes."""
    for s, t in ((5, 4), (0, 6), (7, 1)):
        source, target = sequences(2, s), sequences(2, t, seed=1)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            case.model(source if s else None, target)
        executed, counted = 2 * case.model.flops(s, t, t).executed, counter.get_total_flops()
        message = f"source {s}, target {t}: {executed:.0f} FLOPs by formula, {counted} executed"
        assert abs(executed - counted) <= 0.01 * counted, message


def likelihood_sums_to_one(case: Subject) -> None:
    """Over a vocabulary small enough to enumerate, all ended and all cut-off targets have a total probability of 1."""
    limits = replace(LIMITS, target_length=3, vocabulary=len(SPECIALS) + 3)
    small = subject(case.build, limits=limits)
    answers = torch.zeros(limits.vocabulary, dtype=torch.bool)
    words = list(range(len(SPECIALS), limits.vocabulary))
    answers[[END, *words]] = True
    source = sequences(1, 4, limits=limits)
    total = 0.0
    for length in range(1, limits.target_length + 1):
        endings = [[*start, END] for start in product(words, repeat=length - 1)]
        if length == limits.target_length:
            endings += [list(text) for text in product(words, repeat=length)]
        targets = torch.tensor(endings)
        total += _nats(small, Pairs(source.expand(len(targets), -1), targets), answers).exp().sum().item()
    assert abs(total - 1.0) < 1e-4, f"the mass of all targets is {total:.6f}"


def answers_are_allowed(case: Subject) -> None:
    """Only tokens that an answer may use are written, whatever the strategy, and no target is longer than asked."""
    answers = _answers(case)
    pairs = Pairs(sequences(4, 5), sequences(4, 1))
    strategies = ("greedy", "sample", "beam") if case.causal else ("greedy", "sample", "beam", "confident")
    for strategy in strategies:
        decoding = Decoding(max_tokens=5, strategy=strategy, beams=3, rounds=3)
        written = case.model.objective.generate(case.model, pairs, answers, decoding, torch.Generator().manual_seed(0))
        assert len(written) == 4 and all(len(row) <= 5 for row in written), f"{strategy} writes too much"
        wrong = [int(token) for row in written for token in row if not answers[token] or token == END]
        assert not wrong, f"{strategy} writes tokens {wrong}, which no answer may use"


def a_batch_can_be_learned(case: Subject) -> None:
    """Every parameter gets a gradient, and training on one batch brings its loss close to zero."""
    torch.manual_seed(0)
    model = case.build(SIZE, LIMITS)
    pairs, answers = Pairs(sequences(4, 5), sequences(4, 5, seed=1)), _answers(case)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    touched: set[str] = set()
    for _ in range(120):
        loss = model.objective.loss(model, pairs, answers, generator)
        optimizer.zero_grad()
        loss.backward()
        touched |= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
    idle = sorted({name for name, _ in model.named_parameters()} - touched)
    assert not idle, f"parameters that never get a gradient: {', '.join(idle)}"
    nats, tokens = model.objective.log_likelihood(model.eval(), pairs, answers)
    rate = (-nats / tokens).mean().item()
    assert rate < 0.35, f"after 120 steps on one batch the loss is still {rate:.2f} nats a token"


def parameters_are_counted(case: Subject) -> None:
    """Feed-forward width moves the count, the vocabulary only the embedding's, and both counts cover everything."""
    counts = count(case.model)
    total = sum(p.numel() for p in case.model.parameters())
    assert counts.parameters + counts.embedding_parameters == total, "some parameter is counted in neither figure"
    wider = count(case.build(replace(SIZE, hidden=2 * SIZE.hidden), LIMITS))
    assert wider.parameters > counts.parameters, "a wider feed-forward network has no more parameters"
    larger = count(case.build(SIZE, replace(LIMITS, vocabulary=2 * LIMITS.vocabulary)))
    assert larger.parameters == counts.parameters, "the vocabulary changes `parameters`"
    assert embedding_parameters(case.model), "the model has no embedding"


def scoring_is_still(case: Subject) -> None:
    """With dropout configured, scoring twice gives the same: nothing is random in evaluation mode."""
    noisy = subject(case.build, size=replace(SIZE, dropout=0.3))
    pairs, answers = Pairs(sequences(3, 4), sequences(3, 4, seed=1)), _answers(case)
    _equal(_nats(noisy, pairs, answers), _nats(noisy, pairs, answers), "likelihood, computed twice")


CHECKS: tuple[Check, ...] = (
    no_look_ahead,
    padding_is_invisible,
    rows_are_apart,
    forward_is_prefill_and_decode,
    caches_are_values,
    source_matters,
    flops_are_counted,
    likelihood_sums_to_one,
    answers_are_allowed,
    a_batch_can_be_learned,
    parameters_are_counted,
    scoring_is_still,
)


def _answers(case: Subject) -> Tensor:
    answers = torch.ones(LIMITS.vocabulary, dtype=torch.bool)
    answers[: len(SPECIALS)] = False
    answers[END] = True
    return answers


@torch.no_grad()
def _nats(case: Subject, pairs: Pairs, answers: Tensor) -> Tensor:
    nats: Tensor = case.model.objective.log_likelihood(case.model, pairs, answers)[0]
    return nats


def _cell_by_cell(case: Subject, source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """An encoder's logits (b, t, v) of cell i with the cells from i on masked."""
    cells = []
    for cell in range(target.shape[1]):
        canvas = target.clone()
        canvas[:, cell:] = MASK
        cells.append(case.model(source, canvas, mask)[:, cell])
    return torch.stack(cells, 1)


def _padded(tokens: Tensor, left: int, right: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens with arbitrary tokens on both sides, and the mask that tells them apart."""
    rows, length = tokens.shape
    noise = sequences(rows, left + right, seed=seed)
    mask = torch.zeros(rows, left + length + right, dtype=torch.bool)
    mask[:, left : left + length] = True
    return torch.cat([noise[:, :left], tokens, noise[:, left:]], 1), mask


def _stacked(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows (1, n) of any lengths, padded at the right with arbitrary tokens, and their mask."""
    width = max(row.shape[1] for row in rows)
    padded = [_padded(row, 0, width - row.shape[1], seed=7) for row in rows]
    return torch.cat([tokens for tokens, _ in padded]), torch.cat([mask for _, mask in padded])


def _equal(found: Tensor, expected: Tensor, what: str) -> None:
    difference = (found - expected).abs().max().item()
    assert difference <= TOLERANCE, f"{what}: off by {difference:.2g}"
