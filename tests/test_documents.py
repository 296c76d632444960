"""Links and paths in the documents lead to files and headings that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "docs" / "reference" / "README.md"])
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href|srcset)=\"([^\"]+)\"")


def text(path: Path) -> str:
    return FENCED.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The headings' names as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    for link in (one or other for one, other in LINK.findall(text(document))):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), link
        assert "report" not in target.parts or target.suffix != ".html", f"{link}: pages are not committed"
        assert not anchor or anchor in anchors(target), link


PATH = re.compile(r"`((?:archbench|architectures|tasks|runs|reports|docs|tests)/[\w./-]*)`")
MADE = re.compile(r"^docs/reference/.*(?:/report/|index\.html)")  # by `make reference`


@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if path.name != "tutorial.md"],  # which names files that the reader makes
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_path_that_a_document_names_is_there(document: Path) -> None:
    named = set(PATH.findall(text(document)))
    assert sorted(path for path in named if not (ROOT / path).exists() and not MADE.match(path)) == []
