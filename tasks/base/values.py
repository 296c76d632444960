"""The values that tasks hand to the training and scoring loops: configuration, examples, answers and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.example import Example, Tokens

if TYPE_CHECKING:
    from archbench.tasks.text.tokenizers import Tokenizer


@dataclass(frozen=True)
class TaskConfig:
    """One task as an experiment names it; everything here decides the encoded examples.

    ``data`` is a built-in name, ``hub:owner/name``, a file, or files by split (two parallel files as a list); relative
    paths are beside the experiment file, in ``folder``. ``source_length`` and ``target_length`` are in tokens, END
    counted. ``source_length=0`` with running text means language modelling of whole windows. ``vocabulary`` bounds the
    ids of ``bpe`` and ``word``, special tokens and labels included; ``char`` and ``byte`` size themselves. With the
    tokenizer "pretrained", ``pretrained`` is the JSON file of a tokenizer of the ``tokenizers`` library.
    ``shared_tokenizer`` is the JSON file of an archbench tokenizer that several tasks share (empty: the task trains its
    own on the training split).

    ``texts_of`` is the kind, or the file of a user's kind, of a task whose texts are read as running text, without
    labels. Empty: the data are running text themselves.

    ``sentinels`` is the number of labels that stand for corrupted spans of running text. ``examples`` bounds the
    training split (0: all of it): smaller subsets are part of larger ones. With ``draw_seed`` they are drawn with that
    seed, and so are ``validation_examples`` (0: all). Without, neither depends on a seed, and all of the validation
    split is used.

    ``kind`` is the name of a kind; ``kind_file`` is the Python file of one that is the user's, beside the experiment.
    ``metrics`` score answers beside the metrics of the kind; they decide nothing else.
    """

    kind: str
    name: str
    data: str | Mapping[str, str | Sequence[str]]
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    tokenizer: str = "bpe"
    vocabulary: int = 4096
    encoding: str = "utf-8"
    source_length: int = 64
    target_length: int = 64
    test_examples: int = 500
    folder: str = "."
    pretrained: str = ""
    kind_file: str = ""
    metrics: tuple[str, ...] = ()
    shared_tokenizer: str = ""
    texts_of: str = ""
    sentinels: int = 0
    examples: int = 0
    validation_examples: int = 0
    draw_seed: int | None = None


def every_column(columns: Mapping[str, str | list[str]]) -> list[str]:
    """The names of all columns, in order."""
    return [name for names in columns.values() for name in ([names] if isinstance(names, str) else names)]


class Examples(Protocol):
    """An indexed collection of ``n`` examples, memory-mapped."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    @property
    def source_lengths(self) -> NDArray[np.int64]:
        """Tokens of each source, (n,)."""
        ...

    @property
    def target_lengths(self) -> NDArray[np.int64]:
        """Tokens of each target, END counted, (n,)."""
        ...

    @property
    def target_bytes(self) -> NDArray[np.int64]:
        """UTF-8 bytes of the text that each target stands for, (n,)."""
        ...

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of its file (or split of the hub) that each example was read from, counted from 0 after the header;
        of running text the number of the window; (n,)."""
        ...

    def source_text(self, index: int) -> str: ...

    def target_text(self, index: int) -> str: ...

    def epoch(self, seed: int, epoch: int) -> "Examples":
        """The examples of one pass: windows of running text are cut elsewhere (one more or fewer), pairs stay."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A task, encoded. ``test`` is the seeded subset of ``test_examples`` that every model is scored on.

    For tables of kinds that are not archbench's own, ``test`` is in the order of ``test.rows``, else in a random order.

    ``allowed_tokens`` (v,) is True at the tokens that an answer may use, END included where ``ends`` says that targets
    carry one. ``digest`` identifies examples and tokenizer by content, ``notes`` counts what was cut, excluded or
    unseen. ``slices`` are further test sets by name, such as "length=40".
    """

    config: TaskConfig
    kind: str
    name: str
    tokenizer: "Tokenizer"
    train: Examples
    validation: Examples
    test: Examples
    allowed_tokens: NDArray[np.bool_]
    ends: bool
    digest: str
    licence: str
    origin: str
    notes: Mapping[str, int]
    slices: Mapping[str, Examples] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """A model's results for the ``n`` examples of ``Prepared.test``, in their order.

    ``rows`` (n,) are the rows of the file that they were read from, counted from 0 after the header. Rows can be
    missing: those that are empty, those whose target is too long, those beyond ``test_examples``.

    ``nats`` (n,) is -log p(target | source), infinite where impossible; ``tokens`` (n,) and ``bytes`` (n,) count the
    target. ``bound_nats`` (n,) is an upper bound on them where the objective has one. Answers exist for the first
    ``len(answers)`` examples only: generating is bounded by `Decoding.count`. ``pseudo_nats`` (n,) is the sum of
    -log p(token | all others) where texts are compared and tokens are masked (1910.14659).
    """

    sources: Sequence[str]
    references: Sequence[str]
    answers: Sequence[str]
    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    bytes: NDArray[np.int64]
    bound_nats: NDArray[np.float64] | None = None
    answer_ids: Sequence[Tokens] = ()
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pseudo_nats: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Score:
    """A metric over ``n`` examples with its 95% percentile-bootstrap interval over examples.

    ``value`` is the mean of ``per_example``, which is empty unless the table of predictions has a value for each
    example; NaN there stands for an example without a value.
    """

    metric: str
    value: float
    lower: float
    upper: float
    n: int
    per_example: tuple[float, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """A baseline: the score of a classical method on the same examples."""

    name: str
    split: str
    metric: str
    value: float
