"""Hardware and settings that a run computes with: device, precision, threads, and the facts recorded of them."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch

from archbench.architectures.components.attention import Attention, AttentionContext
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.mask import CAUSAL
from archbench.architectures.components.norm import LayerNorm
from archbench.architectures.components.numbers import total_flops
from archbench.architectures.components.stack import Block
from archbench.tasks.base.errors import InputError
from archbench.version import commit

RECORDED = (
    "transformers",
    "tokenizers",
    "numpy",
    "scikit-learn",
    "sacrebleu",
    "rouge-score",
    "rapidfuzz",
    "Babel",
    "num2words",
)

UNSEEN_GPU = 1e13  # FLOP/s expected of a GPU of a cluster


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """This process computes on one thread, as the workers do, so that speeds measured here are theirs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device(wanted: str, here: bool = True) -> Literal["cpu", "cuda"]:
    """``auto``, ``cpu`` or ``cuda`` -> the kind of device; raises ``InputError`` where there is no such device.

    A cluster may have GPUs that this machine has not: ``here`` is then false.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise InputError(f'--device: "{wanted}": expected auto, cpu or cuda')
    if wanted == "cuda" and not here:
        return "cuda"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("--device: no CUDA device is available to PyTorch here; use --device cpu or auto")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def precision(wanted: str, on: str) -> Literal["bf16", "float32"]:
    """``auto`` is bfloat16 where the device multiplies it faster than float32, or is a cluster's GPU; else float32."""
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "float32"
    if on == "cuda" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if on == "cuda":  # of a cluster
        return "bf16"
    return "bf16" if multiplies_bf16() else "float32"


def multiplies_bf16() -> bool:
    """True if the CPU multiplies bfloat16 faster than float32: with AMX, Arm's instructions, or AMD's AVX-512 BF16.

    Intel's AVX-512 BF16 without AMX (as hypervisors show it) takes twice float32's time; emulation takes longer still.
    """
    if not hasattr(torch.cpu, "get_capabilities"):  # PyTorch 2.10
        amx, avx512, arm = torch.cpu._is_amx_tile_supported(), torch.cpu._is_avx512_bf16_supported(), False
    else:
        features = torch.cpu.get_capabilities()
        amx, avx512, arm = (bool(features.get(name, False)) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return amx or arm or (avx512 and "Intel" not in _processor())


def set_deterministic(wanted: bool) -> None:
    """Ask PyTorch for kernels that give the same bits every time (on CPU they always do)."""
    if wanted == torch.are_deterministic_algorithms_enabled():
        return  # to ask anew imports the compiler, which takes a second
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)


def disable_cudnn_attention(on: str) -> None:
    """PyTorch prefers it on recent GPUs, but it plans for every shape, for up to a second."""
    if on == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def environment(on: str) -> dict[str, str]:
    """Facts that may explain a difference between two runs."""
    facts = {
        "archbench": importlib.metadata.version("archbench"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "device": torch.cuda.get_device_name() if on == "cuda" else "cpu",
        "threads": str(torch.get_num_threads()),
        "torch": str(torch.__version__),  # names the build, which the package's own version may not
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()).lower(),
    }
    if on == "cuda":
        facts |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}  # type: ignore[no-untyped-call]
    if known := commit():
        facts["archbench_commit"] = known
    return facts | {name: importlib.metadata.version(name) for name in RECORDED}


def reset_peak_memory(on: str) -> None:
    """Begin a new measurement of the peak (on CPU where the kernel allows it: Linux)."""
    if on == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes(on: str) -> int:
    """Largest memory since ``reset_peak_memory``: allocated on the GPU, or resident in this process."""
    if on == "cuda":
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def training_rate(on: str, bf16: bool) -> float:
    """FLOP/s of a forward and backward pass through a block of a small model, on one thread: measured in 0.1 s."""
    if on == "cuda" and not torch.cuda.is_available():
        return UNSEEN_GPU
    rows, length, dim = 8, 128, 96
    block = Block(Attention(dim, 3), GatedFeedForward(dim, 256), LayerNorm).to(on)
    positions = torch.arange(length, device=on)[None]
    x = torch.randn(rows, length, dim, device=on, requires_grad=True)

    def step() -> None:
        with torch.autocast(on, torch.bfloat16, enabled=bf16):
            y = block(x, AttentionContext(positions, positions, CAUSAL))[0].float().sum()
        torch.autograd.backward(y)
        y.item()

    for _ in range(2):  # the first one starts libraries
        step()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < 0.1:
        step()
        count += 1
    flops = (
        3.0 * rows * float(total_flops(block.flops(float(length), functools.partial(CAUSAL.pairs, 0.0, float(length)))))
    )
    return count * flops / (time.perf_counter() - start)


@functools.cache
def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return platform.processor() or "unknown"
