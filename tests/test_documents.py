"""Links and paths in the documents lead to files and headings that are there."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from archbench import command_line

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/reference/*.md")])
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
    for link in (inline or attribute for inline, attribute in LINK.findall(text(document))):
        place, _, anchor = link.partition("#")
        if "://" in place:
            continue
        target = (document.parent / place).resolve() if place else document
        assert target.exists(), link
        assert "report" not in target.parts or target.suffix != ".html", f"{link}: pages are not committed"
        assert not anchor or anchor in anchors(target), link


PATH = re.compile(
    r"`((?:archbench|architectures|tasks|runs|reports|benchmarks|inspection|sharing|docs|tests)/[\w./-]*)`"
)
MADE = re.compile(r"^docs/reference/.*(?:/report/|index\.html)")  # by `make reference`


@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if path.name != "tutorial.md"],  # which names files that the reader makes
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_path_that_a_document_names_is_there(document: Path) -> None:
    named = set(PATH.findall(text(document)))
    assert sorted(path for path in named if not (ROOT / path).exists() and not MADE.match(path)) == []


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of `docs/architecture.md`, its head left out."""
    section = ARCHITECTURE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")][2:]


def test_what_to_open_is_a_short_table_of_files_that_are_there() -> None:
    entries = rows("Where to make a change")
    assert 20 <= len(entries) <= 30 and all(len(row) == 2 and PATH.findall(row[1]) for row in entries)


def test_the_rooms_are_those_that_the_linter_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layered = {
        contract["containers"][0].removeprefix("archbench."): contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("Rooms of ")
    }
    documented = {folder.strip("`"): rooms.replace("+", "|").split(" → ") for folder, rooms in rows("Import rules")}
    assert documented == layered


def test_the_picture_of_the_data_flow_is_what_its_script_draws() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "data_flow.py"))
    assert script["svg"]() == (ROOT / "docs" / "data_flow.svg").read_text(encoding="utf-8")
    rooms = [name for kind, name, *_ in script["STEPS"] if kind == "room"]
    assert [name for name in rooms if not (ROOT / name.partition(",")[0]).is_dir()] == []


def test_every_command_is_in_the_table_of_commands() -> None:
    listed = re.findall(
        r"^\| `archbench (\w+)", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(listed) == {command.name for command in command_line.app.registered_commands}
