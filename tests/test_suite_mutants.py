"""The edits of the suite's mutation score: where they are made, which are drawn, how outcomes are counted."""

from pathlib import Path

import pytest
from suite_mutants import score
from suite_mutants.checkout import package_folders
from suite_mutants.edits import Edit, Source
from suite_mutants.sample import AREAS, NAMED, ROOT, sample

SOURCE = '''"""Text 1 < 2."""

def part(x: int, folder, limit=0.0):
    assert x < 7
    print(x + 1)
    if not x and f"{x + 5}" == limit:
        raise ValueError(x + 8)
    folder / x
    return call(x, size=max(x, limit)) if x >= limit else x
'''
CHANGES = {
    "0.0-1.0": ("limit=0.0", "limit=1.0"),
    "eq-ne": ("== limit", "!= limit"),
    "and-or": ('not x and f"{x + 5}" == limit', '((not x) or (f"{x + 5}" == limit))'),
    "drop-not": ("not x", "(x)"),
    "ge-gt": (">= limit", "> limit"),
    "max-min": ("max(x", "min(x"),
    "drop-size": (", size=max(x, limit)", ""),
    "left": ("call(x, size=max(x, limit)) if x >= limit else x", "(call(x, size=max(x, limit)))"),
    "right": ("call(x, size=max(x, limit)) if x >= limit else x", "(x)"),
}


def test_edits_are_made_in_code_and_not_in_messages_invariants_or_paths(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text(SOURCE)
    edits = Source(tmp_path, "part.py").edits()
    expected = {name: SOURCE.replace(before, after) for name, (before, after) in CHANGES.items()}
    assert {edit.operator: edit.applied(SOURCE) for edit in edits} == expected
    assert {edit.function for edit in edits} == {"part"} and len(edits) == len(expected)


@pytest.fixture(scope="module")
def sampled() -> dict[Edit, str]:
    return sample()


def test_areas_have_as_many_edits_with_the_named_ones_and_at_most_two_of_a_function(sampled: dict[Edit, str]) -> None:
    areas = list(sampled.values())
    assert {areas.count(area) for area in AREAS} == {29}
    assert sum(edit.operator == "named" for edit in sampled) == len(NAMED)
    functions = [(edit.path, edit.function) for edit in sampled]
    assert max(map(functions.count, functions)) <= 2 and len({edit.id for edit in sampled}) == len(sampled)


def test_a_copy_of_the_checkout_has_all_of_its_packages() -> None:
    rooms = [file.parent.name for file in ROOT.glob("*/__init__.py") if file.parent.name != "tests"]
    assert package_folders(ROOT) == {"archbench": "archbench"} | {
        f"archbench.{room}": room for room in rooms if room != "archbench"
    }


def test_every_edit_is_other_code(sampled: dict[Edit, str]) -> None:
    sources = {path: Source(ROOT, path) for path in {edit.path for edit in sampled}}
    assert all(sources[edit.path].is_other_code(edit) for edit in sampled)


def test_equivalent_edits_and_unfinished_ones_do_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "equivalent.toml").write_text('"d" = "the same"')
    monkeypatch.setattr(score, "EQUIVALENT", tmp_path / "equivalent.toml")
    states = {"a": "killed", "b": "survived", "c": "unfinished", "d": "survived", "e": "not covered"}
    common = {"area": "store", "by": "", "tests": 1, "notes": []}
    lines = list(score.report([{"id": name, "outcome": state, **common} for name, state in states.items()], {}))
    assert "| store | 5 | 1 | 1 | 1 | 1 | 1 | 33% |" in lines
