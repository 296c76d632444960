"""What the tutorial and the page on parts tell a reader to write and to type works, and prints what they say."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from new_modules import importable

from archbench import command_line
from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue, scaffold

Run = Callable[[str], tuple[object, str, str]]  # a command -> status, what it prints, what it says on stderr

DOCS = Path(__file__).parents[1] / "docs"
TUTORIAL, PARTS = DOCS / "tutorial.md", DOCS / "variants.md"
EXAMPLES = ("experts", "capped-scores", "source-apart", "linear-attention", "parallel", "capped-logits")
QUICK = (
    contract.no_look_ahead,
    contract.padding_is_invisible,
    contract.rows_are_apart,
    contract.selected_states_are_those_of_one_pass,
    contract.forward_is_prefill_and_decode,
    contract.caches_are_values,
    contract.flops_are_counted,
    contract.every_part_of_a_matrix_is_trained,
)
BLOCK = re.compile(r"(?:^`(?P<file>[^`\n]+)`:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block; ``file`` is the name that stands above it."""

    language: str
    file: str | None
    text: str


def blocks(markdown: str) -> list[Block]:
    parsed = [Block(match["language"], match["file"], match["text"]) for match in BLOCK.finditer(markdown)]
    assert 2 * len(parsed) == len(re.findall("^```", markdown, re.MULTILINE)), "some block was not understood"
    return parsed


def commands(console: str) -> Iterator[tuple[str, str]]:
    """Every command of a console block, with what it is said to print."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def agrees(expected: str, printed: str) -> bool:
    """Whether this was printed, white space aside; "..." stands for anything, as does nothing told."""
    parts = (re.escape(" ".join(part.split())) for part in expected.split("..."))
    return not expected or re.fullmatch(".*".join(parts), " ".join(printed.split())) is not None


def edited(text: str, difference: str) -> str:
    """The text with every removed line, which stands there once, replaced by the added ones after it."""
    for change in re.finditer(r"((?:^-.*\n)+)((?:^\+.*\n)*)", difference, re.MULTILINE):
        old, new = (re.sub("^.", "", part, flags=re.MULTILINE) for part in change.groups())
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def follow(block: Block, run: Run) -> None:
    """Does in the current folder what a reader of the block does."""
    if block.language == "console":
        for command, output in commands(block.text):
            status, printed, errors = run(command)
            assert status == 0, f"{command}\n{printed}{errors}"
            assert agrees(output, printed), f"{command}\nexpected:\n{output}\nprinted:\n{printed}"
        return
    assert block.file is not None, block.text
    path = Path(block.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = edited(path.read_text(encoding="utf-8"), block.text) if block.language == "diff" else block.text
    path.write_text(new, encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a reader's commands in an empty folder; pip installs into a folder of its own and needs no network.

    A plain ``archbench ...`` runs in this process, which spares the seconds in which a new one imports torch.
    """
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    pip = {"NO_DEPS": "1", "NO_INDEX": "1", "NO_BUILD_ISOLATION": "0", "DISABLE_PIP_VERSION_CHECK": "1"}
    for name, value in {"TARGET": str(site), **pip}.items():
        monkeypatch.setenv(f"PIP_{name}", value)

    def in_process(arguments: list[str]) -> tuple[object, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main(arguments)
        return (stopped.value.code or 0, *capfd.readouterr())

    def anywhere(command: str) -> tuple[object, str, str]:
        importlib.invalidate_caches()
        if command.startswith("archbench ") and not set("|&;<>$") & set(command):
            return in_process(shlex.split(command)[1:])
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    with importable(site):
        yield anywhere


def test_the_tutorial_goes_from_nothing_to_a_report(run: Run) -> None:
    for block in blocks(TUTORIAL.read_text(encoding="utf-8")):
        follow(block, run)
    page = Path("results/first-look/report/index.html").read_text(encoding="utf-8")
    assert "multi-query" in page


def test_every_example_of_a_part_passes_the_check(run: Run) -> None:
    for block in blocks(PARTS.read_text(encoding="utf-8")):
        follow(block, run)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_a_part_keeps_the_main_properties(name: str, tmp_path: Path) -> None:
    differences = {block.file: block.text for block in blocks(PARTS.read_text(encoding="utf-8")) if block.file}
    assert set(differences) == {f"{example}.py" for example in EXAMPLES}
    path = scaffold.write(name, "encoder" if name == "source-apart" else "decoder", tmp_path)
    path.write_text(edited(path.read_text(encoding="utf-8"), differences[f"{name}.py"]), encoding="utf-8")
    subject = contract.subject(catalogue.find(str(path)).build)
    for check in QUICK:
        check(subject)
