"""Markdown out of text that anybody may have written: it is shown as it is and does nothing."""

import re
from collections.abc import Sequence

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
MARKS = re.compile(r"[\\`*|~\[\]]|(?<![^\W_])_|_(?![^\W_])")  # an underscore between letters or digits marks nothing


def escaped(text: str) -> str:
    """``text`` on one line, for prose and cells of tables, so that it comes out as it went in.

    a|b <i> `c`    ->    a\\|b &lt;i&gt; \\`c\\`
    """
    line = " ".join(text.split())
    return re.sub("[&<>]", lambda match: ENTITIES[match[0]], MARKS.sub(lambda match: "\\" + match[0], line))


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table whose cells are any text."""
    lines = [[escaped(cell) for cell in line] for line in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
