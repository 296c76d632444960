"""Makes the panels of a drawn SVG fit to stand inside the page: small, without inline style, in colours that follow.

The page's content security policy allows one style sheet and nothing inline. So `style="fill: #000"` becomes
`fill="#000"`, which the style sheet may override: that is how a figure follows dark mode. What drawings share (letters,
markers, clipping rectangles) stands once on the page. Markers take their colours from where they are used: a style
sheet does not reach into their definitions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from archbench.reports.base.formatting import visible

Box = tuple[float, float, float, float]  # left, top, width and height of a panel, in the units of the drawing
_PANEL: Final = "subfigure_"
_LETTER: Final = re.compile(r"DejaVuSans(-Bold)?-([0-9a-f]+)")
_SHIFTED: Final = re.compile(r"translate\((-?[0-9.]+) 0\)")
_USUAL: Final = (("stroke-dashoffset", "0"), ("stroke-linejoin", "round"))
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
_LONG: Final = re.compile(r"(\.\d\d)\d+")
_ROUNDED: Final = ("d", "x", "y", "width", "height")
_MOVED: Final = re.compile(r"translate\([^)]*\)")


@dataclass(frozen=True)
class Inline:
    """A figure's panels as elements for HTML, and by identifier the definitions that they use."""

    panels: tuple[str, ...]
    shared: dict[str, str]


def inline(svg: bytes, name: str, boxes: Sequence[Box], descriptions: Sequence[str]) -> Inline:
    """The panels of an SVG document, each cut out at its box; ``name`` makes their identifiers the figure's own."""
    root = ElementTree.fromstring(svg)
    groups = [group for group in root.iter() if group.get("id", "").startswith(_PANEL)]
    panels = tuple(
        f'<svg viewBox="{" ".join(f"{end:.2f}" for end in box)}" role="img" aria-label="{_quoted(description)}">'
        f"{''.join(_texts(group, name))}</svg>"
        for group, box, description in zip(groups, boxes, descriptions, strict=True)
    )
    definitions = (entry for defs in root.iter() if _tag(defs) == "defs" for entry in defs if _tag(entry) != "style")
    return Inline(panels, {_own(entry.get("id", ""), name): _definition(entry, name) for entry in definitions})


def _texts(parent: Element, name: str) -> Iterator[str]:
    """The children of an element as text, without groups that do nothing."""
    for entry in parent:
        tag, inner = _tag(entry), "".join(_texts(entry, name))
        if tag in ("defs", "metadata"):
            continue
        attributes = "".join(f' {key}="{_quoted(value)}"' for key, value in _attributes(entry, name))
        if tag == "g" and not attributes:
            yield inner
        elif ' fill="none"' not in attributes or " stroke=" in attributes:  # else it cannot be seen
            yield f"<{tag}{attributes}>{inner}</{tag}>" if inner else f"<{tag}{attributes}/>"


def _attributes(entry: Element, name: str) -> Iterator[tuple[str, str]]:
    for key, value in entry.attrib.items():
        plain = key.rpartition("}")[2]
        if plain == "href":
            yield "href", f"#{_own(value.removeprefix('#'), name)}"
        elif plain == "style":
            yield from _style(value)
        elif plain == "transform" and (shift := _SHIFTED.fullmatch(value)):
            yield "x", str(round(float(shift[1])))
        elif plain == "transform":
            yield plain, _MOVED.sub(lambda match: _LONG.sub(r"\1", match[0]), value)
        elif plain in _ROUNDED:
            yield plain, _LONG.sub(r"\1", " ".join(value.split()))
        elif plain != "id":
            yield plain, _REFERENCE.sub(lambda match: f"url(#{_own(match[1], name)})", value)


def _style(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        key, colon, value = part.partition(":")
        pair = key.strip(), value.strip()
        if colon and pair not in _USUAL:
            yield pair


def _definition(entry: Element, name: str) -> str:
    """A definition under its identifier, without the colours of a marker."""
    tag, identifier = _tag(entry), _own(entry.get("id", ""), name)
    shape = f' d="{" ".join(entry.get("d", "").split())}"' if entry.get("d") else ""
    scale = f' transform="{_quoted(entry.get("transform", ""))}"' if entry.get("transform") else ""
    return f'<{tag} id="{identifier}"{shape}{scale}>{"".join(_texts(entry, name))}</{tag}>'


def _own(identifier: str, name: str) -> str:
    """A letter is the same in all drawings; everything else is the figure's."""
    letter = _LETTER.fullmatch(identifier)
    return f"{'b' if letter[1] else 'l'}{letter[2]}" if letter else f"{name}-{identifier}"


def _tag(entry: Element) -> str:
    return str(entry.tag).rpartition("}")[2]


def _quoted(text: str) -> str:
    return escape(visible(text)).replace("\\", "&#92;")
