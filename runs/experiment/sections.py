"""The settings of an experiment: tables of keys, the settings of tasks after all is filled in, and their names.

The tables as an experiment file has them are in ``entries``; checks across tables are in ``tasks`` and ``resolve``.
"""

import codecs
import math
import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WrapValidator
from pydantic_core import PydanticKnownError

from archbench.runs.experiment import optimizers
from archbench.runs.experiment.keys import Key, Section, Table
from archbench.runs.experiment.validation import printable, require
from archbench.runs.experiment.values import (
    Count,
    Fraction,
    Length,
    Listed,
    Name,
    Names,
    Number,
    OneOrList,
    Positive,
    Rate,
    Seed,
    Vocabulary,
    Whole,
    Width,
    Word,
    listed,
    unique,
)
from archbench.tasks.base.dataset import SPLITS

Match = Literal["parameters", "active-parameters", "flops", "flops-by-tokens", "loss-tokens", "seconds"]
Supervision = Literal["native", "target"]
Tokenizer = Literal["char", "byte", "word", "bpe"]
Data = str | dict[str, str | list[str]]
MATCHES: tuple[Match, ...] = get_args(Match)
HELD: dict[str, tuple[str, str]] = {  # the quantities that a match holds equal
    "parameters": ("parameters", "tokens"),
    "active-parameters": ("active_parameters", "tokens"),
    "flops": ("tokens", "flops"),
    "flops-by-tokens": ("parameters", "flops"),
    "loss-tokens": ("parameters", "loss_tokens"),
    "seconds": ("parameters", "seconds"),
}
UNMATCHED = "none"  # the match of checkpoints: they are scored without training
SCRATCH = "scratch"  # the start of a run that starts from no pretraining
Draw = Literal["seed", "once"]
ONCE: Draw = "once"  # few training examples are the same for every seed
Adapt = Literal["finetune", "head", "frozen", "prompt"]
FINETUNE: Adapt = "finetune"  # all weights, in the text-to-text form of the task
FROZEN: Adapt = "frozen"  # a linear head on the mean state, the head alone
PROMPT: Adapt = "prompt"  # no training: examples and the text, then the likelihood of each label's words
ZERO_SHOT = "zero-shot"  # no training: the likelihood of whole texts; follows from a task that compares texts
UNTRAINED = (PROMPT, ZERO_SHOT)
ADAPTED: dict[str, str] = {
    FINETUNE: "finetuned",
    "head": "finetuned with a head",
    FROZEN: "frozen under a head",
    PROMPT: "prompted",
    ZERO_SHOT: "zero-shot",
}
SCRATCH_WITH = "scratch+"  # "scratch+books" trains from scratch on the task, for as many more tokens as "books" has
PARAMETER_FLOOR = 20_000
TUNING_SEED = 1_000  # the default seed of trials; no reported run has it by default
HOW_LONG = ("tokens", "flops", "seconds")  # of a budget: exactly one of them
TRANSFER = "transfer"  # the learning rate of trials at another width, scaled by rule
BETWEEN_MEASURES = ", "  # the primary measures of a data set in tables
IN_PLAN = Key(decides=False, later=True)  # of a task's key: what follows from it is in the plan, which names the run
DEFAULT_CONTRASTS = (("decoder", "encoder"), ("decoder", "encoder-decoder"), ("encoder", "encoder-decoder"))


def _data(value: object, _: object) -> Data:
    """A name, a path or a table of splits; an error is one message instead of one for each alternative."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, dict):
        raise ValueError(f'{printable(value)}: expected a name, a file, or a table like {{ train = "train.tsv" }}')
    for split, files in value.items():
        require(split, SPLITS, f"unknown split {printable(split)}")
        pair = isinstance(files, list) and len(files) == 2 and all(isinstance(file, str) and file for file in files)
        if not pair and not (isinstance(files, str) and files):
            raise ValueError(f"{split}: {printable(files)}: expected a file, or two files of parallel text")
    return value


def _column(value: object, _: object) -> str | list[str]:
    """One column or several; an error is one message instead of one for each alternative."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"{printable(value)}: expected the name of a column, or a list of different names")
    return value  # type: ignore[return-value]


Column = Annotated[str | list[str], WrapValidator(_column)]


def is_scratch(start: str) -> bool:
    """True if runs with this start begin with new weights, for the budget of the task or for equal total tokens."""
    return start == SCRATCH or start.startswith(SCRATCH_WITH)


def is_checkpoint(start: str) -> bool:
    """True if a start is a checkpoint of ``transformers``: a folder, or a name on the hub."""
    return start.startswith("hub:") or "/" in start or os.sep in start


def checkpoint_name(start: str) -> str:
    """Name of a checkpoint in the table of runs: "./folder", or its name on the hub."""
    return start.removeprefix("hub:") if start.startswith("hub:") else f"./{PurePath(start).name}"


def variant_name(architecture: str) -> str:
    """Name of an architecture in results: "my-variant" for ``lab/my_variant.py``, "./bert" for a checkpoint."""
    if architecture.endswith(".py"):
        return PurePath(architecture).stem.replace("_", "-")
    return checkpoint_name(architecture) if is_path(architecture) else architecture


def is_path(architecture: str) -> bool:
    """True if an architecture is given by a path: it ends in ``.py`` or contains a folder."""
    named = architecture.startswith(("transformers:", "hub:"))
    return not named and (architecture.endswith(".py") or "/" in architecture or os.sep in architecture)


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


def _measures(value: object) -> object:
    """A list of metrics; older records have one metric as text, or an empty text."""
    return tuple(filter(None, [value])) if isinstance(value, str) else listed(value)


class Budget(Table):
    """The axes held equal, and the training length: exactly one of ``tokens``, ``flops`` (model FLOPs) and ``seconds``.

    ``parameters`` counts the non-embedding parameters of the reference, which is the first architecture; ``flops`` and
    ``seconds`` are also the reference's. ``epochs`` limits every run's passes over the training data; None: no limit.
    """

    match: OneOrList[Match] = ("parameters",)
    parameters: Annotated[Whole, Field(ge=PARAMETER_FLOOR, le=100_000_000_000)] | None = None
    tokens: Annotated[Whole, Field(gt=0)] | None = None
    flops: Positive | None = None
    seconds: Positive | None = None
    epochs: Positive | None = None

    def patched(self, values: Mapping[str, Any]) -> Self:
        """A patch that says how long is trained replaces how long was trained before, in whichever unit."""
        says_how_long = any(values.get(unit) is not None for unit in HOW_LONG)
        return super().patched({**dict.fromkeys(HOW_LONG), **values} if says_how_long else values)


class Model(Table):
    """The width and heads shared by all architectures of a match; None: chosen from the size.

    ``depth`` is the number of layers of each stack; None: fitted, like the feed-forward width.
    """

    width: Width | None = None
    heads: Annotated[Whole, Field(ge=1, le=1_024)] | None = None
    depth: Annotated[Whole, Field(ge=1, le=96)] | None = None


class TrainingEntry(Table):
    """The recipe as written. ``warmup`` is a fraction of the steps; ``clip = 0`` disables clipping.

    ``learning_rate = "transfer"`` takes the rate of trials at ``tuning.width`` and scales it to the width of each run.

    ``compile`` compiles the repeated block (`torch.compile`); "auto" does so if a run is long enough to benefit.
    ``recompute`` trades computation for memory in the backward pass (activation checkpointing). ``strategy = "ddp"``
    trains one model on several ``devices``, which share each batch (data parallelism); "fsdp" also shards its weights.

    ``mask_order``, ``mask_weights`` and ``canvas`` are of encoders: what they learn to fill in, random tokens ("any"),
    the last ones ("suffix"), half of each ("mixed") or the next one alone ("next-cell"); how predicted tokens weigh, by
    the any-order bound or all "equal"; what follows a target on their canvas, [MASK], END, or nothing, where the
    "length" is predicted.

    ``length_pool``: how many batches' worth of shuffled examples are arranged by length together, so that batches pad
    little. ``keep``: the weights that are scored, those with the lowest validation loss or those of the last step.
    ``pretrained_share``: a run after a pretraining begins with this part of its weights and the rest of new ones.

    Without ``batch_tokens``, a budget in tokens determines the batch size: see ``experiment.tasks``.
    """

    batch_tokens: Annotated[Whole, Field(ge=1, le=2**26)] = 4096  # for budgets in tokens: tasks._with_batches
    learning_rate: Annotated[Rate | Literal["transfer"], WrapValidator(_rate_or_transfer)] = 0.003
    warmup: Fraction = 0.05
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = 0.1
    clip: Annotated[Number, Field(ge=0)] = 1.0
    dropout: Fraction = 0.0
    label_smoothing: Fraction = 0.0
    snapshots: Annotated[Whole, Field(ge=0, le=1_000)] = 0
    optimizer: Annotated[str, AfterValidator(optimizers.known)] = "muon"
    length_pool: Annotated[Whole, Field(ge=1, le=2**20), Key(later=True, in_files=16)] = 512
    keep: Annotated[Literal["best", "last"], Key(later=True)] = "best"
    pretrained_share: Annotated[Number, Field(gt=0, le=1), Key(later=True)] = 1.0
    mask_order: Annotated[Literal["any", "suffix", "mixed", "next-cell"], Key(later=True)] = "any"
    mask_weights: Annotated[Literal["bound", "equal"], Key(later=True, in_files="equal")] = "bound"
    canvas: Annotated[Literal["mask", "end", "length"], Key(later=True, in_files="length")] = "mask"
    precision: Annotated[Literal["auto", "bf16", "float32"], Key(decides=False)] = "auto"  # a run names the one it has
    compile: Annotated[Literal["auto", True, False], Key(decides=False)] = "auto"  # likewise
    recompute: Annotated[bool, Key(decides=False)] = False
    strategy: Annotated[Literal["none", "ddp", "fsdp"], Key(decides=False, later=True)] = "none"
    devices: Annotated[Whole, Field(ge=1, le=1_024), Key(decides=False, later=True)] = 1

    @property
    def masking(self) -> dict[str, Any]:
        """How encoders learn to fill in a canvas, as keys of ``Limits``."""
        return {"mask_order": self.mask_order, "mask_weights": self.mask_weights, "canvas": self.canvas}


class Training(TrainingEntry):
    """The recipe of a run.

    ``proxy_width``: the learning rate belongs to a model of this width and is scaled to the run's by the rule of
    ``training.optimizer``. ``proxy_share``: it belongs to trials on this multiple of the run's tokens and is scaled by
    ``token_factor``. None: it is used as it is.
    """

    learning_rate: Rate = TrainingEntry.model_fields["learning_rate"].default
    proxy_width: Annotated[Width | None, Key(later=True)] = None
    proxy_share: Annotated[Positive | None, Key(later=True)] = None

    @property
    def token_factor(self) -> float:
        """Factor of the learning rate: the best rate falls with the square root of the tokens (docs/tuning.md)."""
        return math.sqrt(self.proxy_share or 1.0)

    @classmethod
    def of(cls, entry: TrainingEntry, **values: Any) -> "Training":
        """The recipe with these values; where the rate is to be transferred and is not known, with the default."""
        unknown = {"learning_rate"} if entry.learning_rate == TRANSFER else None
        return cls(**entry.model_dump(exclude=unknown)).patched(values)

    def identity(self) -> dict[str, Any]:
        """The settings that decide a run's outcome, as JSON values."""
        return self.plain(deciding=True)


class Tuned(Section):
    """One architecture's values that earlier trials chose on validation; they override the shared recipe.

    ``form`` names the one of its ``alternatives`` that is compared under its name; empty: the architecture itself.
    """

    learning_rate: Rate | None = None
    dropout: Fraction | None = None
    form: str = ""


class Tuning(Section):
    """A grid of trials, the same for every architecture of a task; reported runs use the best setting on validation.

    Without ``dropout`` the grid has the recipe's value, and a second one if the budget makes more than four passes
    over the data. Trials have seeds of their own and never see the test split. ``width`` is that of the trials' models
    (with ``learning_rate = "transfer"``; None: the reported width). ``share`` is their part of the training tokens; the
    chosen rate is scaled to a run's tokens. ``longer``: where no trial of an architecture learned, those of all are
    repeated on twice the tokens.
    """

    learning_rate: Annotated[tuple[Rate, ...], BeforeValidator(listed), Field(min_length=2), AfterValidator(unique)]
    dropout: Listed[Fraction] | None = None
    seeds: Listed[Seed] = (TUNING_SEED,)
    width: Width | None = None
    share: Annotated[Number, Field(gt=0, le=1)] = 1.0
    longer: Annotated[bool, Key(later=True, in_files=True)] = False


class Form(Section):
    """One entry of ``alternatives``: a variant of the architecture's family, or settings that a task takes over.

    ``variant`` is a name or path; empty: the architecture itself. A file may give the variant alone, as text. With
    settings, ``name`` is what results call the form. Trials choose learning rate and dropout, and a match has one
    width, so that these are no part of a form.
    """

    name: Word
    variant: str = ""
    training: TrainingEntry = TrainingEntry()
    model: Model = Model()

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Changed settings by table of a task; empty where the form is a variant alone."""
        return {table: keys for table in ("training", "model") if (keys := getattr(self, table).stated())}

    def plain(self, *, deciding: bool = False) -> Any:
        """As a file has it: a variant alone is its name."""
        return self.stated() if self.settings else self.variant


def _forms(value: object) -> object:
    """Alternatives as tables: a variant given by name becomes the form of that name."""
    items = listed(value)
    if not isinstance(items, tuple):
        return items
    for item in items:
        if not isinstance(item, str | Mapping | Form) or item == "":
            raise ValueError(f"{printable(item)}: expected the name of a variant, or a table with a name and settings")
    return tuple({"name": item, "variant": item} if isinstance(item, str) else item for item in items)


def _named_apart(forms: tuple[Form, ...]) -> tuple[Form, ...]:
    unique(tuple(form.name for form in forms))
    return forms


class Keys(Section):
    """Keys of the experiment, its tasks, conditions and pretrainings."""

    architectures: Names = ()
    seeds: Listed[Seed] = (0,)
    budget: Budget = Budget()
    model: Model = Model()
    training: Annotated[TrainingEntry, Key(decides=False)] = TrainingEntry()  # a run names its own recipe


class ComparedKeys(Keys):
    """Keys of the experiment, its tasks and conditions."""

    supervision: Supervision = "native"
    tuning: Annotated[Tuning | None, Key(decides=False)] = None  # a run names the values that were chosen


class InheritedKeys(ComparedKeys):
    """Keys of the experiment and its tasks."""

    alternatives: dict[
        str, Annotated[tuple[Form, ...], BeforeValidator(_forms), Field(min_length=1), AfterValidator(_named_apart)]
    ] = {}


class Named(Section):
    """A name, which every table but those of keys has, for messages and results."""

    name: Name | None = None


class TextKeys(Named):
    """Keys of tasks and pretrainings: their data."""

    data: Annotated[Data, WrapValidator(_data)]
    columns: Annotated[dict[str, Column], Field(min_length=1)] | None = None
    tokenizer: Tokenizer | None = None
    vocabulary: Vocabulary | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    context: Length | None = None
    test_examples: Count | None = None


class TaskKeys(InheritedKeys, TextKeys):
    """Keys of tasks that mean the same in an experiment file and after everything is filled in."""

    tuned: dict[str, Tuned] = {}


class StartKeys(Section):
    """Keys for what the runs of a task start from, and how they are trained, where that is one of several.

    0 ``examples`` or ``validation_examples`` are all of them. None of these names a run itself: `Plan` has the run or
    checkpoint that it starts from, its tokens, the digest of its data, and, as fields of its own, ``adapt`` and what a
    prompt is made of.
    """

    start: Annotated[str, IN_PLAN] = SCRATCH
    with_tokens_of: Annotated[str, IN_PLAN] = ""
    examples: Annotated[int, IN_PLAN] = 0
    draw: Annotated[Draw, Key(decides=False, later=True, in_files="seed")] = ONCE
    validation_examples: Annotated[int, IN_PLAN] = 0
    adapt: Annotated[Adapt | Literal["zero-shot"], IN_PLAN] = FINETUNE
    shots: Annotated[int, IN_PLAN] = 0
    verbalizers: Annotated[dict[str, str], IN_PLAN] = {}


class Task(TaskKeys, StartKeys):
    """One data set with every setting resolved.

    ``source_length`` and ``target_length`` are limits in tokens, including END; ``context`` is their sum for
    running text and None otherwise. ``primary`` are its primary measures (none in older records, where kind and data
    decided them); ``vocabulary`` is 0 if the text decides it (char, byte). Paths in ``data`` are relative to the
    experiment's ``folder``. ``kind_file`` is the file that defines a user's kind.

    ``condition`` is empty for a task as first stated; in a condition it names the change. ``share`` is the fraction of
    the budget that is trained. ``fixed`` lists the training settings that a condition sets, which override tuned ones.
    ``own_lists`` names which of ``architectures`` and ``seeds`` a condition gives itself; ``retuned`` says whether
    it gives ``tuning``. ``unformed`` is the task as it is stated, where this one has the settings of a form.
    """

    kind: Word
    name: Name
    columns: dict[str, Column]
    tokenizer: Tokenizer
    vocabulary: int
    source_length: int
    target_length: int
    test_examples: int
    architectures: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    condition: str = ""
    share: float = 1.0
    fixed: tuple[str, ...] = ()
    own_lists: tuple[str, ...] = Field(default=(), alias="own")
    retuned: bool = False
    baseline: str = ""
    primary: Annotated[tuple[str, ...], BeforeValidator(_measures)] = ()
    kind_file: str = ""
    metrics: tuple[str, ...] = ()
    unformed: "Task | None" = Field(default=None, exclude=True)

    @property
    def checkpoint(self) -> str:
        """The checkpoint of ``transformers`` that is trained in place of the architectures; empty where none is."""
        return self.start if is_checkpoint(self.start) else ""

    @property
    def compares_texts(self) -> bool:
        """True if its kind compares texts (``TaskKind.compares_texts``)."""
        return self.context is not None and len(self.columns) > 1

    @property
    def trains(self) -> bool:
        """True if its data have a training split, which is optional for texts that are compared."""
        return not self.compares_texts or (isinstance(self.data, dict) and "train" in self.data)

    @property
    def is_adapted(self) -> bool:
        """True if it starts from a pretraining, sees some of the examples, or trains a head."""
        return any(getattr(self, name) != key.default for name, key in StartKeys.model_fields.items())

    def candidates(self, architecture: str) -> tuple[Form, ...]:
        """Forms that may be compared under an architecture's name: itself and its alternatives, all with their variant.

        Where earlier trials chose one of these, it alone.
        """
        others = self.alternatives.get(architecture, ())
        forms = (
            Form(name=architecture, variant=architecture),
            *(form.patched({"variant": form.variant or architecture}) for form in others),
        )
        chosen = self.chosen_form(architecture)
        return tuple(form for form in forms if form.name == chosen) if chosen else forms

    def chosen_form(self, architecture: str) -> str:
        """The form that earlier trials chose for an architecture, by its name or path; empty: it is not known."""
        tuned = self.tuned.get(variant_name(architecture))
        return tuned.form if tuned else ""

    @property
    def all_candidates(self) -> tuple[str, ...]:
        """Every variant that may be trained, alternatives included, by name or path."""
        return tuple(dict.fromkeys(form.variant for name in self.architectures for form in self.candidates(name)))

    def in_form(self, form: Form, usual: "Task") -> "Task":
        """The task with the settings of a form, except what a condition of the ``usual`` task sets itself."""
        taken: dict[str, dict[str, Any]] = {
            "training": {key: value for key, value in form.training.stated().items() if key not in self.fixed},
            "model": form.model.stated() if self.model == usual.model else {},
        }
        return self.patched({**taken, "unformed": self}) if any(taken.values()) else self

    @property
    def stated_task(self) -> "Task":
        """The task without the settings of a form: the budget is that of its first architecture."""
        return self.unformed or self

    @property
    def extends(self) -> bool:
        """True if it only adds architectures, seeds or axes to the task's own comparison, or is the task itself."""
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
    pretraining: Annotated[tuple[Pretraining, ...], Key(later=True)] = ()
    controls: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = DEFAULT_CONTRASTS
    margins: dict[str, float] = {}
    folder: str = Field(default=".", exclude=True)
    settings: dict[str, Any] = Field(default={}, exclude=True)
    added: dict[str, dict[str, int]] = Field(default={}, exclude=True)
    against: Against | None = Field(default=None, exclude=True)
    environment: Annotated[dict[str, str], Key(later=True)] = {}

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
        return self.plain()
