"""Small edits of Python source: rules that say where a pattern matches and what replaces it.

In patterns ``_a`` to ``_z`` match any expression; a replacement repeats its text as ``{_a}``.
"""

import ast
import re
from collections.abc import Callable, Iterator

from source_edits import Edit, Source

WILDCARD = re.compile("_[a-z]")
ATOMS = (ast.Name, ast.Call, ast.Attribute, ast.Subscript, ast.Constant, ast.List)
PARENTHESES = str.maketrans("", "", "()")
OUTSIDE = (ast.JoinedStr,)  # nodes inside have wrong positions in Python 3.11


class Module(Source):
    """A parsed source file and where its expressions stand."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(path, text)
        self.nodes = list(_located(self.tree, ""))

    def edit(self, node: ast.AST, function: str, after: str) -> Edit:
        start, end = self.span(node)
        return Edit(self.path, function, node.lineno, start, end, self.text_of(node), after)  # type: ignore[attr-defined]

    def insertion(self, node: ast.stmt, function: str, text: str) -> Edit:
        """``text``, one statement or definition, on lines of its own before the statement ``node``."""
        start, indent = self.span(node)[0], " " * node.col_offset
        after = text.replace("\n", f"\n{indent}") + f"\n{indent}"
        return Edit(self.path, function, node.lineno, start, start, "", after)


Rule = Callable[[Module], Iterator[Edit]]


def is_empty(edit: Edit) -> bool:
    """Whether the code stays the same but for parentheses."""
    return edit.before.translate(PARENTHESES) == edit.after.translate(PARENTHESES)


def expression(pattern: str, replacement: str, where: str = "") -> Rule:
    """Replaces expressions in functions whose ``file:Class.function`` contains the regular expression ``where``."""
    tree = ast.parse(pattern, mode="eval").body

    def rule(module: Module) -> Iterator[Edit]:
        for node, function in _inside(module, where):
            bound: dict[str, ast.AST] = {}
            if isinstance(node, ast.expr) and _matches(tree, node, bound):
                texts = {name: _atom(module, part) for name, part in bound.items()}
                yield module.edit(node, function, _closed(replacement.format(**texts)))

    return rule


def keyword(call: str, name: str, replacement: str, where: str = "") -> Rule:
    """Replaces the argument ``name`` of calls of ``call``; ``{value}`` is what it was."""

    def rule(module: Module) -> Iterator[Edit]:
        for node, function in _inside(module, where):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == call:
                for argument in node.keywords:
                    if argument.arg == name:
                        after = replacement.format(value=_atom(module, argument.value))
                        yield module.edit(argument.value, function, after)

    return rule


def returned(replacement: str, where: str) -> Rule:
    """Replaces what functions return; ``{value}`` is what it was."""

    def rule(module: Module) -> Iterator[Edit]:
        for node, function in _inside(module, where):
            if isinstance(node, ast.Return) and node.value is not None:
                yield module.edit(node.value, function, replacement.format(value=_atom(module, node.value)))

    return rule


def at_start(statement: str, where: str, argument: str = "") -> Rule:
    """Puts a statement at the start of functions that have the ``argument``."""

    def rule(module: Module) -> Iterator[Edit]:
        for node, function in _inside(module, where):
            if isinstance(node, ast.FunctionDef) and _has(node, argument):
                body = [part for part in node.body if not _is_text(part)]
                if body and not isinstance(body[0].__dict__.get("value"), ast.Constant):
                    yield module.insertion(body[0], f"{function}.{node.name}".lstrip("."), statement)

    return rule


def method(definition: str, where: str) -> Rule:
    """Adds a method to classes that have a ``forward``."""

    def rule(module: Module) -> Iterator[Edit]:
        for node, function in _inside(module, where):
            if isinstance(node, ast.FunctionDef) and node.name == "forward" and function:
                yield module.insertion(node, f"{function}.__init__", f"{definition}\n")

    return rule


def _located(node: ast.AST, function: str) -> Iterator[tuple[ast.AST, str]]:
    """Every node of a tree and the qualified name of what it stands in; no annotations, decorators or f-strings."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, OUTSIDE):
                yield child, function
                yield from _located(child, _inner(child, function))


def _inner(node: ast.AST, function: str) -> str:
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return function
    return f"{function}.{node.name}".lstrip(".")


def _inside(module: Module, where: str) -> Iterator[tuple[ast.AST, str]]:
    stem = module.path.rpartition("/")[2].removesuffix(".py")
    for node, function in module.nodes:
        name = _inner(node, function) if isinstance(node, ast.FunctionDef) else function
        if re.search(where, f"{stem}:{name}"):
            yield node, function


def _matches(pattern: object, node: object, bound: dict[str, ast.AST]) -> bool:
    if isinstance(pattern, ast.Name) and WILDCARD.fullmatch(pattern.id) and isinstance(node, ast.expr):
        first = bound.setdefault(pattern.id, node)
        return ast.dump(first) == ast.dump(node)
    if isinstance(pattern, ast.AST):
        fields = [name for name in pattern._fields if name != "ctx"]
        return type(pattern) is type(node) and all(
            _matches(getattr(pattern, name), getattr(node, name), bound) for name in fields
        )
    if isinstance(pattern, list):
        alike = isinstance(node, list) and len(pattern) == len(node)
        return alike and all(_matches(a, b, bound) for a, b in zip(pattern, node, strict=True))
    return type(pattern) is type(node) and pattern == node


def _atom(module: Module, node: ast.AST) -> str:
    text = module.text_of(node)
    return text if isinstance(node, ATOMS) else f"({text})"


def _closed(text: str) -> str:
    return text if isinstance(ast.parse(text, mode="eval").body, ATOMS) else f"({text})"


def _has(node: ast.FunctionDef, argument: str) -> bool:
    return not argument or argument in [parameter.arg for parameter in node.args.args]


def _is_text(node: ast.stmt) -> bool:
    value = node.__dict__.get("value")
    return isinstance(node, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)
