"""The commit is told in a checkout, in what is built from one, and where pip installed from a repository."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from archbench import version
from archbench.runs.machine import machine

ROOT = Path(__file__).parents[1]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")


@pytest.fixture(autouse=True)
def uncached() -> Iterator[None]:
    commit = version.commit
    commit.cache_clear()
    yield
    commit.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


@needs_git
def test_a_checkout_tells_its_commit_and_local_changes(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    git(checkout, "tag", "v1")
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of another repository
    assert version.checked_out(checkout) == head
    (checkout / "file").write_text("two")
    assert version.checked_out(checkout) == f"{head}-dirty"


@needs_git
def test_a_folder_in_a_repository_is_not_its_checkout(checkout: Path) -> None:
    (checkout / "site-packages").mkdir()
    assert version.checked_out(checkout / "site-packages") is None


def test_where_there_is_no_git_no_commit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert version.checked_out(tmp_path) is None


@pytest.mark.parametrize(
    ("known", "suffix"),
    [
        ("1a2b3c4d" * 5, " (commit 1a2b3c4)"),
        ("1a2b3c4d" * 5 + "-dirty", " (commit 1a2b3c4, with local changes)"),
        (None, ""),
    ],
)
def test_how_the_commit_is_shown(known: str | None, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "commit", lambda: known)
    assert version.version() == importlib.metadata.version("archbench") + suffix


def test_an_installed_package_tells_what_building_wrote_or_pip_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithCommit:
        def read_text(self, name: str) -> str:
            return json.dumps({"url": "https://example.org", "vcs_info": {"vcs": "git", "commit_id": "b" * 40}})

    monkeypatch.setattr(version, "__file__", str(tmp_path / "archbench" / "version.py"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: WithCommit())
    assert version.commit() == "b" * 40
    version.commit.cache_clear()
    (tmp_path / "archbench").mkdir()
    (tmp_path / "archbench" / version.COMMIT_FILE).write_text("a" * 40 + "\n")
    assert version.commit() == "a" * 40


def test_no_commit_is_known_where_nothing_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutCommit:
        def read_text(self, name: str) -> None:
            return None

    monkeypatch.setattr(version, "__file__", str(tmp_path / "archbench" / "version.py"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: WithoutCommit())
    assert version.commit() is None


def test_a_run_of_no_known_commit_records_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "commit", lambda: None)
    assert "archbench_commit" not in machine.environment("cpu")


def test_a_run_records_version_and_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "commit", lambda: "c" * 40)
    facts = machine.environment("cpu")
    assert facts["archbench_commit"] == "c" * 40
    assert facts["archbench"] == importlib.metadata.version("archbench")


@pytest.mark.skipif(version.checked_out(ROOT) is None, reason="not a git checkout")
def test_a_build_has_the_commit(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    written = (tmp_path / "archbench" / version.COMMIT_FILE).read_text().strip()
    assert written == version.checked_out(ROOT) and re.fullmatch("[0-9a-f]{40}(-dirty)?", written)
