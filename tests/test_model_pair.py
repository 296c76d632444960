"""`archbench test`: the paired test of two models on the same examples."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from scipy.stats import ttest_rel

from archbench import command_line
from archbench.reports.contrasts.model_pair import METRICS, Predictions, compared
from archbench.tasks.metrics.builtin import BUILTIN

WORDS = [
    "the red house stands here",
    "a blue car drives on",
    "two small birds sing loudly",
    "nobody has seen him today",
]


def answers(right: float, seed: int, count: int = 60) -> Predictions:
    """Answers of which a share is right, the others with a word exchanged."""
    random = np.random.default_rng(seed)
    references = [WORDS[n % len(WORDS)] for n in range(count)]
    wrong = random.random(count) >= right
    given = [
        " ".join(["wrong", *text.split()[1:]]) if bad else text for text, bad in zip(references, wrong, strict=True)
    ]
    random_nats = -random.uniform(1, 9, count)
    table = {"example": range(count), "reference": references, "answer": given, "log_likelihood": random_nats}
    return Predictions(f"{right}.csv", pd.DataFrame({**table, "bytes": [len(text) for text in references]}))


def test_a_share_of_right_answers_has_the_paired_t_test() -> None:
    first, second = answers(0.9, 0), answers(0.6, 1)
    pair = compared(first, second, "exact_match")
    right = [(model.rows["reference"] == model.rows["answer"]).to_numpy(dtype=float) for model in (first, second)]
    assert pair.contrast.p == pytest.approx(ttest_rel(*right).pvalue, rel=1e-9) and pair.contrast.p < 0.05
    assert pair.contrast.difference.mean == pytest.approx(right[0].mean() - right[1].mean())


@pytest.mark.parametrize("name", METRICS)
def test_the_difference_is_that_of_the_scores_and_turns_with_the_sides(name: str) -> None:
    first, second = answers(0.9, 0), answers(0.6, 1)
    pair = compared(first, second, name)
    tested, turned = pair.contrast, compared(second, first, name).contrast
    assert tested.difference.mean == pytest.approx(BUILTIN[name].gain(pair.scores[0] - pair.scores[1]))
    assert turned.difference.mean == pytest.approx(-tested.difference.mean) and turned.p == pytest.approx(tested.p)
    assert tested.difference.lower < tested.difference.mean < tested.difference.upper
    same = compared(first, first, name).contrast
    assert (same.difference.mean, same.p) == (0.0, 1.0)


def test_the_outcome_is_that_of_the_report_at_the_usual_margin_of_the_metric() -> None:
    """Of 5,000 examples 3 are different: a difference far below the margin of two points."""
    first, second = answers(0.9, 0, 5000), answers(0.9, 0, 5000)
    second.rows.loc[first.rows.index[:3], "answer"] = "another text"
    equal, better = (
        compared(first, second, "exact_match").contrast,
        compared(first, answers(0.6, 1, 5000), "exact_match"),
    )
    assert (equal.outcome, equal.margin, better.contrast.outcome) == ("equal", BUILTIN["exact_match"].margin, "ahead")
    few = compared(answers(0.9, 0), answers(0.85, 1), "exact_match").contrast
    assert few.outcome == "open" and few.p > 0.05


def test_only_shared_examples_count(tmp_path: Path) -> None:
    first, second = answers(0.9, 0), answers(0.6, 1)
    part = Predictions("part", second.rows[second.rows["example"] >= 20])
    pair = compared(first, part, "exact_match")
    assert (pair.examples, pair.only) == (40, (20, 0))
    rest = Predictions("rest", first.rows[first.rows["example"] >= 20])
    assert pair.contrast.difference == compared(rest, part, "exact_match").contrast.difference


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match=r"^0$"):
        command_line.main(["test", *arguments])
    return capsys.readouterr().out


def test_the_command_reads_csv_files_and_prints_the_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / f"{name}.csv" for name in "ab"]
    models = answers(0.9, 0), answers(0.6, 1)
    models[1].rows.loc[0, "answer"] = "long " * 30_000
    for path, model in zip(paths, models, strict=True):
        model.rows.to_csv(path, index=False)
    text = printed(capsys, *map(str, paths))
    pair = compared(*models, "exact_match")
    assert all(f"{score:.3f}  {path}" in text for score, path in zip(pair.scores, paths, strict=True))
    assert f"+{pair.contrast.difference.mean:.2f} (" in text
    assert f"margin of 0.02: the first better than the second by {pair.contrast.difference.mean:.2f}\n" in text


FAULTS = {
    "a missing column": (
        "example,reference\n1,a\n",
        "",
        "a.csv: no column 'answer'; this metric needs example, reference",
    ),
    "no number": ("example,log_likelihood,bytes\n1,x,3\n", "bits_per_byte", "a.csv: row 2: log_likelihood: 'x'"),
    "no bytes": (
        "example,log_likelihood,bytes\n1,-1,3\n2,-1,0\n",
        "",
        "row 3: bytes: '0': expected a number above 0",
    ),
    "fewer bytes than none": ("example,log_likelihood,bytes\n1,-1,-3\n", "", "a.csv: row 2: bytes: '-3'"),
    "endless bytes": ("example,log_likelihood,bytes\n1,-1,inf\n", "", "a.csv: row 2: bytes: 'inf'"),
    "an impossible text": (
        "example,log_likelihood,bytes\n1,-inf,3\n",
        "",
        "a.csv: row 2: log_likelihood: '-inf': expected a finite number",
    ),
    "other bytes": (
        "example,log_likelihood,bytes\n1,-1,3\n2,-1,4\n",
        "",
        "2 has two different numbers of bytes",
    ),
    "other texts of equal length": (
        "example,reference,log_likelihood,bytes\n1,a,-1,3\n2,b,-1,3\n",
        "",
        "example 2 has two different references",
    ),
    "a longer row": (
        "example,reference,answer\n1,a,b,c\n",
        "",
        "row 2: 4 values, but the header names 3",
    ),
    "a quote left open": ('example,reference,answer\n1,"a,b\n', "", "a.csv: not a CSV file (UTF-8) with a header\n"),
    "a column twice": ("example,answer,answer\n1,a,b\n", "", "a.csv: the header names a column twice"),
    "an example twice": ("example,reference,answer\n1,a,b\n1,a,b\n", "", "a.csv: example 1 occurs twice"),
    "other references": ("example,reference,answer\n1,z,b\n2,a,b\n", "", "example 1 has two different references"),
    "nothing in common": ("example,reference,answer\n8,a,b\n9,a,b\n", "", "share 0 examples; a test needs at least 2"),
    "an unknown metric": ("example,reference,answer\n1,a,b\n", "speed", "--metric: 'speed': expected exact_match"),
    "no file": (None, "", "a.csv: No such file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_compared_is_one_line(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, metric, message = FAULTS[fault]
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("a.csv").write_text(text)
    Path("b.csv").write_text("example,reference,answer,log_likelihood,bytes\n1,a,a,-1.0,3\n2,a,a,-1.0,3\n")
    options = ["--metric", metric] if metric else []
    with pytest.raises(SystemExit, match=r"^2$"):
        command_line.main(["test", "a.csv", "b.csv", *options])
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_bits_per_byte_are_those_of_all_examples_together() -> None:
    first, second = answers(0.9, 0), answers(0.6, 1)
    bits = [-model.rows["log_likelihood"].sum() / math.log(2) / model.rows["bytes"].sum() for model in (first, second)]
    assert compared(first, second, "bits_per_byte").scores == pytest.approx(bits)


def test_where_no_answer_is_right_the_default_is_bits_per_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = {}
    for name, task in {"right": synthetic.SENTIMENT, "none": synthetic.SHAKESPEARE}.items():
        synthetic.write_store(tmp_path / name, [task])
        runs = [str(run) for run in sorted((tmp_path / name / "runs").glob("*-s0-*"))[:2]]
        default, *rest = printed(capsys, *runs).splitlines()
        chosen[name] = default.split()[-1]
        assert rest == printed(capsys, *runs, "--metric", chosen[name]).splitlines()
    assert chosen == {"right": "exact_match", "none": "bits_per_byte"}


def test_runs_are_compared_by_their_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.write_store(tmp_path, [synthetic.SENTIMENT])
    runs = sorted((tmp_path / "runs").glob("sentiment-*-s0-*"))[:2]
    text = printed(capsys, *map(str, runs), "--metric", "accuracy")
    tables = [pd.read_parquet(run / "predictions.parquet") for run in runs]
    shares = [(table["reference"] == table["answer"]).mean() for table in tables]
    assert all(f"{share:.3f}  {run}" in text for share, run in zip(shares, runs, strict=True))


def test_a_run_is_compared_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic.write_store(tmp_path, [synthetic.SENTIMENT])
    run, other = sorted((tmp_path / "runs").glob("sentiment-*-s0-*"))[:2]
    table = pd.read_parquet(other / "predictions.parquet")
    table[["example", "reference", "answer"]].to_csv(tmp_path / "other.csv", index=False)
    by_run, by_file = (
        printed(capsys, str(run), str(second)).replace(str(second), "second")
        for second in (other, tmp_path / "other.csv")
    )
    assert by_run == by_file
