"""What a task tests on is kept out of the text that models are pretrained on."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_plans

from archbench.tasks.base.dataset import Table, make_dataset, text_in_memory
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.builtin_data import builtin, monolingual, phrases
from archbench.tasks.data.overlap import Overlap, overlap, texts_of_tests
from archbench.tasks.kinds import seen_in

STORY = "the old man who lived by the sea went out every morning to look for his lost boat. " * 3
OTHER = "nobody in the village had ever seen such a large fish before, and so they kept talking about it all day"


def test_a_text_counts_where_half_of_its_sequences_stand_in_the_other() -> None:
    copied, half = (
        "The old MAN who lived -- by the sea went out",
        "who lived by the sea went out every day again and again",
    )
    leaked = overlap(text_in_memory(STORY), [OTHER, copied, half, "the old man"])
    assert leaked == Overlap(4, 1, copied) and leaked.too_much
    assert overlap(text_in_memory(OTHER), [STORY]) == Overlap(1, 0)


def test_a_short_text_counts_where_it_is_a_whole_line() -> None:
    lines = text_in_memory(f"{STORY}\nThe old man!\n{OTHER}\nhis boat")
    assert overlap(lines, ["the old man", "the old", "lost boat", "his boat", "...", ""]) == Overlap(
        6, 2, "the old man"
    )
    many = text_in_memory("\n".join(f"line {number}" for number in range(200_000)))
    assert overlap(many, [f"line {number}" for number in range(0, 400_000, 100)]).seen == 2000


PAIRS = [(f"{n} hours", f"{n} Stunden") for n in range(100)]  # each text of two words
PHRASES = [f"we will meet again in {n} days" for n in range(100)]


@pytest.mark.parametrize(
    "line",
    ["{0}\t{1}", "EN: {0}", "EN: {0}\nDE: {1}", "EN {0} DE {1}", "{1},{0}", '{{"en": "{0}", "de": "{1}"}}'],
)
def test_short_pairs_are_found_in_every_layout_of_a_line(line: str) -> None:
    text = text_in_memory("\n".join([STORY, *(line.format(*pair) for pair in PAIRS), OTHER]))
    sources, targets = zip(*PAIRS, strict=True)
    assert overlap(text, sources, PAIRS).seen == 100
    assert overlap(text, targets, PAIRS).seen == (100 if "{1}" in line else 0)
    labelled = text_in_memory("\n".join(f"{source},{n % 2}" for n, source in enumerate(sources)))
    assert overlap(labelled, sources, [(source, str(n % 2)) for n, source in enumerate(sources)]).seen == 100


def test_a_text_of_some_words_is_found_inside_a_line_at_word_boundaries() -> None:
    inside = text_in_memory("\n".join(f"then she said that {phrase}, and left" for phrase in PHRASES))
    assert overlap(inside, PHRASES).seen == 100
    longer = text_in_memory("\n".join(f"{phrase}-long holidays, 1.{phrase}" for phrase in PHRASES))
    assert overlap(longer, PHRASES).seen == 0
    parted = text_in_memory("\n".join(phrase.replace(" again", " again\n") for phrase in PHRASES))
    assert overlap(parted, PHRASES).seen == 0


def test_common_words_and_distant_halves_of_a_pair_are_no_leak() -> None:
    words = ["the", "yes", "old man", "by the sea", "no", "went out"]
    common = [(word, f"{word} indeed") for word in words] + [("no", "no")]
    text = text_in_memory(f"{STORY}\nyes, he said, no, no, the sea; {OTHER} indeed")
    assert overlap(text, words, common).seen == 0
    apart = "\n".join(f"{source} is what all of them had to wait for {target}" for source, target in PAIRS)
    assert overlap(text_in_memory(apart), [source for source, _ in PAIRS], PAIRS).seen == 0


def test_many_short_texts_are_looked_for_at_once() -> None:
    text = text_in_memory("\n".join(f"see w{n % 1000} w{n % 997} w{n % 991} again" for n in range(10_000)))
    pairs = [(f"w{n % 1000} w{n % 997}", f"w{n % 991}") for n in range(0, 20_000, 4)]
    start = time.process_time()
    found = overlap(text, [source for source, _ in pairs], pairs)
    assert found.checked == 5_000 and found.seen >= 2_000
    assert time.process_time() - start < 5  # seconds; looking for one text after the other takes minutes


def test_sequences_are_found_across_pieces_of_text() -> None:
    words = [f"w{number}" for number in range(400_000)]
    long = " ".join(words)
    places = range(100_000, 300_000, 1000)
    tested = [" ".join(words[place : place + 8]) for place in places]
    assert overlap(text_in_memory(long), tested).seen == len(tested)


def test_what_is_tested_are_texts_and_not_labels() -> None:
    table = Table(["a text"], ["label"])
    dataset = make_dataset("anything", table, table, table, licence="", origin="")
    assert texts_of_tests(dataset, labels=True) == ["a text"] and texts_of_tests(dataset, labels=False) == [
        "a text",
        "label",
    ]
    lines = text_in_memory(
        "KING\n\nwho lived by the sea and went out\nevery morning to look for his lost boat again\nEND\n"
    )
    pieces = texts_of_tests(make_dataset("generation", lines, lines, lines, licence="", origin=""), False)
    assert pieces == ["KING who lived by the sea and went out", "every morning to look for his lost boat again"]


def _leaking(folder: Path, planted: int, short: bool = False) -> dict[str, Any]:
    """An experiment that pretrains on a story with some of the 100 texts that its task tests on."""
    words = "number {n}" if short else "the {n} of them said that number {n} was not what {n} people wanted to hear"
    rows = [f"{words.format(n=n)}\t{n % 2}" for n in range(400)]
    for split, part in (("train", rows[:200]), ("validation", rows[200:300]), ("test", rows[300:])):
        (folder / f"{split}.tsv").write_text("\n".join(["text\tlabel", *part]) + "\n")
    leak = "\n".join(row.replace("\t", ", ") if short else row.split("\t")[0] for row in rows[300 : 300 + planted])
    (folder / "story.txt").write_text(f"{STORY * 40}\n{leak}\n{OTHER * 40}")
    files = {split: f"{split}.tsv" for split in ("train", "validation", "test")}
    return {
        "name": "tiny",
        "architectures": ["decoder"],
        "budget": {"parameters": 20_000, "tokens": 3_000},
        "model": {"width": 32},
        "pretraining": [
            {"name": "story", "data": {"train": "story.txt", **_held_out(folder)}, "vocabulary": 300, "context": 24}
        ],
        "tasks": [{"kind": "classification", "name": "numbers", "data": files, "source_length": 40, "start": "story"}],
    }


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("planted", [0, 1, 30])
def test_a_planted_leak_is_counted_and_refused_over_the_limit(tmp_path: Path, planted: int, short: bool) -> None:
    values, messages = _leaking(tmp_path, planted, short), list[str]()
    if planted > 1:
        with pytest.raises(InputError, match=r"pretraining.story.data: 30 of 100 test texts of numbers .* for example"):
            small_plans.plan(values, tmp_path, tmp_path)
        return
    small_plans.plan(values, tmp_path, tmp_path, messages.append)
    counted = [line for line in messages if "occur in" in line]
    assert counted == [f"story: {planted} of 100 test texts of numbers occur in its text"]


def test_a_text_that_is_read_in_another_encoding_is_counted_anew(tmp_path: Path) -> None:
    (tmp_path / "story.txt").write_text(STORY)
    text, task = (TaskConfig("generation", name, "story.txt", folder=str(tmp_path)) for name in ("text", "task"))
    latin = replace(text, encoding="latin-1")
    assert seen_in.key(text, task) == seen_in.key(replace(text), task) != seen_in.key(latin, task)


@pytest.mark.parametrize("share", [{}, {"share": 0.5}])
def test_a_leak_in_the_text_of_an_earlier_stage_is_refused(tmp_path: Path, share: dict[str, float]) -> None:
    values = _leaking(tmp_path, 30)
    (tmp_path / "clean.txt").write_text(STORY * 40)
    clean = {"train": "clean.txt", **_held_out(tmp_path)}
    second = {**values["pretraining"][0], "name": "second", "data": clean, "from": "story", **share}
    values["pretraining"].append(second)
    values["tasks"][0]["start"] = "second"
    with pytest.raises(InputError, match=r"pretraining.story.data: 30 of 100 test texts of numbers"):
        small_plans.plan(values, tmp_path, tmp_path)


def test_only_the_task_itself_may_test_on_what_its_training_texts_hold(tmp_path: Path) -> None:
    values = _leaking(tmp_path, 0)
    (tmp_path / "clean.txt").write_text(STORY * 40)
    task, stage = values["tasks"][0], values["pretraining"][0]
    clean = {"train": "clean.txt", **_held_out(tmp_path)}
    exchanged = {**task["data"], "train": task["data"]["test"], "test": task["data"]["train"]}
    values["pretraining"] = [
        {**stage, "name": "own", "data": "task"},
        {**stage, "name": "after", "data": clean, "from": "own"},
    ]
    values["tasks"] = [{**task, "start": "own"}, {**task, "name": "exchanged", "data": exchanged, "start": "after"}]
    with pytest.raises(InputError, match=r"pretraining.own.data: .* test texts of exchanged occur in its text"):
        small_plans.plan(values, tmp_path, tmp_path)


def _held_out(folder: Path) -> dict[str, str]:
    for split in ("validation", "test"):
        (folder / f"{split}.txt").write_text(f"{split} {OTHER * 10}")
    return {split: f"{split}.txt" for split in ("validation", "test")}


def test_phrases_as_text_have_nothing_that_phrases_test_on() -> None:
    name = f"{monolingual.PREFIX}en-de:3000"
    monolingual_data, pairs = (
        monolingual.load(name, lambda line: None),
        builtin.load("phrases-en-de:3000", "translation", Path(), print),
    )
    lines = {line for chunk in monolingual_data.train.chunks() for line in chunk.splitlines()}  # type: ignore[union-attr]
    assert isinstance(pairs.test, Table) and isinstance(pairs.train, Table)
    tests = (pairs.test, pairs.validation)
    assert not lines & {text for split in tests for text in (*split.sources, *split.targets)}  # type: ignore[union-attr]
    assert lines == {*pairs.train.sources, *pairs.train.targets}
    first = [line for chunk in monolingual_data.train.chunks() for line in chunk.splitlines()][: 2 * monolingual.BLOCK]  # type: ignore[union-attr]
    english, german = first[: monolingual.BLOCK], first[monolingual.BLOCK :]
    answers = dict(zip(pairs.train.sources, pairs.train.targets, strict=True))
    assert sum(answers[line] == other for line, other in zip(english, german, strict=True)) <= 1


def test_running_texts_are_joined_by_a_plus() -> None:
    names = ["phrases-text-en-de:200", "phrases-text-en-fr:200"]
    joined = builtin.load("+".join(names), "generation", Path(), lambda line: None)
    parts = [builtin.load(name, "generation", Path(), lambda line: None) for name in names]
    for split in ("train", "validation", "test"):
        texts = ["".join(getattr(data, split).chunks()) for data in (joined, *parts)]
        assert texts[0] == texts[1] + texts[2]
    with pytest.raises(InputError, match="not running text"):
        builtin.find("phrases-text-en-de+sentiment")
    with pytest.raises(InputError, match="twice"):
        builtin.find("phrases-text-en-de+phrases-text-en-de")
    assert phrases.VERSION and builtin.is_builtin("+".join(names)) and not builtin.is_builtin("a+b.txt")
