"""Training speed where nothing is padded: whole windows with all labels, and long sources with one."""

import copy
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from archbench.architectures.objectives.objective import Batch
from archbench.benchmarks import work
from archbench.benchmarks.models import BenchShape
from archbench.benchmarks.pairing import DisagreementError, Measurement, Work, speeds, timed
from archbench.benchmarks.setting import BenchSetting
from archbench.benchmarks.work import Inputs, Where
from archbench.runs.training.compiled import compile_blocks

COMPILED = "ours, compiled"
CLOSE = {"float32": 1e-4, "bf16": 1e-2}  # nats, or part of a loss over 1: how far two may be apart
PRODUCTS = ((1024, 1024, 1024), (2048, 1024, 1024), (1024, 1024, 4096), (4096, 256, 1024), (512, 2048, 512))
LARGE = ((8192, 8192, 8192), (8192, 4096, 16384))  # besides, where a GPU is not filled by those


@dataclass(frozen=True)
class Both:
    """Ours and theirs with the same weights, and one batch as either takes it, on the device."""

    ours: Any
    theirs: Any
    batch: Batch
    inputs: Inputs


def full(setting: BenchSetting, model: str) -> list[Measurement]:
    """Tokens per second of training on whole windows with a loss on every token; also compiled, if requested."""
    both = prepared(setting, model, work.windows)
    facts = _batch_facts(both.batch) | {"losses": checked(setting, model, both)}
    sides, seconds = steps(setting, both), dict[str, float]()
    with _fresh_cache(setting.compiled):
        if setting.compiled:
            compiled, seconds = _compiled(setting, both)
            sides |= compiled
        samples = setting.alternate(sides)
    plain = replace(samples, values={name: samples.values[name] for name in sides if name != COMPILED})
    measures = [speeds("training", model, "tokens/s", plain, **facts, **_utilisation(setting, both, samples.values))]
    if setting.compiled:
        alike = {"ours": samples.values[COMPILED], "theirs": samples.values["compiled"]}
        further = {**_batch_facts(both.batch), "compile_seconds": seconds}
        measures.append(speeds("compiled", model, "tokens/s", replace(samples, values=alike, first=[]), **further))
    return measures


def labelled(setting: BenchSetting, model: str) -> Measurement:
    """Tokens per second of training on long sources that end in one label."""
    both = prepared(setting, model, work.labelled)
    facts = _batch_facts(both.batch) | {"losses": checked(setting, model, both)}
    return speeds("labels", model, "tokens/s", setting.alternate(steps(setting, both)), **facts)


def prepared(setting: BenchSetting, model: str, batch_of: Callable[[str, BenchShape], Batch]) -> Both:
    """Both models, and the batch that ``batch_of`` makes."""
    batch = batch_of(model, setting.shape).to(setting.where.device)
    ours, theirs = setting.models(model, batch.target.shape[1])
    return Both(ours, theirs, batch, work.their_inputs(model, batch, ours))


def steps(setting: BenchSetting, both: Both) -> dict[str, Work]:
    """A training step of ours and of theirs on that batch -> data tokens."""
    ours = work.our_steps(both.ours, setting.where, setting.shape, repeat(both.batch))
    return {"ours": ours, "theirs": _their_steps(setting, both)}


def _their_steps(setting: BenchSetting, both: Both, forward: Callable[..., Any] | None = None) -> Work:
    return work.their_steps(both.theirs, setting.where, repeat((both.inputs, both.batch.tokens)), forward)


def checked(setting: BenchSetting, model: str, both: Both) -> dict[str, list[float]]:
    """Losses of ours and theirs before any step; raises ``DisagreementError`` where they differ.

    Of an encoder on one row: ours weighs rows by how much each hides.
    """
    batch, inputs, where = both.batch, both.inputs, setting.where
    if model == "bert":
        batch = Batch(batch.source[:1], batch.target[:1])
        inputs = work.their_inputs(model, batch, both.ours)
    losses = {
        name: [work.our_loss(both.ours, batch, where, bf16), work.their_loss(both.theirs, inputs, where, bf16)]
        for name, bf16 in {"float32": False, **({"bf16": True} if where.bf16 else {})}.items()
    }
    for name, (mine, other) in losses.items():
        if not abs(mine - other) <= CLOSE[name] * max(1.0, abs(other)):
            raise DisagreementError(f"losses of the same weights differ in {name}: ours {mine:.6f}, theirs {other:.6f}")
    return losses


def _compiled(setting: BenchSetting, both: Both) -> tuple[dict[str, Work], dict[str, float]]:
    """Both sides compiled, each as it is offered: their model whole, the blocks of ours; and how long each took."""
    copied = copy.deepcopy(both.ours)
    compile_blocks(copied, Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]), lambda line: None)
    sides = {
        "compiled": _their_steps(setting, both, torch.compile(both.theirs)),
        COMPILED: steps(setting, replace(both, ours=copied))["ours"],
    }
    named = {"theirs": "compiled", "ours": COMPILED}
    return sides, {name: timed(sides[side], setting.where.settled)[1] for name, side in named.items()}


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


def peaks(where: Where, seconds: float) -> dict[str, float]:
    """The fastest matrix products in FLOP/s, bfloat16 and float32: of several shapes, each tried for ``seconds``."""
    products = PRODUCTS + (LARGE if where.device == "cuda" else ())
    kinds = {"bf16": torch.bfloat16, "float32": torch.float32}
    return {name: max(_rate(where, kind, product, seconds) for product in products) for name, kind in kinds.items()}


def _rate(where: Where, kind: torch.dtype, product: tuple[int, int, int], seconds: float) -> float:
    m, k, n = product
    a, b = torch.randn(m, k, device=where.device, dtype=kind), torch.randn(k, n, device=where.device, dtype=kind)
    out = a @ b
    best, until = 0.0, time.perf_counter() + seconds

    def multiply() -> float:
        torch.mm(a, b, out=out)
        return 2.0 * m * k * n

    while time.perf_counter() < until:
        flops, spent = timed(multiply, where.settled)
        best = max(best, flops / spent)
    return best
