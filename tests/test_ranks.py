"""One model on several processes: the bits of one process that reads the same parts; kills, stops and resumes."""

import json
import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny_runs
from safetensors.torch import load_file
from test_work import experiment, folder, outcome

from archbench.runs.execution import dry_run, work
from archbench.runs.execution.compare import RunOptions
from archbench.runs.experiment import spec
from archbench.runs.machine import capacity
from archbench.runs.plans.messages import Event, Interrupted, Progress
from archbench.runs.plans.plan import Plan
from archbench.runs.store import store
from archbench.runs.training import from_plan
from archbench.runs.updates.ranks import Ranks
from archbench.tasks.base.errors import InputError

__all__ = ["folder"]

FAMILIES = ["decoder", "encoder", "encoder-decoder"]


def planned(place: Path, task: str, architecture: str, devices: int = 1, **training: object) -> Plan:
    recipe = {"batch_tokens": 400, "learning_rate": 0.01, "precision": "float32"}
    if devices > 1:
        recipe |= {"devices": devices, "strategy": "ddp"}
    recipe |= training
    chosen = experiment(place, training=recipe, architectures=[architecture])
    (plan,) = tiny_runs.planned(spec.override(chosen, tasks=[task]), place, place / "plans").plans
    return plan


def performed(plan: Plan, root: Path, **options: Any) -> Path:
    place = store.run_folder(root, plan.run)
    work.perform(plan, place, options.get("notify", ignore), options.get("stop", lambda: False))
    return place


def ignore(event: Event) -> None:
    pass


def in_parts(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """Batches are read in so many parts, as if memory did not suffice."""
    build = from_plan.new_trainer

    def building(*arguments: Any, **options: Any) -> Any:
        trainer = build(*arguments, **options)
        trainer.parts = parts
        return trainer

    monkeypatch.setattr(from_plan, "new_trainer", building)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize(
    ("architecture", "task"), [("decoder", "running"), ("encoder", "turned"), ("encoder-decoder", "turned")]
)
def test_two_ranks_have_the_bits_of_one_process_that_reads_two_parts(
    folder: Path, tmp_path: Path, architecture: str, task: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked = performed(planned(folder, task, architecture, 2, optimizer=optimizer), tmp_path / "ranked")
    in_parts(monkeypatch, 2)
    alone = performed(planned(folder, task, architecture, optimizer=optimizer), tmp_path / "alone")
    assert outcome(ranked) == outcome(alone)
    rows = [json.loads((place / "record.json").read_text()) for place in (ranked, alone)]
    assert [row.get("devices") for row in rows] == [2, None]
    keys = ("train_flops", "train_tokens", "train_loss_tokens", "steps", "micro_batches", "best_step", "executed_flops")
    assert [rows[0][key] for key in keys] == [rows[1][key] for key in keys]


def test_classification_on_two_ranks_has_the_bits_of_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked = performed(planned(folder, "colours", "encoder", 2), tmp_path / "ranked")
    in_parts(monkeypatch, 2)
    assert outcome(ranked) == outcome(performed(planned(folder, "colours", "encoder"), tmp_path / "alone"))


def test_dropout_on_two_ranks_has_the_bits_of_one_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked = performed(planned(folder, "running", "decoder", 2, dropout=0.1), tmp_path / "ranked")
    in_parts(monkeypatch, 2)
    alone = performed(planned(folder, "running", "decoder", dropout=0.1), tmp_path / "alone")
    assert outcome(ranked) == outcome(alone)


def test_the_number_of_devices_is_no_part_of_the_name_of_a_run(folder: Path) -> None:
    assert planned(folder, "running", "decoder").run == planned(folder, "running", "decoder", 2).run


def curves(place: Path) -> pd.DataFrame:
    return pd.read_csv(place / "curves.csv")


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize(
    ("architecture", "task"), [("decoder", "running"), ("encoder", "colours"), ("encoder-decoder", "turned")]
)
def test_sharded_ranks_train_as_one_process_does(
    folder: Path, tmp_path: Path, architecture: str, task: str, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(folder, task, architecture, 2, optimizer=optimizer, strategy="fsdp")
    sharded = performed(plan, tmp_path / "sharded")
    in_parts(monkeypatch, 2)
    alone = performed(planned(folder, task, architecture, optimizer=optimizer), tmp_path / "alone")
    losses = [curves(place)["value"].to_numpy() for place in (sharded, alone)]
    assert losses[0][:12] == pytest.approx(losses[1][:12], rel=1e-6)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    rows = [json.loads((place / "record.json").read_text()) for place in (sharded, alone)]
    for key in ("train_flops", "train_tokens", "steps", "parameters", "executed_flops"):
        assert rows[0][key] == rows[1][key]
    weights = [load_file(place / "model.safetensors") for place in (sharded, alone)]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name].shape == weights[1][name].shape for name in weights[0])


def test_a_sharded_run_goes_on_exactly_and_also_in_one_process(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(folder, "turned", "encoder-decoder", 2, strategy="fsdp")
    whole = performed(plan, tmp_path / "whole")
    for place in ("again", "alone"):
        stopping = Stopping(4)
        with pytest.raises(Interrupted):
            performed(plan, tmp_path / place, notify=stopping.notify, stop=stopping.stop)
    again = performed(plan, tmp_path / "again")
    assert outcome(again) == outcome(whole)
    alone = performed(planned(folder, "turned", "encoder-decoder"), tmp_path / "alone")
    assert curves(alone)["value"].to_numpy() == pytest.approx(curves(whole)["value"].to_numpy(), rel=1e-4)


class Stopping:
    """A request to stop after so many events of training."""

    def __init__(self, after: int) -> None:
        self.left = after

    def notify(self, event: Event) -> None:
        self.left -= isinstance(event, Progress) and event.phase == "train"

    def stop(self) -> bool:
        return self.left <= 0


def test_stopped_ranks_save_a_checkpoint_and_resume_exactly(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(folder, "running", "decoder", 2)
    stopping = Stopping(4)
    with pytest.raises(Interrupted):
        performed(plan, tmp_path / "ranked", notify=stopping.notify, stop=stopping.stop)
    place = store.run_folder(tmp_path / "ranked", plan.run)
    assert (place / "checkpoint").is_dir()
    assert json.loads((place / "record.json").read_text())["status"] == "unfinished"
    ranked = performed(plan, tmp_path / "ranked")
    in_parts(monkeypatch, 2)
    assert outcome(ranked) == outcome(performed(planned(folder, "running", "decoder"), tmp_path / "alone"))


def test_another_number_of_ranks_goes_on_with_the_same_data(folder: Path, tmp_path: Path) -> None:
    stopping = Stopping(4)
    with pytest.raises(Interrupted):
        performed(
            planned(folder, "running", "decoder", 2), tmp_path / "out", notify=stopping.notify, stop=stopping.stop
        )
    other = performed(planned(folder, "running", "decoder", 3), tmp_path / "out")
    alone = performed(planned(folder, "running", "decoder"), tmp_path / "alone")
    rows = [json.loads((place / "record.json").read_text()) for place in (other, alone)]
    for key in ("train_tokens", "steps", "train_loss_tokens"):
        assert rows[0][key] == rows[1][key]
    losses = [pd.read_csv(place / "curves.csv")["value"].to_numpy() for place in (other, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_sharded_ranks_resume_in_another_number(folder: Path, tmp_path: Path) -> None:
    stopping = Stopping(4)
    with pytest.raises(Interrupted):
        performed(
            planned(folder, "running", "decoder", 3, strategy="fsdp"),
            tmp_path / "out",
            notify=stopping.notify,
            stop=stopping.stop,
        )
    other = performed(planned(folder, "running", "decoder", 2, strategy="fsdp"), tmp_path / "out")
    alone = performed(planned(folder, "running", "decoder"), tmp_path / "alone")
    assert curves(other)["value"].to_numpy() == pytest.approx(curves(alone)["value"].to_numpy(), rel=1e-3)


def test_a_killed_rank_ends_the_run_with_its_cause_and_it_resumes(folder: Path, tmp_path: Path) -> None:
    plan = planned(folder, "running", "decoder", 2)
    long = replace(plan, tokens=10**9)
    started = threading.Event()

    def notify(event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "train" and event.done > 0:
            started.set()

    def kill() -> None:
        started.wait(60)
        ranks = [pid for pid in below(os.getpid()) if "spawn_main" in command(pid)]
        os.kill(max(ranks), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(RuntimeError, match=r"rank [01] died \(signal 9"):
        performed(long, tmp_path / "out", notify=notify)
    thread.join()
    until = time.monotonic() + 20
    while any("spawn_main" in command(pid) for pid in below(os.getpid())):
        assert time.monotonic() < until
        time.sleep(0.1)


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def below(pid: int) -> list[int]:
    """All processes that a process has started, by itself or through others."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    direct = [int(child) for path in listed for child in path.read_text().split()]
    return [*direct, *(deeper for child in direct for deeper in below(child))]


def test_parts_are_dealt_to_ranks_in_order() -> None:
    assert [Ranks(rank, 3).share(range(7)) for rank in range(3)] == [range(3), range(3, 6), range(6, 7)]
    assert [list(Ranks(rank, 4).share([1, 2])) for rank in range(4)] == [[1], [2], [], []]


def test_a_row_says_on_how_many_devices_a_run_is_trained_where_it_is_not_one(folder: Path) -> None:
    rows = [planned(folder, "running", "decoder", devices).row() for devices in (1, 2, 3)]
    assert [(row.get("devices"), row.get("strategy")) for row in rows] == [(None, None), (2, "ddp"), (3, "ddp")]


@pytest.mark.parametrize("training", [{"devices": 2}, {"strategy": "ddp"}])
def test_devices_and_strategy_go_together(folder: Path, training: dict[str, object]) -> None:
    with pytest.raises(InputError, match=re.escape("give both, such as devices = 2")):
        experiment(folder, training=training)


def test_more_devices_than_cores_are_planned_and_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "cores", lambda: 2)
    lines: list[str] = []
    ranked = experiment(folder, architectures=["decoder"], training={"strategy": "ddp", "devices": 3})
    text = dry_run.preview(ranked, tmp_path / "out", RunOptions(device="cpu", jobs=1), lines.append)
    assert "with 1 job, 3 devices for each run" in text
    assert "training.devices is 3, and this machine has 2 cores, which the processes share" in lines
