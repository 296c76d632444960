"""A registry or hub that is slow, breaks off or sends wrong bytes: bounded attempts, then one line with what to do."""

import hashlib
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from registry import COMMIT, Registry, hub, serving

from archbench.tasks.base.errors import InputError
from archbench.tasks.builtin_data import packages
from archbench.tasks.builtin_data.packages import Extract, Package
from archbench.tasks.data import hub_files, sources
from archbench.tasks.data.hub import ELSE

PACKAGE = Package("tiny==0.1")


def rows(wheel: Path) -> list[list[str]]:
    with zipfile.ZipFile(wheel) as archive:
        return [[line] for line in archive.read("tiny/data.txt").decode().splitlines()]


EXTRACT = Extract("tiny", (PACKAGE,), packages.digest([["rows"]] * 20_000), 1, rows)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip asks the server of the test alone, and waits a second for it."""
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(packages, "PATIENCE", 1)


def fetched(registry: Registry, cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    monkeypatch.setenv("PIP_INDEX_URL", f"{registry.url}/simple")
    return packages.rows(EXTRACT, cache, lambda line: None)


@pytest.mark.fault(
    "a download that breaks off or has wrong bytes at first",
    "fetched again, verified",
)
@pytest.mark.parametrize("moods", [["fine"], ["half", "fine"], ["wrong", "half", "fine"]])
def test_what_arrives_damaged_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moods: list[str]
) -> None:
    with serving(*moods) as registry:
        assert len(fetched(registry, tmp_path, monkeypatch)) == 20_000
    assert len(registry.requests) >= len(moods)
    assert len(packages.rows(EXTRACT, tmp_path, lambda line: None)) == 20_000, "from the cache, the server is gone"


@pytest.mark.fault(
    "a registry that does not answer, breaks off, returns errors or sends wrong bytes",
    "a bounded number of attempts, then one line with the alternative",
)
@pytest.mark.parametrize(
    ("mood", "meaning", "times"),
    [
        ("wrong", "what arrived has another SHA-256: cut off or changed on the way", 3),
        ("half", "", 3),
        ("silent", "the package registry cannot be reached", 2),
        ("error", "the package registry does not answer as it should", 2),
    ],
)
def test_attempts_are_bounded_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: str, meaning: str, times: int
) -> None:
    start = time.monotonic()
    with serving(mood) as registry, pytest.raises(InputError) as error:
        fetched(registry, tmp_path, monkeypatch)
    line = str(error.value)
    assert line.startswith('data: "tiny" cannot be fetched: pip could not download tiny==0.1 (') and "\n" not in line
    assert meaning in line and line.endswith(f"or copy {tmp_path / 'packages'} from a machine that has it")
    assert times <= len(registry.requests) <= 20, registry.requests  # a later pip resumes what broke off, a few times
    assert time.monotonic() - start < 120
    assert not list(tmp_path.iterdir())


def test_a_registry_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="the package registry cannot be reached"):
        fetched(Registry("http://127.0.0.1:9", []), tmp_path, monkeypatch)


HUB = """
from pathlib import Path
from archbench.tasks.data import hub, sources
from archbench.tasks.base.errors import InputError
from archbench.tasks.kinds.registry import BUILTIN
hub.LIMIT = 1.0
try:
    data = sources.load(BUILTIN["classification"], "hub:owner/name", Path("cache"), print, where="tasks.mine")
    targets = [*data.train.targets, *data.validation.targets, *data.test.targets]
    print(len(targets), targets.count("cold"), data.origin)
except InputError as error:
    print(error)
"""


WHOLE = f"4000 2000 hub:owner/name@{COMMIT}"


def loaded(registry: Registry, folder: Path) -> str:
    """What a process says, in one line, that loads a data set with the hub's own client."""
    environment = {**os.environ, "HF_ENDPOINT": registry.url, "HF_HOME": str(folder / "home")}
    environment |= {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    environment |= {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "PYTHONPATH": str(Path(sources.__file__).parents[1])}
    command = [sys.executable, "-c", HUB]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=180)
    assert "Traceback" not in done.stderr and "\r" not in done.stderr
    (line,) = done.stdout.splitlines()
    return line


@pytest.mark.fault(
    "a hub that does not answer, returns errors or sends invalid data",
    "one line",
)
@pytest.mark.parametrize("mood", ["silent", "error", "wrong"])
def test_a_hub_that_does_not_answer_as_it_should_is_one_line(tmp_path: Path, mood: str) -> None:
    with serving(mood, path="/api/") as registry:
        line = loaded(registry, tmp_path)
    assert 1 <= len(registry.requests) <= 10
    assert line.startswith("tasks.mine.data: hub:owner/name cannot be reached (")
    assert line.endswith(f"; connect to the network, or {ELSE}")


@pytest.mark.fault(
    "a hub file whose download breaks off, fails or never starts",
    "fetched again if the hub recovers, otherwise one line; the next attempt gets the whole file",
)
@pytest.mark.parametrize(
    "moods",
    [["half", "fine"], *(pytest.param([mood], marks=pytest.mark.slow) for mood in ("half", "error", "silent"))],
    ids=" ".join,
)
def test_a_hub_that_breaks_off_gives_all_or_one_line(tmp_path: Path, moods: list[str]) -> None:
    with hub(*moods) as registry:
        line = loaded(registry, tmp_path)
        assert 1 <= len(registry.requests) <= 20
        assert line == WHOLE or line.startswith("tasks.mine.data: hub:owner/name cannot be loaded ("), line
        assert line == WHOLE or line.endswith(f"; try again, or {ELSE}"), line
        assert line == WHOLE or moods[-1] != "fine"
        registry.moods = ["fine"]
        assert loaded(registry, tmp_path) == WHOLE


@pytest.mark.fault(
    "a hub file of the right length with wrong bytes",
    "detected by its hash and fetched once more; otherwise one line, and nothing is kept",
)
@pytest.mark.parametrize("large", [False, True], ids=["git's hash", "SHA-256"])
@pytest.mark.parametrize(
    "moods",
    [["changed"], *(pytest.param(moods, marks=pytest.mark.slow) for moods in (["changed", "fine"], ["wrong", "fine"]))],
    ids=" ".join,
)
def test_wrong_bytes_of_a_hub_are_never_taken(tmp_path: Path, moods: list[str], large: bool) -> None:
    with hub(*moods, large=large) as registry:
        line = loaded(registry, tmp_path)
        assert len(registry.requests) == 2
        if moods[-1] == "fine":
            assert line == WHOLE
        else:
            assert line.startswith("tasks.mine.data: hub:owner/name: train.csv did not have the hash"), line
            assert not [path for path in (tmp_path / "home").rglob("*.arrow")]
        registry.moods = ["fine"]
        assert loaded(registry, tmp_path) == WHOLE


@pytest.mark.parametrize("large", [False, True], ids=["git's hash", "SHA-256"])
def test_what_the_client_keeps_is_compared_with_its_name(tmp_path: Path, large: bool) -> None:
    content = b"text,label\nred,warm\n"
    git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    name = hashlib.sha256(content).hexdigest() if large else git
    blob = tmp_path / "datasets--owner--name" / "blobs" / name
    snapshot = tmp_path / "datasets--owner--name" / "snapshots" / COMMIT / "data" / "train.csv"
    for path in (blob, snapshot):
        path.parent.mkdir(parents=True)
    blob.write_bytes(content)
    snapshot.symlink_to(os.path.relpath(blob, snapshot.parent))
    for commit in (COMMIT, None):
        assert not hub_files.altered(tmp_path, "owner/name", commit)
    blob.write_bytes(content.replace(b"warm", b"cold"))
    assert not hub_files.altered(tmp_path, "owner/other", None) + hub_files.altered(tmp_path, "owner/name", "b" * 40)
    for commit in (COMMIT, None):
        assert hub_files.altered(tmp_path, "owner/name", commit) == [snapshot]
    hub_files.remove(snapshot)
    assert not blob.exists() and not snapshot.is_symlink()


@pytest.mark.slow
def test_a_file_of_a_hub_that_changes_on_the_disk_is_fetched_again(tmp_path: Path) -> None:
    with hub("fine") as registry:
        assert loaded(registry, tmp_path) == WHOLE
        (blob,) = [path for path in (tmp_path / "home").rglob("blobs/*") if path.is_file()]
        blob.write_bytes(blob.read_bytes().replace(b"cold", b"warm", 1))
        assert loaded(registry, tmp_path) == WHOLE
    assert len(registry.requests) == 2
