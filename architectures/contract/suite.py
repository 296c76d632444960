"""All checks, and their results for a variant; their order puts the most telling fault first.

A check takes a ``Subject`` and raises ``BrokenError`` with its finding if the property fails; if the property has no
meaning for a model, it returns the reason. Users read its docstring: first the property, then why it matters and what
to do.
"""

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from archbench.architectures.catalogue.sandbox import limited
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
    learning,
    lengths,
    losses,
    noise,
    parameters,
    passes,
    recompute,
    repeats,
    sizes,
    unusual,
)
from archbench.architectures.contract.subject import BrokenError, Build, Subject, subject
from archbench.architectures.contract.trials import QUICK, Trials
from archbench.tasks.base.errors import is_signalled, one_line

Check = Callable[[Subject], str | None]

CHECKS: tuple[Check, ...] = (
    answers.limits_are_reached,
    answers.scoring_is_still,
    repeats.objectives_draw_from_their_generator,
    learning.bfloat16_is_near,
    learning.training_reads_as_scoring_does,
    capacity.training_changes_no_buffer,
    repeats.nothing_is_remembered,
    repeats.changed_weights_are_used,
    passes.inputs_are_only_read,
    answers.answers_are_allowed,
    passes.rows_are_apart,
    passes.no_look_ahead,
    passes.cross_attention_reads_the_source,
    passes.padding_is_invisible,
    passes.an_empty_source_is_none,
    caching.caches_are_values,
    caching.forward_is_prefill_and_decode,
    caching.caches_last,
    passes.source_matters,
    passes.target_matters,
    passes.embedding_enters_once,
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
    losses.selected_states_are_those_of_one_pass,
    losses.the_training_loss_is_the_likelihood,
    losses.losses_of_rows_add_up,
    losses.gradients_stay_in_place,
    compute.flops_are_counted,
    compute.training_flops_are_counted,
    compute.visible_flops_are_counted,
    lengths.long_texts_are_read_alike,
    unusual.unusual_texts_and_weights_are_read_alike,
    unusual.large_ids_are_read_alike,
    sizes.other_sizes_read_alike,
    sizes.deep_models_read_alike,
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


@dataclass(frozen=True)
class Result:
    """The result of a check: ``problem`` if its property fails, ``note`` if it does not apply, else neither."""

    check: Check
    problem: str | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        return str(self.check.__name__)


def results(build: Build, path: str = "", checks: Sequence[Check] = CHECKS, trials: Trials = QUICK) -> Iterator[Result]:
    """Runs every check on a new model, one at a time, on as many inputs as ``trials`` says.

    ``path`` is the variant's file; an error names the line of it that raised.
    """
    for check in checks:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            result = _result(check, build, path, trials)
        yield result


def property_of(check: Check) -> str:
    """The property, in a sentence."""
    return _paragraphs(check)[0]


def explanation(check: Check) -> str:
    """Why the property matters, and what to do if it fails."""
    return " ".join(_paragraphs(check)[1:])


def _result(check: Check, build: Build, path: str, trials: Trials) -> Result:
    try:
        with limited():
            return Result(check, note=check(subject(build, trials=trials)))
    except BrokenError as error:
        return Result(check, problem=" ".join(str(error).split()))
    except BaseException as error:
        if is_signalled(error):
            raise
        return Result(check, problem=_error_line(error, path))


def _error_line(error: BaseException, path: str) -> str:
    """``TypeError: what it says (mine.py:12)``, on one line of bounded length."""
    frames = traceback.extract_tb(error.__traceback__)
    variant_frames = [frame for frame in frames if path and frame.filename == path] or frames
    return f"{one_line(error)} ({variant_frames[-1].filename}:{variant_frames[-1].lineno})"


def _paragraphs(check: Check) -> list[str]:
    return [" ".join(text.split()) for text in (inspect.getdoc(check) or "").split("\n\n")]
