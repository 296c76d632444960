"""Contributions of examples average to the recorded score and vary as the score does when examples are drawn again."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from archbench.reports.analysis.contributions import contributions
from archbench.reports.page.publish import without_texts
from archbench.tasks.metrics import builtin, metrics

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def table(examples: int, labels: bool, seed: int = 0) -> pd.DataFrame:
    """References with answers that are right about two times in three."""
    rng = np.random.default_rng(seed)

    def text() -> str:
        return rng.choice(WORDS[:4]) if labels else " ".join(rng.choice(WORDS, 6))

    references = [text() for _ in range(examples)]
    answers = [reference if rng.random() < 0.65 else text() for reference in references]
    columns = {"run": "r", "example": range(examples), "reference": references, "answer": answers}
    return pd.DataFrame(columns | {"log_likelihood": 0.0})


MEASURES: dict[str, tuple[Callable[..., float], bool]] = {
    "macro_f1": (metrics.macro_f1, True),
    "accuracy": (metrics.accuracy, True),
    "bleu": (metrics.bleu, False),
    "chrf": (metrics.chrf, False),
}


def taken_apart(name: str) -> tuple[Callable[..., float], pd.DataFrame, float, "pd.Series[float]"]:
    """The measure, a table of answers, their score and what each example contributed."""
    measure, labels = MEASURES[name]
    rows = table(150, labels)
    score = measure(list(rows["reference"]), list(rows["answer"]))
    [per_example] = contributions({"r": rows}, {"r": score}, name).values()
    return measure, rows, score, per_example


@pytest.mark.parametrize("name", MEASURES)
def test_contributions_average_to_the_score(name: str) -> None:
    _, _, score, per_example = taken_apart(name)
    assert per_example.mean() == pytest.approx(score)
    assert list(per_example.index) == list(range(150))


@pytest.mark.parametrize("name", MEASURES)
def test_their_spread_is_that_of_the_score_over_examples_drawn_again(name: str) -> None:
    measure, rows, _, per_example = taken_apart(name)
    rng, resampled = np.random.default_rng(1), []
    for _ in range(300):
        resample = rows.iloc[rng.integers(0, len(rows), len(rows))]
        resampled.append(measure(list(resample["reference"]), list(resample["answer"])))
    assert per_example.std() / np.sqrt(len(per_example)) == pytest.approx(np.std(resampled), rel=0.15)


def test_a_table_that_holds_a_part_of_the_examples_gives_none() -> None:
    rows = table(150, labels=True)
    score = metrics.macro_f1(list(rows["reference"]), list(rows["answer"]))
    assert contributions({"r": rows.iloc[:60]}, {"r": score}, "macro_f1") == {}
    assert contributions({"r": rows}, {"r": score}, "rouge_l") == {}


def test_what_stands_in_the_table_is_what_an_example_contributes() -> None:
    rows = table(150, labels=False)
    references, answers = list(rows["reference"]), list(rows["answer"])
    score = builtin.text_score("rouge_l", references[:100], answers[:100])
    rows["rouge_l"] = [*score.per_example, *[float("nan")] * 50]  # not all examples were answered
    [per_example] = contributions({"r": rows}, {"r": score.value}, "rouge_l").values()
    assert per_example.to_dict() == pytest.approx(dict(enumerate(score.per_example)))
    assert contributions({"r": rows.iloc[:60]}, {"r": score.value}, "rouge_l") == {}


@pytest.mark.parametrize("name", MEASURES)
def test_a_table_without_texts_gives_the_same(name: str) -> None:
    """Published tables have no texts: what each answer contributes to a corpus score is a column of theirs."""
    _, rows, score, per_example = taken_apart(name)
    scores = pd.DataFrame({"run": ["r"], "split": ["test"], "metric": [name], "value": [score]})
    plain = without_texts({"predictions": rows.assign(source="s"), "scores": scores})["predictions"]
    assert not {"source", "reference", "answer"} & set(plain)
    [recomputed] = contributions({"r": plain}, {"r": score}, name).values()
    assert recomputed.to_numpy() == pytest.approx(per_example.to_numpy(), rel=1e-4, abs=1e-4)
    assert contributions({"r": plain}, {"r": score + 1.0}, name) == {}
