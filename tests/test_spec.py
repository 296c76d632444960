"""Experiment files: what is read, what is filled in, and how each mistake is named."""

import copy
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archbench.runs.experiment import spec
from archbench.runs.experiment.entries import ConditionEntry, ExperimentEntry, PretrainingEntry, TaskEntry
from archbench.runs.experiment.sections import Budget, ComparedKeys, InheritedKeys, Model, TrainingEntry, Tuning
from archbench.tasks.base.errors import InputError

MINIMAL: dict[str, Any] = {
    "name": "mine",
    "architectures": ["decoder", "encoder"],
    "budget": {"parameters": 50_000, "tokens": 100_000},
    "tasks": [
        {"data": "phrases-en-de"},
        {"kind": "generation", "name": "tiny", "data": "input.txt", "context": 64, "source_length": 0},
        {"kind": "classification", "name": "trec", "data": {"train": "train.tsv"}},
    ],
}

FULL = """
name = "shakespeare-char"
architectures = ["decoder"]
seeds = [0, 1, 2]
supervision = "native"
[budget]
match = "parameters"
parameters = 800_000
tokens = 1_536_000
[model]
width = 128
heads = 4
depth = 3
[training]
batch_tokens = 4096
learning_rate = 0.003
warmup = 0.1
weight_decay = 0.0
clip = 1
dropout = 0.1
label_smoothing = 0.1
snapshots = 2
optimizer = "adamw"
precision = "float32"
[[tasks]]
kind = "generation"
name = "tiny"
data = "input.txt"
tokenizer = "char"
context = 64
source_length = 0
test_examples = 500
[[tasks]]
kind = "translation"
name = "parallel"
data = { train = ["a.de", "a.en"], test = ["b.de", "b.en"] }
encoding = "latin-1"
architectures = ["encoder", "mine.py"]
seeds = [7]
supervision = "target"
[tasks.budget]
flops = 1e12
[tasks.model]
heads = 8
[tasks.training]
batch_tokens = 1024
"""


def changed(path: str, value: Any) -> dict[str, Any]:
    """``MINIMAL`` with one value set (or, for ``...``, removed) at a path such as ``tasks.1.context``."""
    data = copy.deepcopy(MINIMAL)
    *steps, last = path.split(".")
    place: Any = data
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    key: Any = int(last) if isinstance(place, list) else last
    if value is ...:
        del place[key]
    else:
        place[key] = value
    return data


WRONG: list[tuple[str, Any, str]] = [
    ("tasks.0.baseline", "trec", 'tasks[0].baseline: no other translation task "trec"; the experiment has none'),
    ("nmae", "x", 'nmae: unknown key; did you mean "name"?'),
    ("tasks.1.tokeniser", "bpe", 'tasks[1].tokeniser: unknown key; did you mean "tokenizer"?'),
    ("training.batch_token", 8, 'training.batch_token: unknown key; did you mean "batch_tokens"?'),
    ("tasks.0.budget.token", 8, 'tasks[0].budget.token: unknown key; did you mean "tokens"?'),
    ("model.zzz", 8, "model.zzz: unknown key (known: width, heads, depth)"),
    ("name", ..., "name: missing; every experiment needs it"),
    ("architectures", ..., "architectures: missing"),
    ("tasks", ..., "tasks: missing"),
    ("tasks", [], "tasks: is empty"),
    ("architectures", [], "architectures: is empty"),
    ("architectures", "decoder", 'architectures: "decoder": expected a list'),
    ("architectures", ["decoder", "decoder"], 'architectures: "decoder" is given twice'),
    ("architectures", ["decoder", 7], "architectures[1]: 7: expected text in quotes"),
    ("seeds", [], "seeds: is empty"),
    ("seeds", 3, "seeds: 3: expected a list"),
    ("seeds", [1, 1], "seeds: 1 is given twice"),
    ("seeds", [-1], "seeds[0]: -1: expected at least 0"),
    ("seeds", [True], "seeds[0]: true: expected a whole number"),
    ("name", "../../etc", 'name: "../../etc": expected at most 64 letters'),
    ("name", "", 'name: "": expected at most 64 letters'),
    ("name", "a\nb", 'name: "a b": expected at most 64 letters'),
    ("name", 3, "name: 3: expected text in quotes"),
    ("supervision", "both", 'supervision: "both": expected "native" or "target"'),
    ("tasks.0.primary", "accuracy", 'tasks[0].primary: "accuracy": expected exact_match or bleu or'),
    ("tasks.0.primary", 3, "tasks[0].primary: 3: expected a list in brackets"),
    ("tasks.0.primary", ["bleu", "bits"], 'tasks[0].primary: "bits": expected exact_match or bleu or'),
    ("tasks.0.primary", ["bleu", "bleu"], 'tasks[0].primary: "bleu" is given twice'),
    ("budget", ..., "tasks[0].budget.parameters: missing"),
    ("budget.parameters", ..., "tasks[0].budget.parameters: missing"),
    ("budget.parameters", 19_999, "budget.parameters: 19999: expected at least 20000"),
    ("budget.parameters", 50_000.5, "budget.parameters: 50000.5: expected a whole number"),
    ("budget.parameters", "50000", 'budget.parameters: "50000": expected a whole number'),
    ("budget.tokens", ..., "tasks[0].budget: expected exactly one of tokens, flops and seconds; none is given"),
    ("budget.seconds", 60, "expected exactly one of tokens, flops and seconds; tokens and seconds are given"),
    ("budget.tokens", -1, "budget.tokens: -1: expected more than 0"),
    ("budget.tokens", 100, "less than one batch; expected at least training.batch_tokens = 512"),
    ("budget.match", "flop", 'budget.match[0]: "flop": expected "parameters", "active-parameters"'),
    ("budget.match", ["flops", "flops"], 'budget.match: "flops" is given twice'),
    ("budget.match", [], "budget.match: is empty"),
    ("budget.match", ["parameters", "seconds"], '"seconds" needs a budget in seconds; set seconds instead of tokens'),
    ("tasks.2.budget.seconds", float("nan"), "tasks[2].budget.seconds: nan: expected a finite number"),
    ("model", {"width": 100, "heads": 3}, "model.heads: 3: does not divide width = 100"),
    ("model", 128, "model: 128: expected a table"),
    ("training.learning_rate", 0, "training.learning_rate: 0: expected more than 0"),
    ("training.learning_rate", "fast", 'training.learning_rate: "fast": expected a number'),
    ("training.learning_rate", float("inf"), "training.learning_rate: inf: expected a finite number"),
    ("training.dropout", 1.0, "training.dropout: 1.0: expected less than 1"),
    ("training.optimizer", "sgd", 'training.optimizer: "sgd": expected "muon" or "adamw"'),
    ("training.warmup", False, "training.warmup: false: expected a number"),
    ("tasks.1.kind", ..., "tasks[1].kind: missing"),
    (
        "tasks.0.data",
        "sentimnt",
        "tasks[0].kind: missing; expected generation or classification or translation or summarization or memoriz",
    ),
    (
        "tasks.1.kind",
        "generate",
        'tasks[1].kind: "generate": there is no such kind of task; did you mean "generation"?',
    ),
    ("tasks.0", {"data": "sentiment", "kind": "generation"}, 'the built-in "sentiment" is for classification'),
    ("tasks.0.data", ..., "tasks[0].data: missing"),
    ("tasks.0.data", 5, "tasks[0].data: 5: expected a name, a file, or a table"),
    ("tasks.2.data", {"test": "x.tsv"}, 'tasks[2].data: "train" is missing'),
    ("tasks.2.data", {"train": "x", "dev": "y"}, 'tasks[2].data: unknown split "dev"'),
    ("tasks.2.data", {"train": ["a", "b", "c"]}, "tasks[2].data: train: ['a', 'b', 'c']: expected a file, or two"),
    ("tasks.2.name", ..., "tasks[2].name: missing; name the task"),
    ("tasks.2.name", "TINY", 'tasks[2].name: "TINY" is also the name of tasks[1]'),
    (
        "tasks.2",
        {"kind": "summarization", "data": "x.csv", "columns": {"target": "y"}},
        "tasks[2].columns.target: unknown key for summarization",
    ),
    (
        "tasks.2",
        {"kind": "sumarization", "data": "x.csv"},
        'tasks[2].kind: "sumarization": there is no such kind of task; did you mean "summarization"?',
    ),
    (
        "tasks.2",
        {"kind": "memorization", "data": "x.csv"},
        'tasks[2].kind: "memorization" accepts only "random-strings"',
    ),
    (
        "tasks.0",
        {"data": "random-strings", "tokenizer": "word"},
        'tokenizer: "word": memorization needs "char"; remove',
    ),
    (
        "tasks.0",
        {"data": "random-strings", "source_length": 3},
        "source_length: 3: a source of memorization has 4 tokens; remove",
    ),
    ("tasks.0", {"data": "random-strings", "target_length": 1}, "target_length: 1: expected at least 2"),
    ("tasks.0", {"data": "random-strings", "kind": "translation"}, 'built-in "random-strings" is for memorization'),
    ("tasks.0", {"data": "phrases-en-de", "kind": "summarization"}, 'the built-in "phrases-en-de" is for translation'),
    ("tasks.2", {"kind": "summarization", "data": "x.csv", "context": 64}, "only generation has a context"),
    (
        "tasks.2.columns",
        {"labels": "y"},
        'tasks[2].columns.labels: unknown key for classification; did you mean "label"?',
    ),
    ("tasks.1.context", 0, "tasks[1].context: 0: too short for source_length = 0 and a target; expected at least 2"),
    ("tasks.1.source_length", 64, "tasks[1].context: 64: too short for source_length = 64"),
    ("tasks.1.target_length", 64, "tasks[1].target_length: for generation set context"),
    ("tasks.2.context", 64, "tasks[2].context: only generation has a context"),
    ("tasks.2.target_length", 2, "tasks[2].target_length: 2: a label is one token"),
    ("tasks.0.source_length", 0, "tasks[0].source_length: 0: expected at least 1"),
    ("tasks.0.target_length", 1, "tasks[0].target_length: 1: expected at least 2"),
    ("tasks.1.vocabulary", 512, 'tasks[1].vocabulary: 512: a "char" tokenizer has a vocabulary of its own'),
    ("tasks.0.vocabulary", 64, 'tasks[0].vocabulary: 64: "bpe" includes all bytes'),
    ("tasks.0.tokenizer", "sentencepiece", 'tasks[0].tokenizer: "sentencepiece": expected "char"'),
    ("tasks.0.encoding", "utf-9", 'tasks[0].encoding: unknown text encoding "utf-9"'),
    ("tasks.0.test_examples", 0, "tasks[0].test_examples: 0: expected at least 1"),
    ("budget.tokens", float("inf"), "budget.tokens: inf: expected a"),
    ("budget.tokens", True, "budget.tokens: true: expected a whole number"),
    ("budget.tokens", date(2026, 1, 1), "budget.tokens: 2026-01-01: expected a whole number"),
    ("budget.parameters", 10**40, f"budget.parameters: 1{'0' * 40}: expected at most"),
    ("model.width", 1_000_000, "model.width: 1000000: expected at most"),
    ("tasks.1.name", "../../evil", 'tasks[1].name: "../../evil": expected at most 64 letters'),
    ("tasks.1.name", "..", 'tasks[1].name: "..": expected at most 64 letters'),
    ("tasks.0.vocabulary", 1, "tasks[0].vocabulary: 1: expected at least 8"),
    ("budgets", {}, 'budgets: unknown key; did you mean "budget"?'),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[f"{path}={value}" for path, value, _ in WRONG])
def test_each_mistake_is_named_in_one_line(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        spec.from_dict(changed(path, value), origin="mine.toml")
    text = str(error.value)
    assert text.startswith("mine.toml: ")
    assert message in text
    assert "\n" not in text


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "full.toml").write_text(FULL)
    experiment = spec.load(tmp_path / "full.toml")
    tiny, parallel = experiment.tasks
    assert (tiny.context, tiny.source_length, tiny.target_length, tiny.test_examples) == (64, 0, 64, 500)
    assert tiny.training == spec.TrainingEntry(
        batch_tokens=4096,
        length_pool=16,
        learning_rate=0.003,
        warmup=0.1,
        weight_decay=0.0,
        clip=1.0,
        dropout=0.1,
        label_smoothing=0.1,
        snapshots=2,
        optimizer="adamw",
        precision="float32",
    )
    assert (tiny.model.width, tiny.model.heads, tiny.model.depth) == (128, 4, 3)
    assert tiny.budget == spec.Budget(match=("parameters",), parameters=800_000, tokens=1_536_000)
    assert parallel.encoding == "iso8859-1"


def test_a_task_keeps_what_it_does_not_override(tmp_path: Path) -> None:
    (tmp_path / "full.toml").write_text(FULL)
    tiny, parallel = spec.load(tmp_path / "full.toml").tasks
    assert parallel.budget == spec.Budget(match=("parameters",), parameters=800_000, flops=1e12)
    assert (parallel.model.width, parallel.model.heads) == (128, 8)
    assert parallel.training == tiny.training.model_copy(
        update={"batch_tokens": 1024, "mask_weights": "equal", "canvas": "length"}  # of what has an end
    )
    assert (parallel.seeds, parallel.supervision) == ((7,), "target")
    assert (tiny.seeds, tiny.supervision, tiny.architectures) == ((0, 1, 2), "native", ("decoder",))


ANYWHERE: dict[str, Any] = {
    "architectures": ["encoder"],
    "seeds": [4, 5],
    "supervision": "target",
    "budget": {"flops": 1e12, "match": ["flops"]},
    "model": {"width": 64, "depth": 3},
    "training": {"batch_tokens": 256, "optimizer": "adamw"},
    "tuning": {"learning_rate": [0.01, 0.02], "dropout": [0.1]},
    "alternatives": {},
}


@pytest.mark.parametrize("key", InheritedKeys.model_fields)
def test_a_key_is_the_same_in_the_experiment_in_its_tasks_in_conditions_and_when_set(key: str) -> None:
    value = ANYWHERE[key]
    of_tasks = spec.from_dict({**MINIMAL, "tasks": [{**task, key: value} for task in MINIMAL["tasks"]]}).tasks
    assert of_tasks != spec.from_dict(MINIMAL).tasks or not value
    within = {**MINIMAL["budget"], **value, "tokens": None} if key == "budget" else value
    assert of_tasks == spec.from_dict({**MINIMAL, key: within}).tasks
    assert of_tasks == spec.from_dict(MINIMAL, settings={key: within}).tasks
    if key in ComparedKeys.model_fields:
        conditions = spec.from_dict({**MINIMAL, "conditions": [{key: value}]}).conditions
        assert [getattr(task, key) for task in conditions] == [getattr(task, key) for task in of_tasks]


def test_variant_files_of_the_command_line_start_at_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "full.toml").write_text(FULL)
    experiment = spec.load(tmp_path / "full.toml")
    assert (experiment.folder, experiment.tasks[1].architectures) == (str(tmp_path), ("encoder", "mine.py"))
    named = spec.override(experiment, architectures=["decoder", "mine.py", "transformers:gpt2", "/a/b.py"])
    assert named.tasks[0].architectures == ("decoder", str(Path.cwd() / "mine.py"), "transformers:gpt2", "/a/b.py")


def test_defaults_follow_the_kind() -> None:
    phrases, tiny, trec = spec.from_dict(MINIMAL).tasks
    assert (phrases.kind, phrases.name, phrases.tokenizer, phrases.vocabulary) == (
        "translation",
        "phrases-en-de",
        "bpe",
        2048,
    )
    assert (phrases.source_length, phrases.target_length, phrases.test_examples) == (64, 64, 1000)
    assert (tiny.tokenizer, tiny.vocabulary) == ("char", 0)
    assert (trec.source_length, trec.target_length, trec.test_examples, trec.columns["label"]) == (64, 1, 4000, "label")
    news = spec.from_dict(changed("tasks.1", {"kind": "summarization", "data": "news.csv"})).tasks[1]
    assert (news.name, news.tokenizer, news.columns) == ("news", "bpe", {"text": "text", "summary": "summary"})
    assert (news.source_length, news.target_length, news.test_examples) == (256, 64, 500)
    window = spec.from_dict(changed("tasks.1", {"data": "shakespeare"})).tasks[1]
    assert (window.kind, window.context, window.source_length, window.target_length) == ("generation", 128, 64, 64)


@pytest.mark.parametrize(
    ("task", "kind", "name"),
    [
        ({"data": "phrases-en-de:500_000"}, "translation", "phrases-en-de"),
        ({"data": "phrases-en-de", "kind": "classification", "name": "sorts"}, "classification", "sorts"),
        ({"data": "bible-groups"}, "classification", "bible-groups"),
        ({"data": "hub:owner/corpus", "kind": "classification"}, "classification", "corpus"),
        ({"data": "texts/novel.txt", "kind": "generation"}, "generation", "novel"),
    ],
)
def test_kind_and_name_are_known_from_the_data(task: dict[str, Any], kind: str, name: str) -> None:
    resolved = spec.from_dict(changed("tasks", [task])).tasks[0]
    assert (resolved.kind, resolved.name) == (kind, name)


def test_counts_may_be_written_as_floats() -> None:
    assert spec.from_dict(changed("budget.tokens", 1.5e6)).tasks[0].budget.tokens == 1_500_000


def test_match_may_be_one_or_a_list() -> None:
    assert spec.from_dict(changed("budget.match", ["flops", "parameters"])).tasks[0].budget.match == (
        "flops",
        "parameters",
    )
    assert spec.from_dict(changed("budget.match", "flops")).tasks[0].budget.match == ("flops",)


def test_the_resolved_experiment_is_plain_json_and_knows_no_folder() -> None:
    experiment = spec.from_dict(MINIMAL, folder="/somewhere")
    assert experiment.digestable() == spec.from_dict(MINIMAL, folder="/elsewhere").digestable()
    assert json.loads(json.dumps(experiment.digestable())) == experiment.digestable()


def test_nothing_in_an_experiment_changes() -> None:
    experiment = spec.from_dict(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        experiment.tasks[0].training.learning_rate = 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nseeds = [0,\n', ":3: not valid TOML: invalid value"),
        ('name = "x"\nseeds = = 3\n', ":2: not valid TOML: "),
        ("seeds = 3\nname = own # mine\n", ':2: not valid TOML: invalid value; quote text: name = "own"'),
        ("[[tasks]]\ndata = ./own.csv\n", ':2: not valid TOML: invalid value; quote text: data = "./own.csv"'),
        ("controls = True\n", ":1: not valid TOML: invalid value; write controls = true"),
        ('name = "x"\nname = "y"\n', ":2: not valid TOML: cannot overwrite a value"),
    ],
)
def test_a_syntax_error_names_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        spec.load(path)
    assert str(error.value).startswith(f"{path}{message}")


def test_the_name_of_a_task_in_place_of_its_data_is_told() -> None:
    with pytest.raises(InputError) as error:
        spec.from_dict({**MINIMAL, "tasks": [{"data": "phrase-kinds"}]})
    hint = 'has a task of this name: data = "phrases-en-de", kind = "classification"'
    assert "is not built in; the preset " in str(error.value) and str(error.value).endswith(hint)


def test_an_architecture_in_place_of_an_experiment_is_told_where_it_belongs(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('"""A model."""\n')
    with pytest.raises(InputError) as error:
        spec.load(path)
    assert str(error.value).endswith(f"use --architectures decoder,{path} or {path} --against public-v1")


def test_unreadable_files_are_one_line(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'name = "x"\n# caf\xe9\n')
    with pytest.raises(InputError, match=r"latin\.toml:2: not UTF-8"):
        spec.load(latin)
    with pytest.raises(InputError, match="no such file"):
        spec.load(tmp_path / "absent.toml")
    with pytest.raises(InputError, match="cannot be read"):
        spec.load(tmp_path)
    with pytest.raises(InputError, match=r"no such file.*--preset quick"):
        spec.load("quick")


@pytest.mark.parametrize("name", list(spec.presets()))
def test_presets_load_and_say_what_they_are(name: str) -> None:
    assert spec.preset(name).name == name
    assert spec.presets()[name].endswith(".")


def test_primary_measures_are_those_of_kind_and_data_unless_the_task_states_others() -> None:
    task = {"kind": "translation", "name": "mine", "data": {"train": "x.tsv"}}
    stated = {None: ("bits_per_byte", "bleu"), "chrf": ("chrf",), ("chrf", "bleu"): ("chrf", "bleu")}
    for primary, expected in stated.items():
        entry = (
            task if primary is None else {**task, "primary": list(primary) if isinstance(primary, tuple) else primary}
        )
        experiment = spec.from_dict(changed("tasks", [entry]))
        assert experiment.tasks[0].primary == expected
        assert spec.recorded(experiment.digestable(), origin="here").tasks[0].primary == expected


def test_records_of_one_measure_are_read() -> None:
    """Records of older versions have one metric as text, or an empty text where kind and data decided it."""
    record = spec.from_dict(MINIMAL).digestable()
    for text, expected in (("", ()), ("bleu", ("bleu",))):
        record["tasks"][0]["primary"] = text
        assert spec.recorded(record, origin="here").tasks[0].primary == expected


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r'unknown preset "qick"; did you mean "quick"\?'):
        spec.preset("qick")


def test_the_command_line_wins_over_every_task(tmp_path: Path) -> None:
    (tmp_path / "full.toml").write_text(FULL)
    experiment = spec.override(spec.load(tmp_path / "full.toml"), architectures=["t5"], seeds=2, match="flops")
    assert {task.architectures for task in experiment.tasks} == {("t5",)}
    assert {task.seeds for task in experiment.tasks} == {(0, 1)}
    assert {task.budget.match for task in experiment.tasks} == {("flops",)}


def test_tasks_are_picked_by_name_or_kind() -> None:
    experiment = spec.from_dict(MINIMAL)
    selected = spec.override(experiment, tasks=["classification", "tiny"])
    assert [task.name for task in selected.tasks] == ["tiny", "trec"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["tinny"]}, 'tasks: no task "tinny"; did you mean "tiny"?'),
        ({"tasks": []}, "tasks: is empty"),
        ({"architectures": ["a", "a"]}, 'architectures: "a" is given twice'),
        ({"seeds": 0}, "seeds: 0: expected at least 1"),
        ({"match": "flop"}, 'match: unknown axis "flop"; did you mean "flops"?'),
        ({"match": "seconds"}, "tasks.phrases-en-de.budget.match"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        spec.override(spec.from_dict(MINIMAL), **options)
    assert message in str(error.value)


def test_reading_an_experiment_needs_no_torch() -> None:
    code = "import sys, archbench.runs.experiment.spec as s; s.preset('quick'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ.copy())


@pytest.mark.parametrize(("tokens", "batch"), [(1_000, 512), (400_000, 1024), (1_000_000, 2048), (10**9, 4096)])
def test_batches_that_are_left_open_follow_the_budget(tokens: int, batch: int) -> None:
    task = {"kind": "classification", "name": "t", "data": "t.tsv"}
    values = {"name": "x", "architectures": ["decoder"], "budget": {"parameters": 30_000, "tokens": tokens}}
    assert spec.from_dict({**values, "tasks": [task]}).tasks[0].training.batch_tokens == batch
    experiment = spec.from_dict({**values, "tasks": [task], "training": {"batch_tokens": 64}})
    assert experiment.tasks[0].training.batch_tokens == 64


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("decoder")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["data", "tokens", "name", "x"]), inner, max_size=3),
    ),
    max_leaves=4,
)
PLACES = st.sampled_from(
    [
        *("name", "architectures", "seeds", "supervision", "controls", "contrasts", "margins", "tuning", "conditions"),
        *("budget", "budget.match", "budget.parameters", "budget.tokens", "budget.flops", "budget.seconds"),
        *("model", "model.width", "model.heads", "training", "training.batch_tokens", "training.learning_rate"),
        *("training.warmup", "training.dropout", "training.snapshots", "training.optimizer", "training.precision"),
        *("tasks", "tasks.0", "tasks.0.data", "tasks.1.kind", "tasks.1.context", "tasks.1.tokenizer", "tasks.1.seeds"),
        *("tasks.2.columns", "tasks.2.data", "tasks.2.budget", "tasks.2.encoding", "tasks.2.test_examples"),
        *("tuning.learning_rate", "tuning.seeds", "margins.bleu", "conditions.0", "tasks.2.vocabulary"),
    ]
)


@settings(max_examples=400)
@given(PLACES, VALUES)
def test_any_value_anywhere_is_taken_or_told_in_one_line(path: str, value: Any) -> None:
    try:
        data = changed(path, value)
    except (KeyError, IndexError):  # the place is in a list that is not there
        data = {**copy.deepcopy(MINIMAL), path.split(".")[0]: [value]}
    try:
        experiment = spec.from_dict(data, origin="mine.toml")
    except InputError as error:
        assert str(error).startswith("mine.toml: ") and "\n" not in str(error)
    else:
        json.dumps(experiment.digestable())


@settings(max_examples=200)
@given(st.text(st.characters(codec="utf-8"), max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_file_is_no_experiment_in_one_line(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^mine\.toml(:\d+)?: [^\n]*$"):
        spec.from_dict(spec._parsed(content, "mine.toml"), origin="mine.toml")


def test_a_share_is_a_part_or_a_multiple_of_the_budget() -> None:
    data = {**MINIMAL, "conditions": [{"share": 0.25}, {"share": 4}]}
    assert {condition.share for condition in spec.from_dict(data).conditions} == {0.25, 4}
    for share in (0, 1, -1, 65):
        with pytest.raises(InputError, match="share"):
            spec.from_dict({**MINIMAL, "conditions": [{"share": share}]})


def test_the_documentation_lists_every_key() -> None:
    listed = (
        (Path(__file__).parents[1] / "docs/experiments.md")
        .read_text(encoding="utf-8")
        .partition("## All keys")[2]
        .partition("\n## ")[0]
    )
    sections = ("budget", "model", "training", "tuning")
    entries = (ExperimentEntry, TaskEntry, ConditionEntry, PretrainingEntry)
    keys = {name.rstrip("_") for entry in entries for name in entry.model_fields}
    keys -= {*sections, "tasks", "conditions", "pretraining"}
    for section, table in zip(sections, (Budget, Model, TrainingEntry, Tuning), strict=True):
        keys |= {f"{section}.{name}" for name in table.model_fields}
    assert [key for key in sorted(keys) if f"`{key}`" not in listed] == []
