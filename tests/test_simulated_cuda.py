"""All that a run does on a GPU, on a device that computes on the CPU and refuses what CUDA would.

See ``simulated_cuda``, and ``fake_cuda`` for tensors without numbers.
What a GPU alone can tell (its kernels, its memory, its speed) is not tested here.
"""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="takes a C++ compiler"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="PyTorch has CUDA itself"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tells PyTorch that there is a device."""
    target, torch_folder = tmp_path_factory.mktemp("library") / "simulated.so", Path(torch.__file__).parent
    headers = [f"-I{torch_folder / 'include'}", f"-I{torch_folder / 'include' / 'torch' / 'csrc' / 'api' / 'include'}"]
    libraries = [f"-L{torch_folder / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch_folder / 'lib'}"]
    source = str(Path(__file__).parent / "simulated_cuda.cpp")
    subprocess.run(
        ["g++", "-std=c++20", "-fPIC", "-shared", *headers, source, "-o", str(target), *libraries], check=True
    )
    return target


def performed(library: Path, folder: Path, *what: str) -> str:
    """What the program printed."""
    command = [sys.executable, "-m", "tests.simulated_work", str(library), str(folder), *what]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr[-3000:]
    return completed.stdout


@pytest.mark.slow
@pytest.mark.parametrize("task", ["colours", "turned", "running", "windows"])
@pytest.mark.parametrize("architecture", ["decoder", "prefix-decoder", "llama", "encoder", "encoder-decoder"])
def test_a_run_on_a_gpu_waits_for_nothing_and_comes_to_the_same(
    library: Path, tmp_path: Path, architecture: str, task: str
) -> None:
    runs = json.loads(performed(library, tmp_path, architecture, task).splitlines()[-1])
    bf16 = runs["cuda muon bf16"]
    assert bf16["precision"] == "bf16"
    for kind, run in runs.items():
        device, optimizer, _ = kind.split()
        assert run["device"] == device and run["said"] == runs[f"cpu {optimizer} float32"]["said"]
        assert len(run["waits"]) > 5 and not any(run["waits"])
    assert all(math.isfinite(score["value"]) for score in bf16["scores"])
    for optimizer, near in (("adamw", 1e-3), ("muon", 5e-3)):  # Muon makes much of rounding
        on_cuda, plain = (runs[f"{device} {optimizer} float32"]["scores"] for device in ("cuda", "cpu"))
        for score, other in zip(on_cuda, plain, strict=True):
            assert score["metric"] == other["metric"]
            if score["metric"] == "nll_per_token":
                assert score["value"] == pytest.approx(other["value"], abs=near)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gpt2", "llama", "bert", "t5"])
def test_the_benchmark_finds_both_sides_alike_on_a_gpu(library: Path, tmp_path: Path, model: str) -> None:
    performed(library, tmp_path, model)
    record = json.loads((tmp_path / "bench.json").read_text())
    assert (record["device"], record["precision"], record["complete"]) == ("cuda", "bf16", True)
    assert len(record["measures"]) == (5 if model == "bert" else 7)
    assert not [measure["error"] for measure in record["measures"] if "error" in measure]


REFUSED = """
import sys
from tests.simulated_work import load
load(sys.argv[1])
import torch
from tests.simulated_cuda import State, simulated
with simulated():
    x = torch.arange(4.0).to("cuda")
    for wrong in (
        lambda: x + torch.ones(4),
        lambda: x.numpy(),
        lambda: torch.nn.functional.linear(x, torch.ones(2, 4)),
    ):
        try:
            wrong()
        except (RuntimeError, TypeError):
            continue
        raise SystemExit("not refused")
    assert State.waits == 0 and x.sum().item() == 6.0 and State.waits == 1
    for waits in (lambda: x.tolist(), lambda: x[x > 1], lambda: x.nonzero(), lambda: x.cpu()):
        before = State.waits
        waits()
        assert State.waits == before + 1
    before = State.waits
    torch.ones(4).to("cuda").copy_(torch.zeros(4))
    assert State.waits == before  # a copy to the device need not
"""


@pytest.mark.slow
def test_the_stand_in_refuses_what_cuda_does(library: Path) -> None:
    subprocess.run([sys.executable, "-c", REFUSED, str(library)], cwd=ROOT, check=True)


def test_a_step_on_fake_tensors_of_cuda_keeps_to_the_device_and_multiplies_in_its_precision(library: Path) -> None:
    """By PyTorch's own rules: no operator mixes devices, none reads a number; weights and the loss stay in float32."""
    command = [sys.executable, "-m", "tests.fake_cuda", str(library)]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr[-3000:]
    steps = json.loads(completed.stdout)
    assert len(steps) == 12
    for name, step in steps.items():
        operators, exact = step["operators"], ["torch.float32 cuda:0"]
        products = ["torch.bfloat16 cuda:0"] if name.endswith("bf16") else exact
        assert operators["mm"] == operators["attention"] == products, name
        assert operators["_softmax"] == operators["log"] == step["weights"] == exact
        assert step["gradients"] == ["torch.float32 cuda:0 True"]  # of the weights' shapes
        assert step["loss"] == ["torch.float32 cuda:0 []"] * 2
        assert all(kind.endswith("cuda:0") for kinds in operators.values() for kind in kinds)
