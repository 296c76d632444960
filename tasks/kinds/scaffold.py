"""The text of a new file that defines a kind of task or a metric, with comments, ready to edit."""

import re

from archbench.tasks.base import code
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.kinds import registry
from archbench.tasks.metrics.builtin import BUILTIN

LIKE = tuple(name for name, kind in registry.BUILTIN.items() if not kind.only)  # kinds that any data can serve
FORMS = {
    "running text": "a beginning of running text (a .txt file) and how it goes on",
    "labels": "a text and its label, one of those of the training split",
    "pairs": "a text, the source, and the text to be written for it, the target",
}
KIND = '''"""A kind of task like archbench's {like}: say here what is asked of a model.

In an experiment file beside this one:

    [[tasks]]
    kind = "{file}.py"
    data = {data}
"""

from archbench.tasks import TaskKind

kind = TaskKind(
    # What tables and pages call it, and what completes "it was trained to ...".
    name="{name}",
    does="{does}",
    # An example is {what}.
    # Other forms:
{others}
    form="{form}",
    # What the columns of a table are for; an experiment may map them to other names.
    columns={columns},
    # How answers are scored: built-in metrics of texts. Metrics of your own stand in the experiment (metrics = [...]).
    # Likelihoods are scored as well.
    metrics={metrics},
    # The metric that a task is judged by unless its experiment says otherwise (primary = ...).
    primary="{primary}",
    # The usual limits in tokens, END counted: longer sources are cut, examples with longer targets are left out.
    source_length={source},
    target_length={target},
    # The usual tokenizer (char, byte, word or bpe), and how many test examples every model is scored on.
    tokenizer="{tokenizer}",
    test_examples={examples},
    # Whether an answer is right or wrong, so that the page marks it.
    one_answer={one_answer},
    # Where that is not enough, three functions: decoding(prepared) -> DecodingConfig says how answers are written,
    # measure(prepared, outputs) -> list[Score] scores them, references(prepared) -> list[Reference] makes the rows of
    # classical methods. All of it comes from archbench.tasks; tasks/kinds/ of archbench has examples.
)
'''
METRIC = '''"""A metric of texts: say here what it measures.

In an experiment file beside this one:

    [[tasks]]
    metrics = ["{file}.py:{name}"]
"""

# Which is better, higher or lower, and between which values it lies (float("inf") where there is no limit).
DIRECTION = "higher"
RANGE = (0.0, 1.0)
# Optional: what pages call it, its unit, how many decimals are printed, and the least difference that matters.
LABEL = "{label}"
UNIT = ""
DECIMALS = 3
# MARGIN = 0.02


def {name}(references: list[str], predictions: list[str]) -> float:
    """Share of a reference's words that the answer has too, averaged over examples."""
    shares = []
    for reference, prediction in zip(references, predictions, strict=True):
        words = set(reference.split())
        shares.append(len(words & set(prediction.split())) / max(1, len(words)))  # a model may answer anything
    return sum(shares) / len(shares)
'''


def kind_text(stem: str, like: str) -> str:
    """A file called ``stem``.py with a kind like the built-in one; raises ``InputError`` where that is not one."""
    if like not in LIKE:
        raise InputError(f'--task: "{like}": expected {", ".join(LIKE[:-1])} or {LIKE[-1]}{_near(like)}')
    name = stem.lower()
    if name in registry.names():
        raise InputError(f'NAME: "{name}" is a kind of task already; choose another name')
    base = registry.BUILTIN[like]
    return KIND.format(
        like=like,
        file=stem,
        data=_data(base),
        name=name,
        does=base.does,
        what=FORMS[base.form],
        others="\n".join(f'    #   "{form}": {what}' for form, what in FORMS.items() if form != base.form),
        form=base.form,
        columns=_tuple(base.columns),
        metrics=_tuple(base.metrics),
        primary=base.primary,
        source=base.source_length,
        target=base.target_length,
        tokenizer=base.tokenizer,
        examples=base.test_examples,
        one_answer=base.one_answer,
    )


def metric_text(stem: str) -> str:
    """A file called ``stem``.py with a metric of that name; raises ``InputError`` where that is a built-in one's."""
    name = re.sub(r"\W", "_", stem)
    if name in BUILTIN:
        raise InputError(f'NAME: "{name}" is a metric already; choose another name')
    return METRIC.format(file=stem, name=name, label=name.replace("_", " "))


def _near(like: str) -> str:
    near = code.hint(like, LIKE)
    return near if "did you mean" in near else ""


def _data(base: TaskKind) -> str:
    return '"input.txt"' if base.form == "running text" else '{ train = "train.csv", test = "test.csv" }'


def _tuple(names: tuple[str, ...]) -> str:
    return f"({', '.join(map(_quoted, names))}{',' * (len(names) == 1)})"


def _quoted(name: str) -> str:
    return f'"{name}"'
