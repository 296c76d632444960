"""Score against budget: converged means that doubling the budget changes the score by less than the margin."""

import json
from pathlib import Path

import pytest
import synthetic
from synthetic import SENTIMENT, Further, single

from archbench.reports.base import tables
from archbench.reports.claims.claims import claim_verdicts
from archbench.reports.figures import figures
from archbench.reports.questions import shares
from archbench.reports.report import Report

TASK = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6}, seeds=5, spread=0.003, examples=4000)


def judged(root: Path, *parts: tuple[str, float, float]) -> Report:
    further = [Further(TASK, name, name, truth, role="share", share=share) for name, share, truth in parts]
    synthetic.write_store(root, [TASK], further=further)
    return Report(tables.collect(root))


@pytest.mark.parametrize(
    ("half", "ending"),
    [(0.6, " has converged"), (0.5, " has not converged"), (0.7, ": the second half of the budget worsened")],
)
def test_what_doubling_did_is_said(tmp_path: Path, half: float, ending: str) -> None:
    result = judged(tmp_path, ("decoder", 0.5, half))
    [doubling] = result.tested["doubling"]
    assert shares.sentence(doubling).startswith(f"decoder{ending}")


def test_a_pair_has_one_interval_wherever_it_is_tested(tmp_path: Path) -> None:
    """The whole budget against half of it: as a doubling, as a control, and as a claim."""
    halves = [Further(TASK, name, name, 0.5, role="share", share=0.5) for name in TASK.truth]
    runs = synthetic.write_store(tmp_path, [TASK], further=halves)
    head = json.loads((tmp_path / "experiment.json").read_text())
    control = {"role": "control", "architecture": "decoder, half the budget"}
    shared = [
        entry | control for entry in head["entries"] if entry["role"] == "share" and entry["architecture"] == "decoder"
    ]
    synthetic.write_json(tmp_path / "experiment.json", head | {"entries": [*head["entries"], *shared]})
    result = Report(tables.collect(tmp_path))
    claim = next(ruling for ruling in claim_verdicts(result) if ruling.claim.name == "more-data-gated")
    contrasts = [result.tested["doubling"][0], result.tested["control"][0], claim.contrasts[0]]
    assert (
        len(
            {
                (contrast.difference.mean, contrast.difference.standard_error, contrast.difference.df)
                for contrast in contrasts
            }
        )
        == 1
        < len(runs)
    )


def test_the_seeds_of_a_control_count_on_its_part_of_the_budget(tmp_path: Path) -> None:
    halves = [Further(TASK, "decoder", "decoder", 0.5, role="share", share=0.5)]
    synthetic.write_store(tmp_path, [TASK], further=[*halves, *synthetic.controls(TASK, half=0.5)])
    result = Report(tables.collect(tmp_path))
    points = shares.shares(result.comparisons, result.first[0])
    assert [(point.architecture, point.share, point.seeds) for point in points] == [
        ("decoder", 0.5, 10),
        ("decoder", 1.0, 5),
    ]


def test_controls_alone_are_no_curve(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK], further=synthetic.controls(TASK, half=0.5))
    result = Report(tables.collect(tmp_path))
    assert not shares.shares(result.comparisons, result.first[0]) and not result.tested["doubling"]


def test_the_whole_budget_is_the_last_point(tmp_path: Path) -> None:
    result = judged(tmp_path, ("decoder", 0.5, 0.5), ("decoder", 0.25, 0.4), ("encoder", 0.5, 0.5))
    points = shares.shares(result.comparisons, result.first[0])
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
    result = judged(tmp_path, ("decoder", 0.5, 0.2))
    assert all(cell.planned == TASK.seeds for cell in result.first[0].cells)
    assert all(abs(cell.interval.mean - 0.6) < 0.05 for cell in result.first[0].cells)
    assert "shares" in {figure.name for figure in figures.figures(result)}


def test_without_parts_there_is_nothing_to_draw(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK])
    result = Report(tables.collect(tmp_path))
    assert shares.shares(result.comparisons, result.first[0]) == []
    assert "shares" not in {figure.name for figure in figures.figures(result)}
