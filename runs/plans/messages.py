"""Messages between a worker and the executor that starts it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Phase = Literal["data", "train", "score"]


@dataclass(frozen=True)
class Progress:
    """How far a run is: ``done`` of ``total`` tokens (examples while scoring), the latest loss in nats per token."""

    run: str
    phase: Phase
    done: float = 0.0
    total: float = 0.0
    loss: float | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True)
class LogLine:
    """A line about a run that the user should read: nothing failed, but something was not as usual.

    With ``everywhere`` it is about the machine: what another run has said need not be shown again.
    """

    run: str
    line: str
    everywhere: bool = False


@dataclass(frozen=True)
class Ended:
    """A run that needs no more work now. ``error`` is one line; ``skipped`` runs were finished before.

    A run is ``held`` if another process performs it, which ``error`` names.
    """

    run: str
    status: Literal["done", "failed", "interrupted", "skipped", "held"]
    error: str = ""
    traceback: str = ""
    full: str = ""  # the system's message if the disk is full


@dataclass(frozen=True)
class Capacity:
    """How many runs an executor performs at a time."""

    jobs: int


class Interrupted(Exception):  # noqa: N818 - no error: the run stopped on request and has saved its checkpoint
    """Raised by work that stops on request, after it has saved its checkpoint."""


class PlannedRun(Protocol):
    """A run as the executor knows it; it travels to the worker by pickle."""

    @property
    def run(self) -> str: ...

    @property
    def variables(self) -> Mapping[str, str]:
        """The experiment's variables for the run's process; none where no user's code runs in it."""
        ...

    @property
    def expected_seconds(self) -> float: ...

    @property
    def scoring_seconds(self) -> float:
        """The part of the expected seconds in which the trained model is scored."""
        ...

    @property
    def stage(self) -> int:
        """Runs of an earlier stage are done first."""
        ...

    @property
    def devices(self) -> int:
        """The cores or GPUs that it trains on."""
        ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def predictions(self) -> int:
        """Bytes of the table of predictions at most."""
        ...

    @property
    def snapshots(self) -> int:
        """The number of snapshots of the weights during training."""
        ...

    def row(self) -> dict[str, Any]:
        """The planned part of the run's row in the table of runs."""
        ...


def bounded(text: str, most: int = 600) -> str:
    """A line of at most so many characters: what is too much is cut out of it, not what to do, which comes last."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]} ... {text[len(text) - most // 3 + 5 :]}"


def visible(text: str) -> str:
    """Text for a terminal: what would move its cursor, change its colours or turn its direction is written out."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


# Control characters but for the end of a line and the tabulator; line separators; embeddings, overrides and isolates.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Event = Progress | LogLine | Ended | Capacity
Notify = Callable[[Event], None]
