"""Phrases of two languages as running text, without translations: ``phrases-text-en-de``, to pretrain on.

    three hundred and forty-two
    Sunday, May 3, 1987
    ...
    fünf Stunden und zwanzig Minuten
    1.234,5 Kilometer

Training has the phrases that ``phrases-en-de`` trains on, or more of the same stream: no phrase that it tests on, and
no combination that it holds out. The lines of the second language are in another order, so that their positions do not
reveal what is the translation of what.
"""

import re
from collections.abc import Sequence

from archbench.tasks.base.dataset import SPLITS, Dataset, Text, make_dataset, text_in_memory
from archbench.tasks.base.progress import Say
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.builtin_data import phrases
from archbench.tasks.builtin_data.phrases import TEST, VALIDATION, Phrase

PREFIX = "phrases-text-"
NAME = re.compile(rf"{PREFIX}([a-z]{{2,3}})-([a-z]{{2,3}})(?::([0-9_]+))?")
BLOCK = 100  # lines of one language in a row
VERSION = 1  # raise when the same names would give other text
_ORDER = 0x6D6F6E6F  # seeds the order of the second language's lines


def load(name: str, say: Say) -> Dataset:
    """The text of a name like ``phrases-text-en-de`` or ``phrases-text-en-de:500000`` (training phrases)."""
    source, target, size = phrases.parse(name, NAME, f"{PREFIX}en-de")
    say(f"{name}: generating {size:,} phrases")
    splits = phrases.draw(source, target, {"train": size, "validation": VALIDATION, "test": TEST})
    train, validation, test = (_text(splits[split]) for split in SPLITS)
    origin = f"generated from CLDR and num2words, {source.code} and {target.code}"
    return make_dataset("generation", train, validation, test, licence=phrases.LICENCE, origin=origin)


def _text(drawn: Sequence[Phrase]) -> Text:
    """Blocks of lines, the two languages in turns."""
    order = seeded_order(len(drawn), _ORDER)
    sides = [phrase.source for phrase in drawn], [drawn[index].target for index in order]
    return text_in_memory(
        *("\n".join(side[begin : begin + BLOCK]) + "\n" for begin in range(0, len(drawn), BLOCK) for side in sides)
    )
