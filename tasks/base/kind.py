"""A kind of task as one value: the form and lengths of its examples, and how answers are given, scored and shown."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score

Form = Literal["running text", "labels", "pairs"]
FORMS: tuple[Form, ...] = get_args(Form)
TOKENIZERS = ("char", "byte", "word", "bpe")
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class TaskKind:
    """A kind of task with all of its defaults.

    ``form`` is the form of an example: a beginning of running text and its continuation ("running text"), a text and
    one of the labels of the training split ("labels"), or a text and a text with END ("pairs"). ``columns`` are the
    names of the columns of a table: one for running text, else source and target. Running text with two columns
    ``compares_texts``: a row of its test split has a better text and worse ones, each whole and without END.
    ``does`` completes "it was trained to ...": "translate a text".

    ``metrics`` are the names of the metrics that score its answers, which are texts. For pairs and running text,
    likelihoods are scored as well. ``primary`` are the metrics that a task is judged by unless its data set or the
    experiment says otherwise: its primary measures, the first one first. They are of ``judged`` (default: the metrics,
    and for texts bits per byte).

    ``source_length`` and ``target_length`` are the usual limits in tokens, END counted; of running text their sum is
    the context. ``shortest_source`` is the smallest limit of sources. ``tokenizer`` is the usual one of ``tokenizers``.
    ``one_answer``: an answer is either right or wrong. ``only_data`` is the built-in data set that the kind is limited
    to, empty for a kind that takes any data.

    ``decoding(prepared)``, ``measure(prepared, outputs)`` and ``baselines(prepared)`` are by default (None)
    those of the form. A ``measure`` that is not archbench's own is called with the outputs of the test split, which the
    run keeps: after an edit they are scored again. ``numerics`` is raised whenever a change alters what a run computes;
    only archbench's own kinds use it: others have that of their form. ``origin`` is the file or package of a kind that
    is not archbench's own.

    Raises ``ValueError`` for values that contradict each other.
    """

    name: str
    does: str
    form: Form
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    primary: tuple[str, ...]
    judged: tuple[str, ...] = ()
    source_length: int = 64
    target_length: int = 64
    tokenizer: str = "bpe"
    tokenizers: tuple[str, ...] = TOKENIZERS
    shortest_source: int = 1
    test_examples: int = 500
    one_answer: bool = False
    only_data: str = ""
    decoding: Callable[[Prepared], Decoding] | None = field(default=None, repr=False)
    measure: Callable[[Prepared, Outputs], list[Score]] | None = field(default=None, repr=False)
    baselines: Callable[[Prepared], list[Baseline]] | None = field(default=None, repr=False)
    numerics: int = 1
    origin: str = ""

    def __post_init__(self) -> None:
        for name in ("columns", "metrics", "primary", "judged", "tokenizers"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f'{name}: {value!r}: expected a tuple, as in ("{value}",)')
            object.__setattr__(self, name, tuple(value))
        if not self.judged:
            texts = () if self.form == "labels" else ("bits_per_byte",)
            object.__setattr__(self, "judged", tuple(dict.fromkeys((*self.metrics, *texts, *self.primary))))
        for wrong in _mistakes(self):
            raise ValueError(wrong)

    @property
    def compares_texts(self) -> bool:
        """True if whole texts are tested on, those of a row beside each other; a training text is optional."""
        return self.form == "running text" and len(self.columns) > 1

    @property
    def encoded_as(self) -> Any:
        """The values of the kind that decide the encoded examples."""
        return [self.name, self.form] if self.origin else self.name


def _mistakes(kind: TaskKind) -> list[str]:
    """The contradictions in a kind, one sentence each."""
    wanted = (1, 2) if kind.form == "running text" else (2,)
    checks = (
        (isinstance(kind.name, str) and bool(NAME.fullmatch(kind.name)), f"name: {kind.name!r}: expected lower-case "
         "letters, digits, '_' and '-', a letter first"),
        (kind.form in FORMS, f"form: {kind.form!r}: expected {', '.join(FORMS[:-1])} or {FORMS[-1]}"),
        (len(kind.columns) in wanted, f"columns: {kind.columns!r}: {kind.form} takes {' or '.join(map(str, wanted))}"),
        (bool(kind.does), "does: is empty; what is a model trained to do?"),
        (bool(kind.primary) and set(kind.primary) <= set(kind.judged), f"primary: {kind.primary!r}: "
         f"expected some of judged = {kind.judged!r}"),
        (kind.tokenizer in kind.tokenizers, f"tokenizer: {kind.tokenizer!r}: is not among {kind.tokenizers!r}"),
        (set(kind.tokenizers) <= set(TOKENIZERS), f"tokenizers: {kind.tokenizers!r}: expected of {TOKENIZERS!r}"),
        (kind.form != "labels" or kind.target_length == 1, "target_length: a label is one token; set it to 1"),
        (kind.form == "labels" or kind.target_length > 1, "target_length: expected at least 2, a token and END"),
        (kind.source_length >= kind.shortest_source > 0, "source_length: expected at least 1 and shortest_source"),
        (kind.test_examples > 0, "test_examples: expected at least 1"),
    )  # fmt: skip
    return [message for holds, message in checks if not holds]
