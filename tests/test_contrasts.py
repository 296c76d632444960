"""What is decided follows from the declared contrasts alone, with the error that is stated."""

import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import SENTIMENT, SHAKESPEARE, Imagined, single

from archbench.reports import report as report_module
from archbench.reports.base import formatting, tables
from archbench.reports.base.statistics import (
    Interval,
    Sample,
    difference_interval,
    holm,
    p_beyond,
    p_difference,
    pool,
    seeds_needed,
    with_high_variance,
)
from archbench.reports.contrasts import testing
from archbench.reports.contrasts.agreement import disagreements
from archbench.reports.contrasts.contrast import Contrast, holm_corrected, row, turned
from archbench.reports.contrasts.phrase import counted, first_sides, minimum_detectable, phrase
from archbench.reports.contrasts.testing import Question
from archbench.reports.contrasts.verdicts import same_outcome, verdict
from archbench.reports.page import page
from archbench.reports.page.elements.bottom_line import bottom_line, limits
from archbench.reports.page.elements.grids import grid
from archbench.reports.page.sections.tests import CONTRASTS
from archbench.reports.questions.controls import is_as_expected
from archbench.reports.report import FAMILIES, Family, Report
from archbench.reports.results.comparison import oriented
from archbench.reports.results.groups import Group
from archbench.tasks.metrics.builtin import BUILTIN


def judged(root: Path, *tasks: Imagined, **options: object) -> Report:
    synthetic.write_store(root, tasks)
    for key, value in options.items():
        synthetic.specify(root, key, value)
    return Report(tables.collect(root))


def contrast(mean: float, error: float, margin: float = 0.02) -> Contrast:
    gap = Interval(mean, mean - 2 * error, mean + 2 * error, error, 30)
    facts = ("set", "classification", "", BUILTIN["accuracy"], "decoder", "encoder", gap, p_difference(gap))
    return Contrast(*facts, p_beyond(gap, margin), margin, 3 * error, 4, 3)


def test_corrected_p_values_are_holms() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("seed", range(20))
def test_corrected_intervals_exclude_0_where_the_corrected_test_finds_a_difference(seed: int) -> None:
    """They are never narrower than the uncorrected ones, and keep within the scale."""
    rng = np.random.default_rng(seed)
    family = holm_corrected([contrast(mean, 0.01) for mean in rng.normal(0, 0.025, int(rng.integers(1, 12)))])
    for entry in family:
        assert entry.corrected.excludes_zero == (entry.p <= 0.05)
        assert entry.corrected.lower <= entry.difference.mean - 2.04 * 0.01 + 1e-3
        assert entry.corrected.mean == entry.difference.mean
    [wide] = holm_corrected([contrast(0.9, 0.3)])
    assert wide.corrected.upper == 1.0


def test_declared_contrasts_whose_data_set_has_no_run_yet_count_as_tests(tmp_path: Path) -> None:
    finished = judged(tmp_path / "finished", SENTIMENT).tested.primary
    names = ["decoder", "encoder", "encoder-decoder"]
    waiting = [{"name": SENTIMENT.dataset}, {"name": "waits-for-trials", "architectures": names}]
    during = judged(tmp_path / "during", SENTIMENT, tasks=waiting).tested.primary
    assert {entry.corrected_for for entry in finished} == {3} and {entry.corrected_for for entry in during} == {6}
    expected = holm([*(p_difference(entry.difference) for entry in finished), 1.0, 1.0, 1.0])[:3]
    assert [entry.p for entry in during] == pytest.approx(expected)


def test_a_contrast_without_a_test_counts_in_the_family_and_stays_unknown() -> None:
    corrected, unknown = holm([0.02, math.nan])
    assert corrected == pytest.approx(0.04)
    assert math.isnan(unknown)


@pytest.mark.parametrize(
    ("mean", "error", "outcome"),
    [(0.05, 0.01, "ahead"), (-0.05, 0.01, "behind"), (0.001, 0.003, "equal"), (0.01, 0.02, "open"), (0.0, 0.0, "open")],
)
def test_the_four_outcomes(mean: float, error: float, outcome: str) -> None:
    pair = contrast(mean, error)
    assert pair.outcome == outcome
    mirrored = {"ahead": "behind", "behind": "ahead"}
    assert turned(pair).outcome == mirrored.get(outcome, outcome)
    assert turned(pair).better == pair.better


def test_a_lead_that_does_not_matter_is_said_to_be_small() -> None:
    pair = contrast(0.008, 0.002)
    assert (pair.outcome, pair.small) == ("ahead", True)
    assert "by less than the margin of 0.02" in phrase(pair, "sentence")
    assert not contrast(0.05, 0.002).small


def test_every_outcome_is_counted_and_first_sides_with_the_same_one_are_named_together() -> None:
    better, equal, undecided = contrast(0.05, 0.002), contrast(0.0, 0.002), contrast(0.01, 0.02)
    assert (
        counted([better, undecided, better, equal], "cases")
        == "better in 2, not decided in 1 and equal in 1 of 4 cases"
    )
    assert counted([undecided], "cases") == "not decided"
    other = replace(better, first="prefix-decoder")
    assert first_sides([better, undecided, other]) == "decoder and prefix-decoder better and decoder not decided on set"


def test_scores_that_never_vary_show_no_equality() -> None:
    assert p_beyond(Interval(0.0, 0.0, 0.0, 0.0, 4), 0.02) == 1.0


def test_better_is_positive_where_lower_is_better(tmp_path: Path) -> None:
    primary = judged(tmp_path, SHAKESPEARE).tested.primary
    assert {(pair.first, pair.second, pair.better) for pair in primary} == {
        ("decoder", "encoder", "decoder"),
        ("decoder", "encoder-decoder", "decoder"),
        ("encoder", "encoder-decoder", "encoder-decoder"),
    }


def test_a_variant_that_is_added_later_changes_no_primary_contrast(tmp_path: Path) -> None:
    three = single(SENTIMENT, spread=0.02)
    wider = single(three, truth={**three.truth, "mine": 0.3, "prefix-decoder": 0.9})
    before, after = judged(tmp_path / "before", three).tested, judged(tmp_path / "after", wider).tested
    assert before.primary == after.primary
    assert {"mine", "prefix-decoder"} <= {name for pair in after.exploratory for name in (pair.first, pair.second)}


def test_declared_contrasts_are_the_family(tmp_path: Path) -> None:
    declared = judged(tmp_path, SENTIMENT, contrasts=[["encoder", "decoder"]]).tested
    assert [(pair.first, pair.second) for pair in declared.primary] == [("encoder", "decoder")]
    assert len(declared.exploratory) == 2


def test_without_the_usual_families_every_pair_is_primary(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"mine": 0.4, "yours": 0.6, "theirs": 0.6})
    assert len(judged(tmp_path, task).tested.primary) == 3


def test_margins_come_from_the_experiment(tmp_path: Path) -> None:
    primary = judged(tmp_path, SENTIMENT, margins={"accuracy": 0.5}).tested.primary
    assert {pair.margin for pair in primary} == {0.5}
    assert {pair.outcome for pair in primary} <= {"equal", "ahead", "behind"}


def test_controls_come_out_right_where_the_comparison_is_large_enough(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6}, seeds=5, spread=0.005, examples=2000)
    repeat, half = synthetic.controls(task, half=0.5)
    synthetic.write_store(tmp_path, [task], further=[repeat, half])
    controls = Report(tables.collect(tmp_path)).tested["control"]
    assert [(control.second, control.about, is_as_expected(control)) for control in controls] == [
        ("decoder, again", "same", True),
        ("decoder, half the budget", "ahead", True),
    ]


def test_a_control_that_fails_is_told(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6}, seeds=5, spread=0.005, examples=2000)
    repeat, half = synthetic.controls(task, half=0.6)
    synthetic.write_store(tmp_path, [task], further=[repeat, half])
    assert list(map(is_as_expected, Report(tables.collect(tmp_path)).tested["control"])) == [True, False]


def test_a_control_that_fails_is_told_at_the_top(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6}, seeds=5, spread=0.005, examples=2000)
    synthetic.write_store(tmp_path, [task], further=synthetic.controls(task, half=0.6))
    assert "controls fail on sentiment" in limits(Report(tables.collect(tmp_path)))


def test_a_control_that_could_not_be_tested_is_not_wrong(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6}, seeds=1)
    synthetic.write_store(tmp_path, [task], further=synthetic.controls(task, half=0.6))
    assert set(map(is_as_expected, Report(tables.collect(tmp_path)).tested["control"])) == {None}


def test_controls_are_no_part_of_the_scores(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6})
    synthetic.write_store(tmp_path, [task], further=synthetic.controls(task, half=0.5))
    [comparison] = Report(tables.collect(tmp_path)).first
    assert [cell.architecture for cell in comparison.cells] == ["decoder", "encoder"]
    assert all(cell.planned == task.seeds for cell in comparison.cells)


def test_an_open_pair_says_what_was_detectable_and_what_would_decide_it(tmp_path: Path) -> None:
    result = judged(tmp_path, single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6}))
    [pair] = result.tested.primary
    assert pair.outcome == "open"
    sentence = phrase(pair, "sentence")
    assert f"Minimum detectable difference: {minimum_detectable(pair)} (80% power)" in sentence
    assert f"about {pair.seeds_needed} seeds each" in sentence or "more test examples, not only more seeds" in sentence


@pytest.mark.parametrize(
    ("mean", "margin", "shows"), [(0.03, 0.02, "difference"), (0.0, 0.02, "equality"), (0.012, math.nan, "difference")]
)
def test_seeds_to_decide_say_what_they_show(mean: float, margin: float, shows: str) -> None:
    group = Group("sentiment", "classification", "", pd.DataFrame({"architecture": ["a", "b"], "status": "done"}))
    a, b = Sample(np.array([mean - 0.01, mean, mean + 0.01])), Sample(np.array([-0.01, 0.0, 0.01]))
    question = Question(group, BUILTIN["accuracy"], ("a", "b"))
    tested = testing.contrast(question, {"a": a, "b": b}, pool([a, b]), margin)
    assert tested.seeds_needed is not None and tested.needed_to_show == shows
    words = {"difference": "to show a difference", "equality": "to show equality within the margin"}[shows]
    unsure = replace(tested, p=0.5, p_beyond=0.5, seeds=1)
    assert f"about {tested.seeds_needed} seeds each {words}" in phrase(unsure, "sentence")
    enough = replace(unsure, seeds_needed=unsure.seeds)  # the seeds that there are, and they did not decide it
    assert f"{unsure.seeds} new seeds of each would probably show" in phrase(enough, "sentence")
    assert f"about {unsure.seeds + 1} seeds each" in phrase(replace(unsure, seeds_needed=unsure.seeds + 1), "sentence")


def test_an_interval_that_excludes_0_and_decides_nothing_says_why() -> None:
    gap = Interval(0.03, 0.01, 0.05, 0.01, 30)
    place = ("set", "classification", "", BUILTIN["accuracy"], "encoder", "decoder")
    facts = (*place, gap, 0.08, 1.0, 0.02, 0.04, 9, 5, 15)
    reason = "the interval excludes 0 only before correction for multiple tests"
    corrected = Contrast(*facts)
    assert reason in phrase(corrected, "sentence") and reason.removeprefix("the ") in _cells(corrected)
    within = replace(corrected, difference=replace(gap, lower=-0.01))
    assert reason not in phrase(within, "sentence") and reason.removeprefix("the ") not in _cells(within)


def _cells(contrast: Contrast) -> list[str]:
    [row] = grid([contrast], CONTRASTS).rows
    return [text for cell in row for text in (cell.text, cell.below)]


def test_pairs_judged_otherwise_by_another_family_are_listed_with_both(tmp_path: Path) -> None:
    gap = Interval(0.03, 0.01, 0.05, 0.01, 30)
    facts = ("set", "translation", "", BUILTIN["exact_match"])
    control = Contrast(*facts, "decoder", "decoder, half the budget", gap, 0.04, 1.0, 0.02, 0.04, 9, 5, 4)
    doubled = Contrast(*facts, "decoder", "decoder (0.5 of the budget)", gap, 0.09, 1.0, 0.02, 0.04, 9, 5, 15)
    claimed = Contrast(*facts, "decoder (0.5 of the budget)", "decoder", turned(control).difference, 0.08, 1.0, 0.02,
                       0.04, 9, 5, 11)  # fmt: skip
    families = [("control", [control]), ("doubling", [doubled]), ("claim", [claimed])]
    [disagreement] = disagreements(families)
    assert disagreement.sentence == (
        "set, decoder vs. decoder (0.5 of the budget): decoder better as control (p = 0.040, corrected for 4 "
        "tests); not decided as doubling (p = 0.090, corrected for 15 tests) and claim (p = 0.080, corrected for 11 "
        "tests)."
    )
    assert not disagreements(families[1:])


@pytest.mark.parametrize(
    ("chance", "text"), [(0.0495, "= 0.0495"), (0.0504, "= 0.0504"), (0.051, "= 0.051"), (1e-5, "< 0.001")]
)
def test_a_p_value_says_on_which_side_of_the_level_it_is(chance: float, text: str) -> None:
    assert formatting.p_text(chance) == f"p {text}" and formatting.p(chance) == text.removeprefix("= ")


def test_data_sets_with_the_same_winner_are_named_together(tmp_path: Path) -> None:
    truth = {"decoder": 0.5, "encoder": 0.8}
    task, other = single(SENTIMENT, truth=truth), single(SENTIMENT, dataset="groups", truth=truth)
    agreed = judged(tmp_path / "agreed", task, other)
    against = judged(tmp_path / "against", task, single(other, truth={"decoder": 0.8, "encoder": 0.5}))
    assert "encoder wins on sentiment and groups." in bottom_line(agreed)[0]
    assert "encoder wins on sentiment; decoder wins on groups." in bottom_line(against)[0]


def test_seeds_that_would_decide_grow_as_the_distance_shrinks() -> None:
    rng = np.random.default_rng(0)
    a, b = (Sample(rng.normal(0, 1, 5)) for _ in range(2))
    pooled = pool([a, b])
    seeds = [seeds_needed(a, b, pooled, distance, 0.025, 0.8) for distance in (3.0, 1.5, 0.9)]
    assert seeds == sorted(seeds)
    assert seeds[0] != seeds[-1]
    assert seeds_needed(a, b, pooled, 1e-6, 0.025, 0.8) is None


@pytest.mark.parametrize("mean", [0.0, 0.008, 0.03])
def test_the_seeds_to_decide_decide_at_least_four_times_in_five(mean: float) -> None:
    """Of a true difference as it was seen, with margin 0.02 and a spread of 0.01 between seeds."""
    rng, margin = np.random.default_rng(3), 0.02
    a, b = Sample(np.array([mean - 0.01, mean, mean + 0.01])), Sample(np.array([-0.01, 0.0, 0.01]))
    difference = difference_interval(a, b, pool([a, b]))
    group = Group("set", "classification", "", pd.DataFrame(columns=["architecture", "status"]))
    question = testing.Question(group, BUILTIN["accuracy"], ("a", "b"))
    seeds = testing.contrast(question, {"a": a, "b": b}, pool([a, b]), margin).seeds_needed
    assert difference.mean == pytest.approx(mean)
    assert seeds is not None
    decided, repeats = 0, 1500
    for _ in range(repeats):
        pair = [Sample(rng.normal(truth, 0.01, seeds)) for truth in (mean, 0.0)]
        gap = difference_interval(*pair, pool(pair))
        decided += p_difference(gap) <= 0.05 or p_beyond(gap, margin) <= 0.05
    assert decided / repeats > 0.77


def test_the_runs_of_architectures_stand_in_the_order_of_the_comparison() -> None:
    names = ["encoder", "decoder", "encoder", "a"]
    group = Group("set", "classification", "", pd.DataFrame({"architecture": names, "run": range(4)}))
    assert list(group.by_architecture) == group.architectures == ["encoder", "decoder", "a"]
    assert group.by_architecture["encoder"]["run"].tolist() == [0, 2]


def test_a_run_that_two_conditions_name_counts_once(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.6, "encoder": 0.6})
    synthetic.write_store(tmp_path, [task], further=synthetic.controls(task, half=0.5))
    before = Report(tables.collect(tmp_path)).tested
    path = tmp_path / "experiment.json"
    head = json.loads(path.read_text())
    synthetic.write_json(path, head | {"entries": [*head["entries"], *head["entries"]]})
    assert Report(tables.collect(tmp_path)).tested == before


def test_a_pair_without_scores_leaves_the_others_their_verdict(tmp_path: Path) -> None:
    task = single(SENTIMENT, truth={"decoder": 0.5, "encoder": 0.8, "encoder-decoder": 0.6})
    for run in synthetic.write_store(tmp_path, [task]):
        if "encoder-decoder" in run:
            synthetic.fail(tmp_path, run)
    result = Report(tables.collect(tmp_path))
    assert verdict(result.first[0], result.tested.primary_on(result.first[0])).mark == "1 of 3 pairs decided"


def test_no_number_of_seeds_replaces_test_examples() -> None:
    rng = np.random.default_rng(1)
    a, b = (Sample(x.mean(1), x) for x in (rng.normal(0, 1, (3, 20)) + rng.normal(0, 3, 20) for _ in range(2)))
    assert seeds_needed(a, b, pool([a, b]), 0.1, 0.025, 0.8) is None


def logistic(
    rng: np.random.Generator,
    abilities: tuple[float, ...],
    spread: float | tuple[float, ...],
    seeds: int,
    examples: int,
) -> list[Sample]:
    """Right and wrong answers: hard and easy examples are the same for all, seeds and architectures vary."""
    hard, samples = rng.normal(0, 1.5, examples), []
    spreads = (spread,) * len(abilities) if isinstance(spread, float) else spread
    for ability, varies in zip(abilities, spreads, strict=True):
        by_example, effect = rng.normal(0, 0.5, (1, examples)), rng.normal(0, varies, (seeds, 1))
        chance = 1 / (1 + np.exp(-(ability + effect + by_example + hard)))
        right = (rng.random(chance.shape) < chance).astype(float)
        samples.append(Sample(right.mean(axis=1), right))
    return samples


def true_accuracy(ability: float, spread: float) -> float:
    rng = np.random.default_rng(9)
    noise = spread * rng.normal(0, 1, 400_000) + rng.normal(0, np.hypot(1.5, 0.5), 400_000)
    return float(np.mean(1 / (1 + np.exp(-(ability + noise)))))


GRID = list(itertools.product((3, 5, 10), (50, 300, 3000), (0.0, 0.05, 0.2, 0.6)))


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "examples", "spread"), GRID)
def test_intervals_of_a_planted_difference_cover_it(seeds: int, examples: int, spread: float) -> None:
    rng, repeats, covered = np.random.default_rng(1), 1000, 0
    planted = true_accuracy(0.4, spread) - true_accuracy(0.0, spread)
    for _ in range(repeats):
        samples = logistic(rng, (0.0, 0.4, 0.0), spread, seeds, examples)
        difference = difference_interval(samples[1], samples[0], pool(samples))
        covered += difference.lower <= planted <= difference.upper
    slack = 2 * math.sqrt(0.05 * 0.95 / repeats)
    assert 0.93 - slack < covered / repeats < 0.98 + slack


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "examples"), list(itertools.product((3, 5), (300, 3000))))
@pytest.mark.parametrize(("first", "second"), [(0.05, 0.05), (0.05, 0.2), (0.2, 0.05), (0.05, 0.6), (0.6, 0.2)])
def test_intervals_between_two_settings_cover_the_difference(
    seeds: int, examples: int, first: float, second: float
) -> None:
    """Three architectures under two settings, as on all and on half of a budget, in which seeds vary differently.

    A pair that stands in both has what both say together; without a difference it is rarely told apart.
    """
    rng, repeats, covered, wrong = np.random.default_rng(6), 1000, 0, 0
    spreads = (first,) * 3 + (second,) * 3
    planted = true_accuracy(0.4, second) - true_accuracy(0.0, first)
    for _ in range(repeats):
        samples = logistic(rng, (0.0, 0.4, 0.2, 0.4, 0.0, 0.2), spreads, seeds, examples)
        pooled = pool(samples)
        difference = difference_interval(samples[3], samples[0], pooled)
        covered += difference.lower <= planted <= difference.upper
        wrong += p_difference(difference_interval(samples[4], samples[0], pooled)) <= 0.05
    slack = 2 * math.sqrt(0.05 * 0.95 / repeats)
    assert 0.93 - slack < covered / repeats < 0.98 + slack
    assert wrong / repeats <= 0.05 + slack


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "examples", "spread"), list(itertools.product((3, 5), (300, 3000), (0.2, 0.5))))
def test_one_that_varies_far_more_widens_no_interval_of_the_others(seeds: int, examples: int, spread: float) -> None:
    """Two architectures vary by 0.05; the third leaves their interval, which still covers, at what two alone have."""
    rng, repeats, covered, alone, beside = np.random.default_rng(1), 1000, 0, 0.0, 0.0
    planted = true_accuracy(0.4, 0.05) - true_accuracy(0.0, 0.05)
    for _ in range(repeats):
        pair = logistic(rng, (0.0, 0.4), 0.05, seeds, examples)
        third = logistic(rng, (0.0,), spread, seeds, examples)
        with_third = difference_interval(pair[1], pair[0], pool([*pair, *third]))
        covered += with_third.lower <= planted <= with_third.upper
        beside += with_third.upper - with_third.lower
        without_third = difference_interval(pair[1], pair[0], pool(pair))
        alone += without_third.upper - without_third.lower
    slack = 2 * math.sqrt(0.05 * 0.95 / repeats)
    assert 0.93 - slack < covered / repeats < 0.98 + slack
    assert beside < 1.8 * alone


def test_a_variance_beyond_chance_does_not_enter_the_pooled_one() -> None:
    steady = [Sample(np.array([0.50, 0.51, 0.52, 0.51, 0.50])), Sample(np.array([0.60, 0.61, 0.60, 0.62, 0.61]))]
    wild, lively = Sample(np.array([0.1, 0.5, 0.3, 0.2, 0.6])), Sample(np.array([0.50, 0.53, 0.54, 0.50, 0.52]))
    assert pool([*steady, wild]) == pool(steady) == pool([wild, *steady])
    assert pool([*steady, lively]).variance > pool(steady).variance
    assert pool([steady[0], wild]).variance > pool(steady).variance  # of two nobody knows which is the odd one
    same = Sample(np.array([0.5, 0.5, 0.5]))
    assert pool([same, same, wild]).variance > 0  # no variance at all says nothing of what is usual


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "examples", "spread"), GRID)
def test_without_a_difference_few_families_have_a_false_verdict(seeds: int, examples: int, spread: float) -> None:
    rng, repeats, wrong = np.random.default_rng(2), 1000, 0
    for _ in range(repeats):
        samples = logistic(rng, (0.0, 0.0, 0.0), spread, seeds, examples)
        pooled = pool(samples)
        gaps = [difference_interval(a, b, pooled) for a, b in itertools.combinations(samples, 2)]
        wrong += min(holm([p_difference(gap) for gap in gaps])) <= 0.05
    assert wrong / repeats <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "examples", "third"), list(itertools.product((3, 5), (300, 3000), (0.05, 0.2, 0.5))))
def test_few_whole_families_have_a_false_verdict(seeds: int, examples: int, third: float) -> None:
    """Five data sets of three architectures, 15 tests; the third's seeds may vary far more than the others'."""
    rng, repeats, wrong = np.random.default_rng(4), 400, 0
    for _ in range(repeats):
        sets = [
            [*logistic(rng, (0.0, 0.0), 0.05, seeds, examples), *logistic(rng, (0.0,), third, seeds, examples)]
            for _ in range(5)
        ]
        odd = with_high_variance([dict(zip("abc", samples, strict=True)) for samples in sets], "abc")
        gaps = []
        for samples in sets:
            marked = [replace(sample, high_variance=name in odd) for name, sample in zip("abc", samples, strict=True)]
            pooled = pool(marked)
            gaps += [difference_interval(a, b, pooled) for a, b in itertools.combinations(marked, 2)]
        wrong += min(holm([p_difference(gap) for gap in gaps])) <= 0.05
    assert wrong / repeats <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)


def test_who_varies_more_on_all_data_sets_together_has_high_variance() -> None:
    rng = np.random.default_rng(5)
    sets = [
        {name: Sample(rng.normal(0, spread, 3)) for name, spread in (("a", 1), ("b", 1), ("c", 8))} for _ in range(5)
    ]
    assert with_high_variance(sets, "abc") == {"c"}
    lucky = [{**samples, "c": Sample(samples["a"].values * 0.5)} for samples in sets[:1]] + sets[1:]
    assert with_high_variance(lucky, "abc") == {"c"}
    marked = [replace(sample, high_variance=name == "c") for name, sample in lucky[0].items()]
    a, _, c = marked
    assert pool(marked) == pool(marked[:2])
    assert difference_interval(a, c, pool(marked)).df == 2  # of c's own seeds
    only = [replace(sample, high_variance=True) for sample in marked[:2]]  # as one architecture under two conditions
    assert difference_interval(*only, pool(only)) == difference_interval(*marked[:2], pool(marked[:2]))
    assert with_high_variance([{name: Sample(rng.normal(0, 1, 3)) for name in "abc"} for _ in range(5)], "abc") == set()


def test_one_with_high_variance_does_not_hide_another() -> None:
    """The third is among the usual ones, to which the fourth is compared; it varies as much."""
    rng = np.random.default_rng(6)
    spreads = {"a": 0.01, "b": 0.01, "c": 1.0, "d": 1.0}
    sets = [{name: Sample(rng.normal(0, spread, 5)) for name, spread in spreads.items()}]
    assert with_high_variance(sets, "abc") == {"c", "d"}


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.02, 0.05])
def test_architectures_that_differ_by_the_margin_are_rarely_called_equal(margin: float) -> None:
    rng, repeats, wrong = np.random.default_rng(3), 1000, 0
    for _ in range(repeats):
        a, b = (Sample(rng.normal(mean, 0.01, 5)) for mean in (0.0, margin))
        wrong += p_beyond(difference_interval(a, b, pool([a, b])), margin) <= 0.05
    assert wrong / repeats <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)


def test_primary_contrasts_are_not_recounted_by_conditions(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [SENTIMENT], matches=("parameters", "flops"))
    tested = Report(tables.collect(tmp_path)).tested
    assert len(tested.primary) == 3
    assert {pair.condition for pair in tested.exploratory} == {"equal training tokens and equal training FLOPs"}
    assert not set(tested.exploratory) & set(tested.primary)
    assert {pair.corrected_for for pair in tested.exploratory} == {1}


def test_two_tests_of_a_pair_agree_by_outcome_and_winner() -> None:
    ahead, behind, still_open = contrast(0.1, 0.01), contrast(-0.1, 0.01), contrast(0.01, 0.1)
    assert same_outcome(ahead, contrast(0.2, 0.01)) and same_outcome(still_open, contrast(-0.01, 0.1))
    assert not same_outcome(ahead, behind) and not same_outcome(ahead, still_open)


@pytest.mark.parametrize(("name", "lower", "upper"), [("exact_match", -1.0, 1.0), ("bits_per_byte", -2.1, 2.9)])
def test_no_interval_of_a_difference_leaves_the_scale(name: str, lower: float, upper: float) -> None:
    """Two seeds that vary much: a difference of exact match is between -1 and 1 all the same."""
    interval = Interval(-0.4, -2.9, 2.1, 0.2, 1)
    clipped = oriented(interval, BUILTIN[name])
    assert (clipped.lower, clipped.upper) == (lower, upper)
    assert p_difference(clipped) == p_difference(interval)


STATISTICS = (Path(__file__).parents[1] / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_the_document_has_every_column_of_the_contrasts() -> None:
    table = STATISTICS.partition("### Columns of contrasts.csv\n")[2].partition("\n## ")[0]
    named = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line[: line.index(" | ")])
    ]
    assert sorted(named) == sorted(["role", *row(contrast(0.1, 0.01))])


def test_p_values_follow_from_the_table_as_the_document_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    primary = judged(tmp_path / "store", SENTIMENT, SHAKESPEARE).tested.primary
    (tmp_path / "results" / "mine" / "report").mkdir(parents=True)
    table = pd.DataFrame([{"role": "primary", **row(entry)} for entry in primary])
    table.to_csv(tmp_path / "results" / "mine" / "report" / "contrasts.csv", index=False)
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", STATISTICS, re.DOTALL)
    names: dict[str, pd.DataFrame] = {}
    exec(code, names)
    assert names["rows"]["checked"].to_list() == pytest.approx([entry.p for entry in primary])


def test_a_kind_of_question_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tests are answered, corrected together, and stand in the table under its name."""

    def ask(report: Report) -> Iterator[Question]:
        for comparison in report.first:
            for pair in (("encoder", "decoder"), ("decoder", "encoder")):
                yield Question(comparison.group, comparison.metric, pair, about="both ways")

    monkeypatch.setattr(report_module, "FAMILIES", {**FAMILIES, "reversal": Family(ask, "a reversed pair")})
    result = judged(tmp_path / "store", SENTIMENT)
    page.write_tables(result, tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "contrasts.csv").set_index("role").loc[["reversal"]]
    assert rows["difference"].sum() == pytest.approx(0.0, abs=1e-12) and rows["difference"].abs().max() > 0.01
    assert set(rows["corrected_for"]) == {2} and set(rows["about"]) == {"both ways"}
