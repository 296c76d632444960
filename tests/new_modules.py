"""Python modules that are written and rewritten, and read as a new process would read them."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Modules:
    """The modules below ``folder``, which is on Python's path."""

    folder: Path

    def write(self, name: str, text: str) -> None:
        """Writes a file; every module of the folder is loaded anew when it is next imported."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.forget()

    def forget(self) -> None:
        importlib.invalidate_caches()
        for name, module in list(sys.modules.items()):
            if str(vars(module).get("__file__")).startswith(f"{self.folder}{os.sep}"):
                del sys.modules[name]


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[Modules]:
    """Meanwhile Python finds the modules in ``folder``; afterwards there are none of them."""
    modules = Modules(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(folder)
        yield modules
    modules.forget()
