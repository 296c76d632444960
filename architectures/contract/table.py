"""All checks of the contract; their order puts the most telling fault first.

Most are a ``Property``: relations between two readings of a batch, with the modes and the batches that they are tried
in. A new one is an entry of this table. A relation that holds ``everywhere`` is tried on long and unusual texts and
large ids as well, a property of ``every_size`` in other models. The other checks are functions: they take a ``Subject``
and raise ``BrokenError`` with their finding, or return why they have no meaning for a model. Users read the text or
docstring: first the property, then why it matters and what to do.
"""

from collections.abc import Callable

from archbench.architectures.contract import (
    answers,
    caching,
    capacity,
    compute,
    decoding,
    estimates,
    gradients,
    guessing,
    initial_weights,
    inside,
    learning,
    losses,
    noise,
    parameters,
    reading,
    recompute,
    repeats,
    sizes,
    texts,
)
from archbench.architectures.contract.batches import examples, few_cells, ragged, shaped, single, small
from archbench.architectures.contract.modes import EXACT, HALF, MODES, OTHERS, TRAINING_BFLOAT16, WATCHED
from archbench.architectures.contract.relation import (
    Property,
    Relation,
    differ,
    near,
    near_on_average,
    over,
    same_count,
)
from archbench.architectures.contract.subject import Subject
from archbench.architectures.families.size import Size

Check = Callable[[Subject], str | None]

BEFORE: tuple[Check, ...] = (
    answers.limits_are_reached,
    answers.scoring_is_still,
    repeats.objectives_draw_from_their_generator,
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
    repeats.changed_weights_are_used,
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
    answers.likelihood_sums_to_one,
    guessing.a_uniform_model_has_known_losses,
    guessing.a_uniform_model_has_a_known_source_loss,
    estimates.estimates_average_to_the_likelihood,
    answers.writing_follows_scoring,
    answers.sampling_follows_scoring,
    decoding.beams_find_the_likeliest,
    decoding.samples_are_drawn_as_configured,
    decoding.a_given_start_is_continued,
    decoding.long_answers_are_greedy,
    decoding.rounds_fill_confident_cells_first,
    Property(
        "selected_states_are_those_of_one_pass",
        """`hidden(at=...)` equals `hidden` at the selected positions, and `logits` of these states equal `forward`.

        Training and scoring read states only at some positions, and models skip unused states. A shortcut for few, late
        or single positions must not change the states.
        """,
        Relation(reading.of_selected_tokens, shaped, EXACT, everywhere=True),
        every_size=True,
    ),
    losses.the_training_loss_is_the_likelihood,
    losses.losses_of_rows_add_up,
    losses.gradients_stay_in_place,
    compute.flops_are_counted,
    compute.training_flops_are_counted,
    compute.visible_flops_are_counted,
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
    parameters.weights_survive_saving,
    parameters.ties_hold,
    repeats.a_training_step_repeats,
    recompute.recomputing_changes_nothing,
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
    losses.the_training_loss_is_the_likelihood,
    losses.gradients_stay_in_place,
    recompute.recomputing_changes_nothing,
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
        Relation(texts.flops_as_on_random_texts, texts.unusual, agree=same_count),
    ),
    Property(
        "large_ids_are_read_alike",
        """Tokens of a large vocabulary are told apart, read, scored and written like those of a small one.

        Vocabularies of tasks have thousands of tokens. Look for an integer type or a table that is too small, a hash of
        ids, and rules for some tokens: ids of up to 2052 are tried. Take the number of tokens from `limits.vocabulary`.
        """,
        *over(ANYWHERE, texts.large_ids, near),
        Relation(texts.loss_of_large_ids, texts.large_ids),
        Relation(texts.states_of_all_tokens, texts.large_ids),
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


def layers_of(size: Size) -> Check:
    """The check of models with the heads and the depth of a planned ``size``."""

    def planned_layers_read_alike(case: Subject) -> None:
        """Models with the planned heads and depth have the same properties of a pass."""
        sizes.planned(case, size, SIZED)

    return planned_layers_read_alike
