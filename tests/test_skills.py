"""Skills: what they ask is what brute force answers, no two splits share an example, and names are read or refused."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from archbench.runs.training import goal
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.base.values import Prepared, TaskConfig
from archbench.tasks.baselines.baselines import nearest_rows
from archbench.tasks.builtin_data.skills.skill import TEST, parse, skills
from archbench.tasks.kinds import task

SMALL = "examples=300"
Answer = Callable[[list[str]], list[str]]


def recall(source: list[str]) -> list[str]:
    known: dict[str, str] = {}
    symbols = [symbol for symbol in source if symbol != "o"]
    place = 0
    while place + 1 < len(symbols) and symbols[place + 1].startswith("v"):
        known[symbols[place]] = symbols[place + 1]
        place += 2
    return [symbol for key in symbols[place:] for symbol in (key, known[key])]


def induction(source: list[str]) -> list[str]:
    place = source.index(source[-1])
    return source[place + 1 : place + 4]


def addition(source: list[str]) -> list[str]:
    first, second = "".join(source).split("+")
    return list(str(int(first) + int(second)).zfill(len(first) + 1))


def chains(source: list[str]) -> list[str]:
    *pointers, asked = " ".join(source).split(" | ")
    points = dict(pointer.split() for pointer in pointers)
    answers = list[str]()
    for steps, node in re.findall(r"((?:> )+)(\d+)", asked):
        answers += [*steps.split(), node]
        for _ in range(steps.count(">")):
            node = points[node]
        answers.append(node)
    return answers


def in_context(source: list[str]) -> list[set[str]]:
    """The possible labels of each question, by each attribute that alone tells the labels of all shots."""
    count = sum(symbol.startswith("y") for symbol in source)
    shots = [source[start : start + 3] for start in range(0, 3 * count, 3)]
    asked = [source[start : start + 2] for start in range(3 * count, len(source), 2)]
    answers = [set[str]() for _ in asked]
    for place in range(2):
        labels: dict[str, set[str]] = {}
        for shot in shots:
            labels.setdefault(shot[place], set()).add(shot[2])
        different = {next(iter(known)) for known in labels.values()}
        if all(len(known) == 1 for known in labels.values()) and len(different) == len(labels):
            for item, possible in zip(asked, answers, strict=True):
                possible |= labels.get(item[place], set())
    return answers


BRUTE: dict[str, Answer] = {
    "recall": recall,
    "copy": list,
    "reverse": lambda source: source[::-1],
    "induction": induction,
    "addition": addition,
    "chains": chains,
}


@pytest.mark.parametrize("name", [*BRUTE, "recall,form=inline,fewest=8", "recall,length=40", "chains,steps=5,nodes=9"])
def test_brute_force_gives_the_targets(name: str) -> None:
    data = parse(f"skill:{name},{SMALL}").load()
    answer = BRUTE[name.partition(",")[0]]
    for table in (data.train, data.validation, data.test, *data.slices.values()):
        rows = [(source.split(), target.split()) for source, target in zip(table.sources, table.targets, strict=True)]
        if "inline" in name:  # as if the last query stood alone, after pairs that all agree
            assert all(recall(source)[1:] == target for source, target in rows)
            assert all(len(source) == 2 * 8 + 2 * 4 - 1 for source, _ in rows) or table is not data.test
        else:
            assert all(answer(source) == target for source, target in rows)


def test_a_rule_is_found_from_the_shots_alone() -> None:
    data = parse(f"skill:in-context,shots=12,fewest=12,{SMALL}").load()
    found = [answers for source in data.test.sources for answers in in_context(source.split())]
    labels = [symbol for target in data.test.targets for symbol in target.split() if symbol.startswith("y")]
    assert all(label in answers for answers, label in zip(found, labels, strict=True))
    assert sum(len(answers) == 1 for answers in found) > 0.8 * len(found)


def test_tests_have_rules_that_training_never_has() -> None:
    module = __import__("archbench.tasks.builtin_data.skills.in_context", fromlist=["rules"])
    held_out = set(module.rules()[: module.HELD_OUT])
    assert len(set(module.rules())) == 10_080 and not held_out & set(module.rules()[module.HELD_OUT :])


def test_written_steps_are_the_digits_and_carries_from_the_ones_on() -> None:
    data = parse(f"skill:addition,digits=3,steps=yes,{SMALL}").load()
    for source, target in zip(data.test.sources, data.test.targets, strict=True):
        steps, _, answer = (part.split() for part in target.partition("="))
        assert answer == addition(source.split())
        carry = 0
        for place in range(3):
            digits = [int(number.split()[-1 - place]) for number in source.split("+")]
            carry, digit = divmod(sum(digits) + carry, 10)
            assert steps[2 * place : 2 * place + 2] == [str(digit), str(carry)]


@pytest.mark.parametrize("name", sorted(skills()))
def test_no_two_splits_share_an_example_and_all_symbols_and_lengths_are_known(name: str) -> None:
    named = parse(f"skill:{name},{SMALL}")
    data = named.load()
    tables = [data.train, data.validation, data.test, *data.slices.values()]
    rows = [row for table in tables for row in zip(table.sources, table.targets, strict=True)]
    assert len(set(rows)) == len(rows) and len(data.train) == 300
    assert {symbol for row in rows for text in row for symbol in text.split()} <= set(data.vocabulary.split())
    source, target = (max(len(row[part].split()) for row in rows) for part in (0, 1))
    assert (source, target + 1) == named.limits
    assert data.digest == parse(named.name).load().digest != parse(f"skill:{name},examples=301").load().digest


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("skill:recal", 'no skill "recal"; did you mean "recall"'),
        ("skill:recall,pair=3", 'recall has no parameter "pair"; did you mean "pairs"'),
        ("skill:recall,pairs=0", 'pairs: "0": expected a number from 1 to 999999'),
        ("skill:recall,pairs=70", "pairs=70: a vocabulary of 128 has 64 keys; raise vocabulary"),
        ("skill:recall,pairs=8,queries=9", "queries=9: expected at most pairs=8"),
        ("skill:recall,pairs=16,length=20", "length=20: the pairs and queries have 36 symbols; raise length"),
        ("skill:recall,form=row", 'form: "row": expected separate or inline'),
        ("skill:recall,fewest=9", "fewest=9: expected at most pairs=8"),
        ("skill:induction,shortest=3", "answer=3: expected less than shortest=3"),
        ("skill:copy,shortest=30", "shortest=30: expected at most length=20"),
        ("skill:chains,steps=8", "steps=8: the cycle has 8 nodes; raise nodes above it"),
        ("skill:chains,fewest=9", "fewest=9: expected at most nodes=8"),
        ("skill:in-context,rules=20000", "rules=20000: expected at most 9056"),
        ("skill:addition,digits=1", "100 different examples are left for test, which needs 500"),
    ],
)
def test_a_name_that_asks_for_the_impossible_is_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        parse(name).load()
    assert "\n" not in str(caught.value)


def prepared_skill(name: str, examples: str, folder: Path) -> Prepared:
    named = parse(f"skill:{name},{examples}")
    source, target = named.limits
    limits: dict[str, Any] = {"source_length": source + 1, "target_length": target}
    return task.prepare(TaskConfig("skill", "x", named.name, {}, tokenizer="word", **limits), folder / "cache")


@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("induction", 1 / 17),
        ("recall,queries=1,fewest=8", 1 / 8),
        ("in-context,queries=1,fewest=8", 14 / 56),
        ("reverse", 1 / 26),
    ],
)
def test_the_nearest_training_example_is_at_chance(name: str, chance: float, tmp_path: Path) -> None:
    (nearest,) = nearest_rows(prepared_skill(name, "examples=5000", tmp_path), ("exact_match",))
    assert nearest.value < chance + 3 * (chance * (1 - chance) / TEST) ** 0.5


@pytest.mark.parametrize(
    ("trained", "trial", "asked"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_trials_and_untrained_runs_are_not_asked(trained: bool, trial: bool, asked: bool, tmp_path: Path) -> None:
    plan: Any = SimpleNamespace(is_trained=trained, trial=trial)
    assert goal.has_goal(plan, prepared_skill("copy", SMALL, tmp_path)) is asked


class Answering:
    """A trainer whose model answers all questions right but the first ``wrong``; it counts what it was asked."""

    device = torch.device("cpu")

    def __init__(self, prepared: Any, wrong: int) -> None:
        self.around = self.ranks = self.objective = self
        self.texts = [prepared.validation.target_text(int(row)) for row in seeded_order(len(prepared.validation), 0)]
        self.encode, self.wrong, self.asked = prepared.tokenizer.encode, wrong, 0

    @contextmanager
    def evaluated(self) -> Iterator["Answering"]:
        yield self

    def gathered(self, value: bool) -> list[bool]:
        return [value]

    def generate(self, model: Any, source: Tensor, *further: Any) -> list[Tensor]:
        texts = self.texts[self.asked : self.asked + len(source)]
        told = ["" if self.asked + place < self.wrong else text for place, text in enumerate(texts)]
        self.asked += len(source)
        return [torch.tensor(self.encode(text), dtype=torch.int64) for text in told]


@pytest.mark.parametrize(("wrong", "reached", "asked"), [(0, True, 100), (10, True, 100), (11, False, 20)])
def test_the_goal_is_nine_of_ten_answers_and_a_model_that_misses_it_is_not_asked_on(
    wrong: int, reached: bool, asked: int, tmp_path: Path
) -> None:
    prepared = prepared_skill("copy", SMALL, tmp_path)
    trainer: Any = Answering(prepared, wrong)
    assert (goal.is_reached(trainer, prepared), trainer.asked) == (reached, asked)
