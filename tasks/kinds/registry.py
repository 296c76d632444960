"""From a name or a file to a kind of task: built-in ones, the user's files, other packages' entry points.

A file or package of a kind is run as Python code, and only when it is named.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from archbench.tasks.base import code
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.builtin_data import builtin
from archbench.tasks.kinds import classification, generation, memorization, pairs, skill, summarization, translation
from archbench.tasks.metrics.builtin import TEXTS

ENTRY_POINTS = "archbench.tasks"
ATTRIBUTE = "kind"  # the name in a file of the kind that the file defines
BUILTIN: Mapping[str, TaskKind] = {
    kind.name: kind
    for kind in (
        generation.KIND,
        classification.KIND,
        translation.KIND,
        summarization.KIND,
        memorization.KIND,
        pairs.KIND,
        skill.KIND,
    )
}


def offered() -> dict[str, str]:
    """Kinds of installed packages, by name, with where each is; nothing is imported."""
    return code.offered(ENTRY_POINTS, BUILTIN)


def names() -> list[str]:
    """The built-in kinds and those that installed packages offer."""
    return [*BUILTIN, *sorted(offered())]


def is_file(name: str) -> bool:
    """True if a kind is given by the path of a Python file."""
    return name.endswith(".py")


def find(name: str, folder: str | Path = ".", where: str = "kind") -> TaskKind:
    """The kind called ``name``, or the one that the file at path ``name`` (relative to ``folder``) defines.

    Messages begin with ``where``. Raises ``InputError`` if there is none or it is no task kind.
    """
    if is_file(name):
        path = code.named_path(name, Path(folder), where)
        return _foreign(getattr(code.load_file(path, where), ATTRIBUTE, None), str(path), where)
    if name in BUILTIN:
        return BUILTIN[name]
    entry = code.entry(ENTRY_POINTS, name)
    if entry is None:
        beside = (Path(folder) / f"{name}.py").is_file()
        near = f'; did you mean "{name}.py"?' if beside else code.hint(name, names())
        raise InputError(f'{where}: "{name}": there is no such kind of task{near}')
    kind = _foreign(code.load_entry(entry, where), f"{name} of another package ({entry.value})", where)
    if kind.name != name:
        raise InputError(f'{where}: {kind.origin}: calls itself "{kind.name}"; the two names have to be the same')
    return kind


def of(config: TaskConfig) -> TaskKind:
    """The kind of a task; raises ``InputError`` as ``find`` does."""
    where = f"tasks.{config.name}.kind"
    kind = find(config.kind_file or config.kind, config.folder, where)
    if kind.name != config.kind:
        raise InputError(f'{where}: {kind.origin}: was "{config.kind}" and is "{kind.name}" now; run the command again')
    return kind


def read_as(config: TaskConfig) -> list[Any]:
    """Facts by which a kind that is not archbench's own decides how raw texts are read; empty for archbench's kinds."""
    texts_of = config.texts_of
    kind = find(texts_of, config.folder, f"tasks.{config.name}.kind") if texts_of else of(config)
    return [*kind.encoded_as, *kind.columns] if kind.origin else []


def numerics(name: str, form: str = "") -> int:
    """The version of this kind's computation; of a kind that is not archbench's own that of kinds of its form.

    0 where only the name of such a kind is known.
    """
    if name in BUILTIN:
        return BUILTIN[name].numerics
    return max((kind.numerics for kind in BUILTIN.values() if kind.form == form), default=0)


def kinds_served_by(data: Any) -> tuple[str, ...]:
    """The kinds of task that built-in data can serve, the usual one first; none where the data are not built in."""
    if not isinstance(data, str) or not builtin.is_builtin(data):
        return ()
    return tuple(name for name in builtin.find(data).kinds if name in BUILTIN)


def builtin_kind(kind: TaskKind, data: Any) -> str | None:
    """The built-in kind as which built-in data serve ``kind``; None where they do not, or are not built in.

    A built-in kind is served as itself; a foreign one as a built-in kind of the same form that is not limited to
    certain data.
    """
    served = kinds_served_by(data)
    if kind.name in served:
        return kind.name
    if not kind.origin:
        return None
    return next((name for name in served if BUILTIN[name].form == kind.form and not BUILTIN[name].only_data), None)


def primary(kind: TaskKind, data: Any) -> tuple[str, ...]:
    """The metrics that a task of this kind is judged by with these data."""
    known = isinstance(data, str) and builtin.is_builtin(data)
    own = builtin.find(data).primary.get(kind.name) if known else None
    return (own,) if own else kind.primary


def limits(kind: TaskKind, data: Any) -> tuple[int, int]:
    """The usual limits of a task in tokens: those of the data where they have them, else those of its kind."""
    known = builtin.find(data).limits if isinstance(data, str) and builtin.is_builtin(data) else None
    return known or (kind.source_length, kind.target_length)


def _foreign(kind: Any, origin: str, where: str) -> TaskKind:
    """A kind that is not archbench's own."""
    if not isinstance(kind, TaskKind):
        problem = "nothing" if kind is None else f"a {type(kind).__name__}"
        raise InputError(f"{where}: {origin}: gives {problem}; expected {ATTRIBUTE} = TaskKind(...)")
    if kind.name in BUILTIN:
        raise InputError(f'{where}: {origin}: "{kind.name}" is a built-in kind; choose another name')
    return _originated(kind, origin, where)


@cache
def _originated(kind: TaskKind, origin: str, where: str) -> TaskKind:
    unknown = [name for name in kind.metrics if name not in TEXTS and kind.measure is None]
    if unknown:
        raise InputError(f'{where}: {origin}: metrics: no metric "{unknown[0]}"{code.hint(unknown[0], TEXTS)}')
    return replace(kind, origin=origin)
