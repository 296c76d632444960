"""Cuts text into lines by how wide they are drawn, not by how many letters they have."""

import textwrap
import warnings
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
    font = FontProperties(family=rc["font.family"], size=rc["font.size"] if size is None else size, weight=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def wrapped(text: str, inches: float, size: float | None = None, weight: Weight = "normal") -> list[str]:
    """The lines of ``text``, none wider than ``inches``: cut between words, and within a word that alone is wider."""
    for within_words in (False, True):
        for letters in range(len(text), 1, -1):
            lines = textwrap.wrap(text, letters, break_long_words=within_words)
            if all(width(line, size, weight) <= inches for line in lines):
                return lines
    return textwrap.wrap(text, 1)
