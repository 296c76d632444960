"""Colours and markers: the colour-blind safe palette of Okabe and Ito, the same for an architecture everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

INK: Final = "#1f2328"
QUIET: Final = "#6b7280"
RULE: Final = "#d5d9df"
PAPER: Final = "#ffffff"

COLOURS: Final = {
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "sky": "#56b4e9",
    "orange": "#e69f00",
    "purple": "#cc79a7",
    "black": "#000000",
}


@dataclass(frozen=True)
class Look:
    """How an architecture is drawn: a colour and a marker (both, so that neither is needed alone)."""

    colour: str
    marker: str


_USUAL: Final = {
    "decoder": Look(COLOURS["blue"], "o"),
    "encoder": Look(COLOURS["vermillion"], "s"),
    "encoder-decoder": Look(COLOURS["green"], "^"),
    "prefix-decoder": Look(COLOURS["sky"], "D"),
    "shared-encoder-decoder": Look(COLOURS["orange"], "v"),
}
_FURTHER_COLOURS: Final = ("purple", "black", "orange", "sky", "green", "vermillion", "blue")
_FURTHER_MARKERS: Final = ("P", "X", "p", "h", "<", ">", "d", "v")


def looks(architectures: Sequence[str]) -> dict[str, Look]:
    """A look for each architecture; those that are not the usual ones take the further looks in turn."""
    by_name = {name: _USUAL[name] for name in architectures if name in _USUAL}
    others = [name for name in dict.fromkeys(architectures) if name not in _USUAL]
    for place, name in enumerate(others):
        colour = _FURTHER_COLOURS[place % len(_FURTHER_COLOURS)]
        by_name[name] = Look(COLOURS[colour], _FURTHER_MARKERS[place % len(_FURTHER_MARKERS)])
    return {name: by_name[name] for name in dict.fromkeys(architectures)}


def label(text: str, longest: int = 24) -> str:
    """Text from data as a figure can show it: printable, in one line, cut where it is long."""
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text) or "?"
    return printable if len(printable) <= longest else printable[: longest - 1] + "…"


SHAPES: Final = {
    "o": "M8 2a6 6 0 1 0 .01 0z",
    "s": "M3 3h10v10h-10z",
    "^": "M8 2l6 11h-12z",
    "v": "M8 14l6-11h-12z",
    "<": "M2 8l11-6v12z",
    ">": "M14 8l-11-6v12z",
    "D": "M8 1l7 7-7 7-7-7z",
    "d": "M8 1l4.5 7-4.5 7-4.5-7z",
    "P": "M6 2h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
    "X": "M5 2l3 3 3-3 3 3-3 3 3 3-3 3-3-3-3 3-3-3 3-3-3-3z",
    "p": "M8 1.5l6.5 4.8-2.5 7.7h-8l-2.5-7.7z",
    "h": "M8 1l6 3.5v7l-6 3.5-6-3.5v-7z",
}
"""Each marker as the path of a 16 x 16 drawing, for keys outside the figures."""
