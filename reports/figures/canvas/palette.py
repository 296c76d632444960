"""Colours and markers: the colour-blind safe palette of Okabe and Ito, the same for an architecture everywhere.

Text, ticks, rules and background take their colours from matplotlib's ``rcParams``, so that figures follow a style. On
a dark background, architectures have lighter colours.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import matplotlib
from matplotlib.colors import to_hex, to_rgb

Colours = Mapping[str, str]

COLOURS: Final[Colours] = {
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "sky": "#56b4e9",
    "orange": "#e69f00",
    "purple": "#cc79a7",
    "black": "#000000",
}
ON_DARK: Final[Colours] = {
    "blue": "#4aa8e8",
    "vermillion": "#f28038",
    "green": "#2cc79a",
    "sky": "#a5d8f7",
    "orange": "#e69f00",
    "purple": "#cc79a7",
    "black": "#ffffff",
}


def ink() -> str:
    """The colour of text."""
    return to_hex(matplotlib.rcParams["text.color"])


def quiet() -> str:
    """The colour of what stands back: ticks, spines, baselines."""
    return to_hex(matplotlib.rcParams["xtick.color"])


def rule() -> str:
    """The colour of grid lines and shaded ranges."""
    return to_hex(matplotlib.rcParams["grid.color"])


def paper() -> str:
    """The background, as the edge of marks that lie on others."""
    return to_hex(matplotlib.rcParams["figure.facecolor"])


def hue(name: str) -> str:
    """A colour of the palette by its name."""
    return (ON_DARK if sum(to_rgb(ink())) > 1.5 else COLOURS)[name]


@dataclass(frozen=True)
class Look:
    """How an architecture is drawn: a colour and a marker (both, so that neither is needed alone)."""

    name: str
    marker: str

    @property
    def colour(self) -> str:
        return hue(self.name)


_USUAL: Final = {
    "decoder": Look("blue", "o"),
    "encoder": Look("vermillion", "s"),
    "encoder-decoder": Look("green", "^"),
    "prefix-decoder": Look("sky", "D"),
    "shared-encoder-decoder": Look("orange", "v"),
}
_FURTHER_COLOURS: Final = ("purple", "black", "orange", "sky", "green", "vermillion", "blue")
_FURTHER_MARKERS: Final = ("P", "X", "p", "h", "<", ">", "d", "v")


def looks(architectures: Sequence[str]) -> dict[str, Look]:
    """A look for each architecture; those that are not the usual ones take the further looks in turn."""
    by_name = {name: _USUAL[name] for name in architectures if name in _USUAL}
    others = [name for name in dict.fromkeys(architectures) if name not in _USUAL]
    for index, name in enumerate(others):
        colour = _FURTHER_COLOURS[index % len(_FURTHER_COLOURS)]
        by_name[name] = Look(colour, _FURTHER_MARKERS[index % len(_FURTHER_MARKERS)])
    return {name: by_name[name] for name in dict.fromkeys(architectures)}


_LABELS: ContextVar[Mapping[str, str]] = ContextVar("labels", default=MappingProxyType({}))  # as rcParams, in force


@contextmanager
def relabelled(labels: Mapping[str, str]) -> Iterator[None]:
    """Show these architectures and data sets under other names."""
    token = _LABELS.set(labels)
    try:
        yield
    finally:
        _LABELS.reset(token)


def renamed(text: str) -> str:
    """Text with each whole name replaced by the words that it is shown by."""
    labels = _LABELS.get()
    names = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    return re.sub(rf"(?<![\w-])(?:{names})(?![\w-])", lambda name: labels[name[0]], text) if labels else text


def label(text: str, longest: int = 24) -> str:
    """Text from data as a figure can show it: printable, in one line, cut where it is long, in a user's own words."""
    shown = renamed(text)
    printable = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in shown) or "?"
    return printable if len(printable) <= longest or shown != text else printable[: longest - 1] + "…"


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
