"""From a name or a path to a variant: built-in and users' files, other packages' entry points, ``transformers``.

Whatever code of a user raises, ``SystemExit`` and ``KeyboardInterrupt`` too, is an ``InputError``; signals are not.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from archbench.architectures import ablations, variants
from archbench.architectures.ablations import ABLATIONS
from archbench.architectures.catalogue import sources
from archbench.architectures.catalogue.sandbox import limited
from archbench.architectures.families.builtin import FAMILIES
from archbench.architectures.families.family import Family
from archbench.architectures.families.masking import Told
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import STOCK, Variant
from archbench.tasks.base import code
from archbench.tasks.base.errors import InputError, irregular, is_signalled, one_line

ENTRY_POINTS = "archbench.variants"
SMALL = Size(dim=16, heads=2, depth=1, hidden=16), Limits(vocabulary=16, source_length=4, target_length=4)


def names() -> list[str]:
    """Names of the built-in variants, of those that installed packages offer, and of stock ``transformers`` models."""
    return [*_variants(), *sorted(offered()), *STOCK]


def offered() -> dict[str, str]:
    """Variants that installed packages offer under further names: where each is, by name; none is imported."""
    return code.offered(ENTRY_POINTS, {*_variants(), *ABLATIONS, *STOCK})


def ablated() -> list[str]:
    """Names of the built-in ablations, which stand apart from the variants."""
    return sorted(ABLATIONS)


def find(name: str, folder: Path | None = None) -> Variant:
    """The variant called ``name``, or the file or checkpoint at path ``name`` (relative to ``folder``) or on the hub.

    A variant file is run as Python code, and only when it is named here. Raises ``InputError``.
    """
    if name.startswith("hub:"):
        from archbench.architectures.conversion import checkpoint, hub

        return replace(checkpoint.variant(hub.folder(name)), name=name.removeprefix(hub.PREFIX))
    path = _path(name, folder)
    if name.endswith(".py"):
        return _from_file(path)
    if name in STOCK:
        from archbench.architectures.formats import stock  # transformers takes seconds to import

        return stock.variant(name)
    if _is_folder(name):
        from archbench.architectures.conversion import checkpoint

        return checkpoint.variant(path)
    if is_builtin(name):
        return _builtin(name.replace("_", "-"))
    entry = code.entry(ENTRY_POINTS, name)
    if entry is not None:
        module = _loaded(entry)
        return _checked(name, module, sources.text(_file(module, name), offered_with(entry)))
    if path.is_dir():
        raise InputError(f'architectures: "{name}" is a folder; give it as "./{name}" to score the checkpoint in it')
    raise InputError(f'architectures: no architecture is called "{name}"; {_hint(name, path)}')


def is_foreign(name: str) -> bool:
    """True if an architecture is code of the user or of another package, which gets a process of its own."""
    return name.endswith(".py") or (
        not _is_folder(name) and not is_builtin(name) and bool(code.entry(ENTRY_POINTS, name))
    )


def foreign_file(name: str, folder: Path | None = None) -> Path:
    """The file of a foreign variant, which is not run. Raises ``InputError`` where there is none."""
    if name.endswith(".py"):
        return _checked_path(_path(name, folder))
    entry = code.entry(ENTRY_POINTS, name)
    file = sources.module_file(entry.module) if entry is not None else None
    if entry is None or file is None:
        where = entry.value if entry is not None else name
        raise InputError(
            f"architectures: {name} of another package ({where}) cannot be loaded: there is no such module"
        )
    return file


def _path(name: str, folder: Path | None) -> Path:
    """Where an architecture would be, if its name is a path. Raises ``InputError`` for a name that cannot be one."""
    return code.named_path(name, folder or Path(), "architectures")


def _checked_path(path: Path) -> Path:
    if unreadable := irregular(path):
        raise InputError(f"{path}: {unreadable}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such variant file")
    return path


def _file(module: ModuleType, name: str) -> Path:
    if module.__file__ is None:
        raise InputError(f"architectures: {name} of another package: its module {module.__name__} has no file")
    return Path(module.__file__)


def _hint(name: str, path: Path) -> str:
    """A suggestion for an unknown name."""
    if path.with_name(f"{path.name}.py").is_file():
        return f'did you mean "{name}.py"?'
    near = [] if ":" in name else difflib.get_close_matches(name, [*names(), *ablated()], 1)
    if near:
        return f'did you mean "{near[0]}"?'
    return f"known: {', '.join(names())}, an ablation, or the path of a .py file or of a checkpoint's folder"


def is_code(name: str) -> bool:
    """True if an architecture is a file of Python code, a copy of which is the same variant.

    Those of other packages, which may consist of more files, and models of ``transformers`` are not.
    """
    return name.endswith(".py") or is_builtin(name)


def _is_folder(name: str) -> bool:
    return "/" in name or os.sep in name


def is_builtin(name: str) -> bool:
    """True if archbench has a variant or an ablation of this name."""
    return name.replace("_", "-") in (*_variants(), *ABLATIONS)


def _variants() -> list[str]:
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(variants.__path__))


def _builtin(name: str) -> Variant:
    if name in ABLATIONS:
        return _ablation(name)
    module = importlib.import_module(f"{variants.__name__}.{name.replace('-', '_')}")
    return _checked(name, module, inspect.getsource(module), is_builtin=True)


def _ablation(name: str) -> Variant:
    """An ablation; its text is the table's, which then builds this one: a copy is a variant file."""
    ablation, table = ABLATIONS[name], inspect.getsource(ablations)
    text = table.replace(str(ablations.__doc__), ablation.document, 1) + f'\nbuild = ABLATIONS["{name}"].build\n'
    family = ablation.build(*SMALL).family
    return Variant(
        name, ablations.__file__, True, family, ablation.document, text, Told(ablation.build), breaks=ablation.breaks
    )


def _loaded(entry: importlib.metadata.EntryPoint) -> ModuleType:
    module = code.load_entry(entry, "architectures")
    if not isinstance(module, ModuleType):
        where = f"architectures: {entry.name} of another package ({entry.value})"
        raise InputError(f"{where} is a {type(module).__name__}; expected a module with build(size, limits)")
    return module


def offered_with(entry: importlib.metadata.EntryPoint) -> set[str]:
    """The top-level modules and packages of the distribution that an entry point belongs to, its own among them."""
    files = (entry.dist.files if entry.dist else None) or ()
    names = {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}
    return {entry.module.partition(".")[0], *(name for name in names if not name.startswith("__editable__"))}


def _from_file(path: Path) -> Variant:
    module = _module(_checked_path(path))
    return _checked(path.stem.replace("_", "-"), module, sources.text(path))


def _module(path: Path) -> ModuleType:
    """The module in a variant file, after its code has run."""
    return code.run_file(path, f"variant_{path.stem}", before="", failure="the variant file fails", within=limited())


def _checked(name: str, module: ModuleType, text: str, is_builtin: bool = False) -> Variant:
    """The variant in a module, after a small model of it was built."""
    path = module.__file__ or name
    build = getattr(module, "build", None)
    if not callable(build):
        raise InputError(f"{path}: a variant file needs a function build(size, limits) that returns a model")
    document = (inspect.getdoc(module) or "").split("\n")[0]
    if not document:
        raise InputError(f"{path}:1: a variant file must begin with a docstring that describes it and cites the paper")
    try:
        with limited():
            model = build(*SMALL)
    except BaseException as error:
        if is_signalled(error):
            raise
        line = code.line_in(error, path)
        where = f"{path}:{line}" if line else path
        raise InputError(f"{where}: build(size, limits) fails: {one_line(error)}") from error
    if not isinstance(model, Family):
        known = ", ".join(family.__name__ for family in FAMILIES)
        wanted = f"expected one of {known}, or a subclass of Family"
        raise InputError(f"{path}: build(size, limits) gave a {type(model).__name__}; {wanted}")
    return Variant(name, path, is_builtin, model.family, document, text, Told(build))
