"""Commented templates for a new task kind or metric."""

import re

from archbench.tasks.base import code
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.kinds import registry
from archbench.tasks.metrics.builtin import BUILTIN

LIKE = tuple(name for name, kind in registry.BUILTIN.items() if not kind.only_data)  # kinds that any data can serve
FORMS = {
    "running text": "a part of running text (a .txt file) and its continuation",
    "labels": "a text and its label, which must occur in the training split",
    "pairs": "a source text and a target text",
}
KIND = '''"""A kind of task like archbench's {like}: describe the task here.

In an experiment file beside this one:

    [[tasks]]
    kind = "{file}.py"
    data = {data}
"""

from archbench.tasks import TaskKind
{measure}
kind = TaskKind(
    # Its name in tables and on pages, and the end of the sentence "it was trained to ...".
    name="{name}",
    does="{does}",
    # An example is {what}.
    # Other forms:
{others}
    form="{form}",
    # The names of the columns; an experiment may map other names to them.
    columns={columns},
    # Built-in metrics for scoring answers. An experiment can add your own metrics (metrics = [...]).
    # Likelihoods are always scored.
    metrics={metrics},
    # The primary metrics, unless the experiment names others (primary = ...).
    primary={primary},
    # Default limits in tokens, including END: longer sources are truncated, examples with longer targets are omitted.
    source_length={source},
    target_length={target},
    # The default tokenizer (char, byte, word or bpe) and number of scored test examples.
    tokenizer="{tokenizer}",
    test_examples={examples},
    # Whether an answer is either right or wrong; the page then marks it.
    one_answer={one_answer},
    # A kind may also define three functions: decoding(prepared) -> Decoding sets how answers are generated,
    # measure(prepared, outputs) -> list[Score] scores them, baselines(prepared) -> list[Baseline] makes the simple
    # baselines. These types are in archbench.tasks; archbench's tasks/kinds/ has examples. Test examples are in the
    # order of their file, and outputs.rows are their rows in it.
)
'''
MEASURE = '''
# A measure for minimal pairs, where each row with the better target is followed by one with the worse; archbench's
# tutorial has such data. To use it, uncomment it, set metrics=("accuracy",), primary=("accuracy",) and test_examples to
# at least the rows of the test file, so that no pair is separated, and add to the kind
#     measure=measure, decoding=lambda prepared: Decoding(count=0), baselines=lambda prepared: [],
# Rows with equal sources stay in one split: give a file for each.
#
# from archbench.tasks import Decoding, Outputs, Prepared, Score, mean_score
#
#
# def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
#     """The share of pairs whose better target has the higher likelihood; ties count half."""
#     nats = dict(zip(outputs.rows.tolist(), outputs.nats.tolist()))  # -log p of each target, by its row of the file
#     pairs = [(nats[row], nats[row + 1]) for row in nats if row % 2 == 0 and row + 1 in nats]
#     return [mean_score("accuracy", [0.5 if one == two else float(one < two) for one, two in pairs])]
'''
METRIC = '''"""A metric computed from texts: describe here what it measures.

In an experiment file beside this one:

    [[tasks]]
    metrics = ["{file}.py:{name}"]
"""

# The better direction ("higher" or "lower"), and the range of values (float("inf") for no limit).
DIRECTION = "higher"
RANGE = (0.0, 1.0)
# Optional: its name on pages, its unit, the number of decimals, and the smallest relevant difference.
LABEL = "{label}"
UNIT = ""
DECIMALS = 3
# MARGIN = 0.02


def {name}(references: list[str], predictions: list[str]) -> float:
    """Share of a reference's words that also occur in the answer, averaged over examples."""
    shares = []
    for reference, prediction in zip(references, predictions, strict=True):
        words = set(reference.split())
        shares.append(len(words & set(prediction.split())) / max(1, len(words)))  # a model may generate any text
    return sum(shares) / len(shares)
'''


def kind_text(stem: str, like: str) -> str:
    """The text of ``stem``.py with a kind modelled on the built-in kind ``like``; ``InputError`` if there is none."""
    if like not in LIKE:
        raise InputError(f'--task: "{like}": expected {", ".join(LIKE[:-1])} or {LIKE[-1]}{_near(like)}')
    name = stem.lower()
    if name in registry.names():
        raise InputError(f'NAME: "{name}" is already a task kind; choose another name')
    base = registry.BUILTIN[like]
    return KIND.format(
        like=like,
        measure=MEASURE if base.form == "pairs" else "",
        file=stem,
        data=_data(base),
        name=name,
        does=base.does,
        what=FORMS[base.form],
        others="\n".join(f'    #   "{form}": {what}' for form, what in FORMS.items() if form != base.form),
        form=base.form,
        columns=_tuple(base.columns),
        metrics=_tuple(base.metrics),
        primary=_tuple(base.primary),
        source=base.source_length,
        target=base.target_length,
        tokenizer=base.tokenizer,
        examples=base.test_examples,
        one_answer=base.one_answer,
    )


def metric_text(stem: str) -> str:
    """The text of ``stem``.py with a metric of that name; ``InputError`` if a built-in metric has this name."""
    name = re.sub(r"\W", "_", stem)
    if name in BUILTIN:
        raise InputError(f'NAME: "{name}" is already a metric; choose another name')
    return METRIC.format(file=stem, name=name, label=name.replace("_", " "))


def _near(like: str) -> str:
    near = code.hint(like, LIKE)
    return near if "did you mean" in near else ""


def _data(base: TaskKind) -> str:
    if base.form == "running text":
        return '{ train = "train.txt", test = "test.csv" }' if base.compares_texts else '"input.txt"'
    return '{ train = "train.csv", test = "test.csv" }'


def _tuple(names: tuple[str, ...]) -> str:
    return f"({', '.join(map(_quoted, names))}{',' * (len(names) == 1)})"


def _quoted(name: str) -> str:
    return f'"{name}"'
