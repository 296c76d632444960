"""The architectures of a comparison. The code of a user's variant runs in a process of its own.

So no variant can change what another one computes, or how it is planned. The process lives as long as the comparison is
planned, since each question depends on earlier answers.
"""

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import Variant
from archbench.runs.budgets import compliance, contract_parts, measurements
from archbench.runs.budgets.contract_parts import Shape
from archbench.runs.budgets.measurements import Measurements
from archbench.runs.experiment.sections import Task
from archbench.runs.machine.own_process import FailedError, OwnProcess
from archbench.runs.plans.plan import Plan
from archbench.tasks.base.errors import InputError

DESCRIBED = ("name", "family", "document", "text")  # what a variant's code says of it


class Architectures:
    """Finds the architectures of an experiment in ``folder``; close it, or use it as a context.

    Without ``checks``, no contract is checked: for a preview.
    """

    def __init__(self, folder: Path, cache: Path, checks: bool = True) -> None:
        self.folder, self.cache, self.checks = folder, cache, checks
        self._variants: dict[str, Variant] = {}
        self._questions: dict[str, _Questions] = {}  # by the path of their variant, and by its name in plans

    def __enter__(self) -> "Architectures":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for questions in self._questions.values():
            questions.process.close()

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
        questions = self._questions.get(variant.path)
        return Measurements(partial(measurements.answer, variant) if questions is None else questions.ask)

    def check_contract(self, variant: Variant) -> None:
        """Raises ``InputError`` if a foreign variant breaks the contract, in what needs no plan.

        Its process prints the progress to standard error.
        """
        questions = self._questions.get(variant.path)
        if questions is not None and self.checks:
            questions.ask("contract", self.cache, (), contract.USUAL)

    def check_plans(self, plans: Sequence[Plan]) -> None:
        """Raises ``InputError`` if a foreign variant breaks the contract at the sizes and lengths of its runs."""
        for code, shapes in _shapes(plans).items() if self.checks else ():
            self._questions[code].ask("contract", self.cache, shapes, contract.USUAL)

    def due(self, plans: Sequence[Plan]) -> dict[str, tuple[str, float]]:
        """The checks of each foreign variant before these runs, in words, and their expected time in seconds."""
        asked = {code: self._questions[code].ask("due", self.cache, shapes) for code, shapes in _shapes(plans).items()}
        names = {plan.variant: plan.architecture for plan in plans}
        return {names[code]: (words, seconds) for code, (words, seconds) in asked.items() if words}

    def _isolated(self, name_or_path: str) -> Variant:
        folder = self.folder.absolute()
        path = str(catalogue.foreign_file(name_or_path, folder))
        questions = self._questions[path] = _Questions(name_or_path, folder)
        described = questions.ask("describe")
        variant = Variant(**described, path=path, is_builtin=False, build=partial(_refuse, described["name"]))
        self._questions[variant_id(name_or_path, variant)] = questions
        return variant


def _shapes(plans: Sequence[Plan]) -> dict[str, tuple[Shape, ...]]:
    """The models of the runs of each foreign variant, by its code."""
    codes = dict.fromkeys(plan.variant for plan in plans if plan.foreign)
    return {code: contract_parts.shapes(plan for plan in plans if plan.variant == code) for code in codes}


def variant_id(name_or_path: str, variant: Variant) -> str:
    """The identifier of a variant in plans, in any process: for a file or checkpoint its path, else the name."""
    has_path = name_or_path.endswith(".py") or variant.checkpoint is not None
    return str(Path(variant.path).resolve()) if has_path else name_or_path


class _Questions:
    """Questions about one variant, answered in its own process."""

    def __init__(self, name_or_path: str, folder: Path) -> None:
        self.name_or_path, self.folder, self.process = name_or_path, folder, OwnProcess()

    def ask(self, question: str, *arguments: Any) -> Any:
        """The answer, a JSON value; raises ``InputError`` if the variant is wrong or fails."""
        try:
            return self.process.call(f"{__name__}:answer", self.name_or_path, self.folder, question, arguments)
        except FailedError as error:
            words = question.replace("_", " ")
            raise InputError(f"{self.name_or_path}: {words} fails: {error}") from error


def answer(name_or_path: str, folder: Path, question: str, arguments: tuple[Any, ...], **_: Any) -> Any:
    """The answer to a question about a variant, in its own process."""
    variant = _variant(name_or_path, folder)
    if question in _ANSWERS:
        return _ANSWERS[question](variant, *arguments)
    return measurements.answer(variant, question, *arguments)


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


_ANSWERS: dict[str, Callable[..., Any]] = {"describe": _describe, "contract": _contract, "due": _due}


def _refuse(name: str, size: Size, limits: Limits) -> NoReturn:
    raise AssertionError(f"{name} is built in its own process only")
