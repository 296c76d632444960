"""Gradient accumulation: the same loss and gradient as of whole batches, only where memory does not suffice."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.objective import Batch
from archbench.runs.experiment.sections import Training
from archbench.runs.training.step import Trainer, TrainingStep
from archbench.runs.updates import optimizer
from archbench.runs.updates.ranks import Ranks
from archbench.runs.updates.replicated import Replicated

ROOT = Path(__file__).parents[1]
NAMES = [name for name in catalogue.names() if not name.startswith("transformers:")]


def batch(rows: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randint(8, 24, (rows, width), generator=generator) for width in (5, 4))
    lengths = torch.randint(1, 5, (rows,), generator=generator)
    lengths[0] = 4
    mask = torch.arange(4) < lengths[:, None]
    return Batch(source, target, None, mask)


def trainer(name: str, native: bool = True) -> Trainer:
    unread: Any = None
    model = catalogue.find(name).build(Size(16, 2, 2, 32), Limits(24, 5, 4))
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    allowed = torch.ones(24, dtype=torch.bool)
    step = TrainingStep(model, model.objective, allowed)
    training = Training(optimizer="adamw", learning_rate=0.01)
    return Trainer(step, optimizer.build(model, training), unread, training, native)


def gradient(training: Trainer) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    training.model.train()
    inputs = training.model.objective.prepare(
        training.model, batch(), torch.Generator().manual_seed(3), training.native
    )
    loss = training._gradient(inputs, 3)
    assert loss is not None
    return loss, {name: p.grad.clone() for name, p in training.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_have_the_gradient_of_the_batch(name: str, native: bool) -> None:
    loss, whole = gradient(trainer(name, native))
    for parts in (2, 4, 6, 100):
        cut = trainer(name, native)
        cut.parts = parts
        cut_loss, gradients = gradient(cut)
        assert torch.allclose(cut_loss, loss, rtol=1e-5)
        assert gradients.keys() == whole.keys()
        for key, value in whole.items():
            assert torch.allclose(gradients[key], value, rtol=1e-3, atol=1e-6), key


def short_of_memory(training: Trainer, rows: int, error: Exception) -> None:
    """Has the model refuse more than ``rows`` rows at a time."""
    hidden = type(training.model).hidden

    def refuse(self: Any, source: Any, target: torch.Tensor, *masks: Any) -> Any:
        if len(target) > rows:
            raise type(error)(*error.args)  # one error for each: with it goes what its traceback holds
        return hidden(self, source, target, *masks)

    training.model.__class__ = type("Refusing", (type(training.model),), {"hidden": refuse})


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't")]
)
def test_micro_batches_are_halved_until_they_fit(error: Exception) -> None:
    usual, short = trainer("decoder"), trainer("decoder")
    short_of_memory(short, 2, error)
    for number in range(3):
        expected, result = (training.step(batch(), number, 0.5) for training in (usual, short))
        assert torch.allclose(result.loss, expected.loss, rtol=1e-4)
        assert torch.allclose(result.norm, expected.norm, rtol=1e-3)
        assert short.parts == 4
    for (key, parameter), (_, other) in zip(
        short.model.named_parameters(), usual.model.named_parameters(), strict=True
    ):
        assert torch.allclose(parameter, other, atol=1e-3), key


def test_all_ranks_halve_their_parts_where_one_has_too_little_memory() -> None:
    usual, other = trainer("decoder"), trainer("decoder")

    class OneShort(Ranks):
        """Another rank has too little memory for fewer than four parts."""

        def any(self, *flags: bool) -> tuple[bool, ...]:
            return tuple(other.parts < 4 for _ in flags)

    other.around = Replicated(other.training_step, OneShort())
    expected, result = (training.step(batch(), 0, 0.5) for training in (usual, other))
    assert other.parts == 4
    assert torch.allclose(result.loss, expected.loss, rtol=1e-4)
    assert torch.allclose(result.norm, expected.norm, rtol=1e-3)


def test_a_batch_of_one_row_leaves_a_rank_without_a_part() -> None:
    class Second(Ranks):
        """The second of two ranks, without the first."""

        def any(self, *flags: bool) -> tuple[bool, ...]:
            return flags

        def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor

        def all_reduce_gradients(self, parameters: Any) -> None:
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)

    other = trainer("decoder")
    other.around, other.parts = Replicated(other.training_step, Second(1, 2)), 2
    row = next(batch().split(len(batch().target)))
    assert other.step(row, 0, 0.5).loss == 0.0


def test_other_errors_and_rows_that_never_fit_are_raised() -> None:
    training = trainer("decoder")
    short_of_memory(training, 2, RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        training.step(batch(), 0, 0.5)
    assert training.parts == 1
    training = trainer("decoder")
    short_of_memory(training, 0, MemoryError("none left"))
    with pytest.raises(MemoryError):
        training.step(batch(), 0, 0.5)


def test_memory_that_lacks_while_weights_change_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """To begin again would change some of them twice."""

    def short() -> None:
        raise torch.OutOfMemoryError("out of memory")

    training = trainer("decoder")
    monkeypatch.setattr(training.optimizer, "step", short)
    with pytest.raises(torch.OutOfMemoryError):
        training.step(batch(), 0, 0.5)
    assert training.parts == 1


HUNGRY = """
    import resource, sys, torch
    sys.path.insert(0, "tests")
    from test_grad_accumulation import batch, trainer
    torch.set_num_threads(1)
    from pathlib import Path
    large, training = batch(rows=12_000), trainer("decoder")
    training.step(batch(), 0, 0.5)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = int(sys.argv[1]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    stepped = training.step(large, 1, 0.5)
    print(training.parts, float(stepped.loss))
"""


@pytest.mark.fault(
    "too little memory for a batch",
    "micro-batches are halved until they fit; loss equal up to rounding",
)
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_memory_that_really_runs_out() -> None:
    """A process that may take 1 GB more has room for the batch, one that may take 150 MB for a part of it."""
    numbers = []
    for limit in (1000, 150):
        command = [sys.executable, "-c", textwrap.dedent(HUNGRY), str(limit)]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        numbers.append([float(word) for word in process.stdout.split()])
    assert numbers[0][0] == 1 and numbers[1][0] > 1
    assert numbers[1][1] == pytest.approx(numbers[0][1], rel=1e-4)
