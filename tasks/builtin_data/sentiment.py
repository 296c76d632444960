"""``sentiment``: 13,098 sentences of tweets, product reviews and editorials that people rated, in three classes.

Duplicates stay in one split, and so do all sentences of a review or an editorial. The film reviews of the same source
are left out: they overlap SST-2.
"""

import html
import io
import tarfile
from pathlib import Path

from archbench.tasks.base.dataset import SPLITS, Dataset, Table, make_dataset
from archbench.tasks.base.groups import components, normal, sides
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data.packages import Extract, Fetch, Package, Row, members, rows

FILES = ("amazonReviewSnippets", "nytEditorialSnippets", "tweets")
INNER, SUFFIX = "additional_resources/hutto_ICWSM_2014.tar.gz", "_GroundTruth.txt"
SHARES = {"test": 0.25, "validation": 0.05}
CUT = 0.5


def load(cache: Path, say: Say, fetch: Fetch | None = None) -> Dataset:
    """Sentences with ``negative``, ``neutral`` or ``positive``."""
    raw_rows = rows(EXTRACT, cache, say, fetch)
    groups = components([_keys(source, number, sentence) for source, number, _, sentence in raw_rows])
    placed = sides([_name(raw_rows[group]) for group in groups], SHARES)
    train, validation, test = (
        _table([row for row, side in zip(raw_rows, placed, strict=True) if side == split]) for split in SPLITS
    )
    return make_dataset(
        "classification",
        train,
        validation,
        test,
        licence="MIT (vaderSentiment; Hutto and Gilbert, ICWSM 2014)",
        origin="PyPI vaderSentiment 3.3.2, ICWSM 2014 ground truth",
        notes={"sentences": len(raw_rows)},
    )


def read(archive: Path) -> list[Row]:
    """``[source, number, rating, sentence]`` for each sentence, from the archive inside the source distribution."""
    with tarfile.open(archive) as outer:
        inner = next(raw for _, raw in members(outer, INNER))
    with tarfile.open(fileobj=io.BytesIO(inner)) as tar:
        return [
            [source, *line]
            for source in FILES
            for _, raw in members(tar, f"/{source}{SUFFIX}")
            for line in _lines(raw.decode("latin-1"))
        ]


def label(rating: float) -> str:
    """The class of a rating, cut beyond 0.5 on either side."""
    return "positive" if rating > CUT else "negative" if rating < -CUT else "neutral"


def _lines(raw: str) -> list[Row]:
    lines = []
    for line in raw.split("\r\n"):
        if line:
            number, rating, sentence = line.split("\t")
            float(rating)
            lines.append([number, rating, " ".join(html.unescape(sentence).split())])
    return lines


def _keys(source: str, number: str, sentence: str) -> list[tuple[str, ...]]:
    """The keys that a sentence shares with its group: its words, and its review or editorial (a tweet has none)."""
    document = number.rpartition("_")[0]
    return [("words", normal(sentence)), *([("document", source, document)] if document else [])]


def _name(row: Row) -> str:
    return f"{row[0]} {row[1]}"


def _table(lines: list[Row]) -> Table:
    return Table([row[3] for row in lines], [label(float(row[2])) for row in lines])


EXTRACT = Extract(
    name="sentiment",
    packages=(Package("vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"),),
    sha256="2fd43373d5f3e3fcac5b84c2c81935bc11a090ab2bb1a626bc920ab68389899e",
    megabytes=3,
    read=read,
)
