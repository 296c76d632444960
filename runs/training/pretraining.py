"""Pretraining: what a model of each family is pretrained by, and how its weights start another training.

A pretraining is a run on running text. Each window is rearranged into a source and a target, so that the model reads
and writes as it will on tasks; ``own`` is the usual objective of a family:

    decoder           causal            the next token (GPT); a family that has no loss on its source writes the window
    prefix decoder    prefix            the part after a random split, which sees the part before it both ways
    encoder           masked            tokens hidden at a rate drawn for each window (BERT; at any rate: 1904.09324);
                                        a prefix decoder can mix it with others on the same weights (GPT-BERT)
    encoder-decoder   span-corruption   the spans behind sentinels (T5, 1910.10683)
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from archbench.architectures.families.classifier import Classifier
from archbench.architectures.families.size import Limits, embedding_parameters
from archbench.architectures.objectives.both import CausalAndMasked
from archbench.architectures.objectives.masked import Masked
from archbench.runs.base.plan import from_json
from archbench.runs.base.store import read_json
from archbench.runs.base.weights import unpacked
from archbench.runs.experiment.sections import FINETUNE
from archbench.runs.training.batches import EncodedExamples
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import SPECIALS
from archbench.tasks.base.values import Prepared
from archbench.tasks.text.rearranged import FILLED, PREFIX, SPAN_CORRUPTION, WHOLE, Rearranged, Spans
from archbench.tasks.text.splits import Windows
from archbench.tasks.text.tokenizers import Tokenizer, load_tokenizer

OWN: Final = "own"
CAUSAL: Final = "causal"
MASKED: Final = "masked"

Shares = Mapping[str, float]  # of each objective
Weight = TypeVar("Weight")  # a tensor, or what stands for one


@dataclass(frozen=True)
class Pretrained:
    """The weights of a pretraining, the tokenizer that they belong to, and how they were trained.

    ``limits.source_length`` and ``target_length`` together are its window.
    """

    weights: Mapping[str, torch.Tensor]
    tokenizer: Tokenizer
    objective: Shares
    limits: Limits


def own(model: Any) -> str:
    """The usual objective of a model's family."""
    if not model.causal:
        return MASKED
    if model.source_predicts:
        return CAUSAL
    return PREFIX if model.family == "decoder" else SPAN_CORRUPTION


def resolved(model: Any, objective: Shares, name: str) -> dict[str, float]:
    """The objectives with ``own`` replaced; raises ``InputError`` for one that the model ``name`` cannot carry."""
    shares: dict[str, float] = {}
    for way, share in objective.items():
        known = own(model) if way == OWN else way
        shares[known] = shares.get(known, 0.0) + share
    fills, both = isinstance(model.objective, Masked), _reads_both_ways(model)
    for way in shares:
        if (way == MASKED) != fills and way not in (PREFIX, SPAN_CORRUPTION) and not (way == MASKED and both):
            reads = "fills in masked positions" if fills else "writes from left to right"
            raise InputError(f"objective: {way}: {name} {reads}; leave it out of architectures, or choose another")
    if len(shares) > 1 and MASKED in shares and not both:
        raise InputError(f"objective: {MASKED}: {name} cannot mix it with other objectives; a prefix decoder can")
    return shares


def _reads_both_ways(model: Any) -> bool:
    """Whether a model that writes from left to right sees its source in both directions, with states for it."""
    return bool(model.causal and getattr(model, "prefix", False))


def limits(objective: Shares, usual: Limits) -> Limits:
    """The longest source and target of a pretraining: a whole window each where it is split anywhere."""
    window = usual.source_length + usual.target_length
    anywhere = CAUSAL in objective or PREFIX in objective
    return Limits(usual.vocabulary, window, window if anywhere else usual.target_length)


def is_native(objective: Shares) -> bool:
    """Whether sources have a loss too."""
    return set(objective) <= {CAUSAL, MASKED}


def sentinels(context: int) -> int:
    """Labels that a window of ``context`` tokens needs for its spans."""
    return Spans(context).count


def applied(model: Any, prepared: Prepared, objective: Shares, rate: float | None) -> EncodedExamples:
    """Gives a model its pretraining objective; returns the training windows as it reads them.

    ``rate`` is the part of the tokens that ``masked`` hides (None: drawn uniformly).
    """
    train = prepared.train
    if set(objective) == {MASKED} and not model.causal:
        model.objective = replace(model.objective, joint=True, rate=rate)
        return train
    if MASKED in objective:
        model.objective = CausalAndMasked(rate)
    assert isinstance(train, Windows)
    windows = replace(train, source_length=0, target_length=train.stride)
    split = {CAUSAL: PREFIX if model.source_predicts and len(objective) == 1 else WHOLE, MASKED: FILLED}
    ways = tuple((split.get(way, way), share) for way, share in objective.items())
    return Rearranged(windows, ways, prepared.tokenizer.label_ids)


def adapted(model: Any, vocabulary: int, adapt: str) -> Any:
    """The model that a task trains: itself, or a new linear head on it; "frozen" trains that alone."""
    return model if adapt == FINETUNE else Classifier(model, vocabulary, adapt == "frozen")


def load(folder: Path, run: str) -> Pretrained:
    """The weights of the pretraining ``run`` in ``folder``; raises ``RuntimeError`` where it has none."""
    try:
        weights = unpacked((folder / "model.safetensors").read_bytes(), run)
        tokenizer = load_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
        made = from_json(read_json(folder / "plan.json"))
    except OSError as error:
        raise RuntimeError(f"its pretraining {run} has no weights: {error.strerror}; run the command again") from None
    return Pretrained(weights, tokenizer, made.objective, made.limits)


def start(model: Any, pretrained: Pretrained, tokenizer: Tokenizer) -> None:
    """Put pretrained weights into a model of the same size, the rows of a vocabulary token by token.

    Rows of labels stay as they were initialised, unless the labels are the same. Of a table of positions, the
    positions that both have are taken.
    Raises ``RuntimeError`` where the model has other weights, ``ValueError`` for tokens of another text.
    """
    if not pretrained.tokenizer.same_text(tokenizer):
        raise ValueError("the pretraining has another tokenizer")
    state, rows, left_out = model.state_dict(), _rows(pretrained.tokenizer, tokenizer), embedding_parameters(model)
    tables = {name for name, value in model.named_parameters(remove_duplicate=False) if id(value) in left_out}
    weights = converted(pretrained.weights, set(state))
    missing = set(state) ^ set(weights)
    if missing:
        raise RuntimeError(f"the pretrained weights are of another model: {', '.join(sorted(missing)[:3])} differ")
    for name, value in state.items():
        given = weights[name].to(value.device, value.dtype)
        sizes = tuple(part.shape[:1] for part in (given, value)) if name in tables else ()
        if sizes == ((pretrained.tokenizer.vocabulary,), (tokenizer.vocabulary,)):
            value[rows[1]] = given[rows[0]]
        elif given.shape == value.shape:
            value.copy_(given)
        elif name in tables and given.shape[1:] == value.shape[1:]:  # of positions
            count = min(len(given), len(value))
            value[:count] = given[:count]
        else:
            shapes = f"{tuple(given.shape)} and {tuple(value.shape)}"
            raise RuntimeError(f"the pretrained weights are of another size: {name} has the shapes {shapes}")


def converted(weights: Mapping[str, Weight], names: AbstractSet[str]) -> Mapping[str, Weight]:
    """Weights of one stack as those of an encoder-decoder's two, where ``names`` are of one; others as they are.

    Both stacks begin as the one that was trained; cross-attention begins as its self-attention (T5Gemma, 2504.06225).
    Between a decoder and an encoder, whose weights have the same names, nothing changes: dropping the causal mask is
    the conversion.
    """
    if not any(name.startswith("encoder.") for name in names) or any(name.startswith("encoder.") for name in weights):
        return weights
    renamed = {name: re.sub(r"^(encoder|decoder)\.", "stack.", name).replace("cross.", "attention.") for name in names}
    return {name: weights[old] for name in names if (old := renamed[name].replace("decoder_", "")) in weights}


def _rows(old: Tokenizer, new: Tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids of special tokens and of text, and of labels that are the same, in the old and in the new numbering."""
    if old.labels == new.labels:
        return torch.arange(old.vocabulary), torch.arange(new.vocabulary)
    pairs = [[*range(len(SPECIALS)), *tokenizer.text_ids] for tokenizer in (old, new)]
    return torch.tensor(pairs[0]), torch.tensor(pairs[1])
