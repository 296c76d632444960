"""The interface of executors, and the executors that ``--on`` names."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from archbench.runs.plans.messages import Event, PlannedRun
from archbench.tasks.base.errors import InputError

On = Literal["local", "ray", "slurm"]
PACKAGES = {"ray": "ray", "slurm": "submitit"}


class Executor(Protocol):
    """Executes runs; their folders, ``root/runs/<run>/``, are the only record.

    ``jobs`` is the number of runs at a time, as far as it is known.
    """

    jobs: int

    def start(self, waiting: deque[PlannedRun]) -> None:
        """Take from ``waiting`` the runs that can start now, in order, and start or submit them."""
        ...

    def events(self, seconds: float) -> Sequence[Event]:
        """Events since the last call; waits up to ``seconds`` for one. Each started run yields one ``Ended``."""
        ...

    def is_busy(self) -> bool:
        """True if a started run has not ended."""
        ...

    def stop(self) -> None:
        """Ask all runs to save a checkpoint and end."""
        ...

    def close(self) -> None:
        """Kill running jobs and free all resources."""
        ...


@dataclass(frozen=True)
class ExecutorOptions:
    """Options of an executor: with ``jobs=None`` it chooses the number of parallel runs.

    ``work`` names ``perform(plan, folder, notify, stop)`` as "module:function". ``gpus`` are those of this machine;
    ``gpu_share`` is the part of a GPU that a run needs, 0 on a CPU.
    """

    root: Path
    jobs: int | None = None
    work: str = "archbench.runs.execution.work:perform"
    gpus: Sequence[str] = ()
    gpu_share: float = 0.0


def named(on: str) -> On:
    """The executor called ``on``; raises ``InputError`` if there is none."""
    known: On
    for known in _OPENERS:
        if on == known:
            return known
    raise InputError(f'--on: "{on}": expected {", ".join(_OPENERS)}')


def check(on: str) -> None:
    """Raises ``InputError`` where the package of an executor is not installed or its cluster cannot be reached."""
    import importlib.util

    package = PACKAGES.get(on)
    if package is not None and importlib.util.find_spec(package) is None:
        raise InputError(f"--on {on}: the package {package} is not installed; pip install 'archbench[{on}]'")
    if on == "ray":
        from archbench.runs.executors.on_ray import check_address

        check_address()


def opened(on: On, options: ExecutorOptions) -> Executor:
    """The executor that ``on`` names; raises ``InputError`` if it cannot be reached."""
    return _OPENERS[on](options)


def _local(options: ExecutorOptions) -> Executor:
    from archbench.runs.executors.local import Local

    return Local(options)


def _ray(options: ExecutorOptions) -> Executor:
    from archbench.runs.executors.cluster import Cluster
    from archbench.runs.executors.on_ray import Ray

    return Cluster(Ray(options), options)


def _slurm(options: ExecutorOptions) -> Executor:
    from archbench.runs.executors.cluster import Cluster
    from archbench.runs.executors.on_slurm import Slurm

    return Cluster(Slurm(options), options)


_OPENERS: dict[On, Callable[[ExecutorOptions], Executor]] = {"local": _local, "ray": _ray, "slurm": _slurm}
