"""A user's variant runs in processes of its own: it changes no other architecture's plan, training or scores."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.runs.execution import compare, dry_run
from archbench.runs.experiment import spec
from archbench.runs.planning import isolation, matrix
from archbench.runs.planning.isolation import Architectures
from archbench.runs.planning.matrix import Matrix
from archbench.runs.store import store
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

VARIANT = '''"""A decoder that notes each process that runs it."""
import os
from pathlib import Path
from archbench.architectures.catalogue import catalogue

with open(Path(__file__).with_name("processes"), "a") as file:
    print(os.getpid(), file=file)


def build(size, limits):
    return catalogue.find("decoder").build(size, limits)
'''
EXPERIMENT = {
    "name": "tiny",
    "architectures": ["mine.py", "decoder"],
    "budget": {"parameters": 20_000, "tokens": 600, "match": ["parameters", "flops"]},
    "model": {"width": 32},
    "training": {"batch_tokens": 200},
    "tasks": [{"kind": "classification", "name": "kinds", "data": "kinds.tsv", "tokenizer": "word", "vocabulary": 64}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"{word} number {n}\t{word}" for word in ("red", "blue") for n in range(60)]
    (tmp_path / "kinds.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    (tmp_path / "mine.py").write_text(VARIANT)
    return tmp_path


def planned(folder: Path, root: str = "out") -> Matrix:
    return matrix.plan(
        spec.from_dict(EXPERIMENT, folder=folder),
        device="cpu",
        deterministic=False,
        cache=folder / "cache",
        root=folder / root,
        say=lambda line: None,
    )


def processes(folder: Path) -> list[str]:
    """The processes that have run the variant, in order."""
    path = folder / "processes"
    return path.read_text().split() if path.exists() else []


def compared(folder: Path, say: Callable[[str], None] = lambda line: None) -> tuple[int, Path]:
    experiment = spec.from_dict(EXPERIMENT, folder=folder)
    outcome = compare.run(experiment, folder / "out", compare.RunOptions(device="cpu", jobs=1), "", say)
    return outcome.status, folder / "out" / "runs"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHBENCH_CACHE", str(tmp_path / "cache"))


def test_planning_runs_the_file_in_another_process(folder: Path) -> None:
    first = planned(folder)
    (process,) = processes(folder)
    assert process != str(os.getpid())
    assert [plan.run for plan in planned(folder, "other").plans] == [plan.run for plan in first.plans]


def test_a_plan_is_that_of_the_same_code_in_this_process(folder: Path) -> None:
    mine, decoder = (
        {plan.match: plan for plan in planned(folder).plans if plan.foreign == foreign} for foreign in (True, False)
    )
    for plan in (*mine.values(), *decoder.values()):
        twin = next(iter(decoder.values()))
        assert (plan.size, plan.tokens, plan.counts, plan.flops) == (twin.size, twin.tokens, twin.counts, twin.flops)
        assert (plan.heads, plan.optimizer_flops, plan.supervision) == (twin.heads, twin.optimizer_flops, "native")


def test_every_run_of_the_file_and_its_baselines_have_a_process_of_their_own(folder: Path) -> None:
    status, runs = compared(folder)
    rows = [row for path in runs.iterdir() if (row := store.verified_record(path))]
    assert status == 0 and {row["status"] for row in rows} == {"done"}
    (references,) = (folder / "out" / "references").iterdir()
    assert "untrained" in references.read_text(), "the baselines are the first architecture's, which is the file"
    used = processes(folder)
    assert str(os.getpid()) not in used and len(set(used)) == len(used)
    assert len(used) == 1 + sum(row["architecture"] == "mine" for row in rows) + 1, "planning, runs, baselines"


def test_missing_reference_rows_are_made_again_by_a_process_of_the_file(folder: Path) -> None:
    compared(folder)
    (references,) = (folder / "out" / "references").iterdir()
    before, used = sealed.read_sealed(references), set(processes(folder))
    references.unlink()
    status, _ = compared(folder)
    again = sealed.read_sealed(references)
    assert status == 0
    for row, row_again in zip(before, again, strict=True):  # this process and a worker align memory differently
        assert row_again == row | {"value": pytest.approx(row["value"], rel=1e-12)}
    assert len(set(processes(folder)) - used) == 2, "for planning, and for the model before training"


def test_a_dry_run_checks_nothing_and_says_what_is_due(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = isolation._Questions.ask

    def noted(self: isolation._Questions, question: str, *arguments: object) -> object:
        asked.append(question)
        return ask(self, question, *arguments)

    monkeypatch.setattr(isolation._Questions, "ask", noted)
    files = ["mine.py", "second.py"]
    (folder / files[1]).write_text(VARIANT)
    *lines, total = due(folder, files)
    assert asked.count("due") == len(files) and "contract" not in asked and not (folder / "cache" / "contract").exists()
    expected = rf"{len(contract.CHECKS)} properties and \d checks at the size of its runs come first"
    expected += r", about (\d+) s on an idle core"
    found = [re.fullmatch(rf"{Path(name).stem}: {expected}", line) for name, line in zip(files, lines, strict=True)]
    seconds = sum(int(match[1]) for match in found if match)
    assert all(found)
    whole = re.search(r"about (\d+) s with 1 job \((\d+) s of it for the checks\)", total)
    assert whole and int(whole[1]) >= int(whole[2]) == pytest.approx(seconds, abs=1)


def test_what_was_checked_is_not_tried_again(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By a command of its own either: both know the file and what it imports by the same digest."""
    compared(folder)
    assert "mine: checking the contract of this file once: " in capfd.readouterr().err
    assert due(folder, ["mine.py", "decoder"]) == []
    compared(folder)
    assert "checking" not in capfd.readouterr().err
    asking = (
        "from archbench.architectures.catalogue import catalogue; from archbench.runs.planning import compliance; "
        "from pathlib import Path; print(list(compliance.due(catalogue.find('mine.py'), Path('cache'))))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", asking], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def due(folder: Path, architectures: list[str]) -> list[str]:
    """The lines of a dry run on checks."""
    experiment = spec.from_dict({**EXPERIMENT, "architectures": architectures}, folder=folder)
    options = compare.RunOptions(device="cpu", jobs=1)
    text = dry_run.preview(experiment, folder / "out", options, lambda line: None)
    return [line for line in text.splitlines() if "come first" in line or "for the checks" in line]


@pytest.mark.parametrize(
    "line, message",
    [
        ("raise ValueError('no such luck')", "mine.py:12: the variant file fails: ValueError: no such luck"),
        ("os._exit(7)", "mine.py: describe fails: its code ends its process (exit status 7)"),
        ("os.kill(os.getpid(), 9)", "mine.py: describe fails: its code ends its process (signal 9"),
    ],
)
def test_a_file_that_fails_is_one_line(folder: Path, line: str, message: str) -> None:
    (folder / "mine.py").write_text(f"{VARIANT}{line}\n")
    with pytest.raises(InputError) as error:
        compared(folder)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "deed, cause",
    [
        ("raise ValueError('not this time')", "ValueError: not this time"),
        ("os._exit(7)", "its code ends its process (exit status 7)"),
        ("raise SystemExit(3)", "its code ends its process (exit status 3)"),
    ],
)
def test_a_file_that_fails_in_training_fails_with_its_runs_alone(folder: Path, deed: str, cause: str) -> None:
    (folder / "mine.py").write_text(
        VARIANT.replace("import os\n", "import os\nimport sys\n").replace(
            'return catalogue.find("decoder").build(size, limits)',
            'model = catalogue.find("decoder").build(size, limits)\n'
            '    if "archbench.runs.execution.work" in sys.modules:\n'
            "        model.stack.register_forward_pre_hook(fail)\n"
            "    return model",
        )
        + f"\n\ndef fail(module, inputs):\n    {deed}\n"
    )
    status, runs = compared(folder)
    rows = [store.read_record(path) or {} for path in runs.iterdir()]
    outcomes = {(row["architecture"], row["status"], row.get("error", "")) for row in rows}
    assert outcomes == {("mine", "failed", cause), ("decoder", "done", "")} and status == 1
    (error, *_) = runs.glob("*mine*/error.txt")
    assert cause in error.read_text()


def test_an_own_architecture_is_measured_here(folder: Path) -> None:
    with Architectures(folder, folder / "cache") as architectures:
        assert architectures.find("decoder").build(*catalogue.SMALL).family == "decoder"
        with pytest.raises(AssertionError, match="mine is built in its own process only"):
            architectures.find("mine.py").build(None, None)  # type: ignore[arg-type]


def test_work_that_only_a_planned_size_does_is_refused(folder: Path) -> None:
    """A second network from a width on that no small model of the contract has, left out of the FLOPs."""
    more = (
        "\n\nclass Wider(GatedFeedForward):\n"
        "    def forward(self, x):\n"
        "        return super().forward(x) + super().forward(x * 2)\n"
    )
    built = (
        'model = catalogue.find("decoder").build(size, limits)\n'
        "    if size.hidden > 60:\n"
        "        for block in model.stack.blocks:\n"
        "            block.feedforward = Wider(size.dim, size.hidden)\n"
        "    return model"
    )
    text = VARIANT.replace('return catalogue.find("decoder").build(size, limits)', built) + more
    (folder / "mine.py").write_text(
        text.replace(
            "import os\n", "import os\nfrom archbench.architectures.components.feedforward import GatedFeedForward\n"
        )
    )
    with pytest.raises(InputError, match=r"mine.py: breaks the contract at the size of its runs: .* FLOPs of training"):
        compared(folder)
    assert not (folder / "out" / "runs").exists()
