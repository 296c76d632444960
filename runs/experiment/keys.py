"""Keys of an experiment: each is declared once, as a field of a table, with its type, its default and what it names.

Where a key may be written follows from the class that declares it (`sections.py`). A checked table that is written over
another one (a task over the experiment, a condition or a start over a task, options of the command line over all) is a
patch: ``stated`` gives the keys that it has, ``patched`` puts them in. ``--set`` edits the file before it is checked
(`settings.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Key:
    """Effect of a key on the names and records of runs; stands in the ``Annotated`` type of its field.

    ``decides``: it can change a run's result, so it is part of the run's name. A key that does so only through
    something that names have already (the digest of the data, the tokens) does not decide. ``later``: there were
    published runs before it, so names and records have it only where it differs from its default. Every new key is a
    later one. ``in_files``: the default of files, where that of records from before the key is another one.
    """

    decides: bool = True
    later: bool = False
    in_files: Any = None


class Section(BaseModel):
    """A table of keys: unknown keys and wrong types are errors; values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def in_files(cls, name: str) -> Any:
        """The value of a key in an experiment file that leaves it out, where it has one of its own there."""
        return _recorded(cls)[name].in_files

    def stated(self, *of: type["Section"]) -> dict[str, Any]:
        """The keys that were given, of those that the classes ``of`` declare (default: all). None states nothing.

        A ``Table`` is the dictionary of what it states.
        """
        declared = {name for table in of or (type(self),) for name in table.model_fields}
        given = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        return {
            name: value.stated() if isinstance(value, Table) else value
            for name, value in given.items()
            if name in declared and value is not None
        }

    def patched(self, values: Mapping[str, Any]) -> Self:
        """A copy with ``values``: a dictionary goes key by key into a ``Table``, all else replaces what was there."""
        changes = dict(values)
        for name, value in values.items():
            table = getattr(self, name)
            if isinstance(table, Table) and isinstance(value, Mapping):
                changes[name] = table.patched(value)
        return self.model_copy(update=changes)

    def plain(self, *, deciding: bool = False) -> dict[str, Any]:
        """The keys as JSON values, later ones only where they differ from their default.

        ``deciding``: only those that decide a run's result.
        """
        fields = type(self).model_fields
        return {
            fields[name].serialization_alias or name: _plain(value)
            for name, key in _recorded(type(self)).items()
            if (value := getattr(self, name)) != fields[name].default or not key.later
            if key.decides or not deciding
        }

    def later(self) -> dict[str, Any]:
        """The later keys that decide a run's result and differ from their default, as JSON values; tables likewise."""
        found: dict[str, Any] = {}
        for name, key in _recorded(type(self)).items():
            value = getattr(self, name)
            if key.decides and key.later and value != type(self).model_fields[name].default:
                found[name] = _plain(value)
            elif key.decides and isinstance(value, Section) and (inner := value.later()):
                found[name] = inner
        return found


class Table(Section):
    """A section that is patched key by key; others are replaced whole."""


@cache
def _recorded(section: type[Section]) -> dict[str, Key]:
    """The keys of a section that are recorded, with what is declared about them."""
    return {
        name: next((item for item in field.metadata if isinstance(item, Key)), Key())
        for name, field in section.model_fields.items()
        if not field.exclude
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.plain()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
