"""One architecture joins a published comparison: it alone is trained, by the published rules."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import small_plans

import archbench
from archbench import command_line, published_tables
from archbench.architectures.catalogue import scaffold
from archbench.reports.base import declared, statistics, tables
from archbench.reports.page import page
from archbench.reports.published.published import Published
from archbench.reports.report import Report
from archbench.runs.experiment import spec
from archbench.tasks.base.errors import InputError
from archbench.tasks.kinds import registry

EXPERIMENT = {
    "name": "shared",
    "architectures": ["decoder", "encoder"],
    "seeds": [3, 4],
    "budget": {"match": ["parameters", "flops-by-tokens"], "parameters": 20_000, "tokens": 2_000},
    "model": {"width": 32, "heads": 2},
    "training": {"batch_tokens": 400, "precision": "float32"},
    "tuning": {"learning_rate": [0.01, 0.02], "dropout": [0.0]},
    "tasks": [
        {
            "kind": "classification",
            "name": "things",
            "data": "things.tsv",
            "tokenizer": "word",
            "vocabulary": 64,
            "source_length": 8,
            "test_examples": 20,
        }
    ],
    "conditions": [{"supervision": "target"}],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, a variant file, a published comparison, and the variant joined to it."""
    folder = tmp_path_factory.mktemp("place")
    small_plans.write_things(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv("ARCHBENCH_CACHE", str(folder / "cache"))
        archbench.compare(EXPERIMENT, "whole", jobs=1)
        shutil.copytree(folder / "whole" / "tables", folder / "published" / "tables")
        scaffold.write("mine", "decoder", folder)
        archbench.compare("mine.py", "joined", against="published", jobs=1)
    return folder


@pytest.fixture(autouse=True)
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(place)
    monkeypatch.setenv("ARCHBENCH_CACHE", str(place / "cache"))
    yield


def experiment_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "experiment.json").read_text(encoding="utf-8"))["sealed"]


def test_the_architecture_alone_is_trained_with_its_trials(place: Path) -> None:
    trained = {path.name for path in (place / "joined" / "runs").iterdir()}
    assert trained and all("-mine-" in name for name in trained)
    runs = tables.read(place / "joined" / "tables")["runs"]
    mine = runs[runs["run"].isin(trained)]
    assert sorted(mine.loc[mine["role"] != "trial", "seed"]) == [3, 4]
    trials = tables.read(place / "published" / "tables")["runs"]
    trials = trials[
        (trials["role"] == "trial") & (trials["architecture"] == "encoder") & (trials["supervision"] == "native")
    ]
    assert sorted(mine.loc[mine["role"] == "trial", "learning_rate"]) == sorted(trials["learning_rate"].unique())


def test_it_stands_beside_the_published_rows_of_the_headline(place: Path) -> None:
    joined, published = (tables.read(place / name / "tables") for name in ("joined", "published"))
    compared = joined["entries"][joined["entries"]["role"] == "compared"]
    assert sorted(compared["architecture"].unique()) == ["decoder", "encoder", "mine"]
    assert set(compared["match"]) == {"parameters"} and set(compared["condition"].fillna("")) == {""}
    joint = published["scores"].merge(joined["scores"], on=["run", "split", "metric"], suffixes=("", "_joined"))
    assert len(joint) and (joint["value"] == joint["value_joined"]).all()
    contrasts = Report(joined).tested.primary
    assert {(contrast.first, contrast.second) for contrast in contrasts} == {("mine", "decoder"), ("mine", "encoder")}
    text = page.render(Report(joined), [])
    assert (
        "The results of published are published; only the architecture that joins them was trained for this report, "
        in text
    )


def test_it_has_the_size_and_the_tokens_of_the_match(place: Path) -> None:
    """The published reference decides the size, though it is not trained here; the template is a copy of it."""
    runs = tables.read(place / "joined" / "tables")["runs"]
    compared = runs[runs["role"] != "trial"].groupby("architecture")[["parameters", "train_tokens"]].max()
    assert compared.loc["mine"].tolist() == compared.loc["decoder"].tolist()


def test_a_dry_run_says_what_it_is_compared_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="0"):
        command_line.main(["compare", "mine.py", "--against", "published", "--dry-run", "--out", "new", "--jobs", "1"])
    *_, others, folder = capsys.readouterr().out.splitlines()
    assert others == "then compared with decoder, encoder of published: 2 tests, corrected together"
    assert folder == "results: new"


def test_the_report_is_made_again_from_the_folder_alone(place: Path, tmp_path: Path) -> None:
    before = tables.read(place / "joined" / "tables")
    folder = shutil.copytree(place / "joined", tmp_path / "moved")
    shutil.rmtree(folder / "tables")
    again = tables.collect(folder)
    assert set(again["runs"]["run"]) == set(before["runs"]["run"])


def changed(place: Path, folder: Path, name: str, change: Any) -> str:
    """A copy of the published tables with one table changed."""
    frames = tables.read(place / "published" / "tables")
    frames[name] = change(frames[name])
    tables.write(frames, folder / "tables")
    return str(folder)


def test_it_is_judged_by_the_measures_that_the_published_rows_are_judged_by(place: Path, tmp_path: Path) -> None:
    for primary in ("macro_f1", "accuracy, macro_f1"):
        folder = changed(place, tmp_path / primary, "datasets", lambda frame, one=primary: frame.assign(primary=one))
        [task] = published_tables.join("mine.py", folder, {})[0].tasks
        assert ", ".join(task.primary) == primary


def other_rules(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(value=frame["value"].mask(frame["key"] == "rules", str(statistics.RULES + 1)))


def other_numerics(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(value=frame["value"].mask(frame["key"] == "numerics", "1"))


def other_data(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(digest="0" * 64)


HERE = registry.numerics("classification")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "experiment",
            other_rules,
            rf"rules of the tests: version {statistics.RULES + 1}, here version {statistics.RULES}",
        ),
        ("experiment", lambda frame: frame[frame["key"] != "rules"], "rules of the tests: an unrecorded version"),
        ("environment", other_numerics, rf"classification has numerics 1, here {HERE}"),
        ("environment", lambda frame: frame[frame["key"] != "numerics"], "classification has numerics unrecorded"),
        ("datasets", other_data, r"things: the data or their tokens are not the published ones \(digest 000000000000 "),
    ],
)
def test_what_was_made_otherwise_is_refused_with_the_reason(
    place: Path, tmp_path: Path, name: str, change: Any, message: str
) -> None:
    published = changed(place, tmp_path / "other", name, change)
    with pytest.raises(InputError, match=message) as raised:
        archbench.compare("mine.py", tmp_path / "out", against=published)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "runs").exists()


def test_a_comparison_of_pretrained_models_is_not_joined(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = spec.recorded
    pretrained = {"pretraining": ("books",)}
    monkeypatch.setattr(
        spec, "recorded", lambda *read, **options: recorded(*read, **options).model_copy(update=pretrained)
    )
    with pytest.raises(InputError, match="--against: published: its models are pretrained; join a comparison from"):
        archbench.compare("mine.py", tmp_path / "out", against="published")


def test_the_commits_that_made_published_runs_are_named() -> None:
    rows = {"run": ["a", "b", "c"], "key": ["archbench_commit"] * 2 + ["torch"], "value": ["e" * 40, "0" * 40, "2.9"]}
    runs, environment = pd.DataFrame({"run": rows["run"]}), pd.DataFrame(rows)
    for facts, words in (
        (environment, "commits 000000000000, eeeeeeeeeeee"),
        (environment[:1], "commit eeeeeeeeeeee"),
        (environment[2:], "its commit was not recorded"),
    ):
        assert Published("", Path(), {"runs": runs, "environment": facts}).commits == words


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"experiment": "decoder"}, "decoder is part of published already; give an architecture with another name"),
        ({"seeds": 2}, "seeds: --against keeps the published rules"),
        ({"against": "public-v2"}, 'no such folder.*mean "public-v1"'),
        ({"experiment": 3}, "3: expected an architecture, as in: archbench compare mine.py --against"),
        ({"experiment": "absent.py"}, "absent.py"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, call: dict[str, Any], message: str) -> None:
    values = {"experiment": "mine.py", "against": "published", "out": tmp_path / "out", **call}
    with pytest.raises(InputError, match=message) as raised:
        archbench.compare(**values)
    assert "\n" not in str(raised.value)


def test_an_installation_without_the_published_tables_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_tables, "BUILTIN", {"public-v1": (tmp_path / "reference", tmp_path / "published")})
    with pytest.raises(InputError, match="--against: public-v1: this installation lacks its tables"):
        archbench.compare("mine.py", tmp_path / "out", against="public-v1")


def test_the_published_tables_are_found_in_a_checkout_and_in_an_installation(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent, present = tmp_path, place / "published"
    for folders in ((absent, present), (present, absent)):
        monkeypatch.setattr(published_tables, "BUILTIN", {"public-v1": folders})
        experiment, published = published_tables.join("mine.py", "public-v1", {})
        assert experiment.architectures[-1].endswith("mine.py") and len(published.runs)


def test_public_v1_has_the_preset_and_the_data_that_its_rules_name() -> None:
    root = Path(__file__).parents[1]
    rules = (root / "docs" / "public-v1.md").read_text(encoding="utf-8")
    published = published_tables.opened("--against", "public-v1")
    recorded = spec.recorded(declared.specification(published.tables), origin="public")
    assert recorded.digestable() == spec.preset("public").digestable()
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \|.+\| `([0-9a-f]{16})` \|$", rules, re.MULTILINE))
    assert {dataset: card["digest"][:16] for dataset, card in published.cards.items()} == rows
