"""``archbench test``: two models compared on the same examples, from runs or from CSV files."""

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from archbench.reports.contrasts.model_pair import ModelPair, Predictions

LEAST = {"log_likelihood": -math.inf, "bytes": 0.0}  # what numbers are above; all are finite


def lines(a: str, b: str, metric: str | None) -> list[str]:
    """The outcome of the test of two models in a few lines. Raises ``InputError`` where they cannot be compared."""
    from archbench.reports.contrasts import model_pair

    first, second = _read(a), _read(b)
    taken = metric or model_pair.usual_metric((first, second))
    default = [] if metric else [f"no --metric given: took {taken}"]
    return [*default, *_words(a, b, model_pair.compared(first, second, taken))]


def _words(a: str, b: str, pair: "ModelPair") -> list[str]:
    from archbench.reports.base.formatting import p_text, signed, value
    from archbench.reports.contrasts.phrase import phrase

    tested, metric = pair.contrast, pair.contrast.metric
    gap = signed(tested.difference, metric.decimals)
    one_alone = "left out: {:,} examples that only the first has, {:,} that only the second has".format(*pair.only)
    return [
        f"{metric.label}, {pair.examples:,} examples ({metric.direction})",
        *(f"{value(score, metric.decimals):>10}  {name}" for score, name in zip(pair.scores, (a, b), strict=True)),
        f"difference and 95% interval, positive where the first is better: {gap}",
        p_text(tested.p),
        f"outcome, with a margin of {tested.margin:g}: {phrase(tested, 'clause')}",
        *([one_alone] if any(pair.only) else []),
        "The interval covers the choice of test examples only. Models trained with other seeds would differ as well.",
    ]


def _read(text: str) -> "Predictions":
    """The predictions in a CSV file, or those of a run."""
    from archbench.reports.base import tables
    from archbench.reports.base.records import Folder
    from archbench.reports.contrasts.model_pair import Predictions
    from archbench.runs.store import store
    from archbench.tasks.base.errors import InputError

    if Path(text).is_file() or text.endswith(".csv"):
        return Predictions(text, _csv(Path(text)))
    run = store.find_run(text).absolute()
    rows = Folder(run.parents[1]).predictions(run.name)
    if rows.empty:
        raise InputError(f"{text}: this run has no predictions: only finished runs that were scored on test have them")
    return Predictions(text, tables.completed({"predictions": rows.assign(run=run.name)})["predictions"])


def _csv(path: Path) -> "pd.DataFrame":
    """A table of predictions, indexed by the number of the row in the file; texts stay as they are written."""
    import pandas as pd

    from archbench.tasks.base.errors import InputError
    from archbench.tasks.data.files import LONGEST

    csv.field_size_limit(LONGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file (UTF-8) with a header") from error
    if len(set(header)) < len(header):
        raise InputError(f"{path}: the header names a column twice")
    numbered = {number: row for number, row in enumerate(rows, 2) if row}
    for number, row in numbered.items():
        if len(row) != len(header):
            raise InputError(f"{path}: row {number}: {len(row)} values, but the header names {len(header)} columns")
    table = pd.DataFrame.from_dict(numbered, orient="index", columns=header, dtype=str)
    for column in filter(header.__contains__, LEAST):
        table[column] = _numbers(path, table[column])
    return table


def _numbers(path: Path, texts: "pd.Series[str]") -> "pd.Series[float]":
    """A column as numbers. Raises ``InputError`` with file, row and column for one that is impossible."""
    import pandas as pd

    from archbench.tasks.base.errors import InputError

    column, least = str(texts.name), LEAST[str(texts.name)]
    numbers = pd.to_numeric(texts, errors="coerce").astype(float)
    wrong = texts.index[~((numbers > least) & (numbers < math.inf))]
    if len(wrong):
        wanted = "a number above 0" if least == 0 else "a finite number"
        raise InputError(f"{path}: row {wrong[0]}: {column}: {texts[wrong[0]]!r}: expected {wanted}")
    return numbers
