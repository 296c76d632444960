"""Generated phrases with exactly one right translation: ``phrases-en-de`` and other pairs of languages.

    number     three hundred and forty-two      -> dreihundertzweiundvierzig
    ordinal    third and twenty-first           -> dritte und einundzwanzigste
    date       Sunday, May 3, 1987              -> Sonntag, 3. Mai 1987
    duration   five hours and twenty minutes    -> fünf Stunden und zwanzig Minuten
    quantity   1,234.5 kilometers               -> 1.234,5 Kilometer
    currency   twenty-five Swiss francs         -> fünfundzwanzig Schweizer Franken

Phrases are drawn from a seeded stream: a longer training split begins with the shorter one, and the other splits stay.
A hash of the normalised source decides a phrase's split. Half of validation and test are new phrases whose combinations
training knows, half are combinations that training never shows (a block of numbers, a month with a decade, a unit with
a range).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from archbench.tasks.base.dataset import SPLITS, Dataset, Table, Text, amount, make_dataset, text_in_memory
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data.languages import LANGUAGES, Language, language
from archbench.tasks.builtin_data.meanings import Meaning, meanings

Place = TypeVar("Place")
NAME = re.compile(r"phrases-([a-z]{2,3})-([a-z]{2,3})(?::([0-9_]+))?")
TRAIN, VALIDATION, TEST = 60_000, 1_000, 2_000
MAXIMUM = 1_000_000
SOURCE_CHARACTERS, TARGET_CHARACTERS = 48, 64
HELD_OUT, TEST_SHARE, VALIDATION_SHARE = 0.1, 0.03, 0.015
PATIENCE = 100_000
VERSION = 1  # raise when the same names would give other phrases
LICENCE = "generated; words from Unicode CLDR (Unicode License v3) and num2words (LGPL-2.1)"


@dataclass(frozen=True)
class Phrase:
    """A source, its one right translation and the kind of phrase it is."""

    source: str
    target: str
    kind: str


def names() -> list[str]:
    """The pairs of languages that are tested; others work where Babel and num2words know the language."""
    return [f"phrases-{a}-{b}" for a, b in product(LANGUAGES, LANGUAGES) if a != b]


def load(name: str, kind: str, say: Say) -> Dataset:
    """Phrases as pairs (translation), with their kind as label (classification), or as running text (generation).

    ``name`` is ``phrases-en-de``, or ``phrases-en-de:500000`` for another number of training phrases.
    Raises ``InputError`` for a language that Babel or num2words lacks, or for more phrases than there are.
    """
    source, target, size = parse(name)
    say(f"{name}: generating {size:,} phrases")
    splits = draw(source, target, {"train": size, "validation": VALIDATION, "test": TEST})
    train, validation, test = (shaped(kind, splits[split]) for split in SPLITS)
    origin = f"generated from CLDR and num2words, {source.code} to {target.code}"
    notes = {"held_out_combinations_in_test": TEST // 2}
    return make_dataset(kind, train, validation, test, licence=LICENCE, origin=origin, notes=notes)


def parse(name: str, pattern: re.Pattern[str] = NAME, usual: str = "phrases-en-de") -> tuple[Language, Language, int]:
    """The two languages and the number of training phrases that a name asks for; raises ``InputError``."""
    match = pattern.fullmatch(name)
    if match is None or match[1] == match[2]:
        raise InputError(f'data: "{name}" names no two languages; write it like "{usual}"')
    size = amount(match[3], TRAIN, MAXIMUM)
    if size is None:
        raise InputError(f'data: "{name}" may ask for 1 to {MAXIMUM} training phrases, as in "{usual}:500000"')
    return language(match[1]), language(match[2]), size


def draw(source: Language, target: Language, sizes: dict[str, int], seed: int = 0) -> dict[str, list[Phrase]]:
    """``sizes[split]`` phrases for each of train, validation and test; no source twice. Raises ``InputError``."""
    room = {("train", False): sizes["train"]}
    for split in ("validation", "test"):
        room |= {(split, True): sizes[split] // 2, (split, False): sizes[split] - sizes[split] // 2}
    splits: dict[str, list[Phrase]] = {"train": [], "validation": [], "test": []}
    for (split, _), phrase, _ in drawn(source, target, room, _placed, seed):
        splits[split].append(phrase)
    return splits


def drawn(
    source: Language,
    target: Language,
    room: Mapping[Place, int],
    placed: Callable[[Meaning, str], Place | None],
    seed: int = 0,
) -> Iterator[tuple[Place, Phrase, Meaning]]:
    """Phrases with their places until every place has as many as there is ``room`` for; no source twice.

    ``placed(meaning, source)`` gives a phrase's place, or None where it has none. Raises ``InputError`` where there
    are not enough.
    """
    free, wanted = dict(room), sum(room.values())
    seen: set[str] = set()
    idle, left = 0, wanted
    for meaning in meanings(source, target, seed):
        idle += 1
        words = meaning.say(source)
        if words not in seen and len(words) <= SOURCE_CHARACTERS:
            place = placed(meaning, words)
            translation = meaning.say(target) if place is not None and free[place] else ""
            if place is not None and 0 < len(translation) <= TARGET_CHARACTERS:
                seen.add(words)
                free[place] -= 1
                idle, left = 0, left - 1
                yield place, Phrase(words, translation, meaning.kind), meaning
        if not left:
            return
        if idle > PATIENCE:
            break
    raise InputError(f"data: {source.code} to {target.code} has fewer than {wanted:,} different phrases; request fewer")


def _placed(meaning: Meaning, words: str) -> tuple[str, bool]:
    held_out = bool(meaning.combination) and _share(meaning.combination) < HELD_OUT
    return _side(_share(_normal(words)), held_out), held_out


def _side(share: float, held_out: bool) -> str:
    if held_out:
        return "test" if share < 2 / 3 else "validation"
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


def _normal(words: str) -> str:
    return " ".join(words.casefold().split())


def _share(key: str) -> float:
    """A number in [0, 1) that depends only on the key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "big") / 2**56


def shaped(kind: str, phrases: list[Phrase]) -> Text | Table:
    """Phrases for a kind of task: pairs, sources with their kind as label, or running text."""
    if kind == "generation":
        return text_in_memory("".join(f"{phrase.source} = {phrase.target}\n" for phrase in phrases))
    targets = [phrase.kind if kind == "classification" else phrase.target for phrase in phrases]
    return Table([phrase.source for phrase in phrases], targets)
