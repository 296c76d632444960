"""How the weights of a pretraining start another training: loaded, copied token by token, put into two stacks."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from archbench.architectures.families.classifier import Classifier
from archbench.architectures.families.size import Limits, embedding_parameters
from archbench.architectures.kernels.table import optimize
from archbench.runs.experiment.sections import FINETUNE, FROZEN
from archbench.runs.plans.plan import from_json
from archbench.runs.store.weights import unpacked
from archbench.runs.training.pretraining_objectives import ObjectiveShares
from archbench.tasks.base.example import SPECIALS
from archbench.tasks.base.sealed import read_json
from archbench.tasks.text.tokenizers import Tokenizer, load_tokenizer

Weight = TypeVar("Weight")  # a tensor, or what stands for one


@dataclass(frozen=True)
class PretrainedWeights:
    """The weights of a pretraining, the tokenizer that they belong to, and how they were trained.

    ``limits.source_length`` and ``target_length`` together are its window in tokens.
    """

    weights: Mapping[str, torch.Tensor]
    tokenizer: Tokenizer
    objective: ObjectiveShares
    limits: Limits


def load(folder: Path, run: str) -> PretrainedWeights:
    """The weights of the pretraining ``run`` in ``folder``; raises ``RuntimeError`` where it has none."""
    try:
        weights = unpacked((folder / "model.safetensors").read_bytes(), run)
        tokenizer = load_tokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"))
        made = from_json(read_json(folder / "plan.json"))
    except OSError as error:
        raise RuntimeError(f"its pretraining {run} has no weights: {error.strerror}; run the command again") from None
    return PretrainedWeights(weights, tokenizer, made.objective, made.limits)


def copy_weights(model: Any, pretrained: PretrainedWeights, tokenizer: Tokenizer, share: float = 1.0) -> None:
    """Put pretrained weights into a model of the same size, the rows of a vocabulary token by token.

    With a ``share`` below 1, each weight is this part of the pretrained one and the rest of its new one (1910.08475).

    Rows of labels stay as they were initialised, unless the labels are the same. Of a table of positions, the
    positions that both have are taken. What predicts lengths starts anew: a window's says nothing of an answer's.
    Raises ``RuntimeError`` where the model has other weights, ``ValueError`` for tokens of another text.
    """
    if not pretrained.tokenizer.same_text(tokenizer):
        raise ValueError("the pretraining has another tokenizer")
    state, rows, left_out = (
        _without_lengths(model.state_dict()),
        _rows(pretrained.tokenizer, tokenizer),
        embedding_parameters(model),
    )
    tables = {name for name, value in model.named_parameters(remove_duplicate=False) if id(value) in left_out}
    weights = weights_for_stacks(_without_lengths(pretrained.weights), set(state))
    if missing := set(state) ^ set(weights):
        raise RuntimeError(f"the pretrained weights are of another model: {', '.join(sorted(missing)[:3])} differ")
    for name, value in state.items():
        given = weights[name].to(value.device, value.dtype)
        sizes = tuple(part.shape[:1] for part in (given, value)) if name in tables else ()
        if sizes == ((pretrained.tokenizer.vocabulary,), (tokenizer.vocabulary,)):
            value[rows[1]] = _mixed(value[rows[1]], given[rows[0]], share)
        elif given.shape == value.shape:
            value.copy_(_mixed(value, given, share))
        elif name in tables and given.shape[1:] == value.shape[1:]:  # of positions
            count = min(len(given), len(value))
            value[:count] = _mixed(value[:count], given[:count], share)
        else:
            shapes = f"{tuple(given.shape)} and {tuple(value.shape)}"
            raise RuntimeError(f"the pretrained weights are of another size: {name} has the shapes {shapes}")


def _mixed(new: torch.Tensor, given: torch.Tensor, share: float) -> torch.Tensor:
    return new.lerp(given, share) if share < 1 and new.is_floating_point() else given


def _without_lengths(weights: Mapping[str, Weight]) -> dict[str, Weight]:
    return {name: weight for name, weight in weights.items() if not name.startswith("lengths.")}


def weights_for_stacks(weights: Mapping[str, Weight], names: AbstractSet[str]) -> Mapping[str, Weight]:
    """Weights of one stack as those of an encoder-decoder's two, where ``names`` are of one; others as they are.

    Both stacks begin as the one that was trained; cross-attention begins as its self-attention (T5Gemma, 2504.06225).
    Between a decoder and an encoder, whose weights have the same names, nothing changes: dropping the causal mask is
    the conversion.
    """
    if not any(name.startswith("encoder.") for name in names) or any(name.startswith("encoder.") for name in weights):
        return weights
    renamed = {name: re.sub(r"^(encoder|decoder)\.", "stack.", name).replace("cross.", "attention.") for name in names}
    return {name: weights[old] for name in names if (old := renamed[name].replace("decoder_", "")) in weights}


def with_head(model: Any, vocabulary: int, adapt: str) -> Any:
    """The model that a task trains: itself, or a new linear head on it; "frozen" trains that alone."""
    return model if adapt == FINETUNE else optimize(Classifier(model, vocabulary, adapt == FROZEN))


def _rows(old: Tokenizer, new: Tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """The ids of special tokens and of text, and of labels that are the same, in the old and in the new numbering."""
    if old.labels == new.labels:
        return torch.arange(old.vocabulary), torch.arange(new.vocabulary)
    pairs = [[*range(len(SPECIALS)), *tokenizer.text_ids] for tokenizer in (old, new)]
    return torch.tensor(pairs[0]), torch.tensor(pairs[1])
