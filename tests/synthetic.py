"""Writes the records of an imagined experiment, laid out as `archbench compare` lays them out."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ARCHITECTURES = ("decoder", "prefix-decoder", "encoder", "encoder-decoder")
FAMILIES = {"prefix-decoder": "decoder", "gpt2": "decoder"}
Row = dict[str, Any]


@dataclass(frozen=True)
class Imagined:
    """One data set: the true score of each architecture, how much seeds vary, and the classical rows."""

    dataset: str
    kind: str
    primary: str
    truth: dict[str, float]
    seeds: int
    spread: float = 0.02
    references: dict[str, float] = field(default_factory=dict)
    examples: int = 200
    tokens_per_parameter: float = 8.0


PHRASES = Imagined(
    "phrases-en-de", "translation", "exact_match",
    {"decoder": 0.41, "prefix-decoder": 0.58, "encoder": 0.22, "encoder-decoder": 0.71}, 5, 0.03,
    {"copy": 0.0, "untrained": 0.0}, 400,
)  # fmt: skip
SENTIMENT = Imagined(
    "sentiment", "classification", "accuracy",
    {"decoder": 0.585, "encoder": 0.612, "encoder-decoder": 0.600}, 3, 0.01,
    {"majority": 0.39, "tfidf_logistic": 0.63, "untrained": 0.33}, 500, 3.1,
)  # fmt: skip
SHAKESPEARE = Imagined(
    "shakespeare", "generation", "bits_per_byte",
    {"decoder": 2.58, "encoder": 3.11, "encoder-decoder": 2.66}, 3, 0.012,
    {"ngram": 3.43, "lzma": 3.32, "untrained": 6.1}, 120,
)  # fmt: skip
TASKS = (PHRASES, SENTIMENT, SHAKESPEARE)
SKILL = Imagined(
    "skill:copy", "skill", "exact_match",
    {"decoder": 0.97, "encoder": 0.62, "encoder-decoder": 0.05}, 3, 0.01, {"copy": 0.02, "nearest": 0.01}, 200,
)  # fmt: skip

_TEXTS = {
    "translation": [
        ("twenty-one days", "einundzwanzig Tage"),
        ("3 May 1987", "3. Mai 1987"),
        ("the 42nd", "der 42."),
        ("half past two", "halb drei"),
        ("7 kilometers", "7 Kilometer"),
    ],
    "classification": [
        ("I love this phone, the battery lasts for days", "positive"),
        ("arrived on Tuesday", "neutral"),
        ("worst purchase of the year :(", "negative"),
        ("not bad at all!", "positive"),
        ("the editors disagree", "neutral"),
    ],
    "skill": [(" 7 0 19 7", " 7 0 19 7"), (" 3 12 4", " 3 12 4")],
    "generation": [
        ("KING. Stay, speak, speak! I charge thee", ", speak!\nExit Ghost.\nMARCELLUS. 'Tis gone"),
        ("And by opposing end", " them. To die: to sleep;\nNo more"),
        ("What's in a name? that which", " we call a rose\nBy any other name"),
        ("If music be the food", " of love, play on;\nGive me excess of it"),
        ("Once more unto the breach", ", dear friends, once more"),
    ],
}
_WRONG = {
    "skill": " 7",
    "translation": "zwölf Tage",
    "classification": "neutral",
    "generation": " the the king and the lord of the",
}


@dataclass(frozen=True)
class Further:
    """Runs of an architecture beside those that are compared: their role, the name they stand under, their score."""

    task: Imagined
    architecture: str
    name: str
    truth: float
    role: str = "control"
    share: float = 1.0
    condition: str = ""
    changes: Row = field(default_factory=dict)


def controls(task: Imagined, half: float) -> list[Further]:
    """The first architecture again, and on half its budget with the score `half`."""
    first = next(iter(task.truth))
    again = Further(task, first, f"{first}, again", task.truth[first])
    return [again, Further(task, first, f"{first}, half the budget", half, share=0.5)]


@dataclass(frozen=True)
class Planted:
    """A point of a sweep: what is asked for, the true scores there, the width of its runs and their tokens."""

    value: int
    truth: dict[str, float]
    width: int = 64
    tokens: int = 1_000_000

    @property
    def condition(self) -> str:
        return f"point {self.value}" + (f", {self.tokens} tokens" if self.tokens != Planted.tokens else "")


def write_sweep(root: Path, task: Imagined, setting: str, base: Planted, points: Sequence[Planted]) -> list[str]:
    """Write `task` at `base` and, as conditions, at each of `points`; `setting` is "parameters" or "depth"."""
    table = {"parameters": "budget", "depth": "model"}[setting]

    def changes(point: Planted) -> Row:
        return {setting: point.value, "width": point.width, "train_tokens": point.tokens}

    further = [
        Further(task, name, name, truth, "compared", condition=point.condition, changes=changes(point))
        for point in points
        for name, truth in point.truth.items()
    ]
    runs = write_store(root, [replace(task, truth=base.truth)], further=further)
    for run in runs[: task.seeds * len(base.truth)]:
        change_record(root, run, **changes(base))
    specify(root, "tasks", [_point(task, table, setting, base, "")])
    specify(root, "conditions", [_point(task, table, setting, point, point.condition) for point in points])
    return runs


def _point(task: Imagined, table: str, setting: str, point: Planted, condition: str) -> Row:
    """A task as it was resolved, with what its condition changes."""
    sections: dict[str, Row] = {"budget": {"parameters": 250_000, "tokens": point.tokens}, "model": {"depth": None}}
    sections[table] = sections[table] | {setting: point.value}
    sections["model"] = sections["model"] | {"width": point.width, "heads": 2}
    training = {"learning_rate": 0.01, "dropout": 0.0}
    return {
        "name": task.dataset,
        "kind": task.kind,
        "condition": condition,
        "share": 1.0,
        "training": training,
    } | sections


def specify(root: Path, key: str, value: Any) -> None:
    """Set a key of the experiment's specification."""
    path = root / "experiment.json"
    head = json.loads(path.read_text())
    write_json(path, head | {"experiment": head["experiment"] | {key: value}})


def write_store(
    root: Path,
    tasks: Sequence[Imagined] = TASKS,
    matches: Sequence[str] = ("parameters",),
    further: Sequence[Further] = (),
) -> list[str]:
    """Write the records of `tasks` under `root`; return the names of the runs, in plan order."""
    runs = []
    for task in tasks:
        write_json(root / "data" / f"{task.dataset}.json", _data(task))
        write_json(root / "references" / f"{task.dataset}.json", _references(task))
        for match in matches:
            for architecture in task.truth:
                runs += [_run(root, task, architecture, seed, match) for seed in range(task.seeds)]
    head = _experiment(tasks, matches, runs)
    if further:
        entries = [_entry(root, run) for run in runs]
        for extra in further:
            for seed in range(extra.task.seeds):
                run = _further(root, extra, seed, len(runs))
                runs.append(run)
                fields = {
                    "architecture": extra.name,
                    "role": extra.role,
                    "share": extra.share,
                    "condition": extra.condition,
                }
                entries.append(_entry(root, run) | fields)
        head |= {"entries": entries, "runs": runs}
    write_json(root / "experiment.json", head)
    return runs


def _entry(root: Path, run: str) -> Row:
    record = json.loads((root / "runs" / run / "record.json").read_text())
    same = {key: record[key] for key in ("run", "dataset", "match", "architecture")}
    return same | {"condition": "", "role": "compared", "share": 1.0}


def _further(root: Path, extra: Further, seed: int, place: int) -> str:
    task = replace(extra.task, truth={extra.architecture: extra.truth})
    run = _run(root, task, extra.architecture, seed + 1000 * (place + 1), "parameters")
    tokens = int(extra.share * 250_000 * task.tokens_per_parameter)
    change_record(root, run, **({"train_tokens": tokens} | extra.changes))
    return run


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, with the folder it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def change_record(root: Path, run: str, **changes: Any) -> None:
    """Change the record of one run."""
    path = root / "runs" / run / "record.json"
    write_json(path, json.loads(path.read_text()) | changes)


ORDERS = {"10 rounds": (0.9, 0.7), "4 rounds": (0.6, 0.3), "one pass": (0.2, 0.1)}


def write_decodings(root: Path, runs: Sequence[str], metric: str) -> None:
    """Write the orders of these runs, each with its part of a run's score and inference FLOPs, and half a second."""
    for run in runs:
        folder = root / "runs" / run
        flops = json.loads((folder / "record.json").read_text())["inference_flops"]
        rows = [row for row in json.loads((folder / "scores.json").read_text()) if row["metric"] == metric]
        ways = [
            {"run": run, "decoding": order, "flops": part * flops, "seconds": 0.5, **row, "value": share * row["value"]}
            for order, (share, part) in ORDERS.items()
            for row in rows
        ]
        write_json(folder / "decodings.json", ways)


def write_slices(root: Path, runs: Sequence[str], metric: str, parts: Mapping[str, float]) -> None:
    """Write the score of each slice of these runs: its part of the run's score on the test split."""
    for run in runs:
        path = root / "runs" / run / "scores.json"
        rows = json.loads(path.read_text())
        (whole,) = (row for row in rows if row["metric"] == metric and row["split"] == "test")
        further = [
            {**whole, "split": "slice", "slice": name, "value": part * whole["value"]} for name, part in parts.items()
        ]
        write_json(path, rows + further)


def fail(root: Path, run: str, status: str = "failed", error: str = "RuntimeError: out of memory") -> None:
    """Turn a run into one that gave no scores."""
    change_record(root, run, status=status, error=error)
    for name in ("scores.json", "predictions.parquet"):
        (root / "runs" / run / name).unlink()


def single(task: Imagined, **changes: Any) -> Imagined:
    """The task with other numbers."""
    return replace(task, **changes)


def _experiment(tasks: Sequence[Imagined], matches: Sequence[str], runs: list[str]) -> Row:
    specification = {
        "name": "imagined",
        "architectures": list(ARCHITECTURES),
        "seeds": [0, 1, 2],
        "supervision": "native",
        "budget": {"match": list(matches), "parameters": 250_000, "tokens": 2_000_000},
        "training": {"batch_tokens": 4096, "learning_rate": 0.003, "optimizer": "muon"},
        "tasks": [{"name": task.dataset, "kind": task.kind, "data": task.dataset} for task in tasks],
    }
    return {
        "schema": 1,
        "archbench": "0.1.0",
        "name": "imagined",
        "command": "archbench compare imagined.toml --jobs 2",
        "experiment": specification,
        "runs": runs,
    }


def _data(task: Imagined) -> Row:
    return {
        "dataset": task.dataset, "kind": task.kind, "primary": task.primary, "licence": "CC0-1.0",
        "origin": f"generated, {task.dataset}", "digest": "0" * 64, "tokenizer": "bpe", "vocabulary": 1024,
        "source_length": 32, "target_length": 32, "train_examples": 50_000, "validation_examples": 1_000,
        "test_examples": task.examples, "train_tokens": 900_000, "notes": {"test.excluded_targets": 3},
    }  # fmt: skip


def _references(task: Imagined) -> list[Row]:
    """The baselines by the primary metric; of translations, also the bar of the gate."""
    place = {"dataset": task.dataset, "split": "test"}
    bars = [{"metric": "bits_per_byte", "name": "ngram", "value": 0.9}] if task.kind == "translation" else []
    by_primary = [{"metric": task.primary, "name": name, "value": value} for name, value in task.references.items()]
    return [place | row for row in (*by_primary, *bars)]


def _run(root: Path, task: Imagined, architecture: str, seed: int, match: str) -> str:
    key = f"{task.dataset}|{architecture}|{match}|{seed}"
    rng = np.random.default_rng(list(key.encode()))
    run = f"{task.dataset}-{architecture}-s{seed}-{rng.integers(16**12):012x}"
    folder = root / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    level = task.truth[architecture] + rng.normal(0, task.spread)
    predictions = _predictions(task, level, rng)
    record = _record(run, task, architecture, seed, match, rng)
    write_json(folder / "record.json", record)
    write_json(folder / "plan.json", _plan(record))
    write_json(folder / "scores.json", _scores(task, predictions, architecture))
    write_json(folder / "environment.json", {"torch": "2.13.0", "python": "3.11.9", "platform": "Linux"})
    predictions.to_parquet(folder / "predictions.parquet")
    _curves(task, level, architecture, record, rng).to_csv(folder / "curves.csv", index=False)
    return run


def _plan(record: Row) -> Row:
    plan = {key: record[key] for key in ("experiment", "architecture", "family", "seed", "match", "supervision")}
    targets = {axis: record[f"target_{axis}"] for axis in ("parameters", "tokens")}
    return plan | {"task": {"kind": record["task"], "name": record["dataset"]}, "targets": targets}


def _record(run: str, task: Imagined, architecture: str, seed: int, match: str, rng: np.random.Generator) -> Row:
    parameters = int(250_000 * rng.uniform(0.992, 1.008)) // 64 * 64
    tokens = int(parameters * task.tokens_per_parameter)
    ratio = 0.55 if architecture == "encoder-decoder" and match == "parameters" else 1.0
    flops = 6.2 * 250_000 * task.tokens_per_parameter * 250_000 * ratio
    seconds = flops / 4.1e9 * rng.uniform(0.97, 1.1)
    family = FAMILIES.get(architecture, architecture)
    masked = family == "encoder"
    return {
        "run": run, "experiment": "imagined", "architecture": architecture, "family": family, "task": task.kind,
        "dataset": task.dataset, "seed": seed, "match": match, "parameters": parameters, "embedding_parameters": 65_536,
        "train_flops": flops, "attention_flops": flops * 0.4, "feedforward_flops": flops * 0.35,
        "output_flops": flops * 0.25, "train_tokens": tokens, "train_loss_tokens": int(tokens * (0.5 if masked else 1)),
        "steps": tokens // 4096, "train_seconds": seconds, "tokens_per_second": tokens / seconds,
        "peak_memory_bytes": int(rng.uniform(4e8, 6e8)), "learning_rate": 0.003, "device": "cpu", "status": "done",
        "executed_flops": flops * 1.12, "optimizer_flops": flops * 0.2, "tokens_per_parameter": tokens / parameters,
        "epochs": tokens / 900_000, "width": 64, "heads": 4, "depth": 5, "hidden": 176, "target_parameters": 250_000,
        "target_tokens": int(250_000 * task.tokens_per_parameter),
        "supervision": "native", "objective": "masked" if masked else "causal",
        "inference_flops": 2e6 * (14 if family == "encoder" else 0.6 if architecture == "encoder-decoder" else 1),
        "generate_tokens_per_second": 900.0 * rng.uniform(0.9, 1.1) / (6 if family == "encoder" else 1),
        "precision": "bf16", "threads": 1, "optimizer": "muon", "error": "",
    }  # fmt: skip


def _predictions(task: Imagined, level: float, rng: np.random.Generator) -> pd.DataFrame:
    texts = _TEXTS[task.kind]
    pairs = [texts[i % len(texts)] for i in range(task.examples)]
    reference = [target for _, target in pairs]
    if task.primary == "bits_per_byte":
        sizes = np.array([len(text.encode()) for text in reference])
        difficulty = np.random.default_rng(7).normal(0, 0.3, task.examples)
        nats = sizes * math.log(2) * (level + difficulty + rng.normal(0, 0.1, task.examples))
        correct = np.zeros(task.examples, bool)
    else:
        hardness = np.random.default_rng(7).uniform(-0.25, 0.25, task.examples)
        correct = rng.uniform(size=task.examples) < np.clip(level + hardness, 0, 1)
        nats = np.where(correct, 0.3, 2.5)
    answer = [text if right else _WRONG[task.kind] for text, right in zip(reference, correct, strict=True)]
    columns = {"example": range(task.examples), "source": [source for source, _ in pairs], "reference": reference}
    extra = {} if task.kind == "generation" else {"correct": correct}
    return pd.DataFrame(columns | {"answer": answer, "log_likelihood": -nats} | extra)


def _scores(task: Imagined, predictions: pd.DataFrame, architecture: str) -> list[Row]:
    sizes = np.array([len(text.encode()) for text in predictions["reference"].tolist()])
    bits = float(-predictions["log_likelihood"].sum() / math.log(2) / sizes.sum())
    values = {"bits_per_byte": bits}
    if task.kind == "generation":
        values |= {"repetition": 0.12, "distinct_2": 0.7}
    else:
        share = float(predictions["correct"].mean())
        further = {"bleu": 90 * share, "chrf": 95 * share} if task.kind == "translation" else {"macro_f1": share - 0.02}
        values = {task.primary: share} | values | further
    if architecture == "encoder" and task.kind != "classification":
        values["bits_per_byte_bound"] = bits + 0.2
    n = len(predictions)
    return [
        {"split": "test", "metric": name, "value": value, "lower": value - 0.04, "upper": value + 0.04, "n": n}
        for name, value in values.items()
    ]


def _curves(task: Imagined, level: float, architecture: str, record: Row, rng: np.random.Generator) -> pd.DataFrame:
    share = np.linspace(0, 1, 25)
    floor = level if task.primary == "bits_per_byte" else 1.6 - level
    values = floor + 3.5 * np.exp(-6 * share) + rng.normal(0, 0.01, len(share))
    masked = architecture == "encoder" and task.kind != "classification"
    base = {
        "step": (share * record["steps"]).astype(int),
        "tokens": (share * record["train_tokens"]).astype(int),
        "flops": share * record["train_flops"],
        "seconds": share * record["train_seconds"],
    }
    validation = base | {
        "split": "validation",
        "metric": "nll_per_token_bound" if masked else "nll_per_token",
        "value": values,
    }
    train = base | {"split": "train", "metric": "loss", "value": values - 0.1}
    return pd.concat([pd.DataFrame(validation), pd.DataFrame(train)])
