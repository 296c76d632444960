"""Where the time of a training step goes, on either side: by the operators that a profile names."""

from collections.abc import Callable
from typing import Any

from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from archbench.benchmarks.pairing import Measurement, Work, timed
from archbench.benchmarks.real import steps
from archbench.benchmarks.setting import BenchSetting
from archbench.benchmarks.work import DATA

STEPS = 4
KINDS = ("attention", "matmuls", "loss", "optimizer", "data", "copies", "element-wise", "between")
OPTIMIZER = "Optimizer.step"  # how PyTorch labels it
_NAMES = {  # the first kind that has part of an operator's name
    "optimizer": ("_foreach_", "_fused_adam", "linalg_vector_norm"),
    "attention": ("ttention", "aten::_softmax", "aten::bmm", "aten::baddbmm"),
    "loss": ("log_softmax", "nll_loss", "cross_entropy"),
    "matmuls": ("aten::mm", "aten::addmm", "linear", "aten::matmul"),
    "copies": ("aten::copy_", "aten::cat", "aten::clone", "aten::contiguous"),
}
_LOSS = ("_Total", "cross_entropy")  # what the loss runs under: ours (kernels.cross_entropy), theirs
_VIEWS = frozenset(  # which compute nothing
    """
    aten::view aten::view_as aten::_unsafe_view aten::reshape aten::flatten aten::expand aten::as_strided aten::t
    aten::transpose aten::permute aten::slice aten::select aten::narrow aten::split aten::chunk aten::unbind
    aten::unsqueeze aten::squeeze aten::detach aten::alias aten::to aten::_to_copy aten::item aten::empty
    aten::empty_like aten::empty_strided
    """.split()  # noqa: SIM905
)


def shares(setting: BenchSetting, model: str) -> Measurement:
    """Fractions of the time of steps on the real task, by kind of operator, for ours and theirs.

    ``between`` is what no operator that computes accounts for: Python, dispatch, views, and on a GPU waiting. A profile
    slows both sides down.
    """
    parts = {name: _shares(step, setting) for name, step in steps(setting, model).items()}
    return {"measure": "shares", "model": model, "unit": "fraction of a step", "shares": parts, "steps": STEPS}


def kind_of(name: str, labels: tuple[str, ...] = ()) -> str:
    """The kind of an operator by its name and by what it runs under, ``labels``."""
    under = (name, *labels)
    if DATA in under:
        return "data"
    if any(label.startswith(OPTIMIZER) for label in under):
        return "optimizer"
    if name.startswith("autograd::engine") or name.endswith("Backward0") or name in _VIEWS:
        return "between"
    if any("ttention" in label for label in labels):
        return "attention"
    kind = next((kind for kind, parts in _NAMES.items() if any(part in name for part in parts)), "element-wise")
    return "loss" if kind != "matmuls" and any(part in label for part in _LOSS for label in under) else kind


def _shares(work: Work, setting: BenchSetting) -> dict[str, float]:
    for _ in range(2):
        work()
    cuda = setting.where.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, acc_events=True) as profiled:
        seconds = timed(work, setting.where.settled, STEPS)[1]
    return _fractions(profiled.events() or [], seconds, _device_time if cuda else _cpu_time)


def _fractions(events: Any, seconds: float, spent: Callable[[Any], float]) -> dict[str, float]:
    totals = dict.fromkeys(KINDS, 0.0)
    for event in events:
        totals[kind_of(event.name, _labels(event))] += spent(event) / 1e6 / seconds
    totals["between"] = max(0.0, 1.0 - sum(part for kind, part in totals.items() if kind != "between"))
    return totals


def _labels(event: Any) -> tuple[str, ...]:
    labels, parent = [], event.cpu_parent
    while parent is not None:
        labels.append(parent.name)
        parent = parent.cpu_parent
    return tuple(labels)


def _cpu_time(event: Any) -> float:
    return float(event.self_cpu_time_total) if event.device_type == DeviceType.CPU else 0.0


def _device_time(event: Any) -> float:
    return float(event.self_device_time_total) if event.device_type == DeviceType.CPU else 0.0
