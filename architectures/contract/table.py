"""All checks of the contract; their order puts the most telling fault first.

Most are a ``Property``: relations between two readings, with the modes and the batches that they are tried in. A new
one is an entry of this table. A relation that holds ``everywhere`` is tried on long and unusual texts and
large ids as well, a property of ``every_size`` in other models. The other checks are functions: they take a ``Subject``
and raise ``BrokenError`` with their finding, or return why they have no meaning for a model. Users read the text or
docstring: first the property, then why it matters and what to do.
"""

from collections.abc import Callable
from dataclasses import replace

from archbench.architectures.contract import sizes
from archbench.architectures.contract.counts import capacity, compute, parameters
from archbench.architectures.contract.inputs import texts
from archbench.architectures.contract.inputs.batches import (
    examples,
    few_cells,
    ragged,
    shaped,
    single,
    small,
    to_answer,
    uniform,
    with_dropout,
)
from archbench.architectures.contract.modes import EXACT, HALF, MODES, OTHERS, TRAINING, TRAINING_BFLOAT16, WATCHED
from archbench.architectures.contract.passes import caching, inside, reading
from archbench.architectures.contract.relation import (
    Property,
    Relation,
    differ,
    equal_in_nats,
    equal_in_sum,
    identical,
    near,
    near_on_average,
    no_more,
    over,
    same_count,
)
from archbench.architectures.contract.scores import answers, decoding, estimates, guessing
from archbench.architectures.contract.subject import Subject, subject
from archbench.architectures.contract.training import (
    gradients,
    initial_weights,
    learning,
    losses,
    noise,
    recompute,
    repeats,
)
from archbench.architectures.families.size import Limits, Size

Check = Callable[[Subject], str | None]

LOSS = Property(
    "the_training_loss_is_the_likelihood",
    """\
    The training loss is the negative log-likelihood that the objective states, over all target tokens with END.

    A loss that skips tokens, weighs them differently or smooths them unasked trains for a task other than the one that
    is scored; so do limits, floors and a small number in the logarithm. The losses and likelihoods of `Causal` and
    `Masked` are recomputed from plain logits, small ones and logits of hundreds. Any other loss without random draws
    must equal the negative log-likelihood of the batch, divided by its tokens; one with random draws must weigh each
    target in proportion to its tokens, on average. A batch that is read in parts has the same loss and likelihoods.
    So a causal model has no auxiliary term, such as a z-loss or a balancing of experts.
    """,
    Relation(losses.every_token_counts),
    Relation(losses.loss_by_definition, examples, EXACT, agree=equal_in_nats),
    Relation(losses.loss_by_likelihood, examples, agree=equal_in_nats),
    Relation(losses.likelihood_by_definition, examples, agree=equal_in_nats),
    Relation(losses.loss_by_definition, texts.confidently_scored, (TRAINING,), agree=equal_in_nats),
    Relation(losses.loss_by_likelihood, texts.confidently_scored, agree=equal_in_nats),
    Relation(losses.likelihood_by_definition, texts.confidently_scored, agree=equal_in_nats),
    Relation(losses.loss_in_parts, texts.confidently_scored, agree=equal_in_nats),
    every_size=True,
)

BEFORE: tuple[Check, ...] = (
    answers.limits_are_reached,
    Property(
        "scoring_is_still",
        """\
        With dropout configured, repeated scoring and generation agree: evaluation has no randomness and keeps no state.

        Dropout applies in training only (`nn.Dropout`, or `p if self.training else 0.0`). A model must keep no state
        between calls, because it could change the next score, or return a scored target as an answer.
        """,
        Relation(answers.scored_and_answered_again, with_dropout),
    ),
    Property(
        "objectives_draw_from_their_generator",
        """An objective draws only from the generator that it is given.

        Training passes a new generator for each step, scoring one for each batch. With another source of randomness a
        run does not repeat; a generator seeded inside draws the same each time. Pass `generator` on to every
        `torch.rand`.
        """,
        Relation(repeats.drawn_again, agree=identical),
        Relation(repeats.drawn_from_other_generators, agree=differ),
    ),
    learning.bfloat16_is_near,
    Property(
        "training_reads_as_scoring_does",
        """Without dropout, a model in training mode computes what it computes in evaluation mode.

        Noise comes only from `size.dropout`, which an experiment sets for all architectures. The variant's own dropout
        rate, skipped layers, or BatchNorm (which mixes rows and looks ahead in training) would make the comparison
        unfair. The same is required with and without gradients, and in bfloat16.
        """,
        Relation(reading.in_another_mode, shaped, (*OTHERS, TRAINING_BFLOAT16), everywhere=True),
        Relation(reading.loss_in_training_mode, examples),
        every_size=True,
    ),
    capacity.training_changes_no_buffer,
    repeats.nothing_is_remembered,
    Property(
        "changed_weights_are_used",
        """After weights are loaded or changed in place, every later call uses the new weights.

        Training changes weights in place at every step, and scoring loads the best checkpoint into a model that was
        used before. Between calls, keep no values computed from weights, such as states of a source or merged matrices.
        """,
        Relation(repeats.after_weights_change, modes=EXACT),
    ),
    Property(
        "inputs_are_only_read",
        """A pass leaves tokens and masks unchanged, and accepts them when they are not contiguous in memory.

        A batch is used again, for the next epoch or the next score. On inputs, use `x = x + y`, not `x += y`, and
        `reshape` or `flatten` in place of `view`.
        """,
        Relation(reading.inputs_after_a_pass, ragged),
    ),
    answers.answers_are_allowed,
    Property(
        "rows_are_apart",
        """A row's logits and likelihood are the same alone and in a batch, with the same padding.

        Scores must not depend on the batch size. Look for statistics over the batch (BatchNorm), one row's mask used
        for all rows, or a `view` that mixes rows with positions. Batches of up to 33 rows are tried, in scoring and in
        training.
        """,
        Relation(reading.alone, shaped, EXACT, everywhere=True),
        Relation(reading.beside_others, shaped, HALF, everywhere=True),
        Relation(reading.likelihood_alone, examples),
        every_size=True,
    ),
    Property(
        "no_look_ahead",
        """No prediction depends on later tokens: neither a causal model's logits nor a token's likelihood.

        A model that sees the token to predict has an excellent loss but generates nonsense. The mask ensures causality
        (`CAUSAL`). Look for a target that was not shifted, a window or a convolution that reaches to the right, or, in
        an encoder, a cell that is scored while its token is on the canvas. One row is tried at a time, in scoring, in
        training and in bfloat16.
        """,
        Relation(reading.when_later_tokens_change, single, MODES, everywhere=True),
        Relation(reading.when_later_source_tokens_change, single, everywhere=True),
        Relation(reading.likelihood_of_continuations, small),
        every_size=True,
    ),
    inside.cross_attention_reads_the_source,
    Property(
        "padding_is_invisible",
        """Padding on either side of source or target does not change the logits at tokens, whatever its content.

        Otherwise a score depends on the other texts in the batch. Padding has no visible keys
        (`AttentionContext.present`) and does not count as a position (`count_positions`). Rows are tried one at a time,
        in scoring and in training.
        """,
        Relation(reading.with_more_padding, small, everywhere=True),
        Relation(reading.without_padding, shaped, EXACT),
        Relation(reading.with_other_padding, shaped, HALF),
        Relation(reading.likelihood_without_padding, examples),
        Relation(reading.loss_with_other_padding, examples),
        every_size=True,
    ),
    Property(
        "an_empty_source_is_none",
        """No source, a source without tokens and a source of only padding are equivalent.

        Unconditional generation has an empty source, alone or in a batch with others. A softmax over no keys gives NaN:
        a decoder then reads nothing before BOS, and an encoder reads a single BOS.
        """,
        Relation(reading.empty_sources, small),
        Relation(reading.without_source, shaped, EXACT),
    ),
    Property(
        "caches_are_values",
        """Decoding and reading another source leave a cache unchanged, and rows of a cache are independent.

        Beam search and sampling decode from one cache many times and select rows of it. `decode` must return a new
        cache and leave the old one unchanged. `cache.rows(index)` must select from everything in the cache: keys and
        values, the mask, positions, lengths, and the memory of cross-attention.
        """,
        Relation(caching.from_a_used_cache, ragged),
    ),
    Property(
        "forward_is_prefill_and_decode",
        """One pass over everything equals reading the sources and decoding one or several tokens at a time.

        `forward` trains a model; `prefill` and `decode` generate with it. Where they differ, the model that generates
        is not the model that was trained. The usual causes: positions that do not continue where each row's source
        ended (they count its tokens, not padding and not the width of the batch), a mask that treats cached keys
        differently, and a state that `cache.rows` does not select. Batches of up to 33 rows are tried, with padding on
        every side.
        """,
        Relation(reading.decoded, ragged, everywhere=True),
        Relation(reading.decoded, ragged, (WATCHED,)),
        Relation(reading.decoded, few_cells),
        every_size=True,
    ),
    Property(
        "caches_last",
        """A cache stays correct over many steps while its rows are repeated, reordered and dropped as in beam search.

        Three faults appear only after several steps: memory allocated for a fixed number of tokens, rows moved in only
        some tensors, and masks kept from the first batch. The logits are compared with those of one pass over all
        generated tokens.
        """,
        Relation(caching.from_reordered_rows, small),
        every_size=True,
    ),
    Property(
        "source_matters",
        """Changing any token of the source changes the logits.

        If part or all of the source is ignored, classification and translation are guesses. Look for a mask that hides
        it, or a window too small for the depth.
        """,
        Relation(reading.with_another_source_token, small, agree=differ),
    ),
    Property(
        "target_matters",
        """The next token's prediction depends on the token just generated and on the one before it.

        A model that does not read its own output repeats itself. Look for a target that was shifted twice (the
        objective puts BOS in front), or a causal mask that hides earlier tokens.
        """,
        Relation(reading.with_another_target_token, small, agree=differ),
    ),
    Property(
        "embedding_enters_once",
        """\
        The first block reads each token's row of the table, with scale, segment, positions and norm each applied once.

        Scale, segments, norm and positions belong to `Embedding`; a family or variant that applies one of them again
        trains a model other than its name says.
        """,
        Relation(reading.inputs_of_stacks, small),
        otherwise="its blocks are not the shared ones",
    ),
    answers.the_end_is_scored,
    Property(
        "likelihood_sums_to_one",
        """\
        Over a vocabulary small enough to enumerate, the probabilities of all ended and all cut-off targets sum to 1.

        Otherwise it is not a likelihood, and bits per byte are meaningless. A sum above 1: the model saw the token to
        predict, or some token was not scored. A sum below 1: tokens that cannot be generated have probability. Also
        tried: one and two targets at a time, other vocabularies and lengths, few allowed tokens, and whether the
        likelihood of a long target is the sum over its continuations.
        """,
        Relation(answers.mass_of_all_targets),
        Relation(answers.likelihood_of_long_continuations, agree=equal_in_sum),
    ),
    Property(
        "a_uniform_model_has_known_losses",
        """\
        With all parameters zero, loss, likelihood and estimate are log(number of allowed tokens) nats per token.

        They then have the same meaning in every architecture. Look for a missing weight, a softmax over other tokens,
        or a mean in place of a sum. The loss of masked tokens may weigh them otherwise where the objective says so.
        """,
        Relation(guessing.losses_of_guessing, uniform),
    ),
    Property(
        "a_uniform_model_has_a_known_source_loss",
        """\
        With all parameters zero, native supervision adds log(vocabulary) nats per predicted source token to the loss.

        Native supervision (`native=True`) is a mean over the predicted source tokens. Without a source loss it has no
        weight; with a sum in place of a mean it outweighs the target.
        """,
        Relation(guessing.source_loss_of_guessing, uniform),
        otherwise="it has no loss on its source",
    ),
    estimates.estimates_average_to_the_likelihood,
    Property(
        "writing_follows_scoring",
        """Greedy decoding picks the token to which scoring gives the highest likelihood, at every step.

        `generate` and `log_likelihood` must condition on the same source and on the tokens generated so far.
        """,
        Relation(answers.scores_of_greedy_tokens, to_answer, agree=equal_in_sum),
    ),
    answers.sampling_follows_scoring,
    decoding.beams_find_the_likeliest,
    Property(
        "samples_are_drawn_as_configured",
        """Samples use only the given generator and differ between calls; the most restrictive settings are greedy.

        A temperature near zero, one candidate (`top_k`) or almost no probability mass (`top_p`) leaves only the
        likeliest token. The same seed gives the same samples; the next call with the same generator gives others.
        """,
        Relation(decoding.samples_again, agree=identical),
        Relation(decoding.samples_of_the_next_call, agree=differ),
    ),
    Property(
        "a_given_start_is_continued",
        """A given start is continued like the same tokens if generated, greedily and with one beam.

        A user may give the first tokens of an answer (`start`). The model reads them, but they are not part of the
        result.
        """,
        Relation(decoding.continued, agree=identical),
    ),
    decoding.long_answers_are_greedy,
    Property(
        "rounds_fill_confident_cells_first",
        """Each round of decoding fills the open cells whose likeliest tokens have the highest probabilities.

        One round fills all cells from one pass; with as many rounds as cells, each fills one cell (Mask-Predict,
        1904.09324).
        """,
        Relation(decoding.filled_in_rounds, agree=identical),
        otherwise="it writes from left to right alone",
    ),
    Property(
        "selected_states_are_those_of_one_pass",
        """`hidden(at=...)` equals `hidden` at the selected positions, and `logits` of these states equal `forward`.

        Training and scoring read states only at some positions, and models skip unused states. A shortcut for few, late
        or single positions must not change the states.
        """,
        Relation(reading.of_selected_tokens, shaped, EXACT, everywhere=True),
        every_size=True,
    ),
    LOSS,
    Property(
        "losses_of_rows_add_up",
        """\
        The loss of a batch is a sum over its rows: no row's share depends on the content or length of another.

        With contrasts between rows, statistics over the batch, weights by rank, or a canvas that ends with the longest
        target of the batch, a row's loss would depend on the other rows.
        """,
        Relation(losses.changes_of_one_row, modes=(TRAINING,)),
        Relation(losses.positions_read_in_training, agree=identical),
    ),
    losses.gradients_stay_in_place,
    Property(
        "flops_are_counted",
        """\
        The executed FLOPs of a pass are within 1% of the counted ones; decoding executes the FLOPs of `answer_flops`.

        Budgets match FLOPs by formula. Every module with a matrix product has `flops`, and its parent adds them up. A
        model whose formula omits a part is trained for longer than the others. Every product of matrices or vectors
        counts, even one that is written as a broadcast multiplication and a sum, or one that runs in training only.
        Take widths from the weights (`linear.in_features`), not from numbers in the code. For arrays of lengths, return
        the FLOPs of each length. The report compares the cost of answers: `objective.answer_flops` counts every pass
        that generates one. By default the FLOPs of an answer are those of one pass over it: decoding must not cost more
        per token than that.
        """,
        Relation(reading.flops_by_formula, compute.of_two_sizes, (WATCHED,), agree=same_count),
        Relation(compute.flops_of_answers, compute.of_two_sizes, agree=no_more),
        Relation(compute.flops_of_many),
    ),
    Property(
        "training_flops_are_counted",
        """A training step, forward and backward, executes at most 1% more FLOPs than counted, at two sizes.

        A FLOPs budget counts `objective.training_flops`. Steps on the training loss are measured with and without
        source loss, with dropout, on padded batches and under bfloat16 autocast. A second pass, a recomputed layer or a
        backward pass that the formula omits is uncounted work: add it to the formula.
        """,
        Relation(compute.flops_of_steps, agree=no_more),
        Relation(compute.flops_of_padded_steps, modes=(TRAINING, TRAINING_BFLOAT16), agree=no_more),
        Relation(compute.mean_flops_of_steps, agree=no_more),
    ),
    Property(
        "visible_flops_are_counted",
        """Model FLOPs count at least every (query, key) pair that attention uses, in short and longer texts.

        Budgets match model FLOPs, which exclude masked pairs. A pair is used if the gradient of a module's output at
        one position with respect to its input at another is not zero. Declare the pairs that the mask allows
        (`pairs(self.window)`), and count products with weights in full. A layer without pairs, such as a recurrence,
        ignores `pairs` and counts all that it executes. A model that declares fewer pairs than it uses is trained for
        longer than the others.
        """,
        Relation(compute.visible_flops, compute.attended, agree=no_more),
    ),
)

AFTER: tuple[Check, ...] = (
    parameters.everything_is_registered,
    capacity.every_tensor_is_counted,
    parameters.building_is_repeatable,
    parameters.a_plan_is_the_model,
    parameters.parameters_are_counted,
    capacity.tables_are_lookups,
    capacity.constants_are_few,
    parameters.size_is_used,
    initial_weights.initial_weights_follow_the_seed,
    Property(
        "weights_survive_saving",
        """A model loaded from a saved one gives the same logits, and so does a copy.

        Scoring loads the best checkpoint. Everything that a model learns or draws must be a parameter or a persistent
        buffer, not a plain attribute.
        """,
        Relation(parameters.after_saving),
    ),
    parameters.ties_hold,
    Property(
        "a_training_step_repeats",
        """A training step with dropout repeats bit by bit from its seed, whatever the clock and other generators say.

        Resumed and repeated runs rely on this. Draw from PyTorch's default generator, which is seeded at every step
        (`torch.rand`, `nn.Dropout`), not from `random`, `numpy.random`, the clock or a generator of your own, and never
        seed it in a pass.
        """,
        Relation(repeats.steps_again, with_dropout, agree=identical),
    ),
    Property(
        "recomputing_changes_nothing",
        """With `training.recompute` a training step has the same loss and the same gradients, with dropout too.

        The setting saves memory and is no part of a run's name. A block then runs twice, and the second time finds its
        inputs and `context` as they were before the first. Keep what one layer leaves to another in
        `context.kept`, not in attributes, closures or globals: they may hold other values when the block runs again.
        """,
        Relation(recompute.recomputed, modes=(TRAINING, TRAINING_BFLOAT16), agree=identical),
        otherwise="its layers are not in a `Stack`, and nothing else recomputes",
        every_size=True,
    ),
    repeats.dropout_is_noise_in_training,
    noise.dropout_depends_on_chance_alone,
    learning.every_parameter_gets_a_gradient,
    gradients.every_part_of_a_matrix_is_trained,
    gradients.gradients_are_those_of_the_loss,
    learning.a_batch_can_be_learned,
)

ANYWHERE = tuple(
    relation
    for check in (*BEFORE, *AFTER)
    if isinstance(check, Property)
    for relation in check.relations
    if relation.everywhere
)
SIZED: tuple[Check, ...] = (
    *(check for check in (*BEFORE, *AFTER) if isinstance(check, Property) and check.every_size),
    losses.gradients_stay_in_place,
)
LONG = (  # on long texts, beside those that hold anywhere
    Relation(reading.with_gradients_in_bfloat16, agree=near_on_average),
    Relation(reading.decoded_without_source),
    Relation(reading.flops_by_formula, modes=(WATCHED,), agree=same_count),
)


def other_sizes_read_alike(case: Subject) -> str | None:
    """Models of other widths, heads, depths and vocabularies have the same properties of a pass.

    The models that `compare` trains are larger than those checked: a number that fits one size only (a head count, a
    width, the number of tokens) fails at another. Take every number from `size` and `limits`.
    """
    return sizes.tried(case, sizes.SIZES, SIZED)


def deep_models_read_alike(case: Subject) -> str | None:
    """Models of 7 and of 12 layers have the same properties of a pass.

    A layer may differ from the others by its number: each third, or the last of many. Look at code that depends on that
    number or on `size.depth`; `compare` tries the heads and the depth of its runs as well.
    """
    return sizes.tried(case, sizes.DEEP, SIZED)


ELSEWHERE: tuple[Check, ...] = (
    Property(
        "long_texts_are_read_alike",
        """\
        Look-ahead, padding, caches and FLOPs are right for texts of 150 and more tokens, and for targets of one token.

        A window, a table of positions or a shortcut may take effect only from a certain length. Look at code that
        depends on the number of tokens; `compare` tries the lengths of its tasks as well.
        """,
        *over((*ANYWHERE, *LONG), texts.long),
        Relation(reading.without_padding, texts.crowded, EXACT),
    ),
    Property(
        "unusual_texts_and_weights_are_read_alike",
        """Repeated texts and confident, large or trained weights leave every property of a pass as it is.

        A model may leave layers out where it is sure or where tokens agree, limit what it computes, or mix rows at
        large values only: scores then come from another model than the one that was trained, or from fewer FLOPs than
        it declares. Logits of hundreds, sharp attention and weights after training are tried on random, repeated and
        copied texts. Compute the same for every input, and subtract the largest value before an exponential.
        """,
        *over(ANYWHERE, texts.unusual, near),
        Relation(compute.flops_as_on_random_texts, texts.unusual, agree=same_count),
    ),
    Property(
        "large_ids_are_read_alike",
        """Tokens of a large vocabulary are told apart, read, scored and written like those of a small one.

        Vocabularies of tasks have thousands of tokens. Look for an integer type or a table that is too small, a hash of
        ids, and rules for some tokens: ids of up to 2052 are tried. Take the number of tokens from `limits.vocabulary`.
        """,
        *over(ANYWHERE, texts.large_ids, near),
        Relation(losses.loss_by_definition, texts.large_ids, (TRAINING,), agree=equal_in_nats),
        Relation(losses.loss_by_likelihood, texts.large_ids, agree=equal_in_nats),
        Relation(losses.likelihood_by_definition, texts.large_ids, agree=equal_in_nats),
        Relation(losses.every_token_counts, texts.large_ids),
        Relation(decoding.answers_of_large_ids, texts.large_ids),
        Relation(reading.states_of_all_tokens, texts.large_ids),
    ),
    other_sizes_read_alike,
    deep_models_read_alike,
)
CHECKS: tuple[Check, ...] = (*BEFORE, *ELSEWHERE, *AFTER)


def texts_of(source: int, target: int, size: Size) -> Check:
    """The check of texts of up to these lengths, in models of a size."""
    return Property(
        "texts_are_read_alike",
        "Look-ahead, padding, caches and FLOPs are right in texts as long as the task's.",
        *over((*ANYWHERE, *LONG), texts.as_long_as(source, target, size)),
    )


def of_form(form: Limits) -> Check:
    """The check of the loss with the mask order, mask weights and canvas of planned runs."""

    def planned_loss_is_defined(case: Subject) -> None:
        """The training loss is the one that the objective states, with the masks, weights and canvas of the run.

        `limits` say how an encoder learns; its objective and the length of its canvas have to follow them.
        """
        learned = {key: getattr(form, key) for key in ("mask_order", "mask_weights", "canvas")}
        limits = replace(case.limits, **learned)
        LOSS(subject(case.build, case.size, limits, trials=case.trials))

    return planned_loss_is_defined


def layers_of(size: Size) -> Check:
    """The check of models with the heads and the depth of a planned ``size``."""

    def planned_layers_read_alike(case: Subject) -> None:
        """Models with the planned heads and depth have the same properties of a pass."""
        sizes.planned(case, size, SIZED)

    return planned_layers_read_alike
