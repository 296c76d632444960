"""Metrics that a task names: from a file, a folder of the evaluate library, by name; computed from kept answers."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from archbench import command_line
from archbench.runs.experiment import spec
from archbench.runs.scoring import task_metrics
from archbench.tasks import Metric
from archbench.tasks.base import fixed_environment
from archbench.tasks.base.errors import InputError
from archbench.tasks.metrics import builtin, evaluate_folders, intervals, registry

MINE = '''"""Metrics of mine."""

DIRECTION = "higher"
RANGE = (0.0, 1.0)


def equal(references, predictions):
    """Share of answers that are right."""
    return sum(a == b for a, b in zip(references, predictions)) / len(references)


def characters(references, predictions):
    return sum(map(len, predictions)) / len(predictions)


characters.direction, characters.range, characters.label = "lower", (0, float("inf")), "letters"
characters.unit = "characters"
equal.margin = 0.1
number = 3
'''
EXPERIMENT = """
name = "mine"
architectures = ["decoder"]
seeds = [0, 1]
[budget]
parameters = 20_000
tokens = 1_000
[model]
width = 32
heads = 4
[training]
batch_tokens = 512
[[tasks]]
data = "pairs.csv"
kind = "translation"
tokenizer = "char"
source_length = 8
target_length = 4
test_examples = 10
metrics = ["mine.py:equal", "mine.py:characters", "rouge_l"]
primary = "equal"
[margins]
characters = 0.5
"""
SCRIPT = """import datasets
import evaluate

DIRECTION = "higher"
RANGE = (0.0, 1.0)


class Same(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description="Equal.", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        share = sum(a == b for a, b in zip(predictions, references)) / len(predictions)
        return {"same": share, "other": 1 - share}
"""
REFERENCES, ANSWERS = ["a b", "c", "d e", "f"] * 10, ["a b", "x", "d", "f"] * 10


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an experiment, its data and its metrics, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    rows = [f"{a}+{b},{a + b}" for a in range(10) for b in range(10)]
    (tmp_path / "pairs.csv").write_text("\n".join(["source,target", *rows]) + "\n")
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "same.py").write_text(SCRIPT.replace('"same": share, "other": 1 - share', '"same": share'))
    return tmp_path


@pytest.fixture
def compare(here: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs the experiment; the exit status and what is said on stderr."""

    def run(*options: str) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command_line.main(["compare", "mine.toml", "--jobs", "1", *options])
        return int(stopped.value.code or 0), capfd.readouterr().err

    return run


def scores() -> pd.DataFrame:
    table = pd.read_parquet("results/mine/tables/scores.parquet")
    return table[table["split"] == "test"].set_index(["metric", "run"])


def trained() -> dict[Path, int]:
    """The weights of every run, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in Path("results/mine/runs").glob("*/model.safetensors")}


def test_the_terminals_table_has_metrics_of_ones_own(
    compare: Callable[..., tuple[int, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    compare("--seeds", "1")
    with pytest.raises(SystemExit):
        command_line.main(["report", "results/mine"])
    head = next(line for line in capfd.readouterr().out.splitlines() if line.startswith("architecture"))
    assert "equal" in head and "letters" in head and "ROUGE" not in head


def test_finished_runs_are_scored_again_and_never_trained_again(
    compare: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, output = compare()
    assert status == 0 and "mine.py:equal: scoring the answers of 2 runs" in output
    table, first = scores(), trained()
    assert len(first) == 2
    for run in table.loc["equal"].index:
        for metric in ("equal", "characters"):
            row = table.loc[(metric, run)]
            assert row["lower"] <= row["value"] <= row["upper"] and row["n"] == 5
        assert table.loc[("equal", run), ["value", "lower", "upper"]].equals(
            table.loc[("exact_match", run), ["value", "lower", "upper"]]
        ), "the same examples are drawn as for other metrics"
    facts = pd.read_parquet("results/mine/tables/metrics.parquet").set_index("metric")
    assert tuple(facts.loc["characters", ["label", "better", "unit", "least"]]) == ("letters", "lower", "characters", 0)
    assert facts.loc["equal", "margin"] == 0.1 and pd.isna(facts.loc["characters", "margin"])
    page = Path("results/mine/report/index.html").read_text()
    assert "letters (characters)" in page and "equal ↑" in page

    assert "scoring" not in compare()[1], "nothing is scored twice"
    path = Path("mine.py")
    path.write_text(MINE.replace("sum(map(len, predictions)) / len(predictions)", "7"))
    status, output = compare()
    assert status == 0 and trained() == first
    assert "mine.py:equal: scoring" in output, "a file is one: what its functions share may have changed"
    assert set(scores().loc["characters", "value"]) == {7}

    toml = Path("mine.toml")
    toml.write_text(EXPERIMENT.replace('"rouge_l"', '"rouge_1", "evaluate:./same"'))
    status, output = compare()
    assert status == 0 and trained() == first and "rouge_1: scoring" in output and "mine.py" not in output
    assert "rouge_1" in scores().index.get_level_values(0) and "rouge_l" not in scores().index.get_level_values(0)
    rows = pd.read_parquet("results/mine/tables/predictions.parquet").groupby("run")["rouge_1"].mean()
    assert rows.to_dict() == pytest.approx(scores().loc["rouge_1", "value"].to_dict()), "what each example contributes"

    same, exact = (scores().loc[metric, ["value", "lower", "upper"]] for metric in ("same", "exact_match"))
    assert same.equals(exact), "a folder of the evaluate library is a metric, with intervals like the rest"

    path.write_text(MINE.replace("sum(map(len, predictions))", "[][3]"))
    monkeypatch.setattr(task_metrics, "check", lambda prepared: None)  # as if the trial had gone well
    toml.write_text(EXPERIMENT)
    status, output = compare()
    assert status == 1 and trained() == first
    assert "mine.py:characters: IndexError: list index out of range; fix it and run the same command again" in output
    names = set(scores().index.get_level_values(0))
    assert "equal" in names and "characters" not in names, "what failed leaves no score of other code"
    path.write_text(MINE)
    assert compare()[0] == 0 and "characters" in scores().index.get_level_values(0)


def test_scores_of_another_run_or_damaged_ones_are_not_used(compare: Callable[..., tuple[int, str]]) -> None:
    compare("--seeds", "1")
    [path] = Path("results/mine/runs").glob("*/metrics.json")
    whole, before = path.read_text(), scores()
    for text in (whole.replace('"value"', '"wrong"', 1), "[]"):
        path.write_text(text)
        with pytest.raises(SystemExit):
            command_line.main(["report", "results/mine"])
        assert "equal" not in scores().index.get_level_values(0)
        assert compare("--seeds", "1")[0] == 0 and json.loads(path.read_text()) == json.loads(whole)
        assert scores().equals(before)


MISTAKES = {
    '"absent.py:equal"': "absent.py: there is no such file",
    '"mine.py:eqal"': 'the file has no "eqal"; did you mean "equal"?',
    '"mine.py:number"': "is a int; expected a function of references and predictions",
    '"mine.py"': 'names no metric; name a function in it, "mine.py:FUNCTION"',
    '"chrff"': 'unknown metric; did you mean "chrf"?',
    '"perplexity"': "is not computed from texts; expected accuracy",
    '"chrf"': '"chrf" is already a metric of translation; remove or rename it',
    '"mine.py:equal", "mine.py:equal"': '"mine.py:equal" is given twice',
    '"mine.py:equal", "other.py:equal"': '"equal" is already the name of "mine.py:equal"; remove or rename it',
    '"bare.py:f"': 'states no direction; write DIRECTION = "higher" in the file, or "lower"',
    '"half.py:f"': "states no range; write RANGE = (0.0, 1.0) in the file",
    '"odd.py:f"': "range: 1 to 0: expected the least and the greatest value",
    '"fails.py:f"': "fails.py:1: fails: ZeroDivisionError: division by zero",
    '"evaluate:./nowhere"': "no metric of the evaluate library there; expected the file",
    '"bare.py:chrf"': '"chrf" is already a metric of translation',
    '"bare.py:rouge_l"': '"rouge_l" is the name of a built-in metric; choose another name',
}
TRIED = {
    '"raises.py:f"': "raises KeyError: 'x' (tried on 5 answers; a model may answer anything)",
    '"text.py:f"': "returned '1.0'; expected a number",
    '"none.py:f"': "returned None; expected a number",
    '"far.py:f"': "returned 2, which is outside of its range, 0 to 1",
    '"leaves.py:f"': "raises SystemExit: 3",
}
STATED = 'DIRECTION = "higher"\nRANGE = (0, 1)\n'
FILES = {
    "other.py": MINE,
    "bare.py": "def f(references, predictions):\n    return 1.0\n\n\nchrf = rouge_l = f\n",
    "half.py": 'DIRECTION = "higher"\n\n\ndef f(references, predictions):\n    return 1.0\n',
    "odd.py": 'DIRECTION = "higher"\nRANGE = (1, 0)\n\n\ndef f(references, predictions):\n    return 1.0\n',
    "fails.py": "1 / 0\n",
    "raises.py": f"{STATED}def f(references, predictions):\n    return {{}}['x']\n",
    "text.py": f"{STATED}def f(references, predictions):\n    return '1.0'\n",
    "none.py": f"{STATED}def f(references, predictions):\n    pass\n",
    "far.py": f"{STATED}def f(references, predictions):\n    return 2\n",
    "leaves.py": f"{STATED}def f(references, predictions):\n    raise SystemExit(3)\n",
}


@pytest.mark.parametrize(("named", "message"), {**MISTAKES, **TRIED}.items())
def test_a_mistake_is_one_line_before_anything_is_trained(
    here: Path, compare: Callable[..., tuple[int, str]], named: str, message: str
) -> None:
    for name, text in FILES.items():
        (here / name).write_text(text)
    text = EXPERIMENT.replace('"mine.py:equal", "mine.py:characters", "rouge_l"', named)
    (here / "mine.toml").write_text(text.replace('primary = "equal"\n', "").partition("[margins]")[0])
    if named in MISTAKES:
        with pytest.raises(InputError) as error:
            spec.load("mine.toml")
        assert message in str(error.value) and "\n" not in str(error.value)
        assert str(error.value).startswith("mine.toml: tasks[0].metrics: ")
        return
    status, output = compare()
    *_, last = output.splitlines()
    assert status == 2 and message in last and last.startswith("archbench: tasks.pairs.metrics: ")
    assert not Path("results/mine/runs").exists()


def test_a_task_is_judged_by_a_metric_that_it_names_only(here: Path) -> None:
    text = EXPERIMENT.replace('primary = "equal"', 'primary = "characters"')
    (here / "mine.toml").write_text(text)
    assert spec.load("mine.toml").tasks[0].primary == ("characters",)
    (here / "mine.toml").write_text(text.replace('"mine.py:characters", ', ""))
    with pytest.raises(InputError, match=r'primary: "characters": expected .* or equal or rouge_l'):
        spec.load("mine.toml")
    (here / "mine.toml").write_text(EXPERIMENT.replace("characters = 0.5", "charactrs = 0.5"))
    with pytest.raises(InputError, match=r'margins.charactrs: unknown metric; did you mean "characters"\?'):
        spec.load("mine.toml")


def test_a_name_is_one_metric_in_all_tasks(here: Path) -> None:
    (here / "other.py").write_text(MINE)
    head, _, task = EXPERIMENT.partition("[margins]")[0].partition("[[tasks]]")
    for other, clashes in {"mine.py": False, "other.py": True}.items():
        second = task.replace("mine.py:equal", f"{other}:equal") + 'name = "second"\n'
        (here / "mine.toml").write_text(f"{head}[[tasks]]{task}[[tasks]]{second}")
        if not clashes:
            assert len(spec.load("mine.toml").tasks) == 2
            continue
        with pytest.raises(
            InputError, match=r'tasks\[1\].metrics: "other.py:equal": "equal" is already the name of "mine.py:equal"'
        ):
            spec.load("mine.toml")


def test_a_folder_of_the_evaluate_library_is_a_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"same": SCRIPT, "many": SCRIPT, "plain": SCRIPT.replace("DIRECTION", "WAY")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(text)
    metric = registry.find("evaluate:./same", tmp_path)
    assert (metric.name, metric.better, metric.least, metric.most) == ("same", "higher", 0.0, 1.0)
    score, plain = metric.score(REFERENCES, ANSWERS), builtin.text_score("exact_match", REFERENCES, ANSWERS)
    assert (score.value, score.lower, score.upper) == (plain.value, plain.lower, plain.upper)
    assert registry.find("evaluate:./same:other").value(REFERENCES, ANSWERS) == 0.5
    with pytest.raises(InputError, match=r'many: gives same, other; say which, as in "evaluate:./FOLDER:same"'):
        registry.tried(registry.find("evaluate:./many"), REFERENCES, "many")
    with pytest.raises(InputError, match="states no direction"):
        registry.find("evaluate:./plain")


@pytest.mark.parametrize("place", ["mine.py:equal", "evaluate:./same"])
def test_a_metric_of_ones_own_is_not_loaded_in_the_environment_of_the_caller(
    here: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.delenv(fixed_environment.DECLARED, raising=False)
    with fixed_environment.guarded(), pytest.raises(fixed_environment.Elsewhere):
        registry.find(place, here)


def test_a_metric_of_the_evaluate_library_is_given_references_and_answers_by_name() -> None:
    def compute(references: list[str], predictions: list[str]) -> dict[str, float]:
        return {"same": sum(map(str.__eq__, references, predictions)), "first": references.index("c")}

    loaded = SimpleNamespace(compute=compute)
    assert evaluate_folders._value(loaded, "same")(REFERENCES, ANSWERS) == 20
    assert evaluate_folders._value(loaded, "first")(REFERENCES, ANSWERS) == 1


def test_intervals_of_a_function_are_those_of_its_sums() -> None:
    equal = Metric("equal", "equal", "higher", "share", 0.0, 1.0, function=builtin.TEXTS["exact_match"].value)
    plain = builtin.text_score("exact_match", REFERENCES, ANSWERS)
    score = equal.score(REFERENCES, ANSWERS)
    assert (score.value, score.lower, score.upper, score.n) == (plain.value, plain.lower, plain.upper, 40)


def test_samples_without_a_value_are_left_out_while_they_are_few() -> None:
    def value(references: list[str], predictions: list[str]) -> float:
        if predictions.count("f") > limit:
            raise ZeroDivisionError
        return 1.0

    limit = 18
    assert intervals.resampled_score("one", value, REFERENCES, ANSWERS).value == 1
    limit = 12
    with pytest.raises(ValueError, match=r"has no value for [0-9]+ of 1,000 samples of the examples"):
        intervals.resampled_score("one", value, REFERENCES, ANSWERS)


def test_a_new_metric_is_ready(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["new", "shared-words", "--metric"])
    assert not stopped.value.code and '"shared-words.py:shared_words"' in capfd.readouterr().out
    metric = registry.find("shared-words.py:shared_words")
    assert metric.label == "shared words" and metric.value(["a b", "c"], ["a", ""]) == 0.25


def test_a_changed_file_is_read_again(here: Path) -> None:
    before = registry.find("mine.py:equal")
    (here / "mine.py").write_text(MINE.replace("RANGE = (0.0, 1.0)", "RANGE = (0.0, 2.0)"))
    os.utime("mine.py", (time.time(), time.time()))
    assert before.most == 1 and registry.find("mine.py:equal").most == 2
