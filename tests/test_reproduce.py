"""Published runs are trained again from their tables alone, and their scores are judged by the published seeds."""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_runs

import archbench
from archbench import command_line, published_tables
from archbench.reports.base import tables
from archbench.reports.base.declared import specification
from archbench.reports.base.statistics import prediction_interval
from archbench.reports.published import published as opening
from archbench.reports.published import reproduction as analysis
from archbench.runs.execution import compare, work
from archbench.runs.execution.compare import RunOptions
from archbench.runs.execution.execute import Outcome
from archbench.runs.experiment import spec
from archbench.runs.machine import machine
from archbench.runs.planning import published
from archbench.runs.planning.published import PublishedRun, ReproducedRun
from archbench.runs.planning.trials import TuningTrials
from archbench.runs.plans.plan import Plan
from archbench.runs.store import store
from archbench.tasks.base import sealed
from archbench.tasks.metrics.builtin import BUILTIN

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "public-budgets"
EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "architectures": ["decoder", "encoder"],
    "seeds": [0, 1],
    "budget": {"parameters": 20_000, "tokens": 2_000},
    "model": {"width": 32, "depth": 1},
    "training": {"batch_tokens": 250, "precision": "float32", "learning_rate": "transfer"},
    "tuning": {"learning_rate": [0.01, 0.02, 0.04], "width": 16, "share": 0.5},
    "alternatives": {
        "decoder": [{"name": "small batches", "variant": "prefix-decoder", "training": {"batch_tokens": 200}}]
    },
    "conditions": [{"supervision": "target"}, {"share": 0.5}, {"budget": {"match": "flops-by-tokens"}}],
    "controls": True,
    "tasks": [
        {
            "kind": "translation",
            "name": "pairs",
            "data": "pairs.tsv",
            "tokenizer": "word",
            "vocabulary": 64,
            "source_length": 8,
            "target_length": 8,
            "test_examples": 5,
        }
    ],
}


def imagine(plan: Plan, folder: Path) -> None:
    """The records of a run that is not trained: an imagined loss and score, and a training that took long."""
    loss = abs(plan.training.learning_rate - 0.02)
    row = {**plan.row(), "status": "done", "validation_loss": loss, "train_seconds": 1e4}
    split = "validation" if plan.trial else "test"
    scores = [
        {"split": split, "metric": "nll_per_token", "value": 1.0},
        {"split": "test", "metric": "chrf", "value": 1},
    ]
    folder.mkdir(parents=True, exist_ok=True)
    sealed.write_json(folder / "scores.json", [{"run": plan.run, **score} for score in scores])
    sealed.write_json(folder / "environment.json", {"run": plan.run, **machine.environment("cpu")})
    store.write_record(folder, row)


def publish(plans: Sequence[Any], root: Path, *_: Any, **__: Any) -> Outcome:
    """Trains the runs of the first condition and imagines all others, trials included."""
    for plan in plans:
        folder = store.run_folder(root, plan.run)
        first = not plan.trial and plan.seed < 2 and plan.match == "parameters" and plan.native
        if store.is_finished(folder):
            continue
        if first and 1_900 < plan.tokens < 2_100:
            work.perform(plan, folder, lambda event: None, lambda: False)
        else:
            imagine(plan, folder)
    return Outcome()


@dataclass
class Trained:
    """The runs that were trained in this process, in order; those whose name contains ``failing`` fail."""

    runs: list[str] = field(default_factory=list)
    failing: str = "nothing"
    signal: int | None = None

    def execute(self, plans: Sequence[Any], root: Path, jobs: int, notify: Any, **options: Any) -> Outcome:
        waiting = [plan for plan in plans if not store.is_finished(store.run_folder(root, plan.run))]
        if self.signal is not None:
            return Outcome(unfinished=tuple(plan.run for plan in waiting), signal=self.signal)
        failed = [plan for plan in waiting if self.failing in plan.run]
        for plan in failed:
            store.write_record(store.run_folder(root, plan.run), {**plan.row(), "status": "failed", "error": "no"})
        done = [plan for plan in waiting if plan not in failed]
        for plan in done:
            self.runs.append(plan.run)
            work.perform(plan, store.run_folder(root, plan.run), lambda event: None, lambda: False)
        names = [tuple(plan.run for plan in group) for group in (done, failed)]
        return Outcome(done=names[0], failed=names[1], causes=dict.fromkeys(names[1], "no"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    executor = Trained()
    monkeypatch.setattr(compare, "execute", executor.execute)
    return executor


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data, and in ``small`` the tables of a finished comparison whose trials chose the alternative."""
    folder = tmp_path_factory.mktemp("published")
    rows = [f"{n} red houses by the sea\t{n} rote Häuser am Meer" for n in range(300)]
    (folder / "pairs.tsv").write_text("\n".join(["source\ttarget", *rows]) + "\n")
    experiment = spec.from_dict(EXPERIMENT, folder=folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compare, "execute", publish)
        patched.setattr(compare, "_complete_baselines", lambda *_: ())
        patched.setattr(TuningTrials, "nll_by_candidate", {"decoder": 2.0, "prefix-decoder, small batches": 1.0})
        outcome = compare.run(experiment, folder / "whole", RunOptions(device="cpu", jobs=1), "archbench", str)
        assert outcome.status == 0
    tables.write(tables.collect(folder / "whole"), folder / "small" / "tables")
    yield folder


@pytest.fixture(scope="module")
def again(place: Path) -> Path:
    """Two of the runs, trained again; the table is beside them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compare, "execute", Trained().execute)
        patched.chdir(place)
        archbench.reproduce("small", "again", runs=2, device="cpu")
    return place / "again"


@pytest.fixture
def here(place: Path, again: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: data, published tables, and in ``out`` two runs that are trained already."""
    shutil.copy(place / "pairs.tsv", tmp_path)
    shutil.copytree(place / "small", tmp_path / "small")
    shutil.copytree(again, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["reproduce", *arguments])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def change(folder: Path, table: str, column: str, value: Any) -> None:
    """Replaces a column of a published table by a value, or by what a function makes of the table."""
    path = folder / "small" / "tables" / f"{table}.parquet"
    frame = pd.read_parquet(path)
    frame[column] = value(frame) if callable(value) else value
    tables.write_parquet(frame, path)


def planned(folder: Path, runs: Sequence[PublishedRun] | None = None) -> list[ReproducedRun]:
    """All published runs of ``folder/small`` with their new plans."""
    source = opening.read(folder / "small", "small")
    experiment = spec.recorded(specification(source.tables), origin="small", folder=folder)
    listed = runs or [published_tables.published_run(source, row) for row in analysis.choose(source, None)]
    narrowed = published.narrowed(experiment, listed)
    setting = RunOptions(device="cpu", jobs=1)
    with compare.checked_architectures(narrowed, setting, lambda line: None) as architectures:
        matrix, _, _ = compare.planned(narrowed, folder / "plans", setting, lambda line: None, architectures)
    return list(published.reproduced(matrix, experiment, listed))


@pytest.fixture(scope="module")
def plans(place: Path) -> list[ReproducedRun]:
    return planned(place)


def test_the_same_machine_gives_the_same_scores(again: Path) -> None:
    rows = pd.read_csv(again / published_tables.FILE)
    assert set(rows["verdict"]) == {"same"} and list(rows["new"]) == list(rows["published"])
    assert set(rows["metric"]) == {"bleu", "bits_per_byte"} and set(rows["run"]) == set(rows["published_run"])
    assert rows["differences"].isna().all()


def test_every_run_has_its_name_again_so_that_all_that_decides_it_is_equal(
    place: Path, plans: list[ReproducedRun]
) -> None:
    reproduced = plans
    assert [item.plan.run for item in reproduced] == [item.published.run for item in reproduced]
    assert not [line for item in reproduced for line in item.differences]
    assert {item.published.condition for item in reproduced} == {"", "target supervision"}
    assert {item.published.match for item in reproduced} == {"parameters", "flops-by-tokens"}
    assert {item.published.role for item in reproduced} == {"compared", "share", "control"}
    assert {item.plan.architecture for item in reproduced} == {"prefix-decoder", "encoder"}
    listed = tables.read(place / "small" / "tables")["entries"]
    assert {item.published.run for item in reproduced} == set(listed.loc[listed["role"] != "trial", "run"])


def test_rates_come_from_the_published_rows(place: Path, plans: list[ReproducedRun]) -> None:
    first, *_ = plans
    assert (first.plan.training.proxy_width, first.plan.training.proxy_share) == (16, 0.5)
    row = {**first.published.row, "learning_rate": 0.0123, "dropout": 0.25, "proxy_share": 0.75}
    [changed] = planned(place, [replace(first.published, row=row)])
    training = changed.plan.training
    assert (training.learning_rate, training.dropout, training.proxy_share) == (0.0123, 0.25, 0.75)
    assert changed.plan.size.dropout == 0.25 and changed.plan.run != first.plan.run


@pytest.mark.parametrize("heads", [1, 2])
def test_a_number_of_heads_that_was_not_stated_is_the_published_one(
    place: Path, plans: list[ReproducedRun], heads: int
) -> None:
    first = plans[0]
    name = replace(first.plan, size=replace(first.plan.size, heads=heads)).run
    run = replace(first.published, run=name, row={**first.published.row, "heads": heads})
    [item] = planned(place, [run])
    assert (item.plan.size.heads, item.plan.run, item.differences) == (heads, name, ())


def test_no_trial_is_trained_and_a_second_call_trains_nothing(
    here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("small", "--out", "out", "--runs", "3", "--device", "cpu") == 0
    runs = tables.read(here / "small" / "tables")["entries"].set_index("run")
    assert len(trained.runs) == 1 and set(runs.loc[trained.runs, "role"]) <= {"compared"}
    output = capsys.readouterr().out
    assert "3 of 3 runs agree with the published scores; 3 have the same scores to the last digit." in output
    assert output.count("  same\n") == 6
    before = (here / "out" / published_tables.FILE).read_bytes()
    assert status("small", "--out", "out", "--runs", "3", "--device", "cpu") == 0
    assert len(trained.runs) == 1 and (here / "out" / published_tables.FILE).read_bytes() == before
    assert {path.name for path in (here / "out" / "runs").iterdir()} <= set(runs.index)


def test_a_changed_score_is_outside(here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    made = pd.read_csv(here / "out" / published_tables.FILE).set_index("architecture")["run"]
    first = str(made.loc[["decoder"]].iloc[0])  # which has no score of 0
    change(here, "scores", "value", lambda frame: frame["value"].where(frame["run"] != first, frame["value"] / 2))
    assert status("small", "--out", "out", "--runs", "2", "--device", "cpu") == 1
    output, _ = capsys.readouterr()
    assert trained.runs == [] and output.count("  outside\n") == 2
    assert "1 of 2 runs agree with the published scores; 1 has the same scores to the last digit." in output
    assert "Of equal settings on equal machines, scores may differ by 1% of the metric's range." in output


def test_the_other_seeds_tell_a_changed_score_where_the_machine_differs() -> None:
    others = [29.0, 30.5, 31.0, 29.5]
    changed = analysis.judged(BUILTIN["bleu"], 50.0, 30.0, others, alike=False)
    assert changed["verdict"] == "outside" and changed["lower"] < 30 < changed["upper"] < 50
    assert changed["difference"] == -20 and 0 < changed["most"] < 10
    honest = analysis.judged(BUILTIN["bleu"], 30.4, 29.6, others, alike=False)
    assert honest["verdict"] == "within" and honest["seeds"] == 4 and honest["mean"] == 30.0
    assert analysis.judged(BUILTIN["bleu"], 30.4, 50.0, others, alike=False)["verdict"] == "outside"
    assert analysis.judged(BUILTIN["bleu"], 30.4, 30.4, others, alike=False)["verdict"] == "same"


@pytest.mark.parametrize("others", [[], [30.0], [10.0, 30.0, 50.0]])
def test_where_all_is_alike_the_published_score_alone_decides(others: list[float]) -> None:
    words = [
        analysis.judged(BUILTIN["bleu"], score, 30.0, others, alike=True)["verdict"]
        for score in (30.0, 30.5, 32.0, 50.0)
    ]
    assert words == ["same", "within", "outside", "outside"]


def test_an_honest_further_seed_is_rarely_outside() -> None:
    values = np.random.default_rng(0).normal(30.0, 2.0, (1_000, 6))
    words = [analysis.judged(BUILTIN["bleu"], row[0], row[1], list(row[2:]), alike=False)["verdict"] for row in values]
    assert 0.03 < words.count("outside") / len(words) < 0.12  # two comparisons of 95% each


def test_few_other_seeds_give_no_interval(here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    first = pd.read_csv(here / "out" / published_tables.FILE)["run"].iloc[0]
    change(here, "runs", "status", lambda frame: frame["status"].where(frame["run"] == first, "failed"))
    assert status("small", "--out", "out", "--device", "cpu") == 0
    assert "1 of 1 runs agree" in capsys.readouterr().out
    change(here, "environment", "value", lambda frame: frame["value"].where(frame["key"] != "torch", "1.0"))
    change(here, "scores", "value", lambda frame: frame["value"] + 0.5)
    assert status("small", "--out", "out", "--device", "cpu") == 0
    output = capsys.readouterr().out
    assert output.count("  no interval\n") == 2 and "0 of 1 runs agree" in output
    assert "Fewer than two other seeds give no interval: only an equal score would agree." in output


def test_what_differs_is_told_and_the_run_is_trained(
    here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    first = pd.read_csv(here / "out" / published_tables.FILE)["run"].iloc[0]
    change(here, "runs", "precision", lambda frame: frame["precision"].where(frame["run"] != first, "bf16"))
    assert status("small", "--out", "out", "--runs", "1", "--device", "cpu") == 0
    assert "precision: bf16 there, float32 here" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("recorded", ["float32", "bf16"])
def test_float32_stays_where_this_machine_would_choose_bf16(
    place: Path, plans: list[ReproducedRun], monkeypatch: pytest.MonkeyPatch, recorded: str
) -> None:
    monkeypatch.setattr(machine, "multiplies_bf16", lambda: True)
    experiment = spec.from_dict(
        {**EXPERIMENT, "training": {**EXPERIMENT["training"], "precision": "auto"}}, folder=place
    )
    first = plans[0].published
    run = replace(first, row={**first.row, "precision": recorded})
    narrowed, setting = published.narrowed(experiment, [run]), RunOptions(device="cpu", jobs=1)
    with compare.checked_architectures(narrowed, setting, lambda line: None) as architectures:
        matrix, _, _ = compare.planned(narrowed, place / recorded, setting, lambda line: None, architectures)
    [item] = published.reproduced(matrix, experiment, [run])
    assert item.plan.precision == recorded


def test_another_version_of_the_numerics_is_known_by_the_name_of_the_run(
    place: Path, plans: list[ReproducedRun]
) -> None:
    first, *_ = plans
    numerics = first.plan.identity()["numerics"]
    name = first.plan.named({**first.plan.identity(), "numerics": numerics - 1})
    [older] = planned(place, [replace(first.published, run=name)])
    assert older.differences == (f"numerics: version {numerics - 1} there, {numerics} here",)
    [unknown] = planned(place, [replace(first.published, run="pairs-another-name")])
    assert len(unknown.differences) == 1 and unknown.differences[0].startswith("code: ")


def test_a_budget_in_seconds_is_the_tokens_that_were_read(place: Path, plans: list[ReproducedRun]) -> None:
    values = {**EXPERIMENT, "budget": {"parameters": 20_000, "seconds": 5.0, "match": ["seconds"]}}
    values = {key: value for key, value in values.items() if key not in ("conditions", "controls")}
    experiment = spec.from_dict(values, folder=place)
    first = plans[0].published
    run = replace(first, match="seconds", condition="", row={**first.row, "planned_tokens": 1_234})
    narrowed, setting = published.narrowed(experiment, [run]), RunOptions(device="cpu", jobs=1)
    with compare.checked_architectures(narrowed, setting, lambda line: None) as architectures:
        matrix, _, _ = compare.planned(narrowed, place / "seconds", setting, lambda line: None, architectures)
    [item] = published.reproduced(matrix, experiment, [run])
    assert item.plan.tokens == 1_234 and not (place / "seconds" / "calibration.json").exists()


def test_a_failed_run_is_told_and_status_1(here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    trained.failing = "pairs"
    assert status("small", "--out", "new", "--runs", "1", "--device", "cpu") == 1
    output, errors = capsys.readouterr()
    assert "  failed\n" in output and "0 of 1 runs agree" in output
    assert [line.split(" failed: ")[1] for line in errors.splitlines() if line.startswith("archbench: ")]


def test_an_interruption_gives_no_verdict(here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    trained.signal = 2
    assert status("small", "--out", "new", "--runs", "2", "--device", "cpu") == 130
    output, errors = capsys.readouterr()
    assert output == "" and "interrupted; 2 of 2 runs are unfinished; run the same command again" in errors
    assert not (here / "new" / published_tables.FILE).exists()


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a wrong call says."""
    assert status(*arguments) == 2
    output, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if line.startswith("archbench: ")]
    assert output == "" and len(lines) == 1 and "Traceback" not in errors
    return lines[0]


def test_changed_data_are_refused(here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    path = here / "pairs.tsv"
    path.write_text(path.read_text().replace("7 red", "7 blue"))
    line = mistake(capsys, "small", "--out", "new", "--device", "cpu")
    assert line.startswith("archbench: pairs: the data or their tokens are not the published ones (digest ")
    assert trained.runs == [] and not (here / "new").exists()
    path.unlink()
    assert "pairs.tsv" in mistake(capsys, "small", "--out", "new", "--device", "cpu")


def test_an_architecture_that_no_longer_exists_is_refused(
    here: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    change(here, "runs", "architecture", "old-decoder")
    line = mistake(capsys, "small", "--out", "new", "--device", "cpu")
    assert 'no architecture is called "old-decoder"' in line and trained.runs == []


def test_each_mistake_is_one_line_and_status_2(
    here: Path, trained: Trained, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "empty").mkdir()
    assert "empty: no tables here" in mistake(capsys, "empty")
    assert "reproduce: nowhere: no such folder" in mistake(capsys, "nowhere")
    assert '--runs: "0": expected a whole number' in mistake(capsys, "small", "--runs", "0")
    assert '--runs: "many": expected a whole number' in mistake(capsys, "small", "--runs", "many")
    assert '"tpu"' in mistake(capsys, "small", "--device", "tpu")
    assert "holds another comparison" in mistake(capsys, "small", "--out", str(place / "whole"))
    assert "holds the published tables" in mistake(capsys, "small", "--out", "small")
    change(here, "experiment", "value", lambda frame: frame["value"].where(frame["key"] != "specification", "{}"))
    assert "has no specification" in mistake(capsys, "small")
    change(here, "experiment", "value", lambda frame: frame["value"].where(frame["value"] != "{}", '{"a": 1}'))
    assert "this archbench cannot read the specification" in mistake(capsys, "small")
    change(here, "runs", "status", "unfinished")
    assert "no finished run with scores" in mistake(capsys, "small")
    (here / "small" / "tables" / "runs.parquet").write_bytes(b"PAR1")
    assert "cannot be read as Parquet" in mistake(capsys, "small")
    assert trained.runs == []


def test_python_returns_the_table_and_raises_where_compare_does(here: Path, trained: Trained) -> None:
    rows = archbench.reproduce(here / "small", "out", runs=2, device="cpu")
    assert rows["verdict"].tolist() == pd.read_csv(here / "out" / published_tables.FILE)["verdict"].tolist()
    with pytest.raises(ValueError, match="--runs"):
        archbench.reproduce(here / "small", "out", runs=0)
    trained.signal = 2
    with pytest.raises(KeyboardInterrupt):
        archbench.reproduce(here / "small", "new", runs=1, device="cpu")


def test_the_choice_spreads_over_data_sets_and_architectures_and_is_always_the_same() -> None:
    source = opening.read(REFERENCE, "reference")
    first = [row["run"] for row in analysis.choose(source, None)]
    frames = source.tables.items()
    shuffled = {name: frame.sample(frac=1, random_state=1).reset_index(drop=True) for name, frame in frames}
    again = analysis.choose(replace(source, tables=shuffled), None)
    assert [row["run"] for row in again] == first and len(set(first)) == len(first) == 72
    three = analysis.choose(source, 3)
    assert [row["run"] for row in three] == first[:3]
    assert len({row["dataset"] for row in three[:2]}) == 2 and len({row["architecture"] for row in three}) == 3
    costs = {row["run"]: row["cost"] for row in analysis.choose(source, None) if row["role"] == "compared"}
    assert costs[first[0]] == min(costs.values())


def test_a_control_on_half_the_budget_needs_no_condition_of_that_share(tmp_path: Path) -> None:
    experiment = spec.from_dict({**EXPERIMENT, "conditions": []}, folder=tmp_path)
    place = ("half", "pairs", "", "parameters", "control", "decoder, half the budget", 0.5)
    run = PublishedRun(*place, seed=0, variant="decoder", row={}, environment={}, data="")
    [condition] = published.narrowed(experiment, [run]).conditions
    assert (condition.share, condition.architectures, condition.seeds) == (0.5, ("decoder",), (0,))


def test_controls_come_last_and_trials_never(place: Path) -> None:
    roles = [row["role"] for row in analysis.choose(opening.read(place / "small", "small"), None)]
    assert roles == sorted(roles, key=["compared", "share", "control"].index) and roles[-1] == "control"


def test_the_interval_holds_one_further_seed_with_its_probability() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, (4_000, 5))
    intervals = [prediction_interval(row[:4]) for row in values]
    inside = [interval.lower <= row[4] <= interval.upper for interval, row in zip(intervals, values, strict=True)]
    assert abs(float(np.mean(inside)) - 0.95) < 0.011  # three standard errors
    by_hand = 12.7062 * math.sqrt(2) * math.sqrt(1.5)  # t of one degree of freedom
    assert prediction_interval(np.array([1.0, 3.0])).half_width == pytest.approx(by_hand, rel=1e-5)
    assert not prediction_interval(np.array([1.0])).known


def test_what_starts_from_a_pretraining_is_pretrained_again_first(
    tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    folder = tiny_runs.write_data(tmp_path / "data")
    text = {"data": "things.txt", "vocabulary": 300, "context": 24, "test_examples": 4, "architectures": ["decoder"]}
    labels = {"kind": "classification", "data": "things.tsv", "source_length": 8, "test_examples": 20}
    values = {
        **{key: EXPERIMENT[key] for key in ("name", "model", "seeds", "budget")},
        "architectures": ["decoder"],
        "training": {"batch_tokens": 250, "precision": "float32", "learning_rate": 0.01},
        "pretraining": [{**text, "name": "causal"}, {**text, "name": "more", "from": "causal"}],
        "tasks": [
            {**labels, "name": "colours", "start": ["scratch", "more"], "examples": [40, "all"]},
            {**labels, "name": "again", "start": "more", "seeds": [0]},
        ],
    }
    monkeypatch.setattr(compare, "_complete_baselines", lambda *_: ())
    experiment = spec.from_dict(values, folder=folder)
    assert compare.run(experiment, tmp_path / "whole", RunOptions(device="cpu", jobs=1), "archbench", str).status == 0
    tables.write(tables.collect(tmp_path / "whole"), tmp_path / "small" / "tables")
    whole, trained.runs = set(trained.runs), []
    monkeypatch.chdir(folder)
    assert status(str(tmp_path / "small"), "--out", str(tmp_path / "new"), "--runs", "all", "--device", "cpu") == 0
    output, errors = capsys.readouterr()
    assert "pretraining first: causal\n" in errors and "pretraining first: more\n" in errors
    assert set(trained.runs) == whole
    assert "9 of 9 runs agree with the published scores; 9 have the same scores to the last digit." in output
    assert status(str(tmp_path / "small"), "--out", str(tmp_path / "one"), "--runs", "1", "--device", "cpu") == 0
    assert "1 has the same scores to the last digit." in capsys.readouterr().out  # the other task has no run
