"""Cuts text into lines by how wide they are drawn, not by how many letters they have."""

import textwrap
import warnings
from functools import lru_cache
from typing import Literal

import matplotlib
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

Weight = Literal["normal", "bold"]


def width(text: str, size: float | None = None, weight: Weight = "normal") -> float:
    """Inches of one line at ``size`` points (that of text by default).

    A letter that the font lacks counts as the box that is drawn for it.
    """
    rc = matplotlib.rcParams
    generic = rc["font.serif"], rc["font.sans-serif"], rc["font.cursive"], rc["font.fantasy"], rc["font.monospace"]
    fonts = tuple(tuple(names) for names in (rc["font.family"], *generic))
    return _measured(text, rc["font.size"] if size is None else size, weight, fonts)


@lru_cache(1 << 14)
def _measured(text: str, size: float, weight: Weight, fonts: tuple[tuple[str, ...], ...]) -> float:
    """``fonts`` are the present ones: the width is remembered for them."""
    font = FontProperties(family=list(fonts[0]), size=size, weight=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def wrapped(text: str, inches: float, size: float | None = None, weight: Weight = "normal") -> list[str]:
    """The lines of ``text``, none wider than ``inches``: cut between words, and within a word that alone is wider."""
    for within_words in (False, True):
        letters = len(text)
        while letters > 1:
            lines = textwrap.wrap(text, letters, break_long_words=within_words)
            if all(_fits(line, inches, size, weight) for line in lines):
                return lines
            letters = min(letters, max(len(line) for line in lines)) - 1  # more letters give the same lines
    return textwrap.wrap(text, 1)


def _fits(line: str, inches: float, size: float | None, weight: Weight) -> bool:
    """True if a line is narrow enough; words are measured once, whole lines only where the words alone would fit."""
    words = sum(width(word, size, weight) for word in line.split())
    return words <= inches and width(line, size, weight) <= inches
