"""Is the second phrase the translation of the first? ``phrases-pairs-en-de``, and other pairs of languages.

    three hundred and forty-two = dreihundertzweiundvierzig     yes
    three hundred and forty-two = dreihundertzweiundneunzig     no

Phrases come in fours: two that differ in one number, unit, month or in the order of two parts, each with its own
translation ("yes") and with that of the other ("no"). So half of the labels are "yes", and every phrase of either
language occurs once with "yes" and once with "no": neither side by itself tells the label. In a group

    - both phrases of a language have the same number of words, so that the numbers of words do not tell the label;
    - a word that both languages have, such as "April", occurs equally often in both phrases of a language, so that no
      word is more frequent under one label.

A weighted sum of counts of words and of pairs of neighbouring words can therefore not separate the labels: a bag of
words stays at chance, and a model has to compare the two sides. Lengths in characters are not matched. No phrase is in
two groups, so that the phrases of validation and test are new; training knows the parts that they combine.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product

from archbench.tasks.base.dataset import SPLITS, Dataset, Table, amount, make_dataset
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data import phrases
from archbench.tasks.builtin_data.languages import LANGUAGES, Language, language
from archbench.tasks.builtin_data.near_misses import SORTS, near_misses

PREFIX = "phrases-pairs-"
NAME = re.compile(rf"{PREFIX}([a-z]{{2,3}})-([a-z]{{2,3}})(?::([0-9_]+))?")
BETWEEN = " = "
YES, NO = "yes", "no"
EACH = 4  # examples of a group
TRAIN, VALIDATION, TEST = 60_000, 2_000, 4_000  # examples
MAXIMUM = 400_000
VERSION = 1  # raise when the same names would give other examples


@dataclass(frozen=True)
class PhraseGroup:
    """Two sources that differ in one thing, their translations, and the sort of the difference."""

    sources: tuple[str, str]
    targets: tuple[str, str]
    sort: str


def names() -> list[str]:
    """The pairs of languages that are tested."""
    return [f"{PREFIX}{a}-{b}" for a, b in product(LANGUAGES, LANGUAGES) if a != b]


def load(name: str, say: Say) -> Dataset:
    """Two phrases as a text, with "yes" or "no" as label; the notes count the test examples of each sort.

    ``name`` is ``phrases-pairs-en-de``, or ``phrases-pairs-en-de:200000`` for another number of training examples.
    Raises ``InputError`` for a language that Babel or num2words lacks, or for more examples than there are.
    """
    source, target, size = parse(name)
    say(f"{name}: generating {size:,} pairs of phrases")
    splits = draw(source, target, {"train": size, "validation": VALIDATION, "test": TEST})
    train, validation, test = (table(splits[split]) for split in SPLITS)
    sorts = Counter(group.sort for group in splits["test"])
    origin = (
        f"generated from CLDR and num2words, {source.code} and {target.code}; near misses differ in one number, unit, "
        "month or in the order of two parts, and every phrase occurs once with each label"
    )
    notes = {f"test_pairs_by_{sort}": EACH * sorts[sort] for sort in SORTS}
    return make_dataset("classification", train, validation, test, licence=phrases.LICENCE, origin=origin, notes=notes)


def parse(name: str) -> tuple[Language, Language, int]:
    """The two languages and the number of training examples that a name asks for; raises ``InputError``."""
    match = NAME.fullmatch(name)
    if match is None or match[1] == match[2]:
        raise InputError(f'data: "{name}" names no two languages; write it like "{PREFIX}en-de"')
    size = amount(match[3], TRAIN, MAXIMUM)
    if size is None or size % EACH:
        raise InputError(
            f'data: "{name}" may ask for {EACH} to {MAXIMUM} training examples, a multiple of {EACH}, '
            f'as in "{PREFIX}en-de:200000"'
        )
    return language(match[1]), language(match[2]), size


def draw(source: Language, target: Language, sizes: dict[str, int], seed: int = 0) -> dict[str, list[PhraseGroup]]:
    """Groups for ``sizes[split]`` examples of each split: test is drawn first, training last and in order.

    No phrase is in two groups. Raises ``InputError`` where there are too few.
    """
    groups = _groups(source, target, seed)
    splits: dict[str, list[PhraseGroup]] = {}
    for split in ("test", "validation", "train"):
        splits[split] = list(islice(groups, sizes[split] // EACH))
        if len(splits[split]) < sizes[split] // EACH:
            raise InputError(
                f"data: {source.code} to {target.code} has fewer than {sizes[split]:,} different pairs of phrases; "
                "request fewer"
            )
    return splits


def table(groups: list[PhraseGroup]) -> Table:
    """The four examples of each group; group i starts with example i mod 4."""
    rows: list[tuple[str, str]] = []
    for index, group in enumerate(groups):
        pairs = product(zip(group.sources, (0, 1), strict=True), zip(group.targets, (0, 1), strict=True))
        examples = [(f"{source}{BETWEEN}{target}", YES if a == b else NO) for (source, a), (target, b) in pairs]
        rows += examples[index % EACH :] + examples[: index % EACH]
    return Table([text for text, _ in rows], [label for _, label in rows])


def _groups(source: Language, target: Language, seed: int) -> Iterator[PhraseGroup]:
    """Groups of phrases that were in no group before; ends where no more are found."""
    seen: set[tuple[Language, str]] = set()
    idle = 0
    for miss in near_misses(source, target, seed):
        sources, targets = ((miss.first(side), miss.second(side)) for side in (source, target))
        spoken = {*((source, words) for words in sources), *((target, words) for words in targets)}
        idle += 1
        if len(spoken) == EACH and not spoken & seen and _fits(sources, targets):
            seen |= spoken
            idle = 0
            yield PhraseGroup(sources, targets, miss.sort)
        if idle > phrases.PATIENCE:
            return


def _fits(sources: tuple[str, str], targets: tuple[str, str]) -> bool:
    """True if phrases are short, and no count of words tells the two phrases of a language apart (see above)."""
    short = max(map(len, sources)) <= phrases.SOURCE_CHARACTERS and max(map(len, targets)) <= phrases.TARGET_CHARACTERS
    alike = all(len(left.split()) == len(right.split()) for left, right in (sources, targets))
    counts = [[_words(side) for side in sides] for sides in (sources, targets)]
    first, second = ({*left, *right} for left, right in counts)
    both = first & second
    return short and alike and all(left[word] == right[word] for left, right in counts for word in both)


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.casefold()))
