"""Generated random strings, which can only be memorized: ``random-strings`` and ``random-strings:20000``.

    source  "k4gq"              a key, distinct from all others
    target  "zq5mafs3p2ydk7ow"  its string, every character drawn uniformly from 32

A string holds exactly `BITS` bits: no compressor needs fewer, nothing about one string follows from the others, and
the key tells nothing. The bits that a model saves are in its parameters. Training, validation and test are the same
strings, on purpose: memory is measured, there is nothing to generalise to (2404.05405, 2505.24832).
"""

import math
import re

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.dataset import Dataset, Table, amount, make_dataset
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say
from archbench.tasks.base.random_order import drawn_order

FAMILY = "random-strings"
NAME = re.compile(rf"{FAMILY}(?::([0-9_]+))?")
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # base32 in small letters (RFC 4648)
EACH = int(math.log2(len(ALPHABET)))  # bits of a character
KEY, LENGTH = 4, 16  # characters
BITS = LENGTH * EACH  # of a string
STRINGS = 8_192
MAXIMUM = len(ALPHABET) ** KEY  # there are no more keys
VERSION = 1  # raise when the same names would give other strings
LICENCE = "generated; CC0-1.0"
_SEED = 0x6D656D


def load(name: str, say: Say) -> Dataset:
    """The strings with their keys, the same in all three splits. Raises ``InputError`` for a name that asks for none.

    A longer list begins with the shorter one.
    """
    size = parse(name)
    say(f"{name}: generating {size:,} strings")
    table = draw(size)
    notes = {"bits_in_all_strings": size * BITS, "test_strings_seen_in_train_by_design": size}
    origin = f"{size:,} uniformly random strings of {LENGTH} characters, the same in all splits"
    return make_dataset("memorization", table, table, table, licence=LICENCE, origin=origin, notes=notes)


def parse(name: str) -> int:
    """The number of strings that a name asks for; raises ``InputError``."""
    match = NAME.fullmatch(name)
    size = amount(match[1], STRINGS, MAXIMUM) if match else None
    if size is None:
        raise InputError(f'data: "{name}" may ask for 1 to {MAXIMUM:,} strings, as in "{FAMILY}:20000"')
    return size


def draw(size: int) -> Table:
    """``size`` keys and their strings, from seeded streams of their own."""
    order = drawn_order(MAXIMUM, _stream(0))[:size]
    keys = order[:, None] // len(ALPHABET) ** np.arange(KEY) % len(ALPHABET)
    strings = (_stream(1).random_raw(size * LENGTH) >> np.uint64(64 - EACH)).reshape(size, LENGTH)
    return Table(_spelt(keys), _spelt(strings))


def _stream(number: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence([_SEED, number]))


def _spelt(rows: NDArray[np.int64] | NDArray[np.uint64]) -> list[str]:
    """Rows of indices into the alphabet as text."""
    return ["".join(ALPHABET[index] for index in row) for row in rows.tolist()]
