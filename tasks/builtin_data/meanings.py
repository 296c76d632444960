"""Meanings of generated phrases, independent of a language: six kinds, drawn from a seeded stream."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

from archbench.tasks.base.errors import InputError
from archbench.tasks.builtin_data.languages import LANGUAGES, Language

T = TypeVar("T")
KINDS = ("number", "ordinal", "date", "duration", "quantity", "currency")
WEIGHTS = (2, 1, 2, 2, 2, 1)
DURATIONS = tuple(f"duration-{unit}" for unit in ("year", "month", "week", "day", "hour", "minute", "second"))
QUANTITIES = (
    *(f"length-{unit}" for unit in ("kilometer", "meter", "centimeter", "millimeter", "mile", "foot")),
    *(f"mass-{unit}" for unit in ("kilogram", "gram", "pound")),
    *(f"volume-{unit}" for unit in ("liter", "milliliter", "cubic-meter")),
    *(f"area-{unit}" for unit in ("square-meter", "square-kilometer", "hectare")),
    *("energy-kilowatt-hour", "power-watt", "electric-volt", "temperature-celsius", "speed-kilometer-per-hour"),
)
CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "PLN", "INR", "MXN", "CAD", "AUD", "TRY")
FIRST_DAY, LAST_DAY = date(1800, 1, 1), date(2099, 12, 31)

Cell = tuple[str, int, int]  # a grid, and the row and column that a meaning takes there


@dataclass(frozen=True)
class Meaning:
    """One thing to say: ``say(language)`` puts it into words.

    ``combination`` names how it is put together, coarsely: a block of numbers, a month and a decade, ... Meanings of
    the same combination can be held out of training together; an empty combination never is. ``cells`` name all that
    it combines, finely: two parts of a number, a month and whether a weekday is named, a unit and how its number is
    written, ...
    """

    kind: str
    combination: str
    say: Callable[[Language], str]
    cells: tuple[Cell, ...] = ()


class Dice:
    """Draws only from ``random.random``, whose stream is the same in every version of Python."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, n: int) -> int:
        return int(self._random.random() * n)

    def of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]


@dataclass(frozen=True)
class Vocabulary:
    """The vocabulary that two languages share: units of quantity and duration, and counts that do not inflect."""

    quantities: tuple[str, ...]
    durations: tuple[str, ...]
    counts: tuple[int, ...]


def meanings(source: Language, target: Language, seed: int = 0) -> Iterator[Meaning]:
    """An endless stream of meanings that both languages can say, a pure function of ``seed``."""
    dice, words = Dice(seed), shared(source, target)
    weighted = [kind for kind, weight in zip(KINDS, WEIGHTS, strict=True) for _ in range(weight)]
    makers = {
        "number": _number,
        "ordinal": _ordinal,
        "date": _date,
        "duration": _duration,
        "quantity": _quantity,
        "currency": _currency,
    }
    while True:
        kind = dice.of(weighted)
        combination, cells, say = makers[kind](dice, words)
        yield Meaning(kind, combination, say, cells)


def shared(source: Language, target: Language) -> Vocabulary:
    """The vocabulary that both languages share. Raises ``InputError`` where they share no unit."""
    both = (source, target)
    vocabulary = Vocabulary(
        tuple(unit for unit in QUANTITIES if all(language.has(unit) for language in both)),
        tuple(unit for unit in DURATIONS if all(language.has(unit) for language in both)),
        tuple(n for n in range(100) if all(language.invariable(n) for language in both)),
    )
    if not (vocabulary.quantities and vocabulary.durations):
        known = ", ".join(LANGUAGES)
        raise InputError(f"data: {source.code} and {target.code} have no common names of units; use two of {known}")
    return vocabulary


Drawn = tuple[str, tuple[Cell, ...], Callable[[Language], str]]


def _number(dice: Dice, words: Vocabulary) -> Drawn:
    n = dice.below(10 ** (1 + dice.below(5)))
    cells = (*_thousands(n), *_hundreds(n))
    return f"number {n // 100}" if n >= 1000 else "", cells, lambda language: language.number(n)


def _thousands(n: int) -> tuple[Cell, ...]:
    """The two digits of a number's thousands."""
    return (("thousands", n // 10_000, n // 1000 % 10),) if n >= 1000 else ()


def _hundreds(n: int) -> tuple[Cell, ...]:
    """The hundreds of a number with its tens."""
    return (("hundreds", n // 100 % 10, n // 10 % 10),) if n >= 100 else ()


def _ordinal(dice: Dice, words: Vocabulary) -> Drawn:
    first, second = 1 + dice.below(999), 1 + dice.below(99)
    if dice.below(4) == 0:
        return "", _hundreds(first), lambda language: language.ordinal(first)
    first = 1 + first % 99
    return (
        f"ordinal {first // 10} {second // 10}",
        (("ordinals", first // 10, second // 10),),
        lambda language: language.join(language.ordinal(first), language.ordinal(second)),
    )


def _date(dice: Dice, words: Vocabulary) -> Drawn:
    day = FIRST_DAY + timedelta(days=dice.below((LAST_DAY - FIRST_DAY).days + 1))
    weekday = dice.below(2) == 1
    cells = (("weekdays", day.month - 1, int(weekday)), ("decades", day.month - 1, (day.year - FIRST_DAY.year) // 10))
    return f"date {day.month} {day.year // 10}", cells, lambda language: language.date(day, weekday)


def _duration(dice: Dice, words: Vocabulary) -> Drawn:
    at = dice.below(len(words.durations))
    unit, n, m = words.durations[at], dice.of(words.counts), dice.of(words.counts)
    if at + 1 == len(words.durations):
        return "", (), lambda language: language.counted(n, unit)
    smaller = dice.of(words.durations[at + 1 :])
    return (
        f"{unit} {smaller} {n // 10}",
        (("durations", DURATIONS.index(unit), DURATIONS.index(smaller)),),
        lambda language: language.join(language.counted(n, unit), language.counted(m, smaller)),
    )


def _quantity(dice: Dice, words: Vocabulary) -> Drawn:
    unit = dice.of(words.quantities)
    index = QUANTITIES.index(unit)
    if dice.below(4) == 0:
        n = dice.of(words.counts) * (1, 1000)[dice.below(2)]
        combination = f"{unit} {n // 10 if n < 100 else n // 10_000}"
        return combination, (("quantities", index, 0), *_thousands(n)), lambda language: language.counted(n, unit)
    value = Decimal(11 + dice.below(10 ** (2 + dice.below(4)))) / 10
    return f"{unit} {str(value)[:2]}", (("quantities", index, 1),), lambda language: language.measured(value, unit)


def _currency(dice: Dice, words: Vocabulary) -> Drawn:
    currency = dice.of(CURRENCIES)
    index = CURRENCIES.index(currency)
    if dice.below(2) == 0:
        n = dice.of(words.counts) * (1, 1000)[dice.below(2)]
        combination = f"{currency} {n // 10 if n < 100 else n // 10_000}"
        return combination, (("currencies", index, 0), *_thousands(n)), lambda language: language.money(n, currency)
    value = Decimal(300 + dice.below(10 ** (3 + dice.below(4)))) / 100
    return (
        f"{currency} {str(value)[:2]}",
        (("currencies", index, 1),),
        lambda language: language.amount(value, currency),
    )
