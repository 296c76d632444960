"""Objectives by which a model of each family is pretrained, and how it reads a window of running text.

Each window is rearranged into a source and a target, so that the model reads and writes as it will on tasks. ``own`` is
the usual objective of a family:

    decoder           causal            the next token (GPT); a family without a loss on its source writes the window
    prefix decoder    prefix            the part after a random split, which sees all of the part before it
    encoder           masked            tokens hidden, at a rate drawn for each window (BERT; 1904.09324);
                                        a prefix decoder can mix it with others on the same weights (GPT-BERT)
    encoder-decoder   span-corruption   the spans behind sentinels (T5, 1910.10683)
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from archbench.architectures.components import mask
from archbench.architectures.families.size import Limits
from archbench.architectures.objectives.causal_and_masked import CausalAndMasked
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Objective
from archbench.runs.training.batches import EncodedExamples
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import Prepared
from archbench.tasks.text.rearranged import ALL_SOURCE, ALL_TARGET, PREFIX, SPAN_CORRUPTION, Rearranged, Spans
from archbench.tasks.text.splits import Windows

OWN: Final = "own"
CAUSAL: Final = "causal"
MASKED: Final = "masked"

ObjectiveShares = Mapping[str, float]  # the probability that a window has each objective; they add up to 1


def usual_objective(model: Any) -> str:
    """The objective that ``own`` stands for in a model's family."""
    if not model.causal:
        return MASKED
    if model.source_predicts:
        return CAUSAL
    return PREFIX if model.family == "decoder" else SPAN_CORRUPTION


def resolved(model: Any, shares: ObjectiveShares, name: str) -> dict[str, float]:
    """The objectives with ``own`` replaced; raises ``InputError`` for one that the model ``name`` cannot carry."""
    known: dict[str, float] = {}
    for objective, share in shares.items():
        objective = usual_objective(model) if objective == OWN else objective
        known[objective] = known.get(objective, 0.0) + share
    for objective in known:
        if not _can_carry(model, objective):
            does = "predicts masked tokens" if _fills_in(model) else "predicts from left to right"
            carried = ", ".join(
                other for other in (CAUSAL, PREFIX, MASKED, SPAN_CORRUPTION) if _can_carry(model, other)
            )
            raise InputError(
                f"objective: {objective}: {name} {does}; choose one of {carried}, or leave {name} out of the "
                "pretraining's architectures"
            )
    if len(known) > 1 and MASKED in known and not _is_prefix_decoder(model):
        raise InputError(f"objective: {MASKED}: {name} cannot mix it with other objectives; a prefix decoder can")
    return known


def _can_carry(model: Any, objective: str) -> bool:
    if objective == CAUSAL:
        return not _fills_in(model)
    if objective == MASKED:
        return _fills_in(model) or _is_prefix_decoder(model)
    return objective in (PREFIX, SPAN_CORRUPTION)


def _fills_in(model: Any) -> bool:
    return isinstance(model.objective, Masked)


def _is_prefix_decoder(model: Any) -> bool:
    """True if a model that writes from left to right sees its source in both directions, with states for it."""
    return bool(model.causal and getattr(model, "mask", None) is mask.PREFIX)


def window_limits(shares: ObjectiveShares, usual: Limits) -> Limits:
    """The longest source and target in tokens: a whole window each where windows are split anywhere."""
    window = usual.source_length + usual.target_length
    anywhere = CAUSAL in shares or PREFIX in shares
    return replace(usual, source_length=window, target_length=window if anywhere else usual.target_length)


def has_source_loss(shares: ObjectiveShares) -> bool:
    """True if sources have a loss too (native supervision)."""
    return set(shares) <= {CAUSAL, MASKED}


def sentinel_count(context: int) -> int:
    """The labels that a window of ``context`` tokens needs for its spans."""
    return Spans(context).count


def pretraining_objective(model: Any, shares: ObjectiveShares, mask_rate: float | None) -> Objective:
    """The objective that a model is pretrained by, where that differs from its own.

    ``mask_rate`` is the part of the tokens that ``masked`` hides; None draws it uniformly for each window.
    """
    if _is_masked_alone(model, shares):
        joint: Objective = replace(model.objective, joint=True, rate=mask_rate)
        return joint
    return CausalAndMasked(mask_rate) if MASKED in shares else model.objective


def pretraining_windows(model: Any, prepared: Prepared, shares: ObjectiveShares) -> EncodedExamples:
    """The training windows as the model reads them: each rearranged by an objective that is drawn for it.

    With ``causal`` alone, a decoder reads windows that are split at random: source and target both have a loss. In a
    mixture a causal window is all target. A window to be masked is all source.
    """
    train = prepared.train
    if _is_masked_alone(model, shares):
        return train
    assert isinstance(train, Windows)
    windows = replace(train, source_length=0, target_length=train.stride)
    # Where sources have a loss too, a random split leaves every token a loss, and the model learns to read a source as
    # on tasks. Elsewhere the tokens of a source would have none, so a causal window is all target.
    causal_layout = PREFIX if model.source_predicts and len(shares) == 1 else ALL_TARGET
    window_layouts = {CAUSAL: causal_layout, MASKED: ALL_SOURCE}
    ways = tuple((window_layouts.get(objective, objective), share) for objective, share in shares.items())
    return Rearranged(windows, ways, prepared.tokenizer.label_ids)


def _is_masked_alone(model: Any, shares: ObjectiveShares) -> bool:
    return set(shares) == {MASKED} and not model.causal
