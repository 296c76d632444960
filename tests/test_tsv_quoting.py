"""Files of tab-separated values written by csv writers, and those whose quotes are text, give the texts meant."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archbench.tasks.base.dataset import Table
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.data import files
from archbench.tasks.data.prepare import _content
from archbench.tasks.data.tsv_quoting import is_quoted

COLUMNS = ("text", "label")
ROWS = [('she said "go"', "x"), ("one\ttab", "y"), ("two\nlines", 'z "q"'), ("plain, text", "x"), ('"', "y")]
CELLS = st.text(alphabet='ab "\t\n,', min_size=1, max_size=6)


def read(folder: Path, content: str) -> Table:
    (folder / "a.tsv").write_bytes(content.encode())
    return files.read_table(folder / "a.tsv", "utf-8", COLUMNS)


def written(rows: list[tuple[str, str]], **options: object) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, "excel-tab", **options).writerows([COLUMNS, *rows])  # type: ignore[call-overload]
    return text.getvalue()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_a_csv_writer_writes_is_read_back(quoting: int, end: str, tmp_path: Path) -> None:
    table = read(tmp_path, written(ROWS, quoting=quoting, lineterminator=end))
    assert list(zip(table.sources, table.targets, strict=True)) == ROWS


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_what_pandas_writes_is_read_back(quoting: int, tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=list(COLUMNS))
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False, quoting=quoting)
    table = files.read_table(tmp_path / "a.tsv", "utf-8", COLUMNS)
    assert list(zip(table.sources, table.targets, strict=True)) == ROWS


@given(st.lists(st.tuples(CELLS, CELLS), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_any_table_with_a_quote_or_a_tab_is_recognised(rows: list[tuple[str, str]], end: str) -> None:
    rows = [*rows, ('a\t"b"', "x")]
    assert is_quoted(io.StringIO(written(rows, lineterminator=end), newline=""))


@pytest.mark.parametrize(
    "cells",
    [
        ['"Go" she said', "x"],
        ['"Go', "x"],
        ['"', "x"],
        ['""', "x"],
        ['"Go!"', "x"],
        ['say "go"', "x"],
        ['x"', '"y'],
        ['"a', 'b"'],
    ],
)
def test_a_row_that_no_csv_writer_writes_keeps_the_file_as_it_is(cells: list[str], tmp_path: Path) -> None:
    plain = [["text", "label"], ["first", "x"], ['"a ""b"""', "y"], cells, ["last", "z"]]
    table = read(tmp_path, "".join("\t".join(row) + "\n" for row in plain))
    assert [[a, b] for a, b in zip(table.sources, table.targets, strict=True)] == plain[1:]


def test_lines_that_are_whole_rows_are_not_joined(tmp_path: Path) -> None:
    """A quotation over two rows of a plain file looks like one quoted cell with a line end in it."""
    table = read(tmp_path, 'text\tlabel\n"To be or not\tx\nto be"\ty\n')
    assert table.sources == ['"To be or not', 'to be"'] and table.targets == ["x", "y"]


def test_a_quote_that_nothing_closes_does_not_hold_the_file_in_memory() -> None:
    produced, line = 0, '"opens\tx\n' + "y" * 999

    def endless():  # type: ignore[no-untyped-def]
        nonlocal produced
        yield "text\tlabel\n"
        while True:
            produced += len(line)
            yield line.replace('"', "") if produced > len(line) else line

    assert not is_quoted(endless())
    assert produced < 2**25


def test_a_row_with_a_tab_too_many_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"line 3 has 3 fields where the header has 2 .* save it with one, or as \.jsonl"
    ):
        read(tmp_path, 'text\tlabel\n"Go" she said\tx\n"a\tb"\ty\n')


def test_what_was_encoded_before_is_encoded_again(tmp_path: Path) -> None:
    """Cached data are known by the file's hash, which does not change with how the file is read."""
    (tmp_path / "a.tsv").write_text(written(ROWS))
    (tmp_path / "a.csv").write_text("text,label\n")
    contents = {name: _content(config(tmp_path), name)[0] for name in ("a.tsv", "a.csv")}
    assert contents == {"a.tsv": ".tsv 2", "a.csv": ".csv"}


def config(folder: Path) -> TaskConfig:
    return TaskConfig(
        kind="classification",
        name="t",
        data="a.tsv",
        columns={},
        tokenizer="word",
        vocabulary=64,
        encoding="utf-8",
        source_length=8,
        target_length=1,
        test_examples=5,
        folder=str(folder),
    )
