"""Loads a script of `docs/simulations`, which is no package, as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[1] / "docs" / "simulations"


def load(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"simulation_{name}", FOLDER / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # its dataclasses look their module up
    specification.loader.exec_module(module)
    return module
