"""A user's variant runs in processes of its own: it changes no other architecture's plan, training or scores."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_work import FakePlan

from archbench.architectures import contract
from archbench.architectures.catalogue import shared_state
from archbench.runs.base import store
from archbench.runs.execution import compare, dry_run
from archbench.runs.execution.execute import execute
from archbench.runs.experiment import spec
from archbench.runs.planning import isolation, matrix
from archbench.runs.planning.isolation import Architectures
from archbench.runs.planning.matrix import Matrix
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


def test_planning_runs_the_file_in_another_process_and_once(folder: Path) -> None:
    first = planned(folder)
    (process,) = processes(folder)
    assert process != str(os.getpid())
    assert [plan.run for plan in planned(folder, "other").plans] == [plan.run for plan in first.plans]
    assert len(processes(folder)) == 1, "what was answered is kept"


def test_a_plan_is_that_of_the_same_code_in_this_process(folder: Path) -> None:
    mine, decoder = (
        {plan.match: plan for plan in planned(folder).plans if plan.foreign == foreign} for foreign in (True, False)
    )
    for plan in (*mine.values(), *decoder.values()):
        twin = next(iter(decoder.values()))
        assert (plan.size, plan.tokens, plan.counts, plan.flops) == (twin.size, twin.tokens, twin.counts, twin.flops)
        assert (plan.heads, plan.optimizer_flops, plan.supervision) == (twin.heads, twin.optimizer_flops, "native")


@pytest.mark.parametrize("edited", ["mine.py", "near.py"])
def test_an_edit_of_the_file_or_of_what_it_loads_asks_again(folder: Path, edited: str) -> None:
    (folder / "near.py").write_text("HEADS = 1\n")
    load = "import runpy, sys\nsys.path.insert(0, str(Path(__file__).parent))\n__import__('ne' + 'ar')\n"
    (folder / "mine.py").write_text(VARIANT.replace("\n\n\n", f"\n{load}\n\n", 1))
    planned(folder)
    planned(folder)
    assert len(processes(folder)) == 1
    with open(folder / edited, "a") as file:
        file.write("# another\n")
    planned(folder)
    assert len(processes(folder)) == 2


def test_every_run_of_the_file_has_a_process_without_other_architectures(folder: Path) -> None:
    status, runs = compared(folder)
    assert status == 0
    assert str(os.getpid()) not in processes(folder)
    assert {row["status"] for path in runs.iterdir() if (row := store.verified_record(path))} == {"done"}
    (references,) = (folder / "out" / "references").iterdir()
    assert "untrained" in references.read_text(), "the baselines are the first architecture's, which is the file"


def test_missing_reference_rows_are_made_in_a_process_of_the_file(folder: Path) -> None:
    compared(folder)
    (references,) = (folder / "out" / "references").iterdir()
    before, used = references.read_bytes(), set(processes(folder))
    references.unlink()
    status, _ = compared(folder)
    assert status == 0 and references.read_bytes() == before
    (further,) = set(processes(folder)) - used
    assert further != str(os.getpid())


def test_a_dry_run_checks_nothing_and_says_what_is_due(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    ask = isolation._Process.ask

    def noted(self: object, question: str, *arguments: object, **named: object) -> object:
        asked.append(question)
        return ask(self, question, *arguments, **named)

    monkeypatch.setattr(isolation._Process, "ask", noted)
    files = ["mine.py", "second.py"]
    (folder / files[1]).write_text(VARIANT)
    *lines, total = due(folder, files)
    assert asked.count("due") == len(files) and "contract" not in asked and not (folder / "cache" / "contract").exists()
    expected = rf"{len(contract.CHECKS)} properties and \d checks at the size of its runs come first"
    expected += r", about (\d+) s on an idle core"
    found = [re.fullmatch(rf"{Path(name).stem}: {expected}", line) for name, line in zip(files, lines, strict=True)]
    minutes = sum(int(match[1]) for match in found if match) / 60
    assert all(found) and f"({minutes:.0f} min of it for the checks)" in total
    whole = re.search(r"about (\d+) min with 1 job ", total)
    assert whole and int(whole[1]) >= round(minutes)


def test_what_was_checked_is_not_tried_again(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By a command of its own either: both know the file and what it loads by the same digest."""
    compared(folder)
    assert "mine: checking the contract of this file once: " in capfd.readouterr().err
    assert due(folder, ["mine.py", "decoder"]) == []
    shutil.rmtree(folder / "cache" / "variants")  # what its process had answered
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


def test_workers_that_have_run_foreign_code_take_no_other_runs(tmp_path: Path) -> None:
    plans = [FakePlan(f"r{n}", expected_seconds=9.0 - n, code=code) for n, code in enumerate(["a", "b", "a", "b"] * 2)]
    plans += [FakePlan(f"own{n}", expected_seconds=8.5 - n) for n in range(3)]
    outcome = execute(plans, tmp_path, 1, lambda event: None, "fake_work:perform")
    assert len(outcome.done) == len(plans)
    users: dict[str, set[str]] = {}
    for plan in plans:
        process = (store.run_folder(tmp_path, plan.run) / "attempts").read_text().split()[0]
        users.setdefault(process, set()).add(plan.code)
    assert all(len(codes - {""}) <= 1 for codes in users.values()), "one user's variant a process"
    assert len(users) == 3, "runs of one variant are done one after another in one process"


def test_runs_of_archbench_never_follow_foreign_code(tmp_path: Path) -> None:
    plans = [FakePlan("theirs", expected_seconds=9.0, code="mine.py"), FakePlan("own", expected_seconds=1.0)]
    execute(plans, tmp_path, 1, lambda event: None, "fake_work:perform")
    first, second = ((store.run_folder(tmp_path, plan.run) / "attempts").read_text().split()[0] for plan in plans)
    assert first != second


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "from archbench.architectures.components.norm import RMSNorm; RMSNorm.forward = lambda self, x: x",
            "RMSNorm.forward, which other",
        ),
        ("raise ValueError('no such luck')", "mine.py:12: the variant file fails: ValueError: no such luck"),
        ("os._exit(7)", "mine.py: its code ends its process (exit status 7; describe)"),
        ("os.kill(os.getpid(), 9)", "mine.py: its code ends its process (signal 9"),
    ],
)
def test_a_file_that_fails_or_changes_others_is_one_line(folder: Path, line: str, message: str) -> None:
    before = shared_state.snapshot()
    (folder / "mine.py").write_text(f"{VARIANT}{line}\n")
    with pytest.raises(InputError) as error:
        compared(folder)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert shared_state.changes(before) == []
    assert not (folder / "out").exists()


def test_a_file_that_changes_others_as_it_trains_fails_with_its_runs_alone(folder: Path) -> None:
    """In the forward pass of a step: no check of a small model sees it where it waits for the planned size."""
    (folder / "mine.py").write_text(
        VARIANT.replace(
            'return catalogue.find("decoder").build(size, limits)',
            'model = catalogue.find("decoder").build(size, limits)\n'
            "    if limits.vocabulary == 64:\n"
            "        model.register_forward_pre_hook(change)\n"
            "        model.stack.register_forward_pre_hook(change)\n"
            "    return model",
        )
        + "\n\ndef change(module, inputs):\n"
        "    from torch.nn import functional as F\n"
        "    F.silu = F.relu\n"
    )
    status, runs = compared(folder)
    rows = [store.read_record(path) or {} for path in runs.iterdir()]
    outcomes = {(row["architecture"], row["status"], row.get("error", "")) for row in rows}
    cause = "RuntimeError: while it trained, the variant's code changed torch.nn.functional.silu"
    assert outcomes == {("mine", "failed", cause), ("decoder", "done", "")} and status == 1


def test_an_own_architecture_is_measured_here(folder: Path) -> None:
    with Architectures(folder, folder / "cache") as architectures:
        assert architectures.find("decoder").build.__module__ == "archbench.architectures.variants.decoder"
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
