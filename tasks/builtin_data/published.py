"""Scores that others published on data sets that archbench has by name.

``published.csv`` has a row for each score, read in the paper or repository that it names: shares between 0 and 1 as in
archbench's own tables, ``parameters`` where the source states or determines them, and how the protocol differs. Rows
are shown beside a report's own scores; nothing is tested against them.
"""

import csv
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("published.csv")


def rows(data: str) -> list[dict[str, str | None]]:
    """The published scores on the built-in data set ``data``, as rows of the table ``published``; None: not stated."""
    return [{key: value or None for key, value in row.items()} for row in _all() if row["dataset"] == data]


@cache
def _all() -> tuple[dict[str, str], ...]:
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))
