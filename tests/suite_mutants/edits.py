"""Small edits of Python source, found with `ast` and applied to the text."""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import source_edits

OPERATORS = {
    ast.Lt: ("<", "<=", "lt-le"),
    ast.LtE: ("<=", "<", "le-lt"),
    ast.Gt: (">", ">=", "gt-ge"),
    ast.GtE: (">=", ">", "ge-gt"),
    ast.Eq: ("==", "!=", "eq-ne"),
    ast.NotEq: ("!=", "==", "ne-eq"),
    ast.Add: ("+", "-", "add-sub"),
    ast.Sub: ("-", "+", "sub-add"),
    ast.Mult: ("*", "/", "mul-div"),
    ast.Div: ("/", "*", "div-mul"),
}
SWAPPED = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
NO_CODE = (ast.JoinedStr, ast.Raise, ast.Assert, ast.Import, ast.ImportFrom)  # messages, invariants, imports
TALK = re.compile(r"^(print|_?say|notify|warn|warning|info|debug|LogLine|Progress|cast|TypeVar|NewType|\w*Error)$")
KEPT = {
    "help",
    "description",
    "title",
    "label",
    "message",
    "strict",
}  # arguments that are texts, or checks of invariants
PATH = re.compile(
    r"^\W*(self\.)?_?(path|folder|root|file|place|cache|out|snapshots|run_folder)\b"
)  # its / is no division
UNREAD = {"annotation", "returns", "decorator_list", "type_params"}  # fields of nodes
MODULE, BODY = "<module>", "<body>"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Edit(source_edits.Edit):
    """An edit by an operator, the one of this ``ordinal`` in the function.

    ``lines`` are those whose tests run it, from the first to the last; ``at_import`` where it is run when the module is
    imported.
    """

    operator: str
    ordinal: int
    lines: tuple[int, int]
    at_import: bool

    @property
    def id(self) -> str:
        """What stays the same when other code changes."""
        return f"{self.path}:{self.function}:{self.operator}:{self.ordinal}"


class Place(NamedTuple):
    """Where a node stands: its function, the lines of its statement, whether it runs on import."""

    function: str
    lines: tuple[int, int]
    at_import: bool


class Source(source_edits.Source):
    """A parsed file and the edits of it."""

    def __init__(self, root: Path, path: str) -> None:
        super().__init__(path, (root / path).read_text(encoding="utf-8"))

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def edits(self) -> list[Edit]:
        """All edits in the order of the source; some may be no other code (``is_other_code``)."""
        collected, counts = [], Counter[tuple[str, str]]()
        for node, place in _located(self.tree, Place(MODULE, (1, 1), True)):
            for operator, start, end, after in self._changes(node):
                ordinal = counts[place.function, operator]
                counts[place.function, operator] += 1
                collected.append(self._edit(place, operator, ordinal, (start, end), after))
        return collected

    def named(self, function: str, before: str, after: str) -> Edit:
        """The edit of a text that stands once in a function; raises ``LookupError`` where it does not."""
        for node, place in _located(self.tree, Place(MODULE, (1, 1), True)):
            if place.function == function and isinstance(node, ast.expr | ast.keyword) and self.text_of(node) == before:
                return self._edit(place, "named", 0, self.span(node), after)
        raise LookupError(f"{self.path}: {function} has no {before!r}; name another edit")

    def _edit(self, place: Place, operator: str, ordinal: int, span: tuple[int, int], after: str) -> Edit:
        line = self.data.count(b"\n", 0, span[0]) + 1
        before = self.data[slice(*span)].decode()
        run = place.lines, place.at_import
        return Edit(self.path, place.function, line, *span, before, after, operator, ordinal, *run)

    def is_other_code(self, edit: Edit) -> bool:
        """Whether the edited file compiles, to something else."""
        try:
            changed = ast.parse(edit.applied(self.text))
        except SyntaxError:
            return False
        return ast.dump(changed) != ast.dump(self.tree)

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> tuple[int, int, str]:
        """The operator between two nodes, exchanged."""
        start, end = self.span(left)[1], self.span(right)[0]
        at = start + self.data[start:end].find(old.encode())
        return at, at + len(old), new

    def _changes(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        """Operator, first byte, the byte behind it and the new text, for each edit of a node."""
        match node:
            case ast.Compare():
                for left, kind, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    if type(kind) in OPERATORS:
                        old, new, name = OPERATORS[type(kind)]
                        yield (name, *self._between(left, right, old, new))
            case ast.BinOp() if type(node.op) in OPERATORS and not self._joins(node):
                old, new, name = OPERATORS[type(node.op)]
                yield (name, *self._between(node.left, node.right, old, new))
            case ast.Constant() if type(node.value) in (int, float):
                yield (f"{node.value}-{_other(node.value)}", *self.span(node), _other(node.value))
            case ast.BoolOp():
                old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                parts = [f"({self.text_of(value)})" for value in node.values]
                yield (f"{old}-{new}", *self.span(node), f"({f' {new} '.join(parts)})")
            case ast.UnaryOp(op=ast.Not()):
                yield ("drop-not", *self.span(node), f"({self.text_of(node.operand)})")
            case ast.IfExp() if not (_is_message(node.body) or _is_message(node.orelse)):
                yield ("left", *self.span(node), f"({self.text_of(node.body)})")
                yield ("right", *self.span(node), f"({self.text_of(node.orelse)})")
            case ast.Call():
                yield from self._of_call(node)
            case ast.AugAssign() | ast.Expr(value=ast.Call()) if not any(map(_is_message, ast.walk(node))):
                yield ("delete", *self.span(node), "pass")
                if isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
                    old, new, name = OPERATORS[type(node.op)]
                    yield (f"{name}-in-place", *self._between(node.target, node.value, old, new))

    def _joins(self, node: ast.BinOp) -> bool:
        """Whether an operator joins texts or paths."""
        is_path = isinstance(node.op, ast.Div) and bool(PATH.match(self.text_of(node.left)))
        return is_path or any(isinstance(side, ast.JoinedStr) or _is_string(side) for side in (node.left, node.right))

    def _of_call(self, node: ast.Call) -> Iterator[tuple[str, int, int, str]]:
        name = _called(node)
        if name in SWAPPED:
            start, end = self.span(node.func)
            yield f"{name}-{SWAPPED[name]}", end - len(name), end, SWAPPED[name]
        arguments = sorted([*node.args, *node.keywords], key=self.span)
        for place, argument in enumerate(arguments):
            if isinstance(argument, ast.keyword) and argument.arg and argument.arg not in KEPT:
                start, end = self.span(argument)
                if place:
                    start = self.data.rindex(b",", 0, start)
                elif len(arguments) > 1:
                    end = self.span(arguments[1])[0]
                yield f"drop-{argument.arg}", start, end, ""


def _other(value: float) -> str:
    if isinstance(value, int):
        return str(value + 1)
    return repr(float(f"{value * 1.1:.6g}")) if value else "1.0"


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_message(node: ast.AST) -> bool:
    """Whether a node is a text for people: one that is put together, or of several words."""
    return isinstance(node, ast.JoinedStr) or (_is_string(node) and " " in ast.unparse(node))


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _is_talk(node: ast.AST) -> bool:
    """Whether a node is a message, progress or a list of names: nothing that a test should have to notice."""
    if isinstance(node, ast.Expr | ast.keyword):
        return _is_talk(node.value) or (isinstance(node, ast.keyword) and node.arg in KEPT)
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    if isinstance(node, ast.ClassDef):
        return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    return isinstance(node, NO_CODE) or (isinstance(node, ast.Call) and bool(TALK.match(_called(node))))


def _located(node: ast.AST, place: Place) -> Iterator[tuple[ast.AST, Place]]:
    """The nodes below one that may be edited, and their places."""
    for field, value in ast.iter_fields(node):
        if field in UNREAD:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_talk(child):
                inner = _place(node, field, child, place)
                yield child, inner
                yield from _located(child, inner)


def _place(parent: ast.AST, field: str, child: ast.AST, place: Place) -> Place:
    """The place of a child; what stands in a function's defaults is run by the tests of its body."""
    if isinstance(parent, DEFINITIONS) and field in ("body", "args"):
        outer = place.function.removesuffix(BODY).removesuffix(MODULE).rstrip(".")
        name, is_class = f"{outer}.{parent.name}".lstrip("."), isinstance(parent, ast.ClassDef)
        if field == "args":
            return Place(name, (parent.body[0].lineno, parent.body[-1].end_lineno or 0), False)
        nested = f"{name}.{BODY}" if is_class else name
        place = Place(nested, place.lines, is_class and place.at_import)
    if not isinstance(child, ast.stmt):
        return place
    body = getattr(child, "body", None)
    last = body[0].lineno - 1 if body else child.end_lineno or child.lineno
    return Place(place.function, (child.lineno, max(last, child.lineno)), place.at_import)
