"""Runs on processes of this machine, of one thread each."""

from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait

from archbench.runs.executors.executor import ExecutorOptions
from archbench.runs.executors.worker import Worker, died, start
from archbench.runs.machine import child
from archbench.runs.plans.messages import Ended, Event, PlannedRun
from archbench.runs.store import lease, store


class Local:
    """Worker processes that execute one run after another; each sees only its own GPUs.

    A run on N devices takes N slots, or all of them if there are fewer.
    """

    def __init__(self, options: ExecutorOptions) -> None:
        self.options, self.jobs = options, max(options.jobs or 1, 1)
        self.workers: dict[int, Worker] = {}
        self.slots: dict[int, list[int]] = {}  # that the latest run of a worker takes

    def start(self, waiting: deque[PlannedRun]) -> None:
        """Give every free or new worker its next run."""
        while waiting and (free := self._free()):
            slot = free[0]
            worker = self.workers.get(slot)
            plan = waiting.popleft()
            taken = self._taken(free, plan.devices)
            if not taken:  # wait for more of them
                waiting.appendleft(plan)
                return
            folder = store.run_folder(self.options.root, plan.run)
            is_other = worker is not None and worker.variables != plan.variables
            if worker is not None and (is_other or plan.devices > 1 or self.slots[slot] != [slot]):
                worker.close()
                worker = None
            if worker is None:
                environment = self._environment(taken)
                worker = start(self.options.work, slot, folder, environment, plan.variables)
                self.workers[slot] = worker
            self.slots[slot] = taken
            worker.assign(plan, folder)

    def events(self, seconds: float) -> list[Event]:
        """One message from every worker that has one, or the news of its death."""
        ready = wait([worker.connection for worker in self.workers.values()], timeout=seconds)
        events = [self._event(worker) for worker in list(self.workers.values()) if worker.connection in ready]
        return [event for event in events if event is not None]

    def is_busy(self) -> bool:
        return bool(self._busy())

    def stop(self) -> None:
        for worker in self._busy():
            worker.ask_to_stop()

    def close(self) -> None:
        for worker in self.workers.values():
            if worker.plan:
                worker.kill()
                lease.clear_dead(store.run_folder(self.options.root, worker.plan.run))
            else:
                worker.close()
        self.workers = {}

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.plan]

    def _event(self, worker: Worker) -> Event | None:
        try:
            event: Event = worker.connection.recv()
        except (EOFError, OSError):
            del self.workers[worker.slot]
            return died(worker, self.options.root)
        if isinstance(event, Ended):
            worker.plan = None
            broken = event.status == "failed" and self.options.gpus  # after an error on a GPU nothing works there
            if event.status == "interrupted" or broken:  # an interrupted one would stop every later run too
                self.workers.pop(worker.slot).close()
        return event

    def _taken(self, free: list[int], devices: int) -> list[int]:
        """Free slots for a run on so many devices, on GPUs all of different ones; empty if there are too few now."""
        gpus = len(self.options.gpus)
        if gpus and devices > 1:
            by_gpu = {slot % gpus: slot for slot in reversed(free)}
            return list(by_gpu.values())[:devices] if len(by_gpu) >= min(devices, gpus, self.jobs) else []
        wanted = min(devices, self.jobs)
        return free[:wanted] if len(free) >= wanted else []

    def _free(self) -> list[int]:
        taken = {slot for worker in self._busy() for slot in self.slots[worker.slot]}
        return [slot for slot in range(self.jobs) if slot not in taken]

    def _environment(self, slots: Sequence[int]) -> Mapping[str, str]:
        gpus = self.options.gpus
        if not gpus:
            return child.ONE_THREAD
        seen = dict.fromkeys(gpus[slot % len(gpus)] for slot in slots)
        return child.ONE_THREAD | {"CUDA_VISIBLE_DEVICES": ",".join(seen)}
