"""The contract suite: what must hold for every variant, as small checks on a tiny random model."""

from archbench.architectures.contract.answers import (
    answers_are_allowed,
    likelihood_sums_to_one,
    limits_are_reached,
    sampling_follows_scoring,
    scoring_is_still,
    the_end_is_scored,
    writing_follows_scoring,
)
from archbench.architectures.contract.caching import caches_are_values, caches_last, forward_is_prefill_and_decode
from archbench.architectures.contract.capacity import (
    constants_are_few,
    every_tensor_is_counted,
    tables_are_lookups,
    training_changes_no_buffer,
)
from archbench.architectures.contract.compute import (
    flops_are_counted,
    planned,
    training_flops_are_counted,
    visible_flops_are_counted,
)
from archbench.architectures.contract.decoding import (
    a_given_start_is_continued,
    beams_find_the_likeliest,
    long_answers_are_greedy,
    rounds_fill_confident_cells_first,
    samples_are_drawn_as_configured,
)
from archbench.architectures.contract.estimates import estimates_average_to_the_likelihood
from archbench.architectures.contract.gradients import (
    every_part_of_a_matrix_is_trained,
    gradients_are_those_of_the_loss,
)
from archbench.architectures.contract.guessing import (
    a_uniform_model_has_a_known_source_loss,
    a_uniform_model_has_known_losses,
)
from archbench.architectures.contract.initial_weights import initial_weights_follow_the_seed
from archbench.architectures.contract.learning import (
    a_batch_can_be_learned,
    bfloat16_is_near,
    every_parameter_gets_a_gradient,
    training_reads_as_scoring_does,
)
from archbench.architectures.contract.lengths import long_texts_are_read_alike, texts_of
from archbench.architectures.contract.losses import (
    gradients_stay_in_place,
    losses_of_rows_add_up,
    of_form,
    selected_states_are_those_of_one_pass,
    the_training_loss_is_the_likelihood,
)
from archbench.architectures.contract.noise import dropout_depends_on_chance_alone
from archbench.architectures.contract.parameters import (
    a_plan_is_the_model,
    building_is_repeatable,
    everything_is_registered,
    parameters_are_counted,
    size_is_used,
    ties_hold,
    weights_survive_saving,
)
from archbench.architectures.contract.passes import (
    an_empty_source_is_none,
    cross_attention_reads_the_source,
    embedding_enters_once,
    inputs_are_only_read,
    no_look_ahead,
    padding_is_invisible,
    rows_are_apart,
    source_matters,
    target_matters,
)
from archbench.architectures.contract.recompute import recomputing_changes_nothing
from archbench.architectures.contract.repeats import (
    a_training_step_repeats,
    changed_weights_are_used,
    dropout_is_noise_in_training,
    nothing_is_remembered,
    objectives_draw_from_their_generator,
)
from archbench.architectures.contract.sizes import deep_models_read_alike, layers_of, narrow, other_sizes_read_alike
from archbench.architectures.contract.subject import LIMITS, SIZE, TOLERANCE, Subject, sequences, subject
from archbench.architectures.contract.suite import CHECKS, Check, Result, explanation, property_of, results
from archbench.architectures.contract.trials import QUICK, USUAL, Trials
from archbench.architectures.contract.unusual import large_ids_are_read_alike, unusual_texts_and_weights_are_read_alike

__all__ = [
    "CHECKS",
    "LIMITS",
    "QUICK",
    "SIZE",
    "TOLERANCE",
    "USUAL",
    "Check",
    "Result",
    "Subject",
    "Trials",
    "a_batch_can_be_learned",
    "a_given_start_is_continued",
    "a_plan_is_the_model",
    "a_training_step_repeats",
    "a_uniform_model_has_a_known_source_loss",
    "a_uniform_model_has_known_losses",
    "an_empty_source_is_none",
    "answers_are_allowed",
    "beams_find_the_likeliest",
    "bfloat16_is_near",
    "building_is_repeatable",
    "caches_are_values",
    "caches_last",
    "changed_weights_are_used",
    "constants_are_few",
    "cross_attention_reads_the_source",
    "deep_models_read_alike",
    "dropout_depends_on_chance_alone",
    "dropout_is_noise_in_training",
    "embedding_enters_once",
    "estimates_average_to_the_likelihood",
    "every_parameter_gets_a_gradient",
    "every_part_of_a_matrix_is_trained",
    "every_tensor_is_counted",
    "everything_is_registered",
    "explanation",
    "flops_are_counted",
    "forward_is_prefill_and_decode",
    "gradients_are_those_of_the_loss",
    "gradients_stay_in_place",
    "initial_weights_follow_the_seed",
    "inputs_are_only_read",
    "large_ids_are_read_alike",
    "layers_of",
    "likelihood_sums_to_one",
    "limits_are_reached",
    "long_answers_are_greedy",
    "long_texts_are_read_alike",
    "losses_of_rows_add_up",
    "narrow",
    "no_look_ahead",
    "nothing_is_remembered",
    "objectives_draw_from_their_generator",
    "of_form",
    "other_sizes_read_alike",
    "padding_is_invisible",
    "parameters_are_counted",
    "planned",
    "property_of",
    "recomputing_changes_nothing",
    "results",
    "rounds_fill_confident_cells_first",
    "rows_are_apart",
    "samples_are_drawn_as_configured",
    "sampling_follows_scoring",
    "scoring_is_still",
    "selected_states_are_those_of_one_pass",
    "sequences",
    "size_is_used",
    "source_matters",
    "subject",
    "tables_are_lookups",
    "target_matters",
    "texts_of",
    "the_end_is_scored",
    "the_training_loss_is_the_likelihood",
    "ties_hold",
    "training_changes_no_buffer",
    "training_flops_are_counted",
    "training_reads_as_scoring_does",
    "unusual_texts_and_weights_are_read_alike",
    "visible_flops_are_counted",
    "weights_survive_saving",
    "writing_follows_scoring",
]
