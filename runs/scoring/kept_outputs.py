"""The outputs of a model for the test examples, kept with its run: a user's kind of task scores them.

Texts, lengths and rows are those of the data, so that only likelihoods and answers are kept.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base import files
from archbench.tasks.base.values import Examples, Outputs, Prepared

FILE = "outputs.npz"


def write(folder: Path, outputs: Outputs) -> None:
    """Keeps the outputs in the folder of their run."""
    answers = [np.asarray(ids, np.int32) for ids in outputs.answer_ids]
    arrays: dict[str, NDArray[Any]] = {
        "nats": outputs.nats,
        "answer_lengths": np.array([len(ids) for ids in answers], np.int64),
        "answer_ids": np.concatenate([*answers, np.zeros(0, np.int32)]),
    }
    if outputs.bound_nats is not None:
        arrays["bound_nats"] = outputs.bound_nats
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    files.write_bytes(folder / FILE, file.getvalue())


def read(folder: Path, prepared: Prepared) -> Outputs:
    """The outputs that ``write`` kept."""
    with np.load(folder / FILE) as arrays:
        ends = np.cumsum(arrays["answer_lengths"])
        answers = np.split(arrays["answer_ids"], ends[:-1]) if len(ends) else []
        bound = arrays.get("bound_nats")
        return outputs_of(prepared, prepared.test, arrays["nats"], bound, answers)


def outputs_of(
    prepared: Prepared,
    examples: Examples,
    nats: NDArray[np.float64],
    bound: NDArray[np.float64] | None,
    answers: Sequence[NDArray[np.int32]],
    pseudo: NDArray[np.float64] | None = None,
) -> Outputs:
    """The outputs for ``examples`` with these likelihoods (n,), and answers to the first of them."""
    return Outputs(
        sources=[examples.source_text(i) for i in range(len(examples))],
        references=[examples.target_text(i) for i in range(len(examples))],
        answers=[prepared.tokenizer.decode(answer) for answer in answers],
        nats=nats,
        tokens=examples.target_lengths,
        bytes=examples.target_bytes,
        bound_nats=bound,
        answer_ids=list(answers),
        rows=examples.rows,
        pseudo_nats=pseudo,
    )
