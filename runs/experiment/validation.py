"""Turns pydantic's errors about an experiment into one line that names the key and the nearest known one.

quick.toml: tasks[1].tokeniser: unknown key; did you mean "tokenizer"?
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from archbench.tasks.base.errors import InputError, shortened

TABLES = ("training", "budget", "model")  # whose keys are searched for one that is in the wrong table
ALIASES = {  # names of other programs
    "batch": "batch_tokens",
    "batch_size": "batch_tokens",
    "d_model": "width",
    "dtype": "precision",
    "grad_clip": "clip",
    "hidden_size": "width",
    "layers": "depth",
    "lr": "learning_rate",
    "n_heads": "heads",
    "n_layers": "depth",
    "num_heads": "heads",
    "num_layers": "depth",
    "params": "parameters",
    "seed": "seeds",
    "vocab_size": "vocabulary",
    "wd": "weight_decay",
}

Checked = TypeVar("Checked", bound=BaseModel)
Detail = Mapping[str, Any]


def validated(model: type[Checked], data: object) -> Checked:
    """``data`` as a ``model``; raises ``InputError`` for its first error, unknown keys first."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        details.sort(key=lambda detail: detail["type"] != "extra_forbidden")
        raise InputError(_line(model, details[0])) from None


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean "decoder"?`` for a near miss; otherwise the known words in parentheses."""
    words = list(dict.fromkeys(known))
    lower = {candidate.lower(): candidate for candidate in words}
    close = [known for known in lower if word and known.startswith(word.lower())]
    close = close or difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.5)
    return f'; did you mean "{lower[close[0]]}"?' if close else f" (known: {', '.join(words) or 'none'})"


def require(word: str, known: Iterable[str], message: str) -> None:
    """Raises ``InputError`` with this message and the nearest known word where ``word`` is none of them."""
    words = list(known)
    if word not in words:
        raise InputError(f"{message}{nearest(word, words)}")


def printable(value: object) -> str:
    """A value as messages show it: on one line, at most 60 characters."""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return shortened(text)


def key_path(location: Sequence[int | str]) -> str:
    """``("tasks", 1, "data")`` as ``tasks[1].data``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" if path else shortened(part)
    return path


def _line(model: type[BaseModel], detail: Any) -> str:
    location = tuple(detail["loc"])
    describe = _MESSAGES.get(detail["type"])
    message = describe(detail) if describe else str(detail["msg"])
    if detail["type"] == "extra_forbidden":
        message += _meant(model, location)
    return f"{key_path(location)}: {message}" if location else message


def _meant(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """The key that an unknown one may stand for: by its usual name elsewhere, in another table, or by spelling."""
    word, here = str(location[-1]), _at(model, location[:-1])
    key = ALIASES.get(word.lower(), word)
    if key in here.model_fields:
        return f'; did you mean "{key}"?'
    if place := _within(here, key) or _within(model, key):
        return f'; did you mean "{place}"?'
    tasks = model.model_fields.get("tasks")
    task = _table(tasks.annotation) if tasks else None
    if task is not None and key in task.model_fields:
        return f'; did you mean "{key}" under [[tasks]]?'
    return nearest(word, here.model_fields)


def _within(table: type[BaseModel], key: str) -> str:
    """A key of the table, or of a table in it, as a dotted path; empty if it has none."""
    if key in table.model_fields:
        return key
    inner = {name: _table(table.model_fields[name].annotation) for name in TABLES if name in table.model_fields}
    return next((f"{name}.{key}" for name, of in inner.items() if of is not None and key in of.model_fields), "")


def _at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The table of ``model`` at ``location``."""
    for part in location:
        if part in model.model_fields:  # otherwise a name that the user chose
            model = _table(model.model_fields[str(part)].annotation) or model
    return model


def _table(annotation: Any) -> type[BaseModel] | None:
    """The table inside ``Table``, ``Table | None`` or ``tuple[Table, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_table(argument) for argument in getattr(annotation, "__args__", ()))
    return next((table for table in inner if table), None)


def _expected(what: str) -> Callable[[Detail], str]:
    return lambda detail: f"{printable(detail['input'])}: expected {what}"


def _literal(detail: Detail) -> str:
    expected = str(detail["ctx"]["expected"]).replace("'", '"').replace("True", "true").replace("False", "false")
    return f"{printable(detail['input'])}: expected {expected}"


def _unlisted(detail: Detail) -> str:
    if isinstance(detail["input"], dict):
        return f"is one table; expected a list of them, each under [[{detail['loc'][-1]}]]"
    return f"{printable(detail['input'])}: expected a list in brackets"


def _short(least: int) -> str:
    return "is empty; give at least one" if least == 1 else f"expected at least {least} values"


def _bound(sign: str, key: str) -> Callable[[Detail], str]:
    return lambda detail: f"{printable(detail['input'])}: expected {sign} {detail['ctx'][key]}"


_MESSAGES: dict[str, Callable[[Detail], str]] = {
    "missing": lambda detail: "missing; every experiment needs it" if len(detail["loc"]) == 1 else "missing",
    "extra_forbidden": lambda detail: "unknown key",
    "string_type": _expected("text in quotes"),
    "int_type": _expected("a whole number"),
    "int_from_float": _expected("a whole number"),
    "float_type": _expected("a number"),
    "finite_number": _expected("a finite number"),
    "tuple_type": lambda detail: _unlisted(detail),
    "dict_type": _expected("a table"),
    "bool_type": _expected("true or false"),
    "too_long": lambda detail: f"expected at most {detail['ctx']['max_length']} values",
    "model_type": _expected("a table"),
    "model_attributes_type": _expected("a table"),
    "literal_error": _literal,
    "string_too_short": lambda detail: "is empty",
    "too_short": lambda detail: _short(detail["ctx"]["min_length"]),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "value_error": lambda detail: str(detail["ctx"]["error"]),
}
