"""Trained from the same weights on the same batches, our models and those of ``transformers`` learn alike.

Plain AdamW on both sides, float32, without dropout: masks of dropped units would be drawn in another order.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from archbench.architectures.conversion.convert import from_transformers
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.tasks.base.example import BOS

STEPS, ROWS, WIDTH, WORDS = 50, 8, 12, 24
INITIAL = 0.1  # larger than usual, so that what is not linear weighs from the first step on
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=WORDS,
            n_positions=WIDTH + 1,
            n_embd=32,
            n_head=4,
            n_layer=2,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            initializer_range=INITIAL,
            bos_token_id=None,
            eos_token_id=None,
        )
    ),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS,
            hidden_size=32,
            intermediate_size=48,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_hidden_layers=2,
            initializer_range=INITIAL,
            bos_token_id=None,
            eos_token_id=None,
        )
    ),
}


def batch(step: int) -> Tensor:
    """Rows (8, 12) that count upwards by a step of their own: to be learnt, not known at once."""
    generator = torch.Generator().manual_seed(step)
    start, by = (
        torch.randint(WORDS, (ROWS, 1), generator=generator),
        torch.randint(1, 4, (ROWS, 1), generator=generator),
    )
    return (start + by * torch.arange(WIDTH)) % WORDS


def our_loss(model: Any, tokens: Tensor) -> Tensor:
    """The loss that our own training loop takes, of predicting every token after BOS."""
    allowed_tokens = torch.ones(WORDS, dtype=torch.bool)
    loss: Tensor = mean_loss(model, Batch(tokens[:, :0], tokens), allowed_tokens)
    return loss


def their_loss(model: Any, tokens: Tensor) -> Tensor:
    tokens = torch.cat([torch.full((ROWS, 1), BOS), tokens], 1)
    loss: Tensor = model(tokens, labels=tokens).loss
    return loss


def train(model: Any, loss_of: Any) -> list[float]:
    optimizer = AdamW(model.train().parameters(), lr=0.01, weight_decay=0.1)
    losses = []
    for step in range(STEPS):
        loss = loss_of(model, batch(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_curve_is_that_of_transformers(name: str) -> None:
    torch.manual_seed(0)
    theirs = MODELS[name]()
    losses = train(from_transformers(theirs), our_loss)
    expected = train(theirs, their_loss)
    assert expected[-1] < 0.5 * expected[0]
    assert max(abs(a - b) for a, b in zip(losses, expected, strict=True)) < 1e-3
