"""The claims as the ledger states them, what a verdict may be, and the hashes by which the ledger is known.

It has parts, in files of their own. What is tested in a part that comparisons were planned under stays as it is; claims
that come later go into a later part, so that every page can say which of them were written before its first run. Only
the words in which a test is described may change: `REWORDED` knows what was tested under each earlier hash. A claim
whose reading was found too weak stays where it is; a claim of a later part, with the same statement, supersedes it.
"""

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archbench.reports.base.statistics import RULES
from archbench.tasks.base import sealed

PARTS: Final = tuple(
    Path(__file__).with_name(name)
    for name in (
        "claims.toml",
        "claims_later.toml",
        "claims_latest.toml",
        "claims_miniature.toml",
        "claims_miniature_later.toml",
        "claims_repeats.toml",
        "claims_conversion.toml",
        "claims_pretrained.toml",
    )
)

WORDING: Final = ("reading", "called")  # describe a test; everything else of a claim is content
REWORDED: Final = {
    "82147861bb137b9894aae01f6353a0d0f9d8183460ca3db441eb96498ec0c1f3": (
        "4964d9d99cf967410a7b17d59e7a7cf6d4571a39c56eae1499cdef092334cbe1"
    ),
    "2538aac4805fc93c6470d059a9e6d03fb51036b81c18b42ce3b704e6de3b44a1": (
        "fe74307ae5f21968545cf270a3b4d1c4ebf5a62db01870d8f749d78739ba17f9"
    ),
    "ef40582409c4a7096c5be30648d1d9c4bf0fd1025cc1e44928f4d690ae5a93bb": (
        "4964d9d99cf967410a7b17d59e7a7cf6d4571a39c56eae1499cdef092334cbe1"
    ),
    "25c27f7fae9132bbc9dda6dc565acf75f20b58d8ea30a256c5994de337747ba2": (
        "fe74307ae5f21968545cf270a3b4d1c4ebf5a62db01870d8f749d78739ba17f9"
    ),
    "314ee67ed8d98782c0ce6b443f52fa31dacbafd76be249a61ef6a1860940666b": (
        "1e4a4713681e65b4ee4539c269dea28f96715a55b9a716dc5511f495de2ea51a"
    ),
    "ab54b7e584e35e80ba231a112f3b342a3b6cef62b0b69f5e4644469fbbb9aa78": (
        "9e27d9a8d0f937e8be9a6cfe27a25be70a32d973d21adbe2713f4ba2b38a323c"
    ),
    "6d96413a0359c3d690e02aa7e6b755d2dad0e7ea3058ba517a076b576ced0221": (
        "21dc08c97b3057901313c842032171ed75124aacc55ac9b8aaece0f4572ee445"
    ),
}
"""The SHA-256 of a part as it was, and the `content` hash of it: the same as today's where only words changed."""

REPRODUCED: Final = "reproduced here"
OPPOSITE: Final = "opposite found here"
UNDECIDED: Final = "undecided"
UNMET: Final = "preconditions not met"
OUT_OF_REACH: Final = "out of reach at this scale"
SUPERSEDED: Final = "superseded"
SAME_DIRECTION: Final = "same direction in miniature"
OPPOSITE_DIRECTION: Final = "opposite direction in miniature"
MINIATURE: Final = {REPRODUCED: SAME_DIRECTION, OPPOSITE: OPPOSITE_DIRECTION}  # of claims about pretrained models


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger: a claim of a publication, and how it is tested on the tables of a report.

    Who has to be better than whom, in every pair:

    - ``ahead``: the first than the second. "X|condition" is X under this condition, "X@0.5" on this share of the
      budget, "X{start, adapt, examples}" after this pretraining (``most``, ``fewest``: by number of examples)
    - ``effect``: the same of what changes are called, as regular expressions; ``called`` says it in words
    - ``over``: every architecture than this baseline
    - ``bits``: how many bits of random strings every parameter has to store
    - ``enough``: that the first is equal within the margin is enough

    Which comparisons count:

    - ``kind``: data sets of these kinds of task, by their primary metric; ``on``: only these data sets
    - ``gated``: pairs of which one is trained enough (docs/statistics.md); ``learned``: better than untrained
    - ``deepest``: data sets with the deepest models; ``natural``: none that is generated
    - ``epochs``: at least so many passes over the training data; ``once``: none that is read twice; ``whole``: all of
      it read
    - ``pretraining``: about pretrained models, so that runs from scratch never decide it
    - ``parameters``: the least non-embedding size at which it was made; from a billion on it is out of reach
    - ``several``: what several comparisons it takes, where one cannot test it
    - ``preset``: the preset that compares what it needs

    ``supersedes`` names the claim whose reading this one replaces. ``miniature``: made about larger models, so that
    only its direction is judged.
    """

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
    supersedes: str = ""
    gated: bool = False
    whole: bool = False
    miniature: bool = False
    on: tuple[str, ...] = ()


def ledger() -> tuple[Claim, ...]:
    """The claims in their order."""
    return tuple(claim for part in PARTS for claim in _claims(part))


def successors() -> dict[str, Claim]:
    """The claims that supersede another one, by the name of that one."""
    return {claim.supersedes: claim for claim in ledger() if claim.supersedes}


def replaced(recorded: str) -> dict[str, Claim]:
    """The superseded claims that a report does not test, with what it tests instead; ``recorded`` as for `standing`.

    It tests a superseded claim only if that was fixed before the first run and its successor was not.
    """
    stands = standing(recorded)
    fixed = {
        claim.name
        for part, part_standing in zip(PARTS, stands, strict=True)
        if part_standing.before
        for claim in _claims(part)
    }
    return {name: successor for name, successor in successors().items() if name not in fixed or successor.name in fixed}


def digest() -> str:
    """The SHA-256 of each part, a blank between: what was claimed is fixed before the results are known."""
    return " ".join(sealed.sha256(part) for part in PARTS)


def declaration() -> dict[str, str]:
    """What a report judges by, recorded before the first run: the hash of the claims, and the version of the rules."""
    return {"ledger": digest(), "rules": str(RULES)}


def content(part: Path) -> str:
    """The SHA-256 of what a part claims and how that is tested, without the words that describe the test."""
    claims = tomllib.loads(part.read_text(encoding="utf-8"))["claims"]
    tested = [{key: value for key, value in claim.items() if key not in WORDING} for claim in claims]
    return sealed.digest(tested)


@dataclass(frozen=True)
class PartStanding:
    """A part of the ledger: its hash, whether it was fixed before the runs, and whether it was reworded since."""

    sha256: str
    before: bool
    reworded: bool = False


def standing(recorded: str, names: Collection[str] = ()) -> list[PartStanding]:
    """How each part stands to a `digest` that was recorded when the runs were planned.

    With the ``names`` of claims, only the parts that have one of them.
    """
    known = recorded.split()
    return [
        _standing(part, sha256, known)
        for part, sha256 in zip(PARTS, digest().split(), strict=True)
        if not names or any(claim.name in names for claim in _claims(part))
    ]


def _standing(part: Path, sha256: str, recorded: Sequence[str]) -> PartStanding:
    if sha256 in recorded:
        return PartStanding(sha256, before=True)
    earlier = next((known for known in recorded if REWORDED.get(known) == content(part)), "")
    return PartStanding(earlier or sha256, before=bool(earlier), reworded=bool(earlier))


def _claims(part: Path) -> list[Claim]:
    return [_claim(entry) for entry in tomllib.loads(part.read_text(encoding="utf-8"))["claims"]]


def _claim(entry: dict[str, Any]) -> Claim:
    pairs = {key: tuple((a, b) for a, b in entry.get(key, ())) for key in ("ahead", "effect")}
    return Claim(**{**entry, **pairs, "kind": tuple(entry["kind"]), "on": tuple(entry.get("on", ()))})
