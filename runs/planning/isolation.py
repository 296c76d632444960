"""The architectures of a comparison. The code of a user's variant runs in a process of its own.

So no variant can change what another one computes, or how it is planned. The answers of such a process are cached in
``cache/variants`` under the hash of everything that determines them; the next comparison starts no process for known
answers.
"""

import contextlib
import hashlib
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue, sandbox, sources
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import Variant
from archbench.runs.base import child
from archbench.runs.base.plan import Plan
from archbench.runs.experiment.sections import Task
from archbench.runs.planning import compliance, contract_parts, measurements
from archbench.runs.planning.contract_parts import Shape
from archbench.runs.planning.measurements import Measurements
from archbench.runs.scoring import baselines
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError, one_line

FOLDERS = ("architectures", "runs", "tasks")  # whose code an answer depends on
DESCRIBED = ("name", "path", "family", "document", "text")  # of a variant
STANDARD_ERROR = 2  # where a variant's process prints


class Architectures:
    """Finds the architectures of an experiment in ``folder``; close it, or use it as a context.

    Without ``checks``, no contract is checked: for a preview.
    """

    def __init__(self, folder: Path, cache: Path, checks: bool = True) -> None:
        self.folder, self.cache, self.checks = folder, cache, checks
        self._variants: dict[str, Variant] = {}
        self._processes: dict[str, _Process] = {}  # by the path of their variant, and by its name in plans

    def __enter__(self) -> "Architectures":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in set(self._processes.values()):
            process.close()

    def find(self, name_or_path: str) -> Variant:
        """The variant with this name or path; a variant with a process of its own cannot be built in this one."""
        if name_or_path not in self._variants:
            variant = (
                self._isolated(name_or_path)
                if catalogue.is_foreign(name_or_path)
                else catalogue.find(name_or_path, self.folder)
            )
            self._variants[name_or_path] = variant
        return self._variants[name_or_path]

    def checkpoint(self, task: Task) -> Variant:
        """The checkpoint that a task starts from; raises ``InputError``, which names the task's start."""
        try:
            return self.find(task.checkpoint)
        except InputError as error:
            raise InputError(f"tasks.{task.name}.start: {str(error).removeprefix('architectures: ')}") from error

    def measurements(self, variant: Variant) -> Measurements:
        """Measurements of a variant that ``find`` returned."""
        process = self._processes.get(variant.path)
        return Measurements(partial(measurements.answer, variant) if process is None else process.ask)

    def check_contract(self, variant: Variant) -> None:
        """Raises ``InputError`` if a foreign variant breaks the contract, in what needs no plan.

        Its process prints the progress to standard error.
        """
        process = self._processes.get(variant.path)
        if process is not None and self.checks:
            process.ask("contract", self.cache, (), contract.USUAL)

    def check_plans(self, plans: Sequence[Plan]) -> None:
        """Raises ``InputError`` if a foreign variant breaks the contract at the sizes and lengths of its runs."""
        for code, shapes in _shapes(plans).items() if self.checks else ():
            self._processes[code].ask("contract", self.cache, shapes, contract.USUAL)

    def due(self, plans: Sequence[Plan]) -> dict[str, tuple[str, float]]:
        """The checks of each foreign variant before these runs, in words, and their expected time in seconds."""
        asked = {
            code: self._processes[code].ask("due", self.cache, shapes, cached=False)
            for code, shapes in _shapes(plans).items()
        }
        names = {plan.code: plan.architecture for plan in plans}
        return {names[code]: (words, seconds) for code, (words, seconds) in asked.items() if words}

    def make_baselines(self, plan: Plan, root: Path) -> None:
        """Makes the baselines of a data set if they are missing; ``plan`` is of the run that makes them."""
        if not plan.foreign:
            baselines.make_missing(plan, root)
        else:
            self._processes[plan.code].ask("baselines", plan, root, cached=False)

    def _isolated(self, name_or_path: str) -> Variant:
        process = _Process(name_or_path, self.folder, self.cache)
        try:
            described = process.ask("describe")
        except BaseException:
            process.close()
            raise
        variant = Variant(**described, is_builtin=False, build=partial(_refuse, described["name"]))
        self._processes |= {variant.path: process, variant_id(name_or_path, variant): process}
        return variant


def _shapes(plans: Sequence[Plan]) -> dict[str, tuple[Shape, ...]]:
    """The models of the runs of each foreign variant, by its code."""
    codes = dict.fromkeys(plan.code for plan in plans if plan.foreign)
    return {code: contract_parts.shapes(plan for plan in plans if plan.code == code) for code in codes}


def variant_id(name_or_path: str, variant: Variant) -> str:
    """The identifier of a variant in plans, in any process: for a file or checkpoint its path, else the name."""
    has_path = name_or_path.endswith(".py") or variant.checkpoint is not None
    return str(Path(variant.path).resolve()) if has_path else name_or_path


class _Process:
    """One variant's process, which starts at the first question without a cached answer, and its answers."""

    def __init__(self, name_or_path: str, folder: Path, cache: Path) -> None:
        self.name_or_path, self.folder = name_or_path, folder.absolute()
        self.cached = _AnswerCache(cache, name_or_path, catalogue.foreign_text(name_or_path, folder), self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._busy = False

    def ask(self, question: str, *arguments: Any, cached: bool = True) -> Any:
        """The answer, a JSON value; raises ``InputError`` if the variant is wrong or fails."""
        key = _hash(question, arguments)
        if cached and key in self.cached.answers:
            return self.cached.answers[key]
        if self._connection is None:
            command = self.name_or_path, str(self.folder), str(sandbox.SECONDS)
            started = child.start("archbench.runs.planning.isolation:serve", command, child.ONE_THREAD, STANDARD_ERROR)
            self._process, self._connection = started
        answer, problem = self._exchanged(question, arguments)
        if problem:
            raise InputError(problem)
        if cached:
            self.cached.add(key, answer)
        return answer

    def close(self) -> None:
        """Saves the answers and ends the process, immediately if it is still working."""
        if self._connection is None or self._process is None:
            return
        if not self._busy:
            with contextlib.suppress(OSError, EOFError):
                self._connection.send(None)
                self.cached.write(self._connection.recv())
        self._process.kill()
        self._end()

    def _exchanged(self, question: str, arguments: tuple[Any, ...]) -> tuple[Any, str]:
        assert self._connection is not None
        self._busy = True
        try:
            self._connection.send((question, arguments))
            answer, problem = self._connection.recv()
        except (EOFError, OSError):
            words = question.replace("_", " ")
            raise InputError(
                f"{self.name_or_path}: its code ends its process ({child.describe_exit(self._end())}; {words})"
            ) from None
        self._busy = False
        return answer, problem

    def _end(self) -> int:
        """Waits for the process and returns its exit status."""
        assert self._connection is not None and self._process is not None
        self._connection.close()
        self._connection = None
        return child.wait_or_kill(self._process)


class _AnswerCache:
    """Answers about a variant in a file; valid as long as every module that it loaded is unchanged."""

    def __init__(self, cache: Path, name_or_path: str, text: str, folder: Path) -> None:
        key = compliance.digest([name_or_path, str(folder), text], FOLDERS)
        self.path = cache / "variants" / f"{key}.json"
        self.answers: dict[str, Any] = {}  # by the hash of the question
        self._changed = False
        with contextlib.suppress(InputError, KeyError, TypeError, AttributeError):
            recorded = sealed.read_sealed(self.path) if self.path.is_file() else {"loaded": {}, "answers": {}}
            if all(_sha256(path) == digest for path, digest in recorded["loaded"].items()):
                self.answers = dict(recorded["answers"])

    def add(self, key: str, answer: Any) -> None:
        self.answers[key], self._changed = answer, True

    def write(self, loaded: dict[str, str]) -> None:
        """Saves the answers, with the SHA-256 of the modules that the variant has loaded, by path."""
        if self._changed:
            with contextlib.suppress(OSError):  # otherwise they are computed again
                sealed.write_sealed(self.path, {"loaded": loaded, "answers": self.answers})


def serve(connection: Connection, name_or_path: str, folder: str, seconds: str) -> None:
    """The main loop of a variant's process: answers questions; at the end it reports the modules that were loaded.

    ``seconds`` is the limit for each piece of the variant's work.
    """
    sandbox.SECONDS = float(seconds)
    while (request := connection.recv()) is not None:
        question, arguments = request
        connection.send(_attempt(name_or_path, Path(folder), question, arguments))
    connection.send({path: _sha256(path) for path in sources.loaded_files()})
    connection.recv()  # until the parent ends this process


def _attempt(name_or_path: str, folder: Path, question: str, arguments: tuple[Any, ...]) -> tuple[Any, str]:
    """An answer, or the reason why there is none."""
    try:
        variant = _variant(name_or_path, folder)
        if question in _ANSWERS:
            return _ANSWERS[question](variant, *arguments), ""
        return measurements.answer(variant, question, *arguments), ""
    except InputError as error:
        return None, str(error)
    except Exception as error:
        return None, f"{name_or_path}: {question.replace('_', ' ')} fails: {one_line(error)}"


@lru_cache(maxsize=1)
def _variant(name_or_path: str, folder: Path) -> Variant:
    return catalogue.find(name_or_path, folder)


def _describe(variant: Variant) -> dict[str, str]:
    return {key: getattr(variant, key) for key in DESCRIBED}


def _contract(variant: Variant, cache: Path, planned: Sequence[Shape], trials: contract.Trials) -> None:
    compliance.require_contract(variant, cache, partial(print, file=sys.stderr, flush=True), planned, trials)


def _due(variant: Variant, cache: Path, planned: Sequence[Shape]) -> tuple[str, float]:
    missing = compliance.due(variant, cache, planned).values()
    return contract_parts.in_words(missing), contract_parts.seconds(missing)


def _baselines(variant: Variant, plan: Plan, root: Path) -> None:
    baselines.make_missing(plan, root)


_ANSWERS: dict[str, Callable[..., Any]] = {
    "describe": _describe,
    "contract": _contract,
    "due": _due,
    "baselines": _baselines,
}


def _refuse(name: str, size: Size, limits: Limits) -> NoReturn:
    raise AssertionError(f"{name} is built in its own process only")


def _hash(question: str, arguments: tuple[Any, ...]) -> str:
    """A key for a question; equal questions may get different keys, at the cost of asking again."""
    return hashlib.sha256(pickle.dumps((question, arguments))).hexdigest()


def _sha256(path: str) -> str:
    """SHA-256 of a file's content; "" if it cannot be read."""
    try:
        return sealed.sha256(Path(path))
    except OSError:
        return ""
