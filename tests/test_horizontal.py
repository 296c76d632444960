"""How many times the budget one architecture needs for another's score, recovered from planted curves."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from synthetic import SENTIMENT, Further, single

from archbench.reports.base import tables
from archbench.reports.base.statistics import Interval
from archbench.reports.questions.shares import Share
from archbench.reports.readings import horizontal
from archbench.reports.readings.horizontal import Distance, distance
from archbench.reports.report import Report
from archbench.tasks.metrics.builtin import BUILTIN

TOKENS = (1e5, 2e5, 4e5, 8e5)
ERROR = 0.01


def curve(name: str, times: float, error: float = ERROR, noise: Sequence[float] = (0.0,) * 4) -> list[Share]:
    """Bits per byte that fall by 0.2 with each doubling of the tokens; ``times`` as many tokens for the same bits."""
    points = []
    for tokens, shift in zip(TOKENS, noise, strict=True):
        bits = 3.0 - 0.2 * math.log2(tokens / times / TOKENS[0]) + shift
        interval = Interval(bits, bits - 2 * error, bits + 2 * error, error, 30)
        points.append(Share(name, tokens / TOKENS[-1], tokens, 3 * tokens * times, interval, 5))
    return points


def between(slow: list[Share], fast: list[Share], cost: str = "tokens") -> Distance:
    return distance("set", BUILTIN["bits_per_byte"], cost, slow, fast)


@pytest.mark.parametrize("times", [1.0, 1.5, 2.0, 3.0, 6.0])
def test_a_planted_ratio_is_recovered(times: float) -> None:
    slow, fast = curve("slow", times), curve("fast", 1.0)
    estimate = between(slow, fast)
    assert estimate.ratio == pytest.approx(times) and estimate.lower < times < estimate.upper and not estimate.at_least
    assert between(slow, fast, "flops").ratio == pytest.approx(times * times)


def test_a_curve_that_starts_beyond_the_score_gives_a_bound() -> None:
    estimate = between(curve("slow", 100.0), curve("fast", 1.0))
    assert estimate.at_least and estimate.ratio == pytest.approx(TOKENS[-1] / TOKENS[0])
    assert "takes at least 8" in estimate.sentence


def test_the_dearer_one_comes_first_though_it_ends_better() -> None:
    estimate = between(curve("cheap", 1.0)[:3], curve("dear", 1.5))
    assert (estimate.slow, estimate.fast) == ("dear", "cheap") and estimate.ratio == pytest.approx(1.5)
    assert estimate.lower < 1.5 < estimate.upper and "dear takes 1.50 times the tokens of cheap" in estimate.sentence


def test_a_goal_is_reached_by_both() -> None:
    estimate = distance("set", BUILTIN["bits_per_byte"], "tokens", curve("slow", 2.0), curve("fast", 1.0), 2.8)
    assert estimate.goal and estimate.ratio == pytest.approx(2.0)


def test_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        noise = generator.normal(0, ERROR, (2, 4))
        estimate = between(curve("slow", 3.0, noise=noise[0].tolist()), curve("fast", 1.0, noise=noise[1].tolist()))
        covered += estimate.lower <= 3.0 <= estimate.upper
    assert 0.9 <= covered / 200 <= 0.99


def test_a_limit_at_the_end_of_the_curves_is_marked() -> None:
    near, far = curve("slow", 3.0, error=0.3), curve("fast", 1.0, error=0.3)
    estimate = between(near, far)
    assert estimate.or_less and estimate.or_more
    assert "0.500 or less to 8.00 or more" in estimate.sentence
    sure = between(curve("slow", 3.0), curve("fast", 1.0))
    assert not sure.or_less and not sure.or_more and " or " not in sure.sentence


@pytest.mark.parametrize("majority", [0.3, 0.75])
def test_parts_of_a_budget_are_compared(tmp_path: Path, majority: float) -> None:
    """Also where one of the two is below its gate on all of it."""
    task = single(SENTIMENT, truth={"decoder": 0.8, "encoder": 0.7}, seeds=4, spread=0.002, examples=4000)
    task = replace(task, references=task.references | {"majority": majority})
    planted = {"decoder": (0.6, 0.7), "encoder": (0.5, 0.6)}
    further = [
        Further(task, name, name, truth, role="share", share=share)
        for name, truths in planted.items()
        for share, truth in zip((0.25, 0.5), truths, strict=True)
    ]
    synthetic.write_store(tmp_path, [task], further=further)
    shares = {
        entry["run"]: entry["share"] for entry in json.loads((tmp_path / "experiment.json").read_text())["entries"]
    }
    for run, share in shares.items():
        synthetic.change_record(tmp_path, run, train_tokens=int(800_000 * share), train_flops=1e12 * share)
    distances = [
        entry for entry in horizontal.distances(Report(tables.collect(tmp_path))) if entry.metric.name == "accuracy"
    ]
    assert [(entry.slow, entry.fast, entry.cost) for entry in distances] == [
        ("encoder", "decoder", "tokens"),
        ("encoder", "decoder", "flops"),
    ]
    assert all(entry.ratio == pytest.approx(2.0, rel=0.1) and entry.lower < 2 < entry.upper for entry in distances)


def test_points_of_equal_cost_are_no_curve(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.8, "encoder": 0.7}, seeds=3)
    further = [Further(task, name, name, 0.6, role="share", share=0.5) for name in task.truth]
    runs = synthetic.write_store(tmp_path, [task], further=further)
    for run in runs:
        synthetic.change_record(tmp_path, run, train_tokens=1000, train_flops=1e9)
    assert not horizontal.distances(Report(tables.collect(tmp_path)))
