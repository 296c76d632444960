"""The packages, and the git commit that a build is of; everything else stands in pyproject.toml."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
FOLDERS = ("architectures", "tasks", "runs", "reports", "benchmarks", "inspection", "sharing")
BELOW = [f"archbench.{folder}.{name}" for folder in FOLDERS for name in find_packages(folder)]
PUBLISHED = "archbench.published"  # the tables of public-v1, for `archbench compare --against public-v1`


def write_commit(package: Path) -> None:
    """Write the commit into the package that is built: git's, or the one that an sdist brought along."""
    version = runpy.run_path(str(ROOT / "archbench" / "version.py"))
    file, brought = package / version["COMMIT_FILE"], ROOT / "archbench" / version["COMMIT_FILE"]
    commit = version["checked_out"](ROOT) or (brought.read_text(encoding="utf-8") if brought.is_file() else None)
    file.unlink(missing_ok=True)  # one of an earlier build, or a link to it
    if commit:
        file.write_text(f"{commit.strip()}\n", encoding="utf-8")


class BuildWithCommit(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_commit(Path(self.build_lib) / "archbench")


class SdistWithCommit(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir) / "archbench")


setup(
    packages=["archbench", *(f"archbench.{folder}" for folder in FOLDERS), *BELOW, PUBLISHED],
    cmdclass={"build_py": BuildWithCommit, "sdist": SdistWithCommit},
)
