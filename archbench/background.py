"""``compare --detach``: the same command in the background, in a session of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from archbench.tasks.base.progress import Say

LOG = "compare.log"
POLL_SECONDS = 0.2


def start(root: Path, say: Say) -> int:
    """Starts this command without ``--detach``; returns 0 once runs are planned, or its exit status if it ends before.

    Its output goes to ``root/compare.log``. Raises ``InputError`` if a comparison is running in ``root`` already, and
    ``OSError`` if the log cannot be written.
    """
    from archbench.runs.store import locks
    from archbench.tasks.base.errors import InputError

    if locks.is_locked(root):
        raise InputError(f"{root}: a comparison is running here already; 'archbench status {root}' shows its progress")
    root.mkdir(parents=True, exist_ok=True)
    log, head = root / LOG, root / "experiment.json"
    before, begin = _written(head), log.stat().st_size if log.exists() else 0
    words = [word for word in sys.orig_argv[1:] if word != "--detach"]
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    say(f"planning runs; output is in {log}")
    while process.poll() is None and _written(head) == before:
        time.sleep(POLL_SECONDS)
    if process.returncode is not None:
        with open(log, "rb") as file:
            file.seek(begin)
            say(file.read().decode(errors="replace").rstrip())
        return process.returncode
    say(f"running in the background as process {process.pid}; 'archbench status {root}' shows progress")
    say(f"to stop it: kill {process.pid}; the same command resumes it")
    return 0


def _written(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 if there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
