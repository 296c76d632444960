"""The fastest that this machine multiplies matrices, measured."""

import time

import torch

from archbench.runs.bench.sides import Where

PRODUCTS = ((1024, 1024, 1024), (2048, 1024, 1024), (1024, 1024, 4096), (4096, 256, 1024), (512, 2048, 512))
LARGE = ((8192, 8192, 8192), (8192, 4096, 16384))  # besides, where a GPU is not filled by those


def peaks(where: Where, seconds: float) -> dict[str, float]:
    """FLOP/s in bfloat16 and float32: of several shapes the best, each tried for ``seconds``."""
    products = PRODUCTS + (LARGE if where.device == "cuda" else ())
    kinds = {"bf16": torch.bfloat16, "float32": torch.float32}
    return {name: max(_rate(where, kind, product, seconds) for product in products) for name, kind in kinds.items()}


def _rate(where: Where, kind: torch.dtype, product: tuple[int, int, int], seconds: float) -> float:
    m, k, n = product
    a, b = torch.randn(m, k, device=where.device, dtype=kind), torch.randn(k, n, device=where.device, dtype=kind)
    out = a @ b
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        where.settled()
        begun = time.perf_counter()
        torch.mm(a, b, out=out)
        where.settled()
        best = min(best, time.perf_counter() - begun)
    return 2.0 * m * k * n / best
