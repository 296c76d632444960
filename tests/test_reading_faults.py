"""Innocent-looking bugs in training, caches, memory and chance are refused, and named by the property they break."""

import re
from dataclasses import dataclass, replace

import pytest
import rare_faults as rare
import reading_faults as faults
from compute_faults import statistics_by
from faults import CAUSAL, THREE, Plant, ask, change, patch

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.positions import Learned
from archbench.architectures.contract.trials import QUICK, USUAL, Trials
from archbench.architectures.objectives import generate
from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import Masked

CHECKS = {check.__name__: check for check in contract.CHECKS}
SLOWEST = {"a_batch_can_be_learned", "flops_are_counted"}


@dataclass(frozen=True)
class ReadingFault:
    """A bug in ``variant``: ``check`` names it first, saying ``says``; ``trials`` are enough to see it."""

    name: str
    check: str
    says: str
    plant: Plant
    variant: str = "decoder"
    trials: Trials = QUICK


FAULTS = (
    ReadingFault("a shared function replaced", "nothing_shared_is_changed", "silu", faults.replaces_shared_code),
    ReadingFault(
        "the mean of the batch is mixed in",
        "rows_are_apart",
        "logits of row 0 of a batch",
        faults.only(lambda model, x: len(x) > 1, faults.mixed),
    ),
    ReadingFault(
        "nine rows are mixed",
        "rows_are_apart",
        "logits of row 0 of a batch: 9 rows",
        faults.only(lambda model, x: len(x) > 8, faults.mixed),
        trials=USUAL,
    ),
    ReadingFault(
        "masks dropped where three rows have equal lengths",
        "rows_are_apart",
        "equal lengths and padding",
        faults.with_methods(hidden=faults.drops_even_masks),
        trials=USUAL,
    ),
    ReadingFault(
        "rows mixed in bfloat16",
        "rows_are_apart",
        "with other rows: .* in bfloat16",
        faults.only(lambda model, x: faults.in_bfloat16(model, x) and len(x) > 1, lambda x: x + 0.02 * x.mean(0)),
    ),
    ReadingFault(
        "statistics of the batch in training with gradients",
        "training_reads_as_scoring_does",
        "logits in training mode with gradients without dropout",
        faults.only(faults.with_gradients, faults.mixed),
        "encoder",
    ),
    ReadingFault(
        "look-ahead in training with gradients",
        "training_reads_as_scoring_does",
        "logits in training mode with gradients without dropout",
        faults.only(faults.with_gradients, faults.ahead),
        "encoder-decoder",
    ),
    ReadingFault(
        "look-ahead in bfloat16",
        "no_look_ahead",
        "when later tokens change in training mode with gradients in bfloat16",
        faults.only(faults.in_bfloat16, lambda x: faults.ahead(x, 0.02)),
    ),
    ReadingFault(
        "look-ahead in targets of 16 tokens",
        "no_look_ahead",
        "when later tokens change: off by",
        faults.only(lambda model, x: x.shape[1] == 16, faults.ahead),
        trials=USUAL,
    ),
    ReadingFault(
        "a cache that counts 64 steps",
        "caches_last",
        "logits of step 7",
        faults.counted(last=64),
        trials=USUAL,
    ),
    ReadingFault(
        "a cache that loses the order of rows moved often",
        "caches_last",
        "from a cache whose rows were reordered",
        faults.counted(most=3),
        "encoder-decoder",
    ),
    ReadingFault(
        "keys and values kept between calls",
        "nothing_is_remembered",
        "logits from a cache after many other passes, compared with those of a new model",
        faults.with_methods(prefill=faults.keeps_by_shape),
    ),
    ReadingFault(
        "states of a source kept while weights change",
        "changed_weights_are_used",
        "logits from a cache in evaluation mode after weights are loaded, compared with those of a new model",
        faults.with_methods(prefill=faults.keeps_sources, train=faults.forgets_sources),
        "encoder-decoder",
    ),
    ReadingFault(
        "calls are counted",
        "nothing_is_remembered",
        r"passes change model\.calls",
        faults.with_methods(hidden=faults.counts_calls),
    ),
    ReadingFault(
        "calls are counted in a global",
        "nothing_is_remembered",
        "passes change .*CALLS",
        faults.with_methods(hidden=faults.counts_in_a_global),
    ),
    ReadingFault(
        "layers left out by Python's chance",
        "a_training_step_repeats",
        "Python's `random`: it draws from there|gives another",
        faults.PYTHON,
    ),
    ReadingFault(
        "layers left out by NumPy's chance", "a_training_step_repeats", "numpy.random|gives another", faults.NUMPY
    ),
    ReadingFault(
        "layers left out by the clock", "a_training_step_repeats", "gives another", faults.CLOCK, trials=USUAL
    ),
    ReadingFault(
        "a pass that seeds PyTorch",
        "a_training_step_repeats",
        "a pass seeds PyTorch's generator itself",
        faults.with_methods(hidden=faults.seeds_itself),
    ),
    ReadingFault(
        "dropout ignored",
        "dropout_is_noise_in_training",
        "whatever is drawn",
        faults.NO_DROPOUT,
        "encoder",
    ),
    ReadingFault(
        "dropout bounded",
        "dropout_is_noise_in_training",
        "where `size.dropout` is 0.5, the rate of .* 0.03",
        faults.SMALLER_DROPOUT,
    ),
    ReadingFault(
        "dropout of a rate of its own",
        "dropout_is_noise_in_training",
        "where `size.dropout` is 0.001, the rate of .* 0.3",
        faults.OWN_DROPOUT,
    ),
    ReadingFault(
        "longer texts written without their beginning",
        "long_texts_are_read_alike",
        "decoding 130 tokens from a cache",
        faults.with_methods(decode=faults.drops_old_keys),
        trials=USUAL,
    ),
    ReadingFault(
        "an opening without a source read both ways",
        "long_texts_are_read_alike",
        "tokens from a cache, source 0",
        faults.with_methods(decode=faults.reads_openings_backwards),
    ),
    ReadingFault(
        "likelihood of the better half of a source",
        "likelihood_sums_to_one",
        "compared with the sum over its continuations",
        faults.objective(faults.BetterHalf),
        trials=USUAL,
    ),
    ReadingFault(
        "the same cells hidden in each step",
        "objectives_draw_from_their_generator",
        "the loss hides the same tokens",
        faults.objective(faults.AlwaysTheSame),
        "encoder",
    ),
    ReadingFault(
        "cells hidden by the global generator",
        "objectives_draw_from_their_generator",
        "differs between two draws",
        faults.objective(faults.DefaultGenerator),
        "encoder",
    ),
    ReadingFault(
        "training without END",
        "the_training_loss_is_the_likelihood",
        "END, 1 of 1 of a target, has no part in the training loss",
        faults.objective(faults.WithoutEnd),
    ),
    ReadingFault(
        "smoothing unasked",
        "the_training_loss_is_the_likelihood",
        "the training loss, compared with its definition",
        patch(Causal, "loss", faults.smoothed_loss),
    ),
    ReadingFault(
        "training on the hardest row",
        "losses_of_rows_add_up",
        "but with other rows by",
        faults.objective(faults.HardestRow),
        "encoder",
    ),
    ReadingFault(
        "likelihoods of long targets smoothed",
        "likelihood_sums_to_one",
        "likelihood of a text of 8 tokens",
        faults.objective(faults.SmoothedScores),
        trials=USUAL,
    ),
    ReadingFault(
        "likelihoods by the tokens that are allowed",
        "likelihood_sums_to_one",
        "2 of 5 words",
        faults.objective(faults.FewAnswers),
    ),
    ReadingFault(
        "a gradient to the next token",
        "gradients_stay_in_place",
        "sends a gradient to target token",
        faults.states(faults.straight_through),
    ),
    ReadingFault(
        "a gradient to another row",
        "gradients_stay_in_place",
        "sends a gradient to .* token .* of row",
        faults.states(faults.straight_through_rows),
        "encoder",
    ),
    ReadingFault(
        "other states for the source's loss",
        "selected_states_are_those_of_one_pass",
        "states of every second source token",
        faults.with_methods(hidden=faults.other_source_states),
    ),
    ReadingFault(
        "look-ahead with four heads",
        "other_sizes_read_alike",
        "no_look_ahead: logits before position 1.* 4 heads",
        faults.for_four_heads(faults.ahead),
        trials=USUAL,
    ),
    ReadingFault(
        "look-ahead in each sixth layer",
        "deep_models_read_alike",
        "no_look_ahead: logits before position 1.* depth 7",
        faults.each_sixth(faults.unmasked),
        trials=USUAL,
    ),
    ReadingFault(
        "values handed from layer to layer outside of the context",
        "recomputing_changes_nothing",
        "a layer computes other tensors the second time",
        change(faults.hands_on_outside_of_the_context),
    ),
    ReadingFault(
        "sampling colder than asked",
        "sampling_follows_scoring",
        "of samples are",
        patch(generate, "_choose", faults.colder),
        trials=USUAL,
    ),
    ReadingFault(
        "beams that end too early",
        "sampling_follows_scoring",
        "beams write",
        patch(generate, "_settled", lambda original: lambda *_: True),
    ),
    ReadingFault(
        "other tokens decoded from a cache see the first ones",
        "caches_are_values",
        "decoding other tokens from a cache that was used",
        faults.with_methods(decode=faults.remembers_the_first_branch),
    ),
    ReadingFault(
        "keys and values of every source in one workspace",
        "caches_are_values",
        "decoding from a cache after another source was read",
        faults.with_methods(prefill=faults.shares_a_workspace),
    ),
    ReadingFault(
        "the same cells hidden in every row",
        "the_training_loss_is_the_likelihood",
        "every row of a batch has its loss at the same places of its target: each has to draw by itself",
        patch(Masked, "_draw_mask", faults.same_for_every_row),
        "encoder",
    ),
    ReadingFault(
        "a canvas as long as the longest target of a batch",
        "losses_of_rows_add_up",
        "training reads 2 positions of a target of 2 tokens beside one of 2, 6 beside one of 6",
        faults.objective(faults.ShortCanvas),
        "encoder",
    ),
    ReadingFault(
        "never all cells hidden",
        "the_training_loss_is_the_likelihood",
        "of 3 cells 1, 2 are hidden in 64 draws; a bound needs every number",
        patch(Masked, "_draw_mask", faults.never_everything),
        "encoder",
    ),
    ReadingFault(
        "a mean over targets, not over tokens",
        "the_training_loss_is_the_likelihood",
        "a target of 2 tokens weighs 0.500 in the loss of a batch of 8 tokens, expected 0.250",
        faults.objective(faults.SequenceMean),
    ),
    ReadingFault(
        "a mean over targets of which cells are hidden",
        "a_uniform_model_has_known_losses",
        "estimate of a uniform model: off by",
        faults.objective(faults.MaskedSequenceMean),
        "encoder",
    ),
    ReadingFault(
        "dropout that is not divided by what it keeps",
        "dropout_is_noise_in_training",
        r"the mean of stack\.blocks\.\d\.dropout in training is 0\.3\d standard deviations off",
        faults.undivided_dropout,
    ),
    ReadingFault(
        "attention with a seed of its own",
        "initial_weights_follow_the_seed",
        r"2 of \d+ random tensors are the same under another seed",
        change(faults.seeds_its_attention),
    ),
    ReadingFault(
        "another gradient where the source has no loss",
        "gradients_are_those_of_the_loss",
        "the loss of the target alone changes by",
        faults.with_methods(hidden=faults.steep_without_source_loss),
    ),
    ReadingFault(
        "a feed-forward width of at most 60",
        "parameters_are_counted",
        "feed-forward widths 24, 25, 27, 54, 2053 give .*: not linear",
        ask(size=lambda size: replace(size, hidden=min(size.hidden, 60))),
    ),
    ReadingFault(
        "a table of positions among the parameters",
        "parameters_are_counted",
        "longer texts change `parameters`",
        patch(Learned, "tables", lambda original: lambda self: []),
        "gpt2",
    ),
    ReadingFault(
        "windows left out in bfloat16",
        "visible_flops_are_counted",
        "uses 100.0% of the pairs in bfloat16",
        patch(AttentionContext, "additive", lambda original: lambda self, window: original(self, None)),
        "modernbert",
    ),
)


def planted(
    check: str, says: str, *plants: tuple[str, Plant], variants: tuple[str, ...] = THREE, trials: Trials = QUICK
) -> tuple[ReadingFault, ...]:
    """The same bugs in each of the families where they apply."""
    return tuple(
        ReadingFault(f"{name}, {v}", check, says, plant, v, trials) for name, plant in plants for v in variants
    )


RARE = (
    *planted(
        "forward_is_prefill_and_decode",
        r"logits of decoding a batch \((5|8|9|16|33) rows",
        ("the mask of many rows forgotten", faults.with_methods(prefill=rare.forgets_the_mask)),
        trials=USUAL,
    ),
    *planted(
        "forward_is_prefill_and_decode",
        r"logits of decoding a batch \((5|8|9|16|33) rows",
        ("positions from the width of a batch of many rows", faults.with_methods(prefill=rare.counts_the_width)),
        variants=("decoder",),
        trials=USUAL,
    ),
    *planted(
        "large_ids_are_read_alike",
        "tokens .* are read alike",
        ("ids in a byte", rare.IN_BYTES),
    ),
    *planted(
        "large_ids_are_read_alike",
        "when later ones change|without those that follow",
        ("look-ahead from large ids", faults.states(rare.ahead_of_large_ids)),
        variants=CAUSAL,
    ),
    *planted(
        "large_ids_are_read_alike",
        "greedy writing of up to 12 tokens picks a token whose logit is inf",
        ("large ids always allowed", patch(generate, "_allowed", rare.adds_large_ids)),
    ),
    *planted(
        "large_ids_are_read_alike",
        "the training loss, compared with|has no part in the training loss",
        ("large labels without a loss", rare.with_objective(rare.without_large_labels)),
    ),
    *planted(
        "long_answers_are_greedy",
        "greedy writing of up to .* below the highest",
        ("beams for long answers", rare.with_objective(rare.beams_for_long_answers)),
        ("loops cut", rare.with_objective(rare.without_loops)),
        trials=USUAL,
    ),
    *planted(
        "the_training_loss_is_the_likelihood",
        "the training loss, compared with",
        ("losses of 20 nats at most", rare.limit_of_loss(lambda nats: nats.clamp(max=20.0))),
        ("a small number in the logarithm", rare.limit_of_loss(lambda nats: -((-nats).exp() + 1e-9).log())),
        ("losses that grow less and less", rare.limit_of_loss(lambda nats: nats - 2e-6 * nats**2)),
    ),
    *planted(
        "the_training_loss_is_the_likelihood",
        "likelihood, compared with the sum over plain logits|the training loss, compared with",
        ("likelihoods with a floor", rare.with_objective(rare.floored_likelihood)),
    ),
    *planted(
        "dropout_depends_on_chance_alone",
        "the noise of rows has a correlation of",
        ("a mask that rows share", rare.noise(rare.shared_by_rows)),
    ),
    *planted(
        "dropout_depends_on_chance_alone",
        "the noise of rows has a correlation of|other tokens in other rows",
        ("noise from other rows", rare.noise(rare.mixes_rows)),
    ),
    *planted(
        "dropout_depends_on_chance_alone",
        "draws from a generator of its own|calls torch.*manual_seed|without `nn.Dropout`, the same under two seeds",
        ("noise from a generator of its own", rare.noise(rare.from_a_generator)),
        ("noise from a seed of its own", rare.noise(rare.from_a_seed)),
        ("noise from the states", rare.noise(rare.from_the_states)),
    ),
    *planted(
        "dropout_depends_on_chance_alone",
        "logits vary by .* with padding",
        ("more noise beside padding", rare.noise(rare.from_padding)),
        variants=CAUSAL,
    ),
    *planted(
        "training_changes_no_buffer",
        "a training step changes the buffers embedding.norm.mean",
        ("a running mean in a declared buffer", statistics_by(rare.DeclaredStatistics)),
    ),
    *planted(
        "unusual_texts_and_weights_are_read_alike",
        "compared with those of scoring",
        ("fewer layers where the model is sure", rare.exits_early(rare.is_sure)),
        ("fewer layers where tokens agree", rare.exits_early(rare.tokens_agree)),
    ),
    *planted(
        "unusual_texts_and_weights_are_read_alike",
        "logits of a row",
        ("rows mixed where the model is sure", faults.states(rare.mixes_at_large_values)),
    ),
    *planted(
        "gradients_are_those_of_the_loss",
        "times the loss, the gradient of .* is not",
        ("clipping in the backward pass", rare.in_backward(rare.shrunk)),
        ("noise in the backward pass", rare.in_backward(rare.noisy)),
    ),
    *planted(
        "gradients_are_those_of_the_loss",
        "its gradient says",
        ("clipping in hooks of weights", change(rare.hooks_of_weights)),
        ("clipping in hooks of modules", change(rare.hooks_of_modules)),
    ),
    *planted(
        "gradients_are_those_of_the_loss",
        "in bfloat16 the gradient of .* is .* times that in float32",
        ("twice the gradient in bfloat16", faults.states(rare.doubled_in_bfloat16)),
    ),
    *planted(
        "gradients_are_those_of_the_loss",
        "a backward pass changes the weights",
        ("weights that decay in the backward pass", change(rare.decays_in_backward)),
    ),
    *planted(
        "gradients_are_those_of_the_loss",
        "hooks on the gradient of a tensor of shape",
        ("a hook on states", faults.states(rare.hooked_states)),
    ),
)
EVERY = (*FAULTS, *RARE)


def first_problem(build: object, until: str, trials: Trials) -> tuple[str, str]:
    """The first check that fails, up to this one, and what it found; only this one has more than quick trials."""
    for name, check in CHECKS.items():
        if name in SLOWEST:
            continue
        allowed = trials if name == until else QUICK
        for result in contract.results(build, checks=[check], trials=allowed):
            if result.problem is not None:
                return name, result.problem
        if name == until:
            break
    return "", ""


@pytest.mark.parametrize("fault", EVERY, ids=lambda fault: fault.name)
def test_a_fault_is_named_by_its_check(fault: ReadingFault, monkeypatch: pytest.MonkeyPatch) -> None:
    build = fault.plant(monkeypatch, catalogue.find(fault.variant).build)
    results = contract.results(build, checks=[getattr(contract, fault.check)], trials=fault.trials)
    problems = [result.problem for result in results]
    assert problems[0] is not None and re.search(fault.says, problems[0]), problems


@pytest.mark.slow
@pytest.mark.parametrize("fault", EVERY, ids=lambda fault: fault.name)
def test_a_fault_is_named_first_by_its_check(fault: ReadingFault, monkeypatch: pytest.MonkeyPatch) -> None:
    build = fault.plant(monkeypatch, catalogue.find(fault.variant).build)
    name, problem = first_problem(build, fault.check, fault.trials)
    assert name == fault.check, problem
    assert re.search(fault.says, problem), problem
