"""The reference pages come from the committed tables alone, and the words about them have the pages' numbers."""

import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import synthetic
from reference_pages import INSIDE, NAMES, REFERENCE, build_script, copy_tables, drawn, judged, undrawn_page

from archbench import reports
from archbench.reports.base import tables
from archbench.reports.claims import best_evidence
from archbench.reports.page import ledger_page, page
from archbench.reports.report import Report

QUICK = ("ablation-mask", "inside/shakespeare-decoder")
ALL = [*NAMES, *(f"inside/{name}" for name in INSIDE)]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is connected to."""

    def refuse(*arguments: Any) -> None:
        raise AssertionError("a page needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def build(root: Path, name: str) -> dict[str, bytes]:
    lines: list[str] = []
    build_script().build(copy_tables(root, [name]), lines.append)
    assert [line[:5] for line in lines] == (["[1/1]"] if name.startswith("inside/") else ["[1/2]", "[2/2]"])
    return content(root)


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ALL])
def test_a_page_is_built_from_tables_alone_with_the_same_bytes_each_time(name: str, tmp_path: Path) -> None:
    first = build(tmp_path / "first", name)
    assert {f"{name}/report/index.html", "index.html"} <= set(first)
    assert ({"ledger.md", "ledger.html"} <= set(first)) != name.startswith("inside/")
    links = re.findall(r'(?:href|src)="([^"#]+)"', first[f"{name}/report/index.html"].decode())
    folder = tmp_path / "first" / name / "report"
    assert links and [link for link in set(links) if not (folder / link).is_file()] == []
    assert first == build(tmp_path / "second", name)


def test_a_page_of_the_same_tables_is_kept(tmp_path: Path) -> None:
    build(tmp_path, "ablation-mask")
    page_file = tmp_path / "ablation-mask" / "report" / "index.html"
    before = page_file.stat().st_mtime_ns
    build_script().build(tmp_path, lambda line: None)
    assert page_file.stat().st_mtime_ns == before


def test_a_finished_comparison_is_published_without_its_texts(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    synthetic.write_store(root, [synthetic.TASKS[0]])
    reports.build(root)
    written = build_script("publish").publish(root, "mine", "headline", tmp_path / "reference")
    assert written[-1].read_bytes().startswith(b"\x89PNG")
    published = tables.read(tmp_path / "reference" / "mine" / "tables")
    text = tables.read(root / "tables")["predictions"]["reference"].dropna().iloc[0]
    assert not any(text.encode() in path.read_bytes() for path in written)
    assert Report(published).tested.primary == Report(tables.read(root / "tables")).tested.primary
    assert set(published["curves"]["split"]) <= {"validation"}
    before, after = (
        read["predictions"]["log_likelihood"].dropna() for read in (tables.read(root / "tables"), published)
    )
    assert len(before) == len(after) and (before - after).abs().max() < 0.001


def test_the_index_links_to_every_page() -> None:
    page_list = build_script().index(REFERENCE)
    expected = [f"{name}/report/index.html" for name in ALL]
    assert sorted(re.findall('<li><a href="(.+?)"', page_list)) == sorted(expected)


LEDGER = REFERENCE / "ledger.md"
REMAKE = "docs/reference/ledger.md is not what the tables give: make reference ARGS=ledger"


def test_the_ledger_was_made_from_these_tables_and_claims() -> None:
    assert build_script().fingerprint(REFERENCE) in LEDGER.read_text(encoding="utf-8"), REMAKE


def test_the_ledger_has_what_the_tables_of_one_report_give() -> None:
    [name] = [name for name in QUICK if name in NAMES]
    text = LEDGER.read_text(encoding="utf-8")
    alone = [
        claim_record
        for claim_record in best_evidence.records(build_script().evidence(name, judged(name)))
        if claim_record.tested
    ]
    lines = re.findall(r"^- \*\*Best evidence.+$", ledger_page.markdown(alone, ""), re.MULTILINE)
    assert lines and all(line in text for line in lines), REMAKE


@pytest.mark.slow
def test_the_ledger_is_what_all_tables_give() -> None:
    entries = [entry for name in NAMES for entry in build_script().evidence(name, judged(name))]
    markdown = ledger_page.markdown(best_evidence.records(entries), build_script().fingerprint(REFERENCE))
    assert markdown == LEDGER.read_text(encoding="utf-8"), REMAKE


def test_another_table_or_claim_gives_another_ledger(tmp_path: Path) -> None:
    root = copy_tables(tmp_path, ["ablation-mask"])
    before = build_script().fingerprint(root)
    assert before == build_script().fingerprint(root) != build_script().fingerprint(REFERENCE)
    with (root / "ablation-mask" / "tables" / "scores.parquet").open("ab") as file:
        file.write(b"0")
    assert build_script().fingerprint(root) != before


def test_a_name_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no tables below"):
        build_script().build(copy_tables(tmp_path, ["ablation-mask"]), print, ["ablation-musk"])


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_its_tables_and_one_picture(name: str) -> None:
    written = {path.stem for path in (REFERENCE / name / "tables").glob("*.parquet")}
    younger = {"metrics", "decodings", "published"}  # than some references
    assert set(tables.COLUMNS) - younger <= written <= set(tables.COLUMNS)
    assert len([path for path in (REFERENCE / name).iterdir() if path.suffix in (".png", ".svg")]) == 1


def test_no_page_is_committed_and_the_folder_is_small() -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "."], cwd=REFERENCE, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [REFERENCE / name for name in listed.stdout.split("\0") if name]
    assert files and not [path for path in files if "report" in path.parts or path.suffix == ".html"]
    assert sum(path.stat().st_size for path in files) < 11_000_000


@pytest.mark.slow
def test_every_number_in_the_words_stands_in_what_the_tables_give(tmp_path: Path) -> None:
    words = "".join((REFERENCE / name).read_text(encoding="utf-8") for name in ("README.md", "presets.md"))
    texts = [re.sub(r"<[^>]+>", " ", undrawn_page(name)) for name in NAMES]
    texts += [figure.numbers.to_csv() for name in NAMES for figure in drawn(name)]
    for name in NAMES:
        written = page.write_tables(judged(name), tmp_path / name)
        texts += [path.read_text(encoding="utf-8") for path in written]
    numbers = {float(number) for number in re.findall(r"\d+\.\d+", " ".join(texts))}
    at = {places: {f"{number:.{places}f}" for number in numbers} for places in (2, 3)}
    stated = set(re.findall(r"\d+\.\d{2,3}(?!\d)", words))
    assert stated
    assert sorted(number for number in stated if number not in at[len(number.partition(".")[2])]) == []
