"""Numbers as people read them."""

import math
import re
from collections.abc import Iterable

from archbench.reports.base.statistics import Interval

MISSING = "\N{EN DASH}"
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float) -> str:
    """Three significant digits with an SI prefix: 812345 -> '812 k'."""
    if not math.isfinite(value):
        return MISSING
    for size, prefix in _PREFIXES:
        if abs(value) >= size * 0.9995:
            return f"{_significant(value / size)}\N{NO-BREAK SPACE}{prefix}"
    return _significant(value)


def span(values: Iterable[float]) -> str:
    """The least and the greatest, in millions and two digits, so that what differs by less is the same."""
    known = sorted(float(f"{value:.2g}") / 1e6 for value in values)
    ends = dict.fromkeys(f"{end:g}\N{NO-BREAK SPACE}M" for end in (known[0], known[-1])) if known else {"unknown": None}
    return " to ".join(ends)


def count(value: float) -> str:
    """A whole number with separators: 812345 -> '812,345'."""
    return f"{value:,.0f}" if math.isfinite(value) else MISSING


def seconds(value: float) -> str:
    """A duration: 75 -> '1 min 15 s'."""
    if not math.isfinite(value):
        return MISSING
    if value < 60:
        return f"{_significant(value)}\N{NO-BREAK SPACE}s"
    whole = round(value)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    parts = (f"{hours} h", f"{minutes} min") if hours else (f"{minutes} min", f"{rest} s")
    return " ".join(parts).replace(" ", "\N{NO-BREAK SPACE}")


def memory(value: float) -> str:
    """Bytes in binary units: 1073741824 -> '1.00 GiB'."""
    if not math.isfinite(value):
        return MISSING
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if value >= size:
            return f"{_significant(value / size)}\N{NO-BREAK SPACE}{unit}"
    return f"{value:.0f}\N{NO-BREAK SPACE}B"


def percent(ratio: float) -> str:
    """A deviation: 0.0031 -> '+0.3%'; what rounds to nothing has no sign."""
    if not math.isfinite(ratio):
        return MISSING
    text = f"{100 * ratio:+.1f}%"
    return "0.0%" if text in ("+0.0%", "-0.0%") else text.replace("-", "\N{MINUS SIGN}")


def decimals(interval: Interval, usual: int = 3) -> int:
    """How many decimals an interval supports: two significant digits of its half-width."""
    if not math.isfinite(interval.half_width) or interval.half_width <= 0:
        return usual
    return min(max(1 - math.floor(math.log10(interval.half_width)), 0), max(usual, 3))


def value(number: float, places: int = 3) -> str:
    """A score: 0.6531 -> '0.653', with a true minus sign."""
    if math.isnan(number):
        return MISSING
    text = f"{number:,.{places}f}" if math.isfinite(number) else ("∞" if number > 0 else "-∞")
    if not text.strip("-0.,"):
        text = text.lstrip("-")  # a small negative number, rounded to zero
    return text.replace("-", "\N{MINUS SIGN}")


def interval(interval: Interval, usual: int = 3) -> str:
    """A mean with its interval: '0.653 ± 0.021'; the mean alone where no interval is known."""
    places = decimals(interval, usual)
    if not math.isfinite(interval.half_width):
        return value(interval.mean, usual)
    if interval.half_width == 0:
        return f"{value(interval.mean, usual)} ± 0"
    above, below = interval.upper - interval.mean, interval.mean - interval.lower
    if abs(above - below) > 0.1 * interval.half_width:
        return f"{value(interval.mean, places)} ({value(interval.lower, places)} to {value(interval.upper, places)})"
    return f"{value(interval.mean, places)} ± {value(interval.half_width, places)}"


def limits(interval: Interval, usual: int = 3) -> str:
    """An interval's ends: '0.63 to 0.67'."""
    places = decimals(interval, usual)
    return f"{value(interval.lower, places)} to {value(interval.upper, places)}"


def signed(gap: Interval, usual: int = 3) -> str:
    """A difference with its sign and, where it is known, its interval: '+0.12 (0.05 to 0.19)'."""
    shown = f"{'+' if gap.mean > 0 else ''}{value(gap.mean, decimals(gap, usual))}"
    return f"{shown} ({limits(gap, usual)})" if gap.known else shown


def capitalized(text: str) -> str:
    """The text with a capital at the beginning; the rest as it is."""
    return text[:1].upper() + text[1:]


def listing(words: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    items = list(words)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def grouped(entries: Iterable[tuple[str, str]], link: str = "on") -> str:
    """Words for what holds where, each said once: 'decoder on a and b; encoder and prefix-decoder on c'."""
    places: dict[str, dict[str, None]] = {}
    for what, where in entries:
        places.setdefault(what, {})[where] = None
    names: dict[str, list[str]] = {}
    for what, wheres in places.items():
        names.setdefault(listing(wheres), []).append(what)
    return "; ".join(f"{listing(whats)} {link} {where}" for where, whats in names.items())


def visible(text: str) -> str:
    """Text as HTML can hold it: control characters by their pictures, save line breaks and tabs."""
    return text if text.isprintable() else "".join(map(_picture, text))


def _picture(letter: str) -> str:
    code = ord(letter)
    if code < 0x20 and letter not in "\n\t":
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\N{SYMBOL FOR DELETE}"
    return "\N{REPLACEMENT CHARACTER}" if 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000 else letter


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value)) + 1e-9))
    return f"{value:.{min(places, 6)}f}"


def p(chance: float) -> str:
    """A p value with three decimals, or more if needed to show on which side of 5% it is."""
    if math.isnan(chance):
        return MISSING
    if chance < 0.001:
        return "< 0.001"
    short = f"{chance:.3f}"
    return f"{chance:.4f}" if short == "0.050" else short


def p_text(chance: float) -> str:
    """A p value in a sentence: 'p = 0.012', 'p < 0.001'."""
    text = p(chance)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def portable(command: str) -> str:
    """A command without the folder and the number of jobs, which belong to one machine."""
    return re.sub(r" --(?:out|jobs)[ =]\S+", "", command)
