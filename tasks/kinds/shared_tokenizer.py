"""One tokenizer for several tasks, trained on the training text of all; made once, reused while they stay the same."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.data import prepare
from archbench.tasks.kinds import registry
from archbench.tasks.kinds.task import raw_data
from archbench.tasks.text.tokenizers import train_tokenizer, training_sample

LIMIT = 20_000_000  # about the most characters of text that it is trained on


def trained_file(configs: Sequence[TaskConfig], algorithm: str, vocabulary: int, cache: Path, say: Say) -> Path:
    """The JSON file of the tokenizer, below ``cache``; it is trained first where the file is not there.

    ``algorithm`` is a kind of tokenizer, such as "bpe". Raises ``InputError`` where data cannot be had.
    """
    known = [prepare.raw_data_identity(config) + registry.read_as(config) for config in configs]
    name = hashlib.sha256(json.dumps([prepare.SCHEMA, algorithm, vocabulary, known]).encode()).hexdigest()
    made = cache / "tokenizers" / f"{name}.json"
    if not made.is_file():
        say(f"{', '.join(config.name for config in configs)}: training a {algorithm} tokenizer")
        texts = [_texts(config, cache, say) for config in configs]
        size = sum(length for _, length in texts)
        sample = _sample([part for part, _ in texts], size, algorithm)
        try:
            tokenizer = train_tokenizer(algorithm, sample, vocabulary)
        except InputError as error:
            raise InputError(f"pretraining.{configs[0].name}.{error}") from error
        files.write_text(made, tokenizer.to_json())
    return made


def _texts(config: TaskConfig, cache: Path, say: Say) -> tuple[Iterator[str], int]:
    """The training texts of a task, and their size."""
    return prepare.training_texts(registry.of(config), raw_data(config, cache, say).train)


def _sample(parts: Sequence[Iterator[str]], size: int, algorithm: str) -> Iterator[str]:
    texts = chain.from_iterable(parts)
    return texts if algorithm == "char" else training_sample(texts, size, LIMIT)
