"""Encoder-decoder whose decoder layers are the encoder's, with cross-attention added (1910.10683, section 3.2)."""

from torch import nn

from archbench.architectures import (
    Attention,
    Block,
    Embedding,
    EncoderDecoder,
    GatedFeedForward,
    Head,
    LayerNorm,
    Limits,
    Rotary,
    Size,
    Stack,
)


def build(size: Size, limits: Limits) -> EncoderDecoder:
    def block() -> Block:
        attention = Attention(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), LayerNorm, dropout=size.dropout)

    def crossing(layer: nn.Module) -> Block:
        """A decoder layer of the same parameters; cross-attention and its norm are its own."""
        assert isinstance(layer, Block)
        cross = Attention(size.dim, size.heads)
        own = Block(layer.attention, layer.feedforward, LayerNorm, cross, dropout=size.dropout)
        own.around_attention, own.around_feedforward = layer.around_attention, layer.around_feedforward
        return own

    encoder = Stack(size.depth, block, LayerNorm(size.dim))
    layers = iter(encoder.blocks)
    return EncoderDecoder(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        encoder,
        Stack(size.depth, lambda: crossing(next(layers)), encoder.norm),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
