"""Disks that are full, limited or cannot be written: one clear line, nothing half written taken for whole, going on."""

import json
import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from commands import EXPERIMENT, ROOT, RUNS, compare, messages_in, scores, start, write

from archbench.runs.store import disk

if TYPE_CHECKING:
    from archbench.runs.experiment.spec import Experiment
    from archbench.runs.planning.matrix import Matrix


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("small")
    write(place)
    return place


@pytest.fixture(scope="module")
def whole(folder: Path) -> str:
    """The scores of a comparison that nothing happened to."""
    assert compare(folder, folder / "whole", "--jobs", "1")[0] == 0
    return scores(folder / "whole")


class Small:
    """A disk of its own (a tmpfs), which takes the right to mount one."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        self.mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")

    def mount(self, *options: str) -> None:
        done = subprocess.run(["mount", *options, str(self.place)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")

    def become(self, options: str) -> None:
        self.mount("-o", f"remount,{options}")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    try:
        yield Small(tmp_path / "disk")
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], capture_output=True)


def assert_nothing_half(out: Path) -> None:
    """Whatever has its name is whole."""
    for path in out.rglob("*"):
        if path.suffix == ".json" and path.is_file():
            json.loads(path.read_text())
        if path.suffix == ".parquet" and not path.name.startswith("."):
            pd.read_parquet(path)


@pytest.mark.fault(
    "a disk that fills up during a comparison",
    "one line, status 1; no partial files; the same command resumes, with the same scores",
)
@pytest.mark.parametrize(
    "sizes", [(400,), pytest.param((100, 200, 300, 500, 700, 900, 1200, 1600, 2200, 3000), marks=pytest.mark.slow)]
)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    folder: Path, small: Small, whole: str, sizes: tuple[int, ...], record_property: Callable[[str, object], None]
) -> None:
    """The disk grows from attempt to attempt, and is full in the middle of whatever is just too large."""
    out, full = small.place / "out", 0
    for kilobytes in sizes:
        small.become(f"size={kilobytes}k")
        status, errors = compare(folder, out, "--jobs", "1")
        messages = messages_in(errors)
        assert status in (0, 1)
        full += status
        if status:
            assert len([line for line in messages if "no space left" in line.lower()]) == 1, errors
        assert_nothing_half(out)
    record_property("times", full)
    assert full
    small.become("size=50m")
    status, errors = compare(folder, out, "--jobs", "1")
    assert status == 0 and scores(out) == whole


@pytest.mark.slow
def test_what_will_not_fit_is_said_before_the_start(folder: Path, small: Small) -> None:
    _, errors = compare(folder, small.place / "out", "--jobs", "1")
    first = errors.splitlines()
    warned = [number for number, line in enumerate(first) if "MB will be needed and 0 MB are free" in line]
    assert len(warned) == 1 and not any(" done in " in line for line in first[: warned[0]])


@pytest.mark.fault(
    "a read-only disk",
    "one line, status 2",
)
def test_a_disk_that_cannot_be_written_is_named(folder: Path, small: Small) -> None:
    small.become("ro")
    status, errors = compare(folder, small.place / "out")
    assert status == 2 and len(messages_in(errors)) == 1 and "disk/out" in errors and "Read-only file system" in errors


@pytest.mark.fault(
    "a limit on file size",
    "one line, status 1; resumes, with the same scores",
)
@pytest.mark.slow
def test_a_limit_on_the_size_of_files(folder: Path, whole: str, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    status, errors = compare(folder, tmp_path / "out", "--jobs", "1", prepare=limit)
    assert status == 1 and len([line for line in messages_in(errors) if "File too large" in line]) == 1, errors
    assert_nothing_half(tmp_path / "out")
    assert compare(folder, tmp_path / "out", "--jobs", "1")[0] == 0
    assert scores(tmp_path / "out") == whole


QUOTA = """
import errno, os
real = os.fsync
def fsync(handle):
    if "/runs/" in os.readlink(f"/proc/self/fd/{handle}") and os.fstat(handle).st_size > 60_000:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    real(handle)
os.fsync = fsync
"""


@pytest.mark.fault(
    "a quota used up (simulated by raising the error)",
    "one line, status 1; resumes, with the same scores",
)
@pytest.mark.slow
def test_a_quota(folder: Path, whole: str, tmp_path: Path) -> None:
    """Few can make a file system with quotas: the error is raised where they raise it, in every process."""
    (tmp_path / "sitecustomize.py").write_text(QUOTA)
    arguments = ("compare", str(folder / "small.toml"), "--out", str(tmp_path / "out"), "--jobs", "1")
    process = start(folder, *arguments, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    errors = process.communicate(timeout=600)[1]
    assert process.returncode == 1, errors
    assert len([line for line in messages_in(errors) if "Disk quota exceeded; free disk space" in line]) == 1, errors
    assert_nothing_half(tmp_path / "out")
    assert compare(folder, tmp_path / "out", "--jobs", "1")[0] == 0
    assert scores(tmp_path / "out") == whole


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Path]:
    """A folder with a quota of its own (btrfs), which takes the tools and the right to mount one."""
    image, place = tmp_path / "image", tmp_path / "quota"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(256 * 2**20)
    steps = (f"mkfs.btrfs -q {image}", f"mount -o loop {image} {place}", f"btrfs quota enable {place}")
    steps += (f"btrfs subvolume create {place}/own", f"btrfs qgroup limit 400K {place}/own")
    try:
        for step in steps:
            done = subprocess.run(step, shell=True, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"cannot make a file system with quotas here: {done.stderr.strip()}")
        yield place / "own"
    finally:
        subprocess.run(["umount", str(place)], capture_output=True)


@pytest.mark.fault(
    "a file system's quota used up",
    "one line, status 1; resumes, with the same scores",
)
@pytest.mark.slow
def test_a_quota_of_a_file_system(folder: Path, whole: str, limited: Path) -> None:
    out = limited / "out"
    status, errors = compare(folder, out, "--jobs", "1")
    assert status == 1, errors
    assert len([line for line in messages_in(errors) if "Disk quota exceeded; free disk space" in line]) == 1, errors
    assert_nothing_half(out)
    subprocess.run(["btrfs", "qgroup", "limit", "none", str(limited)], check=True)
    assert compare(folder, out, "--jobs", "1")[0] == 0
    assert scores(out) == whole


@pytest.mark.fault(
    "a cache on a full disk",
    "one line, status 1; resumes",
)
@pytest.mark.slow
def test_a_cache_that_is_full(folder: Path, small: Small, tmp_path: Path) -> None:
    os.symlink(small.place, tmp_path / "cache")
    for name in ("small.toml", "things.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    filler = small.place / "filler"
    filler.write_bytes(b"x" * 60_000)
    status, errors = compare(tmp_path, tmp_path / "out")
    assert status == 1 and len(messages_in(errors)) == 1 and "no space left" in errors.lower()
    filler.unlink()
    small.become("size=5m")
    assert compare(tmp_path, tmp_path / "out")[0] == 0


def planned(experiment: "Experiment", root: Path) -> "Matrix":
    from archbench.runs.execution import compare as comparing

    setting = comparing.RunOptions(jobs=1)
    with comparing.checked_architectures(experiment, setting, lambda line: None) as architectures:
        return comparing.planned(experiment, root, setting, lambda line: None, architectures)[0]


def test_the_estimate_covers_what_a_comparison_takes(folder: Path, whole: str) -> None:
    from archbench.runs.experiment import spec

    experiment = spec.load(folder / "small.toml")
    matrix = planned(experiment, folder / "other")
    bytes_used = sum(path.stat().st_size for path in (folder / "whole").rglob("*") if path.is_file())
    assert len(matrix.plans) == RUNS
    assert bytes_used < disk.needed(matrix.plans, jobs=1) < 20 * bytes_used


def test_the_estimate_covers_long_texts_and_snapshots(tmp_path: Path) -> None:
    from archbench.runs.experiment import spec

    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(2_000)]
    rows = [f'"{" ".join(draw.choices(words, k=1_000))}",{"warm" if n % 2 else "cold"}' for n in range(800)]
    long = EXPERIMENT.replace('"things.csv"', '{ train = "things.csv", test = "long.csv" }')
    long = long.replace('["decoder", "encoder"]', '["decoder"]').replace("[0, 1]", "[0]")
    long = long.replace("test_examples = 10", "test_examples = 800").replace("[training]", "[training]\nsnapshots = 8")
    file = write(tmp_path, long)
    (tmp_path / "long.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    assert compare(tmp_path, tmp_path / "out", "--jobs", "1")[0] == 0
    matrix = planned(spec.load(file), tmp_path / "other")
    bytes_used = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert 10e6 < bytes_used < disk.needed(matrix.plans, jobs=1) < 5 * bytes_used


def test_quotes_in_texts_count_twice_as_csv_doubles_them() -> None:
    from archbench.tasks.kinds import task

    class Examples(list[str]):
        source_text = target_text = list.__getitem__

    def needed(text: str) -> int:
        tokenizer = SimpleNamespace(decode=lambda tokens: "x")
        prepared: Any = SimpleNamespace(test=Examples([text]), tokenizer=tokenizer, allowed_tokens=[True])
        return disk.predictions(prepared)

    decoding: Any = SimpleNamespace(count=10, max_tokens=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(task, "decoding", lambda prepared: decoding)
        assert needed('"ä"') == needed("aaaaaa") == needed("") + 2 * 6


def test_weights_of_embeddings_take_as_much_as_the_others() -> None:
    def needed(parameters: int, embedding_parameters: int) -> int:
        row = {"parameters": parameters, "embedding_parameters": embedding_parameters}
        plan: Any = SimpleNamespace(row=lambda: row, snapshots=1, vocabulary=10, predictions=100)
        return disk.needed([plan, plan], jobs=1)

    assert needed(100, 900) == needed(900, 100) == needed(1_000, 0) < needed(1_000, 1)
