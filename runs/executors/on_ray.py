"""Ray Core tasks: on the cluster of ``RAY_ADDRESS`` or of ``ray job submit``, else on a cluster of this machine alone.

Not Ray Client (``ray://``), which Ray's documentation advises against for machine learning.
"""

import importlib
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from archbench.runs.executors.executor import ExecutorOptions
from archbench.runs.executors.job import Job, Result, perform
from archbench.tasks.base.errors import InputError, one_line

RETRIES = 3  # of a task whose node or process is lost
CONNECT_SECONDS = 10.0


def check_address() -> str:
    """``RAY_ADDRESS``, empty if it is not set; raises ``InputError`` if nothing answers there (Ray would retry)."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise InputError(
            f"RAY_ADDRESS: {address}: Ray Client is not supported; run archbench on a node of the cluster, or with "
            "'ray job submit'"
        )
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise InputError(
                f"RAY_ADDRESS: {address}: no Ray cluster answers ({one_line(error)}); correct it, or unset it to use "
                "this machine alone"
            ) from error
    return address


class Ray:
    """One task per run: one CPU per device, and ``gpu_share`` of a GPU, or one GPU per device if there are several."""

    def __init__(self, options: ExecutorOptions) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray: Any = importlib.import_module("ray")
        address = check_address()
        connection: dict[str, Any] = {"address": address or "local"}
        if not address:
            connection |= {"include_dashboard": False, "num_cpus": options.jobs}
        self.ray, self.started = ray, not ray.is_initialized()
        try:
            if self.started:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **connection)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"--on ray: no cluster at {address or 'this machine'}: {one_line(error)}") from None
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
        if options.gpu_share and not gpus:
            raise InputError("--on ray: the cluster has no GPU; use --device cpu")
        fitting = int(gpus / options.gpu_share) if options.gpu_share else cpus
        self.slots = max(min(fitting, options.jobs or fitting), 1)
        self.queue = options.jobs or 10 * self.slots  # queued tasks use memory in Ray
        self.gpu_share = options.gpu_share
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.largest = max((int(node.get("GPU" if options.gpu_share else "CPU", 0)) for node in nodes), default=0)
        self.task = ray.remote(max_retries=RETRIES)(perform)

    def submit(self, jobs: Sequence[Job]) -> list[Any]:
        return [self.task.options(name=job.plan.run, **self._resources(job)).remote(job) for job in jobs]

    def ended(self, handles: Sequence[Any], seconds: float) -> Mapping[Any, Result | str]:
        ready, _ = self.ray.wait(list(handles), num_returns=1, timeout=seconds)
        if ready:  # all that have ended
            ready, _ = self.ray.wait(list(handles), num_returns=len(handles), timeout=0)
        return {handle: self._result(handle) for handle in ready}

    def cancel(self, handles: Sequence[Any]) -> None:
        for handle in handles:
            self.ray.cancel(handle, force=True)

    def close(self) -> None:
        if self.started:
            self.ray.shutdown()

    def _resources(self, job: Job) -> dict[str, float]:
        devices = job.plan.devices
        if devices > max(self.largest, 1):
            kind = "GPUs" if self.gpu_share else "CPUs"
            raise InputError(
                f"--on ray: {job.plan.run} needs {devices} {kind} of one node; the largest has {self.largest}"
            )
        gpus = self.gpu_share if devices == 1 else devices * bool(self.gpu_share)
        return {"num_cpus": devices, "num_gpus": gpus}

    def _result(self, handle: Any) -> Result | str:
        try:
            result: Result = self.ray.get(handle)
        except self.ray.exceptions.RayError as error:
            return f"Ray: {one_line(error)}"
        return result
