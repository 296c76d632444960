"""The residual stream by layer: how large it is, what each sublayer adds, and what can be read from it linearly."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.inspection.facts import AFTER, BEFORE, CLASS, EMBEDDING, HEADS, THIS
from archbench.inspection.subject import ExampleReading, InspectedRun, read_example
from archbench.tasks.base.example import SPECIALS

CLASSES = 20  # most frequent tokens that a probe tells apart
Floats = NDArray[np.float64]


def norms(subject: InspectedRun, examples: int = HEADS) -> list[dict[str, Any]]:
    """Mean length of the residual stream after each block, and of what its sublayers added: rows in order."""
    readings = [read_example(subject, pair) for pair in subject.examples[:examples]]
    rows = []
    for index, layer in enumerate(readings[0].layers):
        layers = [reading.layers[index] for reading in readings]
        states = {(EMBEDDING, "stream"): [block.before for block in layers]} if layer.number == 1 else {}
        states[layer.name, "stream"] = [block.after for block in layers if block.after is not None]
        states |= {(layer.name, part): [block.added[part] for block in layers] for part in layer.added}
        for (name, part), of_layer in states.items():
            lengths = np.concatenate([state[0].norm(dim=-1).numpy() for state in of_layer])
            rows.append({"axis": layer.axis, "layer": name, "part": part, "norm": float(lengths.mean())})
    return rows


def probes(subject: InspectedRun, examples: int = 200) -> list[dict[str, Any]]:
    """Rows with the accuracy of a linear classifier on the stream after each layer, on held-out examples.

    It reads, at every position, this token, the one before, the one after (of the most frequent ones), and for
    classification the class from the mean over positions. ``chance`` always names the most frequent answer (Alain and
    Bengio 2016, 1610.01644). ``behind`` is how far a layer is behind the best one for its question, ``behind_error``
    the standard error of that over examples.
    """
    readings = [read_example(subject, pair) for pair in subject.examples[:examples]]
    split = max(1, 2 * len(readings) // 3)
    rows: list[dict[str, Any]] = []
    for axis in dict.fromkeys(layer.axis for layer in readings[0].layers):
        streams = _streams(readings, [index for index, layer in enumerate(readings[0].layers) if layer.axis == axis])
        means = [(name, [state.mean(0, keepdims=True) for state in states]) for name, states in streams]
        asked = [
            (question, streams, [_shifted(reading.axes[axis], offset) for reading in readings])
            for question, offset in {THIS: 0, BEFORE: -1, AFTER: 1}.items()
        ]
        if subject.run.form == "labels":
            asked.append((CLASS, means, [[target[0]] for _, target in subject.examples[:examples]]))
        for question, layers, labels in asked:
            usual = _frequent(labels[:split])
            rows += _compared([_row(axis, name, question, states, labels, usual, split) for name, states in layers])
    return rows


def _compared(questions: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of one question, each with how far it is behind the best one: what is ``right`` is paired by example."""
    rows = [row for part in questions for row in part]
    if not rows:
        return []
    best = max(rows, key=lambda row: float(row["accuracy"]))["right"]
    lost = [best - row.pop("right") for row in rows]
    for row, losses in zip(rows, lost, strict=True):
        row["behind"] = float(losses.sum() / row["n"])
        row["behind_error"] = float(np.sqrt(((losses - losses.mean()) ** 2).sum()) / row["n"])
    return rows


def _shifted(tokens: Sequence[int], offset: int) -> list[int]:
    """The token ``offset`` places on, -1 where there is none or a special one."""
    shifted = [tokens[i + offset] if 0 <= i + offset < len(tokens) else -1 for i in range(len(tokens))]
    return [token if token >= len(SPECIALS) else -1 for token in shifted]


def _frequent(labels: Sequence[Sequence[int]]) -> list[int]:
    counts = Counter(label for example_labels in labels for label in example_labels if label >= 0)
    return [label for label, _ in counts.most_common(CLASSES)]


def _streams(readings: Sequence[ExampleReading], indices: Sequence[int]) -> list[tuple[str, list[Floats]]]:
    """(name, states (t, d) of every example): the embedding, then the stream after each block."""
    streams = [(EMBEDDING, [reading.layers[indices[0]].before[0].double().numpy() for reading in readings])]
    for index in indices:
        after = [reading.layers[index].after for reading in readings]
        name = readings[0].layers[index].name
        streams.append((name, [state[0].double().numpy() for state in after if state is not None]))
    return streams


def _row(
    axis: str,
    layer: str,
    question: str,
    states: Sequence[Floats],
    labels: Sequence[Sequence[int]],
    usual: Sequence[int],
    split: int,
) -> list[dict[str, Any]]:
    """One row, ``right`` by example; none where the examples do not suffice."""
    from sklearn.linear_model import RidgeClassifier

    sides = []
    for part in (slice(split), slice(split, None)):
        x, y = np.concatenate(list(states[part]) or [np.zeros((0, 1))]), np.concatenate(list(labels[part]) or [[]])
        kept = np.isin(y, usual)
        sides.append((x[kept], y[kept]))
    (x, y), (unseen, truth) = sides
    example = np.repeat(np.arange(len(labels) - split), [len(example_labels) for example_labels in labels[split:]])
    example = example[np.isin(np.concatenate(list(labels[split:]) or [[]]), usual)]
    if len(np.unique(y)) < 2 or len(truth) < 10:
        return []
    scale = x.std(0) + 1e-9
    fitted = RidgeClassifier(alpha=1.0).fit(x / scale, y)
    hits = fitted.predict(unseen / scale) == truth
    values, counts = np.unique(y, return_counts=True)
    chance = float((truth == values[counts.argmax()]).mean())
    return [
        {
            "axis": axis,
            "layer": layer,
            "question": question,
            "accuracy": float(hits.mean()),
            "chance": chance,
            "classes": len(values),
            "n": len(truth),
            "right": np.bincount(example, hits, minlength=len(labels) - split),
        }
    ]
