"""The table of kernels says what there is, and what the operations really ask."""

import pkgutil
from pathlib import Path

import pytest

from archbench.architectures import kernels
from archbench.architectures.kernels.table import TABLE, Kernel

HERE = Path(__file__).parent


@pytest.mark.parametrize("kernel", TABLE, ids=lambda kernel: kernel.runs.__qualname__)
def test_every_kernel_has_a_plain_version_and_a_test_that_names_its_module(kernel: Kernel) -> None:
    assert callable(kernel.plain) and kernel.plain is not kernel.runs
    module = kernel.runs.__module__.rpartition(".")[2]
    assert module in (HERE / kernel.test).read_text()


@pytest.mark.parametrize("kernel", [k for k in TABLE if k.applies], ids=lambda kernel: kernel.runs.__qualname__)
def test_an_operation_asks_what_the_table_says(kernel: Kernel) -> None:
    names = kernel.operation.__code__.co_names
    for function in (kernel.applies, kernel.runs):
        assert function is not None and function.__name__ in names


def test_every_module_is_in_the_table() -> None:
    modules = {module.name for module in pkgutil.iter_modules(kernels.__path__)} - {"table"}
    named = {function.__module__.rpartition(".")[2] for k in TABLE for function in (k.operation, k.runs, k.plain)}
    assert modules <= named
