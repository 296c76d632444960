"""Token embedding and output head; both may share one table (tied, 1608.05859)."""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures.components.feedforward import Activation
from archbench.architectures.components.initial import linear
from archbench.architectures.components.numbers import Amount


@runtime_checkable
class Tables(Protocol):
    """A module with parameters that a budget excludes: token, position and segment tables, output matrix and bias."""

    def tables(self) -> list[nn.Parameter]: ...


class Product(NamedTuple):
    """Vectors (..., d), the output matrix (v, d) and its bias (v,): ``vectors @ matrix.T + bias`` are logits."""

    vectors: Tensor
    matrix: Tensor
    bias: Tensor | None


class Targets(NamedTuple):
    """The labels (n,) of a loss on states (n, d), out of ``allowed_tokens`` (v,), with ``weights`` (n,) or (1,).

    ``smoothing`` is the probability that goes to all allowed tokens alike.
    """

    labels: Tensor
    weights: Tensor
    allowed_tokens: Tensor | None = None
    smoothing: float = 0.0


class Embedding(nn.Module):
    """Token ids (b, t) -> vectors (b, t, d), with an optional factor, added segment 0 embedding and norm."""

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        std: float = 0.3,
        scale: float = 1.0,
        segments: int = 0,
        norm: nn.Module | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(vocabulary, dim) * std)
        self.segments = nn.Parameter(torch.randn(segments, dim) * std) if segments else None
        self.norm = norm if norm is not None else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def tables(self) -> list[nn.Parameter]:
        return [self.weight] if self.segments is None else [self.weight, self.segments]

    def forward(self, tokens: Tensor, added: Tensor | None = None) -> Tensor:
        """``added`` (b, t, d) are positional vectors, added before the norm as in BERT."""
        x = F.embedding(tokens, self.weight)
        if self.scale != 1.0:
            x = x * self.scale
        if self.segments is not None:
            x = x + self.segments[0]
        if added is not None:
            x = x + added
        y: Tensor = self.dropout(self.norm(x))
        return y


class Transform(nn.Module):
    """``norm(activation(dense(x)))``, (..., d) -> (..., d): BERT's layers before the output matrix (1810.04805)."""

    def __init__(self, dim: int, activation: Activation, norm: nn.Module, bias: bool = False) -> None:
        super().__init__()
        self.dense, self.activation, self.norm = linear(dim, dim, bias), activation, norm

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.activation(self.dense(x)))
        return y


class Head(nn.Module):
    """Hidden states (..., d) -> logits (..., v); with targets, their loss.

    ``tied`` reuses that embedding's table. Otherwise the output matrix is separate and initialised to zero, so that an
    untrained model is uniform. ``transform`` runs before the matrix (BERT); ``scale`` multiplies its input (T5).
    In training, hooks of a head see the loss, not logits; to change logits, override ``Family.logits``.
    """

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        tied: Embedding | None = None,
        bias: bool = False,
        transform: nn.Module | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.transform = transform if transform is not None else nn.Identity()
        self.weight = tied.weight if tied is not None else nn.Parameter(torch.zeros(vocabulary, dim))
        self.bias = nn.Parameter(torch.zeros(vocabulary)) if bias else None

    def tables(self) -> list[nn.Parameter]:
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def forward(self, x: Tensor, targets: Targets | None = None) -> Tensor:
        """Logits, or the weighted sum of the negative log-likelihoods of ``targets`` after x (n, d)."""
        operands = self.product(x)
        return self.multiply(*operands) if targets is None else self.loss(operands, targets)

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)

    def loss(self, operands: Product, targets: Targets) -> Tensor:
        """The weighted sum of the negative log-likelihoods of ``targets``, in float32."""
        losses = cross_entropy(self.multiply(*operands), targets.labels, targets.allowed_tokens, targets.smoothing)
        return (losses * targets.weights).sum()

    def product(self, x: Tensor) -> Product:
        """The operands of the matrix product for hidden states (..., d)."""
        y = self.transform(x)
        return Product(y if self.scale == 1.0 else y * self.scale, self.weight, self.bias)

    def flops(self, outputs: Amount) -> Amount:
        """FLOPs of a forward pass at ``outputs`` positions."""
        inner = sum(m.in_features * m.out_features for m in self.transform.modules() if isinstance(m, nn.Linear))
        return 2.0 * outputs * (self.weight.numel() + inner)


def cross_entropy(logits: Tensor, labels: Tensor, allowed_tokens: Tensor | None, smoothing: float) -> Tensor:
    """Negative log-likelihood (n,) of labels (n,) in float32, over ``allowed_tokens`` (v,) alone where given."""
    logits = logits.float()
    if allowed_tokens is not None:
        logits = logits.masked_fill(~allowed_tokens, float("-inf"))
    if not smoothing:
        return F.cross_entropy(logits, labels, reduction="none")
    scores = logits.log_softmax(-1)
    allowed = torch.ones_like(scores[0], dtype=torch.bool) if allowed_tokens is None else allowed_tokens
    uniform = scores[:, allowed].mean(-1)
    return -(1 - smoothing) * scores.gather(-1, labels[:, None]).squeeze(-1) - smoothing * uniform
