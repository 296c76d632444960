"""Texts: their exact likelihood under a run, and pairs of them, compared by pretrained models or after training."""

import csv
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import checkpoint_folders
import numpy as np
import pandas as pd
import pytest
import small_plans
import tiny_runs
import torch
from test_pretraining import BUDGET, FAMILIES, of_role, perform, planned, values

from archbench import command_line
from archbench.reports.base import tables
from archbench.reports.contrasts import model_pair
from archbench.reports.contrasts.model_pair import Predictions
from archbench.reports.report import Report
from archbench.runs.execution import compare
from archbench.runs.execution.compare import RunOptions
from archbench.runs.execution.execute import Outcome
from archbench.runs.experiment import spec
from archbench.runs.planning.matrix import Matrix
from archbench.runs.plans.plan import Plan
from archbench.runs.scoring import finished, texts
from archbench.runs.scoring.finished import FinishedRun
from archbench.runs.store import store
from archbench.runs.training import from_plan
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, MASK
from archbench.tasks.kinds.pairs import Texts
from archbench.tasks.text.encode import text_pieces
from archbench.tasks.text.tokenizers import train_tokenizer

OWN = {"name": "own", "data": "things.txt", "vocabulary": 300, "context": 24, "test_examples": 4, "objective": "prefix"}
PAIRS = {"kind": "pairs", "name": "order", "data": "order.csv", "columns": {"better": "good", "worse": ["bad", "odd"]}}
ROWS = [
    ("red house 7", "house red 7", "7 7 7"),
    ("blue car 12", "blue blue car 12", "car"),
    ("blue car 3", "blue car 3", "blue car 3"),  # equal: half
    ("a red car 4. blue house 5. red car 6. blue house 7. red", "red red red red", "x"),  # longer than a window
    ("", "left out", "left out"),
    ("blue house 25", "zzz qqq", "blue house 25"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tiny_runs.write_data(tmp_path_factory.mktemp("data"))
    pd.DataFrame(ROWS, columns=["good", "bad", "odd"]).to_csv(place / "order.csv", index=False)
    return place


def matrix(folder: Path, root: Path, **changes: Any) -> Matrix:
    return planned(folder, root, pretraining=[OWN], tasks=[{**PAIRS, "start": "own", **changes}])


@pytest.fixture(scope="module")
def root(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every family pretrained, then compared on pairs."""
    place = tmp_path_factory.mktemp("out")
    experiment = spec.from_dict(values(pretraining=[OWN], tasks=[{**PAIRS, "start": "own"}]), folder=folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compare, "performed", performed)
        compare.run(experiment, place, RunOptions(jobs=1, device="cpu"), "compare", lambda line: None)
    return place


def performed(plans: Sequence[Plan], root: Path, *_: object) -> Outcome:
    """Does the missing runs in this process."""
    for plan in plans:
        if not store.is_finished(root / "runs" / plan.run):
            perform(plan, root)
    return Outcome(done=tuple(plan.run for plan in plans))


def pretrained(root: Path, family: str) -> Path:
    (place,) = root.glob(f"runs/own-{family}-s0-*")
    return place


def scores(root: Path, family: str) -> dict[str, Any]:
    (place,) = root.glob(f"runs/order-{family}-s0-*")
    return {row["metric"]: row for row in sealed.read_json(place / "scores.json")}


def of_cells(run: FinishedRun, text: str, hidden: Callable[[int, int], bool]) -> float:
    """log p of a text token by token; an encoder's cell is predicted while the cells are [MASK] that ``hidden`` says.

    Each target of 11 tokens of a window of 24 is read after at most 12 tokens before it.
    """
    ids, total = run.tokenizer.encode(text), 0.0
    for start in range(0, len(ids), 11):
        source, target = ids[max(0, start - 12) : start], ids[start : start + 11]
        for cell, token in enumerate(target):
            if run.model.family == "encoder":
                filled = [MASK if hidden(at, cell) else other for at, other in enumerate(target)]
                canvas = torch.tensor([[*filled, *[MASK] * (run.model.canvas - len(target))]])
                state = run.model.hidden(torch.tensor([[*source, BOS]]), canvas).target[0, cell]
            else:
                shifted = torch.tensor([[BOS, *target[:cell]]])
                state = run.model.hidden(torch.tensor([source], dtype=torch.long), shifted).target[0, -1]
            logits = run.model.logits(state[None])[0].masked_fill(~run.allowed_tokens, -math.inf)
            total += float(logits.log_softmax(-1)[token])
    return total


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_text_is_as_likely_as_its_tokens_one_after_the_other(
    root: Path, tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [row[0] for row in ROWS if row[0]] + ["naïve 車"]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    place = pretrained(root, family)
    model = finished.read(place)
    assert command_line._status(["score", str(place), str(tmp_path / "lines.txt")]) == 0
    printed = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [int(row["row"]) for row in printed] == list(range(1, len(lines) + 1))
    for row, text in zip(printed, lines, strict=True):
        wanted = of_cells(model, text, lambda at, cell: at >= cell)
        assert float(row["log_likelihood"]) == pytest.approx(wanted, abs=1e-3)
        assert int(row["tokens"]) == len(model.tokenizer.encode(text))
        assert float(row["bits_per_byte"]) == pytest.approx(-wanted / math.log(2) / len(text.encode()), abs=1e-3)
    assert any(int(row["tokens"]) > 11 for row in printed)
    assert command_line._status(["score", str(place), str(tmp_path / "lines.txt"), "--format", "jsonl"]) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [{key: str(value) for key, value in row.items()} for row in again] == printed


def enumerated(costs: dict[int, list[float]]) -> float:
    """The share of pairs whose better text, the first of each row, costs less; ties count half."""
    won = [
        0.5 if math.isclose(better, other, rel_tol=1e-6) else float(better < other)
        for better, *others in costs.values()
        for other in others
    ]
    return sum(won) / len(won)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_accuracy_is_that_of_all_pairs_one_by_one(folder: Path, root: Path, family: str) -> None:
    place, kept = pretrained(root, family), [row for row in ROWS if all(row)]
    (folder / "kept.csv").write_text("\n".join(["good,bad,odd", *map(",".join, kept)]), encoding="utf-8")
    scored = texts.score(place, folder / "kept.csv", ["good", "bad", "odd"])
    by_row: dict[int, list[texts.ScoredText]] = {}
    for text in scored:
        by_row.setdefault(text.row, []).append(text)
    found = scores(root, family)
    wanted = enumerated({row: [-text.log_likelihood for text in of] for row, of in by_row.items()})
    per_token = enumerated({row: [-text.log_likelihood / text.tokens for text in of] for row, of in by_row.items()})
    assert found["accuracy"]["value"] == pytest.approx(wanted) and found["accuracy"]["n"] == len(kept)
    assert found["accuracy_per_token"]["value"] == pytest.approx(per_token)
    assert ("accuracy_pll" in found) == (family == "encoder")
    if family == "encoder":
        model = finished.read(place)
        pseudo = {
            number: [-of_cells(model, text, lambda at, cell: at == cell) for text in row]
            for number, row in enumerate(kept)
        }
        assert found["accuracy_pll"]["value"] == pytest.approx(enumerated(pseudo))


def test_ties_count_half_and_every_worse_text_makes_a_pair() -> None:
    """Rows 2, 5 and 7; the second text of row 5 goes on in a second piece."""
    sources, rows = ["", "", "", "", "before", "", "", ""], np.array([2, 2, 5, 5, 5, 5, 7, 7])
    compared = Texts(sources, rows)
    costs = compared.sums(np.array([1.0, 2.0, 3.0, 1.0, 2.0, 4.0, math.inf, math.inf]))
    assert costs.tolist() == [1.0, 2.0, 3.0, 3.0, 4.0, math.inf, math.inf] and compared.are_compared
    assert compared.won(costs).tolist() == [1.0, 0.75, 0.5]
    assert compared.score("accuracy", costs).value == 0.75
    windows = Texts(["before", "before"], np.array([0, 1])), Texts(["", ""], np.array([0, 1]))
    assert not any(text.are_compared for text in windows)


def test_the_report_has_the_recorded_accuracy_of_each_row(root: Path) -> None:
    found = tables.collect(root)
    runs = found["runs"][found["runs"]["task"] == "pairs"]
    assert set(runs["adapt"]) == {"zero-shot"} and set(runs["train_tokens"]) == {0}
    for run_name, family in zip(runs["run"], runs["architecture"], strict=True):
        rows = found["predictions"][found["predictions"]["run"] == run_name]
        assert rows["accuracy"].count() == 5 and len(rows) > 15
        assert rows["accuracy"].mean() == pytest.approx(scores(root, str(family))["accuracy"]["value"])
    baselines = found["references"].set_index("name")["value"]
    sizes = [[len(text) for text in row] for row in ROWS if all(row)]
    assert baselines["chance"] == 0.5
    assert baselines["shorter"] == enumerated(dict(enumerate(sizes)))
    names = runs["run"].iloc[:2]
    paired = [Predictions(name, found["predictions"][found["predictions"]["run"] == name]) for name in names]
    tested = model_pair.compared(*paired, "accuracy")
    assert tested.examples == 5 and tested.scores == pytest.approx(
        [scores(root, str(name).split("-s0-")[0].removeprefix("order-"))["accuracy"]["value"] for name in names]
    )
    (judged,) = Report(found).first
    assert judged.group.dataset == "order" and judged.metric.name == "accuracy"


def test_pairs_train_no_pretraining_again(folder: Path, tmp_path: Path) -> None:
    more = {**PAIRS, "name": "more", "columns": {"better": "odd", "worse": "bad"}, "start": "own"}
    tasks = [{**PAIRS, "start": "own"}, more]
    one, two = (planned(folder, tmp_path, pretraining=[OWN], tasks=tasks[:count]) for count in (1, 2))
    assert [plan.run for plan in of_role(one, "pretraining")] == [plan.run for plan in of_role(two, "pretraining")]


def test_few_rows_are_whole_and_always_the_same(folder: Path, tmp_path: Path) -> None:
    def chosen(count: int) -> list[int]:
        plan = matrix(folder, tmp_path, test_examples=count).later[0]
        test = from_plan.prepared_data(plan).test
        begins = [not test.source_text(index) for index in range(len(test))]
        return [int(row) for row in test.rows[begins]]

    two, three = chosen(2), chosen(3)
    assert sorted(two) == two and len(two) == 6 and len(set(two)) == 2 and set(two) < set(three)


def test_a_model_is_trained_on_a_text_where_there_is_one(folder: Path, tmp_path: Path) -> None:
    data = {"train": "things.txt", "test": "order.csv"}
    task = {**PAIRS, "data": data, "context": 24, "vocabulary": 300}
    changes = {"pretraining": [], "tasks": [task], "architectures": ["encoder"]}
    (plan,) = small_plans.plan(values(**changes), folder, tmp_path).plans
    assert plan.tokens == BUDGET["tokens"] and plan.baselines
    place = perform(plan, tmp_path)
    found = {(row["split"], row["metric"]) for row in sealed.read_json(place / "scores.json")}
    assert {("test", "accuracy"), ("test", "accuracy_pll"), ("validation", "nll_per_token")} <= found
    rows = store.read_dataset_file(tmp_path / "references" / "order.json")
    assert {row["name"] for row in rows} == {"chance", "shorter", "ngram", "untrained"}
    (tmp_path / "more.csv").write_text("good,bad,odd\na,b,c\n")
    assert [text.column for text in texts.score(place, tmp_path / "more.csv")] == ["good", "bad", "odd"]


def test_checkpoints_are_scored_as_they_are(folder: Path, tmp_path: Path) -> None:
    for kind in ("gpt2", "bert"):
        (tmp_path / kind).mkdir()
        getattr(checkpoint_folders, kind)(tmp_path / kind)
    named = [str(tmp_path / kind) for kind in ("gpt2", "bert")]
    tasks = [{**PAIRS, "context": 40}]
    plans = small_plans.plan(values(pretraining=[], tasks=tasks, architectures=named), folder, tmp_path).plans
    for plan in plans:
        place = perform(plan, tmp_path)
        found = {row["metric"] for row in sealed.read_json(place / "scores.json")}
        assert {"accuracy", "accuracy_per_token"} <= found
        assert ("accuracy_pll" in found) == (plan.architecture == "./bert")
        assert texts.score(place, _lines(tmp_path, "red house 7"))[0].log_likelihood < 0
    assert len(plans) == 2 and not any(plan.tokens for plan in plans)


def _lines(place: Path, *lines: str) -> Path:
    (place / "some.txt").write_text("\n".join(lines))
    return place / "some.txt"


@pytest.mark.parametrize("kind", ["byte", "char", "bpe", "word"])
def test_pieces_of_a_text_have_all_of_its_tokens_and_bytes(kind: str) -> None:
    written = ["naïve 車 and more words than one window", "short"]
    tokenizer = train_tokenizer(kind, written, 300)
    pieces = text_pieces(written, [3, 8], tokenizer, 5, 4)
    assert max(pieces.target_lengths) == 3 and max(pieces.source_lengths) <= 5
    for row, text in zip((3, 8), written, strict=True):
        mine = np.flatnonzero(pieces.rows == row)
        ids = [int(token) for piece in mine for token in pieces[piece].target]
        assert ids == tokenizer.encode(text) and b"".join(map(pieces.target_raw, mine)) == text.encode()
        for before, piece in zip([None, *mine[:-1]], mine, strict=True):
            source = pieces[int(piece)].source.tolist()
            assert (not source) if before is None else source[-1] == pieces[int(before)].target[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"start": "scratch"}, r'tasks\[0\]\.start: "scratch": nothing is trained on pairs; name a pretraining'),
        ({"start": ["own", "scratch+own"]}, r'"scratch\+own": nothing is trained on pairs'),
        ({"context": 30}, r'tasks\[0\]\.context: 30: "own" is pretrained on windows of 24; make them equal'),
        ({"adapt": "finetune"}, r"tasks\[0\]\.adapt: nothing is trained on pairs; remove this key"),
        ({"examples": 3}, r"tasks\[0\]\.examples: nothing is trained on pairs; remove this key"),
        ({"budget": {"match": "flops"}}, r'"zero-shot" is compared at equal size and tokens'),
        ({"columns": {"better": "good", "worse": "worse"}}, r'tasks\.order\.columns: no column "worse" in order\.csv'),
        ({"columns": {"better": "good"}}, r'no column "worse" in order\.csv \(it has: good, bad, odd\)'),
        ({"columns": {"better": ["good", "bad"]}}, r"tasks\[0\]\.columns\.better: .*: expected one column"),
        ({"columns": {"worse": ["better", "odd"]}}, r'tasks\[0\]\.columns: "better" is given twice'),
        ({"columns": {"slice": "UID"}}, r"tasks\[0\]\.columns\.slice: unknown key for pairs"),
        ({"columns": {"worse": []}}, r"expected the name of a column, or a list of different names"),
        ({"data": "missing.csv"}, r'tasks\.order\.data: no file "missing\.csv"'),
        ({"data": "things.txt"}, r'tasks\.order\.data: pairs cannot read "things\.txt"; it reads \.csv'),
        ({"data": "hub:owner/name"}, r"tasks\.order\.data: no file"),
        ({"data": {"train": "things.txt"}}, r"tasks\.order\.data: test is missing; name its file"),
        ({"data": {"validation": "things.txt", "test": "order.csv"}}, r"data: train is missing; name its file"),
        ({"data": "blank.csv"}, r"test \(blank\.csv\) has no row in which all texts are filled in"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    (folder / "blank.csv").write_text("good,bad,odd\na,b,\n,b,c\n")
    with pytest.raises(InputError, match=words) as caught:
        matrix(folder, tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_other_kinds_need_a_training_file(folder: Path, tmp_path: Path) -> None:
    task = {"kind": "classification", "name": "colours", "data": {"test": "things.tsv"}}
    with pytest.raises(InputError, match=r'tasks\[0\]\.data: "train" is missing; name at least the training file'):
        planned(folder, tmp_path, tasks=[task])


def test_equal_texts_and_long_ones_are_told(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    experiment = values(pretraining=[OWN], tasks=[{**PAIRS, "start": "own"}])
    small_plans.plan(experiment, folder, tmp_path, said.append)
    (line,) = (line for line in said if "equal texts" in line)
    assert line.startswith("order: 1 empty rows dropped, 1 test rows of equal texts, ")
    assert line.endswith(" test rows with a text in pieces")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b"one\n\ntwo\n", "blank.txt: line 2 is empty; fill it in, or remove the line"),
        ("one.csv", b"good\na\n", '"text" in one.csv (it has: good); name those with texts: --columns A,B'),
        ("wide.txt", "red".encode("utf-16-le"), "wide.txt: line 1 has a NUL character; save the file as UTF-8"),
        ("gap.csv", b"text\na\n\n", 'gap.csv: row 2: "text" is empty'),
        ("latin.txt", b"caf\xe9\n", "latin.txt is not utf-8: byte 0xe9 at 3 (line 1); save it as UTF-8"),
        ("bad.jsonl", b"{]\n", "bad.jsonl line 1 is not JSON"),
        ("none.txt", None, 'no file "'),
    ],
)
def test_a_file_that_cannot_be_scored_is_told(
    root: Path, tmp_path: Path, name: str, content: bytes | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert command_line._status(["score", str(pretrained(root, "decoder")), str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("name", "columns", "words"),
    [
        ("some.txt", "good", "--columns: some.txt is no table: each line is a text; remove --columns"),
        ("some.csv", ",", "--columns: expected different names of columns, such as better,worse"),
        ("some.csv", "good,good", "--columns: expected different names"),
        ("some.csv", "odd", '--columns: no column "odd" in some.csv (it has: good)'),
    ],
)
def test_columns_that_do_not_fit_are_told(
    root: Path, tmp_path: Path, name: str, columns: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("good\nred house\n")
    command = ["score", str(pretrained(root, "decoder")), str(tmp_path / name), "--columns", columns]
    assert command_line._status(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("task", "words"),
    [("colours", "was trained to assign a label to a text"), ("turned", "was trained to translate a text")],
)
def test_a_run_without_a_likelihood_of_texts_is_told(folder: Path, tmp_path: Path, task: str, words: str) -> None:
    place = tiny_runs.trained(folder, tmp_path, "decoder", task)
    with pytest.raises(InputError, match=f"{words}: it has no likelihood of a text by itself; give a pretraining"):
        texts.score(place, _lines(tmp_path, "red house 7"))


def test_a_run_that_scores_a_pretrained_model_names_it(root: Path, tmp_path: Path) -> None:
    (place,) = root.glob("runs/order-decoder-s0-*")
    with pytest.raises(InputError, match=f"has no weights of its own; give {pretrained(root, 'decoder').name}"):
        texts.score(place, _lines(tmp_path, "red house 7"))


def test_tokens_that_are_unknown_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tiny_runs.trained(folder, tmp_path, "decoder", "running")
    assert command_line._status(["score", str(place), str(_lines(tmp_path, "red ÄÖ"))]) == 0
    assert "2 tokens are unknown to the run's tokenizer" in capsys.readouterr().err
    assert command_line._status(["score", str(place), str(_lines(tmp_path, "red")), "--format", "xml"]) == 2
