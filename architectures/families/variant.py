"""A variant: a named way to build a model, wherever its code comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from archbench.architectures.families.size import Limits, Size

STOCK = {
    "transformers:bert": "BertForMaskedLM of transformers, a baseline for bert.",
    "transformers:gpt2": "GPT2LMHeadModel of transformers, a baseline for gpt2.",
    "transformers:t5": "T5ForConditionalGeneration of transformers, a baseline for t5.",
}


@dataclass(frozen=True)
class ExternalCheckpoint:
    """Settings that a checkpoint of ``transformers`` fixes: size, tokenizer (JSON), positions (None: no bound).

    ``build(limits, labels)`` is the model with its weights, its vocabulary renumbered for a task with these labels;
    ``blank(limits)`` is one of the same size without memory for its weights. ``special`` are its own ids for PAD, BOS,
    END, MASK, UNK.
    """

    size: Size
    tokenizer: str
    length: int | None
    build: Callable[[Limits, Sequence[str]], Any]
    blank: Callable[[Limits], Any]
    special: tuple[int, ...] = ()


@dataclass(frozen=True)
class Variant:
    """A way to build a model: ``text`` is that of the file ``path``, which defines it, ``document`` its first line.

    Where it consists of more modules, a last line of ``text`` stands for them: see ``catalogue.sources``.
    ``is_builtin`` is true of those that come with archbench. ``checkpoint``: the model has its weights, and is trained
    only where a task starts from it. ``breaks`` names the checks of the contract that an ablation of ours is known to
    fail.
    """

    name: str
    path: str
    is_builtin: bool
    family: str
    document: str
    text: str
    build: Callable[[Size, Limits], Any]
    checkpoint: ExternalCheckpoint | None = None
    breaks: tuple[str, ...] = ()

    @property
    def learns_as_told(self) -> bool:
        """True if ``families.masking`` changes how it learns: encoders of archbench or of the user, not of others."""
        return self.family == "encoder" and self.checkpoint is None and self.name not in STOCK

    def builder(self, labels: Sequence[str], trained: bool = False) -> Callable[[Size, Limits], Any]:
        """The function that builds the model for a task with these labels; a checkpoint's is frozen unless trained."""
        checkpoint = self.checkpoint
        if checkpoint is None:
            return self.build
        return lambda size, limits: checkpoint.build(limits, labels).requires_grad_(trained)
