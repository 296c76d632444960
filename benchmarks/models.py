"""The shapes that are benchmarked, and the models of each on both sides. Imports ``transformers`` for theirs alone."""

from dataclasses import dataclass
from typing import Any

import torch

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.tasks.base.example import BOS, END, PAD

CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "bert": "BertForMaskedLM",
    "t5": "T5ForConditionalGeneration",
}
VARIANTS = {"gpt2": "gpt2", "llama": "llama", "bert": "bert", "t5": "t5-gated"}


@dataclass(frozen=True)
class BenchShape:
    """A size of models and of the work they are given.

    ``context`` positions; a training batch of windows has ``rows`` rows, one of real examples ``batch_tokens`` data
    tokens; ``examples`` are scored and ``new_tokens`` written. ``pairs`` is how often both sides are measured,
    each time for at least ``seconds``; ``processes`` how often in processes of their own.
    """

    name: str
    width: int
    layers: int
    heads: int
    context: int
    vocabulary: int
    rows: int
    batch_tokens: int
    examples: int
    new_tokens: int
    pairs: int
    seconds: float
    processes: int

    @property
    def hidden(self) -> int:
        return 4 * self.width

    @property
    def target_length(self) -> int:
        """Tokens of the longest target of a real example, END counted: an encoder's canvas."""
        return min(64, self.context // 2)

    @property
    def source_length(self) -> int:
        return min(128, self.context - self.target_length - 1)


SHAPES = {
    shape.name: shape
    for shape in (
        BenchShape("tiny", 64, 2, 2, 64, 512, 8, 512, 32, 40, 3, 0.02, 1),
        BenchShape("small", 256, 4, 4, 256, 4096, 4, 1024, 64, 128, 5, 0.2, 3),
        BenchShape("base", 768, 12, 12, 1024, 50257, 8, 8192, 256, 128, 15, 0.2, 3),
    )
}


def theirs(model: str, shape: BenchShape) -> Any:
    """A model of ``transformers`` of that shape, with new weights, without dropout."""
    import transformers

    from archbench.architectures.conversion.quiet import quiet

    torch.manual_seed(0)
    with quiet():
        kind = getattr(transformers, CLASSES[model])
        return kind(kind.config_class(**_configuration(model, shape)))


def ours(model: str, shape: BenchShape) -> Any:
    """Our own variant of that shape, with new weights: what needs no ``transformers`` at all."""
    torch.manual_seed(0)
    size = Size(shape.width, shape.heads, shape.layers, shape.hidden)
    return catalogue.find(VARIANTS[model]).build(size, Limits(shape.vocabulary, 0, shape.context - 1))


def _configuration(model: str, shape: BenchShape) -> dict[str, Any]:
    """The keys of ``transformers``. T5 is version 1.1: gated, ``layers`` in each of its two stacks."""
    tokens = {"vocab_size": shape.vocabulary, "bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD}
    if model == "gpt2":
        size = {"n_embd": shape.width, "n_layer": shape.layers, "n_head": shape.heads, "n_inner": shape.hidden}
        return tokens | size | {"n_positions": shape.context, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    if model == "t5":
        size = {"d_model": shape.width, "num_layers": shape.layers, "num_heads": shape.heads, "d_ff": shape.hidden}
        kind = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "decoder_start_token_id": BOS}
        return tokens | size | kind | {"d_kv": shape.width // shape.heads, "dropout_rate": 0.0}
    usual = {
        "max_position_embeddings": shape.context,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
    }
    if model == "llama":  # two query heads share keys and values, as in our variant
        return tokens | usual | {"num_key_value_heads": shape.heads // 2, "tie_word_embeddings": False}
    return tokens | usual | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
