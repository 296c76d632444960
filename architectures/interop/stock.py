"""Stock models of ``transformers`` as architectures."""

from architectures.catalogue import Variant
from tasks.errors import InputError


def variant(name: str) -> Variant:
    raise InputError(f"{name}: not yet")
