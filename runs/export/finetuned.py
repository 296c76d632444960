"""A finetuned checkpoint for ``transformers``: with its own tokenizer and its own token ids.

    ids     0..n-1                          n..
    tokens  the checkpoint's own tokens     labels, and special tokens that were trained apart from the checkpoint's own

Archbench's special tokens begin as rows of the checkpoint's own ones and are then trained as rows of their own. In the
export each takes the place of the checkpoint's token where nothing else is in that place, so that a GPT-2 still ends
its texts with <|endoftext|>. Where one token of the checkpoint would need two rows, the second is a new token.
"""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from archbench.runs.scoring.finished import FinishedRun
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, LABEL, MASK, PAD, SPECIALS, UNK


@dataclass(frozen=True)
class FinetunedCheckpoint:
    """How the tokens of a run that finetuned a checkpoint are numbered in its export."""

    run: FinishedRun

    @property
    def count(self) -> int:
        """The tokens of the checkpoint's tokenizer."""
        return len(self.run.tokenizer.text_ids)

    @property
    def ids(self) -> tuple[int, ...]:
        """For each token id of archbench (v,) the id in the export."""
        return (*self._placed[0], *range(self.count))

    @property
    def new_tokens(self) -> tuple[str, ...]:
        """The spellings of the tokens behind the checkpoint's own."""
        return self._placed[1]

    @property
    def vocabulary(self) -> int:
        """The tokens of the export."""
        return self.count + len(self.new_tokens)

    @cached_property
    def _placed(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The ids of special tokens and labels in the export, and the spellings of those that are new."""
        assert self.run.variant.checkpoint is not None
        known, new = self._library.get_vocab(with_added_tokens=True), list[str]()

        def added(spelling: str) -> int:
            new.append(spelling if spelling not in known else f"<archbench {spelling}>")
            return self.count + len(new) - 1

        spelled = [LABEL + label for label in self.run.tokenizer.labels]
        labels = [known[label] if label in known else added(label) for label in spelled]
        special, objective = list(self.run.variant.checkpoint.special), self.run.model.objective
        taken = {self._text_id(token) for token in (*objective.before, *objective.after)}
        if (unknown := self.run.tokenizer.own_unknown) is not None:
            special[UNK] = unknown  # the tokenizer writes it
            taken.add(unknown)
        for name in self._trained:
            if special[name] in taken or not self._is_special(special[name]):
                special[name] = added(SPECIALS[name])
            taken.add(special[name])
        for name in (PAD, BOS, END, MASK, UNK):
            if (
                name not in self._trained and special[name] >= self.count
            ):  # a row of the model for which its tokenizer has no token
                special[name] = added(SPECIALS[name])
        return (*special, *labels), tuple(new)

    def _is_special(self, number: int) -> bool:
        """True if a token of the checkpoint never comes out of text."""
        return number < self.count and not self.run.tokenizer.writable[self.run.tokenizer.text_ids[number]]

    @cached_property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that stand before and behind every source; the mask of an encoder follows the last one."""
        objective = self.run.model.objective
        before, after = (tuple(self._text_id(token) for token in side) for side in (objective.before, objective.after))
        return before, (*after, *([self.ids[BOS]] if self.run.model.family == "encoder" else []))

    @property
    def empty_source(self) -> tuple[int, ...]:
        """The ids that an empty source consists of, which is what tasks without sources have."""
        return (*self.frame[0], *self.frame[1]) or (self.ids[BOS],)

    @property
    def _trained(self) -> list[int]:
        """The special tokens that the model reads or writes, first those that should keep the checkpoint's place."""
        family, framed = self.run.model.family, self.run.model.objective
        needs_bos = family != "decoder" or not (self.run.plan.limits.source_length or framed.before or framed.after)
        used = {MASK: family == "encoder", BOS: needs_bos, END: self.run.ends}
        return [name for name, is_used in used.items() if is_used]

    def _text_id(self, token: int) -> int:
        return token - self.run.tokenizer.text_ids[0]

    @property
    def _library(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(json.loads(self.run.tokenizer.to_json())["state"])

    def model(self) -> Any:
        """The model as a class of ``transformers``; raises ``InputError`` where it has become none."""
        from archbench.architectures.conversion import checkpoint, convert

        rows = [*self.run.tokenizer.text_ids, *(0 for _ in self.new_tokens)]
        for label in self.run.tokenizer.label_ids:
            rows[self.ids[label]] = label
        known = [UNK] if self.run.tokenizer.own_unknown is not None else []
        for name in (*known, *self._trained):
            rows[self.ids[name]] = name
        ours = copy.deepcopy(self.run.model)
        checkpoint.renumber(ours, lambda table: _rows(table, rows))
        theirs = convert.to_transformers(ours)
        for key, number in self.special_ids.items():
            setattr(theirs.config, key, number)
        return theirs

    @property
    def special_ids(self) -> dict[str, int]:
        """The special tokens by the names of a configuration."""
        start = {"decoder_start_token_id": self.ids[BOS]} if self.run.model.family == "encoder-decoder" else {}
        return {"bos_token_id": self.ids[BOS], "eos_token_id": self.ids[END], "pad_token_id": self.ids[PAD], **start}

    @property
    def suppressed(self) -> list[int]:
        """The ids that no answer may use."""
        allowed = {self.ids[token] for token in self.run.allowed_tokens.nonzero().squeeze(1).tolist()}
        return [number for number in range(self.vocabulary) if number not in allowed]

    def tokenizer(self, length: int, padding: Literal["left", "right"], cut: Literal["left", "right"]) -> Any:
        """The checkpoint's tokenizer with the new tokens, as ``PreTrainedTokenizerFast``.

        It puts around a text what the model was trained with, and reads ``length`` tokens; ``padding`` and ``cut`` are
        sides of a text.
        """
        from transformers import PreTrainedTokenizerFast

        library = self._library
        library.no_padding()
        library.no_truncation()
        library.add_special_tokens(list(self.new_tokens))
        for number, token in enumerate(self.new_tokens, self.count):
            if library.token_to_id(token) != number:
                raise InputError(f"{self.run.variant.path}: its tokenizer has no place for the new token {token!r}")
        before, after = self.around
        library.post_processor = _template(library, before, after)
        names = {"pad_token": PAD, "bos_token": BOS, "eos_token": END}
        names |= {"mask_token": MASK} if self.run.model.family == "encoder" else {}
        names |= {"unk_token": UNK} if self.run.tokenizer.own_unknown is not None else {}
        return PreTrainedTokenizerFast(
            tokenizer_object=library,
            **{key: library.id_to_token(self.ids[token]) for key, token in names.items()},
            split_special_tokens=True,
            clean_up_tokenization_spaces=False,
            model_input_names=["input_ids", "attention_mask"],
            model_max_length=length,
            padding_side=padding,
            truncation_side=cut,
        )

    @property
    def around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that the tokenizer puts before and behind a text: a source, or else the beginning of a text."""
        before, after = self.frame
        if self.run.plan.limits.source_length:
            return before, after
        if self.run.model.family == "encoder-decoder":
            return (self.ids[BOS],), ()
        return self.empty_source, ()


def _rows(table: Tensor, rows: Sequence[int]) -> Tensor:
    """The chosen rows of a table (v, d) or of a bias (v,)."""
    return table.detach()[list(rows)].clone()


def _template(library: Any, before: Sequence[int], after: Sequence[int]) -> Any:
    from tokenizers import processors

    named = {f"token{number}": number for number in (*before, *after)}
    special = [{"id": name, "ids": [number], "tokens": [library.id_to_token(number)]} for name, number in named.items()]
    pieces = [*(f"token{number}" for number in before), "$A", *(f"token{number}" for number in after)]
    return processors.TemplateProcessing(single=pieces, special_tokens=special)
