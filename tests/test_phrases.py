"""Generated phrases: one right answer each, disjoint splits, combinations held out, the same on every run."""

import hashlib
import subprocess
import sys
from datetime import date
from decimal import Decimal
from itertools import islice, product

import pytest

from archbench.tasks.base.dataset import Table, Text
from archbench.tasks.base.errors import InputError
from archbench.tasks.builtin_data import phrases
from archbench.tasks.builtin_data.languages import LANGUAGES, Language, language
from archbench.tasks.builtin_data.meanings import KINDS, meanings
from archbench.tasks.builtin_data.phrases import Phrase

SIZES = {"train": 3000, "validation": 100, "test": 200}
PAIRS = [("en", "de"), ("en", "fr"), ("es", "it"), ("nl", "pt"), ("de", "en")]
Splits = dict[str, list[Phrase]]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return phrases.draw(language("en"), language("de"), SIZES)


def test_sizes_are_as_asked_and_no_source_comes_twice(splits: Splits) -> None:
    assert {split: len(members) for split, members in splits.items()} == SIZES
    sources = [phrase.source.casefold() for members in splits.values() for phrase in members]
    assert len(set(sources)) == len(sources) == sum(SIZES.values())


def test_phrases_are_short_plain_and_of_every_kind(splits: Splits) -> None:
    for members in splits.values():
        assert {phrase.kind for phrase in members} == set(KINDS)
        for phrase in members:
            assert 0 < len(phrase.source) <= 48
            assert 0 < len(phrase.target) <= 64
            for words in (phrase.source, phrase.target):
                assert words == " ".join(words.split())
                assert "{" not in words and "\xa0" not in words


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_source_has_one_translation_only(source: str, target: str) -> None:
    first, second = language(source), language(target)
    translations: dict[str, set[str]] = {}
    for meaning in islice(meanings(first, second, seed=5), 4000):
        translations.setdefault(meaning.say(first), set()).add(meaning.say(second))
    assert [words for words, versions in translations.items() if len(versions) > 1] == []


def test_held_out_combinations_never_stand_in_training() -> None:
    first, second = language("en"), language("de")
    splits = phrases.draw(first, second, SIZES)
    sides = {phrase.source: split for split, members in splits.items() for phrase in members}
    combinations: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for meaning in islice(meanings(first, second), 20_000):
        split = sides.get(meaning.say(first))
        if split and meaning.combination:
            combinations[split].add(meaning.combination)
    new = combinations["test"] - combinations["train"]
    assert len(new) > 50
    held_out = [name for name in combinations["test"] if phrases._share(name) < phrases.HELD_OUT]
    assert held_out and set(held_out) <= new


def test_a_longer_training_split_begins_with_the_shorter_and_the_rest_stays(splits: Splits) -> None:
    longer = phrases.draw(language("en"), language("de"), {**SIZES, "train": 3500})
    assert longer["train"][:3000] == splits["train"]
    assert longer["test"] == splits["test"]
    assert longer["validation"] == splits["validation"]


def test_another_language_keeps_the_sources_of_test_out_of_training(splits: Splits) -> None:
    french = phrases.draw(language("en"), language("fr"), SIZES)
    assert not {phrase.source for phrase in french["train"]} & {phrase.source for phrase in splits["test"]}


def test_another_process_draws_the_same() -> None:
    code = (
        "import hashlib\n"
        "from archbench.tasks.builtin_data import phrases\n"
        "from archbench.tasks.builtin_data.languages import language\n"
        "splits = phrases.draw(language('en'), language('de'), {'train': 300, 'validation': 10, 'test': 10})\n"
        "print(hashlib.sha256(repr(splits).encode()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    splits = phrases.draw(language("en"), language("de"), {"train": 300, "validation": 10, "test": 10})
    assert done.stdout.strip() == hashlib.sha256(repr(splits).encode()).hexdigest()


def test_kinds_of_task_see_the_same_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrases, "VALIDATION", 20)
    monkeypatch.setattr(phrases, "TEST", 20)
    messages: list[str] = []
    loaded = [phrases.load("phrases-en-de:200", kind, messages.append) for kind in ("translation", "classification")]
    pairs, kinds = (data.train for data in loaded)
    assert isinstance(pairs, Table) and isinstance(kinds, Table)
    assert pairs.sources == kinds.sources
    assert set(kinds.targets) == set(KINDS)
    running = phrases.load("phrases-en-de:200", "generation", messages.append).train
    assert isinstance(running, Text)
    lines = "".join(running.chunks()).splitlines()
    assert lines == [f"{source} = {target}" for source, target in zip(pairs.sources, pairs.targets, strict=True)]
    assert len({data.digest for data in loaded}) == 2
    assert messages[0] == "phrases-en-de:200: generating 200 phrases"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("en", ("three hundred and forty-two", "twenty-third", "Sunday, May 3, 1987", "1,234.5 kilograms")),
        ("de", ("dreihundertzweiundvierzig", "dreiundzwanzigste", "Sonntag, 3. Mai 1987", "1.234,5 Kilogramm")),
        ("fr", ("trois cent quarante-deux", "vingt-troisième", "dimanche 3 mai 1987", "1 234,5 kilogrammes")),
        ("es", ("trescientos cuarenta y dos", "vigésimo tercero", "domingo, 3 de mayo de 1987", "1.234,5 kilogramos")),
    ],
)
def test_words_are_those_of_the_language(code: str, words: tuple[str, ...]) -> None:
    lang = language(code)
    day, weight = date(1987, 5, 3), Decimal("1234.5")
    rendered = (lang.number(342), lang.ordinal(23), lang.date(day, True), lang.measured(weight, "mass-kilogram"))
    assert rendered == words
    assert lang.join("a", "b").split()[0] == "a"
    assert lang.counted(25, "mass-kilogram") == f"{lang.number(25)} {words[3].split()[-1]}"


@pytest.mark.parametrize(
    "name",
    [
        "phrases-en-en",
        "phrases-en",
        "phrases-en-xx",
        "phrases-en-cs",
        "phrases-en-de:0",
        "phrases-en-de:9999999999",
        "phrases-en-de:" + "9" * 5_000,
    ],
)
def test_names_that_cannot_be_made_say_so_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^data: ") as error:
        phrases.load(name, "translation", lambda line: None)
    assert "\n" not in str(error.value)


def test_languages_that_share_no_unit_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Language, "has", lambda self, unit: False)
    with pytest.raises(InputError, match=r"^data: en and de have no common names of units; use two of "):
        phrases.load("phrases-en-de", "translation", lambda line: None)


@pytest.mark.slow
@pytest.mark.parametrize(("source", "target"), [pair for pair in product(LANGUAGES, LANGUAGES) if pair[0] != pair[1]])
def test_every_pair_of_languages_gives_the_full_size(source: str, target: str) -> None:
    data = phrases.load(f"phrases-{source}-{target}", "translation", lambda line: None)
    assert isinstance(data.train, Table) and isinstance(data.test, Table)
    assert (len(data.train), len(data.test)) == (phrases.TRAIN, phrases.TEST)
