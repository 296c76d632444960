"""What `archbench inspect` measures inside a run, and that its page shows these numbers."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import trained, write_data

from archbench import command_line
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.probes import Axis, Layer
from archbench.inspection import embeddings, heads, stream, subject, writing
from archbench.inspection import inspect as inspection
from archbench.inspection.gates import failed_gates
from archbench.inspection.pages import figures as inside_figures
from archbench.inspection.pages import page
from archbench.inspection.pages import words as inside_words
from archbench.inspection.subject import ExampleReading
from archbench.reports.base.tables import write_csv
from archbench.reports.figures.figure import drawn
from archbench.reports.page.page import html
from archbench.runs.store import store
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, MASK, UNK

CASES = [
    ("decoder", "turned"),
    ("encoder", "turned"),
    ("encoder-decoder", "turned"),
    ("encoder", "colours"),
    ("decoder", "windows"),
    ("mine.py", "running"),
    ("shared-encoder-decoder", "running"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[tuple[str, str], Path]:
    run_folders: dict[tuple[str, str], Path] = {}
    for architecture, task in CASES:
        place = str(folder / architecture) if architecture.endswith(".py") else architecture
        run_folders[architecture, task] = trained(folder, folder / "tiny", place, task, snapshots=2)
    return run_folders


def inspect_run(run: Path, out: Path, text: str | None = None, right: str | None = None) -> dict[str, Any]:
    return dict(json.loads(inspection.inspect(run, text, out, lambda line: None, right).read_text()))


# Heads ------------------------------------------------------------------------------------------------------------


def reading(weights: Any, queries: list[int], keys: list[int] | None = None) -> ExampleReading:
    """A block with one head and these weights, in which only the named attention is there."""
    at = torch.as_tensor(np.asarray(weights, dtype=np.float64))[None, None]
    block: Any = None
    empty = torch.zeros(1, len(queries), 1)
    layer = Layer("target", 1, block, empty, weights={"self" if keys is None else "cross": at})
    axes: dict[Axis, list[int]] = {axis: queries for axis in get_args(Axis)}
    return ExampleReading((layer,), axes if keys is None else {**axes, "source": keys}, 0)


def mostly(pattern: np.ndarray, causal: bool = False) -> np.ndarray:
    """Weights that put 0.9 of every row where the pattern says, and the rest evenly on what is visible."""
    visible = np.tril(np.ones(pattern.shape)) if causal else np.ones(pattern.shape)
    marked = pattern * visible
    rows = marked.sum(1, keepdims=True)
    weights = np.where(rows > 0, 0.9 * marked / np.maximum(rows, 1), 0.0) + visible * 0.1 / visible.sum(
        1, keepdims=True
    )
    return np.asarray(weights / weights.sum(1, keepdims=True))


TOKENS = [10, 11, 12, 13, 10, 11, 12, 13]
SPECIAL = [10, 11, BOS, 13, 14, END, MASK, 15]


@pytest.mark.parametrize(
    ("name", "pattern", "tokens"),
    [
        ("previous token", np.eye(8, k=-1), list(range(10, 18))),
        ("same token", np.eye(8), list(range(10, 18))),
        ("next token", np.eye(8, k=1), list(range(10, 18))),
        ("first token", np.eye(8)[[0] * 8], list(range(10, 18))),
        ("special token", np.tile(np.isin(SPECIAL, (BOS, END, MASK)).astype(float), (8, 1)), SPECIAL),
        ("induction", np.eye(8, k=-3) * (np.arange(8) >= 4)[:, None], TOKENS),
    ],
)
def test_a_hand_built_head_has_its_role(name: str, pattern: np.ndarray, tokens: list[int]) -> None:
    shares = heads._shares([reading(mostly(pattern), tokens)], 0, "self")
    observed, even = ({key: float(np.max(share[side])) for key, share in shares.items()} for side in (0, 1))
    assert observed[name] >= 0.9 and even[name] < 0.5
    assert heads.role(observed, even) == name


def test_even_attention_has_no_role() -> None:
    for causal in (False, True):
        visible = np.tril(np.ones((8, 8))) if causal else np.ones((8, 8))
        shares = heads._shares([reading(visible / visible.sum(1, keepdims=True), TOKENS)], 0, "self")
        observed, even = ({key: float(np.max(share[side])) for key, share in shares.items()} for side in (0, 1))
        assert observed == pytest.approx(even) and heads.role(observed, even) == "mixed"


def test_a_diagonal_of_cross_attention_is_alignment_whatever_the_lengths() -> None:
    places = np.round(np.arange(4) * 11 / 3).astype(int)
    shares = heads._shares([reading(mostly(np.eye(12)[places]), [5, 6, 7, 8], list(range(20, 32)))], 0, "cross")
    observed, even = ({key: float(np.max(share[side])) for key, share in shares.items()} for side in (0, 1))
    assert heads.role(observed, even) == "alignment"


@pytest.mark.slow
def test_induction_heads_appear_where_sequences_repeat(folder: Path, tmp_path: Path, runs: Any) -> None:
    """Two layers that learn to continue random sequences said twice: only copying what came after last time helps."""
    torch.manual_seed(0)
    model: Any = catalogue.find("decoder").build(Size(64, 4, 2, 128), Limits(40, 16, 16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    from archbench.architectures.objectives.objective import Batch, mean_loss

    allowed_tokens = torch.ones(40, dtype=torch.bool)
    for _ in range(1500):
        half = torch.randint(8, 40, (64, 8), generator=generator)
        whole = half.repeat(1, 2)
        loss = mean_loss(model, Batch(whole, whole), allowed_tokens, generator, True)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    before = catalogue.find("decoder").build(Size(64, 4, 2, 128), Limits(40, 16, 16))

    def roles(decoder: Any) -> tuple[float, set[str]]:
        """The greatest share of attention on induction, and the roles of all heads on such sequences."""
        from archbench.architectures import probes

        half = torch.randint(8, 40, (16, 8), generator=torch.Generator().manual_seed(1)).repeat(1, 2)
        readings = []
        for row in half:
            with probes.watched(decoder.eval()) as layers, torch.no_grad():
                decoder.hidden(row[None], row[None])
            axes: dict[Axis, list[int]] = {axis: [*row.tolist(), *row.tolist()] for axis in get_args(Axis)}
            readings.append(ExampleReading(tuple(layers), axes, 16))
        shares = [heads._shares(readings, place, "self") for place in range(2)]
        named = {
            heads.role(
                {name: float(observed[head]) for name, (observed, _) in share.items()},
                {name: even for name, (_, even) in share.items()},
            )
            for share in shares
            for head in range(4)
        }
        return max(float(np.max(share["induction"][0])) for share in shares), named

    (most, named), (untrained, unnamed) = roles(model), roles(before)
    assert most > 0.6 > 0.2 > untrained
    assert "induction" in named and "induction" not in unnamed


# The whole --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_every_family_and_kind_can_be_looked_into(runs: dict[Any, Path], case: Any, tmp_path: Path) -> None:
    measurements = inspect_run(runs[case], tmp_path)
    assert measurements["dataset"] == case[1]
    sites = {(head["layer"], head["part"]) for head in measurements["heads"]}
    assert {(attention_map["layer"], attention_map["part"]) for attention_map in measurements["maps"]} == sites
    for attention_map in measurements["maps"]:
        for head in attention_map["weights"]:
            assert len(head) == len(attention_map["queries"]) and all(
                len(row) == len(attention_map["keys"]) for row in head
            )
            np.testing.assert_allclose(np.sum(head, 1), 1, atol=0.01)
    assert all(0 <= share <= 1.001 for head in measurements["heads"] for share in head["shares"].values())
    assert all(0 <= row["accuracy"] <= 1 for row in measurements["probes"])
    assert [row["when"] for row in measurements["snapshots"]][-1] == "as scored" and len(measurements["snapshots"]) == 3
    assert sum(part["parameters"] for part in measurements["step"]["parts"]) > measurements["parameters"]
    figures = list(inside_figures.figures(page.read(tmp_path)))
    assert len({figure.name for figure in figures}) == len(figures) >= 6 + len(sites)
    assert all(sentence for sentence in page.context(measurements).values() if isinstance(sentence, str))


UNTRAINED = [*(name for name in catalogue.names() if not name.startswith("transformers:")), *catalogue.ablated()]


@pytest.mark.parametrize("name", UNTRAINED)
def test_every_variant_and_ablation_can_be_looked_into(runs: dict[Any, Path], tmp_path: Path, name: str) -> None:
    """Measured on an untrained model of the size of a run: what is there to be said of it, and how it is drawn."""
    torch.manual_seed(0)
    inspected = subject.read(runs["decoder", "turned"])
    plan = inspected.run.plan
    model = catalogue.find(name).build(dataclasses.replace(plan.size, depth=2), plan.limits).eval()
    inspected = dataclasses.replace(inspected, run=dataclasses.replace(inspected.run, model=model))
    measurements = json.loads(json.dumps(inspection.measured(inspected, tmp_path, lambda line: None)))
    words = page.context(measurements)["head_words"]
    figure_names = [figure.name for figure in inside_figures.figures(measurements)]
    assert (
        bool(measurements["heads"])
        == bool(measurements["maps"])
        == ("heads" in figure_names)
        == ("no attention heads" not in words)
    )
    assert measurements["heads"] or name == "decoder-average"


def head(loss: float, error: float, number: int = 0) -> dict[str, Any]:
    return {"layer": "layer 1", "part": "self", "head": number, "role": "mixed", "loss": loss, "error": error}


@pytest.mark.parametrize(
    ("losses", "text"),
    [([0.0], ""), ([0.0, -1.0], "For 1 other head the"), ([1.0, 0.0, 0.5, 0.1], "For 2 other heads the")],
)
def test_the_head_that_is_named_is_none_of_the_others(losses: list[float], text: str) -> None:
    measurements = {"heads": [head(loss, 0.1, number) for number, loss in enumerate(losses)], "loss_name": "nats"}
    words = inside_words.heads_in_words(measurements)
    assert text in words and ("not significant" in words) == bool(text)


def numbers(measurements: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What every figure's CSV has to hold: all that the page's data say of it."""
    rows_by_figure = {
        f"attention_{place:02d}_{attention_map['part']}": [
            {
                "head": number + 1,
                "query": attention_map["first"][0] + q,
                "key": attention_map["first"][1] + k,
                "query_token": attention_map["queries"][q],
                "key_token": attention_map["keys"][k],
                "weight": weight,
            }
            for number, rows in enumerate(attention_map["weights"])
            for q, row in enumerate(rows)
            for k, weight in enumerate(row)
        ]
        for place, attention_map in enumerate(measurements["maps"], 1)
    }
    rows_by_figure["heads"] = [
        {key: head[key] for key in ("layer", "part", "role", "loss", "error")}
        | {"head": head["head"] + 1}
        | {f"share of {pattern}": share for pattern, share in head["shares"].items()}
        | {f"even {pattern}": share for pattern, share in head["even"].items()}
        for head in measurements["heads"]
    ]
    axes = {"added": ("position", "channel", "value"), "rotation": ("distance", "pair", "cosine")}
    for place, scheme in enumerate(measurements["schemes"], 1):
        row, column, cell = axes.get(scheme["kind"], ("head", "distance", "bias"))
        offset, first = (1, scheme["first"]) if scheme["kind"] == "bias" else (0, 0)
        rows_by_figure[f"positions_{place:02d}"] = [
            {row: i + offset, column: j + first, cell: value}
            for i, line in enumerate(scheme.get("values", ()))
            for j, value in enumerate(line)
        ]
    rows_by_figure |= {
        "embeddings": measurements["projection"]["points"],
        "stream": measurements["norms"],
        "probes": measurements["probes"],
    }
    rows_by_figure["next"] = [
        {k: row[k] for k in ("place", "token", "probability", "entropy")} for row in measurements["positions"]
    ]
    rows_by_figure["training"] = [
        {"when": row["when"], **watched} for row in measurements["snapshots"] for watched in row["watched"]
    ]
    rows_by_figure["step"] = measurements["step"]["positions"]
    return {name: rows for name, rows in rows_by_figure.items() if rows}


def check_csv(file: Path, expected: list[dict[str, Any]]) -> None:
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(expected) and set(rows[0]) == {key for row in expected for key in row}, file
    for row, expected_row in zip(rows, expected, strict=True):
        for key, text in row.items():
            value = expected_row.get(key)
            if isinstance(value, float):
                assert float(text) == pytest.approx(value, rel=1e-9), (file, key)
            else:  # a spreadsheet must not read a text as a formula
                assert text.removeprefix("'") == ("" if value is None else str(value)).removeprefix("'"), (file, key)


def test_the_page_shows_the_numbers_and_its_figures_hold_them(runs: dict[Any, Path], tmp_path: Path) -> None:
    measurements = inspect_run(runs["shared-encoder-decoder", "running"], tmp_path)
    page.write(page.read(tmp_path), tmp_path)
    written = (tmp_path / "index.html").read_text()
    rows_by_figure = numbers(measurements)
    further = page.numbers(measurements)
    assert {file.stem for file in tmp_path.glob("*.csv")} == {*rows_by_figure, *further}
    for name, expected in rows_by_figure.items():
        check_csv(tmp_path / f"{name}.csv", expected)
        assert f'id="figure-{name}"' in written
    for name, expected in further.items():
        check_csv(tmp_path / f"{name}.csv", expected)
        assert f'href="{name}.csv"' in written
    assert f"{measurements['step']['loss']:.3f}" in written and measurements["run"] in written
    assert "<script" not in written and "http" not in written.replace("http-equiv", "")


def test_the_page_opens_with_the_text_the_answer_and_the_heads(runs: dict[Any, Path], tmp_path: Path) -> None:
    measurements = inspect_run(runs["encoder-decoder", "turned"], tmp_path)
    first, attention, *others = (
        html(
            "inspection.html",
            list(map(drawn, inside_figures.figures(measurements))),
            page.TEMPLATES,
            **page.context(measurements),
        )
        .partition("<main>")[2]
        .split("<section ")[1:]
    )
    assert all(f"<bdi>{measurements['text'][key]}</bdi>" in first for key in ("source", "answer", "target"))
    most = max(measurements["heads"], key=lambda head: head["loss"])
    opened = attention.partition("<details open>")[2].partition("</details>")[0]
    assert f"<summary>{most['layer']}, {'cross' if most['part'] == 'cross' else 'self'}-attention</summary>" in opened
    assert 'id="claims"' in others[-3]  # before the files and the glossary


def test_the_files_beside_the_page_hold_all_that_its_tables_say(runs: dict[Any, Path], tmp_path: Path) -> None:
    measurements = inspect_run(runs["shared-encoder-decoder", "running"], tmp_path)
    rows_by_table = page.numbers(measurements)

    def regrouped(name: str, keys: Sequence[str], item: str, value: str) -> dict[Any, list[list[Any]]]:
        groups: dict[Any, list[list[Any]]] = {}
        for row in rows_by_table[name]:
            groups.setdefault(tuple(row[key] for key in keys), []).append([row[item], row[value]])
            assert row["rank"] == len(groups[tuple(row[key] for key in keys)])
        return groups

    near = {(row["token"],): row["neighbours"] for row in measurements["neighbours"]}
    assert regrouped("neighbours", ["token"], "neighbour", "cosine") == near
    rules = {
        (row["place"], rule): tokens
        for row in measurements["positions"]
        for rule, tokens in {"model": row["model"], **row["rules"]}.items()
    }
    assert regrouped("rules", ["place", "rule"], "likely", "probability") == rules
    likely = {
        (row["weights"],): row["first"]
        for row in ({**row, "weights": row["when"]} for row in measurements["snapshots"])
    }
    assert ("snapshots" in rows_by_table) == bool(likely)
    if likely:
        assert regrouped("snapshots", ["weights"], "likely", "probability") == likely
    assert rows_by_table["parts"] == measurements["step"]["parts"]


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "shared-encoder-decoder"], ids="-".join)
def test_every_column_of_every_csv_is_what_was_measured(runs: dict[Any, Path], tmp_path: Path, case: Any) -> None:
    measurements = inspect_run(runs[case], tmp_path)
    rows_by_figure, figures = numbers(measurements), list(inside_figures.figures(measurements))
    assert {figure.name for figure in figures} == set(rows_by_figure)
    for figure in figures:
        write_csv(figure.numbers, tmp_path / f"{figure.name}.csv")
        check_csv(tmp_path / f"{figure.name}.csv", rows_by_figure[figure.name])


def test_a_map_is_cut_around_the_border_and_its_numbers_are_not(
    runs: dict[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_map = inspect_run(runs["mine.py", "running"], tmp_path / "whole")["maps"][0]
    assert whole_map["drawn"] == [[0, 30], [0, 30]] and inside_words.left_out(whole_map) == ""
    monkeypatch.setattr(inspection, "DRAWN", 8)
    cut = inspect_run(runs["mine.py", "running"], tmp_path / "drawn")
    (attention_map, *_), (figure, *_) = cut["maps"], inside_figures.figures(cut)
    assert (
        attention_map["drawn"] == [[14, 22], [14, 22]] and attention_map["weights"] == whole_map["weights"]
    )  # the target begins at 18
    assert "the 8 of 30 around the boundary of source and target. The CSV file has all" in figure.caption
    keywords = figure.panels[0].draw.keywords  # type: ignore[attr-defined]
    assert keywords["queries"] == whole_map["queries"][14:22] == keywords["keys"]
    np.testing.assert_array_equal(keywords["weights"], np.asarray(whole_map["weights"])[0, 14:22, 14:22])
    monkeypatch.setattr(inspection, "KEPT", 12)
    (cut_map, *_) = inspect_run(runs["mine.py", "running"], tmp_path / "kept")["maps"]
    assert cut_map["first"] == [12, 12] and cut_map["queries"] == whole_map["queries"][12:24]
    assert "The CSV file has 12 rows and 12 columns" in inside_words.left_out(cut_map)


@pytest.mark.parametrize(
    ("tokens", "border", "start", "stop"),
    [(5, 3, 0, 5), (97, 64, 60, 68), (97, 0, 0, 8), (97, 97, 89, 97), (8, 8, 0, 8)],
)
def test_what_is_cut_holds_the_border(tokens: int, border: int, start: int, stop: int) -> None:
    assert inspection._around(tokens, border, 8) == slice(start, stop)


def test_figures_of_positions_say_what_they_leave_out(runs: dict[Any, Path], tmp_path: Path) -> None:
    measurements = inspect_run(runs["decoder", "windows"], tmp_path)
    for key, rows in (("next", measurements["positions"]), ("step", measurements["step"]["positions"])):
        rows *= 4
        captions = {figure.name: figure for figure in inside_figures.figures(measurements)}
        assert f"first {inside_figures.MOST_POSITIONS} of {len(rows)}. The CSV file has all" in captions[key].caption
        assert len(captions[key].numbers) == len(rows) == 80


# What is right ----------------------------------------------------------------------------------------------------


def guesses(inspected: subject.InspectedRun, pair: subject.Pair) -> list[int]:
    """The likeliest token at every position of a decoder, by one pass over all that it predicts from."""
    model = inspected.run.model
    with torch.no_grad():
        logits = model(*model.objective.example_inputs(model, subject.batch([pair])))[0, : len(pair[1])]
    return [int(token) for token in logits.masked_fill(~inspected.run.allowed_tokens, float("-inf")).argmax(-1)]


def test_the_first_example_with_a_wrong_guess_is_shown(runs: dict[Any, Path], tmp_path: Path) -> None:
    inspected = subject.read(runs["decoder", "turned"])
    alone = tuple((source, subject.answer(inspected.run, source)) for source, _ in inspected.examples)
    assert all(guesses(inspected, pair) == pair[1] for pair in alone)  # what it writes itself it guesses right
    right = dataclasses.replace(inspected, examples=alone)
    assert writing.first_mistaken(right) == alone[0] and writing.mistakes(right, alone[1]) == 0
    wrong = next(pair for pair in inspected.examples if guesses(inspected, pair) != pair[1])
    mixed = dataclasses.replace(inspected, examples=(alone[0], alone[1], wrong, *inspected.examples))
    assert writing.first_mistaken(mixed) == wrong
    measurements = inspect_run(runs["decoder", "turned"], tmp_path)
    number = measurements["text"]["example"]
    assert inspected.examples[number - 1] == writing.first_mistaken(inspected)
    assert [token["id"] for token in measurements["text"]["target_tokens"]] == inspected.examples[number - 1][1]
    assert (
        measurements["text"]["wrong"]
        == sum(row["guess"] != row["token"] for row in measurements["step"]["positions"])
        > 0
    )
    assert f"test example {number}, the first with a wrong prediction" in page.context(measurements)["text_words"]
    unmistaken = {**measurements["text"], "wrong": 0}
    assert "the first test example. None of the 5 has a wrong prediction" in inside_words.text_in_words(unmistaken, 5)


def test_without_an_answer_the_target_is_what_the_model_wrote(runs: dict[Any, Path], tmp_path: Path) -> None:
    measurements = inspect_run(runs["encoder-decoder", "turned"], tmp_path, "red house 3")
    assert not measurements["text"]["right"] and measurements["text"]["target"] == measurements["text"]["answer"]
    assert all(row["guess"] == row["token"] for row in measurements["step"]["positions"])
    text = html("inspection.html", [], page.TEMPLATES, **page.context(measurements)) + str(
        list(inside_figures.figures(measurements))
    )
    assert (
        "correct answer</dt>" not in text
        and "probability of the generated token" in text
        and "probability of the correct token" not in text
    )
    assert not any(watched["right"] for row in measurements["snapshots"] for watched in row["watched"])


def test_a_right_answer_can_be_posed(runs: dict[Any, Path], tmp_path: Path) -> None:
    run = runs["encoder-decoder", "turned"]
    inspected = subject.read(run, "red house 3", "blue car red")
    assert (
        inspected.text[1] == [*inspected.run.tokenizer.encode("blue car red"), END]
        and inspected.right
        and not inspected.cut
    )
    measurements = inspect_run(run, tmp_path, "red house 3", "blue car red")
    assert [row["token"] for row in measurements["step"]["positions"]] == ["blue", "·car", "·red", "<end>"]
    assert measurements["step"]["loss_after"] < measurements["step"]["loss"]
    assert page.context(measurements)["token"] == "correct token"
    assert [watched["right"] for watched in measurements["snapshots"][0]["watched"]].count(True) == 1


def test_an_answer_is_made_a_target_as_training_makes_it(runs: dict[Any, Path]) -> None:
    """As a recorded example is; what a tokenizer lacks is unknown, what is too long is cut and told."""
    inspected = subject.read(runs["decoder", "turned"])
    texts = pd.read_parquet(runs["decoder", "turned"] / "predictions.parquet")
    for pair, text, right in zip(inspected.examples, texts["source"], texts["reference"], strict=True):
        assert subject.read(runs["decoder", "turned"], text, right).text == pair
    strange = subject.read(runs["mine.py", "running"], "red house", "red \N{SNOWMAN}")
    assert strange.text[1][-1] == UNK and UNK not in strange.text[1][:-1]  # running text goes on: no END here
    whole = subject.read(runs["mine.py", "running"], "red house", "red house " * 9)
    assert len(whole.text[1]) == 12 and whole.text[1][-1] == END
    long = subject.read(runs["decoder", "turned"], "red house", "red " * 9)
    assert len(long.text[1]) == 5 and END not in long.text[1]  # what was cut does not end there
    assert long.cut == len(long.run.tokenizer.encode("red " * 9)) - 5
    labelled = subject.read(runs["encoder", "colours"], "red house 3", "blueish")
    assert labelled.text[1] == [labelled.run.tokenizer.label_id("blueish")]


def test_an_answer_within_a_word_is_pointed_out(runs: dict[Any, Path], tmp_path: Path) -> None:
    for right, hinted in (("house", True), (" house", False)):
        messages: list[str] = []
        inspection.inspect(runs["mine.py", "running"], "a red", tmp_path, messages.append, right)
        assert any("begin it with a space" in line for line in messages) == hinted


def test_the_same_run_gives_the_same_page(runs: dict[Any, Path], tmp_path: Path) -> None:
    pages = []
    for name in ("one", "other"):
        inspect_run(runs["decoder", "turned"], tmp_path / name)
        page.write(page.read(tmp_path / name), tmp_path / name)
        pages.append({file.name: file.read_bytes() for file in sorted((tmp_path / name).iterdir())})
    assert pages[0] == pages[1]


def test_next_tokens_have_the_likelihood_that_is_scored(runs: dict[Any, Path]) -> None:
    for case in CASES:
        inspected = subject.read(runs[case])
        scores = writing.probabilities(inspected, inspected.text)
        target = inspected.text[1]
        total = sum(float(scores[place][token]) for place, token in enumerate(target))
        model = inspected.run.model
        with torch.no_grad():
            exact = model.objective.log_likelihood(
                model, subject.batch([inspected.text]), inspected.run.allowed_tokens
            )[0]
        assert total == pytest.approx(float(exact), rel=1e-3, abs=1e-3), case


def test_a_gradient_step_lowers_the_loss_and_is_taken_back(runs: dict[Any, Path]) -> None:
    for case in CASES:
        inspected = subject.read(runs[case])
        before = {name: tensor.clone() for name, tensor in inspected.run.model.state_dict().items()}
        step = writing.gradient_step(inspected)
        assert step["loss_after"] < step["loss"], case
        assert all(torch.equal(before[name], tensor) for name, tensor in inspected.run.model.state_dict().items())
        assert all(p.grad is None for p in inspected.run.model.parameters())


def test_the_loss_without_a_head_is_a_loss(runs: dict[Any, Path]) -> None:
    """Where the run has exact likelihoods, the whole model's mean loss is the one that the run recorded."""
    inspected = subject.read(runs["decoder", "turned"])
    scores = {
        (row["split"], row["metric"]): row["value"]
        for row in sealed.read_json(runs["decoder", "turned"] / "scores.json")
    }
    losses, lengths = heads.losses(inspected, inspected.examples), [len(target) for _, target in inspected.examples]
    mean = float((losses * torch.tensor(lengths)).sum() / sum(lengths))
    assert mean == pytest.approx(scores["test", "nll_per_token"], rel=1e-3)


# Embeddings and probes --------------------------------------------------------------------------------------------


def planted(alike: float) -> tuple[np.ndarray, list[int], dict[int, str]]:
    """Vectors of 80 tokens, 20 of them in groups of five that have so much in common; frequent ones lie together."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(80, 16))
    vectors[:16] += 1.5  # what is frequent is alike whatever it means
    groups = {token: f"group {token // 20}" for token in range(0, 80, 4)}
    for name in set(groups.values()):
        members = [token for token, group in groups.items() if group == name]
        vectors[members] += alike * generator.normal(size=16)
    return vectors, list(range(80)), groups


def test_similar_embeddings_are_found_where_they_are_planted_and_only_there() -> None:
    similarity = embeddings.similarity(*planted(1.0))
    assert similarity is not None and similarity.p < 0.01 and similarity.within > similarity.upper
    nothing = embeddings.similarity(*planted(0.0))
    assert nothing is not None and nothing.p > 0.05 and nothing.lower <= nothing.within <= nothing.upper


def test_frequency_alone_is_no_similarity() -> None:
    """Groups of frequent tokens have a high cosine here, and so have the tokens that they are compared with."""
    vectors, order, _ = planted(0.0)
    groups = {token: "frequent" for token in range(0, 16, 2)}
    similarity = embeddings.similarity(vectors, order, groups)
    assert similarity is not None and similarity.within > 0.3 and similarity.p > 0.05


def test_too_few_pairs_are_no_test() -> None:
    vectors, order, _ = planted(0.0)
    assert embeddings.similarity(vectors, order, {0: "a", 1: "a", 2: "b"}) is None


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    generator = np.random.default_rng(0)
    labels = [[int(label) for label in generator.integers(10, 14, 12)] for _ in range(60)]
    states = [np.eye(4)[np.asarray(row) - 10] + 0.1 * generator.normal(size=(12, 4)) for row in labels]
    noise = [generator.normal(size=(12, 4)) for _ in labels]
    (probe,) = stream._row("both", "layer 1", "this token", states, labels, [10, 11, 12, 13], 40)
    (nothing,) = stream._row("both", "layer 1", "this token", noise, labels, [10, 11, 12, 13], 40)
    assert probe["accuracy"] > 0.95 and abs(nothing["accuracy"] - 0.25) < 0.12 and probe["n"] == 20 * 12


# The command ------------------------------------------------------------------------------------------------------


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(arguments)
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def test_the_command_writes_a_page_beside_the_runs(runs: dict[Any, Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = runs["encoder", "colours"]
    before = store.modified_files(run, weights=True)
    assert exit_code("inspect", str(run), "--text", "blue house 3") == 0
    written = Path(capsys.readouterr().out.strip())
    assert written == run.parent.parent / "inspect" / run.name / "index.html" and "blue" in written.read_text()
    assert store.modified_files(run, weights=True) == before


def test_the_page_says_what_trained_the_run(
    runs: dict[Any, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = runs["encoder", "colours"]
    environment = sealed.read_json(run / "environment.json")
    assert exit_code("inspect", str(run), "--out", str(tmp_path)) == 0
    header = (tmp_path / "index.html").read_text().partition("<nav")[0]
    assert f"archbench {environment['archbench']}" in header and "unknown version" not in header
    assert page.read(tmp_path)["archbench_commit"] == environment.get("archbench_commit", "")


def test_a_model_that_is_below_its_gate_is_told_at_the_top(runs: dict[Any, Path], tmp_path: Path) -> None:
    """Its baseline is in the folder of its comparison; without one nothing is said of it."""
    run = runs["decoder", "turned"]
    comparison = tmp_path / "comparison"
    own = comparison / "runs" / run.name
    shutil.copytree(run, own)
    assert "5-gram" not in failed_gates(own)
    row = {"dataset": "turned", "split": "test", "name": "ngram", "metric": "bits_per_byte", "value": 0.001}
    sealed.write_sealed(comparison / "references" / "turned.json", [row])
    assert "no better than a byte 5-gram" in failed_gates(own)
    assert exit_code("inspect", str(own), "--out", str(tmp_path / "page")) == 0
    header = (tmp_path / "page" / "index.html").read_text().partition("<nav")[0]
    assert 'class="warning">This model is below its gate: it is no better than a byte 5-gram' in header


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing-like-it"], "no run"),
        (["RUN", "--text", ""], "--text: is empty"),
        (["RUN", "--text", " \n"], "--text: is empty"),
        (["UNTOLD"], "recorded no test examples"),
        (["RUN", "--answer", "red"], "--answer: requires --text, the text to which it is the correct answer"),
        (["RUN", "--text", "red", "--answer", ""], "--answer: is empty"),
        (
            ["LABELS", "--text", "red house 3", "--answer", "redish house"],
            'is no label of this run; did you mean "redish"?',
        ),
        (["WINDOWS", "--text", "red", "--answer", "car"], "--answer: this run was trained on windows of running text"),
    ],
)
def test_what_cannot_be_looked_into_is_one_line(
    runs: dict[Any, Path], arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["decoder", "turned"]
    untold = tmp_path / "runs" / run.name
    shutil.copytree(run, untold)
    (untold / "predictions.parquet").unlink()
    store.write_record(untold, store.read_record(run) or {})
    names = {"RUN": str(run), "UNTOLD": str(untold)}
    names |= {"LABELS": str(runs["encoder", "colours"]), "WINDOWS": str(runs["decoder", "windows"])}
    assert exit_code("inspect", *(names.get(word, word) for word in arguments), "--out", str(tmp_path / "out")) == 2
    messages = [line for line in capsys.readouterr().err.splitlines() if line.startswith("archbench: ")]
    assert len(messages) == 1 and message in messages[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file", "file: cannot be written: File exists"),
        ("file/out", "out: cannot be written: Not a directory"),
        ("/proc/out", "/proc/out: cannot be written: No such file"),
        ("", "--out: is empty"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_anything_is_measured(
    runs: dict[Any, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    message: str,
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert exit_code("inspect", str(runs["decoder", "turned"]), "--out", place) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("archbench: ") and message in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_damaged_snapshot_is_named(runs: dict[Any, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["decoder", "turned"], run)
    first = sorted((run / "snapshots").iterdir())[0]
    first.write_bytes(first.read_bytes()[:100])
    with pytest.raises(InputError, match="snapshot"):
        writing.snapshots(subject.read(runs["decoder", "turned"]), run)


def test_text_from_data_is_shown_and_not_obeyed(runs: dict[Any, Path], tmp_path: Path) -> None:
    measurements = inspect_run(
        runs["decoder", "running"] if ("decoder", "running") in runs else runs["mine.py", "running"], tmp_path
    )
    evil = "<script>alert(1)</script>\x1b[2J"
    measurements["text"]["source_tokens"][0]["token"] = evil
    measurements["maps"][0]["queries"][0] = evil
    measurements["positions"][0]["token"] = evil
    measurements["projection"]["points"][0]["token"] = evil
    page.write(measurements, tmp_path)
    written = (tmp_path / "index.html").read_text()
    assert "<script" not in written and "\x1b" not in written and "&lt;script&gt;" in written
