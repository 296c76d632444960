"""Calls from Python that may need users' files: these are loaded in child processes, never in the caller's."""

import functools
import os
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

P = ParamSpec("P")
R = TypeVar("R")
STANDARD_ERROR = 2


def isolated(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, a public one of this package; its call is made in a child process if it would load a user's file.

    Arguments and result then travel by pickle, and lines for the terminal go to standard error.
    """

    @functools.wraps(function)
    def called(*arguments: P.args, **named: P.kwargs) -> R:
        from archbench.tasks.base import fixed_environment

        try:
            with fixed_environment.guarded():
                return function(*arguments, **named)
        except fixed_environment.Elsewhere as elsewhere:
            variables = elsewhere.variables
        result: R = _in_child(function.__name__, arguments, named, variables)
        return result

    return called


def serve(connection: "Connection", name: str) -> None:
    """Makes one call in the child and sends its result or error. Only the parent passes an interrupt on."""
    import archbench

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments, named = connection.recv()
    try:
        answer: tuple[Any, BaseException | None] = getattr(archbench, name)(*arguments, **named), None
    except BaseException as error:
        answer = None, error
    connection.send(answer)


def _in_child(name: str, arguments: tuple[Any, ...], named: Mapping[str, Any], variables: Mapping[str, str]) -> Any:
    from archbench.runs.machine import child

    process, connection = child.start("archbench.isolated:serve", (name,), {}, STANDARD_ERROR, variables)
    with connection:
        try:
            connection.send((arguments, named))
            try:
                result, error = connection.recv()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)  # runs save checkpoints; a second interrupt ends them
                result, error = connection.recv()
        except EOFError:
            raise RuntimeError(f"archbench.{name} died ({child.describe_exit(child.wait_or_kill(process))})") from None
        finally:
            process.kill()
            process.wait()
    if error is not None:
        raise error
    return result
