"""The claims as `claims.toml` states them, what a verdict may be, and the hash by which they are known."""

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LEDGER: Final = Path(__file__).with_name("claims.toml")

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
    entries: list[dict[str, Any]] = tomllib.loads(LEDGER.read_text(encoding="utf-8"))["claims"]
    return tuple(_claim(entry) for entry in entries)


def digest() -> str:
    """The ledger's SHA-256: what was claimed is fixed before what is found."""
    return hashlib.sha256(LEDGER.read_bytes()).hexdigest()


def _claim(entry: dict[str, Any]) -> Claim:
    pairs = {key: tuple((a, b) for a, b in entry.get(key, ())) for key in ("ahead", "effect")}
    return Claim(**{**entry, **pairs, "kind": tuple(entry["kind"])})
