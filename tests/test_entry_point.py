"""A variant that an installed package offers is listed, checked, compared in worker processes and read back by name."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archbench import command_line

MODULE = '''"""Multi-query attention, offered by a package (1911.02150)."""

from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.attention import Attention

from .parts import KEY_VALUE_HEADS


def build(size, limits):
    model = catalogue.find("decoder").build(size, limits)
    for block in model.stack.blocks:
        block.attention = Attention(size.dim, size.heads, kv_heads=KEY_VALUE_HEADS)
    return model
'''
EXPERIMENT = """
name = "theirs"
architectures = ["decoder", "multi-query"]
[budget]
parameters = 20_000
tokens = 1_000
[model]
width = 32
heads = 4
[training]
batch_tokens = 512
[[tasks]]
kind = "classification"
name = "kinds"
data = "phrases-en-de:200"
vocabulary = 300
test_examples = 10
"""
ENTRY_POINTS = """[archbench.variants]
multi-query = theirs.multi_query
broken = theirs.absent
decoder = theirs.multi_query
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package in a folder on Python's path, and an experiment in the current one."""
    files = {
        "site/theirs/__init__.py": "",
        "site/theirs/parts.py": "KEY_VALUE_HEADS = 1\n",
        "site/theirs/multi_query.py": MODULE,
        "site/theirs-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n",
        "site/theirs-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
        "here/theirs.toml": EXPERIMENT,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "site"


@pytest.fixture
def printed(site: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """Runs a command and gives what it prints, or its mistake where it ends with status 2."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            command_line.main(arguments)
        output, errors = capfd.readouterr()
        assert (stopped.value.code or 0) == (0 if output else 2), errors
        return output or errors

    yield run
    for name in [name for name in sys.modules if name.split(".")[0] == "theirs"]:
        del sys.modules[name]


@pytest.mark.fault(
    "`list architectures` with an installed variant that writes a file when loaded",
    "it is listed and not run",
)
def test_it_is_listed_without_being_run(site: Path, printed: Callable[..., str]) -> None:
    (site / "theirs" / "__init__.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    lines = dict(line.split(maxsplit=1) for line in printed("list", "architectures").splitlines())
    assert not Path("ran").exists()
    assert lines["multi-query"] == "from another package: theirs.multi_query"
    assert lines["broken"] == "from another package: theirs.absent"
    assert lines["decoder"].startswith("Decoder-only model"), "a package's variant does not take a built-in's name"


def test_a_mistake_names_it(printed: Callable[..., str]) -> None:
    assert "theirs.absent) cannot be loaded" in printed("compare", "theirs.toml", "--architectures", "decoder,broken")
    assert 'did you mean "multi-query"?' in printed("compare", "theirs.toml", "--architectures", "decoder,multi-qery")
    assert '"multi_query" is already an architecture' in printed("new", "multi_query", "--family", "decoder")


def test_it_is_checked_by_its_name(site: Path, printed: Callable[..., str]) -> None:
    (site / "theirs" / "__init__.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    output = printed("check", "multi-query")
    assert Path("ran").exists(), "named, it is run"
    assert "ok    no_look_ahead" in output and "properties hold" in output and "FAIL" not in output


def test_it_is_trained_in_a_worker_process_and_read_back(site: Path, printed: Callable[..., str]) -> None:
    assert "multi-query" in printed("compare", "theirs.toml", "--jobs", "1")
    assert printed("predict", "kinds-multi-query", "the third of May").strip()
    edits = {
        "parts.py": "KEY_VALUE_HEADS = 1 * 1\n",
        "multi_query.py": MODULE.replace("HEADS)", "HEADS + 1)"),
    }
    for name, text in edits.items():
        before = (site / "theirs" / name).read_text(encoding="utf-8")
        (site / "theirs" / name).write_text(text, encoding="utf-8")
        assert "multi-query has changed since" in printed("predict", "kinds-multi-query", "the third of May")
        (site / "theirs" / name).write_text(before, encoding="utf-8")
    assert printed("predict", "kinds-multi-query", "the third of May").strip()
