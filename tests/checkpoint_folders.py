"""Small checkpoints of ``transformers`` in folders, each with a tokenizer of its own kind, all weights random."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

LABELS = ["currency", "date", "duration", "number", "ordinal", "quantity", "redish", "blueish"]
WORDS = [f"{first} {n} lovely days, 27 März: positive or negative" for first in ("a", "The") for n in range(9)]
TEXTS = LABELS + WORDS


def gpt2(folder: Path, positions: int = 128) -> Any:
    size, ids = _byte_pairs(folder), {"bos_token_id": 0, "eos_token_id": 0}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_positions=positions, n_embd=24, n_layer=2, n_head=2, **ids))
    return _saved(model, folder)


def llama(folder: Path) -> Any:
    size, ids = _byte_pairs(folder), {"bos_token_id": 0, "eos_token_id": 0}
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        **ids,
    )
    return _saved(LlamaForCausalLM(config), folder)


def _byte_pairs(folder: Path) -> int:
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    library.train_from_iterator(TEXTS, trainer)
    _tokenizer(library, folder, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    return library.get_vocab_size()


def bert(folder: Path) -> Any:
    config = BertConfig(
        vocab_size=len(_word_pieces(folder)),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=40,
        max_position_embeddings=128,
    )
    return _saved(BertForMaskedLM(config), folder)


def modernbert(folder: Path) -> Any:
    ids = _word_pieces(folder)
    config = ModernBertConfig(
        vocab_size=len(ids),
        hidden_size=24,
        num_hidden_layers=3,  # one layer in three has global attention
        num_attention_heads=2,
        intermediate_size=40,
        max_position_embeddings=128,
        local_attention=16,
        pad_token_id=ids["[PAD]"],
        cls_token_id=ids["[CLS]"],
        sep_token_id=ids["[SEP]"],
        bos_token_id=ids["[CLS]"],
        eos_token_id=ids["[SEP]"],
        attn_implementation="eager",
    )
    return _saved(ModernBertForMaskedLM(config), folder)


def _word_pieces(folder: Path) -> dict[str, int]:
    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    library.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    )
    ids = {name: library.token_to_id(name) for name in special}
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, ids[name]) for name in ("[CLS]", "[SEP]")]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    _tokenizer(library, folder, **names)
    return library.get_vocab()


def t5(folder: Path) -> Any:
    library = Tokenizer(models.Unigram())
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    library.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    library.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token="<unk>", show_progress=False),
    )
    library.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    _tokenizer(library, folder, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    size = library.get_vocab_size() + 7  # real ones have more rows than their tokenizer has tokens
    config = T5Config(vocab_size=size, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3, decoder_start_token_id=0)
    return _saved(T5ForConditionalGeneration(config), folder)


def _tokenizer(library: Tokenizer, folder: Path, **names: str) -> None:
    PreTrainedTokenizerFast(tokenizer_object=library, **names).save_pretrained(folder)


@torch.no_grad()
def _saved(model: Any, folder: Path) -> Any:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    model.eval().save_pretrained(folder)
    return model
