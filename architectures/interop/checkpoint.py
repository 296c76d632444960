"""Checkpoints of ``transformers`` in a folder as architectures."""

from pathlib import Path

from architectures.catalogue import Variant
from tasks.errors import InputError


def variant(path: Path) -> Variant:
    raise InputError(f"architectures: no folder {path} with a checkpoint")
