"""Pairs of phrases, translations and near misses: what can be counted on either side does not tell which."""

import re
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import pytest

from archbench.tasks.base.dataset import Table
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.builtin_data import builtin, phrase_pairs
from archbench.tasks.builtin_data.languages import language
from archbench.tasks.builtin_data.near_misses import SORTS, near_misses
from archbench.tasks.builtin_data.phrase_pairs import BETWEEN, PhraseGroup, table
from archbench.tasks.kinds.task import baselines, prepare

SIZES = {"train": 2000, "validation": 200, "test": 800}
PAIRS = [("en", "de"), ("en", "fr"), ("nl", "pt")]


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def splits(request: pytest.FixtureRequest) -> dict[str, list[PhraseGroup]]:
    source, target = request.param
    return phrase_pairs.draw(language(source), language(target), SIZES)


def test_labels_are_balanced_and_tell_translations(splits: dict[str, list[PhraseGroup]]) -> None:
    for split, groups in splits.items():
        rows = table(groups)
        assert len(rows) == SIZES[split]
        assert Counter(rows.targets) == {"yes": SIZES[split] // 2, "no": SIZES[split] // 2}
        assert {group.sort for group in groups} == set(SORTS)
        lookup = {a: b for group in groups for a, b in zip(group.sources, group.targets, strict=True)}
        pairs = [text.split(BETWEEN) for text in rows.sources]
        assert rows.targets == ["yes" if lookup[a] == b else "no" for a, b in pairs]


def test_translations_are_those_of_the_languages() -> None:
    source, target = language("en"), language("de")
    lookup = {}
    for miss in islice(near_misses(source, target), 3000):
        lookup |= {say(source): say(target) for say in (miss.first, miss.second)}
    rows = table(phrase_pairs.draw(source, target, SIZES)["test"])
    pairs = [text.split(BETWEEN) for text in rows.sources]
    assert rows.targets == ["yes" if lookup[a] == b else "no" for a, b in pairs]


def test_every_phrase_has_each_label_once_and_is_on_one_side_only(splits: dict[str, list[PhraseGroup]]) -> None:
    places: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    for split, groups in splits.items():
        labels: Counter[tuple[int, str, str]] = Counter()
        rows = table(groups)
        for text, label in zip(rows.sources, rows.targets, strict=True):
            for side, phrase in enumerate(text.split(BETWEEN)):
                labels[side, phrase, label] += 1
                places[side, phrase].add(split)
        assert set(labels.values()) == {1}
        assert len(labels) == 2 * SIZES[split]
    assert all(len(sides) == 1 for sides in places.values())


def test_words_in_both_phrases_and_their_number_do_not_reveal_the_label(
    splits: dict[str, list[PhraseGroup]],
) -> None:
    lengths: defaultdict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    shared: defaultdict[str, int] = defaultdict(int)
    rows = table(splits["train"])
    for text, label in zip(rows.sources, rows.targets, strict=True):
        source, target = text.split(BETWEEN)
        lengths[label][len(source.split()), len(target.split())] += 1
        words = [Counter(re.findall(r"\w+", phrase.casefold())) for phrase in (source, target)]
        shared[label] += sum(count * words[1][word] for word, count in words[0].items())
    assert lengths["yes"] == lengths["no"]
    assert shared["yes"] == shared["no"]


def test_tfidf_with_logistic_regression_is_at_chance(tmp_path: Path) -> None:
    config = TaskConfig("classification", "pairs", "phrases-pairs-en-de:8000", vocabulary=600, target_length=1)
    rows = {(row.name, row.metric): row.value for row in baselines(prepare(config, tmp_path, silent))}
    assert abs(rows["tfidf_logistic", "accuracy"] - rows["majority", "accuracy"]) <= 0.03


def test_a_longer_training_split_begins_with_the_shorter_and_the_rest_stays() -> None:
    english, german = language("en"), language("de")
    shorter, longer = (phrase_pairs.draw(english, german, SIZES | {"train": size}) for size in (200, 400))
    assert longer["train"][:50] == shorter["train"]
    assert (longer["validation"], longer["test"]) == (shorter["validation"], shorter["test"])


def test_every_fourth_example_has_both_labels() -> None:
    rows = table(phrase_pairs.draw(language("en"), language("de"), {**SIZES, "train": 80})["train"])
    assert all(set(rows.targets[start::4]) == {"yes", "no"} for start in range(4))


def test_loaded_data_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrase_pairs, "VALIDATION", 20)
    monkeypatch.setattr(phrase_pairs, "TEST", 400)
    first, again = (builtin.load("phrases-pairs-en-de:40", "classification", Path(), silent) for _ in range(2))
    assert isinstance(first.train, Table) and isinstance(first.test, Table)
    assert (len(first.train), len(first.test)) == (40, 400)
    assert first.digest == again.digest
    assert sum(first.notes.values()) == 400 and all(first.notes.values())
    assert "once with each label" in first.origin


def test_names_are_found_and_listed() -> None:
    assert builtin.find("phrases-pairs-en-de:400").kinds == ("classification",)
    assert "phrases-pairs-en-de" in {entry.name for entry in builtin.listing()}
    assert "phrases-pairs-fr-es" in builtin.names()
    with pytest.raises(InputError, match="is for classification, not for translation"):
        builtin.load("phrases-pairs-en-de", "translation", Path(), silent)


@pytest.mark.parametrize("name", ["en-en", "en-xx", "en", "en-de:0", "en-de:10", "en-de:9999999999", "en-de-hard"])
def test_names_that_cannot_be_made_say_so_in_one_line(name: str) -> None:
    with pytest.raises(InputError, match=r"^data: ") as error:
        builtin.load(f"phrases-pairs-{name}", "classification", Path(), silent)
    assert "\n" not in str(error.value)


def test_too_few_pairs_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrase_pairs, "near_misses", lambda *arguments: islice(near_misses(*arguments), 100))
    with pytest.raises(InputError, match="has fewer than 800 different pairs"):
        phrase_pairs.draw(language("en"), language("de"), SIZES)
