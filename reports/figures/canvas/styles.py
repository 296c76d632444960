"""The looks of a figure: light and dark for a screen, print for a paper; the same bytes for the same panels."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import matplotlib

from archbench.reports.figures.canvas.palette import relabelled

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


@dataclass(frozen=True)
class Changes:
    """A user's changes to figures: other names, ``rcParams`` of fonts, panels with or without a title."""

    labels: Mapping[str, str] = field(default_factory=dict)
    fonts: Mapping[str, Any] = field(default_factory=dict)
    titled: bool = True


UNCHANGED: Final = Changes()


@contextmanager
def styled(style: Style | None, changes: Changes = UNCHANGED) -> Iterator[None]:
    """Draw in a style; None: with the caller's ``rcParams``.

    Text from data is drawn as it stands, never read as mathematics. A letter that a changed font lacks comes from the
    usual one; one that this lacks too is drawn as a box, without a warning.
    """
    with matplotlib.rc_context(), warnings.catch_warnings(), relabelled(changes.labels):
        if style is not None:
            matplotlib.rcdefaults()
            settings: dict[Any, Any] = {**_COMMON, **_STYLES[style]}
            matplotlib.rcParams.update(settings)
        matplotlib.rcParams.update(dict[Any, Any](changes.fonts))
        if changes.fonts:
            matplotlib.rcParams["font.family"] = list(dict.fromkeys([*matplotlib.rcParams["font.family"], FONT]))
        matplotlib.rcParams["text.parse_math"] = False
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        yield


def callers_fonts() -> dict[str, Any]:
    """The caller's ``rcParams`` of fonts that are not matplotlib's own, from a style sheet, a file or code."""
    rc, default = matplotlib.rcParams, matplotlib.rcParamsDefault
    keys = [key for key in rc if key.startswith("font.") or key in _sizes(SIZE)]
    own: dict[str, Any] = {str(key): rc[key] for key in keys if rc[key] != default[key]}
    return {**(_sizes(rc["font.size"]) if "font.size" in own else {}), **own}


def fonts(family: str, points: float) -> dict[str, Any]:
    """A family, and a size of text that all other sizes follow; "" or 0 where it is not given."""
    return ({"font.family": [family]} if family else {}) | (dict(_sizes(points)) if points else {})


def scaled(size: float) -> float:
    """A size given for the light style (points or inches) at the present font size."""
    return size * float(matplotlib.rcParams["font.size"]) / SIZE
