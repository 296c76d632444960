"""A data set with two primary measures: both are tested and corrected together, and words say which one they are by."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import synthetic
from synthetic import PHRASES, Further

from archbench.reports.base import tables
from archbench.reports.base.statistics import holm, p_difference
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.agreement import by_measure
from archbench.reports.page import printed, summary
from archbench.reports.page.elements.bottom_line import bottom_line
from archbench.reports.page.elements.matrix import matrix
from archbench.reports.page.page import render
from archbench.reports.report import Report

TRUTH = {"decoder": 0.41, "encoder": 0.22, "encoder-decoder": 0.71}
TASK = replace(PHRASES, truth=TRUTH, references={})
MEASURES = ("bits_per_byte", "exact_match")
BITS, EXACT = "phrases-en-de by bits per byte", "phrases-en-de by exact match"


def judged_by(read: Tables, measures: tuple[str, ...]) -> Report:
    return Report({**read, "datasets": read["datasets"].assign(primary=", ".join(measures))})


def turned(read: Tables, architecture: str, condition: str | None = None) -> Tables:
    """The tables with likelihoods of an architecture far better than those of all others, and the same answers."""
    entries = read["entries"][read["entries"]["architecture"] == architecture]
    if condition is not None:
        entries = entries[entries["match"] == condition]
    runs = set(entries["run"])
    predictions, scores = read["predictions"].copy(), read["scores"].copy()
    predictions.loc[predictions["run"].isin(runs), "log_likelihood"] *= 0.01
    scores.loc[scores["run"].isin(runs) & (scores["metric"] == "bits_per_byte"), "value"] *= 0.01
    return {**read, "predictions": predictions, "scores": scores}


@pytest.fixture
def read(tmp_path: Path) -> Tables:
    synthetic.write_store(tmp_path, [TASK])
    return tables.collect(tmp_path)


def test_each_pair_is_tested_by_both_and_all_tests_are_corrected_together(read: Tables) -> None:
    both = judged_by(read, MEASURES).tested.primary
    alone = {name: judged_by(read, (name,)).tested.primary for name in MEASURES}
    pairs = list(combinations(TRUTH, 2))
    assert [(test.metric.name, test.first, test.second) for test in both] == [
        (name, *pair) for name in MEASURES for pair in pairs
    ]
    assert {test.corrected_for for test in both} == {6} and {len(tests) for tests in alone.values()} == {3}
    assert [test.difference for test in both] == [test.difference for tests in alone.values() for test in tests]
    assert [test.p for test in both] == holm([p_difference(test.difference) for test in both])


def test_a_record_of_one_measure_has_no_second(read: Tables) -> None:
    report = judged_by(read, ("exact_match",))
    assert report.judged == report.first and {test.title for test in report.tested.primary} == {"phrases-en-de"}
    assert not by_measure(report.tested.primary)
    assert " by exact match" not in render(report, [])
    assert len(matrix(report).head) == 2


def test_verdicts_are_one_for_each_measure_and_say_which(read: Tables) -> None:
    report = judged_by(turned(read, "encoder"), MEASURES)
    assert [entry.title for entry in report.judged] == [BITS, EXACT]
    assert [entry.title for entry in report.first] == [BITS]
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in matrix(report).rows}
    assert (rows["encoder"], rows["encoder-decoder"]) == (["wins", "loses"], ["loses", "wins"])
    text = " ".join(bottom_line(report))
    assert f"encoder wins on {BITS}; encoder-decoder wins on {EXACT}" in text
    said = summary.sentences(report)
    assert [("bits per byte" in line, "exact match" in line) for line in said[:2]] == [(True, False), (False, True)]
    page = render(report, [])
    assert f"<bdi>{BITS}</bdi>" in page and f"<bdi>{EXACT}</bdi>" in page
    heads = [cell.below for cell in printed.TABLES["scores"].grid(report).head[1:]]
    assert [head.partition(",")[0] for head in heads] == ["bits per byte ↓", "exact match ↑"]


def test_measures_that_differ_are_named_in_one_sentence(read: Tables) -> None:
    assert not by_measure(judged_by(read, MEASURES).tested.primary)
    report = judged_by(turned(read, "encoder"), MEASURES)
    [sentence] = by_measure(report.tested.primary)
    assert sentence == (
        "On phrases-en-de the measures differ: decoder vs. encoder (encoder better by bits per byte, decoder better by "
        "exact match); encoder vs. encoder-decoder (encoder better by bits per byte, encoder-decoder better by exact "
        "match)."
    )
    assert sentence in bottom_line(report) and sentence in summary.sentences(report)
    assert "measures differ" not in " ".join(bottom_line(judged_by(read, MEASURES)))


def test_only_the_measure_that_turns_depends_on_the_accounting(tmp_path: Path) -> None:
    further = [
        Further(TASK, name, name, truth, "compared", changes={"match": "flops"}) for name, truth in TRUTH.items()
    ]
    synthetic.write_store(tmp_path, [TASK], further=further)
    read = turned(tables.collect(tmp_path), "encoder", condition="flops")
    report = judged_by(read, MEASURES)
    turning = {(test.metric.name, test.first, test.second) for test in report.tested.primary if test.accounting}
    assert turning == {("bits_per_byte", "decoder", "encoder"), ("bits_per_byte", "encoder", "encoder-decoder")}
    rows = printed.TABLES["conditions"].grid(report).rows
    assert [row[0].text for row in rows] == [BITS, BITS, EXACT, EXACT]


def test_contrasts_of_a_data_set_that_waits_count_for_each_of_its_measures(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [TASK])
    waiting = {"name": "multi30k-de-en", "architectures": list(TRUTH)}
    known = {"name": TASK.dataset, "architectures": list(TRUTH)}
    for primary, planned in (("bleu", 3), (["bleu"], 3), (["bits_per_byte", "bleu"], 6)):
        synthetic.specify(tmp_path, "tasks", [known, {**waiting, "primary": primary}])
        tests = Report(tables.collect(tmp_path)).tested.primary
        assert {test.corrected_for for test in tests} == {3 + planned}
