"""How much of a task's test split occurs in a pretraining text.

A text counts as seen where at least half of its sequences of eight words occur in the pretraining text (GPT-3 drops
examples with sequences of 13 words, 2005.14165, appendix C). A text of fewer than eight words counts where it is a
line of the pretraining text, or a field of a line (between tabs, colons, ``|``, ``=`` or ``>``). It also counts inside
a line, at word boundaries, where it has at least five words, or where at most four words part it from the other text
or the label of its test pair. Shorter texts ("yes", "six thousand") recur inside lines by chance.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from archbench.tasks.base.dataset import Dataset, Table, Text
from archbench.tasks.base.groups import normal

WORDS = 8
SEEN = 0.5  # of an example's sequences
LIMIT = 0.01  # of the checked examples
FEW = 5  # words of a text that counts anywhere in a line; of four, 26 of 2,000 built-in phrases recur by chance
BETWEEN = 4  # words at most between the texts of a pair, such as names of languages
WORD = re.compile(r"\w+(?:[-'.]\w+|(?<=\d),\d+)*")  # "four days" does not stand in "twenty-four days" or "2.4 days"
FIELDS = re.compile(r"[\t:|=>]")

Pair = tuple[str, str]


@dataclass(frozen=True)
class Overlap:
    """The number of test texts that were checked, how many of them were seen, and the first of these."""

    checked: int
    seen: int
    example: str = ""

    @property
    def too_much(self) -> bool:
        return self.seen > LIMIT * self.checked


def overlap(pretraining: Text, tested: Sequence[str], pairs: Iterable[Pair] = ()) -> Overlap:
    """The texts of ``tested`` that occur in the pretraining text; ``pairs`` are those of the test split."""
    grams_by_text = [_grams(text) for text in tested]
    known = _shared(pretraining.chunks(), {gram for grams in grams_by_text for gram in grams})
    short = {text for text, grams in zip(tested, grams_by_text, strict=True) if not grams and normal(text)}
    found = _short(pretraining, short, pairs) if short else set()
    seen = [
        text
        for text, grams in zip(tested, grams_by_text, strict=True)
        if text in found or (grams and sum(gram in known for gram in grams) >= SEEN * len(grams))
    ]
    return Overlap(len(tested), len(seen), seen[0] if seen else "")


def texts_of_tests(dataset: Dataset, labels: bool) -> list[str]:
    """Texts that a task tests on: sources, and targets where they are not ``labels``; pieces of running text."""
    if isinstance(dataset.test, Table):
        return [*filter(None, dataset.test.sources), *([] if labels else dataset.test.targets)]
    return list(_pieces(line for chunk in dataset.test.chunks() for line in chunk.split("\n") if line.strip()))


def pairs_of_tests(dataset: Dataset) -> list[Pair]:
    """The sources that a task tests on, each with its target or label; none of running text."""
    return list(zip(dataset.test.sources, dataset.test.targets, strict=True)) if isinstance(dataset.test, Table) else []


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    """Lines joined until they have eight words: shorter ones, such as the name of a speaker, recur by chance."""
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if len(normal(" ".join(piece)).split()) >= WORDS:
            yield " ".join(piece)
            piece = []


def _grams(text: str) -> list[str]:
    words = normal(text).split()
    return [" ".join(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1)]


def _shared(chunks: Iterable[str], wanted: set[str]) -> set[str]:
    """The sequences of ``wanted`` that the text has."""
    grams: set[str] = set()
    last: list[str] = []
    for chunk in chunks:
        words = [*last, *normal(chunk).split()]
        grams.update(
            gram for at in range(len(words) - WORDS + 1) if (gram := " ".join(words[at : at + WORDS])) in wanted
        )
        last = words[-WORDS + 1 :]
    return grams


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    """The lines; chunks end where a line does, unless it is longer than a chunk."""
    return (line for chunk in chunks for line in chunk.split("\n"))


def _short(pretraining: Text, texts: Collection[str], pairs: Iterable[Pair]) -> set[str]:
    """Those of ``texts``, each of fewer than eight words, that were seen."""
    alone = _alone(pretraining.chunks(), {normal(text) for text in texts})
    inside = _inside(pretraining.chunks(), texts, pairs)
    return {text for text in texts if normal(text) in alone or _joined(text) in inside}


def _alone(chunks: Iterable[str], wanted: set[str]) -> set[str]:
    """The texts of ``wanted`` that are a line of the text or a field of one."""
    return {
        words for line in _lines(chunks) for part in {line, *FIELDS.split(line)} if (words := normal(part)) in wanted
    }


def _inside(chunks: Iterable[str], texts: Collection[str], pairs: Iterable[Pair]) -> set[str]:
    """Short texts, as words, that a line has: of at least five words, or beside the rest of their pair."""
    joined_pairs = {(_joined(a), _joined(b)) for a, b in pairs if len(_words(a)) < WORDS and len(_words(b)) < WORDS}
    beside = {pair for a, b in joined_pairs if a and b and a != b for pair in ((a, b), (b, a))}
    long_enough = {joined for text in texts if (joined := _joined(text)).count(" ") >= FEW - 1}
    wanted = long_enough | {text for pair in beside for text in pair}
    lengths = _lengths(wanted)
    seen: set[str] = set()
    for line in _lines(chunks):
        recent: list[tuple[int, str]] = []  # matches that end at most a few words before the next one starts
        for start, end, text in _matches(_words(line), wanted, lengths):
            recent = [(at, other) for at, other in recent if start - at <= BETWEEN]
            partners = {other for at, other in recent if at <= start and (other, text) in beside}
            seen |= partners | {text} if partners or text in long_enough else partners
            recent.append((end, text))
    return seen


def _lengths(texts: Iterable[str]) -> dict[str, list[int]]:
    """For each word, the lengths in words of the texts that start with it."""
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for words in map(str.split, texts):
        lengths[words[0]].add(len(words))
    return {word: sorted(counts) for word, counts in lengths.items()}


def _matches(
    words: Sequence[str], wanted: Collection[str], lengths: dict[str, list[int]]
) -> Iterator[tuple[int, int, str]]:
    """Where texts of ``wanted`` stand among ``words``: the first word, the one after the last, and the text."""
    for at, word in enumerate(words):
        for length in lengths.get(word, ()):
            if (text := " ".join(words[at : at + length])) in wanted:
                yield at, at + length, text


def _words(text: str) -> list[str]:
    """Words; what a hyphen, an apostrophe or a decimal sign joins is one."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def _joined(text: str) -> str:
    return " ".join(_words(text))
