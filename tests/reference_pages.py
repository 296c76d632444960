"""What the committed tables below `docs/reference` give, made once for each test process."""

import functools
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from archbench.reports.base import tables
from archbench.reports.figures import figures
from archbench.reports.figures.canvas.drawing import Drawing
from archbench.reports.figures.figure import DrawnFigure, Figure
from archbench.reports.page import page
from archbench.reports.report import Report

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
NAMES = sorted(path.parent.name for path in REFERENCE.glob("*/tables"))
INSIDE = sorted(path.parent.name for path in REFERENCE.glob("inside/*/inspection.json"))


@functools.cache
def build_script(name: str = "build") -> ModuleType:
    """A script in `docs/reference`: `build.py`, which `make reference` runs, or `publish.py`."""
    module_spec = importlib.util.spec_from_file_location(f"{name}_reference", REFERENCE / f"{name}.py")
    assert module_spec is not None and module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    module_spec.loader.exec_module(module)
    return module


def copy_tables(root: Path, names: Sequence[str]) -> Path:
    """A folder with nothing but the Parquet tables and inspections of these pages."""
    for name in names:
        (root / name).mkdir(parents=True)
        if name.startswith("inside/"):
            shutil.copy(REFERENCE / name / "inspection.json", root / name)
        else:
            (root / name / "tables").mkdir()
            for path in (REFERENCE / name / "tables").glob("*.parquet"):
                shutil.copy(path, root / name / "tables")
    return root


@functools.cache
def judged(name: str) -> Report:
    return Report(tables.read(REFERENCE / name / "tables"))


@functools.cache
def drawn(name: str) -> tuple[Figure, ...]:
    """The figures of a page: their numbers; panels are drawn when they are looked at."""
    return tuple(figures.figures(judged(name)))


@functools.cache
def undrawn_page(name: str) -> str:
    """The page without its drawings."""
    empty = Drawing({"svg": b"<svg/>"}, ())
    return page.render(judged(name), [DrawnFigure(replace(figure, panels=()), empty) for figure in drawn(name)])
