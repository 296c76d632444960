"""A task from end to end: prepared examples, decoding settings, metrics and reference rows, whatever its kind."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from tasks import classification, generation, translation
from tasks import prepare as encoded
from tasks.prepare import Say
from tasks.values import Decoding as Decoding
from tasks.values import Examples as Examples
from tasks.values import Outputs as Outputs
from tasks.values import Prepared as Prepared
from tasks.values import Reference as Reference
from tasks.values import Score as Score
from tasks.values import TaskConfig as TaskConfig

_KINDS: Mapping[str, ModuleType] = {
    "generation": generation,
    "classification": classification,
    "translation": translation,
}


def prepare(config: TaskConfig, cache: Path, say: Say = lambda line: None) -> Prepared:
    """The encoded task, made under ``cache`` the first time and reused while data and settings stay the same.

    ``say`` takes a line about what takes long. Raises InputError where the data cannot be had or cannot serve the task.
    """
    return encoded.prepare(config, _KINDS[config.kind].primary(config), cache, say)


def decoding(prepared: Prepared) -> Decoding:
    """How every model answers this task, and how many examples."""
    chosen: Decoding = _KINDS[prepared.kind].decoding(prepared)
    return chosen


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """The metrics of the task's kind, each with its 95% bootstrap interval over examples."""
    scores: list[Score] = _KINDS[prepared.kind].measure(prepared, outputs)
    return scores


def references(prepared: Prepared) -> list[Reference]:
    """What classical methods reach on the same test examples."""
    rows: list[Reference] = _KINDS[prepared.kind].references(prepared)
    return rows
