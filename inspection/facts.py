"""Facts that measurement and page share: the file of a run's measurements, and the names in it. Knows no torch."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

Row = Mapping[str, Any]

SCHEMA: Final = 3
FILE: Final = "inspection.json"
HEADS: Final = 60  # test examples that heads, norms and mean losses are measured on
NO_ROLE: Final = "mixed"  # of a head that follows no pattern
THIS, BEFORE, AFTER, CLASS = "this token", "token before", "token after", "class"  # questions of linear probes
EMBEDDING: Final = "embedding"  # the name of the stream before the first layer


def together(rows: Iterable[Row], *keys: str) -> dict[tuple[str, ...], list[Row]]:
    """The rows with equal values of ``keys``, by these values, in the order in which they come."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[key]) for key in keys), []).append(row)
    return groups


def is_behind(row: Row) -> bool:
    """True if a probe's layer is worse than the best one by more than two standard errors."""
    return bool(row["behind"] > 2 * row["behind_error"])
