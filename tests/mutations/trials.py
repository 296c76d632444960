"""Tries edits: a forked child imports the edited code, measures what it computes, and asks the contract.

The parent imports torch but nothing of ours, so that every child compiles its own copy of the edited module.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, BinaryIO

import torch
from source_edits import Edit

ROOT = Path(__file__).resolve().parents[2]
EACH = 2  # variants of a family
SECONDS = 120  # for the quick trials of all variants of an edit
LONGER = 300  # for the trials of ``check`` of a variant
ERROR = re.compile(r"^\w*(Error|Exception|Warning|Interrupt)\b.*\(.*:\d+\)$", re.DOTALL)
LOAD = "the variant cannot be loaded"
ENDLESS = "the variant does not end"


@dataclass(frozen=True)
class VariantVerdict:
    """What became of an edit in one variant.

    ``changed`` names what it computes otherwise (None: nothing). ``check`` is the first check that refused it (None:
    all hold), with the ``problem`` that it found; ``by_error`` where the code raised an error, not a property failed;
    ``trials`` names those that refused it.
    """

    variant: str
    changed: str | None
    check: str | None = None
    problem: str = ""
    by_error: bool = False
    trials: str = "quick"


@dataclass(frozen=True)
class Original:
    """What a variant computes unedited, and the functions of ours that it runs: (path, qualified name)."""

    family: str
    values: dict[str, Any]
    functions: frozenset[tuple[str, str]]


def originals(names: Sequence[str]) -> dict[str, Original]:
    """The built-in variants and ablations of these names, unedited, measured in a child.

    Raises ``RuntimeError`` where the contract refuses one, or a probe fails on it: a score would mean nothing.
    """

    def measure(out: BinaryIO) -> None:
        from archbench.architectures import contract
        from archbench.architectures.catalogue import catalogue
        from mutations.behaviour import behaviour

        by_name = {}
        for name in names:
            with _recorded() as functions:
                variant = catalogue.find(name)
                values = behaviour(variant.build)
            broken = [result.name for result in contract.results(variant.build) if result.problem is not None]
            assert not broken, f"{name} breaks the contract unedited ({', '.join(broken)}): every edit would be refused"
            by_name[name] = Original(variant.family, values, frozenset(functions))
        pickle.dump(by_name, out)

    data = _in_child(measure, SECONDS * len(names))
    assert data is not None, "measuring the built-in variants did not end"
    by_name: dict[str, Original] = pickle.loads(data)
    return by_name


def tried(edit: Edit | None, known: dict[str, Original]) -> list[VariantVerdict]:
    """The verdicts on an edit (None: the code as it is) in variants that run the edited function.

    First up to ``EACH`` variants of every family; where it changes none of them, the others until it changes one.
    What the quick trials do not refuse, the trials of ``check`` try.
    """
    names = [name for name, original in known.items() if edit is None or runs(original, edit)]
    first = [name for place, name in enumerate(names) if _rank(known, names[: place + 1]) <= EACH]
    later = [name for name in names if name not in first]

    def judge(out: BinaryIO) -> None:
        changed = False
        for name in (*first, *later):
            if changed and name in later:
                break
            out.write(name.encode() + b"\t")
            out.flush()
            verdict = _verdict(name, known[name])
            changed = changed or verdict.changed is not None
            out.write(json.dumps(asdict(verdict)).encode() + b"\n")
            out.flush()

    lines = (_in_child(judge, SECONDS, edit) or b"").decode().splitlines()
    parts = [line.partition("\t") for line in lines]
    verdicts = [
        VariantVerdict(**json.loads(text)) if text else VariantVerdict(name, ENDLESS, ENDLESS, by_error=True)
        for name, _, text in parts
    ]
    return [_tried_longer(verdict, edit) for verdict in verdicts]


def _tried_longer(verdict: VariantVerdict, edit: Edit | None) -> VariantVerdict:
    """The verdict of the trials of ``check``, where the quick ones refused nothing."""
    if verdict.changed is None or verdict.check is not None:
        return verdict

    def judge(out: BinaryIO) -> None:
        from archbench.architectures import contract
        from archbench.architectures.catalogue import catalogue

        build = catalogue.find(verdict.variant).build
        out.write(json.dumps(asdict(_judged(verdict, build, contract.USUAL))).encode())

    text = _in_child(judge, LONGER, edit)
    return VariantVerdict(**json.loads(text)) if text else replace(verdict, check=ENDLESS, trials="usual")


def _rank(known: dict[str, Original], names: list[str]) -> int:
    """How many of ``names`` are of the last one's family."""
    return sum(known[name].family == known[names[-1]].family for name in names)


def prepared() -> None:
    """What PyTorch does once in a process, done before children are made."""
    torch.set_num_threads(1)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    layer = torch.nn.Linear(4, 4)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False):
        layer(torch.ones(2, 4))
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.ones(2, 4)).sum().backward()
    torch.optim.Adam(layer.parameters()).step()
    assert not any(name.partition(".")[0] == "archbench" for name in sys.modules), "our code is imported already"


def _verdict(name: str, original: Original) -> VariantVerdict:
    from archbench.architectures import contract
    from archbench.architectures.catalogue import catalogue
    from archbench.tasks.base.errors import InputError
    from mutations.behaviour import difference

    try:
        variant = catalogue.find(name)
    except InputError as error:
        return VariantVerdict(name, LOAD, LOAD, str(error), by_error=True)
    verdict = VariantVerdict(name, difference(variant.build, original.values))
    return verdict if verdict.changed is None else _judged(verdict, variant.build, contract.QUICK)


def _judged(verdict: VariantVerdict, build: Callable[..., Any], trials: Any) -> VariantVerdict:
    """``verdict`` with the first check that refuses the edited variant under these trials."""
    from archbench.architectures import contract

    for result in contract.results(build, trials=trials):
        if result.problem is not None:
            by_error = bool(ERROR.search(result.problem))
            return replace(verdict, check=result.name, problem=result.problem, by_error=by_error, trials=trials.name)
    return verdict


def runs(original: Original, edit: Edit) -> bool:
    """Whether a variant runs the edited function."""
    return (edit.path, edit.function) in original.functions


@contextlib.contextmanager
def _recorded() -> Iterator[set[tuple[str, str]]]:
    """Functions below ``ROOT`` that are called meanwhile: path and qualified name, without ``<locals>`` and lambdas."""
    codes: set[CodeType] = set()

    def called(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    functions: set[tuple[str, str]] = set()
    sys.setprofile(called)
    try:
        yield functions
    finally:
        sys.setprofile(None)
        for code in codes:
            path = Path(code.co_filename)
            if path.is_relative_to(ROOT):
                names = code.co_qualname.split(".")
                plain = [name for name in names if not name.startswith("<")]
                functions.add((path.relative_to(ROOT).as_posix(), ".".join(plain)))


class _Edited(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from its edited source."""

    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        self.name = "archbench." + edit.path.removesuffix(".py").replace("/", ".")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.get_filename(name), loader=self)

    def get_filename(self, name: str) -> str:
        return str(ROOT / self.edit.path)

    def get_data(self, path: str) -> bytes:
        return self.edit.applied(Path(path).read_text()).encode()


def _in_child(work: Callable[[BinaryIO], None], seconds: float, edit: Edit | None = None) -> bytes | None:
    """What ``work`` writes, done in a child process; what was written so far where it fails or takes too long."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(errors.fileno(), 2)
                if edit is not None:
                    sys.meta_path.insert(0, _Edited(edit))
                work(out)
                out.flush()
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        exit_status = _awaited(child, seconds)
        out.seek(0)
        if exit_status not in (0, None):
            errors.seek(0)
            raise RuntimeError(f"a child failed: {errors.read().decode(errors='replace')[-2000:]}")
        return out.read()


def _awaited(child: int, seconds: float) -> int | None:
    """The status with which a child ends; None where it is killed after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        process, status = os.waitpid(child, os.WNOHANG)
        if process:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
