"""Damaged runs and tables are told in one line with status 2; what is sound is taken, and what is another's is left."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import archbench
from archbench import command_line, inputs
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.runs.budgets import budget
from archbench.runs.execution import compare
from archbench.runs.experiment.spec import from_dict
from archbench.runs.machine import machine
from archbench.tasks.base.errors import InputError

EXPERIMENT = """
name = "mine"
architectures = ["decoder"]
[budget]
parameters = 20_000
tokens = 1_000
[model]
width = 32
[training]
batch_tokens = 512
[[tasks]]
kind = "classification"
data = "phrases-en-de:200"
name = "kinds"
vocabulary = 300
test_examples = 10
"""
DECODER = catalogue.find("decoder").text


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    (tmp_path / "one.py").write_text(DECODER)
    return tmp_path


def mistake_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a mistake gives."""
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    output, errors = capsys.readouterr()
    assert stopped.value.code == 2, errors
    (line,) = errors.splitlines()
    assert line.startswith("archbench: ") and not output
    return line


def test_a_variant_file_is_told_before_it_is_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "tells.py").write_text('"""Tells."""\nimport sys\nprint("run now", file=sys.stderr)\nsys.exit(3)\n')
    with pytest.raises(SystemExit):
        command_line.main(["compare", "mine.toml", "--architectures", "decoder,tells.py"])
    warning, run, mistake = capfd.readouterr().err.splitlines()
    assert warning == f"{folder / 'tells.py'}: running the code in this file, in separate processes"
    assert run == "run now" and mistake.startswith("archbench: ")


def test_a_variant_file_that_holds_the_contract_is_taken(folder: Path) -> None:
    data = {"name": "x", "architectures": ["one.py", "encoder"], "tasks": [{"data": "phrases-en-de"}]}
    experiment = from_dict({**data, "budget": {"parameters": 20_000, "tokens": 1_000}})
    with compare.checked_architectures(experiment, compare.RunOptions(), lambda line: None) as architectures:
        assert architectures.find("one.py").name == "one"


def test_a_variant_that_fails_for_some_sizes_is_named() -> None:
    def build(size: Size, limits: Limits) -> None:
        raise ZeroDivisionError("division by zero")

    with pytest.raises(InputError, match=r"mine cannot be built with width 8, heads 2, .*ZeroDivisionError"):
        budget.blank(build, Size(8, 2, 1, 1), Limits(16, 4, 4), "mine")


@pytest.mark.parametrize("value", ["absent_module_for_test", "json:loads"])
def test_an_entry_point_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    import importlib.metadata

    entry = importlib.metadata.EntryPoint("theirs", value, catalogue.ENTRY_POINTS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    with pytest.raises(InputError, match=f"theirs of another package .{value}. (cannot be loaded|is a function)"):
        catalogue.find("theirs")


def test_a_spelling_with_underscores_means_the_same() -> None:
    assert catalogue.find("encoder_decoder") == catalogue.find("encoder-decoder")


def test_planning_has_one_thread_and_gives_the_others_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with machine.one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_call_in_the_records_is_the_one_that_was_made() -> None:
    data = {"name": "x"}
    assert inputs.call("quick", device="auto", deterministic=False) == "archbench.compare('quick')"
    call = inputs.call(data, out=Path("there"), seeds=[0, 1], jobs=2, device="cpu", deterministic=True)
    expected = "{'name': 'x'}, out='there', seeds=[0, 1], jobs=2, device='cpu', deterministic=True"
    assert call == f"archbench.compare({expected})"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a comparison of one tiny run."""
    root = tmp_path_factory.mktemp("trained")
    (root / "mine.toml").write_text(EXPERIMENT)
    archbench.compare(root / "mine.toml", root / "out", jobs=1, device="cpu")
    yield root / "out"


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", halved),
        ("tokenizer.json", Path.unlink),
        ("tokenizer.json", halved),
        ("plan.json", lambda path: path.write_text("[1]")),
        ("plan.json", halved),
        ("task.json", lambda path: path.write_text("{}")),
        ("variant.py", Path.unlink),
        ("variant.py", lambda path: path.write_text("raise SystemExit(3)")),
    ],
)
def test_a_damaged_run_is_told(
    trained: Path, capsys: pytest.CaptureFixture[str], name: str, damage: Callable[[Path], object]
) -> None:
    (run,) = (trained / "runs").iterdir()
    whole = (run / name).read_bytes()
    damage(run / name)
    try:
        line = mistake_line(capsys, "predict", str(run), "hello")
    finally:
        (run / name).write_bytes(whole)
    assert f"{run}: this run is damaged (" in line and line.endswith("run its compare command again")


@pytest.mark.parametrize("damage", [halved, lambda path: path.write_bytes(b"PAR1 not Parquet PAR1")])
def test_damaged_tables_are_told(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    (tmp_path / "tables").mkdir()
    for path in (trained / "tables").glob("*.parquet"):
        (tmp_path / "tables" / path.name).write_bytes(path.read_bytes())
    damage(tmp_path / "tables" / "scores.parquet")
    assert "scores.parquet: cannot be read as Parquet" in mistake_line(capsys, "report", str(tmp_path))


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [("SIGTERM", 143, "archbench: terminated; run"), ("SIGINT", 130, "archbench: interrupted; run")],
)
@pytest.mark.parametrize(
    ("command", "process"),
    [(["check", "ended.py"], "getpid()"), (["compare", "mine.toml", "--architectures", "ended.py"], "getppid()")],
    ids=["in this process", "while another one is waited for"],
)
def test_a_signal_is_no_mistake_of_a_variant(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    number: str,
    status: int,
    message: str,
    command: list[str],
    process: str,
) -> None:
    """A signal to the command in the middle of a variant's code, which handles every exit, ends the command."""
    (folder / "ended.py").write_text(
        '"""Is ended."""\nimport os, signal, time\n'
        "def build(size, limits):\n"
        f"    try:\n        os.kill(os.{process}, signal.{number})\n        time.sleep(60)\n"
        "    except (Exception, SystemExit) as error:\n        raise ValueError(error)\n"
    )
    with pytest.raises(SystemExit) as stopped:
        command_line.main(command)
    assert stopped.value.code == status
    assert f"{message} the same command again" in capsys.readouterr().err


def test_files_of_others_stay_in_the_folder(folder: Path) -> None:
    """Into a folder that has files of its own, two commands of different tasks."""
    (folder / "data").mkdir()
    for name in ("data/labels.json", "data/other.json", ".notes.tmp", "references.txt"):
        (folder / name).write_text('{"mine": 1}')
    for name in ("one", "two"):
        (folder / "mine.toml").write_text(EXPERIMENT.replace('"kinds"', f'"{name}"'))
        archbench.compare(folder / "mine.toml", folder, jobs=1, device="cpu")
    for name in ("data/labels.json", "data/other.json", ".notes.tmp", "references.txt"):
        assert (folder / name).read_text() == '{"mine": 1}'
    assert (folder / "data" / "two.json").exists() and not (folder / "data" / "one.json").exists()
