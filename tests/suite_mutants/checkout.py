"""A private copy of the checkout, in which ``archbench`` is the copy's, also in processes that its tests start."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite_mutants.sample import ROOT

FINDER = """import sys
from importlib.util import spec_from_file_location

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        folder = FOLDERS.get(name)
        return folder and spec_from_file_location(name, f"{folder}/__init__.py", submodule_search_locations=[folder])

sys.meta_path.insert(0, Finder)
"""
COVERAGE = 'import os; "COVERAGE_PROCESS_START" in os.environ and __import__("coverage").process_startup()'


@dataclass(frozen=True)
class Ended:
    """How pytest ended (None: it was stopped at the time limit), what it recorded and the end of what it printed."""

    status: int | None
    records: list[dict[str, Any]]
    output: str


@dataclass(frozen=True)
class Checkout:
    """A copy at ``root``; what its tests write lies beside it."""

    root: Path

    def write(self, path: str, text: str) -> None:
        """Replaces a source file, and forgets its byte code: Python compares seconds and size alone."""
        file = self.root / path
        file.write_text(text, encoding="utf-8")
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()

    def pytest(self, options: Sequence[str], seconds: float | None, environment: Mapping[str, str]) -> Ended:
        """Runs pytest in one process group, which is killed after so many seconds."""
        with tempfile.TemporaryDirectory(dir=self.root.parent, ignore_cleanup_errors=True) as name:
            records, temporary = Path(name, "records"), Path(name, "tmp")
            records.mkdir()
            temporary.mkdir()
            variables = {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "SUITE_MUTANTS_RECORD": str(records)}
            plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            command = [str(self.root / ".venv/bin/python"), "-P", "-m", "pytest", "-p", "suite_mutants_recorder"]
            with open(Path(name, "output"), "w+b") as output:
                process = subprocess.Popen(
                    [*command, "-p", "no:cacheprovider", *options],
                    cwd=self.root,
                    env={**plain, **variables, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                status = _awaited(process, seconds)
                output.seek(0)
                tail = output.read().decode(errors="replace")[-2000:]
            lines = [line for file in sorted(records.glob("*.jsonl")) for line in file.read_text().splitlines()]
            return Ended(status, [json.loads(line) for line in lines if line.endswith("}")], tail)


@contextlib.contextmanager
def copied() -> Iterator[Checkout]:
    """The tracked files as they are, in a clone of the repository with an environment of its own."""
    with tempfile.TemporaryDirectory(prefix="suite-mutants-", ignore_cleanup_errors=True) as folder:
        root = Path(folder).resolve() / "checkout"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(root)], check=True)
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for path in filter(None, listed.stdout.split("\0")):
            (root / path).unlink(missing_ok=True)
            if (ROOT / path).exists():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, root / path, follow_symlinks=False)
        _environment(root)
        yield Checkout(root)


def package_folders(root: Path) -> dict[str, str]:
    """The packages that lie beside one another in a checkout, and their folders."""
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    return {name: folder for name, folder in declared.items() if (root / folder / "__init__.py").exists()}


def _environment(root: Path) -> None:
    """A virtual environment with the packages of this one, but the copy's ``archbench``."""
    venv.create(root / ".venv", symlinks=True)
    (packages,) = (root / ".venv").glob("lib/python3*/site-packages")
    shutil.copy(Path(__file__).with_name("recorder.py"), packages / "suite_mutants_recorder.py")
    folders = {name: str(root / folder) for name, folder in package_folders(root).items()}
    (packages / "suite_mutants_finder.py").write_text(f"FOLDERS = {folders!r}\n{FINDER}")
    coverage_spec = importlib.util.find_spec("coverage")
    more = [str(Path(coverage_spec.origin).parents[1])] if coverage_spec and coverage_spec.origin else []
    paths = dict.fromkeys([part for part in sys.path if part.endswith("-packages")] + more)
    (packages / "base.pth").write_text("\n".join([*paths, "import suite_mutants_finder", COVERAGE, ""]))


def _awaited(process: "subprocess.Popen[bytes]", seconds: float | None) -> int | None:
    """The status with which a process ends; whatever it has started ends with it."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
