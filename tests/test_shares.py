"""Score against budget: converged means that doubling the budget changes the score by less than the margin."""

import json
from pathlib import Path

import pytest
import synthetic
from synthetic import SENTIMENT, Further, single

from archbench.reports.analysis import shares
from archbench.reports.analysis.judgement import Judged, judge
from archbench.reports.base import tables
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.figures import figures

TASK = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6}, seeds=5, spread=0.003, examples=4000)


def judged(root: Path, *parts: tuple[str, float, float]) -> Judged:
    further = [Further(TASK, name, name, truth, role="share", share=share) for name, share, truth in parts]
    synthetic.write_store(root, [TASK], further=further)
    return judge(tables.collect(root))


@pytest.mark.parametrize(
    ("half", "says"),
    [(0.6, " has converged"), (0.5, " has not converged"), (0.7, ": all of the budget instead of half worsened")],
)
def test_what_doubling_did_is_said(tmp_path: Path, half: float, says: str) -> None:
    found = judged(tmp_path, ("decoder", 0.5, half))
    [one] = shares.doublings(found)
    assert shares.sentence(one).startswith(f"decoder{says}")


def test_a_pair_has_one_interval_wherever_it_is_tested(tmp_path: Path) -> None:
    """The whole budget against half of it: as a doubling, as a control, and as a claim."""
    halves = [Further(TASK, name, name, 0.5, role="share", share=0.5) for name in TASK.truth]
    runs = synthetic.write_store(tmp_path, [TASK], further=halves)
    head = json.loads((tmp_path / "experiment.json").read_text())
    control = {"role": "control", "architecture": "decoder, half the budget"}
    shared = [one | control for one in head["entries"] if one["role"] == "share" and one["architecture"] == "decoder"]
    synthetic.write_json(tmp_path / "experiment.json", head | {"entries": [*head["entries"], *shared]})
    found = judge(tables.collect(tmp_path))
    claim = next(one for one in claim_verdicts(found) if one.claim.name == "more-data-gated")
    ones = [shares.doublings(found)[0], found.tested.controls[0].contrast, claim.contrasts[0]]
    assert (
        len({(one.difference.mean, one.difference.standard_error, one.difference.df) for one in ones}) == 1 < len(runs)
    )


def test_the_seeds_of_a_control_count_on_its_part_of_the_budget(tmp_path: Path) -> None:
    halves = [Further(TASK, "decoder", "decoder", 0.5, role="share", share=0.5)]
    synthetic.write_store(tmp_path, [TASK], further=[*halves, *synthetic.controls(TASK, half=0.5)])
    found = judge(tables.collect(tmp_path))
    points = shares.shares(found.comparisons, found.first[0])
    assert [(one.architecture, one.share, one.seeds) for one in points] == [("decoder", 0.5, 10), ("decoder", 1.0, 5)]


def test_controls_alone_are_no_curve(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK], further=synthetic.controls(TASK, half=0.5))
    found = judge(tables.collect(tmp_path))
    assert not shares.shares(found.comparisons, found.first[0]) and not shares.doublings(found)


def test_the_whole_budget_is_the_last_point(tmp_path: Path) -> None:
    found = judged(tmp_path, ("decoder", 0.5, 0.5), ("decoder", 0.25, 0.4), ("encoder", 0.5, 0.5))
    points = shares.shares(found.comparisons, found.first[0])
    assert [(point.architecture, point.share) for point in points] == [
        ("decoder", 0.25),
        ("decoder", 0.5),
        ("decoder", 1.0),
        ("encoder", 0.5),
        ("encoder", 1.0),
    ]
    assert [point.tokens for point in points[:3]] == sorted(point.tokens for point in points[:3])
    assert points[0].interval.mean < points[1].interval.mean < points[2].interval.mean


def test_parts_of_the_budget_are_no_part_of_the_scores(tmp_path: Path) -> None:
    found = judged(tmp_path, ("decoder", 0.5, 0.2))
    assert all(cell.planned == TASK.seeds for cell in found.first[0].cells)
    assert all(abs(cell.interval.mean - 0.6) < 0.05 for cell in found.first[0].cells)
    assert "shares" in {figure.name for figure in figures.figures(found)}


def test_without_parts_there_is_nothing_to_draw(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK])
    found = judge(tables.collect(tmp_path))
    assert shares.shares(found.comparisons, found.first[0]) == []
    assert "shares" not in {figure.name for figure in figures.figures(found)}
