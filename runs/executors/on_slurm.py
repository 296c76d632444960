"""Slurm job arrays, by submitit; where there is no Slurm, processes of this machine, which submitit starts as well.

Slurm's own environment variables (``SBATCH_PARTITION``, ``SBATCH_ACCOUNT``, ``SBATCH_TIMELIMIT``, ...) choose where
jobs run and for how long. Before the time is up or a job is preempted, Slurm sends a signal: the run saves a
checkpoint, and the job is put into the queue again.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Any

from archbench.runs.base import capacity
from archbench.runs.executors.executor import Place
from archbench.runs.executors.job import Job, Result
from archbench.tasks.base.errors import one_line

FOLDER = ".slurm"  # in the folder of the comparison: submitit's files
MINUTES = 24 * 60
SIGNAL_SECONDS = 120  # before the end of a job
LOOK_SECONDS = 1.0
ARRAY = 1_000  # jobs per array; Slurm's MaxArraySize is the limit
MOST = 100_000


class Requeued(Job):
    """A job that submitit puts into the queue again when Slurm ends it."""

    def checkpoint(self) -> Any:
        """Called by submitit on Slurm's signal."""
        from submitit.helpers import DelayedSubmission

        self.stop()
        return DelayedSubmission(Requeued(self.plan, self.root, self.work))


class Slurm:
    """Jobs of one CPU, and if need be one GPU, for each device."""

    def __init__(self, place: Place) -> None:
        import submitit

        self.on_gpus, self.looked = place.gpu_share > 0, 0.0
        self.executor = submitit.AutoExecutor(folder=place.root.absolute() / FOLDER, slurm_max_num_timeout=1_000)
        on_slurm = self.executor.cluster == "slurm"
        self.slots = place.jobs or (ARRAY if on_slurm else capacity.cores())
        self.queue = MOST if on_slurm else self.slots  # without Slurm nothing waits: each job is a process at once
        self.executor.update_parameters(
            name="archbench",
            timeout_min=MINUTES,
            slurm_signal_delay_s=SIGNAL_SECONDS,
            slurm_array_parallelism=self.slots,
        )

    def submit(self, jobs: Sequence[Job]) -> list[Any]:
        requeued = [Requeued(job.plan, job.root, job.work) for job in jobs]
        submitted: list[Any] = []
        for devices, alike in groupby(requeued, lambda job: job.plan.devices):  # all jobs of an array request the same
            self.executor.update_parameters(cpus_per_task=devices, gpus_per_node=devices if self.on_gpus else 0)
            for array in _batched(alike, ARRAY):
                with self.executor.batch():
                    submitted += [self.executor.submit(job) for job in array]
        return submitted

    def ended(self, handles: Sequence[Any], seconds: float) -> Mapping[Any, Result | str]:
        if time.monotonic() - self.looked < LOOK_SECONDS:
            time.sleep(seconds)
            return {}
        self.looked = time.monotonic()
        return {handle: _result(handle) for handle in handles if handle.done()}

    def cancel(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            handle.cancel(check=False)

    def close(self) -> None:
        pass


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to ``size`` neighbours."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _result(handle: Any) -> Result | str:
    try:
        result: Result = handle.result()
    except Exception as error:  # of any kind: submitit raises what the job raised, and errors of its own
        return f"Slurm job {handle.job_id}: {one_line(error)}"
    return result
