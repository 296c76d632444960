"""The looks of a figure: light and dark for a screen, print for a paper; the same bytes for the same panels."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal, get_args

import matplotlib

Style = Literal["light", "dark", "print"]
STYLES: Final[tuple[Style, ...]] = get_args(Style)
FONT: Final = "DejaVu Sans"
SIZE: Final = 9.5  # points of the light style, in which the sizes of panels are given


def _colours(ink: str, quiet: str, rule: str, paper: str) -> Mapping[str, Any]:
    return {
        "axes.edgecolor": quiet,
        "axes.labelcolor": ink,
        "text.color": ink,
        "xtick.color": quiet,
        "ytick.color": quiet,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "grid.color": rule,
        "figure.facecolor": paper,
        "savefig.facecolor": paper,
    }


def _sizes(points: float) -> Mapping[str, Any]:
    return {
        "font.size": points,
        "axes.labelsize": points,
        "axes.titlesize": points * 10.5 / SIZE,
        "xtick.labelsize": points * 9 / SIZE,
        "ytick.labelsize": points,
        "legend.fontsize": points,
    }


_COMMON: Final[Mapping[str, Any]] = {
    "font.family": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "svg.hashsalt": "archbench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # TrueType: text stays text
    "text.parse_math": False,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-9, 9),  # a power of ten above an axis would stand in the heading
    "figure.dpi": 100,
    "savefig.dpi": 150,
}
_STYLES: Final[Mapping[Style, Mapping[str, Any]]] = {
    "light": {**_colours("#1f2328", "#6b7280", "#d5d9df", "#ffffff"), **_sizes(SIZE)},
    "dark": {**_colours("#e6e8eb", "#a3abb6", "#3a414b", "#14171b"), **_sizes(SIZE)},
    "print": {**_colours("#000000", "#595959", "#d9d9d9", "#ffffff"), **_sizes(8)},
}


@contextmanager
def styled(style: Style | None) -> Iterator[None]:
    """Draw in a style; None: with the caller's ``rcParams``.

    Text from data is drawn as it stands, never read as mathematics. A letter that the font lacks is drawn as a box,
    without a warning.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        if style is not None:
            matplotlib.rcdefaults()
            settings: dict[Any, Any] = {**_COMMON, **_STYLES[style]}
            matplotlib.rcParams.update(settings)
        matplotlib.rcParams["text.parse_math"] = False
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def scaled(size: float) -> float:
    """A size given for the light style (points or inches) at the present font size."""
    return size * float(matplotlib.rcParams["font.size"]) / SIZE
