"""Every class of wrong input is one line with status 2 and leaves nothing behind; what is merely odd works.

Each case is a few files in an empty folder and a command, as a user would give it.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from commands import ROOT, messages_in, scores, start

from archbench import command_line
from archbench.architectures.catalogue import catalogue, sandbox
from archbench.tasks.base import sealed

EXPERIMENT = """
name = "mine"
architectures = ["decoder"]
[budget]
parameters = 20_000
tokens = 2_000
[model]
width = 32
[training]
batch_tokens = 512
[[tasks]]
kind = "classification"
name = "colours"
data = "things.csv"
tokenizer = "word"
vocabulary = 64
source_length = 8
test_examples = 5
"""
PARALLEL = '{ train = ["a.txt", "b.txt"] }'
TRANSLATED = EXPERIMENT.replace("classification", "translation").replace('"things.csv"', PARALLEL)
MEMORIZED = (
    EXPERIMENT[: EXPERIMENT.index("[[tasks]]")]
    + """[[tasks]]
kind = "memorization"
name = "strings"
data = "random-strings:40"
"""
)
SUMMARIZED = EXPERIMENT.replace("classification", "summarization")
TEXT = EXPERIMENT.replace("classification", "generation").replace("things.csv", "things.txt")
TEXT = TEXT.replace('tokenizer = "word"\nvocabulary = 64\nsource_length = 8', "context = 16\nsource_length = 8")
SPLIT = EXPERIMENT.replace('"things.csv"', '{ train = "things.csv", test = "test.csv" }')
ROWS = [
    f"{size} {thing} {n},{label}"
    for size, label in (("big", "warm"), ("small", "cold"))
    for thing in "abc"
    for n in range(40)
]
TABLE = "\n".join(["text,label", *ROWS]) + "\n"
RUNNING = "\n".join(f"line {n} of the text" for n in range(400)) + "\n"
VARIANT = catalogue.find("decoder").text
LONG = "x" * 300
OWN = EXPERIMENT.replace('"decoder"', '"mine.py"')

Content = str | bytes


@dataclass(frozen=True)
class Case:
    """What lies in the folder beside ``things.csv`` and ``mine.toml``, and what is said; ``odd`` ones work."""

    name: str
    says: str = ""
    toml: Content = EXPERIMENT
    files: Mapping[str, Content | None] = field(default_factory=dict)
    command: tuple[str, ...] = ("compare", "mine.toml")


def table(content: Content, message: str, name: str, **more: Content | None) -> Case:
    return Case(name, message, files={"things.csv": content, **more})


def variant(content: Content | None, message: str, name: str) -> Case:
    return Case(name, message, OWN, {"mine.py": content})


def toml(content: Content, message: str, name: str) -> Case:
    return Case(name, message, content)


def lines(content: str, message: str, name: str) -> Case:
    return Case(name, message, EXPERIMENT.replace(".csv", ".jsonl"), {"things.jsonl": content})


def parallel(first_file: str, second_file: str, message: str, name: str) -> Case:
    return Case(name, message, TRANSLATED, {"a.txt": first_file, "b.txt": second_file})


def split(content: str, message: str, name: str) -> Case:
    return Case(name, message, SPLIT, {"test.csv": content})


def text(content: str, message: str, name: str) -> Case:
    return Case(name, message, TEXT, {"things.txt": content})


def command(message: str, name: str, *arguments: str) -> Case:
    return Case(name, message, command=arguments)


def changed(old: str, new: str, message: str, name: str) -> Case:
    assert old in EXPERIMENT
    return Case(name, message, EXPERIMENT.replace(old, new))


CHANGED = '''"""A decoder that {what}."""
from dataclasses import replace

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.decoder import DecoderOnly

def build(size, limits):
    model = catalogue.find("decoder").build(size, limits)
    model.__class__ = Changed
    return model

class Changed(DecoderOnly):
    {body}
'''
PEEKS = """def forward(self, source, target, source_mask=None, target_mask=None):
        return super().forward(source, target.roll(-1, 1), source_mask, target_mask)"""
HIDES = """def flops(self, *lengths):
        flops = super().flops(*lengths)
        return replace(flops, all_pairs=0.5 * flops.all_pairs)"""
BREAKS = """def forward(self, *inputs):
        raise RuntimeError("shapes do not fit")"""
HEAD = '"""A model."""\n'
BUILD = f"{HEAD}def build(size, limits):\n"


def named(message: str, name: str, *paths: str) -> Case:
    """Files with the default decoder in each, all compared."""
    files = {path: VARIANT for path in paths if path.endswith(".py")}
    return Case(name, message, files=files, command=("compare", "mine.toml", "--architectures", ",".join(paths)))


def broken(body: str, message: str, name: str) -> Case:
    return variant(CHANGED.format(what="is changed", body=body), f"mine.py: breaks the contract: {message}", name)


WRONG = [
    # Experiment files: syntax, types, keys, values, budgets
    toml("", "mine.toml: name: missing", "empty file"),
    toml("name = ", "mine.toml:1: not valid TOML: invalid value", "half a line"),
    toml(EXPERIMENT + '\nname = "again"\n[budget]\n', "mine.toml:20: not valid TOML: ", "a table twice"),
    toml(
        EXPERIMENT.replace("tokens = 2_000", "tokens = 2_000\ntokens = 3_000"),
        "mine.toml:7: not valid TOML: ",
        "a key twice",
    ),
    toml(EXPERIMENT.encode("utf-16"), "mine.toml:1: not UTF-8", "UTF-16"),
    toml(EXPERIMENT.encode() + b"# \xff\n", "mine.toml:19: not UTF-8", "not UTF-8"),
    toml(EXPERIMENT + "\x00", "mine.toml:19: not valid TOML: ", "a NUL byte"),
    toml(
        '[[tasks]]\nx = "' + "a" * 100_000, "mine.toml:2: not valid TOML: unterminated string", "a string without end"
    ),
    toml(
        f"x = {'[' * 2_000}", "mine.toml: not an experiment: tables or lists nested too deeply", "brackets without end"
    ),
    changed(
        "tokens = 2_000",
        "tokens = 2_000\nflops = 1e9",
        "expected exactly one of tokens, flops and seconds",
        "two budgets",
    ),
    changed("batch_tokens", "batchtokens", 'did you mean "batch_tokens"', "misspelt key"),
    changed('["decoder"]', '["decodr"]', 'did you mean "decoder"?', "misspelt architecture"),
    changed(
        "width = 32",
        "width = 33",
        "model.width: decoder cannot be built with width 33",
        "a width that heads do not divide",
    ),
    changed(
        "width = 32",
        "width = 24\nheads = 8",
        "model.width: decoder cannot be built with width 24",
        "a width of an odd number of channels for each head",
    ),
    changed("things.csv", "absent.csv", 'data: no file "absent.csv"', "a missing file"),
    changed("things.csv", "thing.csv", 'did you mean "things.csv"', "a misspelt file"),
    changed("things.csv", "../mine/..", 'tasks.colours.data: "../mine/.." is a folder', "a folder as data"),
    changed("things.csv", "mine.toml", "classification cannot read", "a file of another kind"),
    *(
        changed("things.csv", data, f'tasks.colours.data: "{data}" is not a hub name; write it like', f"{data} as data")
        for data in ("hub:", "hub:../../x", "hub:a/b/c/d")
    ),
    changed(
        "source_length = 8", 'source_length = 8\ncolumns = { label = "class" }', 'no column "class"', "a missing column"
    ),
    # Data
    table("", "things.csv has no header line", "empty"),
    table("text,label\n", "things.csv has no rows", "a header alone"),
    table(
        "text,label\nbig,warm\n",
        "tasks.colours.data: train (things.csv) has too few different rows to split off validation and test "
        "(rows with equal sources stay together)",
        "a single row",
    ),
    table("text,label\n" + "big,\n" * 50, "train (things.csv) has no row with both", "rows without labels"),
    table(TABLE.replace("text,label", "texts,label"), 'no column "text" in things.csv', "another column"),
    table(
        TABLE.replace("text,label", "text,text"), 'things.csv has 2 columns called "text"', "two columns called text"
    ),
    table(
        TABLE.replace("text,label", "text,label,label").replace("warm", "warm,x").replace("cold", "cold,x"),
        'things.csv has 2 columns called "label"',
        "a column twice",
    ),
    table(TABLE + "big,warm,more\n", "things.csv line 242 has 3 fields", "ragged, more"),
    table(TABLE + "big\n", "things.csv line 242 has 1 fields", "ragged, fewer"),
    table(TABLE + '"big,warm\n', "things.csv line", "a quote without end"),
    table(TABLE + '"big" red,warm\n', "things.csv line 242 is not well-formed", "text after a quote"),
    table(
        TABLE.replace("big a 0", '"big a 0'),
        "things.csv line 2 (its quote closes in line 241 or never) is not well-formed",
        "a quote without end, far up",
    ),
    table(
        TABLE.replace("big a 0", '"big a 0').replace("big b 0,warm", '"big b 0",warm'),
        "things.csv line 2 (its quote closes in line 42 or never) is not well-formed",
        "a quote that the next one ends",
    ),
    table("\0" * 1000, 'no column "text" in things.csv (it has: ', "NUL bytes alone"),
    lines("{" + ",".join(f'"k{n}": 1' for n in range(10_000)) + "}\n", "k11 and 9,988 more)", "ten thousand columns"),
    changed("things.csv", "a" * 5_000 + ".csv", 'tasks.colours.data: no file "aaa', "an endless name of a file"),
    changed("things.csv", "a" * 5_000, "no built-in data set", "an endless name of data"),
    changed("width = 32", "width = 32\n" + "a" * 5_000 + " = 1", "mine.toml: model.aaa", "an endless key"),
    Case(
        "another code page",
        'no column "text" in things.csv (it has: ',
        EXPERIMENT + 'encoding = "cp037"\n',
    ),
    command(
        'tasks.colours.budget.match: "seconds" needs a budget in seconds',
        "an axis that the budget has not",
        *("compare", "mine.toml", "--match", "seconds"),
    ),
    table(TABLE.encode("utf-16"), "encoding: things.csv is not utf-8", "UTF-16"),
    table((TABLE + "grün,warm\n").encode("latin-1"), "things.csv is not utf-8: byte 0xfc at", "Latin-1"),
    table(TABLE.replace("cold", "warm"), 'every training example has the label "warm"', "one class only"),
    Case(
        "no JSON",
        "things.jsonl line 2 is not JSON",
        EXPERIMENT.replace(".csv", ".jsonl"),
        {"things.jsonl": '{"text": "a", "label": "b"}\n{half\n'},
    ),
    Case(
        "JSON that is no object",
        "things.jsonl line 1 is not a JSON object",
        EXPERIMENT.replace(".csv", ".jsonl"),
        {"things.jsonl": "[1]\n"},
    ),
    Case(
        "JSON that is nested",
        'column "text" in things.jsonl line 1 is not text',
        EXPERIMENT.replace(".csv", ".jsonl"),
        {"things.jsonl": '{"text": {"a": 1}, "label": "b"}\n'},
    ),
    Case(
        "unequal parallel texts",
        "parallel files need equally many lines",
        TRANSLATED,
        {"a.txt": "a\nb\nc\n", "b.txt": "a\nb\n"},
    ),
    parallel("", "", "tasks.colours.data: a.txt and b.txt are empty", "empty parallel texts"),
    Case(
        "a table without summaries",
        'tasks.colours.columns: no column "summary" in things.csv (it has: text, label)',
        SUMMARIZED,
    ),
    Case(
        "a table of articles",
        'in things.csv (it has: article, highlights); to use "article", write columns = { text = "article" }',
        SUMMARIZED,
        {"things.csv": TABLE.replace("text,label", "article,highlights")},
    ),
    Case(
        "summaries longer than allowed",
        "target_length: 2 excludes all",
        SUMMARIZED + "target_length = 2\n",
        {"things.csv": "text,summary\n" + "".join(f"a text of some words {n},no {n}\n" for n in range(99))},
    ),
    Case("empty summaries", "no row with both", SUMMARIZED, {"things.csv": "text,summary\n" + "big,\n" * 50}),
    Case(
        "running text to summarize",
        'summarization cannot read "things.txt"; it reads .csv',
        SUMMARIZED.replace("things.csv", "things.txt"),
        {"things.txt": RUNNING},
    ),
    Case("no strings", '"random-strings:0" may ask for 1 to 1,048,576 strings', MEMORIZED.replace("40", "0")),
    Case("strings in words", '"random-strings:x" may ask for 1 to', MEMORIZED.replace("40", "x")),
    command('no task "summarization"', "a kind that is not there", "compare", "mine.toml", "--tasks", "summarization"),
    text("", "things.txt is empty", "an empty text"),
    text("ab", "things.txt is too short", "a text of a line"),
    text(" ", "data: things.txt is too short to split off", "a text of blanks"),
    split("", "test.csv has no header line", "an empty test file"),
    Case(
        "test labels that train has not",
        "no label of the test split is one of the training split's",
        SPLIT,
        {"test.csv": "text,label\nbig,lukewarm\n"},
    ),
    # Variant files
    variant(None, "mine.py: there is no such variant file", "absent"),
    changed("tokens = 2_000", f"tokens = {'9' * 5000}", "a number has too many digits", "an endless number"),
    changed('["decoder"]', '[""]', "architectures[0]: is empty", "an architecture without a name"),
    changed('["decoder"]', r'["a\nb.py"]', "has control characters; rename it", "a file's name on two lines"),
    variant("", "mine.py: a variant file needs a function build", "empty"),
    variant(HEAD + "x = = 2\n", "mine.py:2: the variant file fails: SyntaxError", "a syntax error"),
    variant(b'"""A \xff model."""\n', "mine.py:1: the variant file fails: SyntaxError", "not UTF-8"),
    variant(HEAD + "\x00", "mine.py:1: the variant file fails: SyntaxError", "a NUL byte"),
    variant(HEAD + "import torchh\n", "mine.py:2: the variant file fails: ModuleNotFoundError", "a missing module"),
    variant(HEAD + "1 / 0\n", "mine.py:2: the variant file fails: ZeroDivisionError", "raises on import"),
    variant(HEAD + "import sys\nsys.exit(0)\n", "mine.py:3: the variant file fails: SystemExit", "ends the process"),
    variant(HEAD + "class Odd(BaseException): ...\nraise Odd(1)\n", "mine.py:3: the variant file fails: Odd: 1", "odd"),
    variant(HEAD + "raise KeyboardInterrupt\n", "mine.py:2: the variant file fails: KeyboardInterrupt", "interrupts"),
    variant(
        BUILD + "    raise GeneratorExit\n", "build(size, limits) fails: GeneratorExit", "raises what is no Exception"
    ),
    variant(
        HEAD + "import asyncio\nraise asyncio.CancelledError\n",
        "mine.py:3: the variant file fails: Cancelled",
        "cancels",
    ),
    variant(
        HEAD + "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\nraise Mute\n",
        "mine.py:5: the variant file fails: Mute: (no message: writing it raises ValueError)",
        "raises what cannot be written out",
    ),
    variant(
        HEAD + "class Mute(Exception):\n    def __str__(self):\n        raise SystemExit\nraise Mute\n",
        "mine.py:5: the variant file fails: Mute: (no message: writing it raises SystemExit)",
        "ends the process where it is written out",
    ),
    variant(
        BUILD
        + "    raise Mute\nclass Odd(BaseException): ...\n"
        + "class Mute(Exception):\n    def __str__(self):\n        raise Odd\n",
        "build(size, limits) fails: Mute: (no message: writing it raises Odd)",
        "raises what raises oddly",
    ),
    variant(HEAD + "raise ValueError('x' * 100_000)\n", "mine.py:2: the variant file fails: ValueError: xxx", "long"),
    variant(HEAD + "build = 3\n", "mine.py: a variant file needs a function build", "build is a number"),
    variant(HEAD + "def build(size):\n    pass\n", "build(size, limits) fails: TypeError", "another signature"),
    variant(
        BUILD + '    raise ValueError("no\\nway")\n',
        "fails: ValueError: no way",
        "raises",
    ),
    variant(
        BUILD + '    return {"a": 1}\n',
        "gave a dict; expected one of",
        "returns rubbish",
    ),
    variant(
        BUILD + "    return None\n",
        "gave a NoneType; expected one of",
        "returns nothing",
    ),
    variant(HEAD + "while True:\n    pass\n", "TimeoutError: does not end within", "takes for ever to read"),
    variant(
        BUILD + "    while True:\n        pass\n",
        "TimeoutError: does not end within",
        "takes for ever to build",
    ),
    variant(VARIANT.split('"""', 2)[2], "mine.py:1: a variant file must begin with a docstring", "no docstring"),
    variant(BUILD + "    raise SystemExit(3)\n", "build(size, limits) fails: SystemExit: 3", "ends the process later"),
    named('more/one.py" are both called one', "two files of one name", "one.py", "more/one.py"),
    named('decoder.py" are both called decoder', "a file of a built-in's name", "decoder", "decoder.py"),
    named(
        '"encoder_decoder" and "encoder-decoder" are both called encoder-decoder',
        "two spellings",
        *("encoder_decoder", "encoder-decoder"),
    ),
    broken(PEEKS, "no_look_ahead: logits before position 1", "looks ahead"),
    broken(HIDES, "flops_are_counted: source 5, target 4", "hides FLOPs"),
    broken(BREAKS, "training_reads_as_scoring_does: RuntimeError: shapes do not fit (", "shapes that do not fit"),
    # What only a hostile hand writes
    lines('{"text": "\\ud800", "label": "b"}\n', "half of a surrogate pair", "half a surrogate pair"),
    lines("[" * 100_000 + "\n", "things.jsonl line 1 is nested too deeply", "brackets without end"),
    changed("things.csv", "~nosuchuser/things.csv", 'data: "~nosuchuser', "a file of nobody"),
    changed('"decoder"', '"~nosuchuser/mine.py"', 'architectures: "~nosuchuser/mine.py": ', "a variant of nobody"),
    changed(
        "source_length = 8",
        'source_length = 8\nencoding = "undefined"',
        'unknown encoding "undefined"',
        "an undefined encoding",
    ),
    changed(
        "source_length = 8",
        'source_length = 8\nencoding = "utf-7"',
        'encoding: "utf-7" allows halves',
        "halves of signs",
    ),
    changed(
        "source_length = 8", 'source_length = 8\nencoding = "unicode_escape"', "halves of surrogate pairs", "escapes"
    ),
    command("--out: is empty", "no folder", "compare", "mine.toml", "--out", ""),
    command("Invalid value for '--seeds'", "seeds without end", "compare", "mine.toml", "--seeds", "2000000000"),
    command("bytes that are not UTF-8", "a name in another encoding", "compare", "mine.toml", "--out", "\udcff"),
    # The command line
    command("absent.toml: no such file", "no such file", "compare", "absent.toml"),
    command("cannot be read: Is a directory", "a folder as experiment", "compare", "."),
    command("to run the preset, use --preset quick", "a preset's name as file", "compare", "quick"),
    Case(
        "file and preset",
        "give an experiment file or a preset, not both",
        command=("compare", "mine.toml", "--preset", "smoke"),
    ),
    command('did you mean "smoke"', "an unknown preset", "compare", "--preset", "smok"),
    command("No such option: --sedes", "an unknown option", "compare", "mine.toml", "--sedes", "3"),
    command("Invalid value for '--seeds'", "no number of seeds", "compare", "mine.toml", "--seeds", "0"),
    command("expected auto, cpu or cuda", "an unknown device", "compare", "mine.toml", "--device", "tpu"),
    Case(
        "a task that is not there",
        'no task "colors"; did you mean "colours"?',
        command=("compare", "mine.toml", "--tasks", "colors"),
    ),
    command(
        "mine.toml: this folder cannot be created",
        "a file in the place of the folder",
        "compare",
        "mine.toml",
        "--out",
        "mine.toml",
    ),
    *(
        command("ile name too long", f"a name without end for {arguments[0]}", *arguments)
        for arguments in (
            ("compare", "mine.toml", "--out", LONG),
            ("compare", "mine.toml", "--dry-run", "--out", LONG),
            ("report", LONG),
            ("predict", LONG, "text"),
        )
    ),
    command(
        "/proc/nope/x: this folder cannot be created",
        "a folder that cannot be made",
        *("compare", "mine.toml", "--out", "/proc/nope/x"),
    ),
    command("no experiment here", "a report of nothing", "report", "nowhere"),
    command("no run 'x'", "a run that is not there", "predict", "x", "text"),
]

ODD = [
    toml("\ufeff" + EXPERIMENT, "", "experiment with a byte order mark"),
    toml(EXPERIMENT.replace("\n", "\r\n"), "", "experiment with CRLF"),
    table("\ufeff" + TABLE, "", "byte order mark"),
    table(TABLE.replace("\n", "\r\n"), "", "CRLF"),
    table(TABLE.replace("\n", "\r"), "", "CR alone"),
    table(TABLE + "\n\n\n", "", "empty lines"),
    table(TABLE + '"a ""big"" one, red",warm\n"two\nlines",cold\n', "", "quotes"),
    table(TABLE.replace("text,label", " text , label "), "", "blanks about names of columns"),
    table(TABLE + "big\x00red,warm\n", "", "NUL bytes"),
    table(TABLE + "=cmd|' /C calc'!A0,warm\n<script>alert(1)</script>,cold\n", "", "what others would run"),
    table(TABLE + f"{'very ' * 60_000}long,warm\n", "", "a huge line"),
    table(TABLE + "👍🏽 مرحبا \u202e,cold\n", "", "any script and direction"),
    table(TABLE.replace("warm\n", "Warm\n", 40), "2 labels that differ in case alone", "labels that differ in case"),
    table(TABLE + TABLE.split("\n", 1)[1], "", "every row twice"),
    split(TABLE, "228 test sources seen in train", "identical splits"),
    split("\n".join([*TABLE.splitlines()[:3], "new,warm"]), "2 test sources seen in train", "an overlap"),
    text("\ufeff" + RUNNING.replace("\n", "\r\n"), "", "text with CRLF and a mark"),
    text(RUNNING + "\x00\x01 a\n", "", "text with NUL bytes"),
    text(RUNNING.replace("\n", " "), "", "text of one line"),
    Case(
        "Latin-1 that is named",
        "",
        EXPERIMENT + 'encoding = "latin-1"\n',
        {"things.csv": (TABLE + "grün,warm\n").encode("latin-1")},
    ),
    Case(
        "parallel summaries",
        "",
        SUMMARIZED.replace('"things.csv"', PARALLEL),
        {"a.txt": RUNNING, "b.txt": "\n".join(f"line {n}" for n in range(400)) + "\n"},
    ),
    variant(VARIANT + '\nprint("hello")\n', "", "a variant that prints"),
    variant(VARIANT + '\nimport os\nos.chdir("/")\n', "", "a variant that goes to another folder"),
    variant(
        VARIANT.replace("def build(size: Size, limits: Limits)", "def build(size, limits, more=None)"),
        "",
        "a variant with an argument more",
    ),
    variant(("\ufeff" + VARIANT).replace("\n", "\r\n"), "", "a variant with a mark and CRLF"),
]


def laid_out(case: Case, folder: Path) -> None:
    for name, content in {"things.csv": TABLE, "mine.toml": case.toml, **case.files}.items():
        if content is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(
                content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
            )


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in str(path)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "mine"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("ARCHBENCH_CACHE", str(tmp_path / "cache"))
    return place


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def names(cases: list[Case]) -> list[str]:
    return [f"{case.name} ({next(iter(case.files), 'mine.toml')})" for case in cases]


@pytest.mark.fault(
    "invalid experiment files, data, variant files and commands",
    "one line that names file and line or key; status 2; nothing left behind",
)
@pytest.mark.parametrize("case", WRONG, ids=names(WRONG))
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    case: Case, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "TimeoutError" in case.says:
        monkeypatch.setattr(sandbox, "SECONDS", 0.5)
    laid_out(case, folder)
    before = left(folder)
    assert exit_code(*case.command) == 2
    output, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if line.startswith("archbench: ")]
    assert len(lines) == 1 and case.says in lines[0], errors
    assert len(lines[0]) <= 600 and ("breaks the contract" in lines[0]) == lines[0].endswith('" explains it')
    assert "Traceback" not in errors and not output
    assert left(folder) == before
    assert not list((folder.parent / "cache").glob("encoded/.partial-*"))


@pytest.mark.fault(
    "unusual but valid input: byte order marks, CRLF, quotes, huge lines, overlaps",
    "works; overlaps are counted and reported",
)
@pytest.mark.parametrize("case", ODD, ids=names(ODD))
def test_what_is_merely_odd_works(case: Case, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    laid_out(case, folder)
    assert exit_code(*case.command, "--dry-run") == 0
    output, errors = capsys.readouterr()
    assert case.says in errors and "1 run: about" in output
    (manifest,) = (folder.parent / "cache").glob("encoded/*/manifest.json")
    assert "\ufeff" not in sealed.read_sealed(manifest)["facts"]["tokenizer"]


@pytest.mark.slow
@pytest.mark.fault(
    "the same unusual input, trained and scored in a worker process",
    "the run finishes; every table is complete",
)
@pytest.mark.parametrize("case", ODD, ids=names(ODD))
def test_what_is_merely_odd_is_trained_and_scored(case: Case, folder: Path) -> None:
    laid_out(case, folder)
    out = folder.parent / "out"
    assert exit_code(*case.command, "--jobs", "1", "--out", str(out)) == 0
    assert "decoder" in scores(out) or "mine" in scores(out)
    assert (out / "report" / "index.html").is_file()


@pytest.mark.fault(
    "a variant that leaves a thread running",
    "the command still ends",
)
def test_a_thread_that_a_variant_leaves_does_not_hold_up_the_end(folder: Path) -> None:
    thread = "\nimport threading\nimport time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
    laid_out(Case("", "", OWN, {"mine.py": VARIANT + thread}), folder)
    process = start(folder, "compare", str(folder / "mine.toml"), "--dry-run", "--out", str(folder / "out"))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and "1 run: about" in output, errors


def test_a_variant_that_removes_the_current_folder_is_told(folder: Path) -> None:
    laid_out(
        Case("", "", OWN, {"mine.py": f"{HEAD}import os\nimport shutil\nshutil.rmtree(os.getcwd())\n1 / 0\n"}), folder
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "archbench", "compare", "mine.toml"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)
    (line,) = messages_in(process.stderr)
    assert process.returncode == 2
    assert "mine.py:1: the variant file fails: OSError: the current folder, " in line
    assert "cannot be entered any more" in line


def test_a_limit_counts_the_time_of_the_processor_and_only_loosely_that_of_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sound variant on a busy machine waits for the processor most of the time."""
    monkeypatch.setattr(sandbox, "SECONDS", 0.2)
    monkeypatch.setattr(sandbox, "WAITING", 1000.0)
    with sandbox.limited():
        time.sleep(0.5)
    with pytest.raises(TimeoutError, match=r"within 0\.2 s of CPU time"), sandbox.limited():
        while True:
            pass
    monkeypatch.setattr(sandbox, "WAITING", 1.0)
    with pytest.raises(TimeoutError, match=r"within 0\.2 s$"), sandbox.limited():
        time.sleep(60)
