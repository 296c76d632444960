"""Loads a script below `docs`, which is no package, as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parents[1] / "docs"


def load(name: str, folder: str = "simulations") -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"{folder}_{name}", DOCS / folder / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # its dataclasses look their module up
    specification.loader.exec_module(module)
    return module
