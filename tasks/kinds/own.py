"""Calls the functions of a kind that is not archbench's own, and checks what they return.

Whatever is wrong becomes an ``InputError`` of one line: the file, the function, what was expected and what was given.
"""

import math
import numbers
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from archbench.tasks.base import code
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError, is_signalled, one_line, shortened
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score

METRIC = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
COLUMNS = ("run", "example", "source", "reference", "answer", "log_likelihood", "log_likelihood_shuffled", "correct",
           "bytes")  # fmt: skip
STRATEGIES = ("greedy", "sample", "beam")  # that every family can follow
LARGE = 1e-6  # relative difference of a mean from what it should be


def measure(kind: TaskKind, prepared: Prepared, outputs: Outputs) -> list[Score]:
    """The scores of the kind's ``measure`` with plain numbers. Raises ``InputError`` where it fails or they are wrong.

    ``per_example`` has one number for each example: those without an answer, if left out, get NaN.
    """
    assert kind.measure is not None
    where = where_in(kind, "measure", prepared)
    scores = _list_of(Score, _called(kind, "measure", prepared, outputs), where)
    for score in scores:
        for wrong in _mistakes(score, len(outputs.references), len(outputs.answers)):
            raise InputError(f"{where}: {shortened(str(score.metric))}: {wrong}")
    names = [score.metric for score in scores]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'{where}: gave "{name}" {names.count(name)} times; expected each metric once')
    return [plain(score, len(outputs.references)) for score in scores]


def decoding(kind: TaskKind, prepared: Prepared) -> Decoding:
    """The kind's ``decoding``. Raises ``InputError`` where it fails or returns anything but a Decoding."""
    assert kind.decoding is not None
    where = where_in(kind, "decoding", prepared)
    chosen = _called(kind, "decoding", prepared)
    if not isinstance(chosen, Decoding):
        raise InputError(f"{where}: gave {_described(chosen)}; expected a Decoding")
    counts = {key: getattr(chosen, key) for key in ("max_tokens", "count", "beams", "top_k")}
    for key, count in counts.items():
        least = 1 if key in ("max_tokens", "beams") else 0
        if not isinstance(count, int) or isinstance(count, bool) or count < least:
            raise InputError(f"{where}: {key} = {_described(count)}; expected a whole number, at least {least}")
    for key in ("temperature", "top_p", "length_penalty"):
        if not _is_number(getattr(chosen, key)):
            raise InputError(f"{where}: {key} = {_described(getattr(chosen, key))}; expected a number")
    if chosen.strategy not in STRATEGIES:
        raise InputError(f"{where}: strategy = {_described(chosen.strategy)}; expected {', '.join(STRATEGIES)}")
    return chosen


def baselines(kind: TaskKind, prepared: Prepared) -> list[Baseline]:
    """The kind's ``baselines``. Raises ``InputError`` where it fails or a value is not a number."""
    assert kind.baselines is not None
    where = where_in(kind, "baselines", prepared)
    rows = _list_of(Baseline, _called(kind, "baselines", prepared), where)
    for row in rows:
        if not all(isinstance(text, str) and text for text in (row.name, row.split, row.metric)):
            raise InputError(f"{where}: gave {shortened(str(row), 200)}; expected strings for name, split and metric")
        if not _is_number(row.value):
            raise InputError(f"{where}: {row.name}: value = {_described(row.value)}; expected a number")
    return [replace(row, value=float(row.value)) for row in rows]


def where_in(kind: TaskKind, name: str, prepared: Prepared, error: BaseException | None = None) -> str:
    """``tasks.sums.kind: sums.py:12: measure``, with the line of an error, else of the function, where it is known."""
    path, own_code = str(Path(kind.origin).absolute()), getattr(getattr(kind, name), "__code__", None)
    line = None if error is None else code.line_in(error, path)
    if line is None and own_code is not None and own_code.co_filename == path:
        line = own_code.co_firstlineno
    return f"tasks.{prepared.name}.kind: {kind.origin}{f':{line}' if line else ''}: {name}"


def _called(kind: TaskKind, name: str, prepared: Prepared, *given: Any) -> Any:
    try:
        return getattr(kind, name)(prepared, *given)
    except BaseException as error:
        if is_signalled(error):
            raise
        raise InputError(f"{where_in(kind, name, prepared, error)}: fails: {one_line(error)}") from error


def _list_of(wanted: type, given: Any, where: str) -> list[Any]:
    """The elements of a list or tuple, all of the ``wanted`` type."""
    if not isinstance(given, list | tuple):
        raise InputError(f"{where}: gave {_described(given)}; expected a list of {wanted.__name__}")
    for element in given:
        if not isinstance(element, wanted):
            raise InputError(f"{where}: gave {_described(element)} in its list; expected only {wanted.__name__}")
    return list(given)


def _mistakes(score: Score, examples: int, answers: int) -> Iterator[str]:
    if not isinstance(score.metric, str) or not METRIC.fullmatch(score.metric) or score.metric in COLUMNS:
        yield f"metric = {_described(score.metric)}; expected a name of letters, digits and _, no column of predictions"
    for key in ("value", "lower", "upper"):
        if not _is_number(getattr(score, key)):
            yield f"{key} = {_described(getattr(score, key))}; expected a number"
    if score.lower > score.upper:
        yield f"lower = {score.lower:g} is above upper = {score.upper:g}; expected the ends of an interval"
    if not isinstance(score.n, numbers.Integral) or isinstance(score.n, bool) or score.n < 1:
        yield f"n = {_described(score.n)}; expected the number of examples that were scored"
    yield from _mistakes_per_example(score, examples, answers)


def _mistakes_per_example(score: Score, examples: int, answers: int) -> Iterator[str]:
    given = score.per_example
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str | bytes):
        yield f"per_example = {_described(given)}; expected a tuple with a number for each example"
        return
    if len(given) not in (0, examples, answers):
        answered = f" (or the first {answers:,}, which have answers)" if answers not in (0, examples) else ""
        yield (
            f"per_example has {len(given):,} values; expected one for each of the {examples:,} examples{answered}, "
            "NaN for an example without a value"
        )
    for index, value in enumerate(given):
        if not isinstance(value, numbers.Real | np.bool_):
            yield f"per_example[{index}] = {_described(value)}; expected a number"
    mean = _mean(given)
    if len(given) and not math.isclose(mean, score.value, rel_tol=LARGE, abs_tol=LARGE):
        yield f"the mean of per_example is {mean:g} and value = {score.value:g}; expected the same"


def _mean(values: Any) -> float:
    known = np.array([float(value) for value in values])
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else math.nan


def plain(score: Score, examples: int) -> Score:
    """A score of Python's own numbers, with NaN for the last of the examples if these have no value."""
    values = [float(value) for value in score.per_example]
    values += [math.nan] * (examples - len(values)) if values else []
    return Score(score.metric, float(score.value), float(score.lower), float(score.upper), int(score.n), tuple(values))


def _is_number(value: Any) -> bool:
    """True for a number, possibly infinite; False for NaN, truth values and tensors."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and not math.isnan(value)


def _described(value: Any) -> str:
    """A plain value itself, else its type."""
    if value is None or isinstance(value, str | bytes | numbers.Number | np.bool_):
        return shortened(repr(value))
    return f"a {type(value).__name__}"
