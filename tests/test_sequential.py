"""Seeds are added to open contrasts by a rule that keeps the error, and the report tells it from the tables alone."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulation_scripts
import synthetic
from scipy import stats
from synthetic import SENTIMENT, Imagined, single

from archbench import command_line
from archbench.reports.base import tables
from archbench.reports.base.statistics import (
    Interval,
    Sample,
    difference_interval,
    p_beyond,
    p_difference,
    paired_difference,
    pool,
    pooled_difference,
    welch_difference,
    with_high_variance,
)
from archbench.reports.contrasts.contrast import ALPHA, Contrast, holm_corrected
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.contrasts.sequential import HypothesisFamily, Rule
from archbench.reports.page import page
from archbench.reports.questions.pairs import still_open
from archbench.reports.report import Report
from archbench.runs.execution import compare
from archbench.runs.execution.execute import Outcome
from archbench.runs.execution.until_decided import UntilDecided, largest
from archbench.runs.experiment import spec
from archbench.runs.experiment.sections import Experiment
from archbench.runs.planning import matrix
from archbench.runs.store import store
from archbench.tasks.base.errors import InputError
from archbench.tasks.metrics.builtin import BUILTIN

SCRIPT = Path(__file__).parents[1] / "docs" / "simulations" / "sequential.py"
THREE = ("decoder", "encoder", "encoder-decoder")
RULE = {"max_seeds": 6, "seeds": {"sentiment": 3}, "last": {"sentiment": 2}, "added": {}}


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    return simulation_scripts.load("sequential")


def pair(p: float, q: float = 1.0, mean: float = 1.0, dataset: str = "sentiment") -> Contrast:
    gap = Interval(mean, mean - 1, mean + 1, 0.5, 9)
    return Contrast(dataset, "", "", BUILTIN["accuracy"], "decoder", "encoder", gap, p, q, 0.02, 0.1, None, 3)


# The rule


@pytest.mark.parametrize(("first", "most"), [(2, 2), (3, 4), (3, 12), (5, 12)])
def test_the_looks_share_the_whole_error(first: int, most: int) -> None:
    rule = Rule(most, {"sentiment": first}, {"sentiment": first - 1})
    shares = [rule.alpha_share("sentiment", look) for look in range(rule.looks("sentiment"))]
    assert len(shares) == most - first + 1
    assert sum(shares) == pytest.approx(1)
    assert len(shares) == 1 or shares[-1] == 0.5


def test_a_decided_contrast_stays_and_leaves_the_correction() -> None:
    family = HypothesisFamily(Rule(12, {"sentiment": 3}, {"sentiment": 2}))
    first = family.look({0: pair(0.001), 1: pair(0.03), 2: pair(0.5)})
    assert [contrast.outcome for contrast in first] == ["ahead", "open", "open"]
    second = family.look({0: pair(0.9, mean=-1.0), 1: pair(0.02), 2: pair(0.5)})
    assert second[0] == first[0] and second[0].decided_after == 3
    assert (second[1].outcome, second[1].p, second[1].decided_after) == ("ahead", pytest.approx(0.04), 4)
    assert second[2].decided_after is None
    assert family.look({2: pair(0.5, 0.016)})[2].outcome == "equal"


def test_one_that_was_not_significant_still_counts_as_a_test() -> None:
    ahead = replace(pair(0.001, 0.9), p=0.003, p_beyond=1.0)
    corrected = holm_corrected([pair(0.001, 0.9), pair(0.9, 0.03)], {0: ahead})
    assert corrected[0] == ahead
    assert corrected[1].p_beyond == pytest.approx(0.06) and corrected[1].outcome == "open"


def test_contrasts_on_data_sets_without_runs_yet_count_as_tests_at_every_look() -> None:
    family = HypothesisFamily(Rule(4, {"sentiment": 3}, {"sentiment": 2}))
    (first,) = family.look({0: pair(0.02)}, planned=2)
    assert (first.corrected_for, first.p, first.outcome) == (3, pytest.approx(0.06), "open")
    (second,) = family.look({0: pair(0.01)}, planned=2)
    assert (second.p, second.outcome) == (pytest.approx(0.03), "ahead")


def test_a_data_set_without_runs_yet_counts_under_the_rule(tmp_path: Path) -> None:
    names = ["decoder", "encoder", "encoder-decoder"]
    waiting = [{"name": SENTIMENT.dataset}, {"name": "waits-for-trials", "architectures": names}]
    finished = judged(tmp_path / "finished", far(3)).tested.primary
    during = judged(tmp_path / "during", far(3), tasks=waiting).tested.primary
    assert {entry.corrected_for for entry in finished} == {3} and {entry.corrected_for for entry in during} == {6}


# The simulation


def by_report(module: ModuleType, scenario: Any, scores: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Outcomes and seeds of one simulated family by the code that makes a report's verdicts."""
    sets, architectures, most = scores.shape
    names = [f"set {number}" for number in range(sets)]
    rule = Rule(most, dict.fromkeys(names, scenario.first), dict.fromkeys(names, scenario.first - 1))
    family, contrasts = HypothesisFamily(rule), []
    seeds = {name: dict.fromkeys(map(str, range(architectures)), scenario.first) for name in names}
    for look in range(rule.looks(names[0])):
        samples = {
            name: {side: Sample(scores[place, int(side), :count]) for side, count in seeds[name].items()}
            for place, name in enumerate(names)
        }
        contrasts = family.look(dict(_tested(scenario, rule, look, samples)))
        for contrast in contrasts:
            if contrast.outcome == "open":
                seeds[contrast.dataset] |= dict.fromkeys((contrast.first, contrast.second), scenario.first + look + 1)
    words = {"open": module.OPEN, "ahead": module.AHEAD, "behind": module.BEHIND, "equal": module.EQUAL}
    return [(words[contrast.outcome], contrast.decided_after or most) for contrast in contrasts]


def _tested(
    scenario: Any, rule: Rule, look: int, samples: Mapping[str, Mapping[str, Sample]]
) -> Iterator[tuple[int, Contrast]]:
    sides = {str(place) for sides in scenario.pairs for place in sides}
    high, place = with_high_variance(list(samples.values()), sides), 0
    for name, by_side in samples.items():
        marked = {side: replace(sample, high_variance=side in high) for side, sample in by_side.items()}
        share = rule.alpha_share(name, look)
        for first, second in scenario.pairs:
            a, b = marked[str(first)], marked[str(second)]
            if min(len(a.values), len(b.values)) >= rule.seeds_at(name, look):
                gap = difference_interval(a, b, pool(list(marked.values())))
                p = 1.0 if scenario.equality else p_difference(gap)
                tested = replace(pair(p / share, p_beyond(gap, scenario.margin) / share), difference=gap)
                yield place, replace(tested, dataset=name, first=str(first), second=str(second))
            place += 1


@pytest.mark.parametrize("number", [1, 3, 8, 9])
def test_the_simulation_judges_as_a_report_does(simulation: ModuleType, number: int) -> None:
    scenario = simulation.false_verdicts()[number]
    scenario = replace(scenario, means=(1.5, *scenario.means[1:]), margin=2.0)
    scores = scenario.scores(np.random.default_rng(number), 8, 7)
    judgement = simulation.judged(scenario, scores)
    for place in range(len(scores)):
        expected = by_report(simulation, scenario, scores[place])
        assert list(zip(judgement.outcomes[place], judgement.seeds[place], strict=True)) == expected


def test_families_without_a_difference_or_at_the_margin_keep_the_error(simulation: ModuleType) -> None:
    families = 300
    for scenario in simulation.false_verdicts()[::7]:
        scores = scenario.scores(np.random.default_rng(3), families)
        false = simulation.judged(scenario, scores).false(scenario)
        assert false <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / families), scenario.name


# The report


def judged(root: Path, task: Imagined, rule: Mapping[str, Any] | None = RULE, **settings: object) -> Report:
    synthetic.write_store(root, [task])
    for key, value in settings.items():
        synthetic.specify(root, key, value)
    if rule is not None:
        head = json.loads((root / "experiment.json").read_text())
        synthetic.write_json(root / "experiment.json", {**head, "until_decided": rule})
    return Report(tables.collect(root))


def far(seeds: int) -> Imagined:
    """The decoder is far behind the two others, which cannot be distinguished."""
    truth = {"decoder": 0.3, "encoder": 0.6, "encoder-decoder": 0.61}
    references = {"majority": 0.2}
    return single(SENTIMENT, truth=truth, seeds=seeds, spread=0.03, examples=2000, references=references)


def outcomes(result: Report) -> dict[tuple[str, str], Contrast]:
    return {(contrast.first, contrast.second): contrast for contrast in result.tested.primary}


def test_a_verdict_is_that_of_the_look_that_decided(tmp_path: Path) -> None:
    early, late = (outcomes(judged(tmp_path / str(seeds), far(seeds))) for seeds in (3, 5))
    for sides in (("decoder", "encoder"), ("decoder", "encoder-decoder")):
        assert early[sides].outcome == "behind"
        assert late[sides] == early[sides] and late[sides].decided_after == 3
        assert "Decided after 3 seeds." in phrase(late[sides], "sentence")
    still = late["encoder", "encoder-decoder"]
    assert (still.outcome, still.seeds, still.decided_after) == ("open", 5, None)


def test_what_is_added_later_changes_no_verdict(tmp_path: Path) -> None:
    before = outcomes(judged(tmp_path, far(5)))
    for folder in (tmp_path / "runs").glob("*decoder-s4*"):
        scores = json.loads((folder / "scores.json").read_text())
        synthetic.write_json(folder / "scores.json", [{**row, "value": row["value"] + 0.4} for row in scores])
    assert outcomes(Report(tables.collect(tmp_path)))["decoder", "encoder"] == before["decoder", "encoder"]


def test_a_look_counts_once_both_have_its_runs(tmp_path: Path) -> None:
    result = judged(tmp_path, far(4))
    missing = next(folder.name for folder in (tmp_path / "runs").glob("*-encoder-decoder-s3-*"))
    synthetic.fail(tmp_path, missing, "unfinished")
    after = outcomes(Report(tables.collect(tmp_path)))["encoder", "encoder-decoder"]
    assert outcomes(result)["encoder", "encoder-decoder"].seeds == 4 and after.seeds == 3


def test_open_contrasts_ask_for_seeds(tmp_path: Path) -> None:
    judged(tmp_path, far(3))
    assert still_open(tables.collect(tmp_path)) == {"sentiment": ["encoder", "encoder-decoder"]}


def test_the_page_states_the_rule_and_what_was_decided_when(tmp_path: Path) -> None:
    result = judged(tmp_path / "with", far(4), {**RULE, "earlier": [4]})
    html = page.render(result, [])
    assert "tests after 3 seeds and after each further one up to 6" in html
    assert "decided after 3 seeds" in html and "The maximum number of seeds was 4 before" in html
    page.write_tables(result, tmp_path)
    rows = pd.read_csv(tmp_path / "contrasts.csv")
    assert rows.loc[rows["role"] == "primary", "decided_after"].dropna().tolist() == [3, 3]


def test_without_the_rule_nothing_says_so(tmp_path: Path) -> None:
    result = judged(tmp_path / "without", far(4), None)
    assert "Seeds were added" not in page.render(result, [])
    page.write_tables(result, tmp_path)
    assert "decided_after" not in pd.read_csv(tmp_path / "contrasts.csv")
    assert {contrast.decided_after for contrast in result.tested.primary} == {None}


# Other rules for the variance


def test_the_other_tests_are_scipys() -> None:
    rng = np.random.default_rng(5)
    a, b = Sample(rng.normal(0, 1, 5)), Sample(rng.normal(1, 3, 5))
    expected = stats.ttest_ind(a.values, b.values, equal_var=False).pvalue
    assert p_difference(welch_difference(a, b)) == pytest.approx(expected)
    assert p_difference(pooled_difference(a, b, [a, b])) == pytest.approx(stats.ttest_ind(a.values, b.values).pvalue)
    assert p_difference(paired_difference(a, b)) == pytest.approx(stats.ttest_rel(a.values, b.values).pvalue)


def test_contrasts_have_the_other_p_values_where_they_are_defined(tmp_path: Path) -> None:
    synthetic.write_store(tmp_path, [far(4)])
    result = Report(tables.collect(tmp_path))
    for contrast in result.tested.primary:
        assert 0 <= contrast.p_welch <= 1 and 0 <= contrast.p_pooled <= 1 and math.isnan(contrast.p_paired)
        assert contrast.with_variance_rule("pooled").outcome in ("ahead", "behind", "equal", "open")
    for folder in (tmp_path / "runs").iterdir():
        synthetic.change_record(tmp_path, folder.name, batch_tokens=4096)
    assert all(0 <= contrast.p_paired <= 1 for contrast in Report(tables.collect(tmp_path)).tested.primary)
    assert all(math.isnan(contrast.p_welch) for contrast in result.tested.exploratory)


def test_the_page_says_where_another_variance_changes_the_outcome() -> None:
    from archbench.reports.page.sections.tests import alternatives

    same = replace(pair(0.01), p_welch=0.02, p_beyond_welch=1.0, p_pooled=0.01, p_beyond_pooled=1.0)
    assert alternatives([same]) == (
        "The outcome is the same by Welch's test and with one variance for all architectures in primary contrasts."
    )
    [other] = [replace(same, p_welch=0.2)]
    assert alternatives([same, other]).endswith(": decoder vs. encoder on sentiment (not decided by Welch's test).")
    assert alternatives([pair(math.nan)]) == ""


# The comparison


def experiment(**changes: object) -> Experiment:
    task = {"kind": "classification", "name": "things", "data": "things.tsv", "tokenizer": "word", "vocabulary": 64}
    values = {
        "name": "tiny",
        "architectures": list(THREE),
        "seeds": [0, 1],
        "budget": {"parameters": 20_000, "tokens": 6_000},
        "model": {"width": 32},
        "training": {"batch_tokens": 400, "precision": "float32"},
        "tasks": [{**task, "source_length": 8}],
    }
    return spec.from_dict({**values, **changes})


def never(root: Path) -> dict[str, list[str]]:
    return {}


@pytest.mark.parametrize(
    ("changes", "most", "message"),
    [
        ({"seeds": [0]}, 4, "--until-decided: things lists one seed"),
        ({"seeds": [0, 1, 2]}, 2, "--max-seeds 2: things lists more seeds (3)"),
        ({"tuning": {"learning_rate": [0.01, 0.02], "seeds": [3]}}, 4, "tuning.seeds: 3 would be a seed"),
    ],
)
def test_a_rule_that_does_not_fit_is_wrong_input(changes: dict[str, object], most: int, message: str) -> None:
    with pytest.raises(InputError) as error:
        UntilDecided(most, never).check(experiment(**changes))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("options", [["--until-decided"], ["--max-seeds", "5"]])
def test_the_two_options_go_together(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["compare", "--preset", "smoke", *options])
    assert "go together" in capsys.readouterr().err


def test_seeds_are_added_where_contrasts_are_open_until_none_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_by_look = [{"things": THREE}, {"things": THREE[:2]}, {}]
    rounds: list[tuple[dict[str, dict[str, int]], dict[str, Any]]] = []
    statuses = {"failed": Outcome(failed=("run",)), "done": Outcome()}
    state = {"outcome": "done"}

    def complete(specification: Experiment, root: Path, *rest: Any) -> Outcome:
        rule = rest[-2]["until_decided"]
        rounds.append((specification.added, rule))
        fixed = {"name": "tiny", "command": "", "version": "", "rows": {}, "entries": []}
        store.write_experiment(root, **fixed, experiment=specification.digestable(), until_decided=rule)
        return statuses[state["outcome"]]

    monkeypatch.setattr(compare, "checked_architectures", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(compare, "_train_in_rounds", complete)
    base, lines = experiment(), list[str]()

    def run(most: int, answers: list[Any]) -> None:
        rule = UntilDecided(most, lambda root: answers.pop(0))
        compare.run(base, tmp_path, compare.RunOptions(), "", lines.append, "", rule)

    run(5, list(open_by_look))
    grown = {"things": {"decoder": 2, "encoder": 2, "encoder-decoder": 1}}
    assert [added for added, _ in rounds] == [{}, {"things": dict.fromkeys(THREE, 1)}, grown]
    assert lines[-1].endswith("no primary contrast is open")
    rounds.clear()
    run(5, [{}])
    assert [added for added, _ in rounds] == [grown]  # the same command goes on from there
    rounds.clear()
    run(3, [{"things": THREE}, {"things": THREE}])
    assert [rule.get("earlier") for _, rule in rounds] == [[5], [5]]
    assert lines[-1].endswith("primary contrasts are open after 3 seeds on things")
    state["outcome"] = "failed"
    rounds.clear()
    run(4, [])
    assert len(rounds) == 1


def test_only_the_first_condition_and_axis_gain_seeds(tmp_path: Path) -> None:
    rows = [f"{colour} house {n} by the sea\t{colour}" for colour in ("red", "blue", "green") for n in range(200)]
    (tmp_path / "things.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    base = experiment(
        budget={"parameters": 20_000, "tokens": 6_000, "match": ["parameters", "flops"]},
        conditions=[{"supervision": "target", "seeds": [0, 7]}],
        controls=True,
    ).model_copy(update={"folder": str(tmp_path)})
    grown = largest(base, 4, lambda place: place)
    assert grown.added == {"things": dict.fromkeys(THREE, 2)}
    options: dict[str, Any] = {"device": "cpu", "deterministic": False, "cache": tmp_path / "cache", "root": tmp_path}
    before, after = (matrix.plan(specification, **options, say=lambda line: None) for specification in (base, grown))
    added = set(after.entries) - set(before.entries)
    assert set(before.entries) <= set(after.entries)
    seeds = {plan.run: plan.seed for plan in after.plans}
    assert {(entry.match, entry.condition, entry.role) for entry in added} == {("parameters", "", "compared")}
    assert sorted(seeds[entry.run] for entry in added) == [8, 8, 8, 9, 9, 9]
    assert grown.digestable() == base.digestable()
