"""Alternatives of an architecture: trials choose what is compared under its name, and the page says so."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import small_plans

from archbench.reports.base import tables
from archbench.reports.page import page
from archbench.reports.page.elements.bottom_line import limits
from archbench.reports.page.elements.task_lines import task_lines
from archbench.reports.page.sections import tuning
from archbench.reports.report import Report
from archbench.reports.results import groups
from archbench.reports.results import trials as analysis
from archbench.runs.execution import compare, work
from archbench.runs.execution.compare import RunOptions
from archbench.runs.execution.execute import Outcome
from archbench.runs.experiment import spec
from archbench.runs.planning.matrix import Matrix
from archbench.runs.plans.placement import Placement
from archbench.runs.plans.plan import Plan
from archbench.runs.store import store
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError

ALTERNATIVES = {"encoder": ["suffix-encoder", "next-cell-encoder"]}
LOSSES = {"decoder": 2.0, "encoder": 1.5, "suffix-encoder": 1.2, "next-cell-encoder": 1.4}
FILLED = {"name": "END fills", "training": {"canvas": "end", "mask_weights": "equal"}}
SHALLOW = {"name": "one layer, small batches", "training": {"batch_tokens": 200}, "model": {"depth": 1}}
BUDGET = {"parameters": 20_000, "tokens": 6_000}
FORMS = {"decoder": [SHALLOW], "encoder": [FILLED]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    rows = [f"{n} red houses by the sea\t{n} rote Häuser am Meer" for n in range(300)]
    (place / "pairs.tsv").write_text("\n".join(["source\ttarget", *rows]) + "\n")
    return place


def experiment(**changes: object) -> dict[str, Any]:
    task = {"kind": "translation", "name": "pairs", "data": "pairs.tsv", "tokenizer": "word", "vocabulary": 64}
    settings = {
        "name": "tiny",
        "architectures": ["decoder", "encoder"],
        "seeds": [0, 1],
        "budget": BUDGET,
        "model": {"width": 32},
        "training": {"batch_tokens": 400, "precision": "float32"},
        "tuning": {"learning_rate": [0.005, 0.01, 0.02]},
        "alternatives": ALTERNATIVES,
        "tasks": [{**task, "source_length": 8, "target_length": 8}],
    }
    return {key: value for key, value in {**settings, **changes}.items() if value is not None}


def finish(plans: list[Plan], root: Path, losses: dict[str, float] = LOSSES) -> None:
    """Records and exact validation losses of trials; the middle rate and the settings of forms are the best."""
    for plan in plans:
        formed = plan.training.canvas == "end" or plan.training.batch_tokens == 200
        loss = losses[plan.architecture] + (plan.training.learning_rate != 0.01) - 0.5 * formed
        place = store.run_folder(root, plan.run)
        place.mkdir(parents=True, exist_ok=True)
        row = {"split": "validation", "metric": "nll_per_token", "value": loss}
        sealed.write_json(place / "scores.json", [row])
        store.write_record(place, {**plan.row(), "status": "done", "validation_loss": loss})


def compared(matrix: Matrix) -> set[tuple[str, str, float]]:
    """The names in the comparison, what was trained for each, and its learning rate."""
    plans = {plan.run: plan for plan in matrix.plans}
    entries = [entry for entry in matrix.entries if entry.role in ("compared", "share", "control")]
    runs = [(entry, plans[entry.run]) for entry in entries]
    return {(entry.architecture, plan.architecture, plan.training.learning_rate) for entry, plan in runs}


def test_every_candidate_has_the_same_trials(folder: Path, tmp_path: Path) -> None:
    matrix = small_plans.plan(experiment(), folder, tmp_path)
    assert {plan.architecture for plan in matrix.plans} == set(LOSSES)
    assert len(matrix.plans) == 3 * len(LOSSES)
    assert compared(matrix) == set()


def test_the_candidate_with_the_lowest_validation_loss_is_compared(folder: Path, tmp_path: Path) -> None:
    finish(list(small_plans.plan(experiment(), folder, tmp_path).plans), tmp_path)
    matrix = small_plans.plan(experiment(controls=True, conditions=[{"share": 0.5}]), folder, tmp_path)
    assert compared(matrix) == {
        ("decoder", "decoder", 0.01),
        ("encoder", "suffix-encoder", 0.01),
        ("decoder, again", "decoder", 0.01),
        ("decoder, half the budget", "decoder", 0.01),
    }


def test_nothing_is_compared_before_the_trials_of_all_candidates_have_ended(folder: Path, tmp_path: Path) -> None:
    first = small_plans.plan(experiment(), folder, tmp_path)
    finish([plan for plan in first.plans if plan.architecture != "next-cell-encoder"], tmp_path)
    assert compared(small_plans.plan(experiment(), folder, tmp_path)) == set()  # the grid may still grow, for all


def test_a_tie_is_for_the_architecture_itself(folder: Path, tmp_path: Path) -> None:
    finish(list(small_plans.plan(experiment(), folder, tmp_path).plans), tmp_path, dict.fromkeys(LOSSES, 1.0))
    entries = compared(small_plans.plan(experiment(), folder, tmp_path))
    assert ("encoder", "encoder", 0.01) in entries


def test_trials_that_diverged_are_not_chosen(folder: Path, tmp_path: Path) -> None:
    plans = list(small_plans.plan(experiment(), folder, tmp_path).plans)
    finish(plans, tmp_path)
    for plan in plans:
        if plan.architecture == "suffix-encoder":
            place = store.run_folder(tmp_path, plan.run)
            store.write_record(place, {**plan.row(), "status": "diverged", "validation_loss": 1.0})
    assert ("encoder", "next-cell-encoder", 0.01) in compared(small_plans.plan(experiment(), folder, tmp_path))


def test_trials_that_never_improved_choose_nothing(folder: Path, tmp_path: Path) -> None:
    """Their losses are those of the untrained model: equal, so that ties would choose the lowest rate."""
    plans = list(small_plans.plan(experiment(alternatives={}), folder, tmp_path).plans)
    for plan in plans:
        loss, learned = 4.0 + (plan.training.learning_rate != 0.01), plan.architecture == "decoder"
        row = {**plan.row(), "status": "done", "validation_loss": loss, "best_step": int(learned)}
        store.write_record(store.run_folder(tmp_path, plan.run), row)
    matrix = small_plans.plan(experiment(alternatives={}), folder, tmp_path)
    assert ("encoder", "encoder", 0.003) in compared(matrix)  # the recipe's, and the grid has not grown for it
    rows = {
        "runs": pd.DataFrame([{**plan.row(), "status": "done", "best_step": 0} for plan in matrix.plans]),
        "entries": pd.DataFrame([vars(entry) for entry in matrix.entries]),
        "curves": pd.DataFrame({"run": [], "split": [], "metric": []}),
        "scores": pd.DataFrame({"run": [], "split": [], "metric": [], "value": [], "n": []}),
        "references": pd.DataFrame({"dataset": [], "split": [], "name": [], "metric": [], "value": []}),
    }
    rows["runs"]["validation_loss"] = 4.0
    assert [(one.architecture, one.bar) for one in analysis.without_tuning(rows)] == [
        ("decoder", math.inf),
        ("encoder", math.inf),
    ]
    assert "no trial learned for decoder, pairs (no loss below the untrained model's); encoder, pairs (" in (
        tuning.without_tuning(rows)
    )


def plans_of(matrix: Matrix, role: str) -> list[tuple[Placement, Plan]]:
    plans = {plan.run: plan for plan in matrix.plans}
    return [(entry, plans[entry.run]) for entry in matrix.entries if entry.role == role]


def chosen_by_hand(folder: Path, root: Path, **changes: object) -> set[str]:
    """The runs of an experiment without trials, at the rate that trials prefer."""
    fixed = {"batch_tokens": 400, "precision": "float32", "learning_rate": 0.01}
    training = {**fixed, **changes.pop("training", {})}  # type: ignore[dict-item]  # a table
    values = experiment(tuning=None, alternatives=None, training=training, **changes)
    return {plan.run for plan in small_plans.plan(values, folder, root).plans}


def test_the_best_form_is_compared_and_is_the_run_that_its_settings_give(folder: Path, tmp_path: Path) -> None:
    values = experiment(alternatives=FORMS)
    tried = plans_of(small_plans.plan(values, folder, tmp_path), "trial")
    assert {(entry.architecture, entry.form) for entry, _ in tried} == {
        ("decoder", ""),
        ("decoder", SHALLOW["name"]),
        ("encoder", ""),
        ("encoder", FILLED["name"]),
    }
    assert len(tried) == 2 * 2 * 3 and {plan.tokens for _, plan in tried} == {6_000}
    finish([plan for _, plan in tried], tmp_path)
    chosen = plans_of(small_plans.plan(values, folder, tmp_path), "compared")
    assert {(entry.architecture, entry.form) for entry, _ in chosen} == {
        ("decoder", SHALLOW["name"]),
        ("encoder", FILLED["name"]),
    }
    assert {plan.run for _, plan in chosen if plan.architecture == "encoder"} == chosen_by_hand(
        folder, tmp_path, architectures=["decoder", "encoder"], training=FILLED["training"]
    ) & {plan.run for _, plan in chosen}
    by_hand = {"training": SHALLOW["training"], "model": {"width": 32, "depth": 1}, "architectures": ["decoder"]}
    shallow = [plan for _, plan in chosen if plan.architecture == "decoder"]
    assert {plan.run for plan in shallow} == chosen_by_hand(folder, tmp_path, **by_hand)
    assert {plan.size.depth for plan in shallow} == {1}


def test_a_form_does_not_change_the_budget_of_others(folder: Path, tmp_path: Path) -> None:
    """Fillers cost an encoder FLOPs: it reads fewer tokens for the same FLOPs, and the decoder as many as before."""
    values = experiment(architectures=["encoder", "decoder"], budget={**BUDGET, "match": "flops-by-tokens"})
    plain = plans_of(small_plans.plan({**values, "alternatives": {}}, folder, tmp_path), "trial")
    formed = plans_of(small_plans.plan({**values, "alternatives": {"encoder": [FILLED]}}, folder, tmp_path), "trial")
    assert {entry.run for entry, _ in plain} == {entry.run for entry, _ in formed if not entry.form}
    targets = {plan.targets["flops"] for _, plan in formed}
    for entry, plan in formed:
        assert plan.flops == pytest.approx(min(targets), rel=0.02), entry


def test_a_condition_keeps_what_it_states(folder: Path, tmp_path: Path) -> None:
    values = experiment(
        alternatives=FORMS,
        conditions=[{"training": {"canvas": "mask"}}, {"model": {"depth": 2}}, {"share": 0.5}],
    )
    finish(list(small_plans.plan(values, folder, tmp_path).plans), tmp_path)
    matrix = small_plans.plan(values, folder, tmp_path)
    runs = [*plans_of(matrix, "compared"), *plans_of(matrix, "share")]
    found = {
        (entry.condition, entry.share, entry.architecture): (plan.training.canvas, plan.size.depth)
        for entry, plan in runs
        if entry.condition or entry.share < 1
    }
    assert found["canvas mask", 1, "encoder"][0] == "mask" and found["", 0.5, "encoder"][0] == "end"
    assert found["depth 2", 1, "decoder"][1] == 2 and found["", 0.5, "decoder"][1] == 1


def test_unequal_numbers_of_forms_are_said(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    small_plans.plan(experiment(alternatives={"encoder": [FILLED]}), folder, tmp_path, said.append)
    assert "pairs: unequal numbers of forms, and so of trials: decoder 1, encoder 2" in said
    small_plans.plan(experiment(alternatives=FORMS), folder, tmp_path, (equal := list[str]()).append)
    assert not any("unequal" in line for line in equal)


def test_a_form_without_effect_is_refused(folder: Path, tmp_path: Path) -> None:
    """A decoder has no canvas: its trials would be the same runs twice, and count as two forms."""
    with pytest.raises(InputError, match='on pairs, "decoder" and "decoder, END fills" are the same runs; remove one'):
        small_plans.plan(experiment(alternatives={"decoder": [FILLED]}), folder, tmp_path)


def test_a_form_that_learns_nothing_repeats_no_trials_where_another_learned(folder: Path, tmp_path: Path) -> None:
    values = experiment(alternatives=FORMS, tuning={"learning_rate": [0.005, 0.01, 0.02], "share": 0.5})
    for losses, repeated in ((dict.fromkeys(LOSSES, 0.1), False), (dict.fromkeys(LOSSES, 99.0), True)):
        trials = plans_of(small_plans.plan(values, folder, tmp_path), "trial")
        finish([plan for _, plan in trials], tmp_path, losses)
        for entry, plan in trials:
            if entry.form:
                record = {**plan.row(), "status": "done", "validation_loss": 99.0}
                store.write_record(store.run_folder(tmp_path, plan.run), record)
        again = plans_of(small_plans.plan(values, folder, tmp_path), "trial")
        assert ({entry.share for entry, _ in again} == {0.5, 1.0}) == repeated


def test_a_specification_is_read_as_it_was_written(folder: Path) -> None:
    mixed = {"decoder": [SHALLOW], "encoder": ["suffix-encoder", {**FILLED, "variant": "next-cell-encoder"}]}
    written = spec.from_dict(experiment(alternatives=mixed), folder=folder)
    assert written.digestable()["tasks"][0]["alternatives"] == mixed
    again = spec.recorded(written.digestable(), origin="tables", folder=folder)
    assert again.digestable() == written.digestable()
    assert again.tasks[0].alternatives == written.tasks[0].alternatives


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *[
            ({"alternatives": {"encoder": [form]}}, message)
            for form, message in (
                ({"name": "a", "training": {"canvass": "end"}}, r'encoder\[0\].training.canvass: .* mean "canvas"'),
                ({"name": "a", "training": {"canvas": "ends"}}, r'alternatives.encoder\[0\].training.canvas: "ends": '),
                ({"name": "a", "budget": {"tokens": 5}}, r"alternatives.encoder\[0\].budget: unknown key"),
                ({"training": {"canvas": "end"}}, r"alternatives.encoder\[0\].name: missing"),
                ({"name": "a"}, r'alternatives.encoder\[0\]: "a" changes nothing; add training or model'),
                ({"name": "a", "training": {"dropout": 0.1}}, r"\[0\].training.dropout: trials choose it"),
                ({"name": "a", "model": {"width": 64}}, r"\[0\].model.width: all architectures .* one width"),
                ({"name": "a", "training": {"batch_tokens": 7_000}}, r"\[0\]: tasks.pairs.budget.tokens: .* one batch"),
                (3, "alternatives.encoder: 3: expected the name of a variant, or a table"),
            )
        ],
        ({"alternatives": {"encoder": [FILLED, FILLED]}}, 'alternatives.encoder: "END fills" is given twice'),
        ({"alternatives": {"encodr": [FILLED]}}, 'alternatives.encodr: no architecture .* mean "encoder"'),
        ({"alternatives": {"encodr": ["suffix-encoder"]}}, 'alternatives.encodr: no architecture .* mean "encoder"'),
        ({"alternatives": {"encoder": ["encoder"]}}, '"encoder" is compared anyway'),
        ({"alternatives": {"encoder": []}}, "alternatives.encoder: is empty"),
        ({"tuning": None}, "alternatives.encoder: trials choose .* the task .* has no trials"),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec.from_dict(experiment(**changes), folder=folder)


def test_a_task_has_alternatives_of_its_own(folder: Path) -> None:
    values = experiment()
    [task] = values["tasks"]
    own_alternatives = {"encoder": ["pooled-encoder"]}
    values["tasks"] = [
        task,
        {**task, "name": "own", "alternatives": own_alternatives},
        {**task, "name": "none", "alternatives": {}},
    ]
    resolved = spec.from_dict(values, folder=folder)
    assert [task["alternatives"] for task in resolved.digestable()["tasks"]] == [ALTERNATIVES, own_alternatives, {}]
    with pytest.raises(InputError, match=r'tasks\[0\]\.alternatives\.encodr: no architecture .* mean "encoder"'):
        spec.from_dict({**values, "tasks": [{**task, "alternatives": {"encodr": ["encoder"]}}]}, folder=folder)


def test_an_alternative_of_another_family_is_an_error(folder: Path, tmp_path: Path) -> None:
    values = experiment(alternatives={"encoder": ["prefix-decoder"]})
    with pytest.raises(InputError, match=r"alternatives\.encoder: prefix-decoder is of the family decoder; expected"):
        small_plans.plan(values, folder, tmp_path)


def test_a_condition_whose_trials_choose_another_variant_is_named() -> None:
    usual = analysis.ChosenVariant("pairs", "", "encoder", "suffix-encoder")
    same, other = (
        analysis.ChosenVariant("pairs", "native supervision, tuned", "encoder", variant)
        for variant in ("suffix-encoder", "encoder")
    )
    assert tuning.changed_variants([usual, same]) == ""
    assert tuning.changed_variants([usual, other]) == (
        "Trials of a condition may choose another variant: for encoder on pairs, the variant encoder under “native "
        "supervision, tuned” but the variant suffix-encoder under the first condition. The differences include both "
        "changes."
    )


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A comparison whose runs have two steps, or 30 in a form; its folder, and the runs of this and a second call."""
    root, calls = tmp_path_factory.mktemp("trained"), list[list[str]]()

    def execute(plans: Sequence[Any], place: Path, *_: Any, **__: Any) -> Outcome:
        waiting = [plan for plan in plans if not store.is_finished(store.run_folder(place, plan.run))]
        for plan in waiting:
            work.perform(plan, store.run_folder(place, plan.run), lambda event: None, lambda: False)
        calls[-1] += [plan.run for plan in waiting]
        return Outcome()

    values = experiment(
        architectures=["encoder-decoder", "decoder"],
        training={"batch_tokens": 3_000, "precision": "float32"},
        tuning={"learning_rate": [0.005, 0.01], "share": 0.5, "longer": False},
        alternatives={"decoder": [{"name": "small batches", "training": {"batch_tokens": 200}}]},
    )
    values["tasks"][0]["test_examples"] = 5
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compare, "execute", execute)
        patched.setattr(compare, "_complete_baselines", lambda *_: ())
        for _ in range(2):
            calls.append([])
            read = spec.from_dict(values, folder=folder)
            assert compare.run(read, root, RunOptions(device="cpu", jobs=1), "archbench", str).status == 0
    return root, calls


def test_the_form_that_learns_is_chosen_and_the_page_says_how_many_there_were(
    trained: tuple[Path, list[list[str]]], tmp_path: Path
) -> None:
    root, (first, again) = trained
    assert len(first) == 3 * 3 + 2 * 2 and again == []  # trials, with the one by which the grid grows; then seeds
    report = Report(tables.collect(root))
    found = {(form.architecture, form.form): form for form in analysis.forms(report.tables)}
    plain, small = found["decoder", "decoder"], found["decoder", "decoder, small batches"]
    assert small.chosen and not plain.chosen and small.loss < plain.loss - 0.1
    assert (plain.trials, small.trials, plain.share) == (3, 3, 0.5) and small.examples > 0
    assert found["encoder-decoder", "encoder-decoder"].chosen
    assert {run.batch_tokens for run in compared_runs(report, "decoder")} == {200}
    assert list(tuning.unequal_forms(list(found.values()))) == [
        "Architectures had unequal numbers of forms (trials) on pairs: encoder-decoder 1 (3) and decoder 2 (6)."
    ]
    assert tuning.short_trials(list(found.values())) == ""
    assert tuning.short_trials([replace(small, share=0.25)]) == (
        "Trials read less than half of a reported run's tokens on pairs (25%)."
    )
    assert list(tuning.equal_forms([plain, small])) == ["On pairs, each architecture had 2 forms and 6 trials."]
    assert tuning.variants_in_use(report.tables) == "Chosen by trials: decoder is “small batches” on pairs."
    assert "unequal numbers of forms on pairs (decoder 2, encoder-decoder 1)" in limits(report)
    assert "decoder (“small batches”)" in task_lines(report)[0].scores
    page.write(report, tmp_path)
    assert "unequal numbers of forms" in (tmp_path / "index.html").read_text(encoding="utf-8")
    written = pd.read_csv(tmp_path / "forms.csv")
    assert list(written["chosen"]) == [True, False, True]
    assert [[cell.text for cell in row][:4] for row in tuning.FORMS.grid(report).rows] == [
        ["pairs", "encoder-decoder", "encoder-decoder", "3"],
        ["pairs", "decoder", "decoder", "3"],
        ["pairs", "decoder", "small batches", "3"],
    ]


def compared_runs(report: Report, architecture: str) -> list[Any]:
    rows = groups.placed(report.tables, "compared")
    return list(rows[rows["architecture"] == architecture].itertuples())
