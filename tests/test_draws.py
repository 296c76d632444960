"""Few labels: which training and validation examples a run has, and what the report says of their draws."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import figure_stores
import numpy as np
import pandas as pd
import pytest
import small_plans

from archbench.reports.figures.kinds import pretraining as figure
from archbench.reports.page import printed
from archbench.reports.page.elements import bottom_line
from archbench.reports.readings.adapted import adapted
from archbench.reports.report import Report
from archbench.reports.results import draws
from archbench.runs.execution import dry_run
from archbench.runs.experiment import spec
from archbench.runs.experiment.sections import Training
from archbench.runs.planning.matrix import Matrix
from archbench.runs.plans.plan import Plan
from archbench.runs.training import from_plan, train
from archbench.tasks.base.errors import InputError

TASK: dict[str, Any] = {
    "kind": "classification",
    "name": "colours",
    "data": "many.tsv",
    "source_length": 8,
    "test_examples": 5,
    "tokenizer": "word",
    "vocabulary": 60,
}
ROWS, VALIDATION = 600, 30  # a twentieth of the rows are for validation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("data")
    rows = [f"{'red' if n % 2 else 'blue'} {'house ' * (1 + n % 5)}{n}\t{n % 2}" for n in range(ROWS)]
    (place / "many.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    (place / "books.txt").write_text("a red house and a blue car. " * 200)
    return place


def values(seeds: list[int], **task: Any) -> dict[str, Any]:
    return {
        "name": "few",
        "architectures": ["decoder", "encoder"],
        "seeds": seeds,
        "budget": {"parameters": 20_000, "tokens": 1_500},
        "model": {"width": 32},
        "training": {"batch_tokens": 250, "precision": "float32"},
        "tasks": [{**TASK, **task}],
    }


def planned(folder: Path, seeds: list[int], **task: Any) -> Matrix:
    return small_plans.plan(values(seeds, **task), folder, folder / "none")


def rows(plan: Plan) -> tuple[list[int], list[int]]:
    """The rows of the file that a run trains on and is validated on."""
    data = from_plan.prepared_data(plan)
    return list(map(int, data.train.rows)), list(map(int, data.validation.rows))


def test_each_seed_draws_its_examples_and_smaller_numbers_are_part_of_larger_ones(folder: Path) -> None:
    plans = planned(folder, [0, 1], examples=[10, 20, "all"]).plans
    drawn: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for plan in plans:
        both = drawn.setdefault((plan.seed, plan.examples), rows(plan))
        assert both == rows(plan)  # the same for decoder and encoder
    for part in (0, 1):
        for seed in (0, 1):
            assert set(drawn[seed, 10][part]) < set(drawn[seed, 20][part])
        assert set(drawn[0, 20][part]) != set(drawn[1, 20][part])
    assert [len(part) for part in drawn[0, 10]] == [10, 10] and [len(part) for part in drawn[1, 20]] == [20, 20]
    every = max(count for _, count in drawn)
    assert drawn[0, every] == drawn[1, every] and len(drawn[0, every][1]) == VALIDATION
    alone = {plan.run for plan in planned(folder, [1], examples=[20]).plans}
    assert alone == {plan.run for plan in plans if (plan.seed, plan.examples) == (1, 20)}  # of the seed, not the list


def test_what_starts_elsewhere_and_is_adapted_otherwise_has_the_same_examples(folder: Path) -> None:
    text = {"name": "own", "data": "books.txt", "vocabulary": 300, "context": 24, "test_examples": 4}
    task = {key: value for key, value in TASK.items() if key not in ("tokenizer", "vocabulary")}
    starts = {"start": ["scratch", "own"], "adapt": ["finetune", "frozen"], "examples": 12}
    settings = {**values([3], **starts), "pretraining": [text], "tasks": [{**task, **starts}]}
    matrix = small_plans.plan(settings, folder, folder / "none")
    plans = [plan for plan in (*matrix.plans, *matrix.later) if not plan.is_pretraining]
    assert {(plan.start_name, plan.adapt) for plan in plans} >= {
        ("", "finetune"),
        ("own", "finetune"),
        ("own", "frozen"),
    }
    assert len({str(rows(plan)) for plan in plans}) == 1


def test_once_means_one_draw_for_all_seeds_and_the_whole_validation_split(folder: Path) -> None:
    plans = planned(folder, [0, 1], examples=10, draw="once").plans
    assert len({str(rows(plan)) for plan in plans}) == len({plan.data for plan in plans}) == 1
    assert {plan.validation_examples for plan in plans} == {VALIDATION}


def test_few_labels_that_are_read_many_times_have_dropout_unless_the_file_says_otherwise() -> None:
    def dropouts(**changes: Any) -> set[tuple[str, int, float]]:
        task = {"examples": [7, 10, "all"], **changes}
        experiment = spec.from_dict(values([0], **task) | {"budget": {"parameters": 20_000, "tokens": 1_500}})
        return {(part.adapt, part.examples, part.training.dropout) for part in experiment.tasks_and_conditions}

    assert dropouts() == {("finetune", 7, 0.2), ("finetune", 10, 0.0), ("finetune", 0, 0.0)}
    without = {("finetune", count, 0.0) for count in (7, 10, 0)}
    assert dropouts(draw="once") == dropouts(training={"dropout": 0.0}) == without
    assert dropouts(tuning={"learning_rate": [0.01, 0.02]}) == without
    assert ("frozen", 7, 0.0) in dropouts(adapt=["finetune", "frozen"])


def test_of_drawn_labels_the_last_weights_are_kept_from_every_start_unless_the_file_says_otherwise() -> None:
    def kept(**changes: Any) -> set[tuple[int, str]]:
        experiment = spec.from_dict(values([0], **{"examples": [10, "all"], **changes}))
        return {(part.examples, part.training.keep) for part in experiment.tasks_and_conditions}

    assert kept() == {(10, "last"), (0, "best")}
    never = {(10, "best"), (0, "best")}
    assert kept(draw="once") == kept(training={"keep": "best"}) == kept(tuning={"learning_rate": [0.01, 0.02]}) == never
    assert Training(keep="last").identity() == {**Training().identity(), "keep": "last"}
    assert "keep" not in Training().identity()


def pretrained_for(training: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An experiment with a task that starts from scratch and from a pretraining."""
    text = {"name": "own", "data": "books.txt", "vocabulary": 300, "context": 24, "budget": {"tokens": 5_000}}
    task = {key: value for key, value in TASK.items() if key not in ("tokenizer", "vocabulary")}
    settings = values([0]) | {"pretraining": [text], "training": {"batch_tokens": 250, **training}}
    return settings | {"tasks": [{**task, "start": ["scratch", "own"], **changes}]}


def test_a_task_that_is_pretrained_for_has_one_rate_for_all_starts_unless_the_file_says_otherwise() -> None:
    def rates(training: dict[str, Any], **changes: Any) -> set[tuple[str, float]]:
        experiment = spec.from_dict(pretrained_for(training, **changes))
        return {(part.start, part.training.learning_rate) for part in experiment.tasks_and_conditions}

    assert rates({}) == {("scratch", 0.01), ("own", 0.01)}
    assert rates({"learning_rate": 0.002}) == {("scratch", 0.002), ("own", 0.002)}
    for stated in ({"tuned": {"decoder": {"learning_rate": 0.02}}}, {"tuning": {"learning_rate": [0.01, 0.02]}}):
        assert rates({}, **stated) == {("scratch", 0.003), ("own", 0.003)}
    assert rates({"optimizer": "adamw"}) == {("scratch", 0.003), ("own", 0.003)}


def test_drawn_labels_begin_with_a_part_of_pretrained_weights_which_names_no_run_from_scratch(folder: Path) -> None:
    def shares(training: dict[str, Any], **changes: Any) -> set[tuple[str, float]]:
        matrix = small_plans.plan(pretrained_for(training, **changes), folder, folder / "none")
        plans = [plan for plan in (*matrix.plans, *matrix.later) if not plan.is_pretraining]
        return {(plan.start_name, plan.training.pretrained_share) for plan in plans}

    assert shares({}, examples=10) == {("", 1.0), ("own", 0.3)}
    assert shares({}) == shares({}, examples=10, draw="once") == {("", 1.0), ("own", 1.0)}
    assert shares({}, examples=10, tuned={"decoder": {"learning_rate": 0.02}}) == {("", 1.0), ("own", 1.0)}
    assert shares({"pretrained_share": 0.5}, examples=10) == {("", 1.0), ("own", 0.5)}


def test_drawn_labels_are_validated_on_a_larger_part_of_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "VALIDATION_TOKENS", (20, 1_000))

    def validated(**task: Any) -> int:
        plan = planned(folder, [0], examples=VALIDATION, **task).plans[0]
        prepared = from_plan.prepared_data(plan)
        trainer = from_plan.new_trainer(plan, prepared)
        loop = train.TrainingLoop(plan, prepared, trainer, tmp_path, lambda event: None, lambda: False)
        return sum(len(batch.target) for batch in loop.validation)

    assert validated() > 2 * validated(draw="once")  # of a tenth of the budget, not of a hundredth


def test_validation_examples_are_declared_or_as_many_as_there_are(folder: Path) -> None:
    def counted(**task: Any) -> set[int]:
        plans = planned(folder, [0], **task).plans
        assert {len(rows(plan)[1]) for plan in plans} == {plan.row()["validation_examples"] for plan in plans}
        return {plan.validation_examples for plan in plans}

    assert counted(examples=10, validation_examples=4) == {4}
    assert counted(examples=10, validation_examples="all") == counted(examples=100) == {VALIDATION}


def test_sizes_do_not_depend_on_the_draw_and_costs_are_those_of_its_examples(folder: Path) -> None:
    settings = values([0, 1, 2], examples=10)
    settings["budget"] |= {"match": ["flops", "flops-by-tokens"], "tokens": 10_000}
    matrix = small_plans.plan(settings, folder, folder / "none")
    assert len({(plan.architecture, plan.match, plan.size.hidden) for plan in matrix.plans}) == len(
        {(plan.architecture, plan.match) for plan in matrix.plans}
    )
    decoders = {plan.seed: plan.targets["flops"] for plan in matrix.plans if plan.architecture == "decoder"}
    assert len(set(decoders.values())) == 3


def test_a_trial_draws_as_many_labels_as_a_run_with_its_own_seed(folder: Path) -> None:
    tuning = {"learning_rate": [0.003, 0.01], "seeds": [1000, 1001]}
    trials = [plan for plan in planned(folder, [0], examples=10, tuning=tuning).plans if plan.trial]
    drawn = {plan.seed: rows(plan) for plan in trials}
    assert {len(part) for parts in drawn.values() for part in parts} == {10}
    assert len({str(parts) for parts in drawn.values()}) == len(drawn) == 2


def test_a_specification_without_the_keys_was_drawn_once(folder: Path) -> None:
    for draw in ("once", "seed"):
        experiment = spec.from_dict(values([0], examples=[10, "all"], draw=draw), folder=folder)
        plain = experiment.digestable()
        assert [task.get("draw", "once") for task in (*plain["tasks"], *plain["conditions"])] == [draw, "once"]
        assert spec.recorded(plain, origin="here", folder=folder) == experiment
        if draw == "once":
            assert not {"draw", "validation_examples"} & {*plain["tasks"][0]}


def test_a_dry_run_says_how_many_labels_are_read(folder: Path) -> None:
    def shown(**task: Any) -> str:
        return "\n".join(map("  ".join, dry_run._table(planned(folder, [0], **task))))

    assert "10 labels + 10 for validation" in shown(examples=10)
    assert f"10 labels + {VALIDATION} for validation" in shown(examples=10, draw="once")
    assert "for validation" not in shown()


MISTAKES = {
    "examples: 700: expected at most the 540 training examples": {"examples": 700},
    "validation_examples: 31: expected at most the 30 validation examples": {"examples": 10, "validation_examples": 31},
    "validation_examples: needs a number of training examples": {"validation_examples": 10},
    "draw: needs a number of training examples": {"draw": "once"},
    'draw = "once" validates on the whole split': {"examples": 10, "draw": "once", "validation_examples": 5},
    "expected one number of examples": {"examples": 10, "validation_examples": [5]},
    "draw": {"examples": 10, "draw": "twice"},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_are_one_line(message: str, folder: Path) -> None:
    with pytest.raises(InputError) as raised:
        planned(folder, [0], **MISTAKES[message])
    assert message in str(raised.value) and "\n" not in str(raised.value)


def reported(draw: str | None, validation: int | None = None) -> Report:
    """A report on few labels whose specification says how they were drawn; None: it has no few labels."""
    judged = figure_stores.judged("pretraining")
    task: dict[str, Any] = {"name": "sentiment", "examples": 20}
    entries = [task | {"examples": count} | ({"draw": draw} if draw == "seed" else {}) for count in (20, 100, 1000)]
    settings = {"tasks": entries[:1], "conditions": entries[1:]} if draw else {}
    rows = judged.tables["experiment"]
    rows = rows[(rows["key"] != "specification").fillna(True)]
    said = pd.DataFrame({"key": ["specification"], "value": [json.dumps(settings)]}).astype(rows.dtypes.to_dict())
    runs = judged.tables["runs"]
    runs = runs if validation is None else runs.assign(validation_examples=np.int64(validation))
    return Report({**judged.tables, "experiment": pd.concat([rows, said], ignore_index=True), "runs": runs})


def texts(report: Report) -> list[str]:
    """The figure's sentence, the table's draws, the first screen, the sentence on sizes."""
    grid = printed.table(report, "saved_labels")
    drawn = [row[-1].text for row in grid.rows] if grid.head[-1].text == "draws" else []
    first_screen = " ".join(bottom_line.pretrained(report))
    return [
        figure._takeaway(report, adapted(report)),
        ",".join(dict.fromkeys(drawn)),
        first_screen,
        draws.sentence(report.tables),
    ]


def test_what_a_pretraining_is_worth_in_labels_says_over_how_many_draws() -> None:
    runs = figure_stores.judged("pretraining").tables["runs"]
    seeds = runs["seed"].nunique()
    assert seeds > 1
    for draw, words, count in (
        ("seed", f"over {seeds} draws of the labels", seeds),
        ("once", "one draw of the labels", 1),
    ):
        takeaway, table, first_screen, sizes = texts(reported(draw, 50))
        assert f"from scratch ({words}): " in takeaway and words in first_screen and words in sizes
        assert table == str(count)
        assert "20 labels + 50 for validation, 100 labels + 50 for validation" in sizes
        assert ("other labels may give another result" in sizes) == (count == 1)


def test_without_few_labels_nothing_is_said_of_draws() -> None:
    takeaway, table, first_screen, sizes = texts(reported(None))
    assert "draw" not in takeaway + first_screen and table == sizes == ""


def test_older_tables_had_the_whole_validation_split() -> None:
    assert "20 labels + 1,000 for validation" in draws.sentence(reported("once").tables)


def test_the_draw_names_a_run_through_its_data(folder: Path) -> None:
    (plan, *_) = planned(folder, [0], examples=10).plans
    assert plan.run != replace(plan, data=planned(folder, [0], examples=10, draw="once").plans[0].data).run
