"""Decoder-only model with a shared expert and one routed expert per token (2401.06066, 2101.03961)."""

from torch import Tensor, nn
from torch.nn import functional as F

from archbench.architectures import (
    Amount,
    Attention,
    Block,
    DecoderOnly,
    Embedding,
    FeedForward,
    Head,
    Limits,
    RMSNorm,
    Rotary,
    Size,
    Stack,
)
from archbench.architectures.components.initial import linear


class SharedAndRouted(nn.Module):
    """``shared(x)`` plus the likeliest ``chosen`` of the routed experts, each times its share among the chosen."""

    def __init__(self, dim: int, hidden: int, count: int = 4, chosen: int = 1) -> None:
        super().__init__()
        self.chosen = chosen
        self.shared = FeedForward(dim, hidden, F.silu)
        self.router = linear(dim, count)
        self.experts = nn.ModuleList(FeedForward(dim, hidden, F.silu) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        share, expert = self.router(flat).float().softmax(-1).topk(self.chosen, -1)
        share = share / share.sum(-1, keepdim=True)
        y = self.shared(flat).float()
        for number, network in enumerate(self.experts):
            token, rank = (expert == number).nonzero(as_tuple=True)
            y = y.index_add(0, token, network(flat[token]).float() * share[token, rank, None])
        return y.view(x.shape).to(x.dtype)

    def flops(self, tokens: Amount) -> Amount:
        routed = self.experts[0].flops(tokens) * self.chosen
        return self.shared.flops(tokens) + routed + 2.0 * tokens * self.router.in_features * self.router.out_features


def build(size: Size, limits: Limits) -> DecoderOnly:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, SharedAndRouted(size.dim, size.hidden), RMSNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, RMSNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
