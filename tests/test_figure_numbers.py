"""The numbers beside each figure of a published comparison are means of its tables, worked out here by other code."""

import io

import numpy as np
import pandas as pd
import pytest
import reference_pages
from reference_pages import NAMES, REFERENCE

CLOSE = {"rel": 1e-9, "abs": 1e-9}


def table(name: str, which: str) -> pd.DataFrame:
    return pd.read_parquet(REFERENCE / name / "tables" / f"{which}.parquet")


ONE_MATCH = [name for name in NAMES if table(name, "entries")["match"].nunique() == 1]


def figure_numbers(name: str, figure: str) -> pd.DataFrame:
    """The numbers of a figure; none where the comparison has no such figure."""
    numbers = {entry.name: entry.numbers for entry in reference_pages.drawn(name)}
    return pd.read_csv(io.StringIO(numbers[figure].to_csv(index=False))) if figure in numbers else pd.DataFrame()


def entered(name: str) -> pd.DataFrame:
    entries = table(name, "entries")
    return entries.assign(condition=entries["condition"].fillna("").astype(str))


def scored(name: str) -> pd.DataFrame:
    """A row for each entered run and metric of the test split."""
    scores, entries, runs = table(name, "scores"), entered(name), table(name, "runs")
    facts = runs.drop(columns=[column for column in entries if column != "run" and column in runs])
    return entries.merge(scores[scores["split"] == "test"], on="run").merge(facts, on="run")


def first(rows: pd.DataFrame) -> pd.DataFrame:
    """Those that are compared under the first condition."""
    return rows[(rows["role"] == "compared") & (rows["condition"] == "")]


def check(figure: pd.DataFrame, rows: pd.DataFrame, keys: list[str]) -> None:
    """Every mean of a figure is that of the scores with the same keys, within its interval, over as many seeds."""
    expected = rows.groupby([*keys, "metric"])["value"].agg(["mean", "count"])
    for row in figure.to_dict("records"):
        mean, count = expected.loc[tuple(row[key] for key in [*keys, "metric"])]
        assert row["mean"] == pytest.approx(mean, **CLOSE)
        assert row.get("seeds", count) == count
        assert not row["lower"] > row["mean"] and not row["upper"] < row["mean"]


@pytest.mark.parametrize("name", ONE_MATCH)
def test_scores(name: str) -> None:
    figure, rows = figure_numbers(name, "headline"), scored(name).rename(columns={"architecture": "name"})
    architectures = figure[figure["kind"] == "architecture"]
    assert len(architectures) == len(first(rows).groupby(["dataset", "name"]).size())
    check(architectures, first(rows), ["dataset", "name"])
    further = figure_numbers(name, "headline_further")
    if len(further):
        more = further[further["condition"].isin(rows["condition"])].rename(columns={"architecture": "name"})
        assert len(more)
        check(more, rows[rows["role"] == "compared"], ["dataset", "condition", "name"])
    references = table(name, "references")
    keys = ["dataset", "metric", "name"]
    baselines = references[references["split"] == "test"].set_index(keys)["value"]
    for row in figure[figure["kind"] == "reference"].to_dict("records"):
        assert row["mean"] == pytest.approx(baselines.loc[tuple(row[key] for key in keys)], **CLOSE)


@pytest.mark.parametrize("name", ONE_MATCH)
def test_costs(name: str) -> None:
    """Costs relative to the first architecture, scores between the best classical row and the best possible one."""
    figure, rows = figure_numbers(name, "cost"), first(scored(name))
    if figure.empty:  # one architecture, or a metric without a best value
        primary = set(figure_numbers(name, "headline")["metric"])
        assert primary == {"stored_bits"} or rows.groupby("dataset")["architecture"].nunique().max() == 1
        return
    figure = figure[figure["condition"].isna()]
    check(figure.assign(lower=np.nan, upper=np.nan), rows, ["dataset", "architecture"])
    references = table(name, "references")
    for (dataset, axis), points in figure.groupby(["dataset", "axis"]):
        selected = rows[rows["dataset"] == dataset]
        costs, base = selected.groupby("architecture")[axis].mean(), selected["architecture"].iloc[0]
        metric = points["metric"].iloc[0]
        lower = metric == "bits_per_byte"
        classical = references[
            (references["dataset"] == dataset)
            & (references["metric"] == metric)
            & (references["split"] == "test")
            & (references["name"] != "untrained")
        ]["value"]
        floor, ceiling = classical.agg("min" if lower else "max"), 0 if lower else 100 if metric == "bleu" else 1
        for row in points.to_dict("records"):
            assert row["cost"] == pytest.approx(costs[row["architecture"]], **CLOSE)
            ratio = row["cost"] / costs[base]
            ratio = 1 / ratio if axis == "generate_tokens_per_second" else ratio
            assert row["relative_cost"] == pytest.approx(ratio, rel=1e-6)
            assert row["scaled"] == pytest.approx((row["mean"] - floor) / (ceiling - floor), rel=1e-6)


@pytest.mark.parametrize("axis", ["tokens", "flops"])
@pytest.mark.parametrize("name", ONE_MATCH)
def test_curves(name: str, axis: str) -> None:
    """Means over seeds at the points of one of them, between whose own points a straight line is drawn."""
    figure, curves = figure_numbers(name, f"curves_{axis}"), table(name, "curves")
    figure = figure[figure["condition"].isna()]
    entries = first(entered(name))[["run", "dataset", "architecture"]]
    validation = curves[curves["split"] == "validation"].merge(entries, on="run")
    assert len(figure)
    for (dataset, architecture, metric), points in figure.groupby(["dataset", "architecture", "metric"]):
        selected = validation[
            (validation["dataset"] == dataset)
            & (validation["architecture"] == architecture)
            & (validation["metric"] == metric)
        ]
        lines = [run.drop_duplicates(axis, keep="last").sort_values(axis) for _, run in selected.groupby("run")]
        assert set(points["seeds"]) == {len(lines)}
        means = np.mean([np.interp(points[axis], line[axis], line["value"]) for line in lines], 0)
        assert points["value"].to_numpy() == pytest.approx(means, **CLOSE)
        assert points[axis].iloc[-1] == pytest.approx(min(line[axis].max() for line in lines))


def test_parts_of_the_budget() -> None:
    rows = scored("scaling")
    parts = first(rows[rows["share"] == 1])
    shares = pd.concat([parts, rows[rows["role"] == "share"]])
    check(figure_numbers("scaling", "shares"), shares, ["dataset", "architecture", "share"])


@pytest.mark.parametrize(
    ("name", "figure", "key"), [("scaling", "scaling", "parameters"), ("depth-width", "depth", "depth")]
)
def test_size_and_depth(name: str, figure: str, key: str) -> None:
    rows = scored(name)
    rows = rows[rows["role"] == "compared"]
    rows = rows.assign(tokens=(rows["train_tokens"] / 10_000).round())
    numbers = figure_numbers(name, figure)
    numbers = numbers.assign(tokens=(numbers["tokens"] / 10_000).round())
    assert len(numbers) == len(rows.groupby(["dataset", "architecture", key, "tokens"]).size())
    check(numbers, rows, ["dataset", "architecture", key, "tokens"])
