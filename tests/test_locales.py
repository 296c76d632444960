"""Names and texts in any script serve under any locale and any encoding of the output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT

from archbench.architectures.catalogue import catalogue

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        (ASCII, "ünï漢"),
        pytest.param({"PYTHONIOENCODING": "latin-1"}, "ünï\\u6f22", marks=pytest.mark.slow),
        pytest.param({"PYTHONIOENCODING": "utf-8"}, "ünï漢", marks=pytest.mark.slow),
    ],
)
def test_a_variant_whose_name_is_not_ascii_is_checked(environment: dict[str, str], name: str, tmp_path: Path) -> None:
    folder = tmp_path / "dïr"
    folder.mkdir()
    (folder / "ünï漢.py").write_text(catalogue.find("decoder").text, encoding="utf-8")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    process = subprocess.run(
        [sys.executable, "-m", "archbench", "check", os.fsencode("./ünï漢.py")],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "ARCHBENCH_CACHE": str(tmp_path), **inherited, **environment},
        capture_output=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    assert process.stdout.splitlines()[-1].startswith(f"{name}: ".encode(encoding))
