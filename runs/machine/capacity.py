"""How many runs a machine can do at a time: one for each core; small ones share a GPU, large ones have it alone."""

import contextlib
import os
from pathlib import Path

SMALL = 5_000_000  # trainable parameters up to which kernel launches limit the speed of a step
SHARERS = 8  # runs on one GPU at most


def jobs(device: str, wanted: int | None = None, parameters: int = 0) -> int:
    """How many workers to start on ``cpu`` or ``cuda``: as many as wanted, else as many as fit.

    On a CPU one for each core. A GPU has one, or where no run has more than ``SMALL`` trainable parameters one for
    every two cores that it can be given, at most ``SHARERS``.
    """
    if wanted:
        return wanted
    if device != "cuda":
        return max(cores(), 1)
    count = max(len(gpus()), 1)
    return count * (min(max(cores() // count // 2, 1), SHARERS) if 0 < parameters <= SMALL else 1)


def gpu_share(parameters: int) -> float:
    """The part of a GPU that each run of up to so many trainable parameters needs; 0 stands for an unknown number."""
    return 1 / SHARERS if 0 < parameters <= SMALL else 1.0


def gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [part.strip() for part in named.split(",") if part.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that this process may use: its affinity, within the container's quota where there is one."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        allowed, period = quota.read_text().split()
        available = min(available, max(int(allowed) // int(period), 1))
    return available
