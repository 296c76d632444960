"""Tables hold what the records say, however incomplete those are, and are safe to open."""

import csv
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from archbench.reports.base import tables
from archbench.reports.page import page, summary
from archbench.reports.report import Report
from archbench.runs.store.store import write_record
from archbench.tasks.base.sealed import write_sealed

CONTRACT = {
    "runs": "run experiment architecture family task dataset seed match parameters embedding_parameters train_flops "
    "train_tokens train_loss_tokens steps train_seconds tokens_per_second peak_memory_bytes learning_rate device "
    "status",
    "scores": "run split metric value lower upper n",
    "curves": "run step tokens flops seconds split metric value",
    "predictions": "run example source reference answer log_likelihood",
    "references": "dataset split name metric value",
    "environment": "run key value",
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    synthetic.write_store(tmp_path, [synthetic.single(synthetic.SENTIMENT, seeds=2)])
    return tmp_path


def test_contracted_columns_come_first_in_their_order(store: Path) -> None:
    collected = tables.collect(store)
    for name, columns in CONTRACT.items():
        assert list(collected[name].columns)[: len(columns.split())] == columns.split()
    assert {"inference_flops", "target_parameters", "error"} <= set(collected["runs"].columns)


def test_every_run_score_and_prediction_is_there(store: Path) -> None:
    collected = tables.collect(store)
    planned = json.loads((store / "experiment.json").read_text())["runs"]
    assert list(collected["runs"]["run"]) == planned
    assert (collected["predictions"].groupby("run").size() == synthetic.SENTIMENT.examples).all()
    assert set(collected["scores"]["run"]) == set(planned)
    assert list(collected["references"]["name"]) == ["majority", "tfidf_logistic", "untrained"]


def test_written_tables_read_back_the_same(store: Path) -> None:
    tables.write(tables.collect(store), store / "tables")
    once = tables.read(store / "tables")
    tables.write(once, store / "again")
    for name, frame in tables.read(store / "again").items():
        pd.testing.assert_frame_equal(frame, once[name])
        assert (store / "again" / f"{name}.csv").read_bytes() == (store / "tables" / f"{name}.csv").read_bytes()


def test_formulas_are_escaped_in_csv_and_plain_in_parquet(store: Path) -> None:
    run = next((store / "runs").iterdir())
    answers = ['=HYPERLINK("http://x")', "+1", "-2", "@x", "\tx", "\rx", "plain", "a\nb", 'quo"te,']
    frame = pd.read_parquet(run / "predictions.parquet").head(len(answers)).assign(answer=answers)
    frame.to_parquet(run / "predictions.parquet")
    tables.write(tables.collect(store), store / "tables")
    with open(store / "tables" / "predictions.csv", newline="", encoding="utf-8") as file:
        written = [row for row in csv.DictReader(file) if row["run"] == run.name]
    assert [row["answer"] for row in written] == ["'" + text for text in answers[:6]] + answers[6:]
    assert all(not row["log_likelihood"].startswith("'") for row in written)
    read = tables.read(store / "tables")["predictions"]
    assert list(read.loc[read["run"] == run.name, "answer"]) == answers


def test_a_run_that_never_started_is_unfinished(store: Path) -> None:
    run = sorted(path.name for path in (store / "runs").iterdir())[0]
    (store / "runs" / run / "record.json").unlink()
    rows = tables.collect(store)["runs"].set_index("run")
    assert rows.loc[run, "status"] == "unfinished"
    assert rows.loc[run, "dataset"] == "sentiment"


@pytest.mark.parametrize("content", [None, b'{"half'])
def test_without_a_record_the_plan_says_which_run_it_was(store: Path, content: bytes | None) -> None:
    run = sorted(path.name for path in (store / "runs").iterdir())[0]
    columns = ["experiment", "architecture", "family", "task", "dataset", "seed", "match", "target_parameters"]
    before = tables.collect(store)["runs"].set_index("run").loc[run, columns].to_dict()
    path = store / "runs" / run / "record.json"
    path.unlink() if content is None else path.write_bytes(content)
    after = tables.collect(store)["runs"].set_index("run").loc[run]
    assert after[columns].to_dict() == before
    assert after["status"] == ("unfinished" if content is None else "failed")


def test_the_labels_of_this_experiment_prevail_over_those_recorded(store: Path) -> None:
    first, second, *_ = json.loads((store / "experiment.json").read_text())["runs"]
    experiment = json.loads((store / "experiment.json").read_text())
    labels = {"experiment": "another", "match": "parameters,flops", "target_parameters": 123}
    synthetic.write_json(store / "experiment.json", experiment | {"rows": {first: labels, second: None}})
    rows = tables.collect(store)["runs"].set_index("run")
    assert rows.loc[first, list(labels)].to_dict() == labels
    assert rows.loc[second, "match"] == "parameters"
    assert rows.loc[first, "status"] == "done"


@pytest.mark.parametrize("name", ["record.json", "scores.json", "environment.json", "predictions.parquet"])
def test_a_damaged_file_is_told_and_stops_nothing(store: Path, name: str) -> None:
    run = sorted(path.name for path in (store / "runs").iterdir())[0]
    (store / "runs" / run / name).write_bytes(b'{"half')
    rows = tables.collect(store)["runs"].set_index("run")
    assert f"{name}: damaged" in rows.loc[run, "error"]


def test_runs_outside_the_plan_are_left_out(store: Path) -> None:
    experiment = json.loads((store / "experiment.json").read_text())
    synthetic.write_json(store / "experiment.json", experiment | {"runs": [*experiment["runs"][:3], "../../etc"]})
    collected = tables.collect(store)
    assert list(collected["runs"]["run"]) == [*experiment["runs"][:3], "../../etc"]
    assert collected["scores"]["run"].nunique() == 3


def test_values_that_utf8_or_a_column_cannot_hold_do_not_stop_the_tables(store: Path) -> None:
    runs = json.loads((store / "experiment.json").read_text())["runs"]
    synthetic.change_record(store, runs[0], architecture="lone \ud800 half", seed="x", notes={"a": [1]}, odd=True)
    synthetic.change_record(store, runs[1], parameters=None, train_flops=float("nan"), notes="text", odd=3)
    tables.write(tables.collect(store), store / "tables")
    assert len(tables.read(store / "tables")["runs"]) == len(runs)


def test_a_folder_without_an_experiment_is_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no experiment here"):
        tables.collect(tmp_path)
    with pytest.raises(ValueError, match="no tables here"):
        tables.read(tmp_path)


@pytest.mark.parametrize("write", [tables.write_csv, tables.write_parquet])
def test_a_table_that_cannot_get_its_name_leaves_nothing_and_is_named(
    tmp_path: Path, write: Callable[[pd.DataFrame, Path], object]
) -> None:
    path = tmp_path / "runs.csv"
    path.mkdir()
    with pytest.raises(OSError) as error:
        write(pd.DataFrame({"a": [1]}), path)
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_of_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (tables.write_csv, tables.write_parquet):
        with pytest.raises(OSError, match="No space left"):
            write(pd.DataFrame({"a": [1]}), tmp_path / "runs")
        assert not list(tmp_path.iterdir())


def test_an_experiment_that_says_little_of_itself_has_a_page(tmp_path: Path) -> None:
    synthetic.write_json(tmp_path / "experiment.json", {"schema": 1, "runs": [], "name": "n", "command": "c"})
    assert "Made by archbench of unknown version" in page.render(Report(tables.collect(tmp_path)), [])


def test_records_of_a_newer_schema_are_refused(store: Path) -> None:
    synthetic.write_json(store / "experiment.json", {"schema": 99})
    with pytest.raises(ValueError, match="schema 99"):
        tables.collect(store)


def test_changed_references_are_left_out(store: Path) -> None:
    path = next((store / "references").iterdir())
    rows = json.loads(path.read_text())
    write_sealed(path, rows)
    references = tables.collect(store)["references"]
    assert len(references) >= len(rows)
    path.write_text(path.read_text().replace("0.", "1.", 1))
    collected = tables.collect(store)
    assert len(collected["references"]) == len(references) - len(rows)
    message = f"Not used, because changed since they were written: references/{path.name}."
    tables.write(collected, store / "tables")
    judged = Report(tables.read(store / "tables"))
    assert message in page.render(judged, []) and message in summary.sentences(judged)


def test_a_finished_run_whose_scores_changed_is_left_out_and_told(store: Path) -> None:
    run = next(path for path in sorted((store / "runs").iterdir()) if (path / "scores.json").exists())
    write_record(run, json.loads((run / "record.json").read_text()))
    (run / "scores.json").write_text((run / "scores.json").read_text().replace("0.", "1.", 1))
    collected = tables.collect(store)
    row = collected["runs"].set_index("run").loc[run.name]
    assert row["status"] == "failed" and row["error"] == "scores.json: damaged, cannot be read"
    assert run.name not in set(collected["scores"]["run"])


def test_a_finished_run_without_a_seal_in_a_sealed_experiment_is_left_out(store: Path) -> None:
    run = next(path for path in sorted((store / "runs").iterdir()) if (path / "scores.json").exists())
    write_sealed(store / "experiment.json", json.loads((store / "experiment.json").read_text()))
    for folder in (store / "runs").iterdir():
        write_record(folder, json.loads((folder / "record.json").read_text()))
    assert run.name in set(tables.collect(store)["scores"]["run"])
    (run / "manifest.json").unlink()
    collected = tables.collect(store)
    assert collected["runs"].set_index("run").loc[run.name, "error"] == "manifest.json: damaged, cannot be read"
    assert run.name not in set(collected["scores"]["run"])
