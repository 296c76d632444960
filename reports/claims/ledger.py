"""The claims as the ledger states them, what a verdict may be, and the hashes by which the ledger is known.

It has parts, in files of their own. A part that comparisons were planned under stays as it is; claims that come later
go into a later part, so that every page can say which of them were written before its first run.
"""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PARTS: Final = tuple(Path(__file__).with_name(name) for name in ("claims.toml", "claims_later.toml"))

REPRODUCED: Final = "reproduced here"
OPPOSITE: Final = "opposite found here"
UNDECIDED: Final = "undecided"
UNMET: Final = "preconditions not met"
OUT_OF_REACH: Final = "out of reach at this scale"


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger (its keys are explained there)."""

    name: str
    statement: str
    source: str
    reading: str
    kind: tuple[str, ...]
    ahead: tuple[tuple[str, str], ...] = ()
    effect: tuple[tuple[str, str], ...] = ()
    called: str = ""
    over: str = ""
    bits: float = 0.0
    enough: bool = False
    learned: bool = False
    deepest: bool = False
    preset: str = ""
    pretraining: bool = False
    parameters: float = 0.0
    epochs: float = 0.0
    once: bool = False
    natural: bool = False
    several: str = ""


def ledger() -> tuple[Claim, ...]:
    """The claims in their order."""
    return tuple(_claim(entry) for part in PARTS for entry in tomllib.loads(part.read_text(encoding="utf-8"))["claims"])


def digest() -> str:
    """The SHA-256 of each part, a blank between: what was claimed is fixed before what is found."""
    return " ".join(hashlib.sha256(part.read_bytes()).hexdigest() for part in PARTS)


def standing(recorded: str) -> list[tuple[str, bool]]:
    """The hash of each part, and whether it is among those of a `digest` that was recorded."""
    return [(part, part in recorded.split()) for part in digest().split()]


def _claim(entry: dict[str, Any]) -> Claim:
    pairs = {key: tuple((a, b) for a, b in entry.get(key, ())) for key in ("ahead", "effect")}
    return Claim(**{**entry, **pairs, "kind": tuple(entry["kind"])})
