"""Presets as they are planned: how long they take, and that they change what they say."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from archbench.runs.experiment import spec
from archbench.runs.experiment.sections import Experiment, Task
from archbench.runs.machine import machine
from archbench.runs.planning import matrix
from archbench.runs.planning.matrix import Matrix

FLOAT32 = 42.8e9  # FLOP/s of a small model's block on an idle core that multiplies float32 alone
LADDERS = ("scaling", "depth-width", "capacity")
OTHERS = [name for name in spec.presets() if name.startswith("ablation-") or name == "generalist"]
REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
Planned = Callable[[str], Matrix]


def offline(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment on data of like lengths that need no download."""
    words = [f"word{number % 977}" for number in range(40_000)]
    (folder / "text.txt").write_text(" ".join(words))
    rows = [f"{' '.join(words[place : place + 12])}\t{place // 12 % 3}" for place in range(0, 36_000, 12)]
    (folder / "labelled.tsv").write_text("\n".join(["text\tlabel", *rows]))
    sources = {"shakespeare": str(folder / "text.txt"), "sentiment": {"train": str(folder / "labelled.tsv")}}

    def moved(task: Task) -> Task:
        data = task.data if isinstance(task.data, str) else ""
        phrases = "as-text:phrases-en-de:2000" if data.startswith("as-text:") else "phrases-en-de:2000"
        offline_data = data if data.startswith("random-strings:") else sources.get(data, phrases)
        return task.model_copy(update={"data": offline_data})

    parts = {key: tuple(map(moved, getattr(experiment, key))) for key in ("tasks", "conditions")}
    return experiment.model_copy(update=parts)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """The plans of a preset, made once, for cores of an assumed speed."""
    folder, matrices = tmp_path_factory.mktemp("presets"), dict[str, Matrix]()

    def plans(name: str) -> Matrix:
        if name not in matrices:
            experiment = offline(spec.preset(name), folder)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(machine, "training_rate", lambda *_, **__: FLOAT32)
                matrices[name] = matrix.plan(
                    experiment,
                    device="cpu",
                    deterministic=False,
                    cache=folder / "cache",
                    root=folder / name,
                    say=lambda line: None,
                )
        return matrices[name]

    return plans


@pytest.mark.parametrize("name", [*LADDERS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_a_preset_takes_two_workers_less_than_an_hour(name: str, planned: Planned) -> None:
    plans = planned(name).plans
    minutes = 70 if name == "scaling" else 60  # the grid of sizes, where bfloat16 is no faster
    assert plans and sum(plan.expected_seconds for plan in plans) / 2 < 60 * minutes


@pytest.mark.parametrize(("name", "columns"), [("scaling", {"parameters"}), ("depth-width", {"depth", "width"})])
def test_the_runs_of_a_ladder_differ_in_what_it_climbs(name: str, columns: set[str], planned: Planned) -> None:
    rows = pd.DataFrame([plan.row() for plan in planned(name).plans])
    for _, alike in rows.groupby("target_parameters"):
        assert (alike["parameters"] / alike["target_parameters"] - 1).abs().max() <= 0.01
    varying = rows[rows["architecture"] == "decoder"].groupby("dataset")[list(columns)].nunique()
    assert (varying == 5).all(axis=None)
    assert rows.groupby(["dataset", "architecture"])["seed"].nunique().min() == 3


@pytest.mark.parametrize("name", LADDERS)
def test_models_of_a_published_preset_keep_their_heads(name: str, planned: Planned) -> None:
    published = pd.read_parquet(REFERENCE / name / "tables" / "runs.parquet")
    here = pd.DataFrame([plan.row() for plan in planned(name).plans])
    shapes, published_shapes = (set(zip(rows["width"], rows["heads"], strict=True)) for rows in (here, published))
    assert shapes == published_shapes


def test_capacity_has_three_sizes_and_more_strings_than_any_can_store(planned: Planned) -> None:
    experiment, capacity = spec.preset("capacity"), planned("capacity")
    sizes = {plan.targets["parameters"] for plan in capacity.plans}
    assert len(sizes) == 3 and {plan.family for plan in capacity.plans} == {"decoder", "encoder", "encoder-decoder"}
    assert all(len(task.seeds) >= 2 for task in (*experiment.tasks, *experiment.conditions))
    bits = capacity.datasets[0]["notes"]["bits_in_all_strings"]
    assert bits > 2 * max(plan.counts.parameters + plan.counts.embedding_parameters for plan in capacity.plans)


PUBLISHED = [name for name in spec.presets() if (REFERENCE / name / "tables").is_dir()]


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_published_preset_repeats_trials_since_its_runs_were_made_without_this_rule(name: str) -> None:
    tuned = [task.tuning for task in spec.preset(name).tasks_and_conditions if task.tuning]
    assert not any(tuning.longer for tuning in tuned)


@pytest.mark.parametrize(("name", "page"), [("public", "public-v1.md"), ("public-v2", "public-v2.md")])
def test_the_rules_of_a_reference_are_those_on_its_page(name: str, page: str) -> None:
    """The page states the digest of the preset, so that neither changes without the other."""
    text = (Path(__file__).parents[1] / "docs" / page).read_text(encoding="utf-8")
    settings = json.dumps(spec.preset(name).digestable(), sort_keys=True)
    assert f"`{hashlib.sha256(settings.encode()).hexdigest()}`" in text


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_preset_keeps_its_measures_and_its_test_examples(name: str) -> None:
    """Defaults of a kind change; what was published under a name is stated in its file, or still the default."""
    rows = pd.read_parquet(REFERENCE / name / "tables" / "datasets.parquet").set_index("dataset")
    for task in spec.preset(name).tasks:
        if task.name in rows.index:
            assert ", ".join(task.primary) == rows.loc[task.name, "primary"]
            scored = rows.loc[task.name, "test_examples"]
            assert scored <= task.test_examples
            assert task.kind != "translation" or task.test_examples < 1000 or scored > 900  # those that fit


def test_public_accounting_holds_equal_what_others_hold_equal() -> None:
    translation, text = spec.preset("public-accounting").tasks
    assert (translation.primary, translation.test_examples) == (("bits_per_byte", "bleu"), 1000)
    assert translation.budget.match == ("parameters", "flops-by-tokens", "flops")
    assert text.budget.match == ("parameters", "loss-tokens")
