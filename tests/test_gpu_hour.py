"""The first hour on a GPU: pieces are done once, go on where they were cut off, and their records make a page."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import simulation_scripts
import synthetic

from archbench.reports.base import tables
from archbench.runs.experiment import spec
from archbench.runs.experiment.settings import parsed

FAKE = """
import pathlib, signal, sys, time
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
begun = out / "calls"
begun.write_text(begun.read_text() + "x" if begun.exists() else "x")
if out.name == "steps" and len(begun.read_text()) == 1:
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    time.sleep(60)
sys.exit(3 if out.name == "recomputed" else 0)
"""


@pytest.fixture
def hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with a stand-in for archbench that takes no time."""
    module = simulation_scripts.load("hour", "gpu")
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(module, "ARCHBENCH", (sys.executable, str(tmp_path / "fake.py")))
    return module


def calls(out: Path, name: str) -> int:
    return len((out / name / "calls").read_text()) if (out / name / "calls").exists() else 0


def test_a_piece_is_done_once_and_a_failed_one_again(hour: ModuleType, tmp_path: Path) -> None:
    only = ["parity", "recomputed"]
    assert hour.run("cpu", tmp_path, 1, only) == 3
    assert hour.run("cpu", tmp_path, 1, only) == 3
    assert [calls(tmp_path, name) for name in ("parity-cpu", "parity-bf16", "recomputed")] == [1, 1, 2]
    assert calls(tmp_path, "quick") == 0
    states = hour.states(tmp_path)
    assert "parity-cpu      done" in states and "failed with status 3" in states and "not started" in states


def test_wrong_input_ends_it_at_once(hour: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no GPU: one line of the first piece, not one of each."""
    monkeypatch.setattr(hour, "ARCHBENCH", (sys.executable, "-c", "raise SystemExit(2)"))
    assert hour.main(["--device", "cpu", "--out", str(tmp_path)]) == 2
    assert [path.name for path in (tmp_path / "pieces").iterdir()] == ["parity-float32.json"]
    assert not (tmp_path / "gpu.md").exists()


def test_wrong_input_to_a_later_piece_leaves_the_others(
    hour: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the data of one piece are missing."""
    lacking = "import sys; raise SystemExit(2 * ('steps' in sys.argv[-1]))"
    monkeypatch.setattr(hour, "ARCHBENCH", (sys.executable, "-c", lacking))
    assert hour.run("cpu", tmp_path, 5, ["parity-float32", "steps", "quick"]) == 2
    statuses = {path.stem: json.loads(path.read_text())["status"] for path in (tmp_path / "pieces").iterdir()}
    assert statuses == {"parity-float32": 0, "steps": 2, "quick": 0}


def test_a_dry_run_plans_every_comparison_on_the_cpu(
    hour: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hour, "ARCHBENCH", (sys.executable, "-c", "import sys; print('planned', *sys.argv[1:])"))
    assert hour.main(["--dry-run", "--out", str(tmp_path)]) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("planned")]
    comparisons = [piece for piece in hour.pieces() if piece.command[0] == "compare"]
    assert len(lines) == len(comparisons) and all("--dry-run --device cpu" in line for line in lines)
    assert not (tmp_path / "pieces").exists()


@pytest.mark.slow
def test_the_pieces_run_as_stand_ins_on_the_cpu(tmp_path: Path) -> None:
    """All but those that need data from elsewhere (steps, recomputed, gpu)."""
    module = simulation_scripts.load("hour", "gpu")
    only = "parity,several,bench,quick"
    assert module.main(["--device", "cpu", "--only", only, "--out", str(tmp_path)]) == 0
    done = [path.stem for path in (tmp_path / "pieces").iterdir()]
    assert sorted(done) == sorted(
        piece.name for piece in module.pieces() if piece.name.startswith(tuple(only.split(",")))
    )
    assert "## The same runs on CPU and GPU" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


def test_a_name_that_no_piece_has_is_an_error(
    hour: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        hour.main(["--device", "cpu", "--only", "partiy", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--only: no piece begins with partiy; --list prints all" in capsys.readouterr().err


def test_a_piece_that_is_cut_off_goes_on_in_the_next_call(
    hour: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hour.run("cpu", tmp_path, 1 / 30, ["steps"]) == 0
    assert json.loads((tmp_path / "pieces" / "steps.json").read_text())["status"] == 130
    assert "cut off; the next call goes on" in hour.states(tmp_path)
    assert hour.run("cpu", tmp_path, 1, ["steps"]) == 0
    record = json.loads((tmp_path / "pieces" / "steps.json").read_text())
    assert record["status"] == 0 and record["seconds"] > 1.5 and record["calls"] == calls(tmp_path, "steps") == 2


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_command_is_one_that_archbench_takes(hour: ModuleType, device: str) -> None:
    pieces = hour.pieces()
    assert len({piece.name for piece in pieces}) == len(pieces)
    for piece in pieces:
        line = piece.line(device, Path("out"))
        assert line[-1] == str(Path("out") / piece.name)
        if line[0] != "compare":
            continue
        settings = [line[place + 1] for place, word in enumerate(line) if word == "--set"]
        changes = parsed(settings)
        experiment = spec.preset(line[2], changes) if line[1] == "--preset" else spec.load(line[1], changes)
        budget = experiment.tasks[0].budget
        if device == "cpu" and "quick" not in piece.name:
            assert budget.parameters is not None and budget.parameters <= 20_000
            assert all((task.budget.tokens or 0) <= 4_000 for task in experiment.tasks)


def test_the_page_has_what_was_measured(tmp_path: Path) -> None:
    write = simulation_scripts.load("write", "gpu").write
    for name in ("parity-cpu", "parity-float32", "steps", "quick"):
        synthetic.write_store(tmp_path / name, [synthetic.PHRASES])
        tables.write(tables.collect(tmp_path / name), tmp_path / name / "tables")
    write(tmp_path, tmp_path / "gpu.md")
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## The same runs on CPU and GPU",
        "## Training steps",
        "## Preset `quick`",
    ]
    assert "| encoder-decoder |" in text and "+0.0e+00" in text  # the same tables twice
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") > 2


def test_the_page_has_every_primary_metric_and_says_where_it_is_a_stand_in(tmp_path: Path) -> None:
    write = simulation_scripts.load("write", "gpu").write
    for name in ("parity-bf16", "gpu"):
        synthetic.write_store(tmp_path / name, [synthetic.PHRASES])
        collected = tables.collect(tmp_path / name)
        collected["datasets"]["primary"] = "bits_per_byte, exact_match"
        collected["environment"].loc[0, ["key", "value"]] = "device", "cpu"
        tables.write(collected, tmp_path / name / "tables")
    write(tmp_path, tmp_path / "gpu.md")
    text = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "| bits per byte |" in text and "| exact match |" in text
    assert "nothing was measured on one" in text
