"""How much of a task's test split occurs in the text of a pretraining: computed once for the same data."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from archbench.tasks.base import files
from archbench.tasks.base.dataset import Text
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.data import overlap, prepare
from archbench.tasks.data.overlap import Overlap
from archbench.tasks.kinds import registry
from archbench.tasks.kinds.task import raw_data

VERSION = 3  # raise when the same data would be counted differently


def key(text: TaskConfig, task: TaskConfig) -> str:
    """Identifies an overlap: the same for the same texts of both."""
    identities = [prepare.raw_data_identity(config) + registry.read_as(config) for config in (text, task)]
    return hashlib.sha256(json.dumps([VERSION, *identities]).encode()).hexdigest()


def overlap_of(text: TaskConfig, task: TaskConfig, cache: Path, say: Say) -> Overlap:
    """The test texts of ``task`` in a pretraining's training text. Raises ``InputError`` where data cannot be had."""
    path = cache / "overlap" / f"{key(text, task)}.json"
    if path.is_file():
        return Overlap(**json.loads(path.read_text(encoding="utf-8")))
    pretraining = raw_data(text, cache, say).train
    assert isinstance(pretraining, Text)
    labels = registry.of(task).form == "labels"
    tested = raw_data(task, cache, say)
    seen = overlap.overlap(pretraining, overlap.texts_of_tests(tested, labels), overlap.pairs_of_tests(tested))
    files.write_text(path, json.dumps(asdict(seen)))
    return seen
