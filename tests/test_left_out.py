"""What a run's name leaves out changes no result: each such setting, and the test or check that shows it."""

import ast
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny_runs

from archbench.architectures import contract
from archbench.architectures.families.size import Counts, Size
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.runs.experiment.sections import PROMPT, Training
from archbench.runs.plans.plan import Plan
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.kinds import task

NAMED = "test_left_out.py::test_what_has_a_place_of_its_own_names_the_run"
TOLD = "test_left_out.py::test_what_is_only_told_changes_no_result"
DATA = "test_left_out.py::test_what_decides_the_data_is_in_their_digest"
TOKENIZER = "test_left_out.py::test_the_tokenizer_is_in_the_digest_of_its_data"
KIND = "test_task_kinds.py::test_a_file_is_a_kind_and_a_run_is_of_its_code"
SAME_CODE = "test_isolation.py::test_a_plan_is_that_of_the_same_code_in_this_process"

LEFT_OUT = {
    # the recipe
    "training.recompute": "contract.recomputing_changes_nothing",
    "training.precision": NAMED,
    "training.strategy": "test_ranks.py::test_sharded_ranks_train_as_one_process_does",
    "training.devices": "test_ranks.py::test_two_ranks_have_the_bits_of_one_process_that_reads_two_parts",
    # the data
    **dict.fromkeys(("task.data", "task.columns", "task.encoding", "task.tokenizer", "task.vocabulary"), DATA),
    **dict.fromkeys(("task.test_examples", "task.examples", "task.draw_seed", "task.validation_examples"), DATA),
    **dict.fromkeys(("task.pretrained", "task.shared_tokenizer", "task.sentinels", "task.texts_of"), TOKENIZER),
    "task.name": NAMED,
    **dict.fromkeys(("task.kind_file", "kind_code", "kind_form"), KIND),
    "task.folder": "test_task.py::test_changed_data_and_settings_are_encoded_anew_and_moved_files_are_not",
    "task.metrics": "test_user_metrics.py::test_finished_runs_are_scored_again_and_never_trained_again",
    # the variant
    "architecture": NAMED,
    **dict.fromkeys(("variant", "foreign"), SAME_CODE),
    "variant_text": "test_built_in_models.py::test_a_built_in_model_is_the_one_that_its_runs_are_named_by",
    # what follows from the rest, and what is only told
    **dict.fromkeys(("experiment", "family", "description", "match", "stage", "breaks", "heads", "counts"), TOLD),
    **dict.fromkeys(("vocabulary", "examples", "validation_examples", "start_name"), TOLD),
    **dict.fromkeys(("pretraining_tokens", "pretraining_flops"), TOLD),
    **dict.fromkeys(("targets", "loss_tokens", "flops", "optimizer_flops", "baselines", "cache"), TOLD),
    **dict.fromkeys(("expected_seconds", "scoring_seconds", "predictions"), TOLD),
}
DERIVED = {"vocabulary", "cache"}  # told, but no other value is possible here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs.write_data(tmp_path_factory.mktemp("left out"))


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    """The plan of a run of an instant."""
    values = {
        "name": "tiny",
        "architectures": ["decoder"],
        "budget": {"parameters": 20_000, "tokens": 1_500},
        "model": {"width": 32},
        "training": {"batch_tokens": 250, "precision": "float32", "dropout": 0.1},
        "tasks": [{"name": "colours", "test_examples": 5, **tiny_runs.TASKS["colours"]}],
    }
    (only,) = tiny_runs.planned(spec.from_dict(values, folder=folder), folder, folder / "none").plans
    return only


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, Counts | Size):
        first = fields(value)[0].name
        return replace(value, **{first: getattr(value, first) + 1})
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, Mapping):
        return {**value, "other": 2.0}
    return (*value, "other") if isinstance(value, tuple) else 8 if value is None else f"{value}x"


def changed(plan: Plan, name: str) -> Plan:
    """The plan with another value of this field, or of a field of its task, recipe or size."""
    whole, _, part = name.rpartition(".")
    if not whole:
        return replace(plan, **{part: other(getattr(plan, part))})
    inner = getattr(plan, whole)
    change = {part: other(getattr(inner, part))}
    return replace(
        plan, **{whole: inner.model_copy(update=change) if whole == "training" else replace(inner, **change)}
    )


def names() -> list[str]:
    inner = {"task": [field.name for field in fields(TaskConfig)], "training": [*Training.model_fields]}
    return [
        name
        for field in fields(Plan)
        for name in ([f"{field.name}.{part}" for part in inner[field.name]] if field.name in inner else [field.name])
    ]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # no recipe has these values
def test_each_setting_that_a_name_leaves_out_is_shown_to_change_nothing(plan: Plan) -> None:
    everything = replace(plan, objective={"own": 1.0}, adapt=PROMPT, start="other", verbalizers={"a": "b"})
    everything = replace(everything, kind_code="other")  # so that the environment is that of a user's code
    left_out = {name for name in names() if changed(everything, name).identity() == everything.identity()}
    assert left_out - LEFT_OUT.keys() == set(), "say which test shows that this changes no result, or name runs by it"
    assert LEFT_OUT.keys() - left_out == set(), "this names runs now"


@pytest.mark.parametrize("shown_by", sorted(set(LEFT_OUT.values())))
def test_what_shows_it_exists(shown_by: str) -> None:
    where, _, name = shown_by.rpartition("::" if "::" in shown_by else ".")
    if where == "contract":
        assert getattr(contract, name) in contract.CHECKS
    else:
        tree = ast.parse(Path(__file__).with_name(where).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", [name for name, shown_by in LEFT_OUT.items() if shown_by == NAMED])
def test_what_has_a_place_of_its_own_names_the_run(plan: Plan, name: str) -> None:
    """The precision that a recipe asks for is resolved in the plan; a name begins with data and architecture."""
    resolved = {"training.precision": "precision"}.get(name, name)
    assert changed(plan, resolved).run != plan.run


def test_what_is_only_told_changes_no_result(plan: Plan, tmp_path: Path) -> None:
    told = plan
    for name in {name for name, shown_by in LEFT_OUT.items() if shown_by == TOLD} - DERIVED:
        told = changed(told, name)
    assert told.run == plan.run and told != plan
    assert result(told, tmp_path / "told") == result(plan, tmp_path / "plain")


def result(plan: Plan, root: Path) -> dict[str, object]:
    """What a run leaves, but for times."""
    place = root / "runs" / plan.run
    work.perform(plan, place, lambda progress: None, lambda: False)
    return {
        "weights": (place / "model.safetensors").read_bytes(),
        "scores": json.loads((place / "scores.json").read_text()),
        "curves": pd.read_csv(place / "curves.csv").drop(columns="seconds").to_csv(),
        "predictions": pd.read_parquet(place / "predictions.parquet").to_csv(),
    }


def digest(config: TaskConfig, cache: Path) -> str:
    return task.prepare(config, cache, lambda line: None).digest


def test_what_decides_the_data_is_in_their_digest(folder: Path, tmp_path: Path) -> None:
    (folder / "accents.tsv").write_text((folder / "things.tsv").read_text().replace("house", "maison étroite"))
    (folder / "fewer.tsv").write_text("\n".join((folder / "things.tsv").read_text().splitlines()[:-9]))
    first = TaskConfig("classification", "colours", "things.tsv", tokenizer="word", vocabulary=300, folder=str(folder))
    changes: list[dict[str, Any]] = [
        {"data": "fewer.tsv"},
        {"columns": {"text": "turned", "label": "label"}},
        {"tokenizer": "char"},
        {"vocabulary": 20},
        {"test_examples": 5},
        {"examples": 20},
        {"examples": 20, "draw_seed": 1},
        {"examples": 20, "draw_seed": 1, "validation_examples": 5},
        {"data": "accents.tsv"},
        {"data": "accents.tsv", "encoding": "latin-1"},
    ]
    digests = [digest(first, tmp_path), *(digest(replace(first, **change), tmp_path) for change in changes)]
    assert len(set(digests)) == len(digests)
    assert {key for change in changes for key in change} == {
        name.removeprefix("task.") for name, shown_by in LEFT_OUT.items() if shown_by == DATA
    }


def test_the_tokenizer_is_in_the_digest_of_its_data(folder: Path, tmp_path: Path) -> None:
    """Of running text, with the labels that stand for its gaps, and of tokenizers that were trained elsewhere."""
    text = TaskConfig("generation", "running", "things.txt", folder=str(folder), tokenizer="word", vocabulary=60)
    text = replace(text, source_length=9, target_length=9)
    table = replace(text, data="things.tsv", columns={"source": "text", "target": "turned"}, texts_of="translation")
    for number, name in enumerate(("things", "house")):
        (tmp_path / f"{name}.txt").write_text(f"{name} red blue car house. " * 300 * (number + 1))
    prepare = partial(task.prepare, cache=tmp_path / "cache", say=lambda line: None)
    others = [prepare(replace(text, folder=str(tmp_path), data=f"{name}.txt")) for name in ("things", "house")]
    files = []
    for number, prepared in enumerate(others):
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(prepared.tokenizer.to_json())
    configs = [text, table, *(replace(text, sentinels=count) for count in (3, 4))]
    configs += [replace(text, shared_tokenizer=str(file)) for file in files]
    digests = [prepare(config).digest for config in configs]
    assert len(set(digests)) == len(digests)
