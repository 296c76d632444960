"""Size and depth: what is drawn is what the tables hold, and no more is said of it than the tests decide."""

import csv
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import fmean, variance

import figure_stores
import pandas as pd
import pytest
import synthetic
from synthetic import PHRASES, SENTIMENT, SHAKESPEARE, Imagined, Planted, single

from archbench import reports
from archbench.reports.base import tables
from archbench.reports.figures import figures
from archbench.reports.figures.figure import Figure
from archbench.reports.figures.figure import drawn as drawn_figure
from archbench.reports.page import page, summary
from archbench.reports.page.elements.bottom_line import bottom_line
from archbench.reports.questions import scaling
from archbench.reports.questions.sweeps import DEPTH, SIZE, scores, sweeps
from archbench.reports.readings.size_order import size_orders
from archbench.reports.report import Report
from archbench.runs.experiment import spec

NAMES = ("decoder", "encoder", "encoder-decoder")
SIZES = (50_000, 125_000, 320_000, 800_000, 2_000_000)
TASK = single(SENTIMENT, seeds=3, spread=0.003, examples=2000)


def read(root: Path) -> Report:
    return Report(tables.collect(root))


def figures_by_name(judged: Report) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures.figures(judged)}


def at(value: int, *scores: float, width: int = 64, tokens: int = Planted.tokens) -> Planted:
    return Planted(value, dict(zip(NAMES, scores, strict=False)), width, tokens)


def trends(root: Path, setting: str, base: Planted, *points: Planted, task: Imagined = TASK) -> list[str]:
    """What is said of a sweep with these planted scores."""
    synthetic.write_sweep(root, task, setting, base, points)
    [trend] = read(root).trends
    return scaling.sentences(trend)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two architectures at three sizes, the middle one first; the second is ahead from the middle on."""
    root = tmp_path_factory.mktemp("sizes")
    task = single(SHAKESPEARE, seeds=3, spread=0.003)
    points = [at(2_000_000, 2.4, 2.3, width=192), at(50_000, 3.0, 3.1, width=32)]
    synthetic.write_sweep(root, task, "parameters", at(320_000, 2.6, 2.5), points)
    reports.build(root)
    return root


# Presets.


@pytest.mark.parametrize(
    ("name", "axis", "sweeps"),
    [
        ("scaling", SIZE, {"": (*SIZES[:-1], 3_000_000), "on 50,000 tokens": (*SIZES[:-1], 3_000_000)}),
        ("depth-width", DEPTH, {"": (1, 2, 4, 8, 12)}),
    ],
)
def test_the_conditions_of_a_preset_are_its_points(
    name: str, axis: object, sweeps: dict[str, Sequence[int]], tmp_path: Path
) -> None:
    experiment = spec.preset(name)
    names = [task.condition for task in experiment.conditions if task.name == "phrases-en-de" and task.share == 1]
    points = [at(number, 0.5, 0.5) for number in range(len(names) + 1)]
    synthetic.write_sweep(tmp_path, single(PHRASES, seeds=2, examples=20), "parameters", points[0], points[1:])
    head = json.loads((tmp_path / "experiment.json").read_text())
    for entry in head["entries"]:
        if entry["condition"]:
            entry["condition"] = names[int(entry["condition"].split()[1]) - 1]
    synthetic.write_json(tmp_path / "experiment.json", head | {"experiment": experiment.digestable()})
    reported_sweeps = [trend.sweep for trend in read(tmp_path).trends]
    assert all(sweep.axis is axis for sweep in reported_sweeps)
    assert {sweep.given: tuple(sweep.points) for sweep in reported_sweeps} == sweeps


# Figures.


def test_numbers_of_the_figure_are_those_of_the_tables(sizes: Path) -> None:
    with (sizes / "report" / "scaling.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["architecture"], float(row["parameters"])) for row in rows] == [
        (name, size) for name in ("decoder", "encoder") for size in (50_000, 320_000, 2_000_000)
    ]
    runs, scores = (pd.read_csv(sizes / "tables" / f"{name}.csv") for name in ("runs", "scores"))
    scores = scores[(scores["metric"] == "bits_per_byte") & (scores["split"] == "test")]
    means = runs.merge(scores, on="run").groupby(["architecture", "parameters"])["value"].mean()
    for row in rows:
        assert float(row["mean"]) == pytest.approx(means[row["architecture"], int(float(row["parameters"]))])
        assert float(row["lower"]) < float(row["mean"]) < float(row["upper"])
        assert float(row["tokens_per_parameter"]) == pytest.approx(1_000_000 / float(row["parameters"]))
        assert (row["reference"], float(row["reference_value"]), row["seeds"]) == ("ngram", 2.43, "3")


def test_what_a_sweep_shows_is_no_change_beside_it(sizes: Path) -> None:
    judged = read(sizes)
    assert not judged.tested["effect"]
    assert {"scaling"} == set(figures_by_name(judged)) & {"scaling", "depth", "effects"}
    html = (sizes / "report" / "index.html").read_text(encoding="utf-8")
    [trend] = judged.trends
    assert 'id="figure-scaling"' in html and 'id="figure-depth"' not in html
    sentences = scaling.sentences(trend)
    assert all(escape(sentence) in html for sentence in sentences)
    assert [f"shakespeare: {sentence}" for sentence in sentences] == summary.sentences(judged)[-len(sentences) :]
    tested = pd.read_csv(sizes / "report" / "contrasts.csv")
    assert list(tested.loc[tested["role"] == "scaling", "first"]) == [
        contrast.first for contrast in trend.between_points
    ]


def test_without_points_there_is_nothing_to_draw(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [SENTIMENT])
    judged = read(tmp_path)
    assert not judged.trends and not {"scaling", "depth"} & set(figures_by_name(judged))


@pytest.mark.parametrize(
    "change",
    [
        {"training": {"learning_rate": 0.01, "dropout": 0.1}},
        {"supervision": "target"},
        {"share": 0.5},
        {"condition": "another name"},
        {"budget": {"parameters": "many"}},
    ],
)
def test_a_condition_that_changes_more_than_the_size_is_no_point(tmp_path: Path, change: dict[str, object]) -> None:
    points = [at(50_000, 0.4), at(100_000, 0.5)]
    synthetic.write_sweep(tmp_path, TASK, "parameters", at(320_000, 0.6), points)
    head = json.loads((tmp_path / "experiment.json").read_text())
    head["experiment"]["conditions"][0] |= change
    synthetic.write_json(tmp_path / "experiment.json", head)
    judged = read(tmp_path)
    [trend] = judged.trends
    assert list(trend.sweep.points) == [100_000, 320_000]
    assert [effect.first for effect in judged.tested["effect"]] == ["decoder with point 50000"]


@pytest.mark.parametrize("key", ["tasks", "conditions"])
@pytest.mark.parametrize("value", [None, [3], "x", {"name": "sentiment"}, [{"name": "sentiment", "budget": 3}]])
def test_a_broken_specification_has_no_sweep(tmp_path: Path, key: str, value: object) -> None:
    synthetic.write_sweep(tmp_path, single(TASK, examples=20), "parameters", at(320_000, 0.6), [at(50_000, 0.4)])
    synthetic.specify(tmp_path, key, value)
    assert not read(tmp_path).trends


def test_two_sizes_of_one_value_are_one_point(tmp_path: Path) -> None:
    synthetic.write_sweep(tmp_path, TASK, "parameters", at(320_000, 0.6), [at(50_000, 0.4), at(60_000, 0.5)])
    head = json.loads((tmp_path / "experiment.json").read_text())
    head["experiment"]["conditions"][1]["budget"]["parameters"] = 50_000
    synthetic.write_json(tmp_path / "experiment.json", head)
    judged = read(tmp_path)
    [trend] = judged.trends
    assert list(trend.sweep.points) == [50_000, 320_000]
    assert [effect.first for effect in judged.tested["effect"]] == ["decoder with point 60000"]


def test_points_of_the_same_sizes_on_fewer_tokens_are_a_sweep_of_their_own(tmp_path: Path) -> None:
    few = [at(value, score, tokens=200_000) for value, score in ((50_000, 0.3), (320_000, 0.35), (2_000_000, 0.4))]
    many = [at(50_000, 0.4), at(2_000_000, 0.7)]
    synthetic.write_sweep(tmp_path, TASK, "parameters", at(320_000, 0.6), [*few[:1], *many, *few[1:]])
    judged = read(tmp_path)
    by_title = {trend.sweep.title: trend for trend in judged.trends}
    assert list(by_title) == ["sentiment", "sentiment on 200,000 tokens"]
    for trend, planted in zip(by_title.values(), ([*many[:1], at(320_000, 0.6), many[1]], few), strict=True):
        [gained, *_] = trend.between_points
        assert list(trend.sweep.points) == [50_000, 320_000, 2_000_000]
        gain = planted[-1].truth["decoder"] - planted[0].truth["decoder"]
        assert gained.difference.mean == pytest.approx(gain, abs=0.02)
    contrasts = [contrast for trend in judged.trends for contrast in trend.between_points]
    assert {contrast.corrected_for for contrast in contrasts} == {4} and not judged.tested["effect"]
    assert contrasts[-1].first == "decoder with 2,000,000 parameters on 200,000 tokens"
    assert any(
        "sentiment on 200,000 tokens: decoder: growth from 50,000" in sentence for sentence in summary.sentences(judged)
    )
    numbers = figures_by_name(judged)["scaling"].numbers
    means = numbers.set_index(["tokens", "point" if "point" in numbers else "parameters"])["mean"]
    assert len(means) == 6 and means[200_000].max() < means[1_000_000].min() + 0.05
    assert [panel.title for panel in figures_by_name(judged)["scaling"].panels] == list(by_title)


@pytest.mark.parametrize("further", [at(value, 0.5, tokens=200_000) for value in (320_000, 50_000, 3_000_000)])
def test_one_point_on_other_tokens_is_a_change(tmp_path: Path, further: Planted) -> None:
    synthetic.write_sweep(tmp_path, TASK, "parameters", at(320_000, 0.6), [further, at(50_000, 0.4)])
    judged = read(tmp_path)
    [trend] = judged.trends
    assert [point.group.runs["train_tokens"].iloc[0] for point in trend.sweep.points.values()] == [1_000_000] * 2
    assert [effect.first for effect in judged.tested["effect"]] == [f"decoder with {further.condition}"]


def test_an_architecture_that_skips_a_point_has_no_point_there(tmp_path: Path) -> None:
    points = [at(50_000, 0.4, 0.5), at(2_000_000, 0.7)]
    synthetic.write_sweep(tmp_path, TASK, "parameters", at(320_000, 0.6, 0.6), points)
    judged = read(tmp_path)
    [sweep] = sweeps(judged.comparisons, judged.first, judged.further)
    points = [(score.architecture, score.value) for score in scores(judged.comparisons, sweep)]
    assert points == [("decoder", value) for value in (50_000, 320_000, 2_000_000)] + [
        ("encoder", value) for value in (50_000, 320_000)
    ]
    sentences = scaling.sentences(judged.trends[0])
    assert sentences[1].startswith("encoder: growth from 50,000 to 320,000 parameters")
    assert not any("rder of means" in sentence for sentence in sentences)


@pytest.mark.parametrize("name", ["$x^2$", r"$\frac", "a" * 300, "\u6a21\u578b \u0000\n\x1b[31m", "<b>&amp;", "=1+1"])
@pytest.mark.parametrize("setting", ["parameters", "depth"])
def test_any_name_can_be_drawn(tmp_path: Path, name: str, setting: str) -> None:
    task = single(TASK, examples=20, seeds=2, references={name: 0.45})
    runs = synthetic.write_sweep(tmp_path, task, setting, at(3, 0.5, 0.6), [at(1, 0.4, 0.5), at(2, 0.4, 0.5)])
    for run in runs:
        other = {"architecture": name} if "-encoder-" in run else {}
        synthetic.change_record(tmp_path, run, dataset=name, **other)
    path = tmp_path / "experiment.json"
    head = json.loads(path.read_text())
    named = {"encoder": name, "sentiment": name}
    for entry in head["entries"]:
        entry |= {key: named.get(entry[key], entry[key]) for key in ("architecture", "dataset")}
    for task_ in (*head["experiment"]["tasks"], *head["experiment"]["conditions"]):
        task_["name"] = name
    synthetic.write_json(path, head)
    judged = read(tmp_path)
    [figure] = [figure for key, figure in figures_by_name(judged).items() if key in ("scaling", "depth")]
    [*_, table] = drawn_figure(figure).save(tmp_path / "drawn")
    assert name in figure.architectures and len(figure.numbers) == 6
    assert "=1+1" not in table.read_text().replace("'=1+1", "")
    html = page.render(judged, [drawn_figure(figure)])
    assert "<b>&amp;" not in html and (name != "<b>&amp;" or escape(name) in html)


# What is said.


@pytest.mark.parametrize(
    ("top", "ending"),
    [
        (0.70, "; the last step, from 320,000, improved accuracy by 0."),
        (0.60, "; the last step, from 320,000, changed accuracy by less than the margin of 0.02"),
        (0.50, "; the last step, from 320,000, worsened accuracy by 0."),
    ],
)
def test_what_the_last_step_did_is_said(tmp_path: Path, top: float, ending: str) -> None:
    task = single(TASK, seeds=5, spread=0.001, examples=4000)
    sentences = trends(tmp_path, "parameters", at(320_000, 0.6), at(50_000, 0.4), at(2_000_000, top), task=task)
    assert sentences[0].startswith("decoder: growth from 50,000 to 2,000,000 parameters improved accuracy by ")
    assert ending in sentences[0]


def test_lower_is_better_where_it_is(sizes: Path) -> None:
    sentences = scaling.sentences(read(sizes).trends[0])
    assert sentences[0].startswith("decoder: growth from 50,000 to 2,000,000 parameters bits per byte fell by 0.")
    assert "the last step, from 320,000, improved accuracy by 0." in sentences[0]


def test_what_size_bought_stands_in_short(sizes: Path, tmp_path: Path) -> None:
    sentence = "Better at the largest size than at the smallest: decoder and encoder on shakespeare."
    assert sentence in bottom_line(read(sizes))
    synthetic.write_sweep(tmp_path, TASK, "parameters", at(320_000, 0.6, 0.7), [at(50_000, 0.4, 0.7)])
    assert any(
        sentence.endswith(": decoder on sentiment; not shown in 1 of 2 cases.")
        for sentence in bottom_line(read(tmp_path))
    )


def test_an_order_that_turns_is_told_and_whether_that_is_decided(sizes: Path, tmp_path: Path) -> None:
    turned = scaling.sentences(read(sizes).trends[0])[2]
    assert turned == (
        "Order of means: decoder, encoder with 50,000; encoder, decoder with 320,000 and 2,000,000 parameters. "
        "Decided: 3 of 3 pairs, in both directions."
    )
    points = (at(320_000, 0.60, 0.70), at(50_000, 0.4, 0.5), at(2_000_000, 0.6, 0.8))
    same = trends(tmp_path, "parameters", *points)[2]
    assert same.endswith("parameters. Decided: 3 of 3 pairs, in one direction.") and same.count("encoder, decoder") == 1


def test_few_tokens_for_many_parameters_are_told(sizes: Path) -> None:
    [early] = [line for line in scaling.sentences(read(sizes).trends[0]) if line.startswith("Early training")]
    assert "320,000 parameters and 2,000,000 parameters (0.500 to " in early


def test_the_best_depth_is_told_with_what_is_told_from_it(tmp_path: Path) -> None:
    task = single(TASK, seeds=9, spread=0.001, examples=8000)
    points = [at(1, 0.4, width=120), at(2, 0.7, width=88), at(12, 0.7001, width=36)]
    [sentence, *_] = trends(tmp_path, "depth", at(4, 0.6, width=60), *points, task=task)
    assert sentence.startswith(("decoder: best mean with 2 layers, 0.7", "decoder: best mean with 12 layers, 0.7"))
    assert "accuracy; worse with 1 and 4; equal with " in sentence
    [trend] = read(tmp_path).trends
    assert len(trend.between_points) == 6 and all(
        contrast.corrected_for == 6 for contrast in trend.between_points
    )  # every pair, since the best is picked
    figure = figures_by_name(read(tmp_path))["depth"]
    assert list(figure.numbers["depth"]) == [1, 2, 4, 12] and list(figure.numbers["width"]) == [120, 88, 60, 36]


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    task = single(TASK, seeds=1)
    sentences = trends(tmp_path, "parameters", at(320_000, 0.6, 0.7), at(50_000, 0.4, 0.5), task=task)
    assert "was not tested" in sentences[0] and "0 of 2 pairs" in sentences[2]


def test_without_other_contrasts_size_is_the_bottom_line(tmp_path: Path) -> None:
    synthetic.write_sweep(tmp_path, TASK, "parameters", at(320_000, 0.6), [at(50_000, 0.4)])
    synthetic.specify(tmp_path, "contrasts", [])
    assert bottom_line(read(tmp_path))[0].startswith("sentiment: decoder: growth from 50,000 to 320,000 parameters")


# The order at another size.


def test_the_order_at_another_size_counts_pairs_in_the_same_direction_and_divides_range_by_spread(sizes: Path) -> None:
    report = read(sizes)
    by_size = {entry.other.group.place.condition: entry for entry in size_orders(report)}
    agreeing = {condition: (entry.agreeing, entry.pairs) for condition, entry in by_size.items()}
    assert sorted(agreeing.values()) == [(0, 1), (1, 1)]  # 50,000 parameters: the other one is ahead
    for entry in by_size.values():
        values = [list(cell.values.values()) for cell in entry.other.scored]
        means, spread = [fmean(own) for own in values], fmean(variance(own) for own in values) ** 0.5
        assert entry.other_ratio == pytest.approx((max(means) - min(means)) / spread)
    assert 'id="order"' in page.render(report, [])


def test_without_another_size_there_is_no_order_to_hold() -> None:
    report = figure_stores.judged("families")
    assert not size_orders(report) and 'id="order"' not in page.render(report, [])
