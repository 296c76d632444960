"""One model trained by several processes, one for each device: what they exchange, and how they are started.

Every rank has the whole model (data parallelism). A rank reads its part of each global batch; gradients are added up
over all ranks before the update. Ranks first synchronize every decision that could differ (a request to stop, out of
memory), so that none blocks in a collective.
"""

import contextlib
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from archbench.runs.machine import child
from archbench.runs.plans.messages import Event, Interrupted

BUCKET = 2**24  # gradient elements per all-reduce
TIMEOUT = timedelta(minutes=30)  # the others wait while one rank computes baselines or compiles
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Ranks:
    """The rank of this process and the number of processes that train the model; rank 0 of 1 without distribution."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """True if this rank writes the files of the run."""
        return self.rank == 0

    def share(self, parts: Sequence[Any]) -> Sequence[Any]:
        """The parts of a batch that this rank reads: contiguous; the last ranks may get fewer or none."""
        count = -(-len(parts) // self.world_size)
        return parts[self.rank * count : (self.rank + 1) * count]

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any rank has set it."""
        if self.world_size == 1:
            return flags
        tensor = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in tensor.tolist())

    def gathered(self, value: Any) -> list[Any]:
        """The values of all ranks, in their order."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def in_order(self, results: Sequence[Any]) -> Iterator[Any]:
        """The results of all ranks in the order in which their inputs were dealt, one after another; none is None."""
        for turn in zip_longest(*self.gathered(results)):
            yield from (result for result in turn if result is not None)

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Sum ``tensor`` over all ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def all_reduce_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients over all ranks; a gradient that is None on every rank stays None."""
        if self.world_size == 1:
            return
        present = self.any(*(parameter.grad is not None for parameter in parameters))
        gradients = []
        for parameter, somewhere in zip(parameters, present, strict=True):
            if somewhere and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            flat = self.all_reduce(torch.cat([gradient.reshape(-1) for gradient in bucket]))
            sizes = [gradient.numel() for gradient in bucket]
            sums = [part.view_as(gradient) for part, gradient in zip(torch.split(flat, sizes), bucket, strict=True)]
            torch._foreach_copy_(bucket, sums)


ALONE = Ranks()


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Consecutive gradients of one dtype, about ``BUCKET`` elements per bucket."""
    buckets: list[list[Tensor]] = []
    size = 0
    for gradient in gradients:
        if not buckets or size >= BUCKET or buckets[-1][0].dtype != gradient.dtype:
            buckets.append([])
            size = 0
        buckets[-1].append(gradient)
        size += gradient.numel()
    return buckets


def launch(
    count: int,
    device: str,
    call: str,
    arguments: tuple[Any, ...],
    notify: Callable[[Event], None],
    stop: Callable[[], bool],
) -> Any:
    """Call the function ``call`` ("module:function") on ``count`` new processes, with torchrun's elastic launcher.

    The function receives ``arguments``, ``notify``, ``stop`` and its ``Ranks``. Only rank 0's events are forwarded, and
    its result is returned.
    Raises ``Interrupted`` if the ranks stopped on request, and ``RuntimeError`` with the cause if one fails or dies.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    context = torch.multiprocessing.get_context("spawn")
    events, asked = context.Queue(), context.Event()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        start_method="spawn",
    )
    failures: list[BaseException] = []

    def launched() -> None:
        try:
            elastic_launch(config, _rank)(device, call, arguments, events, asked, os.getpid())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=launched)  # not the main thread, whose signal handlers the launcher would replace
    thread.start()
    interrupted, result = False, None
    while thread.is_alive() or not events.empty():
        if stop():
            asked.set()
        with contextlib.suppress(queue.Empty):
            event = events.get(timeout=POLL_SECONDS)
            if event is None:
                interrupted = True
            elif isinstance(event, _Result):
                result = event.value
            else:
                notify(event)
    thread.join()
    if failures and isinstance(failures[0], ChildFailedError):
        raise RuntimeError(_cause(failures[0])) from None
    if failures:
        raise failures[0]
    if interrupted:
        raise Interrupted
    return result


@dataclass(frozen=True)
class _Result:
    """Value that the function returned on rank 0."""

    value: Any


def _cause(error: Any) -> str:
    """Words for how the first rank that failed ended."""
    rank, failure = min(error.failures.items(), key=lambda item: item[1].timestamp)
    message = failure.message
    if isinstance(message, dict):
        message = message.get("message", "")
    last = str(message).strip().splitlines()[-1] if str(message).strip() else ""
    if failure.exitcode < 0:
        return f"rank {rank} died ({child.describe_exit(failure.exitcode)})"
    return f"rank {rank} failed: {last}"


def _rank(device: str, call: str, arguments: tuple[Any, ...], events: Any, asked: Any, parent: int) -> None:
    """The life of a rank."""
    child.end_with_parent(parent)
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGUSR2):  # the worker asks for a stop
        signal.signal(number, signal.SIG_IGN)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    notify: Callable[[Event], None] = events.put if rank == 0 else _ignore
    try:
        result = child.load_function(call)(*arguments, notify, asked.is_set, Ranks(rank, count))
        if rank == 0:
            events.put(_Result(result))
    except Interrupted:
        if rank == 0:
            events.put(None)
    finally:
        events.close()
        events.join_thread()
        dist.destroy_process_group()


def _ignore(event: Event) -> None:
    pass
