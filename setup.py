"""The packages: `archbench`, and the four folders below it (everything else stands in pyproject.toml)."""

from setuptools import find_packages, setup

FOLDERS = ("architectures", "tasks", "runs", "reports")
BELOW = [f"archbench.{folder}.{name}" for folder in FOLDERS for name in find_packages(folder)]
setup(packages=["archbench", *(f"archbench.{folder}" for folder in FOLDERS), *BELOW])
