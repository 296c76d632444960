"""What a machine is told to be good at."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch

from archbench.runs.experiment import spec
from archbench.runs.machine import machine
from archbench.runs.training import compiled

AVX512, AMX, ARM = {"avx512_bf16": True}, {"avx512_bf16": True, "amx_bf16": True}, {"bf16": True}


@pytest.mark.parametrize(
    ("features", "processor", "expected"),
    [
        (AVX512, "AMD EPYC 9R14", "bf16"),
        (AVX512, "Intel(R) Xeon(R) Processor", "float32"),
        (AMX, "Intel(R) Xeon(R) Processor", "bf16"),
        (ARM, "Neoverse-V1", "bf16"),
        ({}, "AMD EPYC 7R13", "float32"),
    ],
)
def test_auto_is_bfloat16_where_a_cpu_multiplies_it_faster(
    features: dict[str, bool], processor: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    monkeypatch.setattr(machine, "_processor", lambda: processor)
    assert machine.precision("auto", "cpu") == expected
    assert [machine.precision(precision, "cpu") for precision in ("bf16", "float32")] == ["bf16", "float32"]


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 0), "float32"), ((7, 5), "float32"), ((8, 0), "bf16"), ((8, 9), "bf16"), ((9, 0), "bf16"), ((12, 0), "bf16")],
    ids=["V100", "T4", "A100", "L4", "H100", "RTX 50"],
)
def test_auto_is_bfloat16_on_gpus_that_multiply_it(
    capability: tuple[int, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older GPUs emulate it; a T4 would train slowly if a preset asked for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    properties = SimpleNamespace(major=capability[0], minor=capability[1])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert machine.precision("auto", "cuda") == expected
    assert {task.training.precision for task in spec.preset("gpu").tasks} == {"auto"}


def test_compiling_for_a_gpu_takes_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compiled._missing("cuda") == "Triton"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert compiled._missing("cuda") == ""


def test_attention_of_cudnn_is_left_out_on_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[bool] = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", settings.append)
    machine.disable_cudnn_attention("cpu")
    assert not settings
    machine.disable_cudnn_attention("cuda")
    assert settings == [False]
