"""A call in a process of its own: its result, its events and its end arrive; no class of a user's does."""

import errno
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from archbench.runs.machine.own_process import FailedError, OwnProcess
from archbench.runs.plans.messages import Event, Interrupted, LogLine, Notify
from archbench.tasks.base.errors import InputError

Stop = Callable[[], bool]


class OwnError(Exception):
    """An error of a user's code, which only the process that imports that code can make."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


def described(word: str, notify: Notify, stop: Stop) -> tuple[str, int]:
    print("what it prints is no message")
    notify(LogLine(word, "begun"))
    return word * 2, os.getpid()


def refuses(notify: Notify, stop: Stop) -> None:
    raise InputError("mine.py:3: no such luck")


def fills_the_disk(notify: Notify, stop: Stop) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def fails(notify: Notify, stop: Stop) -> None:
    raise OwnError("of its own")


def leaves(notify: Notify, stop: Stop) -> None:
    os._exit(7)


def exits(notify: Notify, stop: Stop) -> None:
    raise SystemExit(3)


def writes_garbage(notify: Any, stop: Stop) -> None:
    os.write(notify.__self__.fileno(), b"\0\0\0\4oops")


def returns_what_cannot_travel(notify: Notify, stop: Stop) -> Any:
    return lambda: None


def sends_nothing_known(notify: Any, stop: Stop) -> None:
    notify({"run": "another"})


def returns_code(notify: Notify, stop: Stop) -> Any:
    return OwnError()


def returns_arrays(notify: Notify, stop: Stop) -> Any:
    from archbench.runs.execution.work import Trained  # takes a second, which the other calls need not wait
    from archbench.runs.scoring.score import Predictions

    answers = [np.arange(3, dtype=np.int32), np.zeros(0, np.int32)]
    return Trained({"loss": np.float64(0.5), "steps": 2}, {"test": Predictions(np.linspace(0, 1, 7), answers)})


def until_stopped(notify: Notify, stop: Stop) -> None:
    notify(LogLine("", "begun"))
    while not stop():
        time.sleep(0.01)
    notify(LogLine("", "saved"))
    raise Interrupted


def called(name: str, *arguments: Any, **named: Any) -> Any:
    with OwnProcess() as process:
        return process.call(f"{__name__}:{name}", *arguments, **named)


def test_calls_are_made_in_one_other_process_and_events_arrive() -> None:
    events: list[Event] = []
    with OwnProcess() as process:
        (first, at), (second, later) = (
            process.call(f"{__name__}:described", word, notify=events.append) for word in ("a", "b")
        )
    assert (first, second) == ("aa", "bb") and at == later != os.getpid()
    assert events == [LogLine("a", "begun"), LogLine("b", "begun")]


def test_known_errors_stay_what_they_are() -> None:
    with pytest.raises(InputError, match=r"^mine.py:3: no such luck$"):
        called("refuses")
    with pytest.raises(OSError, match="No space left") as full:
        called("fills_the_disk")
    assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    "name, line",
    [
        ("fails", "OwnError: of its own"),
        ("leaves", "its code ends its process (exit status 7)"),
        ("exits", "its code ends its process (exit status 3)"),
        ("writes_garbage", "its process sends what is no result"),
        ("sends_nothing_known", "its process sends what is no result"),
        ("returns_code", "its process sends what is no result"),
        ("returns_what_cannot_travel", "its code ends its process (exit status 1)"),
    ],
)
def test_others_are_a_line(name: str, line: str) -> None:
    with pytest.raises(FailedError) as error:
        called(name)
    assert str(error.value) == line
    assert ("in fails" in error.value.traceback) == (name == "fails")


def test_a_result_arrives_to_the_last_bit() -> None:
    sent, arrived = returns_arrays(lambda event: None, lambda: False), called("returns_arrays")
    assert arrived.columns == sent.columns
    for mine, other in zip(arrived.predictions["test"].answers, sent.predictions["test"].answers, strict=True):
        assert mine.dtype == other.dtype and mine.tobytes() == other.tobytes()
    assert arrived.predictions["test"].nats.tobytes() == sent.predictions["test"].nats.tobytes()


def test_a_request_to_stop_reaches_it_and_it_may_save() -> None:
    events: list[Event] = []
    with pytest.raises(Interrupted):
        called("until_stopped", notify=events.append, stop=lambda: bool(events))
    assert events == [LogLine("", "begun"), LogLine("", "saved")]
