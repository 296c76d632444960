"""Summarization from a table of texts to the page: three families, ROUGE, the lead row, predict, export, publish."""

import csv
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import archbench
from archbench import command_line
from archbench.reports.base import tables as report_tables
from archbench.reports.page import publish as publishing
from archbench.runs.export import export
from archbench.tasks.base import sealed
from archbench.tasks.metrics.builtin import TEXTS

EXPERIMENT = """
name = "news"
architectures = ["decoder", "encoder", "encoder-decoder"]
[budget]
parameters = 20_000
tokens = 8_000
[model]
width = 32
[training]
batch_tokens = 800
learning_rate = 0.01
precision = "float32"
[[tasks]]
kind = "summarization"
name = "weather"
data = { train = "weather.csv", test = "test.csv" }
columns = { text = "article" }
tokenizer = "word"
vocabulary = 100
source_length = 40
target_length = 8
test_examples = 12
"""
ROUGE = ("rouge_1", "rouge_2", "rouge_l")


def article(chosen: random.Random) -> tuple[str, str]:
    """A report in three sentences, and what it says."""
    place, sky = chosen.choice(["Lyon", "Köln", "Wien", "Riga"]), chosen.choice(["rain", "snow", "été", "fog"])
    day, degrees = chosen.choice(["Monday", "Tuesday", "Friday"]), chosen.randint(1, 30)
    text = f"There was {sky} in {place} on {day}. It had {degrees} degrees. Nobody, said a witness, minded much."
    return text, f"{sky} in {place}"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of the experiment and of its comparison."""
    folder = tmp_path_factory.mktemp("news")
    chosen = random.Random(0)
    for name, count in (("weather.csv", 300), ("test.csv", 20)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("article", "summary"), *(article(chosen) for _ in range(count))])
    (folder / "news.toml").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ARCHBENCH_CACHE", str(folder / "cache"))
        archbench.compare(str(folder / "news.toml"), out=folder / "out", jobs=1)
    return folder, folder / "out"


def read(out: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(out / "tables" / f"{name}.parquet")


def test_every_family_is_scored_by_rouge_and_likelihood(compared: tuple[Path, Path]) -> None:
    runs, scores = read(compared[1], "runs"), read(compared[1], "scores")
    assert set(runs["family"]) == {"decoder", "encoder", "encoder-decoder"}
    assert set(runs["status"]) == {"done"} and set(runs["task"]) == {"summarization"}
    for run in runs["run"]:
        rows = scores[(scores["run"] == run) & (scores["split"] == "test")].set_index("metric")
        assert {*ROUGE, "bits_per_byte", "nll_per_token", "perplexity"} <= set(rows.index)
        assert not {"exact_match", "bleu", "chrf"} & set(rows.index)
        assert (rows["n"] == 12).all() and (rows["lower"] <= rows["value"]).all()


def test_scores_follow_from_the_recorded_answers(compared: tuple[Path, Path]) -> None:
    scores, predictions = read(compared[1], "scores"), read(compared[1], "predictions")
    for run, rows in predictions.groupby("run"):
        by_metric = scores[(scores["run"] == run) & (scores["split"] == "test")].set_index("metric")["value"]
        for name in ROUGE:
            assert by_metric[name] == pytest.approx(TEXTS[name].value(list(rows["reference"]), list(rows["answer"])))
            assert by_metric[name] == pytest.approx(rows[name].mean())


def test_the_beginning_of_the_source_is_the_classical_row(compared: tuple[Path, Path]) -> None:
    rows = read(compared[1], "references").query("split == 'test'")
    named = {name: set(group["metric"]) for name, group in rows.groupby("name")}
    assert all(named[name] == set(ROUGE) for name in ("lead", "copy", "nearest"))
    assert named["ngram"] == named["lzma"] == {"bits_per_byte"} and "untrained" in named
    lead, predictions = rows[(rows["name"] == "lead") & (rows["metric"] == "rouge_1")], read(compared[1], "predictions")
    first = predictions[predictions["run"] == predictions["run"].iloc[0]]
    beginnings = [" ".join(text.split()[:3]) for text in first["source"]]  # three words, as the summaries have
    assert lead["value"].item() == pytest.approx(TEXTS["rouge_1"].value(list(first["reference"]), beginnings))


def test_the_page_is_headed_by_rouge_and_says_how_it_was_computed(compared: tuple[Path, Path]) -> None:
    page = (compared[1] / "report" / "index.html").read_text(encoding="utf-8")
    assert "weather</" in page and "ROUGE-L" in page and "(summarization)" in page
    assert "beginning of the source" in page and "copy the source" in page
    assert "signature words:unicode|stem:no|first:1000|version:" in page
    assert "Encoder-decoder: good for summarization" in page
    [row] = read(compared[1], "datasets").to_dict("records")
    assert (row["kind"], row["primary"]) == ("summarization", "rouge_l")


def test_published_reports_keep_what_single_summaries_scored(compared: tuple[Path, Path]) -> None:
    frames = report_tables.read(compared[1] / "tables")
    published = publishing.without_texts(frames)["predictions"]
    assert set(ROUGE) <= set(published) and not {"source", "reference", "answer"} & set(published)
    assert np.allclose(published["rouge_l"], frames["predictions"]["rouge_l"])


def test_summaries_carry_no_mark_of_right_and_wrong(compared: tuple[Path, Path]) -> None:
    from archbench.reports.base.declared import one_answer
    from archbench.reports.page.elements.samples import samples
    from archbench.reports.results.comparisons import Comparisons

    frames = report_tables.read(compared[1] / "tables")
    [group] = Comparisons(frames).groups
    examples = samples(frames["predictions"], group, one_answer(frames, group.dataset)).examples
    assert examples and {answer.mark for example in examples for answer in example.answers} == {""}


def test_predict_summarizes_and_export_says_so(
    compared: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = next((compared[1] / "runs").glob("*-decoder-s0-*"))
    rows = pd.read_parquet(run / "predictions.parquet")
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["predict", str(run), rows["source"][0]])
    assert stopped.value.code == 0 and capsys.readouterr().out.strip() == rows["answer"][0].strip()
    export.export(run, tmp_path / "exported")
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    assert "summarize a text" in card and "rouge_l" in card and "lead 0." in card


def test_a_dry_run_by_kind_plans_without_training(
    compared: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = compared
    monkeypatch.setenv("ARCHBENCH_CACHE", str(folder / "cache"))
    command = ["compare", str(folder / "news.toml"), "--tasks", "summarization", "--out", str(folder / "dry")]
    with pytest.raises(SystemExit) as stopped:
        command_line.main([*command, "--dry-run"])
    assert stopped.value.code == 0
    assert "3 runs: about" in capsys.readouterr().out and not (folder / "dry").exists()


def test_records_hold_no_more_than_their_columns(compared: tuple[Path, Path]) -> None:
    for run in (compared[1] / "runs").iterdir():
        rows = sealed.read_json(run / "scores.json")
        assert all(set(row) == {"run", "split", "metric", "value", "lower", "upper", "n"} for row in rows)
