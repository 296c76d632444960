"""Which published runs are trained again, and whether their new scores lie where those of another seed would."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.base.metrics import declare, metric, primary
from archbench.reports.base.statistics import Interval, prediction_interval
from archbench.reports.base.tables import Tables
from archbench.runs.experiment.spec import UNMATCHED

ROLES: Final = ("compared", "share", "control")  # that are trained again, the last ones last
PLACE: Final = ["dataset", "condition", "match", "role", "share", "architecture"]  # what the seeds of a group share
PRETRAINING: Final = "pretraining"  # the task of a run that others start from
SECONDS: Final = ("train_seconds", "score_seconds", "generate_seconds")
LIKELIHOOD: Final = "bits_per_byte"
AGREE: Final = ("same", "within")
DISAGREE: Final = ("outside", "diverged", "failed")


def choose(tables: Tables, number: int | None) -> list[dict[str, Any]]:
    """The published runs to train again, at most ``number``: spread over data sets, then architectures, cheapest first.

    Each is the run's row without empty cells and with its place in the comparison; ``variant`` is what was trained
    under the name ``architecture``. Always the same for the same tables.
    """
    rows = sorted(_candidates(tables), key=lambda row: (ROLES.index(row["role"]), row["cost"], row["run"]))
    rows = list({row["run"]: row for row in reversed(rows)}.values())[::-1]  # of two places of a run the first
    chosen: list[dict[str, Any]] = []
    datasets, pairs, names = Counter[str](), Counter[tuple[str, str]](), Counter[str]()

    def rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
        dataset, name = row["dataset"], row["architecture"]
        spread = datasets[dataset], pairs[dataset, name], names[name]
        return (ROLES.index(row["role"]), *spread, row["cost"], row["run"])

    while rows and (number is None or len(chosen) < number):
        row = min(rows, key=rank)
        rows.remove(row)
        chosen.append(row)
        datasets[row["dataset"]] += 1
        pairs[row["dataset"], row["architecture"]] += 1
        names[row["architecture"]] += 1
    return chosen


def _candidates(tables: Tables) -> Iterator[dict[str, Any]]:
    """Every finished run that was trained for the comparison, once for each of its places."""
    runs = {str(row["run"]): _filled(row) for row in tables["runs"].to_dict("records")}
    seconds_per_flop = _pretraining_speed(list(runs.values()))
    scored = set(tables["scores"].loc[(tables["scores"]["split"] == "test").fillna(False), "run"])
    for record in tables["entries"].to_dict("records"):
        entry = {"condition": "", "share": 1.0, **_filled(record)}
        row = runs.get(str(entry.get("run")), {})
        trained = row.get("status") == "done" and entry.get("match") != UNMATCHED
        if trained and entry.get("role") in ROLES and entry["run"] in scored:
            cost = sum(float(row.get(name, 0.0)) for name in SECONDS)
            cost += seconds_per_flop * float(row.get("pretraining_flops", 0.0))
            yield {**row, **entry, "variant": row["architecture"], "cost": cost}


def _pretraining_speed(rows: Sequence[Mapping[str, Any]]) -> float:
    """Seconds for each training FLOP of the pretrainings; 0 where there are none."""
    ended = [row for row in rows if row.get("task") == PRETRAINING and row.get("train_flops")]
    flops = sum(float(row["train_flops"]) for row in ended)
    return sum(float(row.get("train_seconds", 0.0)) for row in ended) / flops if flops else 0.0


def _filled(record: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in record.items() if not pd.isna(value)}


def verdicts(published: Tables, new: Tables, chosen: list[dict[str, Any]], names: Mapping[str, str]) -> pd.DataFrame:
    """A row for each chosen run and metric: the published and the new score, the interval, and a word.

    ``names`` gives the new run of a published one. The word is ``same``, ``within``, ``outside``, ``no interval`` or,
    without a new score, how the run ended.
    """
    declare(published["metrics"])
    there, here = _scores(published), _scores(new)
    statuses = dict(zip(new["runs"]["run"], new["runs"]["status"], strict=True))
    groups: dict[tuple[Any, ...], list[str]] = {}
    for row in _candidates(published):
        groups.setdefault(tuple(row[key] for key in PLACE), []).append(row["run"])
    rows = []
    for row in chosen:
        run, seeds = names[row["run"]], groups[tuple(row[key] for key in PLACE)]
        run_keys = {key: row[key] for key in (*PLACE, "seed")}
        for name in _metrics(published, row, there[row["run"]]):
            values = [there[seed][name] for seed in seeds if name in there[seed]]
            new_score = here.get(run, {}).get(name, math.nan)
            judged = _judged(name, there[row["run"]][name], new_score, values, str(statuses[run]))
            rows.append({**run_keys, **judged, "published_run": row["run"], "run": run})
    return pd.DataFrame(rows)


def _judged(name: str, published: float, new: float, values: list[float], status: str) -> dict[str, Any]:
    """One score: ``values`` are those of all published seeds, ``status`` is how the new run ended."""
    interval = metric(name).within(prediction_interval(np.array(values)))
    word = _word(published, new, interval) if math.isfinite(new) else _without_score(status)
    figures = {"metric": name, "published": published, "new": new, "seeds": len(values), "mean": interval.mean}
    return {**figures, "lower": interval.lower, "upper": interval.upper, "verdict": word}


def _scores(tables: Tables) -> dict[str, dict[str, float]]:
    """The scores on the test split of each run, by metric."""
    scores_by_run: dict[str, dict[str, float]] = {}
    rows = tables["scores"]
    rows = rows[(rows["split"] == "test").fillna(False)].dropna(subset=["value"])
    for run, name, value in zip(rows["run"], rows["metric"], rows["value"], strict=True):
        scores_by_run.setdefault(str(run), {})[str(name)] = float(value)
    return scores_by_run


def _metrics(tables: Tables, row: Mapping[str, Any], scores: Mapping[str, float]) -> list[str]:
    """The primary metric of a run's data set, then its likelihood, as far as they are published."""
    rows = tables["datasets"]
    stated = rows.loc[(rows["dataset"] == row["dataset"]).fillna(False), "primary"].dropna()
    first = str(stated.iloc[0]) if len(stated) else primary(row["task"], list(scores))
    return [name for name in dict.fromkeys((first, LIKELIHOOD)) if name in scores]


def _word(published: float, new: float, interval: Interval) -> str:
    if new == published:
        return "same"
    if not interval.known:
        return "no interval"
    return "within" if interval.lower <= new <= interval.upper else "outside"


def _without_score(status: str) -> str:
    return "diverged" if status == "diverged" else "failed"


def disagrees(rows: pd.DataFrame) -> bool:
    """Whether a score lies outside, or a run has none."""
    return bool(rows["verdict"].isin(DISAGREE).any())


def table(rows: pd.DataFrame) -> list[list[str]]:
    """The verdicts as rows of text, the head first."""
    head = ["data set", "setting", "architecture", "seed", "metric", "published", "new", "mean", "95% interval"]
    lines = [[*head, "verdict"]]
    for row in rows.to_dict("records"):
        known = metric(row["metric"])
        numbers = [formatting.value(row[key], known.decimals) for key in ("published", "new", "mean")]
        interval = Interval(row["mean"], row["lower"], row["upper"])
        limits = formatting.limits(interval, known.decimals) if interval.known else formatting.MISSING
        run_cells = [row["dataset"], _setting(row), row["architecture"], str(row["seed"])]
        lines.append([*run_cells, row["metric"], *numbers, limits, row["verdict"]])
    bare = head.index("setting") if all(line[1] == "" for line in lines[1:]) else len(lines[0])
    return [line[:bare] + line[bare + 1 :] for line in lines]


def _setting(row: Mapping[Any, Any]) -> str:
    """Axis, condition and share of the budget, as far as they are not the usual ones."""
    share = f"{row['share']:g} of the budget" if row["share"] != 1 else ""
    axis = row["match"] if row["match"] != "parameters" else ""
    return ", ".join(part for part in (axis, row["condition"], share) if part)


def sentences(rows: pd.DataFrame) -> list[str]:
    """What the verdicts say together, and what must be known to read them."""
    words = rows.groupby("published_run", sort=False)["verdict"].agg(set)
    agree, same = sum(word <= set(AGREE) for word in words), sum(word == {"same"} for word in words)
    many = "1 has the same scores" if same == 1 else f"{same} have the same scores"
    lines = [f"{agree} of {len(words)} runs fall within the published intervals; {many} to the last digit."]
    if (rows["verdict"] == "no interval").any():
        lines.append("One published seed gives no interval: its score is compared with that of the same seed only.")
    outside = rows[rows["verdict"] == "outside"]
    if len(outside):
        lines.append("With 95% intervals, one score in 20 lies outside by chance.")
    if (outside["lower"] == outside["upper"]).any():
        lines.append("An interval without width comes from published seeds that all have the same score.")
    return lines
