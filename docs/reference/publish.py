"""Publishes a finished comparison in this folder: `python -P docs/reference/publish.py DIR NAME FIGURE`.

Writes the tables of the comparison in DIR, without the texts of predictions and the losses of training batches, to
`NAME/tables`, and its figure (a name as for `archbench plot`) to `NAME/FIGURE.png`. Then add it to presets.md and
docs/results.md, and run `make reference ARGS=ledger` and `python -P docs/gallery.py`.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from archbench import plotting
from archbench.reports.base import tables
from archbench.reports.figures import plot
from archbench.reports.page.publish import shareable

HERE = Path(__file__).parent
COMPRESSION = 19  # of zstd: slow to write, as fast to read
NATS = 2**-12  # to which log-likelihoods are rounded, far below what a page prints
SECONDS = 2**-6  # to which the times of a curve are rounded


def publish(root: Path, name: str, figure: str, here: Path = HERE) -> list[Path]:
    """Writes tables and a picture of the comparison in ``root`` to ``here/name``; returns the files."""
    folder = here / name
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    written = []
    for table, frame in smaller(shareable(tables.read(root / "tables"))).items():
        written.append(folder / "tables" / f"{table}.parquet")
        compress(pa.Table.from_pandas(frame, preserve_index=False), written[-1])
    written.append(folder / f"{figure}.png")
    plot.written(plotting.view(plotting.judged(folder), None, None), figure, written[-1], "png", "light", None)
    return written


def compress(values: pa.Table, path: Path) -> None:
    """Writes a table to a small file: most floats are different, so that a dictionary of them would only add to it."""
    floats = [field.name for field in values.schema if pa.types.is_floating(field.type)]
    pq.write_table(
        values,
        path,
        compression="zstd",
        compression_level=COMPRESSION,
        use_dictionary=[name for name in values.column_names if name not in floats],
        use_byte_stream_split=[name for name in floats if name == "log_likelihood"],
    )


def smaller(read: tables.Tables) -> tables.Tables:
    """The tables with only the curves that figures draw, those of validation losses, and their numbers rounded."""
    curves = read["curves"][read["curves"]["split"] == "validation"]
    predictions = read["predictions"].copy()
    for column in set(predictions) & {"log_likelihood", "log_likelihood_shuffled"}:
        predictions[column] = (predictions[column] / NATS).round() * NATS
    curves = curves.assign(seconds=(curves["seconds"] / SECONDS).round() * SECONDS)
    return {**read, "curves": curves, "predictions": predictions}


if __name__ == "__main__":
    comparison, called, drawn = sys.argv[1:]
    for path in publish(Path(comparison), called, drawn):
        print(f"{path}: {path.stat().st_size:,} bytes")
