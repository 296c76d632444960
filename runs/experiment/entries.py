"""The tables of an experiment file as they are written."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WrapValidator, model_validator

from archbench.runs.experiment.keys import Section
from archbench.runs.experiment.sections import (
    FINETUNE,
    SCRATCH,
    Adapt,
    ComparedKeys,
    Draw,
    InheritedKeys,
    Keys,
    Named,
    StartKeys,
    TaskKeys,
    TextKeys,
    Tokenizer,
    Tuned,
)
from archbench.runs.experiment.validation import printable, require
from archbench.runs.experiment.values import (
    Length,
    Listed,
    Name,
    Names,
    NamesOrPaths,
    Number,
    OneOrList,
    Pair,
    Positive,
    SeedsOrCount,
    Whole,
    Word,
    listed,
    unique,
    whole,
)
from archbench.tasks.base import fixed_environment

OBJECTIVES = ("own", "causal", "prefix", "masked", "span-corruption")
Shots = Annotated[Whole, Field(ge=0, le=1_000)]


def _controls(value: object, _: object) -> bool | tuple[str, ...]:
    """True or False for all tasks, or the tasks with controls; an error is one message, not one per alternative."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{printable(value)}: expected true, false or a list of tasks")
    return unique(tuple(value))


def _shares(value: object) -> object:
    """One objective, or the shares of several, as a table of shares that sum to 1."""
    shares = {value: 1.0} if isinstance(value, str) else value
    if not isinstance(shares, dict) or not shares:
        raise ValueError(f"{printable(value)}: expected an objective, or a table like {{ causal = 0.5, prefix = 0.5 }}")
    for name, share in shares.items():
        require(name, OBJECTIVES, f"unknown objective {printable(name)}")
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1e6:
            raise ValueError(f"{name}: {printable(share)}: expected a share above 0")
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def _counts(value: object) -> tuple[Any, ...]:
    """Numbers of examples; "all" becomes 0."""
    given = listed(value)
    items = given if isinstance(given, tuple) else (given,)
    counts = tuple(0 if item == "all" else whole(item) for item in items)
    for item, count in zip(items, counts, strict=True):
        if not isinstance(count, int) or isinstance(count, bool) or count < 0 or (count == 0 and item != "all"):
            raise ValueError(f'{printable(item)}: expected a number of examples or "all"')
    return counts


def _one_count(value: object) -> object:
    if isinstance(value, list | tuple):
        raise ValueError(f'{printable(value)}: expected one number of examples or "all"')
    return _counts(value)[0]


def _number_or_list(value: object) -> object:
    return (value,) if isinstance(value, int) else value


def _mask_rate(value: object) -> object:
    if value != "uniform" and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1):
        raise ValueError(f'{printable(value)}: expected a number between 0 and 1, or "uniform"')
    return value


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Variables for users' files; the names that the caller, archbench or Python sets are refused."""
    for name, value in variables.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{printable(name)}: expected a name of letters, digits and underscores")
        if fixed_environment.passes(name) or name.startswith("PYTHON"):
            raise ValueError(f"{name}: it is set by the caller, archbench or Python; choose another name")
        if "\0" in value:
            raise ValueError(f"{name}: {printable(value)}: the value has a NUL character")
    return variables


class Part(Section):
    """A table over another one, in which None, from a Python call, states nothing."""

    @model_validator(mode="before")
    @classmethod
    def _without_none(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}


class PretrainingEntry(Part, Keys, TextKeys):
    """One ``[[pretraining]]`` table as written: what models are trained on before tasks, by tokens of running text.

    ``tokenizer`` is trained on these data and on the training text of the tasks that start from it. ``objective`` is
    one, or a table of shares; "own" is the usual one of each family. ``mask_rate`` is the part of the tokens that
    "masked" hides (default: ``starts.MASK_RATE``). Missing keys come from the experiment.

    ``from`` goes on from another pretraining: with the weights of ``from_architecture`` (default: the same), which are
    converted where families differ. With ``share``, this part of the tokens comes after the switch, and the other
    pretraining is trained on the rest.
    """

    name: Name
    tokenizer: Tokenizer = "bpe"
    context: Length = 128
    objective: Annotated[dict[str, float], BeforeValidator(_shares)] = {"own": 1.0}
    mask_rate: Annotated[float | Literal["uniform"] | None, BeforeValidator(_mask_rate)] = None
    from_: Annotated[Word | None, Field(alias="from")] = None
    from_architecture: Word | None = None
    share: Annotated[Number, Field(gt=0, lt=1)] | None = None


class ConditionEntry(Part, ComparedKeys, Named):
    """One ``[[conditions]]`` table as written: tasks repeated with something changed.

    ``share`` trains on a part or a multiple of the budget, with its own learning rate schedule. ``tasks`` are names,
    all by default. ``tuning`` tunes the condition separately; without it, the task's tuned values apply.
    """

    name: Word | None = None
    tasks: Names | None = None
    share: Annotated[Number, Field(gt=0, le=64)] | None = None


class TaskEntry(Part, TaskKeys):
    """One ``[[tasks]]`` table as written; missing keys come from the experiment or from the task's kind.

    ``kind`` is a name, or the path of a file that defines a kind. ``primary`` are the metrics that judge the task, one
    or a list; the default depends on its kind and data. ``metrics`` are further metrics of its answers: built-in names,
    "FILE.py:FUNCTION", "evaluate:./FOLDER", or names that packages offer. ``baseline`` names another task; this one is
    a changed copy of it, and the report tests the effect of the change.

    ``start`` names pretrainings that models start from ("scratch": none; "scratch+NAME": none, but trained on as many
    tokens more) or checkpoints of ``transformers``, which are finetuned in place of the architectures. ``examples``:
    how many training examples they see ("all": every one). ``draw``: a number of them is drawn with the seed of each
    run, and with it as many ``validation_examples`` (None: as many, or all there are), or once, the same for every
    seed, beside the whole validation split. ``adapt``: how they are trained, all weights in the form of
    the task, or for labels a linear head on the mean state with all weights ("head") or alone ("frozen"). "prompt"
    trains nothing: the label is chosen whose words, given by ``verbalizers`` or its name, are the likeliest after the
    text; as many examples as ``shots`` says stand before it. The first of each is the task itself; the others are
    conditions of it. ``tuned_starts`` has the tuned values of architectures that begin with one of ``start``. Where a
    task has several of ``adapt``, neither these nor ``tuned`` are for a head alone.
    """

    kind: Word | None = None
    source_length: Length | None = None
    target_length: Length | None = None
    primary: OneOrList[Word] | None = None
    metrics: Names = ()
    baseline: Name | None = None
    tuned_starts: dict[str, dict[str, Tuned]] = {}
    start: OneOrList[Word] = (SCRATCH,)
    examples: Annotated[tuple[int, ...], BeforeValidator(_counts), Field(min_length=1), AfterValidator(unique)] = (0,)
    draw: Draw = StartKeys.in_files("draw")
    validation_examples: Annotated[int | None, BeforeValidator(_one_count)] = None
    adapt: OneOrList[Adapt] = (FINETUNE,)
    shots: Annotated[Listed[Shots], BeforeValidator(_number_or_list)] = (0,)
    verbalizers: dict[str, Word] = {}


class ExperimentEntry(InheritedKeys, Named):
    """A whole experiment file as written.

    ``alternatives`` names further variants of an architecture: trials choose which of them is compared under its name.
    """

    name: Name
    architectures: Names
    tasks: Annotated[tuple[TaskEntry, ...], BeforeValidator(listed), Field(min_length=1)]
    pretraining: Annotated[tuple[PretrainingEntry, ...], BeforeValidator(listed)] = ()
    conditions: Annotated[tuple[ConditionEntry, ...], BeforeValidator(listed)] = ()
    controls: Annotated[bool | tuple[str, ...], WrapValidator(_controls)] = False
    contrasts: Annotated[tuple[Pair, ...], BeforeValidator(listed), AfterValidator(unique)] | None = None
    margins: dict[str, Positive] = {}
    environment: Annotated[dict[str, str], AfterValidator(_environment)] = {}


class Overrides(Section):
    """Settings of the command line or a call that replace the experiment's; ``seeds`` may be a number."""

    architectures: NamesOrPaths | None = None
    tasks: Names | None = None
    seeds: SeedsOrCount | None = None
    match: OneOrList[Word] | None = None
