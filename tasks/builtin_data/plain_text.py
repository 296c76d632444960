"""One data set or several as plain text: every example is a prompt and its answer (T5, 1910.10683; GPT-2).

    sentiment: I love this camera.              -> positive
    phrases-en-de: five hours                   -> fünf Stunden
    shakespeare: Shall I compare thee to a su   -> mmer's day? Thou art more lovely and

``as-text:sentiment`` is one data set in that form, ``as-text:sentiment+phrases-en-de`` two, trained on together. The
first is the tested one, so that a model trained on all can be compared with one trained on the first. Training and
validation do not depend on the order, and so neither does the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archbench.tasks.base.dataset import Dataset, Table, Text, make_dataset
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.random_order import seeded_order

PREFIX = "as-text:"
SPAN = 64  # characters of running text in a prompt, and as many in its answer
VERSION = 2  # raise when the same data would be said otherwise
_ORDER = 0x6D6978  # seeds the choice of examples of the longer data sets


@dataclass(frozen=True)
class Part:
    """A data set: its name and its examples."""

    name: str
    data: Dataset


def parse(name: str) -> tuple[str, ...]:
    """The data sets that ``as-text:...`` names, the tested one first; raises ``InputError``."""
    parts = tuple(name.removeprefix(PREFIX).split("+"))
    prompts = [_prompt(part) for part in parts]
    if not all(parts) or any(part.startswith(PREFIX) for part in parts) or len(set(prompts)) < len(prompts):
        raise InputError(
            f'data: "{name}" does not name different data sets; write it like "{PREFIX}sentiment+phrases-en-de"'
        )
    return parts


def mixture(parts: Sequence[Part]) -> Dataset:
    """Prompts and answers: test of ``parts[0]``, training and validation of all parts.

    Every part has as many characters of a split as the shortest part (to one example), so that none outweighs the
    others; a single part stays whole.
    """
    tested, ordered = parts[0], sorted(parts, key=lambda part: part.name)
    train = _balanced([_prompted(part.name, part.data.train) for part in ordered])
    return make_dataset(
        "translation",
        _joined(train),
        _joined(_balanced([_prompted(part.name, part.data.validation) for part in ordered])),
        _prompted(tested.name, tested.data.test),
        licence="; ".join(dict.fromkeys(part.data.licence for part in ordered)),
        origin="; ".join(part.data.origin for part in ordered),
        notes={f"{_prompt(part.name)}_in_train": len(table) for part, table in zip(ordered, train, strict=True)},
    )


def _balanced(tables: list[Table]) -> list[Table]:
    least = min(map(_characters, tables))
    return [_cut(table, least) for table in tables]


def _joined(tables: list[Table]) -> Table:
    return Table(
        [text for table in tables for text in table.sources], [text for table in tables for text in table.targets]
    )


def _prompted(name: str, split: Text | Table) -> Table:
    pairs = _continuations(split) if isinstance(split, Text) else split
    return Table([f"{_prompt(name)}: {text}" for text in pairs.sources], pairs.targets)


def _prompt(name: str) -> str:
    """``phrases-en-de`` of ``phrases-en-de:5000``."""
    return name.partition(":")[0]


def _continuations(split: Text) -> Table:
    """Running text as disjoint pairs of ``SPAN`` characters and the ``SPAN`` that follow; a shorter rest is dropped."""
    table = Table([], [])
    rest = ""
    for chunk in split.chunks():
        rest += chunk
        whole = len(rest) - len(rest) % (2 * SPAN)
        for start in range(0, whole, 2 * SPAN):
            table.sources.append(rest[start : start + SPAN])
            table.targets.append(rest[start + SPAN : start + 2 * SPAN])
        rest = rest[whole:]
    return table


def _characters(table: Table) -> int:
    return sum(map(len, table.sources)) + sum(map(len, table.targets))


def _cut(table: Table, characters: int) -> Table:
    """At most ``characters`` characters of examples, chosen in a seeded order; they stay in the table's own order."""
    if _characters(table) <= characters:
        return table
    order = seeded_order(len(table), [_ORDER, len(table)])
    lengths = np.array([len(a) + len(b) for a, b in zip(table.sources, table.targets, strict=True)])
    kept = np.sort(order[np.cumsum(lengths[order]) <= characters])
    return Table([table.sources[i] for i in kept], [table.targets[i] for i in kept])
