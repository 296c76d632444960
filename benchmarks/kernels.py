"""Gain of each kernel: ``python -m archbench.benchmarks.kernels [WORKLOAD ...]`` prints a table.

A cell is the CPU time of a workload with one kernel off, over the time with all of them: the median of ``PAIRS`` pairs
that take turns. The models have the shape ``small`` of ``archbench bench``, a quarter of its width on ``narrow
phrases``; one thread.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from archbench.architectures.kernels import blockwise, direct, product, single
from archbench.architectures.kernels.table import KERNELS, optimize
from archbench.benchmarks import inference, models, real, suite, training, work
from archbench.benchmarks.pairing import Work, rotated
from archbench.benchmarks.setting import BenchSetting
from archbench.runs.machine import machine

PAIRS = 7
ROWS = 32  # written at once
NARROW = 64  # products so small that a shape not seen before costs more than the product
Model = Any
Switch = Callable[[Model], Any]  # a context in which a kernel is off


def _never(module: Any, name: str) -> Switch:
    """A context in which a part of a kernel never applies."""
    return lambda model: mock.patch.object(module, name, lambda *inputs: False)


def _without(*files: str) -> Switch:
    """A context in which a model lacks the kernels with these tests."""

    @contextmanager
    def off(model: nn.Module) -> Iterator[None]:
        optimize(model, [kernel for kernel in KERNELS if kernel.test not in files])
        try:
            yield
        finally:
            optimize(model)

    return off


SWITCHES: Mapping[str, Switch] = {
    "products in bfloat16, rows rounded up": _never(product, "bf16_applies"),
    "products by oneDNN": _never(product, "onednn_applies"),
    "packed weights": _never(product, "is_packing"),
    "attention in blocks": _never(blockwise, "applies"),
    "single queries": _never(single, "applies"),
    "cross-attention without keys": _never(direct, "applies"),
    "loss with the output matrix": _without("test_cross_entropy.py"),
    "RMS norm": _without("test_rms.py"),
    "GELU": _without("test_gelu.py"),
    "only states that are read": _without("test_state_index.py"),
}
IN_TRAINING = (
    "products in bfloat16, rows rounded up",
    "attention in blocks",
    "loss with the output matrix",
    "RMS norm",
)
IN_INFERENCE = ("products by oneDNN", "packed weights", "single queries")
USED_BY = {
    "RMS norm": ("llama", "t5"),
    "GELU": ("gpt2", "t5"),
    "cross-attention without keys": ("t5",),
}


def _training(prepare: Any, setting: BenchSetting, name: str) -> tuple[Model, Work]:
    both = training.prepared(setting, name, prepare)
    return both.ours, training.steps(setting, both)["ours"]


def _real(setting: BenchSetting, name: str, width: int = 0) -> tuple[Model, Work]:
    setting = replace(setting, shape=replace(setting.shape, width=width or setting.shape.width))
    model = setting.models(name, setting.shape.target_length)[0]
    step = work.our_steps(model, setting.where, setting.shape, real.our_batches(setting))
    return model, lambda: sum(step() for _ in range(real.BATCHES))


def _scoring(setting: BenchSetting, name: str) -> tuple[Model, Work]:
    model = setting.models(name, setting.shape.target_length)[0].eval()
    examples, count = setting.prepared.test, min(setting.shape.examples, len(setting.prepared.test))
    score = partial(inference.our_scores, model, examples, count, setting.shape.vocabulary, setting.where.device)
    return model, lambda: float(len(score()))


def _writing(rows: int, setting: BenchSetting, name: str) -> tuple[Model, Work]:
    model = setting.models(name, 1)[0].eval()
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(10, setting.shape.vocabulary, (rows, inference.PROMPT), generator=generator)
    return model, lambda: float(inference.our_words(model, prompts, setting.shape.new_tokens).numel())


WORKLOADS: Mapping[str, Callable[[BenchSetting, str], tuple[Model, Work]]] = {
    "windows": partial(_training, work.windows),
    "one label": partial(_training, work.labelled),
    "phrases": _real,
    "scoring": _scoring,
    "writing 1 row": partial(_writing, 1),
    f"writing {ROWS} rows": partial(_writing, ROWS),
    "narrow phrases": partial(_real, width=NARROW),
}


def gain(model: Model, run: Work, off: Switch) -> float:
    """CPU time per unit of work with a kernel off, over that with it on."""

    def without() -> float:
        with off(model):
            return _seconds(run)

    sides, ratios = {"on": lambda: _seconds(run), "off": without}, []
    for number in range(PAIRS + 1):
        spent = {name: sides[name]() for name in rotated(list(sides), number)}
        ratios.append(spent["off"] / spent["on"])
    return statistics.median(ratios[1:])  # the first pair starts libraries


def _seconds(run: Work) -> float:
    begun = time.process_time()
    units = run()
    return (time.process_time() - begun) / units


def _kernels(workload: str, model: str) -> Sequence[str]:
    trains = workload.endswith(("windows", "one label", "phrases"))
    left_out = IN_INFERENCE if trains else IN_TRAINING
    return [name for name in SWITCHES if name not in left_out and model in USED_BY.get(name, (model,))]


def main(names: Sequence[str]) -> None:
    """Prints a line for each workload, model and kernel."""
    parser = argparse.ArgumentParser("python -m archbench.benchmarks.kernels", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all if none")
    names = parser.parse_args(names).workloads
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"no workload {', '.join(unknown)}; expected some of {', '.join(WORKLOADS)}")
    torch.set_num_threads(1)
    setting = BenchSetting(models.SHAPES["small"], work.Where("cpu", machine.precision("auto", "cpu") == "bf16"), PAIRS)
    with tempfile.TemporaryDirectory() as folder:
        plan = suite.BenchPlan(setting, (), (), "phrases-en-de")
        setting = replace(setting, task=suite._task(plan, Path(folder), print))
    print("| workload | kernel | " + " | ".join(models.CLASSES) + " |\n| --- | --- |" + " --- |" * len(models.CLASSES))
    for workload in names or WORKLOADS:
        cells: dict[str, dict[str, str]] = {}
        for name in models.CLASSES:
            if name == "bert" and workload.startswith("writing"):
                continue
            model, run = WORKLOADS[workload](setting, name)
            for kernel in _kernels(workload, name):
                cells.setdefault(kernel, {})[name] = f"{gain(model, run, SWITCHES[kernel]):.2f}"
        for kernel, row in cells.items():
            print(
                f"| {workload} | {kernel} | " + " | ".join(row.get(name, "") for name in models.CLASSES) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
