"""How many runs a machine can do at a time: one for each core, or one for each GPU."""

import contextlib
import os
from pathlib import Path


def jobs(device: str, wanted: int | None = None) -> int:
    """How many workers to start on ``cpu`` or ``cuda``: as many as wanted, else one for each core or GPU."""
    return wanted or max(len(gpus()) if device == "cuda" else cores(), 1)


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
