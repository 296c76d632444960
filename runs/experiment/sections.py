"""The tables of an experiment file: types and ranges of their values. Checks across tables are in ``resolve``."""

import codecs
import math
import os
import re
from numbers import Integral
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WrapValidator
from pydantic_core import PydanticKnownError

from archbench.runs.experiment.validation import nearest, printable
from archbench.tasks.base import fixed_environment
from archbench.tasks.base.dataset import SPLITS

Item = TypeVar("Item")
Match = Literal["parameters", "flops", "flops-by-tokens", "loss-tokens", "seconds"]
Supervision = Literal["native", "target"]
Tokenizer = Literal["char", "byte", "word", "bpe"]
Data = str | dict[str, str | list[str]]
MATCHES: tuple[Match, ...] = ("parameters", "flops", "flops-by-tokens", "loss-tokens", "seconds")
HELD: dict[str, tuple[str, str]] = {  # the quantities that a match holds equal
    "parameters": ("parameters", "tokens"),
    "flops": ("tokens", "flops"),
    "flops-by-tokens": ("parameters", "flops"),
    "loss-tokens": ("parameters", "loss_tokens"),
    "seconds": ("parameters", "seconds"),
}
UNMATCHED = "none"  # the match of checkpoints: they are scored without training
SCRATCH = "scratch"  # the start of a run that starts from no pretraining
Adapt = Literal["finetune", "head", "frozen", "prompt"]
FINETUNE: Adapt = "finetune"  # all weights, in the text-to-text form of the task
FROZEN: Adapt = "frozen"  # a linear head on the mean state, the head alone
PROMPT: Adapt = "prompt"  # no training: examples and the text, then the likelihood of each label's words
ADAPTED: dict[str, str] = {
    FINETUNE: "finetuned",
    "head": "finetuned with a head",
    FROZEN: "frozen under a head",
    PROMPT: "prompted",
}
SCRATCH_WITH = "scratch+"  # "scratch+books" trains from scratch on the task, for as many more tokens as "books" has
USUAL_DEVICES: dict[str, object] = {"strategy": "none", "devices": 1}
USUAL_STARTS: dict[str, object] = {
    "start": SCRATCH,
    "with_tokens_of": "",
    "examples": 0,
    "adapt": FINETUNE,
    "shots": 0,
    "verbalizers": {},
}
OBJECTIVES = ("own", "causal", "prefix", "masked", "span-corruption")
PARAMETER_FLOOR = 20_000
MOST_SEEDS = 10_000  # when seeds are given as a number
TUNING_SEED = 1_000  # the default seed of trials; no reported run has it by default
TRANSFER = "transfer"  # the learning rate of trials at another width, scaled by rule
DEFAULT_CONTRASTS = (("decoder", "encoder"), ("decoder", "encoder-decoder"), ("encoder", "encoder-decoder"))


def _unique(items: tuple[Item, ...]) -> tuple[Item, ...]:
    for position, item in enumerate(items):
        if item in items[:position]:
            raise ValueError(f"{printable(item)} is given twice")
    return items


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(
            f"{printable(name)}: expected at most 64 letters, digits, '.', '_' and '-', with a letter or digit first"
        )
    return name


def _whole(value: object) -> object:
    whole = (isinstance(value, Integral) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    return int(value) if whole else value  # type: ignore[call-overload]  # both kinds convert


def _flag(value: object) -> object:
    """A NumPy boolean as a Python one."""
    return value.tolist() if hasattr(value, "tolist") else value


def _listed(value: object) -> object:
    """A list, a range or a NumPy array as the tuple that strict validation expects."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    return tuple(plain) if isinstance(plain, list | range) else plain


def _one_or_list(value: object) -> object:
    return (value,) if isinstance(value, str) else _listed(value)


def _number_or_list(value: object) -> object:
    return (value,) if isinstance(value, int) else _listed(value)


def _seeds_or_count(value: object) -> object:
    """A list of seeds unchanged; a number n as the seeds 0 to n - 1."""
    count = _whole(_listed(value))
    if not isinstance(count, int) or isinstance(count, bool):
        return count
    if not 1 <= count <= MOST_SEEDS:
        raise ValueError(f"{count}: expected at least 1" if count < 1 else f"{count}: expected at most {MOST_SEEDS}")
    return tuple(range(count))


def _texts(value: object) -> object:
    """A list of names and paths, with paths converted to text."""
    listed = _listed(value)
    if not isinstance(listed, tuple):
        return listed
    return tuple(os.fspath(item) if isinstance(item, os.PathLike) else item for item in listed)


def _data(value: object, _: object) -> Data:
    """A name, a path or a table of splits; an error is one message instead of one for each alternative."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, dict):
        raise ValueError(f'{printable(value)}: expected a name, a file, or a table like {{ train = "train.tsv" }}')
    for split, files in value.items():
        if split not in SPLITS:
            raise ValueError(f"unknown split {printable(split)}{nearest(split, SPLITS)}")
        pair = isinstance(files, list) and len(files) == 2 and all(isinstance(file, str) and file for file in files)
        if not pair and not (isinstance(files, str) and files):
            raise ValueError(f"{split}: {printable(files)}: expected a file, or two files of parallel text")
    if "train" not in value:
        raise ValueError('"train" is missing; name at least the training file')
    return value


def _controls(value: object, _: object) -> bool | tuple[str, ...]:
    """Whether all tasks have controls, or which do; an error is one message instead of one for each alternative."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{printable(value)}: expected true, false or a list of tasks")
    return _unique(tuple(value))


def _shares(value: object) -> object:
    """One objective, or the shares of several, as a table of shares that sum to 1."""
    shares = {value: 1.0} if isinstance(value, str) else value
    if not isinstance(shares, dict) or not shares:
        raise ValueError(f"{printable(value)}: expected an objective, or a table like {{ causal = 0.5, prefix = 0.5 }}")
    for name, share in shares.items():
        if name not in OBJECTIVES:
            raise ValueError(f"unknown objective {printable(name)}{nearest(name, OBJECTIVES)}")
        if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1e6:
            raise ValueError(f"{name}: {printable(share)}: expected a share above 0")
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def is_scratch(start: str) -> bool:
    """Whether runs with this start begin with new weights, for the budget of the task or for equal total tokens."""
    return start == SCRATCH or start.startswith(SCRATCH_WITH)


def is_checkpoint(start: str) -> bool:
    """Whether a start is a checkpoint of ``transformers``: a folder, or a name on the hub."""
    return start.startswith("hub:") or "/" in start or os.sep in start


def checkpoint_name(start: str) -> str:
    """What the table of runs calls a checkpoint: "./folder", or its name on the hub."""
    return start.removeprefix("hub:") if start.startswith("hub:") else f"./{PurePath(start).name}"


def _counts(value: object) -> object:
    """Numbers of examples; "all" becomes 0."""
    listed = _listed(value)
    items = listed if isinstance(listed, tuple) else (listed,)
    counts = tuple(0 if item == "all" else _whole(item) for item in items)
    for item, count in zip(items, counts, strict=True):
        if not isinstance(count, int) or isinstance(count, bool) or count < 0 or (count == 0 and item != "all"):
            raise ValueError(f'{printable(item)}: expected a number of examples or "all"')
    return counts


def _mask_rate(value: object) -> object:
    if value != "uniform" and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1):
        raise ValueError(f'{printable(value)}: expected a number between 0 and 1, or "uniform"')
    return value


def _rate_or_transfer(value: object, check: Any) -> Any:
    """A learning rate or "transfer"; an error is one message instead of one for each alternative."""
    if isinstance(value, str) and value != TRANSFER:
        raise ValueError(f'{printable(value)}: expected a number or "{TRANSFER}"')
    try:
        return check(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise PydanticKnownError(first["type"], first.get("ctx")) from None  # type: ignore[arg-type]


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f'unknown text encoding {printable(name)}; for example "utf-8" or "latin-1"') from None


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


Name = Annotated[str, AfterValidator(_plain_name)]
Word = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Rate = Annotated[Number, Field(gt=0, le=10)]
Width = Annotated[Whole, Field(ge=8, le=65_536)]
Names = Annotated[tuple[Word, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_unique)]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_unique)]
SeedsOrCount = Annotated[
    tuple[Seed, ...], BeforeValidator(_seeds_or_count), Field(min_length=1), AfterValidator(_unique)
]
Architectures = Annotated[tuple[Word, ...], BeforeValidator(_texts), Field(min_length=1), AfterValidator(_unique)]
Axes = Annotated[tuple[Word, ...], BeforeValidator(_one_or_list), Field(min_length=1), AfterValidator(_unique)]
Matches = Annotated[tuple[Match, ...], BeforeValidator(_one_or_list), Field(min_length=1), AfterValidator(_unique)]
Pair = Annotated[tuple[Word, Word], BeforeValidator(_listed), AfterValidator(_unique)]
Contrasts = Annotated[tuple[Pair, ...], BeforeValidator(_listed), AfterValidator(_unique)]
Length = Annotated[Whole, Field(ge=0, le=65_536)]
Shots = Annotated[Whole, Field(ge=0, le=1_000)]


class Section(BaseModel):
    """A table of an experiment file: unknown keys and wrong types are errors; values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Budget(Section):
    """What is held equal, and the training length: exactly one of ``tokens``, ``flops`` (model FLOPs) and ``seconds``.

    ``parameters`` counts the non-embedding parameters of the reference, which is the first architecture; ``flops`` and
    ``seconds`` are also the reference's. ``epochs`` limits every run's passes over the training data; None: no limit.
    """

    match: Matches = ("parameters",)
    parameters: Annotated[Whole, Field(ge=PARAMETER_FLOOR, le=100_000_000_000)] | None = None
    tokens: Annotated[Whole, Field(gt=0)] | None = None
    flops: Annotated[Number, Field(gt=0)] | None = None
    seconds: Annotated[Number, Field(gt=0)] | None = None
    epochs: Annotated[Number, Field(gt=0)] | None = None


class Model(Section):
    """The width and heads shared by all architectures of a match; None: chosen from the size.

    ``depth`` is the number of layers of each stack; None: fitted, like the feed-forward width.
    """

    width: Width | None = None
    heads: Annotated[Whole, Field(ge=1, le=1_024)] | None = None
    depth: Annotated[Whole, Field(ge=1, le=96)] | None = None


class TrainingEntry(Section):
    """The recipe as written. ``warmup`` is a fraction of the steps; ``clip = 0`` disables clipping.

    ``learning_rate = "transfer"`` takes the rate of trials at ``tuning.width`` and scales it to the width of each run.

    ``compile`` compiles the repeated block (`torch.compile`); "auto" does so if a run is long enough to benefit.
    ``recompute`` trades computation for memory in the backward pass (activation checkpointing). ``strategy = "ddp"``
    trains one model on several ``devices``, which share each batch (data parallelism); "fsdp" also shards its weights.

    Without ``batch_tokens``, a budget in tokens determines the batch size: see ``experiment.resolve``.
    """

    batch_tokens: Annotated[Whole, Field(ge=1, le=2**26)] = 4096  # for budgets in tokens: resolve._with_batches
    learning_rate: Annotated[Rate | Literal["transfer"], WrapValidator(_rate_or_transfer)] = 0.003
    warmup: Fraction = 0.05
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = 0.1
    clip: Annotated[Number, Field(ge=0)] = 1.0
    dropout: Fraction = 0.0
    label_smoothing: Fraction = 0.0
    snapshots: Annotated[Whole, Field(ge=0, le=1_000)] = 0
    optimizer: Literal["muon", "adamw"] = "muon"
    precision: Literal["auto", "bf16", "float32"] = "auto"
    compile: Literal["auto", True, False] = "auto"
    recompute: bool = False
    strategy: Literal["none", "ddp", "fsdp"] = "none"
    devices: Annotated[Whole, Field(ge=1, le=1_024)] = 1


class Training(TrainingEntry):
    """The recipe of a run.

    ``proxy_width``: the learning rate belongs to a model of this width and is scaled to the run's by the rule of
    ``training.optimizer``. ``proxy_share``: it belongs to trials on this multiple of the run's tokens and is scaled by
    ``token_factor``. None: it is used as it is.
    """

    learning_rate: Rate = 0.003
    proxy_width: Width | None = None
    proxy_share: Annotated[Number, Field(gt=0)] | None = None

    @property
    def token_factor(self) -> float:
        """Factor of the learning rate: the best rate falls with the square root of the tokens (docs/tuning.md)."""
        return math.sqrt(self.proxy_share or 1.0)

    @classmethod
    def of(cls, entry: TrainingEntry, **values: Any) -> "Training":
        """The recipe with these values; where the rate is to be transferred and is not known, with the default."""
        written = entry.model_dump()
        if written["learning_rate"] == TRANSFER:
            del written["learning_rate"]
        return cls(**(written | values))

    def identity(self) -> dict[str, Any]:
        """The settings that decide a run's outcome, as JSON values; a key that was added later only where it is set."""
        values = self.model_dump(mode="json", exclude={"precision", "compile", "recompute", "strategy", "devices"})
        return {key: value for key, value in values.items() if value or key not in ("proxy_width", "proxy_share")}


class Tuned(Section):
    """One architecture's tuned values, chosen on validation; they override the shared recipe."""

    learning_rate: Rate | None = None
    dropout: Fraction | None = None


class Tuning(Section):
    """A grid of trials, the same for every architecture of a task; reported runs use the best setting on validation.

    Without ``dropout`` the grid has the recipe's value, and a second one if the budget makes more than four passes
    over the data. Trials have seeds of their own and never see the test split. ``width`` is that of the trials' models
    (with ``learning_rate = "transfer"``; None: the reported width). ``share`` is their part of the training tokens; the
    chosen rate is scaled to a run's tokens.
    """

    learning_rate: Annotated[tuple[Rate, ...], BeforeValidator(_listed), Field(min_length=2), AfterValidator(_unique)]
    dropout: (
        Annotated[tuple[Fraction, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_unique)] | None
    ) = None
    seeds: Seeds = (TUNING_SEED,)
    width: Width | None = None
    share: Annotated[Number, Field(gt=0, le=1)] = 1.0


class PretrainingEntry(Section):
    """One ``[[pretraining]]`` table as written: what models are trained on before tasks, by tokens of running text.

    ``tokenizer`` is trained on these data and on the training text of the tasks that start from it. ``objective`` is
    one, or a table of shares; "own" is the usual one of each family. ``mask_rate`` is the part of the tokens that
    "masked" hides. Missing keys come from the experiment.

    ``from`` goes on from another pretraining: with the weights of ``from_architecture`` (default: the same), which are
    converted where families differ. With ``share``, this part of the tokens comes after the switch, and the other
    pretraining is trained on the rest.
    """

    name: Name
    data: Annotated[Data, WrapValidator(_data)]
    columns: Annotated[dict[str, str], Field(min_length=1)] | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    tokenizer: Tokenizer = "bpe"
    vocabulary: Annotated[Whole, Field(ge=8, le=1_000_000)] | None = None
    context: Length = 128
    objective: Annotated[dict[str, float], BeforeValidator(_shares)] = {"own": 1.0}
    mask_rate: Annotated[float | Literal["uniform"], BeforeValidator(_mask_rate)] = "uniform"
    from_: Annotated[Word | None, Field(alias="from")] = None
    from_architecture: Word | None = None
    share: Annotated[Number, Field(gt=0, lt=1)] | None = None
    test_examples: Annotated[Whole, Field(ge=1)] | None = None
    architectures: Names | None = None
    seeds: Seeds | None = None
    budget: Budget = Budget()
    model: Model = Model()
    training: TrainingEntry = TrainingEntry()


class ConditionEntry(Section):
    """One ``[[conditions]]`` table as written: tasks repeated with something changed.

    ``share`` trains on a part or a multiple of the budget, with its own learning rate schedule. ``tasks`` are names,
    all by default. ``tuning`` tunes the condition separately; without it, the task's tuned values apply.
    """

    name: Word | None = None
    tasks: Names | None = None
    architectures: Names | None = None
    seeds: Seeds | None = None
    supervision: Supervision | None = None
    share: Annotated[Number, Field(gt=0, le=64)] | None = None
    budget: Budget = Budget()
    model: Model = Model()
    training: TrainingEntry = TrainingEntry()
    tuning: Tuning | None = None


class TaskEntry(Section):
    """One ``[[tasks]]`` table as written; missing keys come from the experiment or from the task's kind.

    ``kind`` is a name, or the path of a file that defines a kind. ``primary`` is the metric that judges the task; the
    default depends on its kind and data. ``metrics`` are further metrics of its answers: built-in names,
    "FILE.py:FUNCTION", "evaluate:./FOLDER", or names that packages offer. ``baseline`` names another task; this one is
    a changed copy of it, and the report tests the effect of the change.

    ``start`` names pretrainings that models start from ("scratch": none; "scratch+NAME": none, but trained on as many
    tokens more) or checkpoints of ``transformers``, which are finetuned in place of the architectures. ``examples``:
    how many training examples they see ("all": every one). ``adapt``: how they are trained, all weights in the form of
    the task, or for labels a linear head on the mean state with all weights ("head") or alone ("frozen"). "prompt"
    trains nothing: the label is chosen whose words, given by ``verbalizers`` or its name, are the likeliest after the
    text; as many examples as ``shots`` says stand before it. The first of each is the task itself; the others are
    conditions of it. ``tuned_starts`` has the tuned values of architectures that begin with one of ``start``. Where a
    task has several of ``adapt``, neither these nor ``tuned`` are for a head alone.
    """

    kind: Word | None = None
    name: Name | None = None
    data: Annotated[Data, WrapValidator(_data)]
    columns: Annotated[dict[str, str], Field(min_length=1)] | None = None
    tokenizer: Tokenizer | None = None
    vocabulary: Annotated[Whole, Field(ge=8, le=1_000_000)] | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    context: Length | None = None
    source_length: Length | None = None
    target_length: Length | None = None
    test_examples: Annotated[Whole, Field(ge=1)] | None = None
    primary: Word | None = None
    metrics: Names = ()
    baseline: Name | None = None
    architectures: Names | None = None
    seeds: Seeds | None = None
    supervision: Supervision | None = None
    budget: Budget = Budget()
    model: Model = Model()
    training: TrainingEntry = TrainingEntry()
    tuned: dict[str, Tuned] = {}
    tuned_starts: dict[str, dict[str, Tuned]] = {}
    tuning: Tuning | None = None
    alternatives: dict[str, Names] | None = None
    start: Axes = (SCRATCH,)
    examples: Annotated[tuple[int, ...], BeforeValidator(_counts), Field(min_length=1), AfterValidator(_unique)] = (0,)
    adapt: Annotated[tuple[Adapt, ...], BeforeValidator(_one_or_list), Field(min_length=1), AfterValidator(_unique)] = (
        FINETUNE,
    )
    shots: Annotated[
        tuple[Shots, ...], BeforeValidator(_number_or_list), Field(min_length=1), AfterValidator(_unique)
    ] = (0,)
    verbalizers: dict[str, Annotated[str, Field(min_length=1)]] = {}


class ExperimentEntry(Section):
    """A whole experiment file as written.

    ``alternatives`` names further variants of an architecture: trials choose which of them is compared under its name.
    """

    name: Name
    architectures: Names
    seeds: Seeds = (0,)
    supervision: Supervision = "native"
    budget: Budget = Budget()
    model: Model = Model()
    training: TrainingEntry = TrainingEntry()
    tuning: Tuning | None = None
    tasks: Annotated[tuple[TaskEntry, ...], BeforeValidator(_listed), Field(min_length=1)]
    pretraining: Annotated[tuple[PretrainingEntry, ...], BeforeValidator(_listed)] = ()
    conditions: Annotated[tuple[ConditionEntry, ...], BeforeValidator(_listed)] = ()
    controls: Annotated[bool | tuple[str, ...], WrapValidator(_controls)] = False
    contrasts: Contrasts | None = None
    margins: dict[str, Annotated[Number, Field(gt=0)]] = {}
    alternatives: dict[str, Names] = {}
    environment: Annotated[dict[str, str], AfterValidator(_environment)] = {}


class Overrides(Section):
    """Settings of the command line or a call that replace the experiment's; ``seeds`` may be a number."""

    architectures: Architectures | None = None
    tasks: Names | None = None
    seeds: SeedsOrCount | None = None
    match: Axes | None = None


class Task(Section):
    """One data set with every setting resolved.

    ``source_length`` and ``target_length`` are limits in tokens, including END; ``context`` is their sum for
    generation and None otherwise. ``primary`` is empty if kind and data decide it; ``vocabulary`` is 0 if the text
    decides it (char, byte). Paths in ``data`` are relative to the experiment's ``folder``. ``kind_file`` is the file
    that defines a user's kind.

    ``condition`` is empty for a task as first stated; in a condition it names the change. ``share`` is the fraction of
    the budget that is trained. ``fixed`` lists the training settings that a condition sets, which override tuned ones.
    ``own_lists`` names which of ``architectures`` and ``seeds`` a condition gives itself; ``retuned`` says whether
    it gives ``tuning``.
    """

    kind: Word
    name: Name
    data: Data
    columns: dict[str, str]
    tokenizer: Tokenizer
    vocabulary: int
    encoding: str
    context: int | None
    source_length: int
    target_length: int
    test_examples: int
    architectures: tuple[str, ...]
    seeds: tuple[int, ...]
    supervision: Supervision
    budget: Budget
    model: Model
    training: TrainingEntry
    tuned: dict[str, Tuned] = {}
    tuning: Tuning | None = None
    condition: str = ""
    share: float = 1.0
    fixed: tuple[str, ...] = ()
    own_lists: tuple[str, ...] = Field(default=(), serialization_alias="own")
    retuned: bool = False
    baseline: str = ""
    primary: str = ""
    kind_file: str = ""
    metrics: tuple[str, ...] = ()
    alternatives: dict[str, tuple[str, ...]] = {}
    start: str = SCRATCH
    with_tokens_of: str = ""
    examples: int = 0
    adapt: Adapt = FINETUNE
    shots: int = 0
    verbalizers: dict[str, str] = {}

    @property
    def checkpoint(self) -> str:
        """The checkpoint of ``transformers`` that is trained in place of the architectures; empty where none is."""
        return self.start if is_checkpoint(self.start) else ""

    @property
    def is_adapted(self) -> bool:
        """Whether it starts from a pretraining, sees some of the examples, or trains a head."""
        return any(getattr(self, key) != usual for key, usual in USUAL_STARTS.items())

    def candidates(self, architecture: str) -> tuple[str, ...]:
        """What may be compared under an architecture's name: itself and its alternatives."""
        return (architecture, *self.alternatives.get(architecture, ()))

    @property
    def all_candidates(self) -> tuple[str, ...]:
        """Every architecture that may be trained, alternatives included."""
        return tuple(dict.fromkeys(entry for name in self.architectures for entry in self.candidates(name)))

    @property
    def extends(self) -> bool:
        """Whether it only adds architectures, seeds or axes to the task's own comparison, or is the task itself."""
        return not self.condition and self.share == 1


class Pretraining(Section):
    """A pretraining with every setting resolved: a task of running text, and what it is trained by.

    ``objective`` has shares that sum to 1; ``mask_rate`` None: drawn uniformly. ``before`` is the pretraining that it
    goes on from (empty: none), with the weights of ``before_architecture`` (empty: the same); ``share`` the part of the
    tokens that comes after (None: all, and the other keeps its own).
    """

    task: Task
    objective: dict[str, float]
    mask_rate: float | None = None
    before: str = ""
    before_architecture: str = ""
    share: float | None = None

    @property
    def name(self) -> str:
        return self.task.name


class Against(Section):
    """A published comparison that ``architecture`` joins: it alone is trained, on data with these ``digests``."""

    published: str
    architecture: str
    digests: dict[str, str]


class Experiment(Section):
    """A resolved experiment: its tasks carry all settings.

    ``architectures`` and ``seeds`` apply to tasks without their own. Relative paths of data and variant files start at
    ``folder``, which does not affect results. ``settings`` are the keys that ``--set`` replaced, with their values,
    which the tasks already carry. ``conditions`` are tasks repeated with something changed. ``controls`` names tasks
    that train the first architecture again, with other seeds and with half its budget. ``contrasts`` are the pairs to
    test; ``margins`` are the smallest relevant differences, by metric. ``added`` is how many seeds were added after the
    largest listed one, by task and architecture: those of ``--until-decided``. ``against`` is the published comparison
    that one architecture joins. ``environment`` has the variables that users' files see beside those of every
    environment (`tasks/base/fixed_environment.py`).
    """

    name: Name
    architectures: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]
    conditions: tuple[Task, ...] = ()
    pretraining: tuple[Pretraining, ...] = ()
    controls: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = DEFAULT_CONTRASTS
    margins: dict[str, float] = {}
    folder: str = Field(default=".", exclude=True)
    settings: dict[str, Any] = Field(default={}, exclude=True)
    added: dict[str, dict[str, int]] = Field(default={}, exclude=True)
    against: Against | None = Field(default=None, exclude=True)
    environment: dict[str, str] = {}

    @property
    def tasks_and_conditions(self) -> tuple[Task, ...]:
        return (*self.tasks, *self.conditions)

    @property
    def lists_contrasts(self) -> bool:
        return self.contrasts != DEFAULT_CONTRASTS

    def last_seed(self, name: str) -> int:
        """The largest seed that a task or one of its conditions lists; -1 if none does."""
        seeds = (seed for task in self.tasks_and_conditions if task.name == name for seed in task.seeds)
        return max(seeds, default=-1)

    def digestable(self) -> dict[str, Any]:
        """The experiment as plain JSON values, the same on every machine and in every folder."""
        values = self.model_dump(mode="json", by_alias=True)
        for key in ("pretraining", "environment"):
            if not values[key]:  # as before there was any, so that recorded digests stay
                del values[key]
        for task in (
            *values["tasks"],
            *values["conditions"],
            *(stage["task"] for stage in values.get("pretraining", ())),
        ):
            for key in [key for key, usual in USUAL_STARTS.items() if task[key] == usual]:
                del task[key]
            for key in [key for key, usual in USUAL_DEVICES.items() if task["training"][key] == usual]:
                del task["training"][key]
        return values
