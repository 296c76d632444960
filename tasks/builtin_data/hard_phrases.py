"""Generated phrases whose tests combine what training never shows together: ``phrases-en-de-hard``, and other pairs.

The phrases are those of `phrases`, split otherwise. Each pair of parts that a phrase combines is a cell of one of eight
grids. Some cells of each grid are held out for test, others for validation, and no training phrase has any of them.
Every test phrase has a test cell and no validation cell, and every validation phrase has a validation cell and no test
cell.

    grid         row, column                       test                             validation
    thousands    tens and ones of the thousands    (3 row + column) % 10 == 0       == 5
    hundreds     hundreds and tens of a number     == 1                             == 6
    ordinals     tens of the two ordinals          == 2                             == 7
    decades      month from 0, decade from 1800    == 3                             == 8
    weekdays     month, without (0) or with (1)    Jan 0, May 1, Sep 0              Mar 0, Jul 1, Nov 0
    durations    larger and smaller unit           year week, month hour,           year minute, month day,
                                                   day second                       week second
    quantities   unit, number in words             every fourth unit of the list    every fourth, two later
    currencies   currency, words (0), digits (1)   EUR 0, JPY 1, MXN 0              GBP 0, PLN 1, AUD 0

So training has no number in words from 17,000 to 17,999 and none that ends in 180 to 189, no January without a weekday
and no number in words before "kilometers". Every row and column stays in training with other partners: each number
word, month, unit and currency, and each kind of phrase in each of its forms. Cells do not depend on the languages.
"""

import re
from collections import Counter
from itertools import product

from archbench.tasks.base.dataset import SPLITS, Dataset, make_dataset
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data import phrases
from archbench.tasks.builtin_data.languages import LANGUAGES, Language
from archbench.tasks.builtin_data.meanings import DURATIONS, Cell, Meaning
from archbench.tasks.builtin_data.phrases import TEST, VALIDATION, Phrase, drawn, parse, shaped

SUFFIX = "-hard"
NAME = re.compile(rf"phrases-([a-z]{{2,3}})-([a-z]{{2,3}}){SUFFIX}(?::([0-9_]+))?")
VERSION = 1  # raise when the same names would give other phrases
GRIDS = {
    "thousands": "blocks of a thousand numbers",
    "hundreds": "hundreds with tens",
    "ordinals": "tens of two ordinals",
    "decades": "months with decades",
    "weekdays": "months with or without a weekday",
    "durations": "pairs of units of time",
    "quantities": "units with numbers in words",
    "currencies": "currencies with words or digits",
}
_DIAGONALS = {"thousands": 0, "hundreds": 1, "ordinals": 2, "decades": 3}
_PERIODS = {
    **dict.fromkeys((("year", "week"), ("month", "hour"), ("day", "second")), "test"),
    **dict.fromkeys((("year", "minute"), ("month", "day"), ("week", "second")), "validation"),
}


def names() -> list[str]:
    """The pairs of languages that are tested."""
    return [f"phrases-{a}-{b}{SUFFIX}" for a, b in product(LANGUAGES, LANGUAGES) if a != b]


def load(name: str, kind: str, say: Say) -> Dataset:
    """Phrases for a kind of task, as `phrases.load` gives them; the notes count the test phrases of each grid.

    Raises ``InputError`` for a language that Babel or num2words lacks, or for more phrases than there are.
    """
    source, target, size = parse(name, NAME, f"phrases-en-de{SUFFIX}")
    say(f"{name}: generating {size:,} phrases")
    splits, notes = draw(source, target, {"train": size, "validation": VALIDATION, "test": TEST})
    train, validation, test = (shaped(kind, splits[split]) for split in SPLITS)
    origin = (
        f"generated from CLDR and num2words, {source.code} to {target.code}; test and validation combine what training "
        f"never shows together: {', '.join(GRIDS.values())} (all listed in tasks/builtin_data/hard_phrases.py)"
    )
    return make_dataset(kind, train, validation, test, licence=phrases.LICENCE, origin=origin, notes=notes)


def draw(
    source: Language, target: Language, sizes: dict[str, int], seed: int = 0
) -> tuple[dict[str, list[Phrase]], dict[str, int]]:
    """``sizes[split]`` phrases for each split, no source twice, and the test phrases with a test cell, by grid.

    Raises ``InputError`` where there are too few.
    """
    splits: dict[str, list[Phrase]] = {split: [] for split in SPLITS}
    counts: Counter[str] = Counter()
    for split, phrase, meaning in drawn(source, target, sizes, lambda meaning, words: split_of(meaning), seed):
        splits[split].append(phrase)
        if split == "test":
            counts.update({cell[0] for cell in meaning.cells if split_of_cell(cell) == "test"})
    return splits, {f"test_{grid}_not_in_training": counts[grid] for grid in GRIDS}


def split_of(meaning: Meaning) -> str | None:
    """The split of a meaning, None where it has cells of both validation and test."""
    splits_of_cells = {split_of_cell(cell) for cell in meaning.cells} - {"train"}
    return None if len(splits_of_cells) > 1 else next(iter(splits_of_cells), "train")


def split_of_cell(cell: Cell) -> str:
    """The split that a cell is reserved for; training phrases have only cells that are reserved for training."""
    grid, row, column = cell
    if grid in _DIAGONALS:
        diagonal = (3 * row + column - _DIAGONALS[grid]) % 10
        return {0: "test", 5: "validation"}.get(diagonal, "train")
    if grid == "durations":
        return _PERIODS.get((_unit(row), _unit(column)), "train")
    if grid == "quantities":
        return _every_fourth(row) if column == 0 else "train"  # digits show the singular too: "1.5 kilometer"
    return _every_fourth(row) if column == row // 4 % 2 else "train"


def _every_fourth(row: int) -> str:
    return {0: "test", 2: "validation"}.get(row % 4, "train")


def _unit(index: int) -> str:
    return DURATIONS[index].rpartition("-")[2]
