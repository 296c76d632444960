"""Batches of many shapes: rows, lengths, and padding on either side or nowhere; long and unusual texts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archbench.architectures.contract.subject import Subject, sequences, stacked, subject
from archbench.architectures.contract.trials import Trials
from archbench.architectures.families.size import Limits
from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.example import END

NUMBERS = {1: 65, 4: 33, 9: 17, 100: 9}  # of so many rows at most, texts of at most so many tokens
PADDING = 3  # tokens of it, at most, in a row as long as the longest
DROPOUT = 0.3
FEW_CELLS = 5  # of an encoder's canvas where many batches are tried


@dataclass(frozen=True)
class ShapedBatch:
    """A ``batch`` and its name; ``lengths`` are the tokens of source and target of each row.

    Layouts: "plain" has equal lengths and no masks, "masked" masks that are all True, "even" equal lengths and padding,
    "right", "left" and "around" different lengths, padded on that side. Padding holds arbitrary tokens.
    """

    name: str
    batch: Batch
    lengths: tuple[tuple[int, int], ...]

    def row(self, row: int) -> Batch:
        """One row as it stands in the batch, its padding included."""
        return Batch(*(None if x is None else x[row : row + 1] for x in self.batch))  # type: ignore[arg-type]

    def stripped(self, row: int) -> Batch:
        """The tokens of one row, without padding and masks."""
        source, target, source_mask, target_mask = self.batch
        parts = ((source, source_mask), (target, target_mask))
        return Batch(*(x[row : row + 1] if m is None else x[row, m[row]][None] for x, m in parts))

    @property
    def is_padded(self) -> bool:
        """True if it has masks, even if all cells are tokens."""
        return self.batch.source_mask is not None

    def real(self, logits: Tensor, row: int) -> Tensor:
        """The logits (1, t, v) at the tokens of a row, from those of the batch (b, t, v) or of the row alone."""
        mask = self.batch.target_mask
        row_logits = logits[row if len(logits) > 1 else 0]
        return (row_logits if mask is None else row_logits[mask[row]])[None]

    def with_source(self) -> list[int]:
        """Some rows that have a source."""
        return [row for row in self.some() if self.lengths[row][0]]

    def without_source(self) -> list[int]:
        """The rows that have none."""
        return [row for row, (source, _) in enumerate(self.lengths) if not source]

    def some(self, most: int = 3) -> list[int]:
        """The first row, the last, and some in between."""
        count = len(self.batch.target)
        return sorted({int(x) for x in torch.linspace(0, count - 1, min(most, count)).round().tolist()})

    def other_padding(self, seed: int) -> Batch:
        """The batch with other tokens where there is padding, in every row that has a source."""
        source, target, source_mask, target_mask = self.batch
        empty_sources = torch.tensor([not length for length, _ in self.lengths])[:, None]
        return Batch(
            _replaced(source, None if source_mask is None else ~(source_mask | empty_sources), seed),
            _replaced(target, None if target_mask is None else ~(target_mask | empty_sources), seed + 1),
            source_mask,
            target_mask,
        )

    def other_rows(self, row: int, seed: int) -> Batch:
        """The batch with other tokens in every row but one."""
        others = torch.arange(len(self.batch.target)) != row
        source, target, source_mask, target_mask = self.batch
        return Batch(
            _replaced(source, others[:, None].expand_as(source), seed),
            _replaced(target, others[:, None].expand_as(target), seed + 1),
            source_mask,
            target_mask,
        )


Found = Iterator[tuple[Subject, ShapedBatch]]
Compared = Iterator[tuple[str, Tensor, Tensor]]  # words, a tensor, and the one that it must agree with


def unpadded(name: str, source: Tensor, target: Tensor) -> ShapedBatch:
    """A batch without masks; findings name it unless the name is empty."""
    rows, length = source.shape
    return ShapedBatch(name, Batch(source, target), ((length, target.shape[1]),) * rows)


def small(case: Subject) -> Found:
    """Two short texts."""
    yield case, unpadded("", *(sequences(2, n, seed, case.limits) for seed, n in enumerate((4, 5))))


def single(case: Subject) -> Found:
    """One text of each length of the trials."""
    longest = max(case.trials.lengths)
    roomy = case.with_room(longest, longest)
    for length in (6, *case.trials.lengths):
        yield roomy, unpadded("", *(sequences(1, n, seed, case.limits) for seed, n in enumerate((5, length))))


def ragged(case: Subject) -> Found:
    """Three rows of different lengths, padded on the right."""
    source, source_mask = stacked([sequences(1, n, seed, case.limits) for seed, n in enumerate((4, 2, 3))])
    target, target_mask = stacked([sequences(1, n, seed, case.limits) for seed, n in enumerate((3, 5, 4))])
    yield case, ShapedBatch("", Batch(source, target, source_mask, target_mask), ((4, 3), (2, 5), (3, 4)))


def shaped(case: Subject) -> Found:
    """A batch for every number of rows and every layout; lengths are drawn from those of the trials."""
    longest = max(NUMBERS.values()) + PADDING
    roomy = case.with_room(longest, longest)
    for each in batches(case.trials, roomy.limits):
        yield roomy, each


def few_cells(case: Subject) -> Found:
    """The same, but targets of an encoder are short, since each of their cells costs a pass."""
    longest = max(NUMBERS.values()) + PADDING
    roomy = case.with_room(longest, longest if case.causal else FEW_CELLS)
    for each in batches(case.trials, roomy.limits):
        yield roomy, each


def examples(case: Subject) -> Found:
    """Batches as objectives get them: padding on the right only, and END after every second target."""
    for each in ended(case.trials, case.limits):
        yield case, each


def with_dropout(case: Subject) -> Found:
    """Three short texts, for a model with dropout."""
    noisy = subject(case.build, replace(case.size, dropout=DROPOUT), case.limits, trials=case.trials)
    yield noisy, unpadded("", *(sequences(3, 4, seed, case.limits) for seed in range(2)))


@torch.no_grad()
def uniform(case: Subject) -> Found:
    """Three texts with padding, for a model whose parameters are zero: its logits are equal."""
    for parameter in case.model.parameters():
        parameter.zero_()
    source, source_mask = stacked([sequences(1, n, seed) for seed, n in enumerate((5, 3, 7))])
    target, target_mask = stacked([sequences(1, n, seed) for seed, n in enumerate((4, 6, 1), start=3)])
    yield case, ShapedBatch("", Batch(source, target, source_mask, target_mask), ((5, 4), (3, 6), (7, 1)))


def to_answer(case: Subject) -> Found:
    """Sources to answer, with as many tokens as their targets have: a few, and as many as the trials decode."""
    long = case.trials.decoded
    yield case, unpadded("", sequences(3, 5), sequences(3, 3))
    roomy = case.with_room(5, long)
    for rows in (1, 3):
        yield roomy, unpadded("", sequences(rows, 5, seed=rows), sequences(rows, long))


def batches(trials: Trials, limits: Limits, left_out: tuple[str, ...] = ()) -> Iterator[ShapedBatch]:
    """A batch for every number of rows and every layout; lengths are drawn from those of ``trials``."""
    draw = torch.Generator().manual_seed(0)
    for rows in trials.rows:
        for layout in (layout for layout in trials.layouts if layout not in left_out):
            yield _batch(rows, layout, trials, limits, draw)


def ended(trials: Trials, limits: Limits) -> Iterator[ShapedBatch]:
    """Batches with padding on the right only, and END after every second target."""
    for each in batches(trials, limits, left_out=("left", "around")):
        target = each.batch.target.clone()
        for row, (_, length) in enumerate(each.lengths):
            if row % 2 == 0:
                target[row, length - 1] = END
        yield ShapedBatch(each.name, each.batch._replace(target=target), each.lengths)


def _batch(rows: int, layout: str, trials: Trials, limits: Limits, draw: torch.Generator) -> ShapedBatch:
    most = next(length for count, length in NUMBERS.items() if rows <= count)
    known = [1, 2, 3, 5, *(length for length in trials.lengths if length <= most)]

    def drawn(bound: int) -> int:
        return min(known[int(torch.randint(len(known), (1,), generator=draw))], bound)

    def pair() -> tuple[int, int]:
        return drawn(limits.source_length), drawn(limits.target_length)

    same = layout in ("plain", "masked", "even")
    lengths = [pair()] * rows if same else [pair() for _ in range(rows)]
    if not same and rows > 1:
        lengths[1] = (0, lengths[1][1])  # a row without a source among others
    seed = int(torch.randint(2**31, (1,), generator=draw))
    source, source_mask = _side([s for s, _ in lengths], layout, limits.source_length, seed, limits)
    target, target_mask = _side([t for _, t in lengths], layout, limits.target_length, seed + 1, limits)
    named = {"plain": "no padding", "masked": "masks without padding", "even": "equal lengths and padding"}
    name = f"{rows} row{'s' if rows > 1 else ''}, {named.get(layout, f'padded {layout}')}"
    return ShapedBatch(name, Batch(source, target, source_mask, target_mask), tuple(lengths))


def _side(lengths: list[int], layout: str, bound: int, seed: int, limits: Limits) -> tuple[Tensor, Tensor | None]:
    """Tokens (b, n) of these lengths in this layout, and their mask."""
    widest = max(lengths)
    width = widest if layout in ("plain", "masked") else min(widest + PADDING, bound)
    tokens = sequences(len(lengths), width, seed=seed, limits=limits)
    if layout == "plain":
        return tokens, None
    mask = torch.zeros(tokens.shape, dtype=torch.bool)
    for row, length in enumerate(lengths):
        free = width - length
        left = {"left": free, "around": free // 2}.get(layout, 0)
        mask[row, left : left + length] = True
    return tokens, mask


def _replaced(tokens: Tensor, where: Tensor | None, seed: int) -> Tensor:
    if where is None:
        return tokens
    noise = sequences(tokens.shape[0], tokens.shape[1], seed=seed)
    return torch.where(where, noise, tokens)
