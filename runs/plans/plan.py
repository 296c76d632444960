"""The plan of one run: the settings that decide its result, the name derived from them, its row in the table."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from archbench.architectures.catalogue import digests
from archbench.architectures.families.size import Counts, Limits, Size
from archbench.runs.experiment.keys import Key
from archbench.runs.experiment.sections import FINETUNE, PROMPT, Training, is_checkpoint
from archbench.tasks.base.values import TaskConfig
from archbench.tasks.kinds import registry

LATER = Key(later=True)  # of a field: it names a run only where it differs from its default
LABELS = ("experiment", "architecture", "family", "task", "dataset", "seed", "match")

EFFICIENCY = 0.7  # of the speed of a small model's block, reached with all around it; for expected times only


@dataclass(frozen=True)
class ExecutionSetting:
    """Where the runs will run. ``rate``: FLOP/s of a small model's block there, in training."""

    device: str
    deterministic: bool
    threads: int
    cache: Path
    rate: float
    environment: Mapping[str, str] = field(default_factory=dict)  # variables that the experiment gives to users' files

    @property
    def speed(self) -> float:
        """FLOP/s that a run can be expected to reach."""
        return EFFICIENCY * self.rate


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of one run: all settings that decide its result, and the planned part of its row in the table."""

    # which run it is
    experiment: str
    architecture: str
    family: str
    description: str = ""  # of the variant, in a line
    seed: int
    match: str
    trial: Annotated[bool, LATER] = False  # of the tuning: never sees the test split
    stage: int = 0  # runs of an earlier stage are done first

    # the data
    task: TaskConfig
    data: str  # digest of examples and tokenizer
    vocabulary: int
    examples: int = 0  # of the training split, where starts, adaptations or numbers of examples are compared
    validation_examples: int = 0  # of the validation split, likewise
    kind_form: str = ""  # of the examples of a task kind that is not archbench's own
    kind_code: str = ""  # digest of the code of such a kind; names no run: what it computes is stamped with it
    decoding: Annotated[dict[str, Any], LATER] = field(default_factory=dict)  # of such a kind; empty: that of its form

    # the model
    variant: str  # name or path, for the catalogue
    variant_text: str
    variant_digest: str = ""  # SHA-256 of its code; by default that of the text
    foreign: bool = False  # the variant is code of the user or of another package
    breaks: str = ""  # checks of the contract that the variant is known to fail
    size: Size
    counts: Counts
    heads: int | None = None  # of the model, where they are not those of the size

    # the training
    training: Training
    settings: Annotated[dict[str, Any], LATER] = field(default_factory=dict)  # `Section.later` of its task
    supervision: str
    objective: dict[str, float] = field(default_factory=dict)  # of a pretraining: the share of each
    mask_rate: float | None = None  # of a pretraining; None: drawn uniformly
    sampled: bool = False  # validation samples the likelihood, which takes a pass per token

    # what it starts from
    start: Annotated[str, LATER] = ""  # the pretraining run whose weights it starts from
    start_name: str = ""  # what the experiment calls that pretraining
    adapt: Annotated[str, LATER] = FINETUNE  # how the task trains the model
    shots: int = 0  # training examples in a prompt
    verbalizers: dict[str, str] = field(default_factory=dict)  # words that stand for labels in a prompt
    pretraining_tokens: float = 0.0
    pretraining_flops: float = 0.0

    # the budget
    targets: dict[str, float]  # what the match holds equal: the reference's figures
    tokens: int
    loss_tokens: float = 0.0  # expected number of tokens with a loss
    flops: float
    optimizer_flops: float

    # where it runs, and what that takes
    device: str
    precision: str
    threads: int
    deterministic: bool
    cache: str
    expected_seconds: float
    scoring_seconds: float = 0.0  # part of the expected seconds
    predictions: int = 0  # bytes of their table, at most
    baselines: bool = False  # this run also makes the data set's baselines
    environment: dict[str, str] = field(default_factory=dict)  # variables that the experiment gives to users' files

    def __post_init__(self) -> None:
        if not self.variant_digest:
            object.__setattr__(self, "variant_digest", digests.of_text(self.variant_text))

    @property
    def variables(self) -> dict[str, str]:
        """The experiment's variables for the run's process; none where it runs no user's code."""
        return self.environment if self.foreign or self.kind_code else {}

    @property
    def is_pretraining(self) -> bool:
        return bool(self.objective)

    @property
    def keeps_last(self) -> bool:
        """True if the weights of the last step are kept: always those of a pretraining."""
        return self.is_pretraining or self.training.keep == "last"

    @property
    def is_trained(self) -> bool:
        """True if weights are trained here: not those of a prompted model, nor of a checkpoint scored as it is."""
        return self.tokens > 0

    @property
    def total_tokens(self) -> float:
        """Tokens read in training and pretraining."""
        return self.tokens + self.pretraining_tokens

    @property
    def total_flops(self) -> float:
        """FLOPs of training and pretraining."""
        return self.flops + self.pretraining_flops

    @property
    def labelled(self) -> str:
        """The numbers of labelled examples in words, where they are recorded: "100 labels + 100 for validation"."""
        noun = "labels" if self.task.target_length == 1 else "examples"
        words = f"{self.examples:,} {noun} + {self.validation_examples:,} for validation"
        return words if self.examples else ""

    @property
    def limits(self) -> Limits:
        task, masking = self.task, self.training.masking
        return Limits(self.vocabulary, task.source_length, task.target_length, **masking)

    @property
    def snapshots(self) -> int:
        return self.training.snapshots if self.is_trained else 0

    @property
    def devices(self) -> int:
        return self.training.devices

    @property
    def numerics(self) -> int:
        return registry.numerics(self.task.kind, self.kind_form)

    @property
    def native(self) -> bool:
        return self.supervision == "native"

    def identity(self) -> dict[str, Any]:
        """The run's settings that decide its result, as plain values."""
        task = {"kind": self.task.kind, "source": self.task.source_length, "target": self.task.target_length}
        return {
            "numerics": self.numerics,
            "variant": self.variant_digest,
            "size": asdict(self.size),
            "task": task,
            "data": self.data,
            "seed": self.seed,
            "supervision": self.supervision,
            "training": self.training.identity(),
            "tokens": self.tokens,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "deterministic": self.deterministic,
            **self._later(),
            **({"environment": self.variables} if self.variables else {}),
            **({"validation": "sampled"} if self.sampled else {}),
            **({"compile": True} if self.training.compile else {}),
            **({"objective": self.objective, "mask_rate": self.mask_rate} if self.objective else {}),
            **({"shots": self.shots, "verbalizers": self.verbalizers} if self.adapt == PROMPT else {}),
        }

    def _later(self) -> dict[str, Any]:
        """The fields that are later keys, where they differ from their default."""
        later = (item for item in fields(self) if LATER in getattr(item.type, "__metadata__", ()))
        usual = {item.name: {} if item.default is MISSING else item.default for item in later}
        return {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}

    @property
    def run(self) -> str:
        """``<dataset>-<architecture>-s<seed>-<hash>``, fit for a folder's name; the hash is of the identity."""
        return self.named(self.identity())

    def named(self, identity: Mapping[str, Any]) -> str:
        """The name that the run would have with this identity."""
        text = json.dumps(identity, sort_keys=True)
        architecture = re.sub(r"[^A-Za-z0-9._-]+", "-", self.architecture).strip("-.")
        if architecture != self.architecture:
            text += self.architecture  # two names can become the same folder name
        return f"{self.task.name}-{architecture}-s{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def row(self) -> dict[str, Any]:
        """The planned part of the run's row in the table of runs."""
        return {
            "run": self.run,
            "experiment": self.experiment,
            "architecture": self.architecture,
            "description": self.description,
            **({"breaks": self.breaks} if self.breaks else {}),
            "family": self.family,
            "variant_digest": self.variant_digest[:12],
            "task": "pretraining"
            if self.is_pretraining
            else self.task.kind,  # a task kind; the name is fixed by the format
            "dataset": self.task.name,  # of the task: two tasks may have the same data
            "seed": self.seed,
            "match": self.match,
            "supervision": self.supervision,
            "parameters": self.counts.parameters,
            "embedding_parameters": self.counts.embedding_parameters,
            "active_parameters": self.counts.active_parameters,
            "buffers": self.counts.buffers,
            **{f"target_{axis}": value for axis, value in self.targets.items()},
            "planned_tokens": self.tokens,
            "expected_loss_tokens": self.loss_tokens,
            "expected_flops": self.flops,
            "optimizer_flops": self.optimizer_flops,
            "width": self.size.dim,
            "heads": self.heads or self.size.heads,
            "depth": self.size.depth,
            "hidden": self.size.hidden,
            "batch_tokens": self.training.batch_tokens,
            "learning_rate": self.training.learning_rate,
            **(self._started() if self.examples or self.start_name else {}),
            **({"strategy": self.training.strategy, "devices": self.devices} if self.devices > 1 else {}),
            **({"proxy_width": self.training.proxy_width} if self.training.proxy_width else {}),
            **({"proxy_share": self.training.proxy_share} if self.training.proxy_share else {}),
            **self._masking(),
            **({"keep": self.training.keep} if self.training.keep != "best" else {}),
            **({"pretrained_share": share} if (share := self.training.pretrained_share) < 1 else {}),
            "optimizer": self.training.optimizer,
            "dropout": self.training.dropout,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "expected_seconds": self.expected_seconds,
            "expected_scoring_seconds": self.scoring_seconds,
        }

    def _masking(self) -> dict[str, str]:
        """How an encoder learns to fill in its canvas, where that is not the usual way."""
        usual = Training().masking
        return {key: value for key, value in self.training.masking.items() if value != usual[key]}

    def _started(self) -> dict[str, Any]:
        """Columns for a run's start, its adaptation, and its numbers of examples, with those for validation."""
        known = {"pretraining_tokens": self.pretraining_tokens, "pretraining_flops": self.pretraining_flops}
        return {
            "start": self.start_name or "scratch",
            "adapt": self.adapt,
            **({"examples": self.examples, "validation_examples": self.validation_examples} if self.examples else {}),
            **({"shots": self.shots, "examples": self.shots} if self.adapt == PROMPT else {}),
            **({} if is_checkpoint(self.start_name) else known),
        }

    def labels(self) -> dict[str, Any]:
        """The part of the row that says which run this is, and what depends on the experiment in which it stands."""
        row = self.row()
        return {key: row[key] for key in row if key in LABELS or key.startswith("target_")}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "training": self.training.model_dump(mode="json")}


def from_json(value: Mapping[str, Any]) -> Plan:
    """The plan that ``Plan.to_json`` wrote."""
    parts = {
        "task": TaskConfig(**{**value["task"], "metrics": tuple(value["task"].get("metrics", ()))}),
        "training": Training.model_validate_json(json.dumps(value["training"])),
        "size": Size(**value["size"]),
        "counts": Counts(**value["counts"]),
    }
    known = {key: part for key, part in value.items() if key != "run"}  # the name follows from the plan
    return Plan(**{**known, **parts})
