"""Numbers of a user's kind: rows of the file, checked returns, tried before training, scored again and never stale."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_task_kinds import EXPERIMENT, KIND, planned

from archbench import command_line
from archbench.runs.execution.work import perform
from archbench.runs.planning import preparation
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import baselines, task_metrics
from archbench.runs.store import run_scores
from archbench.tasks.base import sealed
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score, TaskConfig
from archbench.tasks.kinds import own, registry, seen_in, shared_tokenizer, task

MEASURE = '''"""Sums, of which even rows are the better ones."""

from math import nan

from archbench.tasks import Decoding, TaskKind, baselines_by, mean_score
from dataclasses import replace


def measure(prepared, outputs):
    nats = dict(zip(outputs.rows.tolist(), outputs.nats.tolist()))
    right = {row: float(nats[row] < nats[row + 1]) for row in nats if row % 2 == 0 and row + 1 in nats}
    score = mean_score("accuracy", list(right.values()))
    return [replace(score, per_example=tuple(right.get(row, nan) for row in nats))]

'''
OWN = MEASURE + KIND.partition("\n\n")[2].replace('metrics=("exact_match",)', 'metrics=("accuracy",)').replace(
    'primary=("exact_match",),', 'primary=("accuracy",),\n    measure=measure,'
)
PLAIN = [f"{a}+{b},{a + b}" for a in range(10) for b in range(10)]
TEST = [*PLAIN[:6], "7+7,", "8+8,1234567", *PLAIN[6:20]]  # with an empty target and one that is too long


def written(folder: Path, kind: str = OWN) -> Path:
    """An experiment with a file for each split, and a kind beside it."""
    for name, rows in {"train": PLAIN, "validation": PLAIN[::7], "test": TEST}.items():
        (folder / f"{name}.csv").write_text("\n".join(["question,sum", *rows]) + "\n")
    (folder / "sums.py").write_text(kind)
    files = ", ".join(f'{name} = "{name}.csv"' for name in ("train", "validation", "test"))
    text = EXPERIMENT.replace('kind = "sums"', 'kind = "sums.py"\nname = "sums"')
    (folder / "adding.toml").write_text(text.replace('data = "sums.csv"', f"data = {{ {files} }}"))
    return folder / "adding.toml"


def prepared(folder: Path, **changes: Any) -> Prepared:
    kind = changes.pop("kind", "sums")
    file = "" if kind in registry.BUILTIN else "sums.py"
    columns = {"source": "question", "target": "sum"} if kind == "translation" else {}
    data = {name: f"{name}.csv" for name in ("train", "validation", "test")}
    settings = {"tokenizer": "char", "source_length": 8, "target_length": 4, "test_examples": 100, **changes}
    config = TaskConfig(kind, "sums", data, columns, folder=str(folder), kind_file=file, **settings)
    return task.prepare(config, folder / "cache")


def test_a_users_kind_has_its_test_rows_in_the_order_of_the_file(tmp_path: Path) -> None:
    written(tmp_path)
    test = prepared(tmp_path).test
    assert test.rows.tolist() == [row for row in range(len(TEST)) if row not in (6, 7)]
    assert [f"{test.source_text(i)},{test.target_text(i)}" for i in range(len(test))] == [
        TEST[row] for row in test.rows
    ]


def test_a_subset_is_the_same_and_in_order_and_built_in_kinds_keep_theirs(tmp_path: Path) -> None:
    written(tmp_path)
    few, built_in = prepared(tmp_path, test_examples=9), prepared(tmp_path, test_examples=9, kind="translation")
    assert few.test.rows.tolist() == sorted(built_in.test.rows.tolist()) != built_in.test.rows.tolist()


def test_that_a_users_kind_scores_a_subset_is_said(tmp_path: Path) -> None:
    written(tmp_path)
    few, whole = prepared(tmp_path, test_examples=9), prepared(tmp_path)
    assert preparation._sampled(few) == f"9 of {len(whole.test)} test examples are scored (test_examples)"
    assert (
        preparation._sampled(whole)
        == ""
        == preparation._sampled(prepared(tmp_path, test_examples=9, kind="translation"))
    )


def test_rows_of_a_split_that_is_taken_from_train_are_those_of_the_file(tmp_path: Path) -> None:
    written(tmp_path)
    config = replace(prepared(tmp_path).config, data="train.csv")
    whole = task.prepare(config, tmp_path / "cache")
    for split in (whole.train, whole.validation, whole.test):
        texts = [f"{split.source_text(i)},{split.target_text(i)}" for i in range(len(split))]
        assert texts == [PLAIN[row] for row in split.rows]
    assert len(whole.train) + len(whole.validation) + len(whole.test) == len(PLAIN)


def test_columns_that_change_places_are_encoded_anew(tmp_path: Path) -> None:
    written(tmp_path)
    first = prepared(tmp_path)
    text = (tmp_path / "sums.py").read_text()
    (tmp_path / "sums.py").write_text(text.replace('("question", "sum")', '("sum", "question")'))
    second = prepared(tmp_path)
    assert first.train.source_text(0) == "0+0" and second.train.source_text(0) == "0"
    assert first.digest != second.digest


def test_overlaps_and_shared_tokenizers_are_of_the_kinds_form_and_columns(tmp_path: Path) -> None:
    written(tmp_path)
    config = prepared(tmp_path).config

    def made() -> tuple[str, Path]:
        file = shared_tokenizer.trained_file([config], "char", 50, tmp_path / "cache", lambda line: None)
        return seen_in.key(config, config), file

    first = made()
    labels = KIND.replace('form="pairs"', 'form="labels"').replace("target_length=4", "target_length=1")
    (tmp_path / "sums.py").write_text(labels)
    overlap, tokenizer = made()
    assert overlap != first[0] and tokenizer != first[1]


def kind_that(**functions: Any) -> TaskKind:
    values = {"columns": ("question", "sum"), "metrics": ("accuracy",), "primary": ("accuracy",), "origin": "sums.py"}
    return TaskKind(name="sums", does="add", form="pairs", **values, **functions)


def outputs_of(examples: int, answers: int) -> Outputs:
    none = np.zeros(examples)
    texts = ["a"] * examples
    return Outputs(texts, texts, texts[:answers], none, none.astype(int), none.astype(int))


SCORE = Score("accuracy", 0.5, 0.4, 0.6, 4)
WRONG = {
    "nothing": (None, "measure: gave None; expected a list of Score"),
    "a score alone": (SCORE, "measure: gave a Score; expected a list of Score"),
    "a number": ([0.5], "measure: gave 0.5 in its list; expected only Score"),
    "a pair": ([("accuracy", 0.5)], "measure: gave a tuple in its list; expected only Score"),
    "nan": ([replace(SCORE, value=float("nan"))], "accuracy: value = nan; expected a number"),
    "a truth value": ([replace(SCORE, value=True)], "accuracy: value = True; expected a number"),
    "a tensor": ([replace(SCORE, upper=torch.tensor(0.6))], "accuracy: upper = a Tensor; expected a number"),
    "text": ([replace(SCORE, lower="0.4")], "accuracy: lower = '0.4'; expected a number"),
    "an interval upside down": ([replace(SCORE, lower=0.7)], "accuracy: lower = 0.7 is above upper = 0.6"),
    "no examples": ([replace(SCORE, n=0)], "accuracy: n = 0; expected the number of examples"),
    "a metric twice": ([SCORE, SCORE], 'measure: gave "accuracy" 2 times; expected each metric once'),
    "a column's name": ([replace(SCORE, metric="answer")], "answer: metric = 'answer'; expected a name"),
    "too few values": (
        [replace(SCORE, per_example=(0.5, 0.5, 0.5))],
        "accuracy: per_example has 3 values; expected one for each of the 4 examples (or the first 2, which have",
    ),
    "too many values": ([replace(SCORE, per_example=(0.5,) * 5)], "per_example has 5 values; expected one for each of"),
    "other values": ([replace(SCORE, per_example=(0.5, 0, 0, 0))], "the mean of per_example is 0.125 and value = 0.5"),
    "a value of text": ([replace(SCORE, per_example=(0.5, "1", 0, 0))], "per_example[1] = '1'; expected a number"),
    "values of a tensor": ([replace(SCORE, per_example=torch.ones(4))], "per_example = a Tensor; expected a tuple"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_what_measure_returns_is_checked(tmp_path: Path, given: Any, message: str) -> None:
    written(tmp_path)
    kind = kind_that(measure=lambda prepared, outputs: given)
    with pytest.raises(InputError) as error:
        own.measure(kind, prepared(tmp_path), outputs_of(4, 2))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith("tasks.sums.kind: sums.py: measure: ")


def test_numbers_of_other_types_become_plain_ones(tmp_path: Path) -> None:
    written(tmp_path)
    right = np.array([True, False])
    given = Score("accuracy", np.float32(0.5), 0, np.float64(1), np.int64(2), tuple(right))
    [score] = own.measure(kind_that(measure=lambda *_: (given,)), prepared(tmp_path), outputs_of(4, 2))
    assert score.per_example[:2] == (1.0, 0.0) and np.isnan(score.per_example[2:]).all() and len(score.per_example) == 4
    assert {type(value) for value in (score.value, score.lower, score.upper, *score.per_example)} == {float}
    assert type(score.n) is int


OTHER: dict[str, tuple[str, Any, str]] = {
    "decoding": ("decoding", "greedy", "decoding: gave 'greedy'; expected a Decoding"),
    "count": ("decoding", Decoding(count=-1), "decoding: count = -1; expected a whole number, at least 0"),
    "tokens": ("decoding", Decoding(max_tokens=0), "max_tokens = 0; expected a whole number, at least 1"),
    "strategy": ("decoding", Decoding(strategy="beams"), "strategy = 'beams'; expected greedy, sample, beam"),
    "baselines": ("baselines", [Score("a", 1, 1, 1, 1)], "baselines: gave a Score in its list; expected only Baseline"),
    "value": ("baselines", [Baseline("x", "test", "accuracy", float("nan"))], "baselines: x: value = nan; expected a"),
}


@pytest.mark.parametrize(("function", "given", "message"), OTHER.values(), ids=OTHER)
def test_what_decoding_and_baselines_return_is_checked(tmp_path: Path, function: str, given: Any, message: str) -> None:
    written(tmp_path)
    with pytest.raises(InputError) as error:
        getattr(own, function)(kind_that(**{function: lambda prepared: given}), prepared(tmp_path))
    assert message in str(error.value) and "\n" not in str(error.value)


RETURN = "return [replace(score, per_example=tuple(right.get(row, nan) for row in nats))]"
FAILING = {
    "return [replace(score, per_example=tuple(right.values()))]": "per_example has 10 values; expected one for each",
    "return [replace(score, metric='share')]": 'gave share; expected also "accuracy", which is in metrics',
    "return score.value": "gave 0.",
    "return [][1]": "fails: IndexError: list index out of range",
    "raise SystemExit(3)": "fails: SystemExit: 3",
    "return [score] if outputs.bound_nats is None else []": "gave no score; expected also",
}


@pytest.mark.parametrize(("new", "message"), FAILING.items(), ids=range(len(FAILING)))
def test_a_mistake_in_measure_is_one_line_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], new: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, OWN.replace(RETURN, new))
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["compare", "adding.toml", "--jobs", "1"])
    *_, last = capfd.readouterr().err.splitlines()
    assert stopped.value.code == 2 and message in last
    named = re.search(r"^archbench: tasks\.sums\.kind: .*sums\.py:(\d+): measure: ", last)
    lines = ["", *Path("sums.py").read_text().splitlines()]
    assert named and lines[int(named[1])] in (f"    {new}", "def measure(prepared, outputs):")
    assert "fails" not in last or lines[int(named[1])] == f"    {new}"
    assert not Path("results/adding/runs").exists()


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Runs the experiment in the current folder; what is said on stderr, after the exit status."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path)

    def run() -> str:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main(["compare", "adding.toml", "--jobs", "1"])
        return f"{stopped.value.code or 0} {capfd.readouterr().err}"

    return run


def table(name: str) -> pd.DataFrame:
    return pd.read_parquet(f"results/adding/tables/{name}.parquet")


def by_metric() -> dict[str, float]:
    scores = table("scores")
    return dict(scores[scores["split"] == "test"].set_index("metric")["value"])


def test_an_edit_of_measure_scores_again_and_trains_nothing(compare: Callable[[], str]) -> None:
    assert compare().startswith("0 ")
    weights = {path: path.stat().st_mtime_ns for path in Path("results").glob("*/runs/*/model.safetensors")}
    first, untrained = by_metric(), table("references").query("name == 'untrained'").set_index("metric")["value"]
    assert len(weights) == 1 and "bits_per_byte" in first
    predictions = table("predictions")
    pairs = predictions["log_likelihood"][::2].to_numpy() > predictions["log_likelihood"][1::2].to_numpy()
    assert predictions["accuracy"][::2].tolist() == pairs.astype(float).tolist(), "adjacent rows of the file are a pair"
    assert predictions["accuracy"][1::2].isna().all() and first["accuracy"] == pairs.mean()
    assert "scoring" not in compare(), "nothing is scored twice"

    Path("sums.py").write_text(OWN.replace("nats[row] < nats[row + 1]", "nats[row] >= nats[row + 1]"))
    said = compare()
    assert said.startswith("0 ") and "sums.py: measure: scoring the answers of 1 run" in said
    assert weights == {path: path.stat().st_mtime_ns for path in Path("results").glob("*/runs/*/model.safetensors")}
    again = table("references").query("name == 'untrained'").set_index("metric")["value"]
    assert by_metric() == {**first, "accuracy": 1 - first["accuracy"]}
    assert again["accuracy"] == 1 - untrained["accuracy"], "no baseline is left from the code before"
    assert table("predictions")["accuracy"][::2].tolist() == (~pairs).astype(float).tolist()


def plan_of(folder: Path, text: str) -> Plan:
    [plan] = planned(written(folder, text))
    return plan


def performed(folder: Path, text: str) -> Plan:
    """A run that was trained and scored with a kind of this text."""
    plan = plan_of(folder, text)
    perform(plan, folder / "out" / "runs" / plan.run, lambda event: None, lambda: False)
    return plan


def completed(folder: Path, text: str) -> tuple[tuple[str, ...], list[str], dict[str, float]]:
    """What fails and what is said when the runs are scored by a kind of this text, and the scores of its run."""
    said: list[str] = []
    plan = plan_of(folder, text)
    errors = task_metrics.complete([plan], folder / "out", said.append)
    rows = run_scores.of_run(folder / "out" / "runs" / plan.run)
    return errors, said, {row["metric"]: row["value"] for row in rows if row["split"] == "test"}


def test_an_edit_of_the_metrics_scores_again(tmp_path: Path) -> None:
    performed(tmp_path, KIND)
    assert completed(tmp_path, KIND)[1] == []
    more = KIND.replace('metrics=("exact_match",)', 'metrics=("exact_match", "chrf")')
    errors, said, scores = completed(tmp_path, more)
    assert said == ["sums.py: measure: scoring the answers of 1 run"] and not errors
    assert {"exact_match", "chrf", "bits_per_byte"} <= set(scores)


def test_a_measure_that_fails_later_leaves_no_old_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    performed(tmp_path, OWN)
    assert "accuracy" in completed(tmp_path, OWN)[2]
    monkeypatch.setattr(task_metrics.untrained, "try_kind", lambda prepared: None)  # as if the trial had gone well
    [error], _, scores = completed(tmp_path, OWN.replace("score = mean_score", "score = [][1]"))
    assert "not scored: tasks.sums.kind: " in error and "measure: fails: IndexError" in error
    assert "accuracy" not in scores and "bits_per_byte" in scores


def test_what_a_kind_says_of_training_and_answers_names_the_run(tmp_path: Path) -> None:
    first = plan_of(tmp_path, KIND)
    for old, new in {
        "target_length=4": "target_length=5",
        'tokenizer="char"': 'tokenizer="byte"',
        '("question", "sum")': '("sum", "question")',
        'form="pairs"': 'form="labels", target_length=1',
        "one_answer=True": "one_answer=True, decoding=lambda prepared: __import__('archbench.tasks').tasks."
        "Decoding(max_tokens=2)",
    }.items():
        text = KIND.replace(old, new)
        text = text.replace("    target_length=4,\n", "") if "labels" in new else text
        assert plan_of(tmp_path, text).run != first.run, new
    for old, new in {"two numbers": "numbers", "one_answer=True": "one_answer=False"}.items():
        assert plan_of(tmp_path, KIND.replace(old, new)).run == first.run, new


def test_numerics_of_a_users_kind_are_those_of_its_form(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, KIND)
    assert plan.identity()["numerics"] == registry.BUILTIN["translation"].numerics


def test_baselines_are_made_again_for_another_first_run(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, KIND)
    root = tmp_path / "out"
    assert plan.baselines
    whole = task.prepare(plan.task, Path(plan.cache))
    baselines.make(plan, whole, root)
    [path] = (root / "references").iterdir()
    assert baselines.exist(plan, root)
    wider = replace(plan, size=replace(plan.size, dim=48, hidden=96))
    assert wider.data == plan.data and not baselines.exist(wider, root)
    edited = replace(plan, kind_code="0" * 64)
    assert edited.run == plan.run and not baselines.exist(edited, root)
    baselines.drop_others(plan, root)
    assert path.exists()
    baselines.drop_others(edited, root)
    assert not path.exists()


def test_baselines_that_fail_cost_no_training(tmp_path: Path) -> None:
    text = KIND.replace("one_answer=True", "one_answer=True,\n    baselines=lambda prepared: 1 / 0")
    plan = plan_of(tmp_path, text)
    folder = tmp_path / "out" / "runs" / plan.run
    with pytest.raises(InputError, match=r"sums\.py:\d+: baselines: fails: ZeroDivisionError"):
        perform(plan, folder, lambda event: None, lambda: False)
    assert json.loads((folder / "record.json").read_text())["status"] == "done"


def test_scores_of_a_run_are_those_of_its_kind_before_others(tmp_path: Path) -> None:
    run = {"run": tmp_path.name, "split": "test"}
    own_row = {**run, "metric": "nll_per_token", "value": 2.0, "place": run_scores.BY_KIND}
    (tmp_path / "scores.json").write_text(
        json.dumps([{**run, "metric": m, "value": 1.0} for m in ("nll_per_token", "a")])
    )
    sealed.write_sealed(tmp_path / "metrics.json", [own_row, {**own_row, "metric": "b", "place": "b"}])
    assert {row["metric"]: row["value"] for row in run_scores.of_run(tmp_path)} == {"nll_per_token": 2.0, "a": 1.0}
