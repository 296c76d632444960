"""The whole benchmark: every measure for every pair of models, each recorded as soon as it is done."""

import importlib.metadata
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import torch

from archbench.architectures.conversion.quiet import quiet
from archbench.benchmarks import alone, inference, real, shares, training
from archbench.benchmarks.models import CLASSES, SHAPES
from archbench.benchmarks.pairing import DisagreementError, Measurement
from archbench.benchmarks.report import FILE, SCHEMA
from archbench.benchmarks.setting import BenchSetting
from archbench.benchmarks.work import TRAINING, Where
from archbench.runs.experiment import spec
from archbench.runs.experiment.validation import nearest, printable, require
from archbench.runs.machine import machine
from archbench.runs.planning.preparation import task_config
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError, one_line
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Prepared
from archbench.tasks.builtin_data import builtin
from archbench.tasks.kinds import registry, task
from archbench.version import commit

LACKING = {"bert": ("generation",)}  # measures that a model does not have: it writes nothing from left to right
UNASKED = {"tiny": ("compiled",)}  # measures that a shape leaves out unless they are named: compiling takes minutes

Ended = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True)
class Request:
    """The options of the command; ``only`` names measures, models or both."""

    device: str = "auto"
    shape: str | None = None
    only: tuple[str, ...] | None = None
    pairs: int | None = None
    data: str = "phrases-en-de"


@dataclass(frozen=True)
class BenchPlan:
    """A request that can be met."""

    setting: BenchSetting
    models: tuple[str, ...]
    measures: tuple[str, ...]
    data: str


@dataclass(frozen=True)
class Workload:
    """A piece of the benchmark: its ``name`` in messages, the measures that ask for it, and how it is taken.

    ``reads``: it needs a real task.
    """

    name: str
    measures: tuple[str, ...]
    take: Callable[[BenchSetting, str], Measurement | list[Measurement]]
    reads: bool = False


WORKLOADS = (
    Workload("training", ("training", "compiled"), training.full),
    Workload("labels", ("labels",), training.labelled),
    Workload("real", ("real",), real.real, reads=True),
    Workload("grouped", ("real",), partial(real.real, grouped=True), reads=True),
    Workload("scoring", ("scoring",), inference.scoring, reads=True),
    *(Workload(f"generation-{n}", ("generation",), partial(inference.generation, rows=n)) for n in inference.BATCHES),
    Workload("alone", ("alone",), alone.alone),
    Workload("shares", ("shares",), shares.shares, reads=True),
)
MEASURES = tuple(dict.fromkeys(measure for workload in WORKLOADS for measure in workload.measures))


def run(request: Request, root: Path, cache: Path, command: str, say: Say) -> Ended:
    """Write the requested measurements to ``root/bench.json``, which is rewritten after each measure.

    Returns ``failed`` if a measure failed. After a ``KeyboardInterrupt`` the earlier measures are kept. An older file
    is kept under another name. Raises ``InputError`` before anything is measured or written.
    """
    plan = planned(request)
    with _quiet_one_thread():
        reads = any(workload.reads for model in plan.models for workload in _workloads(plan, model))
        prepared = _task(plan, cache, say) if reads else None
        root.mkdir(parents=True, exist_ok=True)
        record = _head(plan, prepared, command)
        if (aside := _put_aside(root)) is not None:
            say(f"the earlier measurements are kept as {aside}")
        sealed.write_json(root / FILE, record)
        try:
            _measure(plan, prepared, record, lambda: sealed.write_json(root / FILE, record), say)
        except KeyboardInterrupt:
            return "interrupted"
    return "failed" if any("error" in measure for measure in record["measures"]) else "done"


def _put_aside(root: Path) -> Path | None:
    """Rename a record in which something was measured, and what was drawn of it, after the moment when it was written.

    Returns where the record is now, None if there is nothing to keep.
    """
    file = root / FILE
    if not file.is_file() or not _has_measures(file):
        return None
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(file.stat().st_mtime))
    earlier = sum(1 for _ in root.glob(f"{file.stem}-{moment}*{file.suffix}"))
    name = f"{file.stem}-{moment}" + (f"-{earlier + 1}" if earlier else "")
    for beside in (file.with_suffix(suffix) for suffix in (".csv", ".svg", ".png")):
        if beside.is_file():
            beside.replace(beside.with_stem(name))
    return file.replace(file.with_stem(name))


def _has_measures(file: Path) -> bool:
    try:
        return bool(sealed.read_json(file)["measures"])
    except (InputError, ValueError, KeyError, TypeError):
        return True  # whatever it is, it is not ours to write over


def planned(request: Request) -> BenchPlan:
    """Raises ``InputError`` where the request names what there is not."""
    device = machine.device(request.device)
    name = request.shape or ("base" if device == "cuda" else "small")
    require(name, SHAPES, f"--shape: unknown {printable(name)}")
    models, measures = _chosen(request.only, name)
    _check_data(request.data)
    if all(measure in LACKING.get(model, ()) for model in models for measure in measures):
        raise InputError(f"--only: {', '.join(measures)} is not measured for {', '.join(models)}")
    where = Where(device, machine.precision("auto", device) == "bf16")
    setting = BenchSetting(SHAPES[name], where, SHAPES[name].pairs if request.pairs is None else request.pairs)
    return BenchPlan(setting, models, measures, request.data)


def _check_data(data: str) -> None:
    """The task is a built-in one: nothing is read or fetched that another machine would not have."""
    name, known = data.partition(":")[0], builtin.names()
    if name not in known:
        hint = "archbench list tasks tells what there is"
        raise InputError(f"--data: no built-in data set {printable(name)}{nearest(name, known)}; {hint}")


def _chosen(only: Sequence[str] | None, shape: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The models and the measures that are named; all of a kind of which none is named."""
    known = (*CLASSES, *MEASURES)
    for name in only or ():
        require(name, known, f"--only: unknown {printable(name)}")
    if only is not None and not only:
        raise InputError(f"--only: is empty; expected one of {', '.join(known)}")
    models = tuple(name for name in CLASSES if name in (only or ()))
    measures = tuple(name for name in MEASURES if name in (only or ()))
    usual = tuple(name for name in MEASURES if name not in UNASKED.get(shape, ()))
    return models or tuple(CLASSES), measures or usual


def _task(plan: BenchPlan, cache: Path, say: Say) -> Prepared:
    """The real task, with sources and targets that fit the shape."""
    shape, kind = plan.setting.shape, registry.BUILTIN[registry.kinds_served_by(plan.data)[0]]
    entry: dict[str, Any] = {"data": plan.data, "tokenizer": "bpe", "vocabulary": min(shape.vocabulary, 4096)}
    source, target = shape.source_length, shape.target_length
    entry["source_length"] = source
    if kind.form == "running text":
        entry["context"] = source + target
    elif kind.form == "pairs" and not kind.only_data:
        entry["target_length"] = target
    settings = {"name": "bench", "architectures": ["decoder"], "budget": {"parameters": 100_000, "tokens": 100_000}}
    resolved = spec.from_dict({**settings, "tasks": [{**entry, "test_examples": shape.examples}]}, origin="--data")
    return task.prepare(task_config(resolved.tasks[0], "."), cache, say)


def _head(plan: BenchPlan, prepared: Prepared | None, command: str) -> Measurement:
    """Fields that the measures have in common."""
    setting, device = plan.setting, plan.setting.where.device
    compiler_name = compiler(device)
    return {
        "schema": SCHEMA,
        "archbench": importlib.metadata.version("archbench"),
        "commit": commit() or "",
        "command": command,
        "shape": {**vars(setting.shape), "hidden": setting.shape.hidden},
        "device": device,
        "precision": setting.where.precision,
        "threads": torch.get_num_threads(),
        "pairs": setting.pairs,
        "optimizer": f"AdamW, fused, learning rate {TRAINING.learning_rate}, gradients clipped at {TRAINING.clip}",
        "compiler": compiler_name,
        "data": _data(prepared),
        "environment": machine.environment(device) | {"cores": str(os.cpu_count()), "load": _load()},
        "classes": {model: CLASSES[model] for model in plan.models},
        "peaks": {},
        "notes": []
        if compiler_name or "compiled" not in plan.measures
        else ["no compiler: transformers was not compiled"],
        "complete": False,
        "measures": [],
    }


def compiler(device: str) -> str:
    """The compiler that ``torch.compile`` finds for the device; empty where there is none."""
    if device == "cuda":
        return "triton" if importlib.util.find_spec("triton") else ""
    named = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    return next((path for name in named if name and (path := shutil.which(name))), "")


def _load() -> str:
    """Processes that wanted to run in the last minute, this one among them."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def _data(prepared: Prepared | None) -> Measurement | None:
    if prepared is None:
        return None
    lengths = {"source": prepared.train.source_lengths, "target": prepared.train.target_lengths}
    return {
        "name": prepared.config.data,
        "kind": prepared.kind,
        "vocabulary": prepared.tokenizer.vocabulary,
        "train_examples": len(prepared.train),
        "mean_tokens": {side: float(length.mean()) for side, length in lengths.items()},
        "longest_tokens": {side: int(length.max()) for side, length in lengths.items()},
    }


def _measure(
    plan: BenchPlan, prepared: Prepared | None, record: Measurement, write: Callable[[], None], say: Say
) -> None:
    """Add each measure to ``record`` and write it; one that fails is recorded with its error."""
    for note in record["notes"]:
        say(note)
    if "training" in plan.measures or "compiled" in plan.measures:
        say("peak of matrix products")
        record["peaks"] = training.peaks(plan.setting.where, plan.setting.shape.seconds)
    compiled = "compiled" in plan.measures and bool(record["compiler"])
    setting = replace(plan.setting, task=prepared, peaks=record["peaks"], compiled=compiled, cold=True)
    for model in plan.models:
        for workload in _workloads(plan, model):
            say(f"{model}: {workload.name}")
            record["measures"] += _measured(workload, setting, model, say)
            write()
        setting = replace(setting, cold=False)
    record["complete"] = True
    record["load_after"] = _load()
    write()


def _workloads(plan: BenchPlan, model: str) -> list[Workload]:
    """Workloads that are measured for a model."""
    wanted = set(plan.measures) - set(LACKING.get(model, ()))
    return [workload for workload in WORKLOADS if wanted & set(workload.measures)]


def _measured(workload: Workload, setting: BenchSetting, model: str, say: Say) -> list[Measurement]:
    try:
        taken = workload.take(setting, model)
        return taken if isinstance(taken, list) else [taken]
    except DisagreementError as error:
        message = str(error)
    except Exception as error:  # the other measures stand
        message = one_line(error)
    say(f"{model}: {workload.name} failed: {message}")
    return [{"measure": workload.name, "model": model, "error": message}]


@contextmanager
def _quiet_one_thread() -> Iterator[None]:
    """Both sides use one CPU thread, and only the benchmark prints messages."""
    silent = {"TOKENIZERS_PARALLELISM": "false", "KINETO_LOG_LEVEL": "9"}
    with machine.one_thread(), mock.patch.dict(os.environ, silent), quiet():
        yield
