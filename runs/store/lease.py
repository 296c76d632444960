"""The lease of a run: a file that says which process trains the run; that process rewrites it every few seconds.

A cluster may restart a job that is still running, and two machines may share one folder. The lease makes sure that one
process at a time trains a run: ``acquire`` raises ``Held`` while another process holds it. A lease without a heartbeat
for ``stale_seconds`` is revoked; on the same machine, the lease of a process that has ended is ignored at once.

Leases of a run are numbered: ``.lease-3`` follows ``.lease-2``. A new one is created only if its name is unused, so
only one process succeeds, also on NFS. A process whose file is gone, or that finds a higher number, has lost its lease
and exits.
"""

import contextlib
import functools
import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from archbench.runs.plans.messages import Event, Notify, Progress

NAME = re.compile(r"\.lease-([0-9]{1,9})")
SIZE = 1024  # bytes of the file, padded: it is rewritten in place
LOST = 75  # exit status of a process that has lost its lease
STALE = "ARCHBENCH_STALE_SECONDS"
HEARTBEATS = 12  # heartbeats before a lease is stale
READ_ATTEMPTS = 20


def stale_seconds() -> float:
    """Seconds without a heartbeat after which a run is taken over: ``ARCHBENCH_STALE_SECONDS``, else 60."""
    with contextlib.suppress(ValueError):
        return max(float(os.environ.get(STALE, "60")), 0.1)
    return 60.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as its file says.

    It is stale after ``stale`` seconds without a heartbeat (0: unknown). ``beat`` counts heartbeats; the other numbers
    are the latest progress.
    """

    number: int
    owner: str = ""
    host: str = ""
    machine: str = ""
    pid: int = 0
    began: str = ""
    stale: float = 0.0
    beat: int = 0
    phase: str = "data"
    done: float = 0.0
    total: float = 0.0
    tokens_per_second: float = 0.0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.host else "another process"

    def progress(self, run: str) -> Progress:
        phase: Any = self.phase if self.phase in ("data", "train", "score") else "data"
        return Progress(run, phase, self.done, self.total, tokens_per_second=self.tokens_per_second or None)

    @property
    def has_ended(self) -> bool:
        """True if this is a process of this machine that is gone."""
        return bool(self.machine) and self.machine == _machine() and _began(self.pid) != self.began


class Held(Exception):  # noqa: N818 - no error: somebody else does the work
    """Another process holds the lease."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"held by {holder}")
        self.holder = holder


def holder(folder: Path) -> Holder | None:
    """Who performs the run in ``folder`` now, as far as can be told at once; None if nobody does."""
    latest = _latest(folder)
    return None if latest is None or latest.has_ended else latest


def is_live(folder: Path) -> bool:
    """True if somebody performs the run in ``folder``, or did so moments ago."""
    return holder(folder) is not None


def last_heartbeat(folder: Path, held: Holder) -> float:
    """When the latest heartbeat was written, in seconds since 1970 by the file system's clock; 0 if it is gone."""
    try:
        return os.stat(_path(folder, held.number)).st_mtime
    except OSError:
        return 0.0


def acquire(folder: Path) -> "Lease":
    """Take the lease of the run in ``folder``; raises ``Held`` while another process has it."""
    while True:
        latest = _latest(folder)
        if latest is not None and not latest.has_ended:
            raise Held(latest)
        mine = Holder(
            (latest.number if latest else 0) + 1,
            uuid.uuid4().hex,
            platform.node(),
            _machine(),
            os.getpid(),
            _began(os.getpid()),
            stale_seconds(),
        )
        if not _create(folder, mine):
            continue
        if max(_numbers(folder), default=0) > mine.number:  # taken meanwhile
            _remove(folder, mine.number)
            continue
        for number in _numbers(folder):
            if number < mine.number:
                _remove(folder, number)
        return Lease(folder, mine)


def revoke(folder: Path, stale: Holder) -> None:
    """Make a stale lease invalid: its holder, if it still lives, ends at its next heartbeat."""
    successor = Holder(stale.number + 1, uuid.uuid4().hex)
    if _create(folder, successor):
        _remove(folder, stale.number)
        _remove(folder, successor.number)


def clear_dead(folder: Path) -> None:
    """Remove the lease that a dead process of this machine has left."""
    latest = _latest(folder)
    if latest is not None and latest.has_ended:
        _remove(folder, latest.number)


class LeaseMonitor:
    """Watches the lease of a run that another process performs; only changes count, so that clocks need not agree."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.clock = folder, clock
        self.seen: Holder | None = None
        self.since = clock()

    def poll(self) -> Holder | None:
        """The holder now; None if the run is free, after this has revoked a stale lease if need be."""
        now = holder(self.folder)
        if now != self.seen:
            self.seen, self.since = now, self.clock()
        elif now is not None and self.clock() - self.since > (now.stale or stale_seconds()):
            revoke(self.folder, now)
            return None
        return now


class Lease:
    """A lease that this process holds: a context in which a thread writes its heartbeats.

    ``lost`` is called, in whatever thread notices, when somebody else has taken the run over; it ends the process.
    """

    def __init__(self, folder: Path, mine: Holder, lost: Callable[[], None] = lambda: os._exit(LOST)) -> None:
        self.folder, self.mine, self.lost = folder, mine, lost
        self.latest = Progress("", "data")
        self.beats, self.confirmed = 0, _elapsed()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._write_heartbeats, daemon=True)

    def __enter__(self) -> "Lease":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.thread.join()
        with contextlib.suppress(OSError):  # the run is finished all the same; the lease becomes stale
            if self._is_mine():
                _remove(self.folder, self.mine.number)

    def reporting_progress(self, notify: Notify) -> Notify:
        """Wrap ``notify`` so that progress is also written to the lease file."""

        def reported(event: Event) -> None:
            if isinstance(event, Progress):
                self.latest = event
            notify(event)

        return reported

    def checking_lease(self, stop: Callable[[], bool]) -> Callable[[], bool]:
        """Wrap ``stop`` so that a process that lost its lease while suspended exits before it writes."""

        def checked() -> bool:
            if _elapsed() - self.confirmed > stale_seconds() / 2:
                self.beat()
            return stop()

        return checked

    def beat(self) -> None:
        """Write a heartbeat; calls ``lost`` if the lease belongs to another process now."""
        if not self._is_mine():
            self.lost()
            return
        self.beats += 1
        latest = self.latest
        facts = {"phase": latest.phase, "done": latest.done, "total": latest.total}
        text = _text(
            Holder(
                **{
                    **asdict(self.mine),
                    **facts,
                    "beat": self.beats,
                    "tokens_per_second": latest.tokens_per_second or 0.0,
                }
            )
        )
        with contextlib.suppress(FileNotFoundError), open(_path(self.folder, self.mine.number), "r+b") as file:
            file.write(text)
        self.confirmed = _elapsed()

    def _is_mine(self) -> bool:
        latest = _latest(self.folder)
        return latest is not None and (latest.number, latest.owner) == (self.mine.number, self.mine.owner)

    def _write_heartbeats(self) -> None:
        while not self.ended.wait(stale_seconds() / HEARTBEATS):
            with contextlib.suppress(OSError):  # the file system is away; the next heartbeat tries again
                self.beat()


def _latest(folder: Path) -> Holder | None:
    """The lease with the highest number, or None; one that is being written has a number only."""
    known = {field.name for field in fields(Holder)}
    number = 0
    for _ in range(READ_ATTEMPTS):
        if not (numbers := _numbers(folder)):
            return None
        number = max(numbers)
        try:
            value = json.loads(_path(folder, number).read_bytes())
            return Holder(**{**{key: value[key] for key in known & value.keys()}, "number": number})
        except FileNotFoundError:  # released in this moment, or listed from a cache
            time.sleep(0.05)
        except (ValueError, TypeError, AttributeError, RecursionError):
            break
    return Holder(number)


def _numbers(folder: Path) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [int(match[1]) for name in names if (match := NAME.fullmatch(name))]


def _path(folder: Path, number: int) -> Path:
    return folder / f".lease-{number}"


def _create(folder: Path, mine: Holder) -> bool:
    """Create the file of a lease; False if its name is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        file = open(_path(folder, mine.number), "xb")  # noqa: SIM115 - closed below, and removed if it cannot be written
    except FileExistsError:
        return False
    try:
        with file:
            file.write(_text(mine))
    except OSError:
        _remove(folder, mine.number)
        raise
    return True


def _remove(folder: Path, number: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        _path(folder, number).unlink()


def _text(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode().ljust(SIZE)


@functools.cache
def _machine() -> str:
    """Boot id and PID namespace: processes with the same value can check whether the other is alive."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return ""


def _began(pid: int) -> str:
    """When a process of this machine began, in the kernel's ticks; empty if there is none of this number."""
    try:
        fields_after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    state, began = fields_after_name[0], fields_after_name[19]
    return "" if state in "ZX" else began


def _elapsed() -> float:
    """Monotonic seconds, including suspend where the system supports it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
