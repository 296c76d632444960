"""Numbers, dates, units and currencies in the words of one language: Unicode's CLDR (by Babel) and num2words."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from archbench.tasks.base.errors import InputError

LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")
NUMBER_WORDS = {"pt": "pt_BR"}  # CLDR's "pt" is Brazilian
SAMPLES = (25, 3, 2, 1, 0, 11, 1_000_000, Decimal("1.5"), Decimal("0.5"), Decimal("2.1"))  # every plural form
SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Language:
    """One language; every method gives a phrase with plain single spaces. Make one with ``language(code)``."""

    code: str
    locale: Any

    def number(self, n: int) -> str:
        """342 -> "three hundred and forty-two"."""
        return _words(self.code, n, "cardinal")

    def ordinal(self, n: int) -> str:
        """23 -> "twenty-third"."""
        return _words(self.code, n, "ordinal")

    def join(self, first: str, second: str) -> str:
        """("a", "b") -> "a and b"."""
        return _list(self.locale).format(first, second)

    def date(self, day: date, weekday: bool) -> str:
        """ "May 3, 1987", or with ``weekday`` "Sunday, May 3, 1987"."""
        from babel.dates import format_date

        return _plain(format_date(day, "full" if weekday else "long", locale=self.locale))

    def has(self, unit: str) -> bool:
        """True if CLDR, as Babel carries it, has a long name of this unit."""
        return unit.rpartition("-")[2] not in _unit(self.locale, unit, 25).replace("{0}", "").split("-")

    def counted(self, n: int, unit: str) -> str:
        """(25, "mass-kilogram") -> "twenty-five kilograms"; ``n``, or ``n`` / 1000, is ``invariable``."""
        return _unit(self.locale, unit, n).format(self.number(n))

    def measured(self, value: Decimal, unit: str) -> str:
        """(1234.5, "mass-kilogram") -> "1,234.5 kilograms"."""
        return _unit(self.locale, unit, value).format(_plain(_decimal(self.locale, value)))

    def money(self, n: int, currency: str) -> str:
        """(25, "CHF") -> "twenty-five Swiss francs"; ``n`` as for ``counted``."""
        return f"{self.number(n)} {_currency(self.locale, currency)}"

    def amount(self, value: Decimal, currency: str) -> str:
        """(1234.5, "CHF") -> "1,234.50 Swiss francs"."""
        from babel.numbers import format_decimal

        digits = _plain(format_decimal(value, "#,##0.00", locale=self.locale))
        return f"{digits} {_currency(self.locale, currency)}"

    def invariable(self, n: int) -> bool:
        """True if the number's words are the same beside every noun: numbers that end in one or two often inflect."""
        return 3 <= n < 100 and (n % 10 not in (1, 2) or n in (11, 12))


def language(code: str) -> Language:
    """The language of a code such as ``en``. Raises ``InputError`` where Babel or num2words lacks something."""
    from babel import Locale, UnknownLocaleError

    try:
        made = Language(code, Locale.parse(code))
        _probe(made)
    except (UnknownLocaleError, NotImplementedError, LookupError, ValueError, TypeError) as error:
        known = ", ".join(LANGUAGES)
        raise InputError(f'data: phrases cannot be made in "{code}" ({error}); take one of {known}') from error
    return made


def _probe(made: Language) -> None:
    attempts: tuple[Callable[[], str], ...] = (
        lambda: made.number(4321),
        lambda: made.ordinal(123),
        lambda: made.join("a", "b"),
        lambda: made.date(date(1987, 5, 3), True),
        lambda: made.measured(Decimal("1.5"), "length-meter"),
        lambda: made.amount(Decimal("1.5"), "EUR"),
    )
    for attempt in attempts:
        if not attempt():
            raise LookupError("a number, date or unit has no words")


@lru_cache(maxsize=1 << 18)
def _words(code: str, n: int, form: str) -> str:
    from num2words import num2words

    return _plain(num2words(n, lang=NUMBER_WORDS.get(code, code), to=form))


@lru_cache(maxsize=1 << 6)
def _list(locale: Any) -> str:
    from babel.lists import format_list

    return _plain(format_list(["{0}", "{1}"], locale=locale))


def _unit(locale: Any, unit: str, value: int | Decimal) -> str:
    """A pattern such as "{0} kilograms" in the plural form that ``value`` asks for."""
    return _unit_form(locale, unit, locale.plural_form(value))


@lru_cache(maxsize=1 << 12)
def _unit_form(locale: Any, unit: str, plural: str) -> str:
    from babel.units import format_unit

    sample = next(value for value in SAMPLES if locale.plural_form(value) == plural)
    formatted = format_unit(sample, unit, locale=locale)
    return _plain(formatted.replace(_decimal(locale, sample), "{0}"))


@lru_cache(maxsize=1 << 10)
def _currency(locale: Any, currency: str) -> str:
    from babel.numbers import get_currency_name

    return _plain(get_currency_name(currency, 25, locale=locale))


def _decimal(locale: Any, value: int | Decimal) -> str:
    from babel.numbers import format_decimal

    return str(format_decimal(value, locale=locale))


def _plain(value: str) -> str:
    """Single ordinary spaces in place of the narrow and the unbreakable ones."""
    return SPACES.sub(" ", value).strip()
