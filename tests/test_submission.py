"""A submitted result is checked as data: the form, the tables, their digests."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from test_merging import renamed, seeds, whole, with_page, with_runs, without_page, written

from archbench.reports.base.tables import Tables

__all__ = ["whole", "with_page", "without_page"]

BODY = """### Repository

hub:me/results

### Architecture

{name}

### Commit of archbench

abc1234

### Source

https://example.org/mine.py

### Idea

Something new.
"""


@pytest.fixture(scope="module")
def submission() -> ModuleType:
    path = Path(__file__).parents[1] / ".github" / "submission.py"
    spec = importlib.util.spec_from_file_location("submission", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def submitted(frames: Tables, name: str = "mine") -> Tables:
    """The rows of one architecture under another name."""
    encoder_runs = with_runs(renamed(frames, "x"), lambda runs: runs["architecture"] == "encoder")
    return {key: frame.replace({"encoder": name}) for key, frame in encoder_runs.items()}


def checked(submission: ModuleType, tmp_path: Path, frames: Tables, published: Tables, body: str = BODY) -> list[str]:
    def fetch(repository: str, place: Path) -> Path:
        return written(frames, place)

    lines: list[str] = submission.check(
        body.format(name="mine"), tmp_path / "out", written(published, tmp_path / "public"), fetch
    )
    return lines


@pytest.mark.usefixtures("with_page")
def test_a_result_under_the_published_rules_joins(submission: ModuleType, whole: Tables, tmp_path: Path) -> None:
    lines = checked(submission, tmp_path, submitted(whole), whole)
    count = whole["runs"][whole["runs"]["architecture"] == "encoder"]["run"].nunique()
    assert lines == [f"{whole['datasets']['dataset'].iloc[0]}: {count} new runs"]
    entries = pd.read_parquet(tmp_path / "out" / "tables" / "entries.parquet")
    assert {"mine", "decoder"} <= set(entries["architecture"])


def test_other_data_another_name_and_a_broken_form_are_refused(
    submission: ModuleType, whole: Tables, tmp_path: Path
) -> None:
    other = submitted(whole)
    other = {**other, "datasets": other["datasets"].assign(digest="ff" * 32)}
    with pytest.raises(submission.RefusedError, match="kept apart: different data"):
        checked(submission, tmp_path / "a", other, whole)
    with pytest.raises(submission.RefusedError, match="the form names mine"):
        checked(submission, tmp_path / "b", submitted(whole, "yours"), whole)
    assert not any((tmp_path / place / "out").exists() for place in "ab")
    repeated = submitted(whole)
    repeated |= {"runs": repeated["runs"].assign(seed=0)}
    with pytest.raises(submission.RefusedError, match=r"entries.parquet: row 2 .* seed: the same as row 1"):
        checked(submission, tmp_path / "g", repeated, whole)
    with pytest.raises(submission.RefusedError, match="new architectures in the tables: none"):
        checked(submission, tmp_path / "c", seeds(whole, 0), whole)
    rows = submitted(whole)
    poisoned = {key: pd.concat([rows[key], seeds(renamed(whole, "y"), 0)[key]]) for key in rows}
    poisoned |= {
        "runs": poisoned["runs"].assign(seed=range(len(poisoned["runs"]))),
        "datasets": rows["datasets"],
        "metrics": rows["metrics"],
    }
    with pytest.raises(submission.RefusedError, match="the form names mine"):
        checked(
            submission,
            tmp_path / "e",
            {**poisoned, "experiment": rows["experiment"], "references": rows["references"]},
            whole,
        )
    with pytest.raises(submission.RefusedError, match="commits in the tables: abc1234; the form names 7654321"):
        checked(submission, tmp_path / "f", submitted(whole), whole, BODY.replace("abc1234", "7654321"))
    for line in ("hub:me/results", "{name}", "abc1234", "https://example.org/mine.py"):
        body = BODY.replace(line, "$(curl evil) ../../etc")
        with pytest.raises(submission.RefusedError, match="does not match the expected format"):
            checked(submission, tmp_path / "d", submitted(whole), whole, body)
    with pytest.raises(submission.RefusedError):
        submission.fields("")
