"""A pipe or a device in the place of a file is refused at once: reading one may never end."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import ROOT, write

from archbench.architectures.catalogue import catalogue
from archbench.architectures.conversion import checkpoint
from archbench.runs.experiment import spec
from archbench.tasks.base.errors import InputError
from archbench.tasks.data import files

SECONDS = 60  # far more than a refusal takes


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nobody writes into."""
    os.mkfifo(tmp_path / "pipe.py")
    return tmp_path / "pipe.py"


def command(folder: Path, *arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """``archbench`` in ``folder``; fails where it does not end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ARCHBENCH_CACHE": str(folder / "cache")}
    command_line = [sys.executable, "-m", "archbench", *arguments]
    return subprocess.run(
        command_line,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("place", ["experiment", "/dev/zero", "data", "architecture", "check", "report"])
def test_no_command_waits_for_a_pipe_or_reads_a_device(pipe: Path, tmp_path: Path, place: str) -> None:
    experiment = write(tmp_path)
    if place == "data":
        experiment.write_text(experiment.read_text().replace("things.csv", pipe.name))
    arguments = {
        "experiment": ("compare", str(pipe)),
        "/dev/zero": ("compare", "/dev/zero"),
        "data": ("compare", str(experiment)),
        "architecture": ("compare", str(experiment), "--architectures", str(pipe)),
        "check": ("check", str(pipe)),
        "report": ("report", str(pipe)),
    }[place]
    completed = command(tmp_path, *arguments)
    assert completed.returncode == 2 and "Traceback" not in completed.stderr
    words = "no experiment here" if place == "report" else "save its content as a file"
    assert words in completed.stderr.splitlines()[-1]


def test_what_a_shell_substitutes_is_a_pipe_and_what_it_redirects_a_file(tmp_path: Path) -> None:
    experiment = write(tmp_path)
    with subprocess.Popen(["cat", str(experiment)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        number = process.stdout.fileno()
        completed = command(tmp_path, "compare", f"/dev/fd/{number}", pass_fds=(number,))
    assert completed.returncode == 2 and f"/dev/fd/{number}: is a pipe" in completed.stderr
    with experiment.open() as file:
        completed = command(tmp_path, "compare", "/dev/stdin", stdin=file)
    assert "is a" not in completed.stderr and 'no file "things.csv"' in completed.stderr  # data lie beside /dev/stdin


REFUSED: dict[str, Callable[[Path], object]] = {
    "experiment": spec.load,
    "variant": lambda path: catalogue.find(str(path)),
    "data": lambda path: files.existing(path.name, path.parent),
}


@pytest.mark.parametrize("reads", list(REFUSED))
def test_a_link_to_a_pipe_is_refused_and_a_link_to_a_file_is_not(reads: str, pipe: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to(pipe)
    with pytest.raises(InputError, match=r"link\.py\W.* is a pipe|link\.py: is a pipe"):
        REFUSED[reads](link)
    link.unlink()
    (tmp_path / "real").write_text(catalogue.find("decoder").text)
    link.symlink_to(tmp_path / "real")
    try:
        REFUSED[reads](link)
    except InputError as error:
        assert reads == "experiment" and "not valid TOML" in str(error)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_pipe_in_the_folder_of_a_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}: is a pipe"):
        checkpoint.variant(tmp_path)
