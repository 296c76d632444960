"""Variants as if `compare` had checked them before: what a comparison does next is tried without the checks' minute."""

from collections.abc import Iterable
from pathlib import Path

from architectures import catalogue
from runs import isolation


def as_if_checked(place: str, folder: Path, cache: Path, lengths: Iterable[tuple[int, int]]) -> None:
    """Keeps in ``cache`` that a variant holds the contract, also at these lengths of source and target."""
    kept = isolation._Kept(cache, place, catalogue.foreign_text(place, folder), folder.absolute())
    kept.add(isolation._hash("contract", (cache, tuple(sorted(lengths)))), None)
    kept.write({})
