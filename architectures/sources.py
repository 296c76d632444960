"""The code that a variant consists of besides its own file, so that it is known by all of it.

That is the whole package that it is in, or what its distribution holds, and what ``import`` statements reach from there
and from a plain file: but for the standard library, archbench and installed distributions, which have versions.
"""

import ast
import hashlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path
from types import ModuleType

from tasks.errors import InputError

OURS = {"archbench", "architectures", "reports", "runs", "tasks"}
MAIN = {"__main__", "__mp_main__"}
STANDARD = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")}
MARK = "# SHA-256 of the other modules that it consists of: "


def text(module: ModuleType, offered: Collection[str] = ()) -> str:
    """The source of a variant's module, with a last line that stands for the other modules, where there are any.

    ``offered`` are the top-level modules and packages of the distribution that offers it. Raises ``InputError`` for a
    copy, as a run keeps one, whose last line no longer tells the other modules as they are.
    """
    source = _source(module)
    own, mark, _ = source.rpartition(f"\n{MARK}")
    body = f"{own}\n" if mark else source
    others = _others(Path(inspect.getfile(module)).resolve(), offered)
    found = f"{body.rstrip()}\n\n{MARK}{_digest(others)}\n" if others else body
    if mark and found != source:
        raise InputError(
            f"{module.__file__}: modules that it imports have changed since this copy was made; use them as they were, "
            "or delete its last line"
        )
    return found


def _source(module: ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except OSError:  # an empty file has none
        return ""


def loaded() -> dict[str, bytes]:
    """The files of all modules in this process, but for the script that it runs, archbench and what is installed.

    What a variant loads in ways that its text does not show is among them.
    """
    files = {}
    for name, module in list(sys.modules.items()):
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if file and name.partition(".")[0] not in OURS | MAIN and not _is_installed(Path(file)):
            files[name] = _content(Path(file))
    return files


def _others(own: Path, offered: Collection[str]) -> dict[str, bytes]:
    """The other modules, but for empty ones, by their place below the folder that Python finds them in."""
    found: dict[str, bytes] = {}
    seen = set(OURS)
    names = [*offered, *_imported(_content(own))]
    while names:
        name = names.pop()
        if name in seen or name in sys.stdlib_module_names:
            continue
        seen.add(name)
        for place, path in _files(name):
            if name in offered or not _is_installed(path):
                content = _content(path)
                names += _imported(content)
                found |= {place: content} if content.strip() and path.resolve() != own else {}
    return found


def _files(name: str) -> Iterator[tuple[str, Path]]:
    """Every Python file of a top-level module or package, and its place."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    for folder in map(Path, spec.submodule_search_locations or ()):
        yield from ((f"{name}/{path.relative_to(folder).as_posix()}", path) for path in folder.rglob("*.py"))
    if spec.submodule_search_locations is None and spec.origin:
        yield f"{name}.py", Path(spec.origin)


def _imported(content: bytes) -> set[str]:
    """Top-level names that a file imports anywhere in it."""
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}


def _is_installed(path: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or not STANDARD.isdisjoint(path.parents)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # part of an archive, or none at all
        return b""


def _digest(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for place, content in sorted(files.items()):
        for part in (place.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
