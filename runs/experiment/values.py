"""Types of the values in experiment files: what is accepted beside the type itself, and what is said of all else."""

import os
import re
from numbers import Integral
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from archbench.runs.experiment.validation import printable

Item = TypeVar("Item")
MOST_SEEDS = 10_000  # when seeds are given as a number


def unique(items: tuple[Item, ...]) -> tuple[Item, ...]:
    for position, item in enumerate(items):
        if item in items[:position]:
            raise ValueError(f"{printable(item)} is given twice")
    return items


def whole(value: object) -> object:
    """A number without a fraction as an integer; all else as it is."""
    is_whole = (isinstance(value, Integral) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    return int(value) if is_whole else value  # type: ignore[call-overload]  # both kinds convert


def listed(value: object) -> object:
    """A list, a range or a NumPy array as the tuple that strict validation expects."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    return tuple(plain) if isinstance(plain, list | range) else plain


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(
            f"{printable(name)}: expected at most 64 letters, digits, '.', '_' and '-', with a letter or digit first"
        )
    return name


def _flag(value: object) -> object:
    """A NumPy boolean as a Python one."""
    return value.tolist() if hasattr(value, "tolist") else value


def _one_or_list(value: object) -> object:
    return (value,) if isinstance(value, str) else listed(value)


def _seeds_or_count(value: object) -> object:
    """A list of seeds unchanged; a number n as the seeds 0 to n - 1."""
    count = whole(listed(value))
    if not isinstance(count, int) or isinstance(count, bool):
        return count
    if not 1 <= count <= MOST_SEEDS:
        raise ValueError(f"{count}: expected at least 1" if count < 1 else f"{count}: expected at most {MOST_SEEDS}")
    return tuple(range(count))


def _texts(value: object) -> object:
    """A list of names and paths, with paths converted to text."""
    items = listed(value)
    if not isinstance(items, tuple):
        return items
    return tuple(os.fspath(item) if isinstance(item, os.PathLike) else item for item in items)


Name = Annotated[str, AfterValidator(_plain_name)]
Word = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, BeforeValidator(whole)]
Count = Annotated[Whole, Field(ge=1)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Rate = Annotated[Number, Field(gt=0, le=10)]
Width = Annotated[Whole, Field(ge=8, le=65_536)]
Length = Annotated[Whole, Field(ge=0, le=65_536)]
Vocabulary = Annotated[Whole, Field(ge=8, le=1_000_000)]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Listed = Annotated[tuple[Item, ...], BeforeValidator(listed), Field(min_length=1), AfterValidator(unique)]
OneOrList = Annotated[tuple[Item, ...], BeforeValidator(_one_or_list), Field(min_length=1), AfterValidator(unique)]
Names = Listed[Word]
SeedsOrCount = Annotated[
    tuple[Seed, ...], BeforeValidator(_seeds_or_count), Field(min_length=1), AfterValidator(unique)
]
NamesOrPaths = Annotated[tuple[Word, ...], BeforeValidator(_texts), Field(min_length=1), AfterValidator(unique)]
Pair = Annotated[tuple[Word, Word], BeforeValidator(listed), AfterValidator(unique)]
