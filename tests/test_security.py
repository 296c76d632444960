"""Text in data, labels, names and records is text: it moves no cursor, leaves no folder and runs no code."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import synthetic
from commands import EXPERIMENT, start
from tiny_runs import trained, write_data

from archbench import command_line, reports
from archbench.reports.base import records
from archbench.runs.plans.messages import visible
from archbench.runs.scoring import finished
from archbench.runs.store import store
from archbench.tasks.base import sealed

ESCAPE = "\x1b[31m\x1b]0;title\x07\x9b2J\r\x08"
NASTY = {
    "script": "<script>document.title='run'</script>",
    "image": "<img src=x onerror=\"document.title='run'\">",
    "vector": "<svg onload=\"document.title='run'\"></svg></svg><script>document.title='run'</script>",
    "closing": "</td></table></style></title><script>document.title='run'</script>",
    "attribute": "\" onfocus=\"document.title='run'\" autofocus \"",
    "address": "javascript:document.title='run'",
    "formula": "=cmd|' /C calc'!A0",
    "plus": "+HYPERLINK(\"http://127.0.0.1:9/x\")",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "template": "{{ 7 * 7 }}{% include 'x' %}",
    "mathematics": r"$\input{/etc/passwd}$ \undefined{",
    "escape": f"colour {ESCAPE}",
    "direction": "\u202egnp.exe\u2066",
}  # fmt: skip
LABELS = [
    NASTY[name] for name in ("script", "vector", "attribute", "formula", "plus", "minus", "at", "template", "escape")
]


def hostile(folder: Path) -> Path:
    """An experiment whose texts, labels and file names are nasty; its file."""
    (folder / "cache").mkdir(parents=True, exist_ok=True)
    rows = [
        {"text": f"{nasty} {n}", "label": LABELS[place % len(LABELS)]}
        for n in range(20)
        for place, nasty in enumerate(NASTY.values())
    ]
    (folder / "thi'ngs <b>.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = EXPERIMENT.replace("things.csv", "thi'ngs <b>.jsonl").replace("seeds = [0, 1]", "seeds = [0]")
    text = text.replace('"word"', '"bpe"').replace("vocabulary = 64", "vocabulary = 400")
    text = text.replace("source_length = 8", "source_length = 40").replace("test_examples = 10", "test_examples = 28")
    (folder / "hostile.toml").write_text(text)
    return folder / "hostile.toml"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a comparison on the hostile data, and what it printed."""
    folder = tmp_path_factory.mktemp("hostile")
    process = start(folder, "compare", str(hostile(folder)), "--out", str(folder / "out"))
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return folder / "out", output + errors


@pytest.fixture(scope="module")
def inspected(compared: tuple[Path, str]) -> Path:
    """The page that looks inside a run on the hostile data."""
    out, _ = compared
    (run, *_) = sorted((out / "runs").iterdir())
    process = start(out.parent, "inspect", str(run), "--text", f"{NASTY['image']} {ESCAPE}")
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0 and is_plain(output + errors), errors
    return Path(output.strip())


def is_plain(text: str) -> bool:
    return not any((ord(sign) < 32 and sign not in "\n\t") or 127 <= ord(sign) < 160 for sign in text)


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert visible(f"a{ESCAPE}b\u202ec") == r"a\x1b[31m\x1b]0;title\x07\x9b2J\r\x08b\u202ec"
    assert visible("grün\t👩‍👩‍👧 می‌خواهم\n") == "grün\t👩‍👩‍👧 می‌خواهم\n"


@pytest.mark.fault(
    "hostile texts and labels in data, printed in a terminal",
    "escaped",
)
def test_hostile_data_print_nothing_that_a_terminal_obeys(
    compared: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, printed = compared
    assert is_plain(printed)
    (run, *_) = sorted((out / "runs").iterdir())
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["predict", str(run), ESCAPE])
    output, errors = capsys.readouterr()
    assert stopped.value.code == 0 and r"\x1b[31m" in output and is_plain(output + errors)


def test_no_cell_of_a_table_is_a_formula(compared: tuple[Path, str]) -> None:
    cells = set()
    for path in compared[0].rglob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            cells |= {cell for row in csv.reader(file) for cell in row if cell}
    formulas = {cell for cell in cells if cell[0] in "=+-@" and not re.fullmatch(r"-(inf|[\d.]+(e[+-]\d+)?)", cell)}
    assert not formulas
    assert {cell[:2] for cell in cells} >= {"'=", "'+", "'-", "'@"}


def test_hostile_data_leave_nothing_elsewhere(compared: tuple[Path, str]) -> None:
    out, _ = compared
    assert sorted(path.name for path in out.parent.iterdir()) == ["cache", "hostile.toml", "out", "thi'ngs <b>.jsonl"]


@pytest.mark.fault(
    "run names that are paths to other folders",
    "nothing is read there",
)
@pytest.mark.parametrize("name", ["../../outside", "..", "/etc/passwd", "a/../../b", "."])
def test_a_run_named_like_a_path_reads_nothing_elsewhere(tmp_path: Path, name: str) -> None:
    root = tmp_path / "store"
    synthetic.write_store(root, [synthetic.SENTIMENT])
    for place in (tmp_path / "outside", tmp_path / "b", tmp_path):
        sealed.write_json(place / "record.json", {"run": "x", "status": "done", "architecture": "stolen"})
    experiment = sealed.read_json(root / "experiment.json")
    sealed.write_json(root / "experiment.json", experiment | {"runs": [name]})
    folder = records.Folder(root)
    assert "architecture" not in folder.record(name) or folder.record(name)["architecture"] != "stolen"
    assert reports.build(root)


def test_an_installed_variant_is_not_run_from_a_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path)
    plain = trained(data, tmp_path / "one", "decoder", "colours")
    finished.read(plain)
    assert "running the code" not in capsys.readouterr().err
    own_run = trained(data, tmp_path / "two", str(data / "mine.py"), "colours")
    capsys.readouterr()
    finished.read(own_run)
    assert f"{own_run / 'variant.py'}: running the code that this run was trained with" in capsys.readouterr().err


PICKLES = """
import pickle, sys
class Trap:
    def __reduce__(self):
        return print, ("TRAP",)
sys.stdout.buffer.write(pickle.dumps(Trap()))
"""


@pytest.mark.fault(
    "a pickle in place of a run's file",
    "reported, never run",
)
def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle in the place of every file of a run is told, never run."""
    trap = subprocess.run([sys.executable, "-c", PICKLES], capture_output=True, check=True).stdout
    place = trained(write_data(tmp_path), tmp_path / "root", "decoder", "colours")
    row = store.read_record(place) or {}
    for name in ("model.safetensors", "tokenizer.json", "plan.json", "task.json"):
        whole = (place / name).read_bytes()
        (place / name).write_bytes(trap)
        store.write_record(place, row)  # as one who wants it to be read would
        with pytest.raises(SystemExit) as stopped:
            command_line.main(["predict", str(place), "red"])
        output, errors = capsys.readouterr()
        assert stopped.value.code == 2 and "TRAP" not in output + errors
        assert "this run is damaged" in errors and len(errors.splitlines()) == 1
        (place / name).write_bytes(whole)


@pytest.mark.fault(
    "hostile texts and labels in data, on report and inspect pages in a browser",
    "no script, no request, no dialog",
)
@pytest.mark.browser
def test_no_script_of_hostile_data_runs_in_a_browser(compared: tuple[Path, str], inspected: Path, browser: Any) -> None:
    """Pages and figures, opened as they are: no script, no request, no dialog; the policy has nothing to stop."""
    report = compared[0] / "report"
    pages = [report / "index.html", inspected]
    for file in [*pages, *(figure for page in pages for figure in sorted(page.parent.glob("*.svg")))]:
        context = browser.new_context().new_page()
        events: list[str] = []
        context.on("request", lambda request, events=events: events.append(request.url))
        context.on("dialog", lambda dialog, events=events: events.append(dialog.message))
        context.on("console", lambda message, events=events: events.append(message.text))
        context.on("pageerror", lambda error, events=events: events.append(str(error)))
        context.goto(file.as_uri())
        assert events == [file.as_uri()]
        assert context.title() != "run"
        assert context.locator("script, img, iframe, object, embed, form, [onload], [onerror], [onfocus]").count() == 0
        context.close()
    context = browser.new_context().new_page()
    context.goto((report / "index.html").as_uri())
    assert NASTY["script"] in context.locator("body").inner_text() or NASTY["closing"] in context.content().replace(
        "&lt;", "<"
    )
    context.goto(inspected.as_uri())
    assert "'\">" in context.locator("body").inner_text(), "a token of the image"


@pytest.mark.fault(
    "scripts planted into the page itself",
    "blocked by its content security policy",
)
@pytest.mark.browser
def test_the_policy_stops_what_would_run(compared: tuple[Path, str], browser: Any, tmp_path: Path) -> None:
    """The same page with a script planted into it: the content security policy alone keeps it from running."""
    planted = (compared[0] / "report" / "index.html").read_text()
    traps = f'{NASTY["script"]}{NASTY["image"]}<a id=trap href="{NASTY["address"]}">x</a>'
    (tmp_path / "planted.html").write_text(planted.replace("</body>", f"{traps}</body>"))
    context = browser.new_context().new_page()
    refused: list[str] = []
    context.on("console", lambda message: refused.append(message.text))
    context.goto((tmp_path / "planted.html").as_uri())
    context.click("#trap")
    assert context.title() != "run"
    assert any("Content Security Policy" in text for text in refused)
