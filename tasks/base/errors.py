"""One-line errors about the user's input or foreign code, and the errors that signals raise."""

import signal
import stat
from collections.abc import Iterable
from pathlib import Path

IRREGULAR = (
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISSOCK, "socket"),
)


class InputError(ValueError):
    """Wrong input: a message of one line gives the place, the value, the expected value and a remedy.

    The command line prints it on stderr and exits with status 2.
    """


class MistakesError(InputError):
    """Several mistakes: a message of one line for each of ``lines``."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


class Signalled(BaseException):
    """Raised by the command's signal handlers; not an error of the interrupted code."""


def is_signalled(error: BaseException) -> bool:
    """True if a signal raised this error, not the running code.

    With Python's own handler, as in a notebook, the two cannot be distinguished; an interrupt then counts as a signal.
    """
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, Signalled) or (is_default and isinstance(error, KeyboardInterrupt))


def expand_home(name: str, where: str) -> Path:
    """The path ``name`` with a leading ``~`` replaced; raises ``InputError`` if there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise InputError(f'{where}: "{name}": {error}') from error


def irregular(path: Path) -> str:
    """``is a pipe; ...`` where reading ``path`` might never end: a pipe, a device or a socket; else empty.

    A link to a regular file counts as regular, and so does a file that the shell redirects into ``/dev/stdin``.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # nothing there: whoever opens it says so
        return ""
    for is_kind, kind in IRREGULAR:
        if is_kind(mode):
            return f"is a {kind}, which cannot be read twice; save its content as a file and name that file"
    return ""


def shortened(text: str, most: int = 60) -> str:
    """Text on one line, cut to a number of characters."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."


def listed(names: list[str], most: int = 3) -> str:
    """The first few names, and the number of the others."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def one_line(error: BaseException) -> str:
    """``ValueError: its message``, on one line of at most 300 characters; some errors cannot be written out."""
    try:
        message = str(error)
    except BaseException as other:
        if is_signalled(other):
            raise
        message = f"(no message: writing it raises {type(other).__name__})"
    return shortened(f"{type(error).__name__}: {message}", 300)
