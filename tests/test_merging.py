"""Tables of strangers in one report: equal terms side by side, all else apart, seeds once, hostile text harmless."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from archbench.published_tables import merge
from archbench.reports.base import tables
from archbench.reports.base.tables import Tables
from archbench.tasks.base.errors import InputError

TASK = synthetic.TASKS[0]
OF_RUNS = ("runs", "scores", "curves", "predictions", "environment", "entries")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables of one comparison, with the facts that newer records have."""
    root = tmp_path_factory.mktemp("merging") / "whole"
    synthetic.write_store(root, (TASK,))
    frames = tables.collect(root)
    environment = frames["environment"]
    environment = environment[~environment["key"].isin(list(FACTS))]
    facts = [{"run": run, "key": key, "value": value} for run in frames["runs"]["run"] for key, value in FACTS.items()]
    frames["environment"] = pd.concat([environment, pd.DataFrame(facts)], ignore_index=True)
    frames["datasets"] = frames["datasets"].assign(digest="0f" * 32)
    frames["runs"] = frames["runs"].assign(parameters=500_000)
    return tables.completed(frames)


@pytest.fixture
def with_page() -> None:
    """The test reads the page of a merge."""


@pytest.fixture(autouse=True)
def without_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests do not wait for a page to be made."""
    if "with_page" not in request.fixturenames:
        monkeypatch.setattr("archbench.reports.build", lambda root: (root / "report" / "index.html",))


FACTS = {"numerics": "3", "archbench_commit": "abc1234", "processor": "An Engine"}


def with_runs(frames: Tables, keep: Callable[[pd.DataFrame], "pd.Series[bool]"]) -> Tables:
    kept_runs = frames["runs"][keep(frames["runs"])]["run"]
    return {**frames, **{name: frames[name][frames[name]["run"].isin(kept_runs)] for name in OF_RUNS}}


def renamed(frames: Tables, suffix: str) -> Tables:
    """The same rows under other names of runs."""
    return {**frames, **{name: frames[name].assign(run=frames[name]["run"] + suffix) for name in OF_RUNS}}


def written(frames: Tables, place: Path) -> Path:
    tables.write(frames, place / "tables")
    return place


def rows(out: Path, name: str = "runs") -> pd.DataFrame:
    return pd.read_parquet(out / "tables" / f"{name}.parquet")


def seeds(frames: Tables, *wanted: int) -> Tables:
    return with_runs(frames, lambda runs: runs["seed"].isin(wanted))


@pytest.mark.usefixtures("with_page")
def test_other_seeds_of_the_same_settings_join_and_the_same_count_once(whole: Tables, tmp_path: Path) -> None:
    first = written(seeds(whole, 0, 1), tmp_path / "first")
    second = written(renamed(seeds(whole, 1, 2), "x"), tmp_path / "second")
    result = merge([first, second], tmp_path / "out")
    architectures = rows(first)["architecture"].nunique()
    merged = rows(tmp_path / "out")
    assert len(merged) == 3 * architectures
    assert not merged.duplicated(["architecture", "seed"]).any()
    assert dict(merged.groupby("seed")["origin"].first()) == {0: "first", 1: "first", 2: "second"}
    assert set(merged["commit"]) == {"abc1234"} and set(merged["processor"]) == {"An Engine"}
    assert result.lines == [
        f"second: dropped {architectures} runs already present (same architecture, setting and seed)"
    ]
    page = result.page.read_text()
    assert "Merged from first (" in page and "already present" in page


def test_a_run_that_both_have_counts_once_and_a_merge_can_be_merged(whole: Tables, tmp_path: Path) -> None:
    first, same = written(whole, tmp_path / "first"), written(seeds(whole, 0), tmp_path / "same")
    merge([first, same], tmp_path / "out")
    assert len(rows(tmp_path / "out")) == len(rows(first))
    other = written(renamed(seeds(whole, 0), "x"), tmp_path / "other")
    merge([tmp_path / "out", other], tmp_path / "again")
    assert len(rows(tmp_path / "again")) == len(rows(first))
    assert set(rows(tmp_path / "again")["origin"]) == {"out/first"}
    assert "already present" in rows(tmp_path / "again", "experiment").set_index("key").loc["merged", "value"]


@pytest.mark.parametrize(
    ("table", "column", "value", "reason"),
    [
        ("datasets", "digest", "ab" * 32, "different data"),
        ("environment", "value", "4", "numerics 4 instead of 3"),
        ("runs", "target_parameters", 7e6, "parameters 7e+06 instead of"),
    ],
)
def test_what_was_made_under_other_terms_is_kept_apart(
    whole: Tables, tmp_path: Path, table: str, column: str, value: object, reason: str
) -> None:
    other = renamed(whole, "x")
    changed = other[table].copy()
    if table == "environment":
        changed.loc[changed["key"] == "numerics", column] = value
    else:
        changed[column] = value
    first = written(whole, tmp_path / "first")
    second = written({**other, table: changed}, tmp_path / "second")
    result = merge([first, second], tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 2 * len(rows(first))
    assert set(rows(tmp_path / "out", "entries")["dataset"]) == {TASK.dataset, f"{TASK.dataset} (second)"}
    assert reason in result.lines[0]
    scores = rows(tmp_path / "out", "scores")
    assert len(scores) == 2 * len(rows(first, "scores"))


def test_equal_data_of_two_others_join_where_the_first_has_different_data(whole: Tables, tmp_path: Path) -> None:
    other = {**whole, "datasets": whole["datasets"].assign(digest="ab" * 32)}
    folders = [
        written(whole, tmp_path / "first"),
        written(renamed(seeds(other, 0), "x"), tmp_path / "second"),
        written(renamed(seeds(other, 0, 1), "y"), tmp_path / "third"),
    ]
    result = merge(folders, tmp_path / "out")
    entries = rows(tmp_path / "out", "entries")
    assert set(entries["dataset"]) == {TASK.dataset, f"{TASK.dataset} (second)"}
    added = rows(tmp_path / "out").set_index("run").loc[entries[entries["dataset"] != TASK.dataset]["run"]]
    assert dict(added.groupby("seed")["origin"].first()) == {0: "second", 1: "third"}
    assert not added.duplicated(["architecture", "seed"]).any()
    assert (
        f"{TASK.dataset} of third is merged with {TASK.dataset} (second), not with the first folder's: different data"
        in result.lines
    )


def test_another_architecture_of_the_same_name_gets_its_own(whole: Tables, tmp_path: Path) -> None:
    other = seeds(renamed(whole, "x"), 0)
    changed = other["runs"].assign(width=other["runs"]["width"] * 2)
    first = written(whole, tmp_path / "first")
    merge([first, written({**other, "runs": changed}, tmp_path / "second")], tmp_path / "out")
    names = set(rows(first)["architecture"])
    assert set(rows(tmp_path / "out", "entries")["architecture"]) == names | {f"{name} (second)" for name in names}


@pytest.mark.parametrize(
    ("table", "columns", "reason"),
    [
        ("datasets", None, "its data card is missing"),
        ("environment", None, "the numerics version is not recorded"),
        ("runs", ["target_parameters"], "parameters unrecorded instead of"),
        ("runs", ["learning_rate"], "learning_rate differs"),
        ("runs", ["width"], "width differs"),
    ],
)
def test_what_a_table_omits_is_not_equal(
    whole: Tables, tmp_path: Path, table: str, columns: list[str] | None, reason: str
) -> None:
    other = renamed(whole, "x")
    cut = other[table].iloc[:0] if columns is None else other[table].drop(columns=columns)
    result = merge(
        [written(whole, tmp_path / "first"), written({**other, table: cut}, tmp_path / "second")], tmp_path / "out"
    )
    assert "is kept apart" in result.lines[0] and reason in result.lines[0]
    assert len(rows(tmp_path / "out")) == 2 * len(rows(tmp_path / "first"))


def test_a_claimed_origin_and_commit_are_not_believed(whole: Tables, tmp_path: Path) -> None:
    other = renamed(seeds(whole, 0), "x")
    forged = other["runs"].assign(origin="first", commit="good", seed=77)
    without = other["environment"][other["environment"]["key"] != "archbench_commit"]
    first = written(whole, tmp_path / "first")
    merge([first, written({**other, "runs": forged, "environment": without}, tmp_path / "evil")], tmp_path / "out")
    merged = rows(tmp_path / "out")
    assert set(merged.loc[merged["seed"] == 77, "origin"]) == {"evil/first"}
    assert merged.loc[merged["seed"] == 77, "commit"].isna().all()


def test_a_damaged_folder_is_left_out_and_the_others_join(whole: Tables, tmp_path: Path) -> None:
    first = written(seeds(whole, 0), tmp_path / "first")
    second = written(renamed(seeds(whole, 1), "x"), tmp_path / "second")
    damaged = written(renamed(seeds(whole, 2), "y"), tmp_path / "damaged")
    path = damaged / "tables" / "scores.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = merge([first, damaged, second], tmp_path / "out")
    assert result.refused == [damaged]
    assert "left out" in result.lines[0] and "scores.parquet: cannot be read as Parquet" in result.lines[0]
    assert set(rows(tmp_path / "out")["seed"]) == {0, 1}


EVIL = "<script>alert(1)</script>"


@pytest.mark.usefixtures("with_page")
def test_hostile_text_does_nothing(whole: Tables, tmp_path: Path) -> None:
    other = renamed(whole, "x")
    named = {name: frame.replace({"encoder": EVIL}) for name, frame in other.items()}
    runs = named["runs"].assign(description="=cmd|' /C calc'!A0", error=f"{EVIL}{{{{ 7 * 7 }}}}")
    data = named["datasets"].assign(notes=EVIL, origin="javascript:alert(1)")
    first = written(whole, tmp_path / "first")
    hostile = written({**named, "runs": runs, "datasets": data}, tmp_path / "hostile")
    result = merge([first, hostile], tmp_path / "out")
    assert EVIL not in result.page.read_text()
    assert "&lt;script&gt;" in result.page.read_text()
    csv = (tmp_path / "out" / "tables" / "runs.csv").read_text()
    assert "'=cmd" in csv and ",=cmd" not in csv
    assert not [path for path in tmp_path.rglob("*") if "script" in path.name]


@pytest.mark.parametrize(
    ("table", "column", "value", "reason"),
    [
        ("runs", "architecture", "a\x1b[2J", "is not a valid name"),
        ("runs", "architecture", "a" * 1_000, "is not a valid name"),
        ("runs", "run", "twice", "the same as row 1"),
        ("scores", "value", float("inf"), "scores.parquet"),
        ("scores", "run", "stranger", "is not in runs.parquet"),
        ("runs", "=cmd|' /C calc'!A0", 1, "a column name is not valid"),
    ],
)
def test_tables_that_no_comparison_writes_are_refused(
    whole: Tables, tmp_path: Path, table: str, column: str, value: object, reason: str
) -> None:
    other = renamed(whole, "x")
    wrong = written({**other, table: other[table].assign(**{column: value})}, tmp_path / "wrong")
    first = written(seeds(whole, 0), tmp_path / "first")
    result = merge([first, wrong, written(seeds(renamed(whole, "z"), 1), tmp_path / "third")], tmp_path / "out")
    assert result.refused == [wrong] and all(line.startswith("left out: ") for line in result.lines)
    assert any(reason in line for line in result.lines)


def test_too_few_or_doubled_folders_are_mistakes(whole: Tables, tmp_path: Path) -> None:
    first = written(whole, tmp_path / "first")
    with pytest.raises(InputError, match="the same folder is given twice"):
        merge([first, first], tmp_path / "out")
    with pytest.raises(InputError, match="nothing: no such folder"):
        merge([first, tmp_path / "nothing"], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"at least two folders with valid tables are needed\nleft out: .*no tables here"
    ):
        merge([first, tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(InputError, match="the first folder defines the experiment"):
        merge([tmp_path / "empty", first], tmp_path / "out")
    with pytest.raises(InputError, match="has tables already"):
        merge([first, written(renamed(whole, "x"), tmp_path / "second")], written(whole, tmp_path / "earlier"))
    with pytest.raises(InputError, match="--out"):
        merge([first, tmp_path / "empty"], first)
