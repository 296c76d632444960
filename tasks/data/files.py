"""The user's own files: running text, tables with named columns, two parallel texts.

Errors name the file, the line or byte, and what to do. Text is read as UTF-8 unless another encoding is given. A byte
order mark and Windows line ends are accepted.
"""

import codecs
import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from archbench.tasks.base.dataset import CHUNK, Table, Text
from archbench.tasks.base.errors import InputError, expand_home, irregular, shortened
from archbench.tasks.data.tsv_quoting import Quoted, is_quoted

OTHER_NAMES = {  # common column names of data sets for each of ours; a message suggests them, no code assumes them
    "text": ("document", "article", "dialogue", "sentence", "content"),
    "label": ("class", "category", "target"),
    "summary": ("highlights", "abstract", "headline", "target"),
}
LONGEST_NAME = 255  # characters
LISTED = 12  # columns that a message names at most
REACH = 10_000  # characters that a cut may move at most, to reach the end of a line
LONGEST = 2**31 - 1  # characters of a cell: the csv module's largest portable limit; its default is 131,072
Columns = tuple[str, ...]


class _Commas(csv.excel):
    strict = True


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE  # the registered format text/tab-separated-values has no quoting
    strict = True


FORMATS: dict[str, type[csv.Dialect]] = {".csv": _Commas, ".tsv": _Tabs}
TABLES = (*FORMATS, ".jsonl")
REVISIONS = {".tsv": 2}  # raised whenever the way of reading files with the suffix changes


@dataclass(frozen=True)
class Span:
    """Characters ``start`` to ``stop`` of a text file, read lazily; ``stop=None`` means its end."""

    path: Path
    encoding: str
    start: int = 0
    stop: int | None = None

    def __iter__(self) -> Iterator[str]:
        at = 0
        for chunk in _chunks(self.path, self.encoding):
            first = max(0, self.start - at)
            last = len(chunk) if self.stop is None else self.stop - at
            if last <= 0:
                return
            if piece := chunk[first:last]:
                yield piece
            at += len(chunk)


def read_text(path: Path, encoding: str) -> Text:
    """A whole text file. Raises ``InputError`` if it is empty or not in the encoding."""
    measured = _measured(Span(path, codec(encoding)))
    if not measured.bytes:
        raise InputError(f"data: {path.name} is empty")
    return measured


def cut(path: Path, encoding: str, shares: tuple[float, ...]) -> list[Text]:
    """A text file in contiguous parts of about the given shares, cut at line ends."""
    name = codec(encoding)
    total = sum(map(len, _chunks(path, name)))
    if not total:
        raise InputError(f"data: {path.name} is empty")
    wanted = [round(total * sum(shares[: index + 1])) for index in range(len(shares) - 1)]
    ends = [0, *_line_ends(path, name, wanted), total]
    parts = [_measured(Span(path, name, start, stop)) for start, stop in pairwise(ends)]
    if not all(part.bytes for part in parts):
        raise InputError(f"data: {path.name} is too short to split off validation and test; give a file for each split")
    return parts


def read_table(path: Path, encoding: str, columns: Columns) -> Table:
    """Two columns of a ``.csv``, ``.tsv`` or ``.jsonl`` file; cells without surrounding space."""
    pairs = read_rows(path, encoding, columns)
    return Table([source for source, _ in pairs], [target for _, target in pairs])


def read_rows(path: Path, encoding: str, columns: Columns) -> list[Columns]:
    """The cells of these columns in each row of such a file, without surrounding space."""
    rows = _json_rows if path.suffix.lower() == ".jsonl" else _cell_rows
    cells = [tuple(cell.strip() for cell in row) for row in rows(path, encoding, columns)]
    if not cells:
        raise InputError(f"data: {path.name} has no rows")
    return cells


def read_parallel(source: Path, target: Path, encoding: str) -> Table:
    """Two text files; a source and its target have the same line number.

    Raises ``InputError`` if the files have different numbers of lines.
    """
    sides = [read_lines(path, encoding) for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise InputError(
            f"data: {source.name} has {len(sides[0]):,} lines and {target.name} {len(sides[1]):,}; "
            "parallel files need equally many lines"
        )
    if not sides[0]:
        raise InputError(f"data: {source.name} and {target.name} are empty")
    return Table(sides[0], sides[1])


def codec(encoding: str) -> str:
    """Python's name of an encoding; UTF-8 with or without a byte order mark. Raises ``InputError``."""
    try:
        name = codecs.lookup(encoding).name
        "a".encode(name)
    except (LookupError, UnicodeError) as error:
        raise InputError(f'encoding: unknown encoding "{encoding}"; write for example "utf-8" or "latin-1"') from error
    with suppress(UnicodeError):
        "\ud800".encode(name)
        raise InputError(
            f'encoding: "{encoding}" allows halves of surrogate pairs, which are not text; save the file as "utf-8"'
        )
    return "utf-8-sig" if name == "utf-8" else name


def existing(name: str, folder: Path) -> Path:
    """The path of a file beside the experiment. Raises ``InputError`` that suggests the nearest existing file."""
    path = folder / expand_home(name, "data")
    if os.path.isfile(path):  # pathlib's method raises for a name that is too long; this one returns False
        return path
    if os.path.isdir(path):
        raise InputError(f'data: "{name}" is a folder; name a file')
    if unreadable := irregular(path):
        raise InputError(f'data: "{name}" {unreadable}')
    beside = [other.name for other in path.parent.iterdir() if other.is_file()] if os.path.isdir(path.parent) else []
    near = get_close_matches(path.name[:LONGEST_NAME], beside, 1)
    hint = f'; did you mean "{Path(name).parent / near[0]}"?' if near else ""
    raise InputError(f'data: no file "{shortened(name)}" in {folder.resolve()}{hint}')


def missing_column(column: str, names: Iterable[str], place: str = "") -> InputError:
    """The error for a table in ``place`` whose column ``names`` lack ``column``."""
    there = list(names)
    other = next((name for name in OTHER_NAMES.get(column, ()) if name in there), "")
    hint = f'; to use "{other}", write columns = {{ {column} = "{other}" }}' if other else ""
    listed = ", ".join(shortened(name) for name in there[:LISTED])
    more = f" and {len(there) - LISTED:,} more" if len(there) > LISTED else ""
    return InputError(f'columns: no column "{column}"{place and f" in {place}"} (it has: {listed}{more}){hint}')


def _chunks(path: Path, name: str) -> Iterator[str]:
    with _reading(path, name) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def read_lines(path: Path, encoding: str) -> list[str]:
    """The lines of a text file, without surrounding space."""
    with _reading(path, codec(encoding)) as file:
        return [line.strip() for line in file]


def _measured(span: Span) -> Text:
    return Text(span, sum(len(piece.encode("utf-8", "surrogatepass")) for piece in span))


def _line_ends(path: Path, name: str, wanted: list[int]) -> list[int]:
    """Moves each position forward to the start of the next line, if that is within ``REACH``."""
    ends = list(wanted)
    for index, position in enumerate(wanted):
        near = "".join(Span(path, name, max(0, position - 1), position + REACH))
        at = near.find("\n")
        if at >= 0:
            ends[index] = max(0, position - 1) + at + 1
    return ends


def _cell_rows(path: Path, encoding: str, columns: Columns) -> Iterator[Columns]:
    csv.field_size_limit(LONGEST)
    dialect = _dialect(path, codec(encoding))
    with _reading(path, codec(encoding), newline="") as file:
        lines = _Lines(file)
        reader = csv.reader(lines, dialect)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            places = [_column(column, header, path) for column in columns]
            lines.quoted = False
            for row in reader:
                if row and len(row) != len(header):
                    raise InputError(
                        f"data: {path.name} {lines.place()} has {len(row)} fields where the header has "
                        f"{len(header)} ({shortened(', '.join(header), 200)}){_quoting_hint(row, dialect)}"
                    )
                lines.quoted = False
                yield tuple(row[place] if row else "" for place in places)
        except csv.Error as error:
            raise InputError(f"data: {path.name} {lines.place()} is not well-formed: {error}") from error


def _dialect(path: Path, name: str) -> type[csv.Dialect]:
    suffix = path.suffix.lower()
    if suffix == ".tsv":
        with _reading(path, name, newline="") as file:
            return Quoted if is_quoted(file) else _Tabs
    return FORMATS[suffix]


def _quoting_hint(row: Iterable[str], dialect: type[csv.Dialect]) -> str:
    """Advice for a row that may contain quoted cells in a file that is read without quoting."""
    if dialect is not _Tabs or not any('"' in cell for cell in row):
        return ""
    return "; quotes in a .tsv are text unless a csv writer wrote the whole file; save it with one, or as .jsonl"


@dataclass
class _Lines:
    """The numbered lines of a table; ``opened`` is the line in which the current row begins.

    ``quoted``: inside quotes, judged by the number of quotes in the row so far.
    """

    file: Iterator[str]
    number: int = 0
    opened: int = 0
    quoted: bool = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self.file)
        self.number += 1
        if not self.quoted:
            self.opened = self.number
        self.quoted ^= line.count('"') % 2 == 1
        return line

    def place(self) -> str:
        """The place of an error; an unclosed quote is noticed only many lines later."""
        if self.opened == self.number:
            return f"line {self.number}"
        return f"line {self.opened} (its quote closes in line {self.number} or never)"


def _column(column: str, header: list[str], path: Path) -> int:
    if not any(header):
        raise InputError(f"data: {path.name} has no header line with the names of its columns")
    if column not in header:
        raise missing_column(column, header, path.name)
    if header.count(column) > 1:
        raise InputError(
            f'columns: {path.name} has {header.count(column)} columns called "{column}"; rename all but one'
        )
    return header.index(column)


def _json_rows(path: Path, encoding: str, columns: Columns) -> Iterator[Columns]:
    with _reading(path, codec(encoding)) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _values(line, columns, f"{path.name} line {number}")


def _values(line: str, columns: Columns, place: str) -> Columns:
    try:
        row = json.loads(line)
    except RecursionError:
        raise InputError(f"data: {place} is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"data: {place} is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise InputError(f"data: {place} is not a JSON object")
    return tuple(_value(row, column, place) for column in columns)


def _value(row: Mapping[str, Any], column: str, place: str) -> str:
    if column not in row:
        raise missing_column(column, row, place)
    value = row[column]
    if isinstance(value, dict | list):
        raise InputError(f'columns: column "{column}" in {place} is not text')
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f'columns: column "{column}" in {place} is {value}, not text; write null, or omit the row')
    text = "" if value is None else str(value)
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise InputError(f'columns: column "{column}" in {place} is not text: it contains half of a surrogate pair')
    return text


@contextmanager
def _reading(path: Path, name: str, newline: str | None = None) -> Iterator[TextIO]:
    try:
        with path.open(encoding=name, newline=newline) as file:
            yield file
    except UnicodeError as error:
        raise InputError(_undecodable(path, name)) from error
    except OSError as error:
        raise InputError(f"data: {path.name} cannot be read: {error.strerror or error}") from error


def _undecodable(path: Path, name: str) -> str:
    """The message for the first bytes of a file that are not in the encoding."""
    decoder = codecs.getincrementaldecoder(name)()
    line, at = 1, 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                begin = at + len(chunk) - len(error.object)
                line += chunk[: max(0, begin + error.start - at)].count(b"\n")
                return (
                    f"encoding: {path.name} is not {name.removesuffix('-sig')}: byte {error.object[error.start]:#04x} "
                    f'at {begin + error.start:,} (line {line:,}); state its encoding, for example encoding = "latin-1"'
                )
            except UnicodeError as error:
                return f"encoding: {path.name} is not {name.removesuffix('-sig')}: {error}; state its encoding"
            if not chunk:
                return f"encoding: {path.name} is not {name.removesuffix('-sig')}; state its encoding"
            line += chunk.count(b"\n")
            at += len(chunk)
