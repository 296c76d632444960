"""A new variant file is the built-in of its family until it is edited, and what its comments suggest works."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from archbench import command_line
from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue, scaffold
from archbench.architectures.components.stack import Stack
from archbench.architectures.families.variant import Variant

LINES = 50
BLOCK, POSITIONS = "LayerNorm, dropout=size.dropout)", "Rotary(size.head_dim)"
EMBEDDING = "Embedding(limits.vocabulary, size.dim, dropout=size.dropout)"
# Family, what a comment suggests, what stands there, and how the suggestion ({}) takes its place.
SUGGESTIONS = [
    ("decoder", "kv_heads=1", "size.heads)", "size.heads, {})"),
    ("encoder", "window=64", "size.heads)", "size.heads, {})"),
    *((family, "qk_norm=True", "size.heads)", "size.heads, {})") for family in scaffold.FAMILIES),
    ("decoder", "FeedForward", "GatedFeedForward(", "{}("),
    ("decoder", "RMSNorm", "LayerNorm", "{}"),
    ("encoder", "wiring=PostNorm", BLOCK, BLOCK[:-1] + ", {})"),
    ("decoder", "wiring=NoNorm", BLOCK, BLOCK[:-1] + ", {})"),
    ("decoder", "Alibi(size.heads)", POSITIONS, "{}"),
    ("encoder", "Learned(limits.length, size.dim)", POSITIONS, "{}"),
    ("decoder", "RelativeBias(size.heads, bidirectional=False)", POSITIONS, "{}"),
    ("encoder", "Sinusoidal(size.dim)", POSITIONS, "{}"),
    ("encoder-decoder", "RelativeBias(size.heads, bidirectional=True)", POSITIONS, "{}"),
    ("decoder", "NoPositions()", POSITIONS, "{}"),
    ("encoder-decoder", "decoder_positions=Alibi(size.heads)", POSITIONS, POSITIONS + ", {}"),
    ("decoder", "prefix=True", POSITIONS, POSITIONS + ", {}"),
    ("encoder", "objective=Masked(suffix=True)", POSITIONS, POSITIONS + ", {}"),
    ("encoder", "objective=Masked(next_cell=True)", POSITIONS, POSITIONS + ", {}"),
]
EVERYTHING = "from archbench.architectures import *\n\n\ndef build("


def written(family: str, folder: Path, *edits: tuple[str, str]) -> Variant:
    """A new variant of a family, with every edit (old, new) made."""
    path = scaffold.write("mine", family, folder)
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return catalogue.find(str(path))


def hold(variant: Variant) -> None:
    for check in contract.CHECKS:
        check(contract.subject(variant.build))


@pytest.mark.parametrize("family", scaffold.FAMILIES)
def test_a_new_variant_is_the_built_in_of_its_family(tmp_path: Path, family: str) -> None:
    mine, built_in = (
        contract.subject(variant.build).model for variant in (written(family, tmp_path), catalogue.find(family))
    )
    weights, expected = mine.state_dict(), built_in.state_dict()
    assert mine.family == family and list(weights) == list(expected)
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    source, target = contract.sequences(3, 5), contract.sequences(3, 4, seed=1)
    assert torch.equal(mine(source, target), built_in(source, target))


@pytest.mark.parametrize("family", scaffold.FAMILIES)
def test_a_new_variant_holds_the_contract(tmp_path: Path, family: str) -> None:
    hold(written(family, tmp_path))


@pytest.mark.parametrize(("family", "suggestion", "old", "new"), SUGGESTIONS)
def test_what_a_comment_suggests_works(tmp_path: Path, family: str, suggestion: str, old: str, new: str) -> None:
    before = written(family, tmp_path)
    assert suggestion in "".join(line for line in before.text.splitlines() if "#" in line)
    Path(before.path).unlink()
    edits = (
        (old, new.format(suggestion)),
        ("\n\ndef build(", EVERYTHING),
    )
    hold(written(family, tmp_path, *edits))


@pytest.mark.parametrize("family", scaffold.FAMILIES)
def test_embedding_and_head_can_share_a_table_as_the_comment_says(tmp_path: Path, family: str) -> None:
    edits = (
        (EMBEDDING, "embedding"),
        ("\n    return ", f"\n    embedding = {EMBEDDING}\n    return "),
        ("Head(limits.vocabulary, size.dim)", "Head(limits.vocabulary, size.dim, tied=embedding)"),
    )
    variant = written(family, tmp_path, *edits)
    hold(variant)
    model = contract.subject(variant.build).model
    assert model.head.weight is model.embedding.weight


@pytest.mark.parametrize("family", scaffold.FAMILIES)
def test_layers_can_differ_as_the_comment_says(tmp_path: Path, family: str) -> None:
    before = "attention = " if family != "encoder-decoder" else "            "
    variant = written(
        family,
        tmp_path,
        ("def block() -> Block:", "def block(layer: int) -> Block:")
        if family != "encoder-decoder"
        else ("def block(cross: bool) -> Block:", "def block(cross: bool, layer: int) -> Block:"),
        (
            f"{before}Attention(size.dim, size.heads)",
            f"{before}Attention(size.dim, size.heads, window=4 if layer else None)",
        ),
        *(
            (f"lambda: block(cross={cross})", f"lambda layer: block({cross}, layer)")
            for cross in (False, True)
            if family == "encoder-decoder"
        ),
    )
    hold(variant)
    model = contract.subject(variant.build).model
    for stack in (part for part in model.modules() if isinstance(part, Stack)):
        assert [block.attention.window for block in stack.blocks] == [None, 4]


@pytest.mark.parametrize("family", scaffold.FAMILIES)
def test_a_new_variant_is_small_and_tidy(tmp_path: Path, family: str) -> None:
    path = scaffold.write("mine", family, tmp_path)
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES
    ruff = [sys.executable, "-m", "ruff"]
    subprocess.run(
        [*ruff, "check", "--isolated", "--line-length=120", "--select=E,F,I,UP,B,SIM,N,RUF", path], check=True
    )
    subprocess.run([*ruff, "format", "--isolated", "--line-length=120", "--check", path], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine"], "new: give exactly one of --family FAMILY, --task KIND and --metric"),
        (["mine", "--task", "translation", "--metric"], "new: give exactly one of"),
        (["mine", "--task", "translate"], "expected generation, classification, translation, summarization or pairs"),
        (["chrf", "--metric"], '"chrf" is already a metric'),
        (["Translation", "--task", "translation"], '"translation" is already a task kind'),
        (["a/b", "--metric"], '"a/b": expected a letter'),
        (["mine", "--family", "encoderdecoder"], 'unknown "encoderdecoder"; expected decoder, encoder or encoder-'),
        (["mine", "--family", "decodr"], 'did you mean "decoder"?'),
        (["taken", "--family", "decoder"], "taken.py: already exists"),
        (["more/mine", "--family", "decoder"], '"more/mine": expected a letter'),
        (["2nd", "--family", "decoder"], '"2nd": expected a letter'),
        (["", "--family", "decoder"], '"": expected a letter'),
        (["mine.txt", "--family", "decoder"], '"mine.txt": expected a letter'),
        (["encoder_decoder.py", "--family", "decoder"], '"encoder_decoder" is already an architecture'),
        (["torch", "--family", "decoder"], "torch.py can hide Python's module torch"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.py").write_text("kept")
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["new", *arguments])
    output, errors = capsys.readouterr()
    assert stopped.value.code == 2 and not output
    assert len(errors.splitlines()) == 1 and message in errors
    assert [path.name for path in tmp_path.iterdir()] == ["taken.py"] and Path("taken.py").read_text() == "kept"


@pytest.mark.parametrize("name", ["my_idea-2", "my_idea-2.py"])
def test_the_command_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["new", name, "--family", "encoder"])
    assert not stopped.value.code
    check, compare = capsys.readouterr().out.splitlines()[1:]
    assert check.strip() == "archbench check my_idea-2.py"
    assert compare.strip() == "archbench compare --preset smoke --architectures encoder,my_idea-2.py"
    variant = catalogue.find("my_idea-2.py")
    assert variant.name == "my-idea-2" and variant.document.startswith("my_idea-2: an encoder-only model")
