"""A task from end to end: prepared examples, decoding settings, metrics and reference rows, whatever its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from archbench.tasks.base.values import Decoding as Decoding
from archbench.tasks.base.values import Examples as Examples
from archbench.tasks.base.values import Outputs as Outputs
from archbench.tasks.base.values import Prepared as Prepared
from archbench.tasks.base.values import Reference as Reference
from archbench.tasks.base.values import Score as Score
from archbench.tasks.base.values import TaskConfig as TaskConfig
from archbench.tasks.data import prepare as encoded
from archbench.tasks.data.prepare import Say
from archbench.tasks.kinds import classification, generation, memorization
from archbench.tasks.kinds.text_to_text import SUMMARIZATION, TRANSLATION


class _Kind(Protocol):
    """What a kind of task knows: a module, or a value where kinds share their code."""

    def primary(self, config: TaskConfig, /) -> str: ...

    def decoding(self, prepared: Prepared) -> Decoding: ...

    def measure(self, prepared: Prepared, outputs: Outputs) -> list[Score]: ...

    def references(self, prepared: Prepared) -> list[Reference]: ...


_KINDS: Mapping[str, _Kind] = {
    "generation": generation,
    "classification": classification,
    "translation": TRANSLATION,
    "summarization": SUMMARIZATION,
    "memorization": memorization,
}


def prepare(config: TaskConfig, cache: Path, say: Say = lambda line: None) -> Prepared:
    """The encoded task, made under ``cache`` the first time and reused while data and settings stay the same.

    ``say`` takes a line about what takes long. Raises InputError where the data cannot be had or cannot serve the task.
    """
    return encoded.prepare(config, _KINDS[config.kind].primary(config), cache, say)


def decoding(prepared: Prepared) -> Decoding:
    """How every model answers this task, and how many examples."""
    return _KINDS[prepared.kind].decoding(prepared)


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """The metrics of the task's kind, each with its 95% bootstrap interval over examples."""
    return _KINDS[prepared.kind].measure(prepared, outputs)


def references(prepared: Prepared) -> list[Reference]:
    """What classical methods reach on the same test examples."""
    return _KINDS[prepared.kind].references(prepared)
