"""Makes a drawn SVG fit to stand inside the page: no inline style, no clashing identifiers, colours that can follow.

The page's content security policy allows one style sheet and nothing inline. So `style="fill: #000"` becomes
`fill="#000"`, which the style sheet may override: that is how a figure follows dark mode.
Markers take their colours from where they are used: a style sheet does not reach into their definitions.
"""

import re
from html import escape

from archbench.reports.base.formatting import visible

_STYLE = re.compile(r'style="([^"]*)"')
_HEAD = re.compile(r"\A.*?<svg[^>]*viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
_SHEET = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
_MARKER = re.compile(r'(<path id="m[^"]*" d="[^"]*") style="[^"]*"')
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NAME = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(href="#|url\(#)([^")]+)')
_SPACE = re.compile(r"\s*\n\s*")


def inline(svg: str, name: str, description: str) -> str:
    """The SVG document `svg` as an element for HTML; `name` makes its identifiers its own."""
    for unwanted in (_SHEET, _METADATA, _COMMENT):
        svg = unwanted.sub("", svg)
    head = f'<svg viewBox="\\1" role="img" aria-label="{escape(visible(description)).replace(chr(92), "&#92;")}">'
    svg = _HEAD.sub(head, svg, count=1)
    svg = _STYLE.sub(_attributes, _MARKER.sub(r"\1", svg))
    used = {match[2] for match in _REFERENCE.finditer(svg)}
    svg = _NAME.sub(lambda match: f'id="{name}-{match[1]}"' if match[1] in used else "", svg)
    svg = _REFERENCE.sub(rf"\g<1>{name}-\2", svg)
    return _SPACE.sub(" ", svg).replace(" >", ">").replace("> <", "><").strip()


def _attributes(match: re.Match[str]) -> str:
    parts = (part.split(":", 1) for part in match[1].split(";") if ":" in part)
    return " ".join(f'{key.strip()}="{value.strip()}"' for key, value in parts)
