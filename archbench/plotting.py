"""Code that ``archbench plot``, ``archbench table`` and ``archbench.figures`` share: reading tables and options."""

import re
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from archbench.reports.figures.canvas.styles import Changes
    from archbench.reports.figures.figure import View
    from archbench.reports.report import Report

Name = TypeVar("Name", bound=str)
UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}
WIDEST = 100.0  # inches
FONT_SIZES = (4, 40)  # points
GENERIC_FONTS = ("serif", "sans-serif", "monospace")


def judged(source: Any) -> "Report":
    """The results of a comparison: its tables, or its folder.

    Tables of a folder are gathered anew where it has records of runs. Raises ``InputError`` where it has neither.
    """
    from archbench.reports.base import tables
    from archbench.reports.page import assemble
    from archbench.reports.report import Report
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    if isinstance(source, Mapping):
        missing = [name for name in ("runs", "scores", "entries") if name not in source]
        if missing:
            raise InputError(f"tables: {', '.join(missing)} missing; expected what archbench.compare returns")
        return Report(tables.completed(source))
    if not isinstance(source, str | Path) or not str(source):
        raise InputError(f"tables: {printable(source)}: expected tables or the folder of a comparison")
    with mistakes():
        return Report(assemble.gathered(Path(source)))


def inches(option: str, width: object) -> float:
    """A width in inches from a number of inches, or from text such as ``3.3in``, ``84mm`` or ``240pt``."""
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(in|cm|mm|pt)?\s*", str(width))
    size = float(match[1]) * UNITS[match[2] or "in"] if match and not isinstance(width, bool) else 0.0
    if not 0 < size <= WIDEST:
        raise InputError(
            f"{option}: {printable(width)}: expected a width up to {WIDEST:g}in, such as 3.3in, 84mm or 240pt"
        )
    return size


def chosen(option: str, value: object, known: "Iterable[Name]") -> "Name":
    """The one of the known names that an option gives."""
    from archbench.runs.experiment.validation import nearest, printable
    from archbench.tasks.base.errors import InputError

    names = list(known)
    for name in names:
        if value == name:
            return name
    raise InputError(f"{option}: unknown {printable(value)}{nearest(str(value), names)}")


def form(given: str | None, out: str | None, endings: "Mapping[str, Name]", usual: "Name") -> "Name":
    """The format of a file: the one that is given, else that of the file's name, else the ``usual`` one.

    Raises ``InputError`` where the name says another format.
    """
    from archbench.tasks.base.errors import InputError

    ending = Path(out).suffix.removeprefix(".").lower() if out else ""
    if given is None:
        return endings[chosen("--out", ending, endings)] if ending else usual
    wanted = chosen("--format", given, dict.fromkeys(endings.values()))
    if ending in endings and endings[ending] != wanted:
        raise InputError(f"--out: {out} does not match --format {wanted}; rename the file or leave out --format")
    return wanted


def view(results: "Report", architectures: "Iterable[str] | None", datasets: "Iterable[str] | None") -> "View":
    """The results with only these architectures and data sets. Raises ``InputError`` for a name that they lack."""
    from archbench.reports.figures.figure import View

    runs = results.comparisons.tables["runs"]
    kept = [
        None if names is None else _known(option, names, column.dropna().unique())
        for option, names, column in (
            ("architectures", architectures, runs["architecture"]),
            ("datasets", datasets, runs["dataset"]),
        )
    ]
    return View(results, *kept)


def changes(
    results: "Report",
    labels: "Mapping[str, str] | Iterable[str] | None",
    font: object,
    title: object,
    style: object,
) -> "Changes":
    """The changes that a user makes to a figure; with a style, also the fonts of the caller's ``rcParams``.

    ``labels`` maps names to words, or has texts such as ``decoder=GPT,sst2=SST-2``. ``font`` is a family, a size in
    points, or both with a comma between them. Raises ``InputError`` for what is not known.
    """
    from archbench.reports.figures.canvas.styles import Changes, callers_fonts

    own = {} if style is None else callers_fonts()
    if title is not None:
        chosen("title", title, ["none"])
    return Changes(_labels(results, labels or {}), own | _fonts(font), title is None)


def _labels(results: "Report", given: "Mapping[str, str] | Iterable[str]") -> dict[str, str]:
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    if isinstance(given, Mapping):
        pairs = [(str(name), str(words)) for name, words in given.items()]
    else:
        texts = [given] if isinstance(given, str) else given
        parts = (part.partition("=") for text in texts for part in re.split(r",(?=[^,=]*=)", text))
        pairs = [(name, words) for name, _, words in parts]
    runs = results.comparisons.tables["runs"]
    known = [str(name) for column in ("architecture", "dataset") for name in runs[column].dropna().unique()]
    labels = {chosen("labels", name.strip(), known): words.strip() for name, words in pairs}
    for name, words in labels.items():
        if not words:
            raise InputError(f"labels: {printable(name)}: expected NAME=WORDS, such as {name}=GPT")
    return labels


def _fonts(given: object) -> dict[str, Any]:
    """A font as ``rcParams``."""
    from matplotlib.font_manager import fontManager

    from archbench.reports.figures.canvas.styles import fonts
    from archbench.runs.experiment.validation import printable
    from archbench.tasks.base.errors import InputError

    if given is None:
        return {}
    parts = [part.strip() for part in str(given).split(",")]
    sizes = [part.removesuffix("pt").strip() for part in parts if re.fullmatch(r"[0-9.]+\s*(pt)?", part)]
    families = [part for part in parts if not re.fullmatch(r"[0-9.]+\s*(pt)?", part)]
    points = float(sizes[0]) if sizes and sizes[0].count(".") < 2 and sizes[0] != "." else 0.0
    if len(sizes) > 1 or len(families) > 1 or (sizes and not FONT_SIZES[0] <= points <= FONT_SIZES[1]):
        least, most = FONT_SIZES
        raise InputError(
            f"font: {printable(given)}: expected a family, {least} to {most} points, or both: Times New Roman,8"
        )
    installed = {*GENERIC_FONTS, *(font.name for font in fontManager.ttflist)}
    return fonts(chosen("font", families[0], sorted(installed)) if families else "", points)


def _known(option: str, names: "Iterable[str]", present: "Iterable[str]") -> frozenset[str]:
    from archbench.tasks.base.errors import InputError

    listed = [names] if isinstance(names, str) else list(names)
    if not listed:
        raise InputError(f"{option}: is empty; expected at least one of {', '.join(present)}")
    return frozenset(chosen(option, name, map(str, present)) for name in listed)


@contextmanager
def mistakes() -> "Iterator[None]":
    """Turns a ``ValueError`` of the reports, which do not know who asks, into an ``InputError``."""
    from archbench.tasks.base.errors import InputError

    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from error
