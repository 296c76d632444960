"""Inputs and outputs of ``generate`` in ``transformers``, converted from and to those of our objectives.

prompt      a  b  BOS  c       source, BOS, and a start where the answer is begun already
returned    a  b  BOS  c  d  END  PAD
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from archbench.architectures.components.states import States, as_bool, mask_or_ones
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, PAD

HONOURED = {"do_sample", "length_penalty", "max_length", "max_new_tokens", "num_beams", "suppress_tokens"}
HONOURED |= {"temperature", "top_k", "top_p"}
NUMBERS: dict[str, tuple[Callable[[Any], bool], str]] = {  # whether one is in order, and what is expected
    "num_beams": (lambda n: isinstance(n, int) and n >= 1, "a whole number, 1 or more"),
    "temperature": (lambda t: 0 < t < math.inf, "a number above 0; do_sample=False takes the likeliest token"),
    "top_k": (lambda k: isinstance(k, int) and k >= 0, "a whole number, 0 (all tokens) or more"),
    "top_p": (lambda p: 0 < p <= 1, "a number above 0, at most 1"),
    "length_penalty": (math.isfinite, "a number"),
}
FIXED = {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": PAD, "decoder_start_token_id": BOS}
IDLE = {"transformers_version", "use_cache"}


@dataclass(frozen=True)
class Prompts:
    """Prompts (b, t): ``read`` (b, t) is True at the source, ``begun`` (b, t) at BOS and what follows it."""

    tokens: Tensor
    read: Tensor
    begun: Tensor

    def joined(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Source, target and their masks for a forward pass, cut to what is needed."""
        last, first = self._edges()
        return self.tokens[:, :last], self.tokens[:, first:], self.read[:, :last], self.begun[:, first:]

    def apart(self, states: States) -> Tensor:
        """States (b, t, d) of the prompts from those of their sources and targets."""
        last, first = self._edges()
        whole = states.target.new_zeros(*self.tokens.shape, states.target.shape[-1])
        whole[:, first:] = states.target
        if states.source is not None:
            whole[:, :last] = torch.where(self.read[:, :last, None], states.source, whole[:, :last])
        return whole

    def sources(self) -> tuple[Tensor, Tensor | None]:
        """The sources (b, s) and their mask, None without padding."""
        last, _ = self._edges()
        mask = self.read[:, :last]
        return self.tokens[:, :last], None if bool(mask.all()) else mask

    def start(self) -> Tensor | None:
        """Answer tokens after BOS (b, m), None where there are none; raises ``InputError`` where m differs."""
        counts = self.begun.sum(1)
        if int(counts.min()) != int(counts.max()):
            raise InputError("generate: all prompts must have the same number of answer tokens")
        width = int(counts[0])
        return self.tokens[self.begun].view(-1, width)[:, 1:] if width > 1 else None

    def _edges(self) -> tuple[int, int]:
        """Where the last source ends and the first target begins."""
        columns = self.begun.long().argmax(1)
        return (int(columns.max()) if bool(self.read.any()) else 0), int(columns.min())


def prompt_tokens(input_ids: Tensor | None, settings: dict[str, Any]) -> Tensor:
    """The prompts of a call, which may name them ``inputs`` as well; that is taken out of ``settings``."""
    inputs = settings.pop("inputs", None)
    if (input_ids is None) == (inputs is None):
        raise InputError("generate: give the prompts as input_ids or as inputs, not both")
    tokens: Tensor = inputs if input_ids is None else input_ids
    return tokens


def split(tokens: Tensor, mask: Tensor | None) -> Prompts:
    """Cut prompts (b, t) at their last BOS, which never comes out of text; raises ``InputError`` where one has none."""
    present = mask_or_ones(tokens, as_bool(mask))
    positions = torch.arange(tokens.shape[1], device=tokens.device)
    last = torch.where(present & (tokens == BOS), positions, -1).amax(1, keepdim=True)
    if bool((last < 0).any()):
        raise InputError("a prompt lacks <bos>, which begins the answer; encode it with the tokenizer of this model")
    return Prompts(tokens, present & (positions < last), present & (positions >= last))


def decoding(config: Any, changes: dict[str, Any], prompt: int, room: int) -> Decoding:
    """How ``generate`` chooses: a ``GenerationConfig``, and what was changed of it in the call.

    ``prompt`` tokens count in ``max_length``, not in ``max_new_tokens``; without either, ``room`` tokens are written.
    Raises ``InputError`` naming what we do not have.
    """
    wanted = _settings(config, changes)
    longest = wanted.get("max_new_tokens")
    if longest is None:
        longest = room if wanted.get("max_length") is None else wanted["max_length"] - prompt
    if not isinstance(longest, int) or not 1 <= longest <= room:
        raise InputError(f"generate: {longest} new tokens requested; expected 1 to {room} after this prompt")
    for name, (fits, expected) in NUMBERS.items():
        value = wanted.get(name)
        if value is not None and not (isinstance(value, int | float) and not isinstance(value, bool) and fits(value)):
            raise InputError(f"generate: {name} = {value!r}; expected {expected}")
    beams = wanted.get("num_beams") or 1
    sampled = {key: wanted[key] for key in ("temperature", "top_k", "top_p") if wanted.get(key) is not None}
    if beams > 1 and wanted.get("do_sample"):
        raise InputError("generate: sampling with beams is not supported; pass do_sample=False, or leave num_beams out")
    strategy = "beam" if beams > 1 else "sample" if wanted.get("do_sample") else "greedy"
    penalty = 1.0 if wanted.get("length_penalty") is None else wanted["length_penalty"]
    return Decoding(longest, strategy, beams=beams, length_penalty=penalty, **sampled)


def allowed_tokens(config: Any, changes: dict[str, Any], vocabulary: int) -> Tensor:
    """Which tokens (v,) may be written: all but ``suppress_tokens``."""
    allowed = torch.ones(vocabulary, dtype=torch.bool)
    allowed[_settings(config, changes).get("suppress_tokens") or []] = False
    return allowed


def continued(prompt: Tensor, written: list[Tensor], longest: int) -> Tensor:
    """Prompts (b, p) with what was written after them, END where a row has fewer than ``longest`` tokens, padding."""
    end = torch.tensor([END])
    rows = [torch.cat([row, end]) if len(row) < longest else row for row in written]
    return torch.cat([prompt, pad_sequence(rows, batch_first=True, padding_value=PAD).to(prompt)], 1)


def _settings(config: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Settings of a configuration, changed by those of a call; raises ``InputError`` for one without meaning here."""
    settings = {**config.to_diff_dict(), **changes}
    for name, value in settings.items():
        if name in FIXED and value not in (FIXED[name], None):
            raise InputError(f"generate: {name} = {value} is not supported; {FIXED[name]} is")
        if name not in HONOURED and name not in FIXED and name not in IDLE and not name.startswith("_") and value:
            raise InputError(f"generate: {name} is not supported here; expected some of {', '.join(sorted(HONOURED))}")
    return settings
