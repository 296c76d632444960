"""Slurm job arrays, by submitit; where there is no Slurm, processes of this machine, which submitit starts as well.

Slurm's own environment variables (``SBATCH_PARTITION``, ``SBATCH_ACCOUNT``, ``SBATCH_TIMELIMIT``, ...) choose where
jobs run and for how long. Before the time is up or a job is preempted, Slurm sends a signal: the run saves a
checkpoint, and the job is put into the queue again.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any

from archbench.runs.executors.executor import ExecutorOptions
from archbench.runs.executors.job import Job, Result
from archbench.runs.machine import capacity
from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError, one_line

FOLDER = ".slurm"  # in the folder of the comparison: submitit's files
SUBMITTED = "submitted.txt"  # in FOLDER: ids of jobs that may still wait in the queue
ERRORS = "errors.txt"  # in FOLDER: of the processes that submitit starts here
MINUTES = 24 * 60
SIGNAL_SECONDS = 120  # before the end of a job
POLL_SECONDS = 1.0
QUERY_SECONDS = 30.0  # for jobs without a result
JOBS_PER_ARRAY = 1_000  # Slurm's MaxArraySize is the limit
IDS_PER_CANCEL = 200  # job ids per call of scancel


class Requeued(Job):
    """A job that submitit puts into the queue again when Slurm ends it."""

    def __call__(self) -> Result:
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGUSR2))  # what most clusters send on preemption
        return super().__call__()

    def checkpoint(self) -> Any:
        """Called by submitit on Slurm's signal."""
        from submitit.helpers import DelayedSubmission

        self.stop()
        return DelayedSubmission(Requeued(self.plan, self.root, self.work))


class Slurm:
    """Jobs of one CPU, and if need be one GPU, for each device."""

    def __init__(self, options: ExecutorOptions) -> None:
        import submitit

        self.folder = options.root.absolute() / FOLDER
        self.on_gpus, self.polled, self.queried = options.gpu_share > 0, 0.0, 0.0
        self.executor = submitit.AutoExecutor(folder=self.folder, slurm_max_num_timeout=1_000)
        self.on_slurm = self.executor.cluster == "slurm"
        if self.on_gpus and not self.on_slurm:
            raise InputError("--on slurm: no Slurm here (no sbatch); use --on local for the GPUs of this machine")
        self.slots = options.jobs or (JOBS_PER_ARRAY if self.on_slurm else capacity.cores())
        # Without Slurm nothing waits: each job is a process at once. With it, --jobs limits all arrays together.
        self.queue = self.slots
        self.executor.update_parameters(name="archbench", timeout_min=MINUTES, slurm_signal_delay_s=SIGNAL_SECONDS)
        self.submitted: list[str] = []
        if self.on_slurm:
            self._forget_earlier()

    def submit(self, jobs: Sequence[Job]) -> list[Any]:
        """Submits ``jobs``, or the first of them if Slurm takes no more now; raises ``InputError`` if it takes none."""
        requeued = [Requeued(job.plan, job.root, job.work) for job in jobs]
        handles: list[Any] = []
        for devices, alike in groupby(requeued, lambda job: job.plan.devices):  # all jobs of an array request the same
            wanted: dict[str, int] = {"cpus_per_task": devices} | ({"gpus_per_node": devices} if self.on_gpus else {})
            self.executor.update_parameters(**wanted)
            for array in _batched(alike, JOBS_PER_ARRAY):
                try:
                    with self._errors_to_file(), self.executor.batch():
                        new = [self.executor.submit(job) for job in array]
                    self.submitted += [str(handle.job_id) for handle in new]
                except Exception as error:  # submitit raises errors of its own, of Slurm and of the system
                    if not handles:
                        raise InputError(f"--on slurm: sbatch: {one_line(error)}") from error
                    self.queue = len(handles)
                    return self._record(handles)
                handles += new
        return self._record(handles)

    def ended(self, handles: Sequence[Any], seconds: float) -> Mapping[Any, Result | str]:
        if time.monotonic() - self.polled < POLL_SECONDS:
            time.sleep(seconds)
            return {}
        self.polled = time.monotonic()
        if not self.on_slurm:
            return {handle: _result(handle) for handle in handles if handle.done()}
        written = set(os.listdir(self.folder))
        ended = [handle for handle in handles if f"{handle.job_id}_0_result.pkl" in written]
        if self.polled - self.queried > QUERY_SECONDS:
            self.queried = self.polled
            ended += [handle for handle in handles if handle not in ended and handle.done()]
        return {handle: _result(handle) for handle in ended}

    def cancel(self, handles: Sequence[Any]) -> None:
        if self.on_slurm:
            self._cancel([str(handle.job_id) for handle in handles])
        else:
            for handle in handles:
                handle.cancel(check=False)

    def close(self) -> None:
        pass

    @contextmanager
    def _errors_to_file(self) -> Iterator[None]:
        """Without Slurm, submitit starts processes here; what they print at Ctrl-C goes to a file."""
        if self.on_slurm:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        screen = os.dup(2)
        with open(self.folder / ERRORS, "ab") as file:
            os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(screen, 2)
            os.close(screen)

    def _record(self, handles: list[Any]) -> list[Any]:
        """``handles``, noted for the next driver."""
        if self.on_slurm:
            files.write_text(self.folder / SUBMITTED, "\n".join(self.submitted))
        return handles

    def _forget_earlier(self) -> None:
        """Cancel what an earlier driver, which was killed, left waiting in the queue; its running jobs go on."""
        try:
            ids = (self.folder / SUBMITTED).read_text().split()
        except FileNotFoundError:
            return
        self._cancel(ids, "--state=PENDING")
        (self.folder / SUBMITTED).unlink()

    def _cancel(self, ids: Sequence[str], *options: str) -> None:
        for some in _batched(ids, IDS_PER_CANCEL):
            subprocess.run(["scancel", *options, *some], check=False, capture_output=True)


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to ``size`` neighbours."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _result(handle: Any) -> Result | str:
    handle._results_timeout_s = POLL_SECONDS  # for a file that is not there, not for one that is late
    try:
        result: Result = handle.result()
    except Exception as error:  # of any kind: submitit raises what the job raised, and errors of its own
        return f"Slurm job {handle.job_id}: {one_line(error)}"
    return result
