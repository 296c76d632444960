"""Tables from elsewhere are checked before anything is read from them: a line for each mistake, and nothing written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_merging import renamed, seeds, whole, written

from archbench import command_line
from archbench.published_tables import merge
from archbench.reports.base import tables
from archbench.reports.base.tables import Tables
from archbench.reports.published import schema
from archbench.tasks.base.errors import InputError, MistakesError

__all__ = ["whole"]

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PUBLISHED = sorted(REFERENCE.glob("*/tables"))
Change = Callable[[pd.DataFrame], Any]


def first(value: object) -> Change:
    """Replaces the first cell of a column."""
    return lambda column: column.where(column.index > 0, value)


def cell(table: str, column: str, value: object) -> Callable[[Tables], Tables]:
    return lambda frames: {**frames, table: frames[table].assign(**{column: first(value)(frames[table][column])})}


def without(table: str, column: str) -> Callable[[Tables], Tables]:
    return lambda frames: {**frames, table: frames[table].drop(columns=column)}


def thrice(frames: Tables) -> Tables:
    """Each run also under two other names."""
    copies = [frames, renamed(frames, "x"), renamed(frames, "y")]
    names = ("runs", *schema.OF_RUNS)
    return {**frames, **{name: pd.concat([copy[name] for copy in copies], ignore_index=True) for name in names}}


MINE = {"metric": "mine", "label": "mine", "better": "higher", "decimals": 2}
FAULTS: dict[str, tuple[Callable[[Tables], Tables], str]] = {
    "repeated seeds": (thrice, "entries.parquet: row 21 (and 39 more), columns dataset, condition, match, role, "),
    "no seed": (cell("runs", "seed", None), "runs.parquet: row 1, column seed: is empty"),
    "half a seed": (lambda f: {**f, "runs": f["runs"].assign(seed=0.5)}, "column seed: '0.5' expected a whole number"),
    "a negative seed": (cell("runs", "seed", -1), "runs.parquet: row 1, column seed: '-1' expected a number from 0"),
    "a blank name": (cell("runs", "architecture", " "), "runs.parquet: row 1, column architecture: is empty"),
    "an empty name": (cell("entries", "architecture", ""), "entries.parquet: row 1, column architecture: is empty"),
    "no score": (cell("scores", "value", float("nan")), "scores.parquet: row 1, column value: is empty"),
    "an infinite score": (cell("scores", "value", float("inf")), "column value: 'inf' is not a value of its metric"),
    "an impossible score": (cell("scores", "value", -3.0), "column value: '-3.0' is not a value of its metric"),
    "a score as text": (
        lambda f: {**f, "scores": f["scores"].assign(value="0.5")},
        "scores.parquet: column value: large_string, expected numbers",
    ),
    "two scores": (
        lambda f: {**f, "scores": pd.concat([f["scores"], f["scores"].head(1)])},
        "scores.parquet: row 86, columns run, split, metric, slice: the same as row 1",
    ),
    "no column": (without("scores", "metric"), "scores.parquet: column metric: missing"),
    "no column of seeds": (without("runs", "seed"), "runs.parquet: row 1 (and 19 more), column seed: is empty"),
    "an unknown direction": (
        lambda f: {**f, "metrics": pd.DataFrame([{**MINE, "better": "sideways"}])},
        "metrics.parquet: row 1, column better: 'sideways' is not one of higher, lower",
    ),
    "an unknown status": (
        cell("runs", "status", "fine"),
        "runs.parquet: row 1, column status: 'fine' is not one of done,",
    ),
    "an unknown split": (cell("scores", "split", "dev"), "column split: 'dev' is not one of train, validation, test"),
    "an unknown role": (cell("entries", "role", "best"), "column role: 'best' is not one of compared, trial"),
    "a stranger": (cell("curves", "run", "other"), "curves.parquet: row 1, column run: 'other' is not in runs.parquet"),
    "no Parquet": (lambda f: f, "runs.parquet: cannot be read as Parquet"),
}


def changed(frames: Tables, name: str, place: Path) -> tuple[Path, str]:
    """A folder with this fault, and what is said of it."""
    change, reason = FAULTS[name]
    folder = place / "faulty"
    tables.write({key: frame.reset_index(drop=True) for key, frame in change(frames).items()}, folder / "tables")
    if name == "no Parquet":
        (folder / "tables" / "runs.parquet").write_bytes(b"PAR1")
    return folder, reason


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_table_is_refused_before_anything_is_written(whole: Tables, tmp_path: Path, name: str) -> None:
    faulty, reason = changed(whole, name, tmp_path)
    with pytest.raises(MistakesError) as found:
        merge([written(seeds(renamed(whole, "z"), 0), tmp_path / "good"), faulty], tmp_path / "out")
    assert sum(reason in line for line in found.value.lines) == 1, found.value.lines
    with pytest.raises(InputError, match="the first folder defines the experiment"):
        merge([faulty, tmp_path / "good"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("report", "faulty"),
        ("plot", "faulty", "headline"),
        ("table", "faulty", "scores"),
        ("reproduce", "faulty", "--out", "out"),
        ("compare", "mine.py", "--against", "faulty", "--out", "out"),
        ("merge", "faulty", "good", "--out", "out"),
        ("merge", "good", "faulty", "--out", "out"),
    ],
)
def test_every_command_tells_each_fault_in_a_line_and_writes_nothing(
    whole: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    two = cell("runs", "seed", None)(cell("scores", "value", float("nan"))(whole))
    written(two, tmp_path / "faulty")
    written(renamed(whole, "z"), tmp_path / "good")
    (tmp_path / "mine.py").write_text('"""Mine."""\n')
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        command_line.main([*command])
    output, errors = capsys.readouterr()
    assert stopped.value.code == 2 and output == "" and "Traceback" not in errors
    lines = [line for line in errors.splitlines() if ".parquet" in line]
    assert sorted(line.split("tables/")[1].split(": is empty")[0] for line in lines) == [
        "runs.parquet: row 1, column seed",
        "scores.parquet: row 1, column value",
    ]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.parent.name)
def test_published_tables_follow_the_schema(folder: Path) -> None:
    assert len(schema.read(folder)["runs"]) > 0


def test_further_columns_missing_tables_and_unfinished_runs_are_no_faults(whole: Tables, tmp_path: Path) -> None:
    waiting = {"run": "later", "status": "unfinished", "experiment": "imagined"}
    runs = pd.concat([whole["runs"], pd.DataFrame([waiting])], ignore_index=True).assign(mine=1.5)
    folder = written({**whole, "runs": runs}, tmp_path) / "tables"
    for name in ("metrics", "references", "predictions"):
        (folder / f"{name}.parquet").unlink()
    assert len(schema.read(folder)["runs"]) == len(runs)


def test_trials_of_one_seed_may_differ_in_what_was_tuned(whole: Tables, tmp_path: Path) -> None:
    trials = {**whole, "entries": whole["entries"].assign(role="trial")}
    again = renamed(trials, "x")
    again["runs"] = again["runs"].assign(learning_rate=again["runs"]["learning_rate"] * 2)
    names = ("runs", *schema.OF_RUNS)
    both = {**trials, **{name: pd.concat([trials[name], again[name]], ignore_index=True) for name in names}}
    assert len(schema.read(written(both, tmp_path) / "tables")["runs"]) == 2 * len(trials["runs"])


def test_a_merge_that_fails_leaves_nothing(whole: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(root: Path) -> None:
        raise KeyError("a page cannot be made")

    monkeypatch.setattr("archbench.reports.build", fails)
    folders = [written(seeds(whole, 0), tmp_path / "a"), written(renamed(seeds(whole, 1), "x"), tmp_path / "b")]
    with pytest.raises(KeyError):
        merge(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()
