"""Exit statuses: errors and signals become one line on stderr and a status."""

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import typer

from archbench.inputs import GO_ON, say
from archbench.tasks.base.errors import Signalled

BROKEN = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the user's fault
MISPLACED = frozenset(  # errors of a path that the user named
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EEXIST,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    }
)
USAGE: Any = typer.BadParameter.__bases__[0]  # Typer's UsageError, which it does not export

interrupts: list[int] = []  # SIGINTs that arrived while no runs were in progress


def status(call: Callable[[], int]) -> int:
    """The exit status of a command; each of a user's mistakes becomes one line on stderr."""
    from archbench.runs.store.disk import FULL
    from archbench.tasks.base.errors import InputError, MistakesError

    try:
        return call()
    except MistakesError as error:
        return max(fail(line, 2) for line in error.lines)
    except InputError as error:
        return fail(str(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        return fail(f"interrupted; {GO_ON}", 130)
    except OSError as error:
        if error.errno in FULL:
            return fail(f"{error.filename or 'the disk'}: {error.strerror}; free disk space, then {GO_ON}", 1)
        if error.errno in MISPLACED and error.filename is not None:
            return fail(f"{error.filename}: {error.strerror}; check this path, or give another", 2)
        if not _has_folder():
            return fail("the current folder no longer exists; change to another folder", 2)
        if error.errno in BROKEN:
            return fail(f"{error.filename or 'the system'}: {error.strerror}; fix this, then {GO_ON}", 1)
        raise
    except USAGE as error:
        where = error.ctx.command_path if getattr(error, "ctx", None) else "archbench"
        message = error.format_message().replace("Input should be", "must be")
        return fail(f"{message} (see {where} --help)", 2)


def _has_folder() -> bool:
    """True if the current folder still exists."""
    with contextlib.suppress(OSError):
        os.getcwd()
        return True
    return False


def fail(message: str, status: int) -> int:
    complain(message)
    return status


def complain(message: str) -> None:
    from archbench.runs.plans.messages import bounded, visible

    say(bounded(visible("archbench: " + " ".join(message.split()))))


class Terminated(Signalled):
    """SIGTERM arrived; error and exit handling in a variant or a library cannot stop it."""


class _Interrupted(Signalled, KeyboardInterrupt):
    """SIGINT arrived; a plain ``KeyboardInterrupt`` may be a variant's own mistake."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _interrupt(number: int, frame: object) -> None:
    interrupts.append(number)
    raise _Interrupted


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM cleans up and exits with status 143; SIGINT works in the background of a shell too."""
    term = signal.signal(signal.SIGTERM, _terminate)
    interrupt = signal.signal(signal.SIGINT, _interrupt)
    interrupts.clear()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, term)
        signal.signal(signal.SIGINT, interrupt)
