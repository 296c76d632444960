"""The reports under `docs/reference` are what their tables give, and the words about them have the pages' numbers."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest

from archbench.reports.analysis.judgement import judge
from archbench.reports.base import tables
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.figures import figures
from archbench.reports.inspection import inspection
from archbench.reports.page import page

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
NAMES = sorted(path.parent.name for path in REFERENCE.glob("*/tables"))
INSIDE = sorted(path.parent.name for path in REFERENCE.glob("inside/*/inspection.json"))
PANEL = re.compile(r'<div class="panel">.*?</svg></div>', re.DOTALL)  # drawings differ with matplotlib's version


def written(name: str) -> str:
    return (REFERENCE / name / "report" / "index.html").read_text(encoding="utf-8")


def rows(path: Path) -> list[list[str]]:
    """The cells of a file of numbers, to six digits: machines differ in the last ones."""
    with path.open(newline="", encoding="utf-8") as file:
        return [[rounded(cell) for cell in row] for row in csv.reader(file)]


def rounded(cell: str) -> str:
    try:
        return f"{float(cell):.6g}"
    except ValueError:
        return cell


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_page_is_what_its_tables_give(name: str, tmp_path: Path) -> None:
    judged = judge(tables.read(REFERENCE / name / "tables"))
    drawn, ruled = figures.figures(judged), claim_verdicts(judged)
    given = page.render(judged, [replace(figure, panels=()) for figure in drawn], ruled)
    assert PANEL.sub("", given).split() == PANEL.sub("", written(name)).split()
    for figure in drawn:
        tables.write_csv(figure.numbers, tmp_path / "given.csv")
        committed = rows(REFERENCE / name / "report" / f"{figure.name}.csv")
        assert committed == rows(tmp_path / "given.csv") and len(committed) > 1
    tested = next(path for path in page.write_tables(judged, ruled, tmp_path) if path.name == "contrasts.csv")
    assert rows(tested) == rows(REFERENCE / name / "report" / tested.name)


@pytest.mark.parametrize("name", INSIDE)
def test_a_committed_look_inside_is_what_was_measured(name: str, tmp_path: Path) -> None:
    folder = REFERENCE / "inside" / name
    inspection.write(inspection.read(folder), tmp_path)
    given = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert PANEL.sub("", given).split() == PANEL.sub("", (folder / "index.html").read_text(encoding="utf-8")).split()
    made = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert made and made == sorted(path.name for path in folder.glob("*.csv"))
    assert all(rows(folder / file) == rows(tmp_path / file) for file in made)


def test_every_number_in_the_words_stands_in_a_report() -> None:
    words = (REFERENCE / "README.md").read_text(encoding="utf-8")
    given = [re.sub(r"<[^>]+>", " ", PANEL.sub("", written(name))) for name in NAMES]
    given += [path.read_text(encoding="utf-8") for path in REFERENCE.glob("*/report/*.csv")]
    numbers = {float(number) for number in re.findall(r"\d+\.\d+", " ".join(given))}
    at = {places: {f"{number:.{places}f}" for number in numbers} for places in (2, 3)}
    said = set(re.findall(r"\d+\.\d{2,3}(?!\d)", words))
    assert said
    assert sorted(number for number in said if number not in at[len(number.partition(".")[2])]) == []
