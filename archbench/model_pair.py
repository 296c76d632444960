"""``archbench test``: two models compared on the same examples, from runs or from CSV files."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from archbench.reports.contrasts.model_pair import ModelPair, Predictions

NUMBERS = ("log_likelihood", "bytes")


def lines(a: str, b: str, metric: str | None) -> list[str]:
    """The outcome of the test of two models in a few lines. Raises ``InputError`` where they cannot be compared."""
    from archbench.reports.contrasts import model_pair

    first, second = _read(a), _read(b)
    return _words(a, b, model_pair.compared(first, second, metric or model_pair.usual_metric((first, second))))


def _words(a: str, b: str, pair: "ModelPair") -> list[str]:
    from archbench.reports.base.formatting import p, signed, value

    decimals, chance = pair.metric.decimals, p(pair.p)
    one_alone = "left out: {:,} examples that only the first has, {:,} that only the second has".format(*pair.only)
    return [
        f"{pair.metric.label}, {pair.examples:,} examples ({pair.metric.direction})",
        *(f"{value(score, decimals):>10}  {name}" for score, name in zip(pair.scores, (a, b), strict=True)),
        f"difference and 95% interval, positive where the first is better: {signed(pair.difference, decimals)}",
        f"p {chance}" if chance.startswith("<") else f"p = {chance}",
        *([one_alone] if any(pair.only) else []),
        "The interval covers the choice of test examples only. Models trained with other seeds would differ as well.",
    ]


def _read(text: str) -> "Predictions":
    """The predictions in a CSV file, or those of a run."""
    from archbench.reports.base import tables
    from archbench.reports.base.records import Folder
    from archbench.reports.contrasts.model_pair import Predictions
    from archbench.runs.base import store
    from archbench.tasks.base.errors import InputError

    if Path(text).is_file() or text.endswith(".csv"):
        return Predictions(text, _csv(Path(text)))
    run = store.find_run(text).absolute()
    rows = Folder(run.parents[1]).predictions(run.name)
    if rows.empty:
        raise InputError(f"{text}: this run has no predictions: only finished runs that were scored on test have them")
    return Predictions(text, tables.completed({"predictions": rows.assign(run=run.name)})["predictions"])


def _csv(path: Path) -> "pd.DataFrame":
    """A table of predictions; texts stay as they are written."""
    import pandas as pd

    from archbench.tasks.base.errors import InputError

    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeError) as error:
        raise InputError(f"{path}: not a CSV file with a header: {str(error).splitlines()[0]}") from error
    for column in NUMBERS:
        if column in rows:
            numbers = pd.to_numeric(rows[column], errors="coerce")
            wrong = rows.index[numbers.isna()]
            if len(wrong):
                row, text = wrong[0], rows[column][wrong[0]]
                raise InputError(f"{path}: row {row + 2}: {column}: {text!r}: expected a number")
            rows[column] = numbers
    return rows
