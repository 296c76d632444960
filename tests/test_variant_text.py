"""A variant's text stands for all the code that it consists of: an edit of any of it makes another variant."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from new_modules import Modules, importable

from archbench.architectures.catalogue import catalogue, sources
from archbench.tasks.base.errors import InputError

VARIANT = (
    '"""A decoder with a module of its own."""\nimport {}\nfrom archbench.architectures.variants.decoder import build\n'
)


def distribute(installed: Modules, name: str, variants: dict[str, str], files: list[str]) -> None:
    """Installs a distribution but for its files."""
    parts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "entry_points.txt": "\n".join(["[archbench.variants]", *(f"{key} = {variants[key]}" for key in variants)]),
        "RECORD": "".join(f"{file},,\n" for file in files),
    }
    for part, content in parts.items():
        installed.write(f"{name}-1.0.dist-info/{part}", content)


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[Modules]:
    """A folder on Python's path, and in it one of two installed distributions that offer variants."""
    site = tmp_path / "site-packages"
    with importable(tmp_path), importable(site) as installed:
        distribute(
            installed, "ideas", {"single": "single", "packed": "packed.inner.variant"}, ["single.py", "parts.py"]
        )
        distribute(installed, "alone", {"alone": "alone.variant"}, ["alone/__init__.py", "alone/variant.py"])
        installed.write("single.py", VARIANT.format("parts, other"))
        installed.write("packed/inner/variant.py", VARIANT.format("packed.unused"))
        installed.write("alone/variant.py", VARIANT.format("sys"))
        for name in ("parts", "other", "packed/__init__", "packed/unused", "packed/inner/__init__", "alone/__init__"):
            installed.write(f"{name}.py", "")
        yield Modules(tmp_path)


def text(name: str, modules: Modules) -> str:
    return catalogue.find(name, modules.folder).text


def test_a_file_that_imports_nothing_of_its_own_is_its_text(modules: Modules) -> None:
    modules.write("mine.py", VARIANT.format("torch, single, sys"))
    assert text("mine.py", modules) == VARIANT.format("torch, single, sys")
    assert text("alone", modules) == VARIANT.format("sys")


@pytest.mark.parametrize(
    "name, edited",
    [
        ("mine.py", "near.py"),
        ("mine.py", "lib/__init__.py"),
        ("mine.py", "lib/deep/part.py"),
        ("single", "site-packages/parts.py"),
        ("packed", "site-packages/packed/__init__.py"),
        ("packed", "site-packages/packed/unused.py"),
        ("packed", "site-packages/packed/inner/new.py"),
    ],
)
def test_an_edit_of_what_a_variant_consists_of_changes_its_text(name: str, edited: str, modules: Modules) -> None:
    modules.write("mine.py", VARIANT.format("near"))
    modules.write("near.py", "def later():\n    from lib.deep import part\n")
    modules.write("lib/deep/part.py", "")
    modules.write("lib/__init__.py", "")
    before = text(name, modules)
    assert text(name, modules) == before
    modules.write(edited, "VALUE = 1\n")
    after = text(name, modules)
    modules.write(edited, "VALUE = 2\n")
    assert len({before, after, text(name, modules)}) == 3


@pytest.mark.parametrize("edited", ["far.py", "site-packages/other.py", "site-packages/alone/__init__.py"])
def test_an_edit_of_other_code_does_not(edited: str, modules: Modules) -> None:
    modules.write("mine.py", VARIANT.format("near"))
    modules.write("near.py", "import other")
    modules.write("far.py", "")
    before = [text(name, modules) for name in ("mine.py", "packed")]
    modules.write(edited, "VALUE = 1\n")
    assert [text(name, modules) for name in ("mine.py", "packed")] == before


def test_what_else_the_process_has_loaded_does_not_matter(modules: Modules) -> None:
    modules.write("mine.py", VARIANT.format("lib"))
    modules.write("lib/__init__.py", "")
    modules.write("lib/part.py", "VALUE = 1\n")
    before = text("mine.py", modules)
    assert "lib.part" not in sys.modules
    __import__("lib.part")
    assert text("mine.py", modules) == before


def test_a_copy_is_the_variant_that_was_copied_or_refused(modules: Modules) -> None:
    modules.write("mine.py", VARIANT.format("near"))
    modules.write("near.py", "VALUE = 1\n")
    copied = text("mine.py", modules)
    modules.write("run/variant.py", copied)
    assert text("run/variant.py", modules) == copied
    modules.write("near.py", "VALUE = 22\n")
    with pytest.raises(InputError, match=r"run/variant\.py: modules that it imports have changed since this copy"):
        text("run/variant.py", modules)
    modules.write("run/variant.py", copied[: copied.rindex("#")])
    assert text("run/variant.py", modules).startswith(copied[: copied.rindex("#")])


WORDED = '''"""What it is."""  # a word

import math  # for pi


class Part:
    """Ein Teil, größer."""

    size = "# no comment"  # ein Wort

    def half(self):
        """A docstring
        of two lines."""
        # a comment
        return "ä", math.pi / 2  # and another
'''


def test_the_code_of_a_text_has_no_docstrings_and_no_comments() -> None:
    lines = ["import math", "class Part:", '    size = "# no comment"', "    def half(self):"]
    assert sources.code(WORDED) == "\n".join([*lines, '        return "ä", math.pi / 2', ""])
    reworded = WORDED.replace("two lines", "two other lines").replace("# a comment\n", "# another\n\n")
    assert reworded != WORDED and sources.code(reworded) == sources.code(WORDED)
    assert sources.code(WORDED.replace("/ 2", "/ 3")) != sources.code(WORDED)
    assert sources.code("not Python:") == "not Python:"
    marked = f"{WORDED}\n{sources.MARK}abc\n"
    assert sources.code(marked).endswith(f"\n{sources.MARK}abc\n")


@pytest.mark.parametrize("name", catalogue.names()[:8])
def test_the_code_of_a_built_in_variant_is_python_that_builds(name: str) -> None:
    text = sources.code(catalogue.find(name).text)
    assert '"""' not in text and compile(text, name, "exec")
