"""Tools of the checks: a tiny random model, random tokens, and the comparison of two results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archbench.architectures.contract.modes import SCORING, Mode
from archbench.architectures.contract.trials import QUICK, Trials
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.kernels.table import optimize
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import END, SPECIALS

TOLERANCE = 1e-4
SIZE = Size(dim=32, heads=2, depth=2, hidden=24)
LIMITS = Limits(vocabulary=23, source_length=7, target_length=6)

NOISE = 0.15  # standard deviation of what is added to parameters; less in wider or deeper models than ``SIZE``

Build = Callable[[Size, Limits], Any]


@dataclass(frozen=True)
class Subject:
    """A variant under test: its builder, a model with random weights and no dropout, and how much is tried on it."""

    build: Build
    model: Any
    trials: Trials = QUICK
    size: Size = SIZE
    limits: Limits = LIMITS

    @property
    def causal(self) -> bool:
        return bool(self.model.causal)

    def with_room(self, source: int, target: int) -> "Subject":
        """The same variant with these maximum lengths."""
        limits = Limits(self.limits.vocabulary, source, target)
        return subject(self.build, self.size, limits, trials=self.trials)


def subject(build: Build, size: Size = SIZE, limits: Limits = LIMITS, seed: int = 0, trials: Trials = QUICK) -> Subject:
    """A model in which every parameter is random, so that no zero initial value hides a fault."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = optimize(build(size, limits)).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * NOISE * _noise_scale(size))
    return Subject(lambda size, limits: optimize(build(size, limits)), model, trials, size, limits)


def _noise_scale(size: Size) -> float:
    """At most 1; less if width and depth would make the logits, and their rounding errors, too large."""
    larger = size.dim * size.depth / (SIZE.dim * SIZE.depth)
    return float(max(1.0, larger) ** -0.5)


def fresh(build: Build, seed: int = 0, size: Size = SIZE, limits: Limits = LIMITS) -> Any:
    """A model as training builds it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return optimize(build(size, limits))


def sequences(rows: int, length: int, seed: int = 0, limits: Limits = LIMITS) -> Tensor:
    """Random text tokens (rows, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(len(SPECIALS), limits.vocabulary, (rows, length), generator=generator)


def allowed(end: bool = True, limits: Limits = LIMITS) -> Tensor:
    """Answers (v,): every text token, and END where ``end``."""
    allowed_tokens = torch.ones(limits.vocabulary, dtype=torch.bool)
    allowed_tokens[: len(SPECIALS)] = False
    allowed_tokens[END] = end
    return allowed_tokens


@torch.no_grad()
def log_likelihood(case: Subject, batch: Batch, allowed_tokens: Tensor) -> Tensor:
    """log p (b,) of every target in nats."""
    log_p: Tensor = case.model.objective.log_likelihood(case.model, batch, allowed_tokens)[0]
    return log_p


@torch.no_grad()
def logits_of(case: Subject, batch: Batch, mode: Mode = SCORING) -> Tensor:
    """Logits (b, t, v) of one pass in a mode, in float32."""
    with mode.of(case.model):
        logits: Tensor = case.model(*batch)
    return logits.detach().float()


def loss_of(
    case: Subject, batch: Batch, mode: Mode, seed: int = 0, native: bool = False, smoothing: float = 0.0
) -> Tensor:
    """The training loss in a mode; the objective draws from a generator with this seed."""
    allowed_tokens, generator = allowed(limits=case.limits), torch.Generator().manual_seed(seed)
    with mode.of(case.model):
        loss: Tensor = mean_loss(case.model, batch, allowed_tokens, generator, native, smoothing)
    return loss


@torch.no_grad()
def written(
    case: Subject, source: Tensor, allowed_tokens: Tensor, decoding: Decoding, seed: int = 0, mask: Tensor | None = None
) -> list[Tensor]:
    """The model's answers to sources (b, s)."""
    generator = torch.Generator().manual_seed(seed)
    texts: list[Tensor] = case.model.objective.generate(case.model, source, mask, allowed_tokens, decoding, generator)
    return texts


def answers(
    case: Subject,
    source: Tensor,
    allowed_tokens: Tensor,
    decoding: Decoding,
    generator: torch.Generator | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """The model's answers (b, n) to sources (b, s), with -1 after their end."""
    rows = case.model.objective.generate(case.model, source, None, allowed_tokens, decoding, generator, start)
    return torch.stack([F.pad(row, (0, decoding.max_tokens - len(row)), value=-1) for row in rows])


def padded(tokens: Tensor, left: int, right: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens with arbitrary tokens on both sides, and the mask that marks the original ones."""
    rows, length = tokens.shape
    noise = sequences(rows, left + right, seed=seed)
    mask = torch.zeros(rows, left + length + right, dtype=torch.bool)
    mask[:, left : left + length] = True
    return torch.cat([noise[:, :left], tokens, noise[:, left:]], 1), mask


def stacked(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows (1, n) of any lengths, padded on the right with arbitrary tokens, and their mask."""
    width = max(row.shape[1] for row in rows)
    both = [padded(row, 0, width - row.shape[1], seed=7) for row in rows]
    return torch.cat([tokens for tokens, _ in both]), torch.cat([mask for _, mask in both])


class BrokenError(AssertionError):
    """A property does not hold; the message says what was found."""


def require(condition: bool, what: str) -> None:
    """Raises ``BrokenError`` where the condition is false."""
    if not condition:
        raise BrokenError(what)


def equal(actual: Tensor, expected: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Requires (b, t, ...) or (b,) to agree within ``tolerance``; the error gives the largest difference and where."""
    require(actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
    difference = (actual - expected).abs()
    if difference.numel() and not bool((difference <= tolerance).all()):
        worst = torch.unravel_index(difference.nan_to_num(nan=torch.inf).argmax(), difference.shape)
        where = ", ".join(f"{axis} {int(i)}" for axis, i in zip(("row", "position"), worst, strict=False))
        raise BrokenError(f"{what}: off by {difference[worst].item():.2g} (at {where})")
