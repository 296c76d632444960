"""``archbench score``: the exact log-likelihood of the texts in a file under a trained run."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from archbench.architectures.objectives.objective import exact_log_likelihood
from archbench.runs.scoring import finished
from archbench.runs.scoring.finished import FinishedRun
from archbench.runs.training.batches import fixed
from archbench.runs.training.train import SCORING_TOKENS
from archbench.runs.updates import grad_accumulation
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import UNK
from archbench.tasks.base.values import every_column
from archbench.tasks.data import files
from archbench.tasks.text.encode import text_pieces

TEXT = "text"  # what the texts of a file without columns are called, and the default column


@dataclass(frozen=True)
class ScoredText:
    """A text of a file: its ``row`` (from 1, a header not counted) and column, log p in nats, tokens, UTF-8 bytes.

    ``unknown`` of the tokens stand for text that the run's tokenizer does not know.
    """

    row: int
    column: str
    log_likelihood: float
    tokens: int
    bytes: int
    unknown: int

    @property
    def bits_per_byte(self) -> float:
        return -self.log_likelihood / math.log(2) / self.bytes


def score(folder: Path, file: Path, columns: Sequence[str] | None = None) -> list[ScoredText]:
    """The texts of ``file``, row by row, under the run in ``folder``.

    Each line of a text file is a text. In a table, ``columns`` hold the texts: by default those that the run compares,
    else "text". A text longer than the run's windows is scored piece by piece (``text_pieces``). Raises ``InputError``
    where the run has no likelihood of texts, or the file none to score.
    """
    run = finished.read(folder)
    if run.form != "running text":
        raise InputError(
            f"{folder}: this run was trained to {run.does}: it has no likelihood of a text by itself; give a "
            "pretraining, or a run that continues text"
        )
    texts = _read(file, columns, every_column(run.plan.task.columns) or [TEXT])
    scored = _scored(run, [text for _, _, text in texts])
    return [ScoredText(row, column, *values) for (row, column, _), values in zip(texts, scored, strict=True)]


def _read(file: Path, named: Sequence[str] | None, columns: Sequence[str]) -> list[tuple[int, str, str]]:
    """Row, column and text of every text in the ``named`` columns, else in ``columns``.

    Raises ``InputError``, in the words of a command, where a text is empty or the names do not fit the file.
    """
    if named is not None and (not named or len(set(named)) < len(named)):
        raise InputError("--columns: expected different names of columns, such as better,worse")
    columns = named or columns
    try:
        path = files.existing(str(file), Path())
        is_table = path.suffix.lower() in files.TABLES
        if is_table:
            rows = files.read_rows(path, "utf-8", tuple(columns))
        else:
            rows, columns = [(line,) for line in files.read_lines(path, "utf-8")], [TEXT]
    except InputError as error:
        message, _, not_encoded = str(error).partition("; state its encoding")
        message = message.removeprefix("data: ").removeprefix("encoding: ")
        if message.startswith("columns: "):
            message = f"--{message}" + ("" if named else "; name those with texts: --columns A,B")
        raise InputError(f"{message}; save it as UTF-8" if not_encoded else message) from error
    if named and not is_table:
        raise InputError(f"--columns: {path.name} is no table: each line is a text; remove --columns")
    if not rows:
        raise InputError(f"{file}: is empty; expected a text on each line")
    texts = [(row, *cell) for row, cells in enumerate(rows, 1) for cell in zip(columns, cells, strict=True)]
    for row, column, text in texts:
        place = f'row {row}: "{column}"' if is_table else f"line {row}"
        if not text:
            raise InputError(f"{file}: {place} is empty; fill it in, or remove the {'row' if is_table else 'line'}")
        if "\0" in text:
            raise InputError(f"{file}: {place} has a NUL character; save the file as UTF-8")
    return texts


def _scored(run: FinishedRun, texts: Sequence[str]) -> list[tuple[float, int, int, int]]:
    """log p in nats, tokens, bytes and unknown tokens of each text."""
    limits = run.plan.limits.source_length, run.plan.limits.target_length
    pieces = text_pieces(texts, range(len(texts)), run.tokenizer, *limits)
    log_p = np.zeros(len(pieces))
    for index, batch in fixed(pieces, np.arange(len(pieces)), SCORING_TOKENS["cpu"]):
        likelihood = partial(exact_log_likelihood, run.model, batch, run.allowed_tokens)
        log_p[index] = grad_accumulation.retry_in_parts(likelihood).numpy()
    unknown = [int((pieces[piece].target == UNK).sum()) for piece in range(len(pieces))]
    parts = (log_p, pieces.target_lengths, pieces.target_bytes, np.array(unknown))
    sums = (np.bincount(pieces.rows, part.astype(np.float64), len(texts)).tolist() for part in parts)
    return [(total, *map(int, counts)) for total, *counts in zip(*sums, strict=True)]


def lines(scored: Sequence[ScoredText], layout: str) -> Iterator[str]:
    """The texts as lines of CSV with a header, or of JSON (``layout``: "jsonl"; null for an impossible text)."""
    names = ("row", "column", "log_likelihood", "tokens", "bits_per_byte")
    rows = [{name: getattr(text, name) for name in names} for text in scored]
    if layout == "jsonl":
        finite = (
            {key: None if value in (-math.inf, math.inf) else value for key, value in row.items()} for row in rows
        )
        yield from map(json.dumps, finite)
        return
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    yield from file.getvalue().splitlines()
