"""Phrases whose tests combine what training never shows together: nothing held out in training, no new word in test."""

import re
from itertools import islice

import pytest

from archbench.tasks.base.dataset import Table
from archbench.tasks.base.errors import InputError
from archbench.tasks.builtin_data import builtin, hard_phrases
from archbench.tasks.builtin_data.hard_phrases import GRIDS, split_of_cell
from archbench.tasks.builtin_data.languages import language
from archbench.tasks.builtin_data.meanings import CURRENCIES, DURATIONS, KINDS, QUANTITIES, Cell, meanings
from archbench.tasks.builtin_data.phrases import Phrase

SIZES = {"train": 12_000, "validation": 200, "test": 400}
COLUMNS = {"weekdays": 2, "decades": 30, "durations": len(DURATIONS), "quantities": 2, "currencies": 2}
ROWS = {"weekdays": 12, "decades": 12, "durations": len(DURATIONS), "quantities": len(QUANTITIES)}
ROWS["currencies"] = len(CURRENCIES)
GERMAN = (  # the parts of German number words, longer ones first
    "hundert|tausend|zwanzig|dreißig|sieben|siebte|erste|dritte|achte|sechs|zwölf|null|eins|zwei|drei|vier|fünf|"
    "acht|neun|zehn|sech|sieb|ein|elf|zig|und|ste|te"
)


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Phrase]]:
    return hard_phrases.draw(language("en"), language("de"), SIZES)[0]


def cells_of(grid: str) -> list[Cell]:
    cells = [(grid, row, column) for row in range(ROWS.get(grid, 10)) for column in range(COLUMNS.get(grid, 10))]
    if grid == "durations":
        cells = [cell for cell in cells if cell[1] < cell[2]]
    return [cell for cell in cells if grid not in ("thousands", "hundreds") or cell[1:] != (0, 0)]


def words(text: str) -> set[str]:
    """The words of a phrase: whole ones, digits one by one, and the parts of German number words."""
    pieces = set(re.findall(r"[0-9]", text))
    for word in re.findall(r"[^\W\d]+", text.lower()):
        parts = re.fullmatch(f"(?:{GERMAN})+", word)
        pieces.update(re.findall(GERMAN, word) if parts else [word])
    return pieces


def test_sizes_are_as_asked_and_no_source_comes_twice(splits: dict[str, list[Phrase]]) -> None:
    assert {split: len(part) for split, part in splits.items()} == SIZES
    sources = [phrase.source for part in splits.values() for phrase in part]
    assert len(set(sources)) == sum(SIZES.values())
    assert all({phrase.kind for phrase in part} == set(KINDS) for part in splits.values())


def test_no_training_phrase_has_a_combination_of_the_other_splits(splits: dict[str, list[Phrase]]) -> None:
    english, german = language("en"), language("de")
    sides = {phrase.source: split for split, part in splits.items() for phrase in part}
    cells_by_split: dict[str, set[Cell]] = {split: set() for split in splits}
    for meaning in islice(meanings(english, german), 40_000):
        split = sides.get(meaning.say(english))
        if split:
            cells_by_split[split].update(meaning.cells)
            other_splits = {split_of_cell(cell) for cell in meaning.cells} - {"train"}
            assert other_splits == ({split} if split != "train" else set())
    for split in ("validation", "test"):
        held_out = {cell for cell in cells_by_split[split] if split_of_cell(cell) == split}
        assert {grid for grid, _, _ in held_out} == set(GRIDS)
        assert not held_out & cells_by_split["train"]


@pytest.mark.parametrize("grid", GRIDS)
def test_every_row_and_column_of_a_grid_stays_in_training(grid: str) -> None:
    cells = cells_of(grid)
    training_cells = [cell for cell in cells if split_of_cell(cell) == "train"]
    assert {cell[1] for cell in training_cells} == {cell[1] for cell in cells}
    assert {cell[2] for cell in training_cells} == {cell[2] for cell in cells}
    for split in ("validation", "test"):
        assert 0.05 < sum(split_of_cell(cell) == split for cell in cells) / len(cells) < 0.2


def test_what_the_documentation_names_is_held_out(splits: dict[str, list[Phrase]]) -> None:
    training = [phrase.source for phrase in splits["train"]]
    assert not [source for source in training if source.startswith("seventeen thousand")]
    assert not [source for source in training if re.match("January", source)]
    assert not [source for source in training if re.fullmatch("[a-z-]+( thousand)? kilometers", source)]
    assert not [source for source in training if "year" in source and "week" in source]
    for start in ("seventeen", "Monday, January", "1"):
        assert any(source.startswith(start) for source in training)


@pytest.mark.parametrize("target", ["de", "fr", "es"])
def test_training_has_every_word_of_the_other_splits(target: str, splits: dict[str, list[Phrase]]) -> None:
    if target != "de":
        splits = hard_phrases.draw(language("en"), language(target), SIZES)[0]
    for side in ("source", "target"):
        training_words = {word for phrase in splits["train"] for word in words(getattr(phrase, side))}
        for split in ("validation", "test"):
            assert {word for phrase in splits[split] for word in words(getattr(phrase, side))} <= training_words


def test_a_longer_training_split_begins_with_the_shorter_and_the_rest_stays() -> None:
    english, german = language("en"), language("de")
    sizes = {"train": 300, "validation": 20, "test": 40}
    shorter, longer = (hard_phrases.draw(english, german, sizes | {"train": train})[0] for train in (300, 500))
    assert longer["train"][:300] == shorter["train"]
    assert (longer["validation"], longer["test"]) == (shorter["validation"], shorter["test"])
    assert hard_phrases.draw(english, german, sizes)[0] == shorter


def test_the_data_say_what_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_phrases, "VALIDATION", 20)
    monkeypatch.setattr(hard_phrases, "TEST", 60)
    data = hard_phrases.load("phrases-en-de-hard:200", "translation", lambda line: None)
    assert isinstance(data.train, Table) and isinstance(data.test, Table)
    assert (len(data.train), len(data.test)) == (200, 60)
    assert all(words in data.origin for words in GRIDS.values())
    assert set(data.notes) == {f"test_{grid}_not_in_training" for grid in GRIDS}
    assert sum(data.notes.values()) >= 60


def test_names_are_found_and_listed() -> None:
    entry = builtin.find("phrases-en-de-hard:500")
    assert entry.kinds == builtin.find("phrases-en-de").kinds
    assert entry.primary == {"translation": "exact_match"}
    assert entry.version != builtin.find("phrases-en-de").version
    assert "phrases-en-de-hard" in {listed.name for listed in builtin.listing()}
    assert "phrases-fr-es-hard" in builtin.names()


@pytest.mark.parametrize(
    "name", ["phrases-en-en-hard", "phrases-en-xx-hard", "phrases-en-de-hard:0", "phrases-en-hard"]
)
def test_names_that_cannot_be_made_say_so_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^data: ") as error:
        builtin.load(name, "translation", None, lambda line: None)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
