"""The contract suite catches real bugs: each is named first by the check that should name it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import compute_faults
import faults
import pytest
import test_planted_variants
import test_reading_faults
from faults import CAUSAL, THREE, Plant, ask, causally, change, combined, everywhere, memory_with, patch
from torch import nn
from torch.nn import functional as F

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.cache import Cache
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.key_values import KeyValueBuffer, KeyValues
from archbench.architectures.components.norm import LayerNorm, PreNorm
from archbench.architectures.components.stack import Block
from archbench.architectures.families import decoder, encoder, encoder_decoder
from archbench.architectures.families.encoder import EncoderState
from archbench.architectures.families.encoder_decoder import EncoderDecoder
from archbench.architectures.objectives import causal, generate, masked
from archbench.architectures.objectives.masked import Masked
from archbench.tasks.base.example import PAD


@dataclass(frozen=True)
class Fault:
    """A bug, planted by ``plant`` into ``variants``; ``check`` names it first, saying ``says``; ``also`` fail too."""

    name: str
    check: str
    says: str
    plant: Plant
    variants: tuple[str, ...]
    also: tuple[str, ...] = ()


FAULTS = (
    Fault(
        "too few positions",
        "limits_are_reached",
        "IndexError: index out of range",
        ask(limits=lambda x: replace(x, source_length=x.source_length - 2)),
        ("gpt2",),
        (
            "training_reads_as_scoring_does",
            "rows_are_apart",
            "padding_is_invisible",
            "a_uniform_model_has_known_losses",
            "a_uniform_model_has_a_known_source_loss",
            "likelihood_sums_to_one",
            "the_training_loss_is_the_likelihood",
            "long_texts_are_read_alike",
            "writing_follows_scoring",
        ),
    ),
    Fault(
        "canvas of another length",
        "limits_are_reached",
        "the canvas has 7 cells, expected 6",
        ask(limits=lambda x: replace(x, target_length=x.target_length + 1)),
        ("encoder",),
        (
            "forward_is_prefill_and_decode",
            "caches_last",
            "rounds_fill_confident_cells_first",
        ),
    ),
    Fault(
        "dropout left on in scoring",
        "scoring_is_still",
        "likelihood, computed twice: off by",
        patch(nn.Dropout, "forward", lambda original: lambda self, x: F.dropout(x, self.p, True)),
        THREE,
        ("dropout_is_noise_in_training",),
    ),
    Fault(
        "answers copied from targets that were scored",
        "scoring_is_still",
        "an answer changes after its target was scored",
        faults.copies_what_was_scored,
        CAUSAL,
        (
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "a_given_start_is_continued",
        ),
    ),
    Fault(
        "a dropout rate of its own",
        "training_reads_as_scoring_does",
        "logits in training mode without dropout: off by",
        ask(size=lambda x: replace(x, dropout=0.1)),
        THREE,
        (
            "nothing_is_remembered",
            "changed_weights_are_used",
            "rows_are_apart",
            "no_look_ahead",
            "padding_is_invisible",
            "an_empty_source_is_none",
            "selected_states_are_those_of_one_pass",
            "the_training_loss_is_the_likelihood",
            "losses_of_rows_add_up",
            "long_texts_are_read_alike",
            "dropout_is_noise_in_training",
            "gradients_are_those_of_the_loss",
        ),
    ),
    Fault(
        "source changed in place",
        "inputs_are_only_read",
        "the source has changed",
        everywhere("hidden", faults.rereads),
        THREE,
        (
            "caches_last",
            "source_matters",
            "likelihood_sums_to_one",
            "writing_follows_scoring",
            "beams_find_the_likeliest",
            "a_training_step_repeats",
        ),
    ),
    Fault(
        "a mask token may be written",
        "answers_are_allowed",
        "writes <mask>, which no answer may use",
        patch(generate, "_allowed", faults.mask_allowed),
        THREE,
        (
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "writing_follows_scoring",
        ),
    ),
    Fault(
        "a mask token may be scored",
        "answers_are_allowed",
        "a target with <mask>, which no answer may use, scores",
        combined(patch(causal, "log_softmax", faults.mask_allowed), patch(masked, "log_softmax", faults.mask_allowed)),
        THREE,
        (
            "no_look_ahead",
            "likelihood_sums_to_one",
            "a_uniform_model_has_known_losses",
            "beams_find_the_likeliest",
            "the_training_loss_is_the_likelihood",
        ),
    ),
    Fault(
        "look-ahead by one position",
        "no_look_ahead",
        "logits before position 1, when later tokens change: off by",
        causally(lambda distance: distance <= 1),
        CAUSAL,
        (
            "padding_is_invisible",
            "an_empty_source_is_none",
            "forward_is_prefill_and_decode",
            "caches_last",
            "likelihood_sums_to_one",
            "writing_follows_scoring",
            "beams_find_the_likeliest",
            "a_given_start_is_continued",
            "gradients_stay_in_place",
            "long_texts_are_read_alike",
            "visible_flops_are_counted",
        ),
    ),
    Fault(
        "target not shifted",
        "no_look_ahead",
        "likelihood of the first 0 tokens, compared with that of all 1: off by",
        patch(causal, "_shift", lambda original: lambda target: target),
        CAUSAL,
        (
            "likelihood_sums_to_one",
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "the_training_loss_is_the_likelihood",
        ),
    ),
    Fault(
        "pseudo-likelihood taken for a likelihood",
        "no_look_ahead",
        "likelihood of the first 1 tokens, compared with that of all 2: off by",
        change(lambda model: setattr(model, "objective", faults.PseudoLikelihood())),
        ("encoder",),
        (
            "padding_is_invisible",
            "likelihood_sums_to_one",
            "a_uniform_model_has_known_losses",
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
        ),
    ),
    Fault(
        "cross-attention without the source's mask",
        "cross_attention_reads_the_source",
        "in one pass, cross-attention reads padding of the source",
        memory_with(lambda context: replace(context, present=None, masks={})),
        ("encoder-decoder",),
        (
            "padding_is_invisible",
            "an_empty_source_is_none",
            "caches_are_values",
            "gradients_stay_in_place",
            "long_texts_are_read_alike",
        ),
    ),
    Fault(
        "cross-attention with the decoder's mask",
        "cross_attention_reads_the_source",
        r"in one pass, target positions \[0, 1, 2\] do not read source token 3 of their row",
        patch(Attention, "_cross", faults.crosses_causally),
        ("encoder-decoder",),
        (
            "padding_is_invisible",
            "forward_is_prefill_and_decode",
            "caches_last",
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "a_given_start_is_continued",
            "long_texts_are_read_alike",
        ),
    ),
    Fault(
        "padding attended",
        "padding_is_invisible",
        "with source padding 0.2: off by",
        patch(AttentionContext, "_mask", faults.attends_padding),
        ("encoder", "decoder", "prefix-decoder", "encoder-decoder"),
        (
            "an_empty_source_is_none",
            "caches_are_values",
            "gradients_stay_in_place",
            "long_texts_are_read_alike",
        ),
    ),
    Fault(
        "gaps between source and target",
        "padding_is_invisible",
        "logits with source padding 0.2: off by",
        patch(decoder, "join", faults.leaves_gaps),
        ("decoder", "prefix-decoder"),
        (
            "an_empty_source_is_none",
            "forward_is_prefill_and_decode",
            "caches_last",
            "gradients_stay_in_place",
            "long_texts_are_read_alike",
        ),
    ),
    Fault(
        "an empty source read from padding",
        "an_empty_source_is_none",
        "logits of a source of padding: off by",
        patch(EncoderDecoder, "encode", faults.reads_padding_alone),
        ("encoder-decoder",),
    ),
    Fault(
        "the first row's mask for all rows",
        "rows_are_apart",
        "logits of row 1 of a batch: .*off by",
        patch(AttentionContext, "_mask", faults.first_rows_mask),
        ("encoder",),
        (
            "padding_is_invisible",
            "caches_are_values",
            "gradients_stay_in_place",
        ),
    ),
    Fault(
        "rows of a cache mixed up",
        "caches_are_values",
        "decoding from selected rows of a cache: off by",
        combined(
            patch(KeyValues, "rows", lambda original: lambda self, index: original(self, 0 * index)),
            patch(EncoderState, "rows", lambda original: lambda self, index: original(self, 0 * index)),
        ),
        ("decoder", "prefix-decoder", "encoder", "encoder-decoder"),
        (
            "caches_last",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "a_given_start_is_continued",
        ),
    ),
    Fault(
        "a cache written over",
        "caches_are_values",
        "decoding on after others wrote from the same cache: off by",
        patch(KeyValueBuffer, "fits", faults.overwrites),
        ("decoder", "prefix-decoder", "encoder-decoder"),
    ),
    Fault(
        "a cache shared between rows",
        "caches_are_values",
        "decoding from selected rows of a cache: off by",
        patch(KeyValues, "then", faults.shares_rows),
        ("decoder", "prefix-decoder"),
        (
            "forward_is_prefill_and_decode",
            "caches_last",
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "long_texts_are_read_alike",
        ),
    ),
    Fault(
        "positions off by one after prefill",
        "forward_is_prefill_and_decode",
        "logits of decoding 1 at a time, compared with those of one pass: off by",
        patch(Cache, "extend", faults.off_by_one),
        CAUSAL,
        (
            "caches_last",
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "a_given_start_is_continued",
            "long_texts_are_read_alike",
        ),
    ),
    Fault(
        "a blank canvas of another token",
        "forward_is_prefill_and_decode",
        "logits of decoding 1 at a time, compared with those of one pass: off by",
        patch(encoder, "MASK", lambda original: PAD),
        ("encoder",),
        (
            "caches_last",
            "writing_follows_scoring",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
        ),
    ),
    Fault(
        "first source token not read",
        "source_matters",
        "source token 0 has no influence on the logits",
        combined(everywhere("hidden", faults.hides_first), everywhere("prefill", faults.hides_first)),
        THREE,
    ),
    Fault(
        "the decoder sees no earlier token",
        "target_matters",
        "logits 1 do not depend on target token 0",
        causally(lambda distance: distance == 0),
        ("encoder-decoder",),
        ("visible_flops_are_counted",),
    ),
    Fault(
        "embedding scaled twice",
        "embedding_enters_once",
        "in one pass, input of the first block, compared with the embedding made from its parts: off by",
        combined(
            change(lambda model: setattr(model.embedding, "scale", 4.0)),
            patch(Embedding, "forward", faults.twice_scaled),
        ),
        THREE,
    ),
    Fault(
        "positions added twice",
        "embedding_enters_once",
        "input of the first block, compared with the embedding made from its parts: off by",
        patch(Embedding, "forward", faults.positions_twice),
        ("gpt2",),
    ),
    Fault(
        "likelihood that skips the end token",
        "the_end_is_scored",
        "three tokens and END are counted as 3 scored tokens",
        combined(
            patch(causal.Causal, "log_likelihood", faults.without_end),
            patch(Masked, "log_likelihood", faults.without_end),
        ),
        THREE,
        (
            "likelihood_sums_to_one",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "the_training_loss_is_the_likelihood",
        ),
    ),
    Fault(
        "END left out of the softmax's sum",
        "likelihood_sums_to_one",
        "the mass of all targets is",
        combined(patch(causal, "log_softmax", faults.end_unsummed), patch(masked, "log_softmax", faults.end_unsummed)),
        THREE,
        (
            "a_uniform_model_has_known_losses",
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "the_training_loss_is_the_likelihood",
        ),
    ),
    Fault(
        "target shifted twice in scoring",
        "writing_follows_scoring",
        "nats below the likeliest",
        patch(causal, "_shift", faults.shifted_twice),
        CAUSAL,
        (
            "sampling_follows_scoring",
            "beams_find_the_likeliest",
            "the_training_loss_is_the_likelihood",
        ),
    ),
    Fault(
        "source without its separator in writing",
        "writing_follows_scoring",
        "nats below the likeliest",
        patch(Masked, "generate", faults.writes_without_separator),
        ("encoder",),
        (
            "beams_find_the_likeliest",
            "rounds_fill_confident_cells_first",
        ),
    ),
    Fault(
        "loss counted twice",
        "a_uniform_model_has_known_losses",
        "training loss of a uniform model with smoothing 0.0: off by",
        patch(causal.Causal, "loss", lambda original: lambda self, *inputs: 2.0 * original(self, *inputs)),
        ("decoder",),
        ("a_uniform_model_has_a_known_source_loss", "the_training_loss_is_the_likelihood"),
    ),
    Fault(
        "source loss counted twice",
        "a_uniform_model_has_a_known_source_loss",
        "the loss of a uniform model is 9.",
        patch(causal.Causal, "prepare", faults.source_twice),
        ("decoder",),
        ("the_training_loss_is_the_likelihood",),
    ),
    Fault(
        "length penalty ignored",
        "beams_find_the_likeliest",
        "beam search writes a text whose score is",
        patch(
            generate, "_finish", lambda original: lambda done, scores, written, _: original(done, scores, written, 1)
        ),
        THREE,
    ),
    Fault(
        "top_p ignored",
        "samples_are_drawn_as_configured",
        "samples with top_p = 0.0001 are not the greedy answer",
        patch(generate, "truncate", lambda original: lambda logits, top_k=0, top_p=1.0: original(logits, top_k)),
        THREE,
    ),
    Fault(
        "start of an answer ignored",
        "a_given_start_is_continued",
        "greedy writing from the first 1 tokens continues with",
        combined(
            patch(causal, "decode_left_to_right", lambda original: lambda *inputs: original(*inputs[:-1])),
            patch(masked, "decode_left_to_right", lambda original: lambda *inputs: original(*inputs[:-1])),
        ),
        THREE,
    ),
    Fault(
        "one round, whatever was configured",
        "rounds_fill_confident_cells_first",
        "6 rounds write",
        patch(
            masked,
            "decode_iteratively",
            lambda original: lambda *inputs: original(*inputs[:-1], replace(inputs[-1], rounds=1)),
        ),
        ("encoder",),
    ),
    Fault(
        "FLOPs of cross-attention forgotten",
        "flops_are_counted",
        "FLOPs by formula, ",
        patch(Block, "flops", faults.without_cross),
        ("encoder-decoder",),
        ("training_flops_are_counted", "visible_flops_are_counted", "long_texts_are_read_alike"),
    ),
    Fault(
        "FLOPs of the output matrix forgotten",
        "flops_are_counted",
        "FLOPs by formula, ",
        patch(Head, "flops", lambda original: lambda self, outputs: 0.0 * outputs),
        THREE,
        ("training_flops_are_counted",),
    ),
    Fault(
        "FLOPs of one example at a time",
        "flops_are_counted",
        "TypeError: only ",
        patch(GatedFeedForward, "flops", lambda original: lambda self, tokens: original(self, int(tokens))),
        THREE,
    ),
    Fault(
        "a width in the formula",
        "flops_are_counted",
        "source 5, target 4: .* FLOPs by formula, ",
        patch(GatedFeedForward, "flops", compute_faults.narrow_formula),
        THREE,
        ("training_flops_are_counted",),
    ),
    Fault(
        "a product written as a sum",
        "flops_are_counted",
        "source 5, target 4: .* FLOPs by formula, ",
        compute_faults.down_by(compute_faults.PRODUCTS["broadcast and summed"]),
        THREE,
        ("training_flops_are_counted", "visible_flops_are_counted", "long_texts_are_read_alike"),
    ),
    Fault(
        "backward pass forgotten",
        "training_flops_are_counted",
        "native supervision: .* FLOPs of training by formula, ",
        combined(*(patch(module, "tripled", lambda original: lambda forward: forward) for module in (causal, masked))),
        THREE,
    ),
    Fault(
        "a second pass in training",
        "training_flops_are_counted",
        "native supervision: .* FLOPs of training by formula, ",
        everywhere("hidden", compute_faults.twice_in_training),
        THREE,
    ),
    Fault(
        "a second pass over padded batches",
        "training_flops_are_counted",
        "padded to source 5, target 6: .* FLOPs by formula, ",
        everywhere("hidden", compute_faults.twice_where_padded),
        THREE,
    ),
    Fault(
        "a second pass where there is dropout",
        "training_flops_are_counted",
        "source 5, target 6, dropout 0.1, mean of 2 steps: .* FLOPs of training by formula, ",
        everywhere("hidden", compute_faults.twice_with_dropout),
        THREE,
    ),
    Fault(
        "one pass counted for all tokens that are written",
        "flops_are_counted",
        "source 5, 4 tokens written: .* FLOPs by `answer_flops`, .* executed",
        patch(Masked, "answer_flops", lambda original: lambda self, model, s, t: original(self, model, s, t) / t),
        ("encoder",),
    ),
    Fault(
        "norms declared as tables",
        "tables_are_lookups",
        r"the tables .*norm.weight \(aten.native_layer_norm.default\).* are read as weights of a layer",
        compute_faults.declare_tables(
            lambda model: [p for part in model.modules() if isinstance(part, LayerNorm) for p in part.parameters()]
        ),
        THREE,
    ),
    Fault(
        "positions with a loss left out",
        "training_flops_are_counted",
        "native supervision: .* FLOPs of training by formula, ",
        combined(
            *(
                patch(kind, "loss_tokens", lambda original: lambda *inputs: original(*inputs) / 2)
                for kind in (causal.Causal, Masked)
            )
        ),
        THREE,
    ),
    Fault(
        "half of the visible pairs",
        "visible_flops_are_counted",
        "model FLOPs are declared as .* of the executed ones; with the pairs that attention uses they are ",
        combined(
            patch(decoder, "causal", compute_faults.half_of_pairs),
            patch(encoder, "mutual", compute_faults.half_of_pairs),
            patch(encoder_decoder, "mutual", compute_faults.half_of_pairs),
        ),
        ("encoder-decoder", "decoder", "encoder"),
    ),
    Fault(
        "a window that is declared and not used",
        "visible_flops_are_counted",
        r"source \d+, target \d+: model FLOPs are declared as .* of the executed ones; with the pairs that ",
        compute_faults.UNUSED_WINDOW,
        THREE,
    ),
    Fault(
        "layers in a plain list",
        "everything_is_registered",
        "not registered: extra",
        change(lambda model: setattr(model, "extra", [nn.Linear(4, 4)])),
        THREE,
    ),
    *(
        Fault(
            f"weights in {place}",
            "every_tensor_is_counted",
            r"tensors of shape \(32, 32\) ",
            compute_faults.weights_from(hold),
            THREE,
            () if place == "the first pass" else ("initial_weights_follow_the_seed",),
        )
        for place, hold in compute_faults.HOLDERS.items()
    ),
    Fault(
        "trained weights in a closure",
        "every_tensor_is_counted",
        r"tensors of shape \(32, 32\) get a gradient but are not parameters of the model",
        compute_faults.weights_from(compute_faults.trained_in_a_closure),
        THREE,
        ("initial_weights_follow_the_seed",),
    ),
    Fault(
        "weights from another generator",
        "building_is_repeatable",
        "built twice under one seed, these differ: embedding.weight",
        change(faults.numpy_weights),
        THREE,
    ),
    Fault(
        "layers drawn under a fixed seed",
        "initial_weights_follow_the_seed",
        "random tensors are the same under another seed",
        change(faults.fixed_weights),
        THREE,
    ),
    Fault(
        "a weight read while building",
        "a_plan_is_the_model",
        "cannot be called on meta tensors",
        change(lambda model: model.embedding.weight[0, 0].item()),
        THREE,
        ("constants_are_few",),
    ),
    Fault(
        "constant weights in a buffer",
        "constants_are_few",
        "the most in stack.blocks.0.feedforward.up",
        change(compute_faults.reservoir),
        ("decoder",),
    ),
    Fault(
        "look-ahead by twenty positions",
        "long_texts_are_read_alike",
        "when later (tokens|ones) change: off by",
        patch(GatedFeedForward, "forward", faults.adds_from_afar),
        ("decoder",),
    ),
    Fault(
        "FLOPs of long texts counted twice",
        "long_texts_are_read_alike",
        "FLOPs by formula",
        patch(GatedFeedForward, "flops", lambda original: lambda self, n: original(self, n) * (1 + (n > 100))),
        ("decoder", "encoder"),
    ),
    Fault(
        "depth fixed",
        "size_is_used",
        "1, 2 and 3 for `size.depth` give",
        ask(size=lambda x: replace(x, depth=2)),
        THREE,
    ),
    Fault(
        "width rounded up",
        "parameters_are_counted",
        "not linear",
        ask(size=lambda x: replace(x, hidden=-(-x.hidden // 8) * 8)),
        THREE,
    ),
    Fault(
        "token table counted",
        "parameters_are_counted",
        "the vocabulary changes `parameters`",
        patch(Embedding, "tables", lambda original: lambda self: []),
        THREE,
    ),
    Fault(
        "matrices declared as tables",
        "tables_are_lookups",
        "numbers of the table .*down.weight belong to no token and no position",
        compute_faults.declare_tables(compute_faults.last_matrices),
        THREE,
    ),
    Fault(
        "a memory declared as a table",
        "tables_are_lookups",
        "numbers of the table .*positions.weight belong to no token and no position",
        change(compute_faults.long_memory),
        ("gpt2", "encoder", "encoder-decoder"),
    ),
    Fault(
        "a matrix with a row for each token",
        "tables_are_lookups",
        "the tables .*matrix .* are read as weights of a layer before the output head",
        change(compute_faults.matrix_for_tokens),
        ("gpt2",),
    ),
    Fault(
        "statistics of batches",
        "training_changes_no_buffer",
        "a training step changes the buffers embedding.norm.mean",
        compute_faults.statistics_by(compute_faults.Statistics),
        THREE,
    ),
    Fault(
        "random numbers that are not saved",
        "weights_survive_saving",
        "logits after saving and loading: off by",
        change(lambda model: setattr(model.embedding, "norm", faults.Jitter(model.embedding.weight.shape[1]))),
        THREE,
    ),
    Fault(
        "tied weights silently untied",
        "ties_hold",
        "embedding.weight and head.weight start equal but are two parameters",
        change(faults.untie),
        ("gpt2", "encoder", "encoder-decoder"),
    ),
    Fault(
        "a module that is never called",
        "every_parameter_gets_a_gradient",
        "parameters that never get a gradient: idle.weight",
        change(lambda model: setattr(model, "idle", nn.Linear(4, 4, bias=False))),
        THREE,
        ("every_part_of_a_matrix_is_trained",),
    ),
    Fault(
        "embedding detached",
        "every_parameter_gets_a_gradient",
        "parameters that never get a gradient: embedding.weight",
        patch(Embedding, "forward", lambda original: lambda self, *inputs: original(self, *inputs).detach()),
        THREE,
    ),
    Fault(
        "half of a matrix unused",
        "every_part_of_a_matrix_is_trained",
        r"24 of 48 rows of [\w.]+.gate_up.weight never get a gradient",
        patch(GatedFeedForward, "forward", faults.gate_alone),
        THREE,
    ),
    Fault(
        "residual stream detached",
        "gradients_are_those_of_the_loss",
        "its gradient says",
        patch(PreNorm, "after", lambda original: lambda self, x, y: original(self, x.detach(), y)),
        THREE,
    ),
    Fault(
        "residual stream and sublayer of two precisions",
        "bfloat16_is_near",
        "RuntimeError: ",
        patch(PreNorm, "after", faults.adds_by_index),
        THREE,
        (
            "training_reads_as_scoring_does",
            "rows_are_apart",
            "no_look_ahead",
            "padding_is_invisible",
            "gradients_stay_in_place",
            "long_texts_are_read_alike",
        ),
    ),
    Fault(
        "logits far too small",
        "a_batch_can_be_learned",
        "after 300 steps on one batch the loss is still",
        patch(Head, "product", faults.too_small),
        ("decoder",),
    ),
)

CHECKS = {check.__name__: check for check in contract.CHECKS}
SLOWEST = "a_batch_can_be_learned"
PLANTED = [(fault, variant) for fault in FAULTS for variant in fault.variants]


def broken(build: faults.Build, names: Iterable[str]) -> dict[str, str]:
    """What fails among these checks, and what was found."""
    results = contract.results(build, checks=[CHECKS[name] for name in names])
    return {result.name: result.problem for result in results if result.problem is not None}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named_first_by_its_check(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    build = fault.plant(monkeypatch, catalogue.find(fault.variants[0]).build)
    problems = broken(build, [name for name in CHECKS if name in (fault.check, *fault.also) or name != SLOWEST])
    assert next(iter(problems)) == fault.check and set(problems) == {fault.check, *fault.also}
    assert re.search(fault.says, problems[fault.check])


@pytest.mark.parametrize(("fault", "variant"), PLANTED, ids=lambda value: getattr(value, "name", value))
def test_a_fault_is_named_by_its_check(fault: Fault, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problems = broken(fault.plant(monkeypatch, catalogue.find(variant).build), [fault.check])
    assert re.search(fault.says, problems[fault.check])


def test_every_check_names_some_fault() -> None:
    planted = {fault.check for fault in (*FAULTS, *test_reading_faults.EVERY)}
    assert planted | {*test_planted_variants.CHECKS.values()} == set(CHECKS)
