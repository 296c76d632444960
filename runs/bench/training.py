"""Training speed where nothing is padded: whole windows with all labels, and long sources with one."""

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from archbench.architectures.objectives.objective import Batch
from archbench.runs.bench import windows
from archbench.runs.bench.pairing import Work, alternate
from archbench.runs.bench.setting import BenchSetting, DisagreementError, Measurement, measurement
from archbench.runs.bench.sides import CLOSE, PROGRESS, TheirTrainer, our_loss, their_loss, trainer
from archbench.runs.training.compiled import compile_blocks

COMPILED = "ours, compiled"


@dataclass(frozen=True)
class Both:
    """Ours and theirs with the same weights, and one batch as either takes it."""

    ours: Any
    theirs: Any
    batch: Batch
    inputs: dict[str, torch.Tensor]


def full(setting: BenchSetting, model: str) -> list[Measurement]:
    """Tokens per second of training on whole windows with a loss on every token; also compiled, if requested."""
    both = prepared(setting, model, windows.full)
    losses = checked(setting, model, both)
    ours, theirs = workers(setting, both)
    sides = {"ours": ours, "theirs": theirs[0]}
    seconds: dict[str, float] = {}
    with _fresh_cache(setting.compiled):
        if setting.compiled:
            compiled, seconds = _compiled(setting, both, theirs[1])
            sides |= compiled
        samples = alternate(sides, setting.pairs, setting.shape.seconds, setting.where.settled)
    utilisation = _utilisation(setting, both, samples.values)
    facts = _batch_facts(both.batch) | {"losses": losses, **utilisation}
    plain = replace(samples, values={name: samples.values[name] for name in sides if name != COMPILED})
    measures = [measurement("training", model, "tokens/s", plain, **facts)]
    if setting.compiled:
        alike = {"ours": samples.values[COMPILED], "theirs": samples.values["compiled"]}
        further = {**_batch_facts(both.batch), "compile_seconds": seconds}
        measures.append(measurement("compiled", model, "tokens/s", replace(samples, values=alike, first=[]), **further))
    return measures


def labelled(setting: BenchSetting, model: str) -> Measurement:
    """Tokens per second of training on long sources that end in one label."""
    both = prepared(setting, model, windows.labelled)
    losses = checked(setting, model, both)
    ours, theirs = workers(setting, both)
    sides = {"ours": ours, "theirs": theirs[0]}
    samples = alternate(sides, setting.pairs, setting.shape.seconds, setting.where.settled)
    facts = _batch_facts(both.batch) | {"losses": losses}
    return measurement("labels", model, "tokens/s", samples, **facts)


def prepared(setting: BenchSetting, model: str, work: Callable[..., Batch]) -> Both:
    """Both models, and the batch that ``work`` makes, on the device."""
    batch = work(model, setting.shape, setting.shape.rows)
    ours, theirs = setting.models(model, batch.target.shape[1])
    inputs = _inputs(setting, model, batch, ours)
    return Both(ours, theirs, batch.to(setting.where.device), inputs)


def workers(setting: BenchSetting, both: Both) -> tuple[Work, tuple[Work, TheirTrainer]]:
    """A training step of ours and of theirs -> data tokens; each waits for its loss, as training does."""
    mine = trainer(both.ours, setting.where, setting.shape)
    other = TheirTrainer(both.theirs, setting.where)

    def ours() -> float:
        mine.step(both.batch, 0, PROGRESS).loss.item()
        return both.batch.tokens

    return ours, (lambda: _trained(other, both, None), other)


def checked(setting: BenchSetting, model: str, both: Both) -> dict[str, list[float]]:
    """Losses of ours and theirs before any step; raises ``DisagreementError`` where they differ.

    Of an encoder on one row: ours weighs rows by how much each hides.
    """
    row, inputs = both.batch, both.inputs
    if model == "bert":
        row = windows.first_row(both.batch.to("cpu"))
        inputs = _inputs(setting, model, row, both.ours)
    precisions = {"float32": False} | ({"bf16": True} if setting.where.bf16 else {})
    losses = {
        name: [our_loss(both.ours, row, setting.where, bf16), their_loss(both.theirs, inputs, setting.where, bf16)]
        for name, bf16 in precisions.items()
    }
    for name, (mine, other) in losses.items():
        if not abs(mine - other) <= CLOSE[name] * max(1.0, abs(other)):
            raise DisagreementError(f"losses of the same weights differ in {name}: ours {mine:.6f}, theirs {other:.6f}")
    return losses


def _inputs(setting: BenchSetting, model: str, batch: Batch, ours: Any) -> dict[str, torch.Tensor]:
    moved = batch.to(setting.where.device)
    return windows.moved(windows.their_inputs(model, moved, ours), setting.where.device)


def _trained(other: TheirTrainer, both: Both, forward: Callable[..., Any] | None) -> float:
    other.step(both.inputs, forward).item()
    return both.batch.tokens


def _compiled(setting: BenchSetting, both: Both, other: TheirTrainer) -> tuple[dict[str, Work], dict[str, float]]:
    """Both sides compiled, each as it is offered: their model whole, the blocks of ours; and how long each took."""
    whole, copied = torch.compile(both.theirs), copy.deepcopy(both.ours)
    compile_blocks(copied, Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]), lambda line: None)
    ours = workers(setting, replace(both, ours=copied))[0]
    sides: dict[str, Work] = {"compiled": lambda: _trained(other, both, whole), COMPILED: ours}
    seconds = {}
    for name, side in (("theirs", "compiled"), ("ours", COMPILED)):
        begun = time.perf_counter()
        sides[side]()
        setting.where.settled()
        seconds[name] = time.perf_counter() - begun
    return sides, seconds


def _batch_facts(batch: Batch) -> Measurement:
    return {"rows": len(batch.target), "source": batch.source.shape[1], "target": batch.target.shape[1]}


def _utilisation(setting: BenchSetting, both: Both, rates: dict[str, list[float]]) -> Measurement:
    """The fraction of the peak of matrix products that each sample reached, by model FLOPs."""
    source, target = float(both.batch.source.shape[1]), float(both.batch.target.shape[1])
    flops = float(both.ours.objective.training_flops(both.ours, source, target, False).model)
    flops_per_token = flops / (source + target)
    peak = (setting.peaks or {}).get(setting.where.precision)
    share = {name: [rate * flops_per_token / peak for rate in values] for name, values in rates.items()} if peak else {}
    return {"model_flops_per_token": flops_per_token, "peak_fraction": share}


@contextmanager
def _fresh_cache(wanted: bool) -> Iterator[None]:
    """Compile anew: what earlier runs compiled would hide the time that it takes."""
    if not wanted:
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix="archbench-") as folder,
        mock.patch.dict("os.environ", {"TORCHINDUCTOR_CACHE_DIR": folder}),
    ):
        torch.compiler.reset()
        yield
