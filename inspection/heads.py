"""Measurements of each attention head: the share of its attention in known patterns, and the loss increase without it.

Previous, same and first token, special ones that separate or fill: Clark et al. 2019 (1906.04341), Voita et al. 2019
(1905.09418).
Induction, the token after an earlier occurrence of this one: Olsson et al. 2022 (2209.11895). Alignment: the share of
cross-attention near the diagonal, where source and target run along each other (Bahdanau et al. 2015, 1409.0473).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archbench.architectures import probes
from archbench.architectures.components.attention import Attention
from archbench.architectures.objectives.objective import estimate
from archbench.architectures.probes import Part
from archbench.inspection.facts import HEADS, NO_ROLE
from archbench.inspection.subject import ExampleReading, InspectedRun, batch, read_example
from archbench.tasks.base.example import BOS, END, MASK, PAD

NAMED = 0.4  # of the attention has to follow a pattern before the head is named after it
REPEATS = 16  # random sequences, each said twice, that induction is measured on
Weights = NDArray[np.float64]
Pattern = Callable[[Sequence[int], Sequence[int]], NDArray[np.bool_]]


def _diagonal(offset: int) -> Pattern:
    def marked(queries: Sequence[int], keys: Sequence[int]) -> NDArray[np.bool_]:
        return np.eye(len(queries), len(keys), offset, dtype=np.bool_)

    return marked


def _first(queries: Sequence[int], keys: Sequence[int]) -> NDArray[np.bool_]:
    pattern = np.zeros((len(queries), len(keys)), np.bool_)
    pattern[1:, 0] = True
    return pattern


def _separators(queries: Sequence[int], keys: Sequence[int]) -> NDArray[np.bool_]:
    special = np.isin(np.asarray(keys), (PAD, BOS, END, MASK))
    special[:1] = False  # that is the first token
    return np.broadcast_to(special, (len(queries), len(keys))).copy()


def _induction(queries: Sequence[int], keys: Sequence[int]) -> NDArray[np.bool_]:
    """The key after the latest earlier occurrence of the query's token."""
    pattern = np.zeros((len(queries), len(keys)), np.bool_)
    latest: dict[int, int] = {}
    for position, token in enumerate(queries):
        if token in latest and latest[token] + 1 < position:
            pattern[position, latest[token] + 1] = True
        latest[token] = position
    return pattern


def _aligned(queries: Sequence[int], keys: Sequence[int]) -> NDArray[np.bool_]:
    """Keys at most one place from where the query stands in proportion."""
    expected = np.arange(len(queries)) * (len(keys) - 1) / max(len(queries) - 1, 1)
    return np.abs(expected[:, None] - np.arange(len(keys))) <= 1


PATTERNS: dict[str, dict[str, Pattern]] = {
    "self": {
        "previous token": _diagonal(-1),
        "same token": _diagonal(0),
        "next token": _diagonal(1),
        "first token": _first,
        "special token": _separators,
        "induction": _induction,
    },
    "cross": {"special token": _separators, "alignment": _aligned},
}


@dataclass(frozen=True)
class HeadReading:
    """A head of one block: the share of attention on each pattern, what even attention would put there, its role.

    ``loss`` is how much the loss rises without the head, with its standard error over examples; a head whose matrices
    serve several layers is left out of all of them.
    """

    layer: str
    part: str
    head: int
    shares: dict[str, float]
    even: dict[str, float]
    role: str
    loss: float
    error: float


def heads(subject: InspectedRun, examples: int = HEADS) -> list[HeadReading]:
    """Every head's patterns on test examples, induction on repeated random tokens, and the loss without each."""
    usual = [read_example(subject, pair) for pair in subject.examples[:examples]]
    repeated = [read_example(subject, pair) for pair in _repeated(subject)]
    lost = _losses_without(subject, subject.examples[:examples])
    head_readings = []
    for index, layer in enumerate(usual[0].layers):
        for part in layer.weights:
            attention = layer.block.attention if part == "self" else layer.block.cross
            assert isinstance(attention, Attention)
            shares = _shares(usual, index, part)
            if part == "self":
                shares |= {name: share for name, share in _shares(repeated, index, part).items() if name == "induction"}
            even = {name: share[1] for name, share in shares.items()}
            for head in range(attention.heads):
                mine = {name: float(share[0][head]) for name, share in shares.items()}
                found = (mine, even, role(mine, even), *lost[id(attention), head])
                head_readings.append(HeadReading(layer.name, part, head, *found))
    return head_readings


def role(shares: dict[str, float], even: dict[str, float]) -> str:
    """The pattern that most of a head's attention is on: ``NAMED`` of it or more, and half more than evenly."""
    fitting = [name for name, share in shares.items() if share >= NAMED and share >= 1.5 * even[name]]
    return max(fitting, key=lambda name: shares[name], default=NO_ROLE)


def _shares(readings: Sequence[ExampleReading], index: int, part: Part) -> dict[str, tuple[Weights, float]]:
    """For each pattern the share of attention on it by head (h,), and that of even attention over what is visible.

    Over the queries that have such a key at all, and a choice: one that sees a single key attends to it, come what may.
    """
    sums: dict[str, tuple[Weights, float, int]] = {}
    for reading in readings:
        layer = reading.layers[index]
        head_weights = layer.weights[part][0].double().numpy()
        visible = head_weights.max(0) > 0
        even = visible / visible.sum(-1, keepdims=True)
        queries, keys = reading.axes[layer.axis], reading.keys(part, layer)
        for name, pattern in PATTERNS[part].items():
            marked = pattern(queries, keys) & visible
            rows = marked.any(-1) & (visible.sum(-1) > 1)
            if rows.any():
                total, plain, count = sums.get(name, (np.zeros(len(head_weights)), 0.0, 0))
                total = total + (head_weights * marked)[:, rows].sum((1, 2))
                sums[name] = total, plain + float((even * marked)[rows].sum()), count + int(rows.sum())
    return {name: (total / count, plain / count) for name, (total, plain, count) in sums.items()}


def _repeated(subject: InspectedRun) -> list[tuple[list[int], list[int]]]:
    """Random tokens, said twice: as the source as far as it reaches, and as the target."""
    limits, generator = subject.run.plan.limits, torch.Generator().manual_seed(0)
    allowed = torch.from_numpy(np.flatnonzero(subject.run.tokenizer.writable))
    sequences = []
    for _ in range(REPEATS):
        sides = []
        for length in (limits.source_length, limits.target_length):
            half = min(length // 2, 24)
            chosen = allowed[torch.randint(len(allowed), (half,), generator=generator)].tolist()
            sides.append(chosen + chosen)
        source, target = sides
        sequences.append((source, target or subject.examples[0][1]))
    return sequences


def losses(subject: InspectedRun, pairs: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    """Loss of each example in nats per target token (n,): exact, or estimated over the same draws every time."""
    model, moved = subject.run.model, batch(pairs)
    lengths = torch.tensor([len(target) for _, target in pairs])
    with torch.no_grad():
        if subject.exact:
            nats = -model.objective.log_likelihood(model, moved, subject.run.allowed_tokens)[0]
        else:
            nats = estimate(model, moved, subject.run.allowed_tokens, torch.Generator().manual_seed(0), 4)
    mean_nats: Tensor = nats / lengths
    return mean_nats


def _losses_without(
    subject: InspectedRun, pairs: Sequence[tuple[list[int], list[int]]]
) -> dict[tuple[int, int], tuple[float, float]]:
    whole = losses(subject, pairs)
    by_head: dict[tuple[int, int], tuple[float, float]] = {}
    for site in probes.sites(subject.run.model):
        for head in range(site.attention.heads):
            with probes.without(site.attention, head):
                risen = losses(subject, pairs) - whole
            error = float(risen.std() / len(risen) ** 0.5) if len(risen) > 1 else 0.0
            by_head[id(site.attention), head] = float(risen.mean()), error
    return by_head
