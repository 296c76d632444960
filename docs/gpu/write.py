"""Writes what the first hour on a GPU measured as a page of tables: `python -P docs/gpu/write.py RECORDS PAGE`."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from archbench.reports.base import tables
from archbench.reports.base.formatting import number, value
from archbench.reports.results.groups import placed
from archbench.tasks.metrics.builtin import BUILTIN

HEAD = """# On a GPU

Written by `make gpu` from its records; see `docs/gpu/hour.py` for what each piece does.
"""
STAND_IN = "A stand-in: tiny models on a CPU. Where this page says GPU, nothing was measured on one.\n\n"
PARITY = ("parity-cpu", "parity-float32", "parity-bf16")


def write(out: Path, page: Path) -> None:
    """The page of all pieces in ``out`` that have records."""
    parts = (
        _machine(out),
        _parity(out),
        _steps(out),
        _several(out),
        _bench(out),
        _scores(out, "quick"),
        _scores(out, "gpu"),
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join([HEAD, *(part for part in parts if part)]), encoding="utf-8")


def _machine(out: Path) -> str:
    """What the last parity piece ran on."""
    for name in reversed(PARITY):
        if (result := _tables(out / name)) is not None:
            facts = result["environment"].drop_duplicates("key").set_index("key")["value"]
            keys = [
                key for key in ("device", "processor", "torch", "cuda", "cudnn", "python", "archbench") if key in facts
            ]
            stand_in = "" if facts.get("device") != "cpu" or name == "parity-cpu" else STAND_IN
            return stand_in + _table(("what", "value"), [(key, str(facts[key])) for key in keys])
    return ""


def _parity(out: Path) -> str:
    """Untrained and trained losses of the same runs in three ways."""
    by_piece = {name: frames for name in PARITY if (frames := _tables(out / name)) is not None}
    if PARITY[0] not in by_piece:
        return ""
    curves = {name: _validation(frames) for name, frames in by_piece.items()}
    rows = []
    for architecture, reference in curves[PARITY[0]].items():
        row = [architecture, value(reference[0], 4), value(reference[1], 4)]
        for name in PARITY[1:]:
            other = curves.get(name, {}).get(architecture)
            row += [f"{other[place] / reference[place] - 1:+.1e}" if other else "" for place in (0, 1)]
        rows.append(row)
    head = ["architecture", "CPU, untrained", "CPU, trained"]
    head += [f"GPU {name}, {when}" for name in ("float32", "bf16") for when in ("untrained", "trained")]
    about = "Validation loss in nats per token; on the GPU, its relative difference from the CPU's.\n"
    return f"## The same runs on CPU and GPU\n\n{about}\n{_table(head, rows)}"


def _validation(frames: tables.Tables) -> dict[str, tuple[float, float]]:
    """The first and the last validation loss of each architecture."""
    names = frames["runs"].set_index("run")["architecture"]
    curves = frames["curves"][frames["curves"]["split"] == "validation"].sort_values("step")
    losses = curves.groupby("run")["value"].agg(["first", "last"])
    return {str(names[run]): (float(row["first"]), float(row["last"])) for run, row in losses.iterrows()}


def _steps(out: Path) -> str:
    """Speed, share of the peak and memory of training steps."""
    peaks = {precision: _peak(out, precision) for precision in ("bf16", "float32")}
    by_piece = {piece: frames for piece in ("steps", "recomputed") if (frames := _tables(out / piece)) is not None}
    rows = [
        _step(run, piece, peaks[str(run["precision"])])
        for piece, frames in by_piece.items()
        for _, run in placed(frames, "compared").iterrows()
    ]
    if not rows:
        return ""
    head = ("architecture", "parameters", "condition", "tokens/s", "TFLOP/s", "share of the peak", "memory, GiB")
    about = "Model FLOPs over the time of a whole short run, validation and compiling included."
    if any(peaks.values()):
        fastest = ", ".join(f"{rate / 1e12:.3g} TFLOP/s in {name}" for name, rate in peaks.items())
        about += f" Peak: the fastest product of matrices that the benchmark measured, {fastest}."
    return f"## Training steps\n\n{about}\n\n{_table(head, rows)}"


def _step(run: "pd.Series[Any]", piece: str, peak: float) -> Sequence[str]:
    """The row of a run."""
    rate = float(run["train_flops"]) / float(run["train_seconds"])
    return (
        str(run["architecture"]),
        number(float(run["parameters"])),
        "recomputed" if piece == "recomputed" else str(run["condition"] or ""),
        f"{float(run['tokens_per_second']):,.0f}",
        f"{rate / 1e12:.3g}",
        f"{rate / peak:.1%}" if peak else "",
        f"{float(run['peak_memory_bytes']) / 2**30:.2f}",
    )


def _peak(out: Path, precision: str) -> float:
    """FLOP/s of the fastest product that a bench piece measured in this precision; 0 if none did."""
    rates = [0.0]
    for file in out.glob("bench-*/bench.json"):
        peaks = json.loads(file.read_text(encoding="utf-8")).get("peaks", {})
        rates += [float(rate) for name, rate in _flat(peaks) if name.endswith(precision)]
    return max(rates)


def _flat(values: dict[str, object], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, field in values.items():
        if isinstance(field, dict):
            yield from _flat(field, f"{prefix}{key}.")
        elif isinstance(field, int | float):
            yield f"{prefix}{key}", float(field)


def _several(out: Path) -> str:
    """How long eight small runs take, by how many run at a time."""
    rows = []
    for folder in sorted(out.glob("several-*"), key=lambda path: int(path.name.rpartition("-")[2])):
        record = out / "pieces" / f"{folder.name}.json"
        result = _tables(folder)
        if result is None or not record.is_file():
            continue
        spent = json.loads(record.read_text(encoding="utf-8"))
        seconds, calls = float(spent["seconds"]), spent.get("calls", 1)
        tokens = float(result["runs"]["train_tokens"].astype(float).sum())
        again = "" if calls == 1 else f" in {calls} calls, with what was lost between them"
        rows.append([folder.name.rpartition("-")[2], f"{seconds:.0f}{again}", f"{tokens / seconds:,.0f}"])
    if not rows:
        return ""
    head = ("runs at a time", "seconds for eight, start and scoring included", "training tokens/s")
    return f"## Several runs on one GPU\n\n{_table(head, rows)}"


def _bench(out: Path) -> str:
    """Medians of the benchmark against transformers."""
    frames = [pd.read_csv(file) for file in sorted(out.glob("bench-*/bench.csv"))]
    if not frames:
        return ""
    rows = [
        [
            str(row["model"]),
            f"{row['measure']} against {row['against']}",
            f"{row['ours_median']:,.4g} {row['unit']}",
            f"{row['ratio_median']:.2f}",
        ]
        for _, row in pd.concat(frames).iterrows()
    ]
    return f"## Against transformers\n\n{_table(('model', 'measure', 'ours', 'ratio'), rows)}"


def _scores(out: Path, piece: str) -> str:
    """The primary scores of a preset, means over seeds."""
    if (result := _tables(out / piece)) is None:
        return ""
    primary = result["datasets"].set_index("dataset")["primary"]
    test = result["scores"][result["scores"]["split"] == "test"].merge(
        result["runs"][["run", "dataset", "architecture"]], on="run"
    )
    rows = []
    for (dataset, architecture), scores in test.groupby(["dataset", "architecture"], sort=False):
        for name in str(primary[dataset]).split(", "):
            values = scores.loc[scores["metric"] == name, "value"].astype(float)
            if len(values):
                measure = BUILTIN[name]
                mean = value(float(values.mean()), measure.decimals)
                rows.append([str(dataset), str(architecture), measure.label, mean, str(len(values))])
    return f"## Preset `{piece}`\n\n{_table(('data set', 'architecture', 'metric', 'mean', 'seeds'), rows)}"


def _tables(folder: Path) -> tables.Tables | None:
    return tables.read(folder / "tables") if (folder / "tables" / "runs.parquet").is_file() else None


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
