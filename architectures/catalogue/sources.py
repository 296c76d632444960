"""The code that a variant consists of besides its own file, so that it is known by all of it.

That is the whole package that it is in, or what its distribution holds, and what ``import`` statements reach from there
and from a plain file: but for the standard library, archbench and installed distributions, which have versions.
"""

import ast
import contextlib
import hashlib
import importlib.util
import io
import sys
import sysconfig
import tokenize
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from archbench.tasks.base.errors import InputError, one_line

OURS = {"archbench"}
STANDARD = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")}
MARK = "# SHA-256 of the other modules that it consists of: "


def text(path: Path, offered: Collection[str] = ()) -> str:
    """The source of a variant's file, with a last line that stands for the other modules, where there are any.

    Nothing is imported. ``offered`` are the top-level modules and packages of the distribution that offers it. Raises
    ``InputError`` where the file cannot be read as Python source, and for a copy, as a run keeps one, whose last line
    does not match the other modules as they are now.
    """
    source = _source(path)
    body_text, mark, _ = source.rpartition(f"\n{MARK}")
    body = f"{body_text}\n" if mark else source
    modules = _other_modules(path.resolve(), offered)
    complete = f"{body.rstrip()}\n\n{MARK}{_digest(modules)}\n" if modules else body
    if mark and complete != source:
        raise InputError(
            f"{path}: modules that it imports have changed since this copy was made; use them as they were, "
            "or delete its last line"
        )
    return complete


@lru_cache(maxsize=256)
def code(source: str) -> str:
    """Python source without docstrings, comments and empty lines: what a run is named by, so that words may change.

    The last line that stands for other modules stays. Text that is no Python is returned as it is.
    """
    body, mark, others = source.rpartition(f"\n{MARK}")
    body = body if mark else source
    try:
        skipped = [*_docstrings(ast.parse(body)), *_comments(body)]
    except (SyntaxError, ValueError, tokenize.TokenError):
        return source
    lines = body.splitlines(keepends=True)
    for (first, begin), (last, end) in sorted(skipped, reverse=True):
        lines[first - 1 : last] = [_cut(lines[first - 1], begin)[0] + _cut(lines[last - 1], end)[1]]
    kept = [line.rstrip() for line in "".join(lines).splitlines() if line.strip()]
    return "\n".join([*kept, *([f"{MARK}{others.strip()}"] if mark else []), ""])


def _docstrings(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where docstrings begin and end: lines from 1, and bytes in UTF-8 from 0."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            yield (first.lineno, first.col_offset), (first.end_lineno or 0, first.end_col_offset or 0)


def _comments(body: str) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for token in tokenize.generate_tokens(io.StringIO(body).readline):
        if token.type == tokenize.COMMENT:
            begin = len(token.line[: token.start[1]].encode())
            yield (token.start[0], begin), (token.end[0], begin + len(token.string.encode()))


def _cut(line: str, size: int) -> tuple[str, str]:
    """A line before and after so many bytes of UTF-8."""
    encoded = line.encode()
    return encoded[:size].decode(), encoded[size:].decode()


def module_file(name: str) -> Path | None:
    """The file of a module with a dotted name, found without importing it; None where there is none."""
    top, *inner = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not inner and spec.origin:
        return Path(spec.origin)
    for folder in map(Path, spec.submodule_search_locations or ()):
        base = folder.joinpath(*inner)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def _source(path: Path) -> str:
    """The text of a Python file in the encoding that it declares."""
    try:
        with tokenize.open(path) as file:
            source = file.read()
    except (OSError, SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InputError(f"{path}:{line}: the variant file fails: {one_line(error)}") from error
    return source if source.endswith("\n") or not source else f"{source}\n"


def _other_modules(file: Path, offered: Collection[str]) -> dict[str, bytes]:
    """The other modules, but for empty ones, by their place below the folder that Python finds them in."""
    modules: dict[str, bytes] = {}
    seen = set(OURS)
    names = [*offered, *_imported(_content(file))]
    while names:
        name = names.pop()
        if name in seen or name in sys.stdlib_module_names:
            continue
        seen.add(name)
        for relative_path, path in _files(name):
            if name in offered or not _is_installed(path):
                content = _content(path)
                names += _imported(content)
                modules |= {relative_path: content} if content.strip() and path.resolve() != file else {}
    return modules


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
    for relative_path, content in sorted(files.items()):
        with contextlib.suppress(UnicodeDecodeError):
            content = code(content.decode()).encode()
        for part in (relative_path.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
