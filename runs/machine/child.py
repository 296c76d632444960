"""Single-threaded child processes that never outlive their parent, and a connection to each."""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from archbench.tasks.base import fixed_environment

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # glibc: keep what is freed, else every large tensor is made of new pages that the kernel has to clear
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}

# The parent's search path decides which modules a child sees; the parent's main module is not run again.
_START = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from archbench.runs.machine.child import main
main(*sys.argv[2:])"""


def start(
    call: str,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    output: IO[bytes] | int,
    variables: Mapping[str, str] | None = None,
) -> tuple[subprocess.Popen[bytes], Connection]:
    """A new process that runs ``call`` ("module:function") with its end of the connection and the arguments.

    Everything that it prints goes to ``output``, a file or a file descriptor. Its environment is that of users' files,
    with the experiment's ``variables`` (None: those of this process), and ``environment``, which archbench sets.
    """
    declared = fixed_environment.declared() or {} if variables is None else variables
    ours, theirs = Pipe()
    search = json.dumps([os.path.abspath(part) for part in sys.path])
    command = [sys.executable, "-P", "-c", _START, search, str(theirs.fileno()), str(os.getpid()), call, *arguments]
    with theirs:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**fixed_environment.environment(declared), **environment},
            pass_fds=[theirs.fileno()],
        )
    return process, ours


def wait_or_kill(process: subprocess.Popen[bytes]) -> int:
    """Waits for a process whose connection is closed, if need be kills it; its status, negative for a signal."""
    try:
        return process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def describe_exit(status: int) -> str:
    """The exit status of a process in words."""
    text = f"signal {-status}" if status < 0 else f"exit status {status}"
    return text + (" (probably out of memory)" if status == -signal.SIGKILL else "")


def main(handle: str, parent: str, call: str, *arguments: str) -> None:
    """The main function of a child, which ends with its call or when the parent closes the connection."""
    end_with_parent(int(parent))
    os.set_inheritable(int(handle), False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent says what happens
    with contextlib.suppress(EOFError):
        load_function(call)(Connection(int(handle)), *arguments)


def load_function(call: str) -> Callable[..., Any]:
    """The function that "module:function" names; limits torch to one thread."""
    module, _, function = call.partition(":")
    loaded_function: Callable[..., Any] = getattr(importlib.import_module(module), function)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    return loaded_function


def end_with_parent(parent: int) -> None:
    """Makes the kernel (Linux) end this process when its parent ends; elsewhere, reading the connection then fails."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)
