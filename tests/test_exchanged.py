"""Records in another's place, by hand or by accident: an intact run is used for no other run, nor a data set's rows."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import synthetic
from commands import compare, done, finished, messages_in, scores
from fake_work import FakePlan
from safetensors import safe_open
from tiny_runs import trained, write_data

from archbench import command_line
from archbench.reports.base import tables
from archbench.runs.execution.execute import execute
from archbench.runs.plans.messages import Event, LogLine
from archbench.runs.plans.plan import from_json
from archbench.runs.scoring import baselines
from archbench.runs.store import misplaced, store
from archbench.runs.store.weights import packed, unpacked
from archbench.runs.training import checkpoint
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment, and in ``whole`` a comparison that is finished."""
    return finished(tmp_path_factory.mktemp("small"))


@pytest.fixture
def out(folder: Path, tmp_path: Path) -> Path:
    """A copy of the finished comparison."""
    return Path(shutil.copytree(folder / "whole", tmp_path / "out"))


def named(out: Path, start: str) -> Path:
    (run,) = (out / "runs").glob(f"colours-{start}-*")
    return run


def exchange(first: Path, second: Path) -> None:
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def copied(first: Path, second: Path) -> None:
    shutil.rmtree(second)
    shutil.copytree(first, second)


def status(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status of a command in this process, and what it said on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command_line.main(list(arguments))
    return int(stopped.value.code or 0), capsys.readouterr().err


def used(out: Path) -> pd.DataFrame:
    """The runs of a report by name: status, error and how many rows of scores and predictions each has."""
    frames = tables.collect(out)
    runs = frames["runs"].set_index("run")
    for name in ("scores", "curves", "predictions", "environment"):
        runs[name] = frames[name].groupby("run").size().reindex(runs.index, fill_value=0)
    return runs


@pytest.mark.fault(
    "two run folders swapped, or one copied over another seed's",
    "none of their numbers is reported; predict, inspect and export refuse; moved aside with one line and done again",
)
@pytest.mark.parametrize(
    ("change", "first", "second", "held"),
    [(exchange, "decoder-s0", "encoder-s0", (1, 0)), (copied, "decoder-s0", "decoder-s1", (0, 0))],
    ids=["exchanged", "copied"],
)
def test_a_folder_that_holds_another_run_is_of_no_use(
    folder: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
    change: Callable[[Path, Path], None],
    first: str,
    second: str,
    held: tuple[int, int],
) -> None:
    places = named(out, first), named(out, second)
    change(*places)
    holds = [place.name for place in (places[held[0]], places[held[1]])]
    wrong = {place: other for place, other in zip(places, holds, strict=True) if place.name != other}
    record_property("times", len(wrong))

    runs = used(out)
    for place, other in wrong.items():
        row = runs.loc[place.name]
        assert (
            row["status"] == "failed" and row["error"] == f"its folder holds the run {other}, of which nothing is used"
        )
        assert not row[["scores", "curves", "predictions", "environment"]].any() and pd.isna(row["train_seconds"])
        assert f"{row['dataset']}-{row['architecture']}-s{row['seed']}" == place.name.rsplit("-", 1)[0]
        assert status(capsys, "report", str(out))[0] == 0

        for command in (
            ["predict", str(place), "red"],
            ["inspect", str(place)],
            ["export", str(place), str(out / "x")],
        ):
            code, errors = status(capsys, *command)
            assert (
                code == 2
                and errors.startswith(f"archbench: {place}: holds the run {other};")
                and errors.count("\n") == 1
            )

    code, errors = compare(folder, out, "--jobs", "1")
    assert code == 0 and not messages_in(errors)
    for place, other in wrong.items():
        aside = out / misplaced.PLACE / f"{place.name}.1"
        assert (
            f"{place.name}: its folder held the run {other}, which now lies in {aside}; {place.name} is done again"
            in errors
        )
        assert store.modified_files(aside.rename(out / other), weights=True) == [] and store.is_finished(out / other)
        shutil.rmtree(out / other)
    assert sorted(done(errors)) == sorted(place.name for place in wrong)
    assert scores(out) == scores(folder / "whole")


@pytest.mark.fault(
    "weights of two runs of equal size swapped",
    "the report detects it by the run name in their header; both runs are done again",
)
def test_exchanged_weights_of_equal_size_are_noticed(folder: Path, out: Path) -> None:
    places = named(out, "decoder-s0"), named(out, "decoder-s1")
    weights = [place / "model.safetensors" for place in places]
    assert weights[0].stat().st_size == weights[1].stat().st_size
    exchange(*weights)
    runs = used(out)
    for place in places:
        assert store.modified_files(place) == ["model.safetensors"] and not store.is_finished(place)
        assert runs.loc[place.name, "error"] == "model.safetensors: damaged, cannot be read"
    code, errors = compare(folder, out, "--jobs", "1")
    assert code == 0 and sorted(done(errors)) == sorted(place.name for place in places)
    assert scores(out) == scores(folder / "whole")


@pytest.mark.parametrize("sealed", [True, False])
def test_predictions_of_another_run_are_left_out(out: Path, sealed: bool) -> None:
    first, second = named(out, "decoder-s0"), named(out, "decoder-s1")
    for place in (first, second):
        if not sealed:  # of a run that was never finished nothing vouches for its files but their names
            (place / store.MANIFEST).unlink()
            sealed.write_json(place / store.RECORD, {**sealed.read_json(place / store.RECORD), "status": "unfinished"})
    for name in ("predictions.parquet", "curves.csv", "scores.json"):
        shutil.copy(first / name, second / name)
    runs = used(out)
    assert not runs.loc[second.name, ["scores", "curves", "predictions"]].any()
    assert runs.loc[first.name, ["scores", "curves", "predictions"]].all()
    assert "predictions.parquet" in runs.loc[second.name, "error"]


@pytest.mark.fault(
    "data cards or baselines of two data sets swapped",
    "left out of the report, which says so; the same command makes them again",
)
@pytest.mark.parametrize("change", [exchange, shutil.copy], ids=["exchanged", "copied"])
@pytest.mark.parametrize("place", ["data", "references"])
def test_what_is_recorded_about_another_data_set_is_left_out(
    tmp_path: Path, place: str, change: Callable[[Path, Path], None]
) -> None:
    synthetic.write_store(
        tmp_path, [synthetic.single(task, seeds=1) for task in (synthetic.SENTIMENT, synthetic.PHRASES)]
    )
    files = [tmp_path / place / f"{name}.json" for name in ("sentiment", "phrases-en-de")]
    for file in files:
        sealed.write_sealed(file, sealed.read_json(file))
    change(*files)
    frames = tables.collect(tmp_path)
    table = frames["datasets" if place == "data" else "references"]
    remaining = {"sentiment"} if change is shutil.copy else set()
    assert set(table["dataset"]) == remaining
    left_out = frames["experiment"].set_index("key").loc["left_out", "value"]
    assert left_out == ", ".join(f"{place}/{file.name}" for file in sorted(files) if file.stem not in remaining)


@pytest.mark.parametrize(
    ("place", "table", "key"), [("data", "datasets", "digest"), ("references", "references", "data")]
)
@pytest.mark.parametrize("change", ["other data", "no seal"])
def test_what_is_recorded_about_other_data_or_without_a_seal_is_left_out(
    out: Path, place: str, table: str, key: str, change: str
) -> None:
    path = out / place / "colours.json"
    value = sealed.read_sealed(path)
    assert len(tables.collect(out)[table])
    if change == "no seal":
        sealed.write_json(path, value)
    else:
        rows = [row | {key: "0" * 64} for row in (value if isinstance(value, list) else [value])]
        sealed.write_sealed(path, rows if isinstance(value, list) else rows[0])
    frames = tables.collect(out)
    assert not len(frames[table])
    assert frames["experiment"].set_index("key").loc["left_out", "value"] == f"{place}/colours.json"


def test_reference_rows_without_their_seal_are_made_again(out: Path) -> None:
    plan = from_json(sealed.read_json(named(out, "decoder-s0") / "plan.json"))
    assert baselines.exist(plan, out)
    path = out / "references" / "colours.json"
    sealed.write_json(path, sealed.read_sealed(path))
    assert not baselines.exist(plan, out)


def test_reference_rows_of_another_data_set_are_made_again(tmp_path: Path) -> None:
    place = trained(write_data(tmp_path), tmp_path / "out", "decoder", "colours")
    plan = from_json(sealed.read_json(place / "plan.json"))
    assert baselines.exist(plan, tmp_path / "out")
    path = tmp_path / "out" / "references" / "colours.json"
    sealed.write_sealed(path, [{**row, "dataset": "other"} for row in sealed.read_sealed(path)])
    assert not baselines.exist(plan, tmp_path / "out")
    with pytest.raises(
        InputError, match=r"colours\.json: is about the data set other; delete it and run compare again"
    ):
        store.read_dataset_file(path)


def test_reference_rows_of_an_older_version_are_made_again(tmp_path: Path) -> None:
    place = trained(write_data(tmp_path), tmp_path / "out", "decoder", "turned")
    plan = from_json(sealed.read_json(place / "plan.json"))
    path = tmp_path / "out" / "references" / "turned.json"
    rows = sealed.read_sealed(path)
    assert {"unigram", "bigram"} <= {row["name"] for row in rows}
    older = [{key: row[key] for key in row if key != "version"} for row in rows if row["name"] != "bigram"]
    sealed.write_sealed(path, older)
    assert not baselines.exist(plan, tmp_path / "out")
    baselines.make_missing(replace(plan, baselines=True), tmp_path / "out")
    assert sealed.read_sealed(path) == rows


def test_every_file_of_a_run_names_it(tmp_path: Path) -> None:
    place = trained(write_data(tmp_path), tmp_path / "out", "decoder", "turned", snapshots=2)
    for name in ("record.json", "plan.json", "task.json", "environment.json"):
        assert sealed.read_json(place / name)["run"] == place.name
    assert {row["run"] for row in sealed.read_json(place / "scores.json")} == {place.name}
    assert set(pd.read_csv(place / "curves.csv")["run"]) == {place.name}
    assert pq.read_schema(place / "predictions.parquet").metadata[b"run"].decode() == place.name
    weights = [place / "model.safetensors", *(place / "snapshots").iterdir()]
    assert len(weights) == 3
    for path in weights:
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"run": place.name}
        with path.open("rb") as file:
            assert store.run_of_weights(file) == place.name


def test_a_snapshot_of_another_run_is_not_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_data(tmp_path)
    place = trained(data, tmp_path / "out", "decoder", "turned", snapshots=1)
    other = trained(data, tmp_path / "out", "decoder", "turned", snapshots=2)
    assert place != other
    shutil.copy(sorted((other / "snapshots").iterdir())[0], place / "snapshots")
    code, errors = status(capsys, "inspect", str(place))
    assert code == 2 and "this snapshot is damaged" in errors.splitlines()[-1]


def test_weights_of_another_run_are_not_unpacked() -> None:
    import torch

    raw = packed({"a": torch.ones(2)}, "mine")
    assert unpacked(raw, "mine")["a"].tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="weights of another run, mine"):
        unpacked(raw, "yours")


def test_parts_of_a_checkpoint_name_their_run(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, "mine", {part: {} for part in checkpoint.PARTS}, {"step": 1})
    for part in checkpoint.PARTS:
        with (tmp_path / "000001" / f"{part}.safetensors").open("rb") as file:
            assert store.run_of_weights(file) == "mine"


@pytest.mark.parametrize("state", ["unfinished", "failed", "done"])
def test_whatever_state_it_is_in_another_run_makes_room(tmp_path: Path, state: str) -> None:
    """Its checkpoint is not gone on from, and its folder is kept."""
    place = store.run_folder(tmp_path, "a-decoder-s0")
    checkpoint.save(place / "checkpoint", "a-decoder-s1", {part: {} for part in checkpoint.PARTS}, {"step": 1})
    store.write_record(place, {"run": "a-decoder-s1", "status": state})
    events: list[Event] = []
    plan = FakePlan("a-decoder-s0")
    outcome = execute([plan], tmp_path, 1, events.append, work="fake_work:perform")
    assert outcome.done == (plan.run,) and store.is_finished(place) and not (place / "checkpoint").exists()
    aside = tmp_path / misplaced.PLACE / "a-decoder-s0.1"
    assert sealed.read_json(aside / store.RECORD)["status"] == state and (aside / "checkpoint").is_dir()
    (line,) = [event.line for event in events if isinstance(event, LogLine)]
    assert line.startswith("its folder held the run a-decoder-s1, which now lies in ")


def test_of_a_link_to_another_run_only_the_link_goes(tmp_path: Path) -> None:
    other = store.run_folder(tmp_path, "a-decoder-s1")
    store.write_record(other, {"run": "a-decoder-s1", "status": "done"})
    store.run_folder(tmp_path, "a-decoder-s0").symlink_to(other.name)
    assert str(other) in misplaced.set_aside(tmp_path, "a-decoder-s0")
    assert store.is_finished(other) and [path.name for path in (tmp_path / "runs").iterdir()] == [other.name]
    assert misplaced.set_aside(tmp_path, "a-decoder-s1") == misplaced.set_aside(tmp_path, "a-decoder-s0") == ""


def test_a_second_accident_leaves_the_first_folder_alone(tmp_path: Path) -> None:
    for other in ("b", "c"):
        store.write_record(store.run_folder(tmp_path, "a"), {"run": other, "status": "done"})
        misplaced.set_aside(tmp_path, "a")
    set_aside = sorted((tmp_path / misplaced.PLACE).iterdir())
    assert [sealed.read_json(path / store.RECORD)["run"] for path in set_aside] == ["b", "c"]


def test_a_run_goes_by_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = store.run_folder(tmp_path, "a-s0")
    store.write_record(place, {"run": "a-s0", "status": "done"})
    elsewhere = tmp_path / "elsewhere" / "a-s0"
    elsewhere.parent.mkdir()
    elsewhere.symlink_to(place)
    monkeypatch.chdir(place)
    for same in (place, elsewhere, Path("."), Path("../a-s0")):
        assert store.is_finished(same) and store.read_record(same)
    renamed = place.with_name("b-s0")
    renamed.symlink_to(place)
    with pytest.raises(InputError, match=r"b-s0: holds the run a-s0; give the folder that run's name"):
        store.read_record(renamed)
    assert not store.is_finished(renamed) and store.verified_record(renamed) == {}
