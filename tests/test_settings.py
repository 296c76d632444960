"""``--set KEY=VALUE``: what is set counts as if it stood in the file, in results, in names of runs and in mistakes."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_runs
from hypothesis import given
from hypothesis import strategies as st

import archbench
from archbench import command_line, inputs
from archbench.runs.execution.compare import write_head
from archbench.runs.experiment import settings, spec
from archbench.runs.store import store
from archbench.tasks.base.errors import InputError

DATA: dict[str, Any] = {
    "name": "mine",
    "architectures": ["decoder"],
    "seeds": [0],
    "budget": {"parameters": 20_000, "tokens": 2_500},
    "model": {"width": 32},
    "training": {"batch_tokens": 250, "precision": "float32"},
    "tasks": [
        {"kind": "classification", "name": "colours.v1", "data": "things.tsv", "source_length": 8, "vocabulary": 300},
        {"data": "sentiment"},
    ],
    "conditions": [{"name": "long", "share": 0.5}, {"supervision": "target"}],
}
PLACES: dict[str, tuple[str | int, ...]] = {
    "seeds": ("seeds",),
    "supervision": ("supervision",),
    "budget.tokens": ("budget", "tokens"),
    "training.learning_rate": ("training", "learning_rate"),
    "training.learnin_rate": ("training", "learnin_rate"),
    "training.optimizer": ("training", "optimizer"),
    "tuning.learning_rate": ("tuning", "learning_rate"),
    "margins.bleu": ("margins", "bleu"),
    "tasks.colours.v1.vocabulary": ("tasks", 0, "vocabulary"),
    'tasks."colours.v1".data.train': ("tasks", 0, "data", "train"),
    "tasks.sentiment.tuned.decoder.dropout": ("tasks", 1, "tuned", "decoder", "dropout"),
    "conditions.long.seeds": ("conditions", 0, "seeds"),
}
VALUES = st.one_of(
    st.sampled_from([0.005, 512, 5_000, [0, 1], [0.001, 0.01], "adamw", "target", "x.tsv", True, [], {}]),
    st.integers(-2, 3_000),
    st.floats(allow_nan=False, min_value=-1, max_value=2),
    st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8),
)


def written(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The experiment as if its file had the value."""
    data = copy.deepcopy(DATA)
    *tables, key = place
    table: Any = data
    for part in tables:
        if isinstance(part, str) and not isinstance(table.get(part), dict | list):
            table[part] = {}
        table = table[part]
    table[key] = value
    return data


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@given(st.sampled_from(sorted(PLACES)), VALUES)
def test_what_is_set_counts_as_if_it_stood_in_the_file(key: str, value: Any) -> None:
    chosen = settings.parsed([f"{key} = {toml(value)}"])
    before = copy.deepcopy(DATA)
    try:
        expected = spec.from_dict(written(PLACES[key], value), origin="mine.toml")
    except InputError as error:
        with pytest.raises(InputError) as raised:
            spec.from_dict(DATA, origin="mine.toml", settings=chosen)
        text = str(raised.value)
        assert text.startswith(f"--set {key}: ") and "mine.toml" not in text and "\n" not in text
        assert text.rpartition(": ")[2] == str(error).rpartition(": ")[2]
    else:
        experiment = spec.from_dict(DATA, settings=chosen)
        assert experiment.digestable() == expected.digestable()
        assert experiment.settings == {key: value}
    assert before == DATA


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("budget.tokens=2_000_000", 2_000_000),
        ("training.learning_rate = 5e-3", 0.005),
        ("seeds=[0,1]", [0, 1]),
        ("controls=true", True),
        ("training.optimizer=adamw", "adamw"),
        ('training.optimizer="adamw"', "adamw"),
        ("tasks.x.data=../folder/things.csv", "../folder/things.csv"),
        ("tasks.x.data=hub:owner/name", "hub:owner/name"),
        ("tasks.x.data={train = 'a=b.tsv'}", {"train": "a=b.tsv"}),
    ],
)
def test_a_value_is_toml_and_a_bare_word_is_text(word: str, value: Any) -> None:
    assert list(settings.parsed([word]).values()) == [value]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training.learnin_rate=1"], '--set training.learnin_rate: unknown key; did you mean "learning_rate"?'),
        (["training.lr=0.1"], '--set training.lr: unknown key; did you mean "learning_rate"?'),
        (["learning_rate=0.1"], '--set learning_rate: unknown key; did you mean "training.learning_rate"?'),
        (["lr=0.1"], '--set lr: unknown key; did you mean "training.learning_rate"?'),
        (["training.tokens=1"], '--set training.tokens: unknown key; did you mean "budget.tokens"?'),
        (["model.seed=1"], '--set model.seed: unknown key; did you mean "seeds"?'),
        (["vocab_size=64"], '--set vocab_size: unknown key; did you mean "vocabulary" under [[tasks]]?'),
        (
            ["tasks.sentiment.learning_rate=0.1"],
            '--set tasks.sentiment.learning_rate: unknown key; did you mean "training.learning_rate"?',
        ),
        (["traning.dropout=0"], '--set traning.dropout: unknown key; did you mean "training"?'),
        (["training.learning_rate=fast"], '--set training.learning_rate: "fast": expected a number'),
        (["training.learning_rate.x=1"], "--set training.learning_rate.x: {'x': 1}: expected a number"),
        (["training={learnin_rate=1}"], "--set training: training.learnin_rate: unknown key"),
        (["seeds=[0,0]"], "--set seeds: 0 is given twice"),
        (["budget.tokens=10"], "--set budget.tokens: tasks[0].budget.tokens: 10: less than one batch"),
        (["budget.flops=1e12"], "--set budget.flops: tasks[0].budget: expected exactly one of tokens, flops and"),
        (["tasks.sentimnt.vocabulary=512"], '--set tasks.sentimnt.vocabulary: no task "sentimnt"; did you mean "sent'),
        (["tasks.sentiment.vocabulary=10"], '--set tasks.sentiment.vocabulary: 10: "bpe" includes all bytes'),
        (["tasks.sentiment=3"], "--set tasks.sentiment: names a task, not a key of it; add the key"),
        (["conditions.lang.seeds=[1]"], '--set conditions.lang.seeds: no condition "lang"; did you mean "long"?'),
        (["seeds=[1]", "budget.tokens=10"], "--set seeds --set budget.tokens: tasks[0].budget.tokens: 10: less than"),
        (["seeds=[1]", "seeds=[2]"], "--set seeds: is given twice"),
        (["seeds=[0"], '--set seeds: "[0": not a TOML value'),
        (["seeds="], "--set seeds: expected a value after ="),
        (["seeds=" + "[" * 10_000], "--set seeds: lists or tables nested too deeply"),
        (["seeds=" + "1" * 10_000], "--set seeds: a number has too many digits"),
        (["seeds"], "--set seeds: expected KEY=VALUE, such as training.learning_rate=0.005"),
        (["a b=1"], "--set a b: not a key; expected one such as training.learning_rate"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("preset", [False, True])
def test_each_mistake_is_one_line_and_status_2(
    words: list[str],
    message: str,
    preset: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    presets = {"mine": "what it is"} if preset else {}
    monkeypatch.setattr(spec, "presets", lambda: presets)
    monkeypatch.setattr(spec, "_parsed", lambda raw, origin: copy.deepcopy(DATA))
    monkeypatch.setattr(spec.resources, "files", lambda package: tmp_path)
    (tmp_path / "presets").mkdir()
    file = tmp_path / "presets" / "mine.toml"
    file.write_text("")
    arguments = [argument for word in words for argument in ("--set", word)]
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["compare", *(["--preset", "mine"] if preset else [str(file)]), *arguments])
    output, errors = capsys.readouterr()
    assert (stopped.value.code, output) == (2, "")
    assert errors.startswith(f"archbench: {message}") and len(errors.splitlines()) == 1


def test_a_mistake_of_the_file_itself_names_the_file() -> None:
    with pytest.raises(InputError, match=r"^mine\.toml: tasks\[1\]\.dat: unknown key"):
        spec.from_dict(DATA | {"tasks": [*DATA["tasks"][:1], {"dat": 1}]}, origin="mine.toml", settings={"seeds": [3]})


@given(st.text(max_size=12), st.text(max_size=12))
def test_any_word_is_taken_or_told_in_one_line(key: str, value: str) -> None:
    try:
        spec.from_dict(DATA, settings=settings.parsed([f"{key}={value}"]))
    except InputError as error:
        assert str(error).startswith("--set ") and "\n" not in str(error)


def test_runs_have_the_names_that_the_edited_file_gives_them(tmp_path: Path) -> None:
    folder, root = tiny_runs.write_data(tmp_path), tmp_path / "out"
    base = {**DATA, "tasks": DATA["tasks"][:1], "conditions": []}
    changes = {"training.learning_rate": 0.005, "tasks.colours.v1.vocabulary": 310, "seeds": [3]}
    edited = copy.deepcopy(base)
    edited["training"]["learning_rate"], edited["tasks"][0]["vocabulary"], edited["seeds"] = 0.005, 310, [3]

    def runs(experiment: spec.Experiment) -> list[str]:
        matrix = tiny_runs.planned(experiment, folder, root)
        write_head(experiment, matrix, root, "archbench compare", "")
        return [plan.run for plan in matrix.plans]

    changed = runs(spec.from_dict(base, folder=folder, settings=changes))
    recorded = store.read_experiment(root)
    assert recorded["set"] == changes
    assert changed == runs(spec.from_dict(edited, folder=folder))
    edited_head = store.read_experiment(root)
    assert {key: recorded[key] for key in recorded if key != "set"} == edited_head
    plain = runs(spec.from_dict(base, folder=folder))  # the same command without --set: as for another file
    assert not set(plain) & set(changed)
    assert "set" not in store.read_experiment(root)


def test_a_python_call_takes_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"seeds": range(2), "training.learning_rate": np.float64(0.005)}
    experiment = inputs.experiment(DATA, changes)
    assert experiment.seeds == (0, 1) and experiment.tasks[0].training.learning_rate == 0.005
    assert experiment.settings == {"seeds": [0, 1], "training.learning_rate": 0.005}
    calls = []

    def stop(experiment: Any, root: Path, options: Any, call: str, *_: object) -> None:
        calls.append(call)
        raise InputError("stopped here")

    monkeypatch.setattr("archbench.runs.execution.compare.run", stop)
    with pytest.raises(InputError, match="stopped here"):
        archbench.compare("quick", set=changes)
    assert calls == ["archbench.compare('quick', set={'seeds': [0, 1], 'training.learning_rate': 0.005})"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.learn_rate": 1}, '--set training.learn_rate: unknown key; did you mean "learning_rate"?'),
        ({3: 1}, "--set 3: expected a key such as training.learning_rate"),
        ("seeds=3", '--set: "seeds=3": expected a dictionary like {"training.learning_rate": 0.005}'),
    ],
)
def test_a_wrong_setting_of_a_python_call_is_one_line(changes: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        archbench.compare(DATA, set=changes)


def test_a_resolved_experiment_takes_no_settings() -> None:
    with pytest.raises(InputError, match="--set: this experiment is already resolved"):
        inputs.experiment(spec.from_dict(DATA), {"seeds": [1]})
