"""A skill: small examples of one kind that are drawn from a seed, by name, as in ``skill:recall,pairs=16``.

Symbols are words that begin with their space, so that each is one token wherever it stands. No two splits share an
example. Beside its test split, a skill has *slices*: test sets of other lengths, numbers of steps, and the like.
"""

import importlib
import pkgutil
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from archbench.tasks.base.code import hint
from archbench.tasks.base.dataset import Dataset, Table, make_dataset
from archbench.tasks.base.errors import InputError

PREFIX = "skill:"
LICENCE = "generated; CC0-1.0"
VERSION = 3  # raise when the same names would give other examples
TEST, VALIDATION, SLICE = 500, 500, 100  # examples
LONGER = (1.5, 2, 4)  # times the trained length
PATIENCE = 50  # draws for each example that is still wanted, before a set counts as exhausted
_SEED = 0x736B696C

Value = int | str
Parameters = dict[str, Value]
Example = tuple[Sequence[str], Sequence[str]]  # symbols of source and target


@dataclass(frozen=True)
class Skill:
    """``draw(rng, parameters, trains)`` gives the symbols of an example; ``trains`` is False for examples to test on.

    ``asks`` says in a line what is asked. ``defaults`` are the parameters: numbers from 1 on, or one of ``choices``.
    ``vocabulary(parameters)`` are all symbols and ``lengths(parameters)`` the most symbols of a source and a target.
    ``slices(parameters)`` are further test sets, by name the parameters that differ. ``problem(parameters)`` says why
    they do not fit together, "" where they do.
    """

    name: str
    asks: str
    defaults: Parameters
    draw: Callable[[random.Random, Parameters, bool], Example]
    vocabulary: Callable[[Parameters], Sequence[str]]
    lengths: Callable[[Parameters], tuple[int, int]]
    slices: Callable[[Parameters], Mapping[str, Parameters]]
    problem: Callable[[Parameters], str] = lambda parameters: ""
    choices: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class NamedSkill:
    """A skill with the parameters that a name gives it."""

    name: str
    skill: Skill
    parameters: Parameters

    @property
    def limits(self) -> tuple[int, int]:
        """The most tokens of a source and of a target, END counted, over the test split and all slices."""
        every = (self.parameters, *(self.parameters | changes for changes in self.slices.values()))
        source, target = (max(lengths) for lengths in zip(*map(self.skill.lengths, every), strict=True))
        return source, target + 1

    @property
    def slices(self) -> Mapping[str, Parameters]:
        """The slices that are possible with these parameters, such as with this vocabulary."""
        every = self.skill.slices(self.parameters).items()
        return {name: changes for name, changes in every if not self.skill.problem(self.parameters | changes)}

    def load(self) -> Dataset:
        """All examples. Raises ``InputError`` if there are too few different ones."""
        seen = set[tuple[str, str]]()
        test = self._table("test", TEST, {}, seen)
        slices = {name: self._table(name, SLICE, changes, seen) for name, changes in self.slices.items()}
        validation = self._table("validation", VALIDATION, {}, seen)
        train = self._table("train", int(self.parameters["examples"]), {}, seen)
        return make_dataset(
            "skill",
            train,
            validation,
            test,
            licence=LICENCE,
            origin=f"{self.skill.asks} ({self.name})",
            slices=slices,
            vocabulary=spelt(self.skill.vocabulary(self.parameters)),
        )

    def _table(self, name: str, count: int, changes: Parameters, seen: set[tuple[str, str]]) -> Table:
        rng = random.Random(f"{_SEED} {self.name} {name}")
        drawn = _different(rng, self.skill, self.parameters | changes, name == "train", seen)
        rows = [row for _, row in zip(range(count), drawn, strict=False)]
        if len(rows) < count:
            raise InputError(
                f'data: "{self.name}": {len(rows):,} different examples are left for {name}, which needs {count:,}; '
                "lower examples, or take larger parameters"
            )
        return Table([source for source, _ in rows], [target for _, target in rows])


def _different(
    rng: random.Random, skill: Skill, parameters: Parameters, trains: bool, seen: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Examples that none has been before, until none is found."""
    failed = 0
    while failed < PATIENCE:
        source, target = skill.draw(rng, parameters, trains)
        row = spelt(source), spelt(target)
        failed = failed + 1 if row in seen else 0
        if not failed:
            seen.add(row)
            yield row


def spelt(symbols: Sequence[str]) -> str:
    """Symbols as text, each after a space."""
    return "".join(f" {symbol}" for symbol in symbols)


@cache
def skills() -> Mapping[str, Skill]:
    """Every skill by name: the value ``SKILL`` of each other module of this package."""
    package = __name__.rpartition(".")[0]
    modules = (f"{package}.{module.name}" for module in pkgutil.iter_modules(importlib.import_module(package).__path__))
    found = (importlib.import_module(name).SKILL for name in sorted(modules) if name != __name__)
    return {skill.name: skill for skill in found}


def parse(name: str) -> NamedSkill:
    """The skill of a name such as ``skill:recall,pairs=16``. Raises ``InputError``."""
    family, *settings = name.removeprefix(PREFIX).split(",")
    if family not in skills():
        raise InputError(f'data: "{name}": no skill "{family}"{hint(family, skills())}')
    skill = skills()[family]
    parameters = {"examples": 40_000, **skill.defaults}
    for setting in settings:
        key, _, text = setting.partition("=")
        if key not in parameters:
            raise InputError(f'data: "{name}": {family} has no parameter "{key}"{hint(key, parameters)}')
        parameters[key] = _value(name, skill, key, text)
    if problem := skill.problem(parameters):
        raise InputError(f'data: "{name}": {problem}')
    return NamedSkill(name, skill, parameters)


def _value(name: str, skill: Skill, key: str, text: str) -> Value:
    choices = (skill.choices or {}).get(key)
    if choices:
        if text not in choices:
            raise InputError(f'data: "{name}": {key}: "{text}": expected {" or ".join(choices)}')
        return text
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) < 1:
        raise InputError(f'data: "{name}": {key}: "{text}": expected a number from 1 to 999999')
    return int(text)


def longer(key: str, least: str = "") -> Callable[[Parameters], Mapping[str, Parameters]]:
    """Slices at the largest trained value of a parameter and at `LONGER` times that.

    Where training draws values from ``least`` to ``key``, all examples of a slice have its value.
    """

    def slices(parameters: Parameters) -> Mapping[str, Parameters]:
        value = int(parameters[key])
        values = dict.fromkeys([value, *(round(value * factor) for factor in LONGER)])
        return {f"{key}={other}": dict.fromkeys(filter(None, (key, least)), other) for other in values}

    return slices


def wrong_range(parameters: Parameters, least: str, most: str) -> str:
    """Why values cannot be drawn from ``least`` to ``most``; "" if they can."""
    if int(parameters[least]) <= int(parameters[most]):
        return ""
    return f"{least}={parameters[least]}: expected at most {most}={parameters[most]}"


def questions(asked: Sequence[tuple[Sequence[str], str]]) -> tuple[list[str], list[str]]:
    """Questions and their answers as the end of a source and a target, which repeats each question before its answer.

    Without that, a model must learn at once which question comes next and what its answer is.
    """
    source = [symbol for question, _ in asked for symbol in question]
    return source, [symbol for question, answer in asked for symbol in (*question, answer)]


def numbers(count: int, letter: str = "") -> list[str]:
    """The symbols "0", "1", ... or, with a letter, "k0", "k1", ..."""
    return [f"{letter}{number}" for number in range(count)]
