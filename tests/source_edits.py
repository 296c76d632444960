"""An edit of Python source as text, and where nodes stand in it: what both mutation scores are made of."""

import ast
import itertools
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """Bytes ``start`` to ``end`` of the file at ``path`` become ``after``.

    ``function`` is the qualified name of the function around it, or that of the class.
    """

    path: str
    function: str
    line: int
    start: int
    end: int
    before: str
    after: str

    def applied(self, source: str) -> str:
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()

    @property
    def change(self) -> str:
        """What becomes of what, each on one line, cut."""
        lines = (" ".join(text.split()) for text in (self.before, self.after))
        before, after = (line if len(line) < 100 else f"{line[:96]} ..." for line in lines)
        return f"`{before}` -> `{after}`" if before else f"before it `{after}`"


class Source:
    """A parsed file; spans of its nodes are in bytes."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text, self.data, self.tree = path, text, text.encode(), ast.parse(text)
        lengths = (len(line.encode()) for line in text.splitlines(keepends=True))
        self._starts = [0, *itertools.accumulate(lengths)]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """First byte of a node and the one behind it."""
        start = self._starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def text_of(self, node: ast.AST) -> str:
        return self.data[slice(*self.span(node))].decode()
