"""The steps of a path add up to the whole difference and name what changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from synthetic import SHAKESPEARE, Further

from archbench.reports.base import tables
from archbench.reports.figures import figures
from archbench.reports.figures.figure import drawn
from archbench.reports.page.page import render
from archbench.reports.readings import waterfall
from archbench.reports.readings.waterfall import Waterfall
from archbench.reports.report import Report
from archbench.reports.results import place

TRUTH = {"decoder": 2.6, "encoder": 3.1, "encoder-decoder": 2.5, "prefix-decoder": 2.58}
TASK = replace(SHAKESPEARE, truth=TRUTH, spread=0.005, seeds=4)
DESIGNS_BETWEEN = {
    "prefix-decoder": 2.58,
    "shared-encoder-decoder": 2.55,
    "next-cell-encoder": 2.8,
    "suffix-encoder": 2.9,
}
FURTHER = {"decoder": 2.7, "encoder": 3.0, "suffix-encoder": 2.9}


def judged(root: Path, further: dict[str, float]) -> Report:
    condition = "target supervision"
    runs = [
        Further(TASK, name, name, truth, role="compared", condition=condition, changes={"supervision": "target"})
        for name, truth in further.items()
    ]
    synthetic.write_store(root, [TASK], further=runs)
    return Report(tables.collect(root))


def paths(judgement: Report) -> dict[tuple[str, str], Waterfall]:
    return {(entry.first, entry.last): entry for entry in waterfall.waterfalls(judgement)}


def test_steps_add_up_and_name_single_changes(tmp_path: Path) -> None:
    by_pair = paths(judged(tmp_path, FURTHER))
    entry = by_pair["decoder", "encoder"]
    assert [step.changes for step in entry.steps] == [
        ("no loss on the source",),
        ("prefix mask",),
        ("full mask", "suffix masking"),
        ("any-order masking",),
        ("a loss on the source",),
    ]
    assert sum(step.contrast.difference.mean for step in entry.steps) == pytest.approx(entry.whole.difference.mean)
    planted = [-0.1, 0.12, -0.32, -0.1, -0.1]
    assert [step.contrast.difference.mean for step in entry.steps] == pytest.approx(planted, abs=0.04)
    assert all(step.contrast.difference.known for step in entry.steps)


def test_every_step_is_a_contrast_of_the_report_and_tested_once(tmp_path: Path) -> None:
    report = judged(tmp_path, FURTHER)
    families = [report.tested[name] for name in ("primary", "exploratory", "cause")]
    sides = [(entry.condition, frozenset((entry.first, entry.second))) for family in families for entry in family]
    assert report.tested["cause"] and len(set(sides)) == len(sides)
    differences = {abs(entry.difference.mean) for family in families for entry in family}
    for entry in waterfall.waterfalls(report):
        assert {abs(step.contrast.difference.mean) for step in entry.steps} <= differences


def test_every_axis_has_its_own_paths(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK], matches=("flops", "loss-tokens"))
    judgement = Report(tables.collect(tmp_path))
    entries = [entry for entry in waterfall.waterfalls(judgement) if entry.last == "encoder-decoder"]
    first, second = entries
    assert [entry.axis for entry in entries] == [place.MATCHES["flops"], place.MATCHES["loss-tokens"]]
    rows = judgement.comparisons.tables["runs"]
    for entry in entries:
        assert sum(step.contrast.difference.mean for step in entry.steps) == pytest.approx(entry.whole.difference.mean)
        assert f"on shakespeare at {entry.axis}, bits per byte" in entry.sentence
    assert rows["match"].nunique() == 2 and first.whole.difference != second.whole.difference
    (figure,) = (figure for figure in figures.figures(judgement) if figure.name == "causes")
    assert set(figure.numbers["axis"]) == {entry.axis for entry in entries}


def test_a_missing_neighbour_joins_its_steps(tmp_path: Path) -> None:
    entry = paths(judged(tmp_path, {}))["decoder", "encoder"]
    assert [step.changes for step in entry.steps] == [
        ("prefix mask", "no loss on the source"),
        ("full mask", "any-order masking", "a loss on the source"),
    ]
    assert sum(step.contrast.difference.mean for step in entry.steps) == pytest.approx(entry.whole.difference.mean)


def test_the_page_and_its_figure_show_them(tmp_path: Path) -> None:
    judgement = judged(tmp_path, FURTHER)
    [causes] = [figure for figure in figures.figures(judgement) if figure.name == "causes"]
    assert len(causes.panels) == 3
    assert causes.numbers.groupby("path").size().tolist() == [6, 4, 5]


@pytest.mark.parametrize(("designs", "leading"), [({"prefix-decoder": 2.58}, "headline"), (DESIGNS_BETWEEN, "causes")])
def test_causes_lead_a_page_of_mostly_designs_between_families(
    tmp_path: Path, designs: dict[str, float], leading: str
) -> None:
    families = {name: TRUTH[name] for name in ("decoder", "encoder", "encoder-decoder")}
    synthetic.write_store(tmp_path, [replace(TASK, truth=families | designs)])
    judgement = Report(tables.collect(tmp_path))
    chosen = [figure for figure in figures.figures(judgement) if figure.name in ("causes", "headline")]
    first_screen, _, rest = render(judgement, list(map(drawn, chosen))).partition('<nav aria-label="sections"')
    for name in ("causes", "headline"):
        assert (f'<figure id="figure-{name}"' in first_screen) == (name == leading)
        assert (f'<figure id="figure-{name}"' in rest) == (name != leading)


def test_a_design_below_its_gate_is_a_step_with_a_label(tmp_path: Path) -> None:
    between = replace(TASK, references=TASK.references | {"ngram": 2.95})
    all_paths = set(paths(judged(tmp_path / "all", FURTHER)))
    synthetic.write_store(tmp_path / "some", [between])
    result = Report(tables.collect(tmp_path / "some"))
    assert all_paths <= set(paths(result))
    for row in waterfall.numbers(waterfall.waterfalls(result)):
        assert ("encoder is below its gate" in str(row["gate"])) == ("encoder" in (row["from"], row["to"]))


def test_a_design_without_a_finished_run_is_left_out(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK])
    frames = tables.collect(tmp_path)
    runs = frames["runs"]
    open_runs = runs["architecture"] == "prefix-decoder"
    unfinished = runs.assign(status=runs["status"].mask(open_runs, "unfinished"))
    scores = frames["scores"][~frames["scores"]["run"].isin(runs.loc[open_runs, "run"])]
    assert paths(Report(tables.completed(frames)))
    assert not paths(Report(tables.completed({**frames, "runs": unfinished, "scores": scores})))


def test_two_ends_alone_are_no_path(tmp_path: Path) -> None:
    task = replace(SHAKESPEARE, truth={"decoder": 2.6, "encoder": 3.1})
    synthetic.write_store(tmp_path, [task])
    assert not waterfall.waterfalls(Report(tables.collect(tmp_path)))


def test_with_a_loss_on_the_target_alone_no_step_is_about_the_source(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK])
    frames = tables.collect(tmp_path)
    judgement = Report(tables.completed({**frames, "runs": frames["runs"].assign(supervision="target")}))
    assert [step.changes for step in paths(judgement)["decoder", "encoder"].steps] == [
        ("prefix mask",),
        ("full mask", "any-order masking"),
    ]
    factors = {factor.about for factor in judgement.tested["factor"]}
    assert "mask: source read in both directions" in factors
    assert not any("no loss on it" in what or "none on the source" in what for what in factors)
