"""Cuts text into lines by how wide they are drawn, not by how many letters they have."""

import textwrap
import warnings
from typing import Final, Literal

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

FONT: Final = "DejaVu Sans"
SIZE: Final = 9.5  # points

Weight = Literal["normal", "bold"]


def width(text: str, size: float = SIZE, weight: Weight = "normal") -> float:
    """Inches of one line; a letter that the font lacks counts as the box that is drawn for it."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def wrapped(text: str, inches: float, size: float = SIZE, weight: Weight = "normal") -> list[str]:
    """The lines of ``text``, none wider than ``inches``: cut between words, and within a word that alone is wider."""
    for letters in range(len(text), 1, -1):
        lines = textwrap.wrap(text, letters)
        if all(width(line, size, weight) <= inches for line in lines):
            return lines
    return textwrap.wrap(text, 1)
