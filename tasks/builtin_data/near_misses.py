"""Two meanings that differ in one thing: a number, a unit, a month, or the order of two parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from archbench.tasks.builtin_data.languages import Language
from archbench.tasks.builtin_data.meanings import CURRENCIES, FIRST_DAY, LAST_DAY, Dice, Vocabulary, shared

SORTS = ("number", "unit", "month", "order")
Wording = Callable[[Language], str]


@dataclass(frozen=True)
class NearMiss:
    """Two meanings in words, and the sort of their difference; by chance they may be the same."""

    sort: str
    first: Wording
    second: Wording


def near_misses(source: Language, target: Language, seed: int = 0) -> Iterator[NearMiss]:
    """An endless stream of near misses that both languages can say, a pure function of ``seed``.

    What is written in digits is the same in both meanings. Raises ``InputError`` where the languages share no unit.
    """
    dice, words = Dice(seed), shared(source, target)
    makers = (_digit, _order_of_digits, _ordinals, _months, _durations, _durations, _quantities, _quantities, _money)
    while True:
        yield dice.of(makers)(dice, words)


def _digit(dice: Dice, words: Vocabulary) -> NearMiss:
    """342 and 392."""
    n = dice.below(10 ** (2 + dice.below(4)))
    power = 10 ** dice.below(len(str(n)))
    other = n + (dice.below(10) - n // power % 10) * power
    return NearMiss("number", _worded("number", n), _worded("number", other))


def _order_of_digits(dice: Dice, words: Vocabulary) -> NearMiss:
    """21 and 12."""
    digits = list(str(10 + dice.below(10 ** (2 + dice.below(4)) - 10)))
    n = int("".join(digits))
    a, b = dice.below(len(digits)), dice.below(len(digits))
    digits[a], digits[b] = digits[b], digits[a]
    return NearMiss("order", _worded("number", n), _worded("number", int("".join(digits))))


def _ordinals(dice: Dice, words: Vocabulary) -> NearMiss:
    """(third, tenth) and (third, twelfth) or (tenth, third)."""
    a, b, c = (1 + dice.below(99) for _ in range(3))
    sort = dice.of(("number", "order"))
    return NearMiss(sort, _ordered(a, b), _ordered(a, c) if sort == "number" else _ordered(b, a))


def _months(dice: Dice, words: Vocabulary) -> NearMiss:
    """May 3, 1987 and June 3, 1987."""
    year, day = FIRST_DAY.year + dice.below(LAST_DAY.year - FIRST_DAY.year + 1), 1 + dice.below(28)
    first, second = (_worded("date", date(year, 1 + dice.below(12), day), False) for _ in range(2))
    return NearMiss("month", first, second)


def _durations(dice: Dice, words: Vocabulary) -> NearMiss:
    """5 hours 20 minutes and 5 hours 30 minutes, 5 hours 20 seconds or 20 hours 5 minutes."""
    n, m, other = (dice.of(words.counts) for _ in range(3))
    at = sorted(dice.below(len(words.durations)) for _ in range(3))
    large, middle, small = (words.durations[index] for index in at)
    sort = dice.of(("number", "unit", "order"))
    counts = {"number": (n, other), "unit": (n, m), "order": (m, n)}[sort]
    second = _lasting(counts, (large, middle if sort == "unit" else small))
    return NearMiss(sort, _lasting((n, m), (large, small)), second)


def _quantities(dice: Dice, words: Vocabulary) -> NearMiss:
    """30 kilograms and 40 kilograms or 30 pounds; 1,234.5 kilograms and 1,234.5 pounds."""
    return _counted(dice, words, words.quantities, "counted", "measured", 1)


def _money(dice: Dice, words: Vocabulary) -> NearMiss:
    """30 euros and 40 euros or 30 yen; 1,234.50 euros and 1,234.50 yen."""
    return _counted(dice, words, CURRENCIES, "money", "amount", 2)


def _counted(
    dice: Dice, words: Vocabulary, units: tuple[str, ...], in_words: str, in_digits: str, decimals: int
) -> NearMiss:
    unit, other_unit = dice.of(units), dice.of(units)
    factor = dice.of((1, 1000))
    n, other = dice.of(words.counts) * factor, dice.of(words.counts) * factor
    value = Decimal(3 * 10**decimals + dice.below(10 ** (1 + decimals + dice.below(4)))) / 10**decimals
    change = dice.below(3)
    if change == 0:
        return NearMiss("number", _worded(in_words, n, unit), _worded(in_words, other, unit))
    method, amount = (in_words, n) if change == 1 else (in_digits, value)
    return NearMiss("unit", _worded(method, amount, unit), _worded(method, amount, other_unit))


def _worded(method: str, *values: Any) -> Wording:
    """The text that a method of `Language` writes."""
    return lambda language: str(getattr(language, method)(*values))


def _ordered(first: int, second: int) -> Wording:
    return lambda language: language.join(language.ordinal(first), language.ordinal(second))


def _lasting(counts: tuple[int, int], units: tuple[str, str]) -> Wording:
    return lambda language: language.join(*map(language.counted, counts, units))
