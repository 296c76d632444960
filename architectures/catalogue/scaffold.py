"""Starts a variant file: the default variant of a family with comments, under a name of its own."""

import difflib
import importlib.util
import re
from pathlib import Path

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families import builtin
from archbench.architectures.families.variant import Variant
from archbench.tasks.base.errors import InputError

FAMILIES = tuple(kind.family for kind in builtin.FAMILIES)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
DOCUMENT = """{name}: {article} model; describe the change in one line and cite the paper.

`size.depth` and `size.hidden` are fitted to the budget, so use both. Width, heads and
the task's limits are fixed. `archbench.architectures` has all components; for parts of
your own (experts, attention with a cache, a recurrence, logits) see docs/variants.md.
"""
ARTICLES = {"decoder": "a decoder-only", "encoder": "an encoder-only", "encoder-decoder": "an encoder-decoder"}
COMMENTS = {  # above the first line of `build` that contains this
    "Attention(": """Heads that share keys and values: kv_heads=1. Local attention: window=64.
Normed queries and keys: qk_norm=True.""",
    "GatedFeedForward(": """In place of GatedFeedForward: FeedForward, NoFeedForward, or your own module with
`flops(tokens)` for a forward pass: 2 * tokens * inputs * outputs per matrix.""",
    "LayerNorm,": "In place of LayerNorm: RMSNorm. Other wiring is wiring=PostNorm or wiring=NoNorm.",
    "Head(": "One table for both: `embedding = Embedding(...)` first, and here tied=embedding.",
}
OWN_COMMENTS = {
    "decoder": {
        "def block": "Layers that differ: `def block(layer: int)`; Stack counts layers from 0.",
        "positions=": """Or Alibi(size.heads), Learned(limits.length, size.dim), Sinusoidal(size.dim),
RelativeBias(size.heads, bidirectional=False), NoPositions(). One more argument,
prefix=True: the source is read in both directions.""",
    },
    "encoder": {
        "def block": "Layers that differ: `def block(layer: int)`; Stack counts layers from 0.",
        "positions=": """Or Learned(limits.length, size.dim), Sinusoidal(size.dim). RelativeBias and
Alibi encode only distances, so masked positions are hard to distinguish.""",
        "canvas=": """The number of target positions. One more argument, objective=Masked(suffix=True)
or objective=Masked(next_cell=True): in training, the end is hidden. mask=Mask(...):
what each token and cell reads, see docs/variants.md.""",
    },
    "encoder-decoder": {
        "def block": """Layers that differ: `def block(cross: bool, layer: int)`, and in the stacks
`lambda layer: block(False, layer)`; Stack counts layers from 0.""",
        "positions=": """Or Alibi(size.heads), Learned(limits.length, size.dim), Sinusoidal(size.dim),
RelativeBias(size.heads, bidirectional=True). One more argument,
decoder_positions=Alibi(size.heads): the decoder has its own.""",
    },
}


def write(name: str, family: str | None, folder: Path) -> Path:
    """Writes ``name``.py into ``folder`` and returns its path; a suffix ``.py`` of ``name`` is ignored.

    Raises ``InputError`` if the family is unknown, the name cannot be a variant's, or the file exists.
    """
    default, stem = _default(family), plain(name)
    if stem.replace("_", "-").lower() in (*catalogue.names(), *catalogue.ablated()):
        raise InputError(f'NAME: "{stem}" is already an architecture; choose another name')
    document = DOCUMENT.format(name=stem, article=ARTICLES[default.name])
    return place(stem, _commented(default).replace(default.document, document, 1), folder)


def plain(name: str) -> str:
    """The name without ``.py``; raises ``InputError`` if it cannot name a Python file."""
    stem = name.removesuffix(".py")
    if not NAME.fullmatch(stem):
        raise InputError(f'NAME: "{stem}": expected a letter, then letters, digits, "-" and "_", without a folder')
    return stem


def place(stem: str, text: str, folder: Path) -> Path:
    """Writes a new ``stem``.py into ``folder`` and returns its path; raises ``InputError`` if the file exists."""
    path = folder / f"{stem}.py"
    if path.exists():
        raise InputError(f"{path}: already exists; choose another name, or delete the file first")
    _free(stem)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path


def _default(family: str | None) -> Variant:
    if family not in FAMILIES:
        near = difflib.get_close_matches(str(family).lower(), FAMILIES, 1)
        problem = "missing" if family is None else f'unknown "{family}"'
        hint = f'; did you mean "{near[0]}"?' if family is not None and near else ""
        raise InputError(f"--family: {problem}; expected {', '.join(FAMILIES[:-1])} or {FAMILIES[-1]}{hint}")
    return catalogue.find(family)


def _commented(default: Variant) -> str:
    """The text of a default variant with the comments of its family."""
    before, build, body = default.text.partition("def build(")
    lines = body.splitlines()
    for beginning, comment in {**COMMENTS, **OWN_COMMENTS[default.name]}.items():
        place = next(n for n, line in enumerate(lines) if beginning in line and "#" not in line)
        indent = " " * (len(lines[place]) - len(lines[place].lstrip()))
        lines[place:place] = [f"{indent}# {line}" for line in comment.splitlines()]
    return f"{before}{build}" + "\n".join(lines) + "\n"


def _free(stem: str) -> None:
    """Refuses the name of an installed module: beside a script, the file would be found in its place."""
    spec = importlib.util.find_spec(stem)
    if spec is not None and spec.has_location:
        raise InputError(f"NAME: a file {stem}.py can hide Python's module {stem}; choose another name")
