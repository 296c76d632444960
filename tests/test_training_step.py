"""A training step is one module call, which data-parallel and sharded training can wrap."""

import copy
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from archbench.architectures import switch_balance
from archbench.architectures.catalogue import catalogue
from archbench.architectures.components.stack import Block
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.runs.training.step import TrainingStep

SIZE, LIMITS = Size(16, 2, 2, 32), Limits(24, 5, 4)
ALLOWED = torch.ones(24, dtype=torch.bool)
FAMILIES = ["decoder", "encoder", "encoder-decoder"]
KINDS = ["fsdp", "ddp"]
RANKS = 2


def built(name: str) -> TrainingStep:
    torch.manual_seed(0)
    model = catalogue.find(name).build(SIZE, LIMITS)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return TrainingStep(model, model.objective, ALLOWED)


def batch(rows: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randint(8, 24, (rows, width), generator=generator) for width in (5, 4))
    mask = torch.arange(4) < torch.randint(1, 5, (rows, 1), generator=generator)
    return Batch(source, target, None, mask)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_step_gives_the_sum_of_the_losses_and_what_it_is_divided_by(name: str) -> None:
    step, pairs = built(name), batch()
    inputs = step.objective.prepare(step.model, pairs, torch.Generator().manual_seed(3), True)
    loss_sum, tokens = step(inputs)
    assert tokens == int(pairs.target_lengths.sum())
    expected = mean_loss(step.model, pairs, ALLOWED, torch.Generator().manual_seed(3), native=True)
    torch.testing.assert_close(loss_sum / tokens, expected)


def test_what_balances_experts_is_added_in_training_alone() -> None:
    torch.manual_seed(0)
    plain = catalogue.find("decoder-experts").build(SIZE, LIMITS)
    balanced = copy.deepcopy(plain)
    for block in balanced.stack.blocks:
        block.feedforward.balance = lambda probabilities, chosen: probabilities[:, 0].mean()
    results = []
    for model in (plain, balanced):
        step = TrainingStep(model, model.objective, ALLOWED)
        inputs = step.objective.prepare(model, batch(), None, True)
        results.append([(loss / tokens).item() for loss, tokens in (step(inputs), step.eval()(inputs))])
        step.train()(inputs)[0].backward()
    (before, scored), (after, still) = results
    assert before == scored == still and after > before + 0.1
    routers = [block.feedforward.router.weight.grad for block in balanced.stack.blocks]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in routers)


def test_the_balance_of_experts_is_least_where_all_are_as_likely() -> None:
    even, chosen = torch.full((8, 4), 0.25), torch.arange(8) % 4
    assert float(switch_balance(even, chosen)) == pytest.approx(0.01)
    one = torch.tensor([0.97, 0.01, 0.01, 0.01]).expand(8, 4)
    assert float(switch_balance(one, torch.zeros(8, dtype=torch.long))) == pytest.approx(0.01 * 4 * 0.97)


def trained(rank: int, port: int, folder: str) -> None:
    """One process of two: its rows of the batch, and a step of gradient descent, in every family and both ways."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=RANKS)
    for name in FAMILIES:
        for kind in KINDS:
            step = built(name)
            wrapped = sharded(step) if kind == "fsdp" else DistributedDataParallel(step, broadcast_buffers=False)
            inputs = step.objective.prepare(step.model, batch(), torch.Generator().manual_seed(3), True)
            part = list(inputs.split(RANKS))[rank]
            optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
            loss_sum, _ = wrapped(part)
            (RANKS * loss_sum / inputs.tokens).backward()  # gradients are averaged over the processes
            optimizer.step()
            weights = {key: whole(weight) for key, weight in step.model.state_dict().items()}
            if rank == 0:
                torch.save(weights, Path(folder) / f"{name}-{kind}.pt")
    distributed.destroy_process_group()


def sharded(step: TrainingStep) -> torch.nn.Module:
    """FSDP2: the parameters of each block are a group, the others are the module's."""
    mesh = init_device_mesh("cpu", (RANKS,))
    for module in step.modules():
        if isinstance(module, Block):
            fully_shard(module, mesh=mesh)
    return fully_shard(step, mesh=mesh)


def whole(weight: Any) -> torch.Tensor:
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights after a step of two processes."""
    place = tmp_path_factory.mktemp("ranks")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    multiprocessing.spawn(trained, (port, str(place)), nprocs=RANKS)
    return place


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAMILIES)
def test_two_processes_train_a_step_as_one_does(name: str, kind: str, folder: Path) -> None:
    step = built(name)
    inputs = step.objective.prepare(step.model, batch(), torch.Generator().manual_seed(3), True)
    loss_sum, tokens = step(inputs)
    (loss_sum / tokens).backward()
    torch.optim.SGD(step.parameters(), lr=0.1).step()
    weights = torch.load(folder / f"{name}-{kind}.pt")
    expected = step.model.state_dict()
    assert weights.keys() == expected.keys()
    for key, weight in expected.items():
        torch.testing.assert_close(weights[key], weight, rtol=1e-4, atol=1e-6, msg=key)
