"""Every variant keeps the contract; `check` tells it property by property, and `compare` remembers it."""

import ast
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from new_modules import importable

from archbench import command_line
from archbench.architectures import contract, variants
from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract.training import learning
from archbench.architectures.contract.trials import USUAL
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import STOCK, ExternalCheckpoint, Variant
from archbench.runs.budgets import compliance, contract_parts
from archbench.runs.budgets.contract_parts import Shape
from archbench.tasks.base.errors import InputError

VARIANTS = catalogue.names()
FILES = sorted(path for path in Path(variants.__path__[0]).glob("*.py") if path.stem != "__init__")
DECODER = catalogue.find("decoder").text
PEEKING = '''"""A decoder that looks ahead and takes no mask."""
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.decoder import DecoderOnly

def build(size, limits):
    model = catalogue.find("decoder").build(size, limits)
    model.__class__ = Changed
    return model

class Changed(DecoderOnly):
    def forward(self, source, target, source_mask=None, target_mask=None):
        if target_mask is not None:
            raise TypeError("no masks, please")
        return super().forward(source, target.roll(-1, 1), source_mask)
'''


def is_passed_over(name: str, check: contract.Check) -> bool:
    """Whether a check has no meaning for a variant: most have no cross-attention, stock models no parts of ours."""
    if check is contract.check("cross_attention_reads_the_source"):
        return name in STOCK or catalogue.find(name).family != "encoder-decoder"
    if check in (contract.check("other_sizes_read_alike"), contract.check("deep_models_read_alike")):
        return True  # not in quick trials
    if check in (
        contract.check("rounds_fill_confident_cells_first"),
        contract.check("estimates_average_to_the_likelihood"),
    ):
        return catalogue.find(name).family != "encoder"
    if check is contract.check("a_uniform_model_has_a_known_source_loss"):
        return catalogue.find(name).family == "encoder-decoder" or name == "prefix-decoder"
    if check is contract.check("every_part_of_a_matrix_is_trained"):
        return name == "transformers:gpt2"
    parts = contract.check("embedding_enters_once"), contract.check("recomputing_changes_nothing")
    return check in parts and name in STOCK


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", VARIANTS)
def test_variant_keeps_the_contract(name: str, check: contract.Check) -> None:
    note = check(contract.subject(catalogue.find(name).build))
    assert (note is not None) == is_passed_over(name, check), note


@pytest.mark.parametrize(
    "name", [name if name == "decoder" else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
def test_variant_keeps_the_contract_on_many_inputs(name: str) -> None:
    checks = [check for check in contract.CHECKS if check is not contract.check("a_batch_can_be_learned")]
    problems = {
        result.name: result.problem
        for result in contract.results(catalogue.find(name).build, checks=checks, trials=USUAL)
        if result.problem is not None
    }
    assert not problems


@pytest.mark.parametrize("name", VARIANTS)
def test_variant_learns_a_batch_by_heart(name: str) -> None:
    assert learning.loss_after_training(contract.subject(catalogue.find(name).build), enough=0.35) < 0.35


def test_the_default_bridge_and_historical_variants_exist() -> None:
    default = {"decoder", "encoder", "encoder-decoder", "prefix-decoder", "shared-encoder-decoder"}
    historical = {"gpt2", "llama", "bert", "modernbert", "t5", "t5-gated"}
    stock = {"transformers:gpt2", "transformers:bert", "transformers:t5"}
    assert default | historical | stock <= set(VARIANTS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_variant_is_one_small_file_that_overrides_nothing(path: Path) -> None:
    text = path.read_text()
    classes = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    assert not classes, "a variant composes components; it defines no class, so it cannot override anything"
    assert len(text.splitlines()) <= 42


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_every_property_is_explained(check: contract.Check) -> None:
    assert contract.property_of(check).endswith(".") and len(contract.property_of(check)) < 120
    assert len(contract.explanation(check)) > 60
    assert inspect.getdoc(check).splitlines()[0] == contract.property_of(check)


def test_checks_leave_the_global_generator_alone() -> None:
    build = catalogue.find("encoder").build
    before = torch.get_rng_state()
    for _ in contract.results(build, checks=contract.CHECKS[:-1]):
        pass
    assert torch.equal(before, torch.get_rng_state())


@pytest.fixture
def run_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., object]:
    """Runs a command in a folder of its own: status, lines on stdout, lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[object, list[str], list[str]]:
        with pytest.raises(SystemExit) as stopped:
            command_line.main(arguments)
        output, errors = capsys.readouterr()
        return stopped.value.code, output.splitlines(), errors.splitlines()

    return run


def test_check_of_a_variant_that_takes_the_streams_away_is_told(run_command: Callable[..., object]) -> None:
    Path("mine.py").write_text(catalogue.find("decoder").text + "\nimport sys\n\nsys.stdout = sys.stderr = None\n")
    status, lines, _ = run_command("check", "mine.py")
    assert status == 0 and len(lines) == len(contract.CHECKS) + 1


def test_check_tells_every_property_that_holds(run_command: Callable[..., object]) -> None:
    status, lines, _ = run_command("check", "decoder")
    assert status == 0 and len(lines) == len(contract.CHECKS) + 1
    notes = {
        contract.check("cross_attention_reads_the_source"): "it has no cross-attention",
        contract.check("other_sizes_read_alike"): "no other size is tried",
        contract.check("deep_models_read_alike"): "no other size is tried",
        contract.check("rounds_fill_confident_cells_first"): "it writes from left to right alone",
    }
    for line, check in zip(lines, contract.CHECKS, strict=False):
        if check in notes:
            assert line.split(None, 2)[::2] == ["-", f"does not apply: {notes[check]}"]
        else:
            assert line.split(None, 2) == ["ok", check.__name__, contract.property_of(check)]
    count = len(contract.CHECKS) - len(notes)
    total = f"{count} of {count + len(notes)} properties hold, {len(notes)} do not apply"
    assert lines[-1].startswith(f"decoder: {total} (")
    assert "\x1b" not in "".join(lines)


def test_check_explains_what_fails(run_command: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PEEKING)
    status, lines, _ = run_command("check", "mine.py")
    assert status == 1
    at = next(i for i, line in enumerate(lines) if line.startswith("FAIL  no_look_ahead "))
    assert lines[at + 1].startswith("      found: logits before position 1, when later tokens change: off by ")
    below = lines[at + 2 :]
    indented = below[: next(i for i, line in enumerate(below) if not line.startswith(" "))]
    assert " ".join(" ".join(indented).split()) == contract.explanation(contract.check("no_look_ahead"))
    assert max(map(len, indented)) <= compliance.WIDEST
    line = next(i for i, text in enumerate(PEEKING.splitlines(), 1) if "raise TypeError" in text)
    finding = f"found: TypeError: no masks, please ({tmp_path}/mine.py:{line})"
    assert finding in " ".join(" ".join(lines).split())
    assert sum("TypeError: no masks" in text for text in lines) == 1  # what fails many checks is told once
    repeated = [i for i, text in enumerate(lines) if re.fullmatch(r"      found: what \w+ found", text)]
    assert repeated and all(lines[i - 1].startswith("FAIL") and not lines[i + 1].startswith(" ") for i in repeated)
    failures = sum(text.startswith("FAIL") for text in lines)
    first = next(text for text in lines if text.startswith("FAIL")).split()[1]
    assert f", {failures} fail, {first} first, 4 do not apply (" in lines[-1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("decodr", 'did you mean "decoder"?'),
        ("absent.py", "absent.py: there is no such variant file"),
        ("broken.py", "broken.py:3: the variant file fails: ModuleNotFoundError"),
        ("empty.py", "a variant file needs a function build(size, limits)"),
        ("nothing.py", "a variant file needs a function build(size, limits)"),
    ],
)
def test_check_of_wrong_input_is_one_line(
    run_command: Callable[..., object], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text('"""Broken."""\n\nimport absent_module_for_test\n')
    (tmp_path / "empty.py").write_text('"""Nothing."""\n')
    (tmp_path / "nothing.py").touch()
    status, lines, errors = run_command("check", name)
    assert status == 2 and not lines and len(errors) == 1 and message in errors[0]


def test_a_checkpoint_has_nothing_to_check() -> None:
    gpt2 = catalogue.find("gpt2")
    checkpoint = ExternalCheckpoint(
        contract.SIZE,
        tokenizer="{}",
        length=None,
        build=lambda limits, labels: gpt2.build(contract.SIZE, limits),
        blank=lambda limits: gpt2.build(contract.SIZE, limits),
    )
    variant = replace(gpt2, checkpoint=checkpoint, path="there")
    with pytest.raises(InputError, match="there is a checkpoint without a variant"):
        list(compliance.report_lines(variant))


@pytest.fixture
def mine(tmp_path: Path) -> Variant:
    (tmp_path / "mine.py").write_text(DECODER)
    return catalogue.find("mine.py", tmp_path)


def test_a_pass_is_remembered(mine: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    monkeypatch.setattr(compliance, "PROGRESS_SECONDS", math.inf)
    compliance.require_contract(mine, tmp_path / "cache", messages.append)
    assert [line.startswith("mine: checking the contract") for line in messages] == [True]
    compliance.require_contract(mine, tmp_path / "cache", messages.append)
    assert len(messages) == 1


def test_a_long_check_shows_its_progress_and_its_time(
    mine: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr(compliance, "PROGRESS_SECONDS", -1.0)
    monkeypatch.setattr(contract, "CHECKS", contract.CHECKS[:2])
    monkeypatch.setattr(contract_parts, "FILE_SECONDS", 50.0)
    compliance.require_contract(mine, tmp_path / "cache", messages.append)
    first, *later = messages
    assert first == "mine: checking the contract of this file once: 2 properties, about 50 s on an idle core"
    done = r"mine: {} of 2 checks done in \d+ s, about 50 s on an idle core in all"
    assert [bool(re.fullmatch(done.format(n), line)) for n, line in enumerate(later, 1)] == [True, True]


def test_the_command_says_how_long_it_takes_and_shows_its_progress_in_a_file(
    run_command: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = contract.results
    monkeypatch.setattr(compliance, "PROGRESS_SECONDS", -1.0)
    monkeypatch.setattr(contract, "CHECKS", contract.CHECKS[:2])
    monkeypatch.setattr(contract, "results", lambda build, path, checks, _: original(build, path, checks))
    status, lines, errors = run_command("check", "decoder")
    assert status == 0 and len(lines) == 3
    expected = rf"about {contract_parts.FILE_SECONDS:.0f} s on an idle core"
    first, *later = errors
    assert first == f"decoder: checking 2 properties, {expected}"
    done = rf"decoder: {{}} of 2 checks done in \d+ s, {expected} in all"
    assert [bool(re.fullmatch(done.format(n), line)) for n, line in enumerate(later, 1)] == [True, True]


def shape(depth: int, source: int = 9, target: int = 7) -> Shape:
    return Shape(Size(32, 2, depth, 24), Limits(40, source, target), native=True)


def test_the_sizes_of_runs_are_not_counted_as_properties(
    mine: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``check`` and ``compare`` name the same number of properties."""
    messages: list[str] = []
    monkeypatch.setattr(compliance, "PROGRESS_SECONDS", math.inf)
    monkeypatch.setattr(contract, "CHECKS", contract.CHECKS[:2])
    for shapes in ([shape(1)], [shape(1), shape(2)]):
        compliance.require_contract(mine, tmp_path / "cache", messages.append, shapes)
    assert [line.split(": ")[2].rpartition(",")[0] for line in messages] == [
        "2 properties and 3 checks at the size of its runs",
        "3 checks at the size of its runs",
    ]


def test_a_pass_that_check_has_told_is_remembered_and_a_failure_is_not(
    mine: Variant, run_command: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHBENCH_CACHE", str(tmp_path))
    original, messages = contract.results, []
    monkeypatch.setattr(
        contract, "results", lambda build, path, *_: original(build, path, [contract.check("no_look_ahead")])
    )
    (tmp_path / "peeking.py").write_text(PEEKING)
    for name, status in (("mine.py", 0), ("peeking.py", 1)):
        assert run_command("check", name)[0] == status
    assert len(list((tmp_path / "contract").iterdir())) == 1
    compliance.require_contract(catalogue.find("mine.py", tmp_path), tmp_path, messages.append)
    assert not messages


def test_what_holds_is_remembered_part_by_part(mine: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def results(build, path, checks, trials):
        tried.extend(check.__name__ for check in checks if check not in contract.CHECKS)
        tried.extend(["the file"] * (len(checks) == len(contract.CHECKS)))
        return iter(())

    monkeypatch.setattr(contract, "results", results)
    new = {"planned_layers_read_alike", "texts_are_read_alike", "planned_flops_are_counted"}
    for shapes, expected in (
        ([shape(3)], {"the file", *new}),
        ([shape(3), shape(2)], new - {"texts_are_read_alike"}),  # texts are tried at the greatest depth
        ([shape(3, source=5)], new - {"planned_layers_read_alike"}),
        ([shape(2)], {"texts_are_read_alike"}),
        ([shape(4)], new),
        ([shape(3), shape(4)], set()),
        ([], set()),
    ):
        tried.clear()
        compliance.require_contract(mine, tmp_path, lambda line: None, shapes)
        assert len(tried) == len(expected) and set(tried) == expected


def test_another_text_or_a_damaged_memory_is_checked_again(
    mine: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[str] = []
    monkeypatch.setattr(contract, "results", lambda *_: iter(()))
    compliance.require_contract(mine, tmp_path, messages.append)
    compliance.require_contract(replace(mine, text=f"{mine.text}\n"), tmp_path, messages.append)
    assert len(messages) == 2
    for path in (tmp_path / "contract").iterdir():
        path.write_text("")
    compliance.require_contract(mine, tmp_path, messages.append)
    assert len(messages) == 3


IMPORTING = {
    "by a statement": ("import own_parts", ""),
    "by name": ('own_parts = importlib.import_module("own_parts")', ""),
    "as it runs": ("", 'own_parts = importlib.import_module("own_parts")'),
}
IN_PARTS = '''"""A decoder that rolls its target as another module says."""
import importlib
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.decoder import DecoderOnly
{}

def build(size, limits):
    model = catalogue.find("decoder").build(size, limits)
    model.__class__ = Rolled
    return model

class Rolled(DecoderOnly):
    def forward(self, source, target, source_mask=None, target_mask=None):
        {}
        return super().forward(source, target.roll(own_parts.SHIFT, 1), source_mask, target_mask)
'''


@pytest.mark.parametrize("importing", IMPORTING.values(), ids=IMPORTING)
def test_a_pass_does_not_outlive_what_was_imported(
    importing: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = contract.results
    monkeypatch.setattr(
        contract,
        "results",
        lambda build, path, checks, trials: original(build, path, [contract.check("no_look_ahead")]),
    )

    def hold(shift: int) -> None:
        modules.write("own_parts.py", f"SHIFT = {shift}\n")
        compliance.require_contract(catalogue.find("mine.py", tmp_path), tmp_path / "cache", lambda line: None)

    with importable(tmp_path) as modules:
        modules.write("mine.py", IN_PARTS.format(*importing))
        hold(0)
        with pytest.raises(InputError, match="breaks the contract: no_look_ahead"):
            hold(-1)


def test_other_code_or_versions_are_checked_again(mine: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    before = compliance._key(mine, ("usual",))
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 0")
    other = compliance._key(mine, ("usual",))
    monkeypatch.setattr("sys.version", "3.99")
    assert len({before, other, compliance._key(mine, ("usual",))}) == 3
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda path: b"other code")
    assert compliance._key(mine, ("usual",)) not in {before, other}


def test_a_cache_that_cannot_be_written_is_no_error(
    mine: Variant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "contract").write_text("a file where the folder should be")
    monkeypatch.setattr(contract, "results", lambda *_: iter(()))
    compliance.require_contract(mine, tmp_path, lambda line: None)
    assert (tmp_path / "contract").is_file()
