"""Data as plain text: prompts and answers, mixed in equal parts; one model comes of them, whichever is tested."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tiny_runs
from safetensors.torch import load_file

from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.tasks.base.dataset import Dataset, Table, Text, make_dataset, text_in_memory
from archbench.tasks.base.errors import InputError
from archbench.tasks.builtin_data import builtin, plain_text
from archbench.tasks.builtin_data.plain_text import SPAN, Part
from archbench.tasks.kinds import registry

WORDS = [f"word{i}" for i in range(400)]
PLAY = "".join(f"Line {i} of a play, spoken by nobody.\n" for i in range(300))


def dataset_of(kind: str, *splits: Text | Table) -> Dataset:
    train, validation, test = splits
    return make_dataset(kind, train, validation, test, licence=kind, origin=kind)


LABELLED = dataset_of("classification", *(Table(WORDS[: 4 * n], ["good", "bad"] * 2 * n) for n in (90, 5, 5)))
PLAYS = dataset_of("generation", *(text_in_memory(PLAY[: SPAN * n]) for n in (101, 9, 9)))
PAIRS = dataset_of("translation", *(Table(WORDS[:n], WORDS[:n][::-1]) for n in (200, 5, 5)))
ALL = [Part("labelled", LABELLED), Part("play", PLAYS), Part("pairs-a-b:200", PAIRS)]


def of(name: str, table: Table | Text) -> list[tuple[str, str]]:
    assert isinstance(table, Table)
    pairs = zip(table.sources, table.targets, strict=True)
    return [(source, target) for source, target in pairs if source.startswith(f"{name}: ")]


def test_every_example_is_a_prompt_that_names_its_data_and_an_answer() -> None:
    data = plain_text.mixture(ALL[:1])
    assert data.kind == "translation"
    assert of("labelled", data.train)[0] == ("labelled: word0", "good")
    assert [target for _, target in of("labelled", data.test)] == list(LABELLED.test.targets)  # type: ignore[union-attr]


def test_the_first_alone_is_tested_and_nothing_else_of_the_data_hangs_on_it() -> None:
    whole = plain_text.mixture(ALL)
    for first in range(3):
        parts = [*ALL[first:], *ALL[:first]]
        mixture, alone = plain_text.mixture(parts), plain_text.mixture(parts[:1])
        assert mixture.test == alone.test
        assert (mixture.train, mixture.validation, mixture.notes) == (whole.train, whole.validation, whole.notes)
        assert alone.validation != mixture.validation
        assert mixture.digest != alone.digest


def test_every_part_trains_on_as_many_characters_and_on_its_own_examples_alone() -> None:
    mixture = plain_text.mixture(ALL)
    sizes = []
    for part in ALL:
        name = part.name.partition(":")[0]
        pairs, whole = of(name, mixture.train), of(name, plain_text.mixture([part]).train)
        assert set(pairs) <= set(whole)
        assert [pair for pair in whole if pair in set(pairs)] == pairs  # in their own order
        sizes.append(sum(len(source) + len(target) for source, target in pairs))
        assert mixture.notes[f"{name}_in_train"] == len(pairs)
    assert max(sizes) - min(sizes) < 2 * SPAN + 20
    assert plain_text.mixture(ALL).digest == mixture.digest


def test_running_text_is_cut_into_prompts_and_what_follows() -> None:
    train = plain_text.mixture(ALL[1:2]).train
    pairs = of("play", train)
    joined = "".join(source.removeprefix("play: ") + target for source, target in pairs)
    assert joined == PLAY[: 100 * SPAN]
    whole = PLAY[: SPAN * 101]
    pieces = Text([whole[start : start + 7] for start in range(0, len(whole), 7)], len(whole))
    assert plain_text.mixture([Part("play", replace(PLAYS, train=pieces))]).train == train


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("as-text:", "does not name different data sets"),
        ("as-text:phrases-en-de+", "does not name different data sets"),
        ("as-text:phrases-en-de+phrases-en-de:500", "does not name different data sets"),
        ("as-text:as-text:sentiment", "does not name different data sets"),
        ("as-text:sentimant", 'did you mean "sentiment"'),
        ("as-text:sentiment+random-strings:50", "the same in every split"),
        ("as-text:sentiment+mine.csv", 'no built-in data set "mine.csv"'),
    ],
)
def test_a_wrong_mixture_is_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        spec.from_dict({"name": "x", "architectures": ["decoder"], "tasks": [{"name": "y", "data": name}]})
    assert "\n" not in str(error.value)


def test_built_in_data_are_said_as_text_whatever_their_kind(tmp_path: Path) -> None:
    data = builtin.load("as-text:phrases-en-de:50+phrases-en-fr:60", "translation", tmp_path, lambda line: None)
    assert set(data.notes) == {"phrases-en-de_in_train", "phrases-en-fr_in_train"}
    with pytest.raises(InputError, match="is for translation, not for generation"):
        builtin.load("as-text:phrases-en-de", "generation", tmp_path, lambda line: None)
    assert builtin.find("as-text:phrases-en-de").version != builtin.find("phrases-en-de").version


def test_one_model_comes_of_a_mixture_whichever_part_is_tested(tmp_path: Path) -> None:
    names = ("phrases-en-de:300", "phrases-en-fr:200")
    tasks = [
        {"name": part, "data": "as-text:" + "+".join(order), "tokenizer": "byte"}
        for part, order in (("german", names), ("french", names[::-1]))
    ]
    values = {
        "name": "both",
        "architectures": ["decoder"],
        "budget": {"parameters": 20_000, "tokens": 6_000},
        "model": {"width": 32},
        "training": {"batch_tokens": 1_000, "learning_rate": 0.01},
        "tasks": [{**task, "source_length": 80, "target_length": 80, "test_examples": 4} for task in tasks],
    }
    plans = tiny_runs.planned(spec.from_dict(values, folder=tmp_path), tmp_path, tmp_path).plans
    weights, curves = set(), set()
    for plan in plans:
        work.perform(plan, tmp_path / plan.run, lambda event: None, lambda: False)
        tensors = load_file(tmp_path / plan.run / "model.safetensors")
        weights.add(tuple((name, tensor.numpy().tobytes()) for name, tensor in sorted(tensors.items())))
        curves.add(pd.read_csv(tmp_path / plan.run / "curves.csv").drop(columns=["run", "seconds"]).to_csv())
    assert (len(plans), len(weights), len(curves)) == (2, 1, 1)


def test_the_generalist_is_held_against_specialists_with_the_same_total_budget() -> None:
    experiment = spec.preset("generalist")
    tasks = {task.name: task for task in experiment.tasks}
    mixed = [task for task in experiment.tasks if task.baseline]
    parts = [set(plain_text.parse(str(task.data))) for task in mixed]
    assert len(mixed) == 3 and all(part == parts[0] for part in parts)
    total = sum(tasks[task.baseline].budget.tokens or 0 for task in mixed)
    for task in mixed:
        alone = tasks[task.baseline]
        assert plain_text.parse(str(alone.data)) == plain_text.parse(str(task.data))[:1]
        assert task.budget.tokens == total
        same = {"baseline": "", "name": "", "data": "", "budget": alone.budget}
        assert task.model_copy(update=same) == alone.model_copy(update=same)
    primaries = [registry.primary(registry.BUILTIN["translation"], task.data) for task in mixed]
    assert primaries == [("exact_match",), ("exact_match",), ("bits_per_byte",)]
