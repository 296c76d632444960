"""Trackers show every point once: at any time, after resumes, and after they were away. Read by their own readers."""

import json
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import synthetic

from archbench.runs.plans.messages import Ended
from archbench.runs.store import store
from archbench.sharing import trackers
from archbench.sharing.on_tensorboard import TensorBoard
from archbench.sharing.trackers import Picture, Point
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    synthetic.write_store(tmp_path / "out")
    return tmp_path / "out"


def runs(root: Path) -> list[str]:
    return list(store.read_experiment(root)["runs"])


def expected(root: Path, run: str) -> dict[str, list[tuple[int, float]]]:
    """Tokens and value of each point of a run, by name."""
    points: dict[str, list[tuple[int, float]]] = {}
    curves = pd.read_csv(store.run_folder(root, run) / "curves.csv")
    for row in curves.itertuples():
        points.setdefault(f"{row.split}/{row.metric}", []).append((int(row.tokens), float(row.value)))
    record = store.peek_record(store.run_folder(root, run))
    for score in sealed.read_json(store.run_folder(root, run) / "scores.json"):
        at = int(record.get("train_tokens") or 0)
        points.setdefault(f"{score['split']}/{score['metric']}", []).append((at, float(score["value"])))
    return points


def on_tensorboard(root: Path, run: str) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader finds of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(root / "tensorboard" / run), size_guidance={"scalars": 0})
    reader.Reload()
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def assert_shown(root: Path, run: str) -> None:
    logged, points = on_tensorboard(root, run), expected(root, run)
    assert logged.keys() == points.keys()
    for name, values in points.items():
        assert [step for step, _ in logged[name]] == [step for step, _ in values]
        assert [value for _, value in logged[name]] == pytest.approx([value for _, value in values], rel=1e-6)


def test_tensorboard_shows_every_point_once_however_often_it_is_asked(root: Path) -> None:
    first = trackers.replay(root, "tensorboard")
    assert not first.startswith("tensorboard: 0 ")
    for run in runs(root):
        assert_shown(root, run)
    again = trackers.replay(root, "tensorboard")
    assert again.startswith("tensorboard: 0 new points") and f"tensorboard --logdir {root}/tensorboard" in again
    for run in runs(root):
        assert_shown(root, run)


def test_a_run_at_work_is_shown_from_its_checkpoint_and_goes_on_without_doubled_points(root: Path) -> None:
    run = runs(root)[0]
    folder = store.run_folder(root, run)
    curves = pd.read_csv(folder / "curves.csv")
    curves.to_csv(folder.parent / "whole.csv", index=False)
    (folder / "curves.csv").unlink()
    synthetic.change_record(root, run, status="unfinished")
    for number, rows in enumerate((2, 4), start=1):
        state = {"curves": curves.head(rows).to_dict("records")}
        synthetic.write_json(folder / "checkpoint" / f"{number:06d}" / "state.json", state)
        trackers.sync(root, TensorBoard(root))
        assert sum(map(len, on_tensorboard(root, run).values())) == rows
    (folder / "checkpoint" / "000002" / "state.json").write_text("{")  # damaged: an earlier one is resumed from
    trackers.sync(root, TensorBoard(root))
    assert sum(map(len, on_tensorboard(root, run).values())) == 4
    (folder.parent / "whole.csv").rename(folder / "curves.csv")
    synthetic.change_record(root, run, status="done")
    trackers.sync(root, TensorBoard(root))
    assert_shown(root, run)


def test_figures_are_shown_once_for_each_change(root: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def image_steps() -> list[int]:
        reader = EventAccumulator(str(root / "tensorboard" / "report"))
        reader.Reload()
        return [image.step for image in reader.Images("figures/headline")]

    tracker = TensorBoard(root)
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x01"
    for contents, steps in ((png, [0]), (png, [0]), (png + b"more", [0, 1])):
        tracker.show_pictures([Picture("headline", "a caption", contents)])
        assert image_steps() == steps


class Away:
    """A tracker that cannot be reached at first."""

    def __init__(self) -> None:
        self.away, self.points = True, dict[str, list[Point]]()

    def known(self, run: str) -> int:
        return len(self.points.get(run, []))

    @property
    def where(self) -> str:
        return "nowhere"

    def show(self, run: str, facts: Mapping[str, Any], points: Sequence[Point], ended: bool) -> None:
        if self.away:
            raise ConnectionError("no route to host")
        self.points.setdefault(run, []).extend(points)

    def show_pictures(self, pictures: Sequence[Picture]) -> None:
        pass


def test_a_tracker_that_is_away_stops_nothing_and_gets_everything_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, lines = Away(), list[str]()
    monkeypatch.setattr(trackers, "opened", lambda name, root: tracker)
    monkeypatch.setattr(trackers, "SYNC_SECONDS", 0.01)
    with trackers.Follower(root, "wandb", lines.append) as following:
        following(Ended(runs(root)[0], "done"))
        while len(lines) < 1:
            pass
        following.sync()
    assert lines == ["wandb: ConnectionError: no route to host; training continues; unsent points are sent later"]
    tracker.away = False
    sent = trackers.sync(root, tracker)
    assert sent > 0 and following.sent == 0
    assert tracker.points.keys() == set(runs(root))
    for run, points in tracker.points.items():
        assert len(points) == sum(map(len, expected(root, run).values()))


def test_an_event_names_the_run_whose_points_are_sent_and_the_end_sends_all(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Away()
    tracker.away = False
    monkeypatch.setattr(trackers, "opened", lambda name, root: tracker)
    monkeypatch.setattr(trackers, "SYNC_SECONDS", 0.01)
    named, *others = runs(root)
    with trackers.Follower(root, "wandb", pytest.fail) as follower:
        follower(Ended(named, "done"))
        until = time.monotonic() + 30
        while not tracker.points and time.monotonic() < until:
            time.sleep(0.01)
        assert tracker.points.keys() == {named} and others
    assert tracker.points.keys() == set(runs(root))
    assert follower.sent == sum(map(len, tracker.points.values()))


def saved_offline(path: Path) -> Iterator[Any]:
    """The records of W&B's client in a file: in LevelDB's log format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 2**15 - at % 2**15) < 7:
            at += left  # padding at the end of a block
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # complete, or the last part
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def finished_offline(root: Path) -> list[list[Any]]:
    """The records of each run in W&B's folder, once its client, a process of its own, has written the last one."""
    until = time.monotonic() + 30
    while True:
        files = [list(saved_offline(path)) for path in (root / "wandb").glob("offline-run-*/*.wandb")]
        if all(records and records[-1].HasField("exit") for records in files):
            return files
        assert time.monotonic() < until
        time.sleep(0.05)


def test_weights_and_biases_has_every_point_once_offline(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    few = runs(root)[:2]
    head = store.read_experiment(root)
    sealed.write_sealed(root / "experiment.json", {**head, "runs": few})
    for _ in range(2):
        assert f"wandb sync {root}/wandb/offline-run-*" in trackers.replay(root, "wandb")
    points: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for records in finished_offline(root):
        name = ""
        for record in records:
            name = record.run.display_name or name
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for key in row.keys() - {"tokens", "flops", "seconds"}:
                if "/" in key and "tokens" in row:
                    points.setdefault(name, {}).setdefault(key, []).append((row["tokens"], row[key]))
    assert points.keys() == set(few)
    for run in few:
        assert points[run] == expected(root, run)


def test_an_unknown_tracker_and_a_missing_package_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match='"mlflow": no such tracker; expected tensorboard or wandb'):
        trackers.replay(root, "mlflow")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"the package wandb is not installed; pip install 'archbench\[wandb\]'"):
        trackers.replay(root, "wandb")
