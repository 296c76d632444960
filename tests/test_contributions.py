"""What each example contributes to a score: recorded beside the predictions, read by the report, never scored again."""

import numpy as np
import pandas as pd
import pytest

from archbench.reports.base.predictions import contributions, of_runs
from archbench.reports.base.tables import Tables, completed
from archbench.reports.page.publish import without_texts
from archbench.tasks.metrics.builtin import TEXTS
from archbench.tasks.metrics.metric import Metric

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
LABELS = ("accuracy", "macro_f1")


def older(name: str, examples: int = 150) -> tuple[Tables, float]:
    """Tables of a run that recorded texts alone, answers right about two times in three; its score by a metric."""
    rng = np.random.default_rng(0)

    def text() -> str:
        return str(rng.choice(WORDS[:4]) if name in LABELS else " ".join(rng.choice(WORDS, 6)))

    references = [text() for _ in range(examples)]
    answers = [reference if rng.random() < 0.65 else text() for reference in references]
    score = TEXTS[name].value(references, answers)
    columns = {"run": "r", "example": range(examples), "reference": references, "answer": answers}
    scores = pd.DataFrame({"run": ["r"], "split": ["test"], "metric": [name], "value": [score]})
    return {"predictions": pd.DataFrame(columns | {"log_likelihood": 0.0}), "scores": scores}, score


@pytest.mark.parametrize("name", TEXTS)
def test_tables_of_older_runs_get_what_runs_record_now(name: str) -> None:
    given, score = older(name)
    rows = completed(given)["predictions"]
    recorded = TEXTS[name].score(list(rows["reference"]), list(rows["answer"])).per_example
    assert tuple(rows[name] if TEXTS[name].recorded else ()) == recorded
    assert rows["bytes"].tolist() == [len(text) for text in rows["reference"]]
    assert rows["correct"].tolist() == (rows["reference"] == rows["answer"]).tolist()
    [per_example] = contributions({"r": rows}, {"r": score}, name).values()
    assert per_example.mean() == pytest.approx(score) and list(per_example.index) == list(range(150))


def test_examples_without_an_answer_contribute_nothing() -> None:
    given, _ = older("chrf")
    given["predictions"].loc[100:, "answer"] = None
    rows = completed(given)["predictions"]
    assert rows["chrf"].notna().tolist() == rows["correct"].notna().tolist() == [True] * 100 + [False] * 50


@pytest.mark.parametrize("name", TEXTS)
def test_recorded_tables_are_never_scored_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given, score = older(name)
    tables = completed(given)
    monkeypatch.delattr(Metric, "_sums")
    again = completed(tables)["predictions"]
    pd.testing.assert_frame_equal(again, tables["predictions"], check_dtype=False)  # whole numbers become integers
    assert len(contributions({"r": again}, {"r": score}, name)) == 1


@pytest.mark.parametrize("name", TEXTS)
def test_a_part_of_the_examples_gives_none(name: str) -> None:
    given, score = older(name)
    rows = completed(given)["predictions"]
    assert contributions({"r": rows.iloc[:60]}, {"r": score}, name) == {}
    assert contributions({"r": rows}, {"r": score}, "stored_bits") == {}


@pytest.mark.parametrize("name", TEXTS)
def test_published_tables_give_the_same_without_texts(name: str) -> None:
    given, score = older(name)
    tables = completed(given)
    plain = without_texts(tables)["predictions"]
    assert not {"source", "reference", "answer"} & set(plain)
    published = completed({"predictions": plain, "scores": given["scores"]})["predictions"]
    [expected] = contributions({"r": tables["predictions"]}, {"r": score}, name).values()
    [per_example] = contributions({"r": published}, {"r": score}, name).values()
    assert per_example.to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-4, abs=1e-4)
    assert contributions({"r": published}, {"r": score + 1.0}, name) == {}


@pytest.mark.parametrize("name", ["bleu", "chrf", "macro_f1", "wer", "per", "edit_distance"])
def test_another_task_before_it_changes_nothing(name: str) -> None:
    """The first run of a comparison may be of a task without this metric."""
    given, score = older(name)
    plain = without_texts(completed(given))["predictions"]
    other = plain.drop(columns=name).assign(run="first")
    rows = completed({"predictions": pd.concat([other, plain]), "scores": given["scores"]})["predictions"]
    assert len(contributions(of_runs(rows), {"r": score}, name)) == 1


def test_whole_contributions_of_some_examples_are_read() -> None:
    given, _ = older("edit_distance")
    given["predictions"].loc[100:, "answer"] = None
    rows = completed(completed(given))["predictions"]
    score = float(rows["edit_distance"].mean())
    [per_example] = contributions({"r": rows}, {"r": score}, "edit_distance").values()
    assert len(per_example) == 100 and per_example.mean() == pytest.approx(score)
