"""The claims as the ledger states them, what a verdict may be, and the hashes by which the ledger is known.

It has parts. The tests of a part stay as they are once a comparison was planned under it; only the words that describe
a test may change. New claims go into a new part, so that a page can say which claims were written before its first run.
If a reading turns out too weak, the claim stays, and a claim of a later part with the same statement supersedes it.
"""

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from archbench.reports.base.statistics import RULES
from archbench.tasks.base import sealed

CLAIMS: Final = Path(__file__).with_name("claims.toml")
WORDING: Final = ("reading", "called", "recipe", "control", "part")  # describe or place a test; the rest is content
OF_FILES: Final = {
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
    "72d4f875fd827139b3091a7a8cf7e9f893d1a37d047bc3123ff7e8c53d82bcf2": (
        "4964d9d99cf967410a7b17d59e7a7cf6d4571a39c56eae1499cdef092334cbe1"
    ),
    "ae4e33c7f46dfa3ecf5a9bbafc07c2334bd09d6bfd094de35de3d3618a9b0e71": (
        "fe74307ae5f21968545cf270a3b4d1c4ebf5a62db01870d8f749d78739ba17f9"
    ),
    "6662bade2879ef0054a33ae4d12c9941e8f969e10c8a5bda343a293e590bd0c1": (
        "21dc08c97b3057901313c842032171ed75124aacc55ac9b8aaece0f4572ee445"
    ),
    "e473b50c0a7f56ee4f7793c4c90576dbf2ec1ecca841b5ca6a02828734d2f0b2": (
        "1e4a4713681e65b4ee4539c269dea28f96715a55b9a716dc5511f495de2ea51a"
    ),
    "9d2dc959ced1aeabc89ebdca22577d16a13dd14766eb335c795aeb3af83a538c": (
        "9e27d9a8d0f937e8be9a6cfe27a25be70a32d973d21adbe2713f4ba2b38a323c"
    ),
    "69690d7e839ae39e7cbb16592509d13461e97873681583f8fe090fec622263ac": (
        "fba5b1e2ca112639d99931e18b3e7d4c4ef397ed2b4f63387f743295912c7b6a"
    ),
    "22b0061ee38703a080300f2bf09e4259f9fcd9b7b450cdfe540f482c0630761b": (
        "d83d5c9fdc73789583485d06e83cb69f7e9c1de5368c69d347fdf1fdd562773e"
    ),
    "a92ea96e1481a2a31da1b52afd45eb1237e95187a0da29ad8205baf98158744b": (
        "681896a1346649443c2c4a73f043eec45e1cb269193edea8ab8be28bfbb3d2aa"
    ),
}
"""Older comparisons recorded the SHA-256 of the file of each part: the hash of its content, by that of the file."""

REPRODUCED: Final = "reproduced here"
OPPOSITE: Final = "opposite found here"
UNDECIDED: Final = "undecided"
UNMET: Final = "preconditions not met"
OUT_OF_REACH: Final = "out of reach at this scale"
SUPERSEDED: Final = "superseded"
SAME_DIRECTION: Final = "same direction in miniature"
OPPOSITE_DIRECTION: Final = "opposite direction in miniature"
MINIATURE: Final = {REPRODUCED: SAME_DIRECTION, OPPOSITE: OPPOSITE_DIRECTION}  # of claims about pretrained models
NOTICED: Final = "control noticed"
MISSED: Final = "control not noticed"
DIRECTIONS: Final = ((REPRODUCED, OPPOSITE), (SAME_DIRECTION, OPPOSITE_DIRECTION))
DECIDED: Final = tuple(verdict for pair in DIRECTIONS for verdict in pair)


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger: a claim of a publication, and how it is tested on the tables of a report.

    Who has to be better than whom, in every pair:

    - ``ahead``: the first than the second. "X|condition" is X under this condition, "X@0.5" on this share of the
      budget, "X{start, adapt, examples}" after this pretraining (``most``, ``fewest``: by number of examples)
    - ``effect``: the same of what changes are called, as regular expressions; ``called`` says it in words
    - ``over``: every architecture than this baseline; ``under``: this baseline than every architecture
    - ``bits``: how many bits of random strings every parameter has to store
    - ``enough``: that the first is equal within the margin is enough

    Which comparisons count:

    - ``kind``: data sets of these kinds of task, by their primary metric; ``on``: only these data sets
    - ``gated``: pairs of which one passes its gate (docs/statistics.md); ``learned``: better than untrained
    - ``deepest``: data sets with the deepest models; ``natural``: none that is generated
    - ``epochs``: at least so many passes over the training data; ``once``: none that is read twice; ``whole``: all of
      it read
    - ``match``: those with this held equal, if not what the data set's first condition holds equal
    - ``data``: about the amount of data, so that its sides have to read different amounts of it
    - ``pretraining``: about pretrained models, so that runs from scratch never decide it
    - ``parameters``: the least non-embedding size at which it was made; from a billion on it is out of reach
    - ``several``: what several comparisons it takes, where one cannot test it
    - ``preset``: the preset that compares what it needs

    ``supersedes`` names the claim whose reading this one replaces. ``miniature``: made about larger models, so that
    only its direction is judged. ``recipe`` says in a clause what the source did otherwise, its families and what it
    had beside: then nothing refutes the claim. ``control``: a part is taken away that the model cannot do without, or
    the objective asks for the outcome, so that a comparison has to notice it; no finding, and without a gate.
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
    under: bool = False
    bits: float = 0.0
    enough: bool = False
    learned: bool = False
    deepest: bool = False
    preset: str = ""
    match: str = ""
    data: bool = False
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
    recipe: str = ""
    control: bool = False

    @property
    def names_amounts(self) -> bool:
        """True if it names amounts of training: of data, passes, shares of the budget, or what is held equal."""
        shares = any("@" in name for pair in self.ahead for name in pair)
        return self.data or self.epochs > 0 or bool(self.match) or shares


def ledger() -> tuple[Claim, ...]:
    """The claims in their order."""
    return tuple(claim for claims in parts().values() for claim in claims)


@cache
def parts() -> dict[str, tuple[Claim, ...]]:
    """The claims of each part."""
    return {part: tuple(map(_claim, entries)) for part, entries in _entries(CLAIMS).items()}


@cache
def digests() -> dict[str, str]:
    """The SHA-256 of what each part claims and how that is tested, without the words that describe the test."""
    return {part: content(entries) for part, entries in _entries(CLAIMS).items()}


def content(entries: Sequence[dict[str, Any]]) -> str:
    """The SHA-256 of the tests of claims."""
    return sealed.digest([{key: value for key, value in entry.items() if key not in WORDING} for entry in entries])


def chosen_readings() -> tuple[set[str], int]:
    """The readings of published tables, written when results were known; how many more were tried and withdrawn."""
    withdrawn = tomllib.loads(CLAIMS.read_text(encoding="utf-8"))["withdrawn"]
    return {claim.name for claim in parts()["readings"]}, len(withdrawn)


def control_pairs() -> set[frozenset[str]]:
    """The pairs that controls compare, whichever side comes first."""
    return {frozenset(pair) for claim in ledger() if claim.control for pair in claim.ahead}


def successors() -> dict[str, Claim]:
    """The claims that supersede another one, by the name of that one."""
    return {claim.supersedes: claim for claim in ledger() if claim.supersedes}


def replaced(recorded: str) -> dict[str, Claim]:
    """The superseded claims that a report does not test, with what it tests instead; ``recorded`` as for `standing`.

    It tests a superseded claim only if that was fixed before the first run and its successor was not.
    """
    fixed = {claim.name for stands in standing(recorded) if stands.before for claim in parts()[stands.part]}
    return {name: successor for name, successor in successors().items() if name not in fixed or successor.name in fixed}


def declaration() -> dict[str, str]:
    """Standards by which a report judges, recorded before the first run: hashes of the claims, version of the rules."""
    return {"ledger": " ".join(digests().values()), "rules": str(RULES)}


@dataclass(frozen=True)
class PartStanding:
    """A part of the ledger, its hash, and whether it was fixed before the runs."""

    part: str
    sha256: str
    before: bool


def standing(recorded: str, names: Collection[str] = ()) -> list[PartStanding]:
    """For each part, whether its hash is among those of a `declaration`, recorded when the runs were planned.

    With the ``names`` of claims, only the parts that have one of them.
    """
    known = {OF_FILES.get(sha256, sha256) for sha256 in recorded.split()}
    return [
        PartStanding(part, digests()[part], digests()[part] in known)
        for part, claims in parts().items()
        if not names or any(claim.name in names for claim in claims)
    ]


def _entries(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Entries of the file for each claim, by part."""
    by_part: dict[str, list[dict[str, Any]]] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["claims"]:
        by_part.setdefault(entry["part"], []).append(entry)
    return by_part


def _claim(entry: dict[str, Any]) -> Claim:
    stated = {key: value for key, value in entry.items() if key != "part"}
    pairs = {key: tuple((a, b) for a, b in entry.get(key, ())) for key in ("ahead", "effect")}
    return Claim(**{**stated, **pairs, "kind": tuple(entry["kind"]), "on": tuple(entry.get("on", ()))})
