"""The results of the checks for a variant."""

import inspect
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from archbench.architectures.catalogue.sandbox import limited
from archbench.architectures.contract.subject import BrokenError, Build, subject
from archbench.architectures.contract.table import CHECKS, Check
from archbench.architectures.contract.trials import QUICK, Trials
from archbench.tasks.base.errors import is_signalled, one_line


@dataclass(frozen=True)
class Result:
    """The result of a check: ``problem`` if its property fails, ``note`` if it does not apply, else neither."""

    check: Check
    problem: str | None = None
    note: str | None = None

    @property
    def name(self) -> str:
        return str(self.check.__name__)


def results(build: Build, path: str = "", checks: Sequence[Check] = CHECKS, trials: Trials = QUICK) -> Iterator[Result]:
    """Runs every check on a new model, one at a time, on as many inputs as ``trials`` says.

    ``path`` is the variant's file; an error names the line of it that raised.
    """
    for check in checks:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            result = _result(check, build, path, trials)
        yield result


def check(name: str) -> Check:
    """The check of this name."""
    return next(check for check in CHECKS if check.__name__ == name)


def property_of(check: Check) -> str:
    """The property, in a sentence."""
    return _paragraphs(check)[0]


def explanation(check: Check) -> str:
    """Why the property matters, and what to do if it fails."""
    return " ".join(_paragraphs(check)[1:])


def _result(check: Check, build: Build, path: str, trials: Trials) -> Result:
    try:
        with limited():
            return Result(check, note=check(subject(build, trials=trials)))
    except BrokenError as error:
        return Result(check, problem=" ".join(str(error).split()))
    except BaseException as error:
        if is_signalled(error):
            raise
        return Result(check, problem=_error_line(error, path))


def _error_line(error: BaseException, path: str) -> str:
    """``TypeError: what it says (mine.py:12)``, on one line of bounded length."""
    frames = traceback.extract_tb(error.__traceback__)
    variant_frames = [frame for frame in frames if path and frame.filename == path] or frames
    return f"{one_line(error)} ({variant_frames[-1].filename}:{variant_frames[-1].lineno})"


def _paragraphs(check: Check) -> list[str]:
    return [" ".join(text.split()) for text in (inspect.getdoc(check) or "").split("\n\n")]
