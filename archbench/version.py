"""The version of archbench and, if known, its git commit."""

import functools
import importlib.metadata
import json
import os
import subprocess
from pathlib import Path

COMMIT_FILE = "COMMIT"  # beside this file in a wheel or sdist; `setup.py` writes it


def version() -> str:
    """The version and the commit, as in ``0.3.0 (commit 1a2b3c4)``; only the version if no commit is known."""
    known = commit()
    number = importlib.metadata.version("archbench")
    if known is None:
        return number
    revision, _, changed = known.partition("-")
    return f"{number} (commit {revision[:7]}{', with local changes' if changed else ''})"


@functools.cache
def commit() -> str | None:
    """The commit's 40 digits, with ``-dirty`` after them where a checkout has local changes; ``None`` if unknown.

    It comes from git in a checkout, else from the file that building wrote, else from what pip noted of a repository
    that it installed from (PEP 610).
    """
    package = Path(__file__).parent
    return checked_out(package.parent) or _written(package / COMMIT_FILE) or _installed()


def checked_out(root: Path) -> str | None:
    """The commit of the checkout at ``root``; ``None`` where it is not the root of one or git does not answer."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL, env=environment
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def _written(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _installed() -> str | None:
    try:
        noted = json.loads(importlib.metadata.distribution("archbench").read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return None
    commit_id = noted.get("vcs_info", {}).get("commit_id") if isinstance(noted, dict) else None
    return str(commit_id) if commit_id else None
