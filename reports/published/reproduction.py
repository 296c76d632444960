"""Which published runs are trained again, and whether their new scores agree with the published ones.

A new score is compared with the published score of the same run, and with a prediction interval of the other seeds: the
run's own score, which is to be verified, is no part of it.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from archbench.reports.base import formatting
from archbench.reports.base.metrics import of_table, primary, within
from archbench.reports.base.statistics import Interval, prediction_interval
from archbench.reports.base.tables import Tables
from archbench.reports.published.published import PLACE, Published, records
from archbench.runs.experiment.spec import BETWEEN_MEASURES, UNMATCHED
from archbench.tasks.metrics.metric import Metric

ROLES: Final = ("compared", "share", "control")  # that are trained again, the last ones last
PRETRAINING: Final = "pretraining"  # the task of a run that others start from
SECONDS: Final = ("train_seconds", "score_seconds", "generate_seconds")
LIKELIHOOD: Final = "bits_per_byte"
AGREE: Final = ("same", "within")
DISAGREE: Final = ("outside", "diverged", "failed")
NEARLY: Final = 0.01  # of the metric's range, else of the score: what equal settings on equal machines may differ by


def choose(source: Published, number: int | None) -> list[dict[str, Any]]:
    """The published runs to train again, at most ``number``: spread over data sets, then architectures, cheapest first.

    Each is the run's row without empty cells and with its place in the comparison; ``variant`` is what was trained
    under the name ``architecture``. Always the same for the same tables.
    """
    rows = sorted(candidates(source), key=lambda row: (ROLES.index(row["role"]), row["cost"], row["run"]))
    rows = list({row["run"]: row for row in reversed(rows)}.values())[::-1]  # of two places of a run the first
    chosen: list[dict[str, Any]] = []
    counts = Counter[tuple[str, str]]()

    def spread(row: Mapping[str, Any]) -> list[tuple[str, str]]:
        dataset, name = row["dataset"], row["architecture"]
        return [(dataset, ""), (dataset, name), ("", name)]

    def rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return (ROLES.index(row["role"]), *(counts[part] for part in spread(row)), row["cost"], row["run"])

    while rows and (number is None or len(chosen) < number):
        row = min(rows, key=rank)
        rows.remove(row)
        chosen.append(row)
        counts.update(spread(row))
    return chosen


def candidates(source: Published) -> Iterator[dict[str, Any]]:
    """Every finished run that was trained for the comparison, once for each of its places."""
    seconds_per_flop = _pretraining_speed(source.tables["runs"])
    places = source.places[source.places["role"].isin(ROLES) & (source.places["match"] != UNMATCHED)]
    done = (places["status"] == "done").fillna(False) & places["run"].isin(_scores(source.tables))
    for row in records(places[done]):
        cost = sum(float(row.get(name, 0.0)) for name in SECONDS)
        yield {**row, "cost": cost + seconds_per_flop * float(row.get("pretraining_flops", 0.0))}


def _pretraining_speed(runs: pd.DataFrame) -> float:
    """Seconds for each training FLOP of the pretrainings; 0 where there are none."""
    ended = runs[(runs["task"] == PRETRAINING).fillna(False) & runs["train_flops"].notna()]
    flops = float(ended["train_flops"].sum())
    return float(ended["train_seconds"].sum()) / flops if flops else 0.0


def verdicts(
    source: Published,
    new: Tables,
    chosen: Sequence[Mapping[str, Any]],
    again: Mapping[str, tuple[str, Sequence[str]]],
) -> pd.DataFrame:
    """A row for each chosen run and metric: the published and the new score, what was expected, and a word.

    ``again`` gives for a published run the new one and what is known to differ, of settings or of the machine. The word
    is ``same``, ``within``, ``outside``, ``no interval`` or, without a new score, how the run ended.
    """
    metrics = of_table(source.tables["metrics"])
    there, here = _scores(source.tables), _scores(new)
    statuses = dict(zip(new["runs"]["run"], new["runs"]["status"], strict=True))
    groups: dict[tuple[Any, ...], list[str]] = {}
    for candidate in candidates(source):
        groups.setdefault(tuple(candidate[key] for key in PLACE), []).append(candidate["run"])
    rows = []
    for row in chosen:
        published, (run, differences) = row["run"], again[row["run"]]
        others = [there[seed] for seed in groups[tuple(row[key] for key in PLACE)] if seed != published]
        for name in _metrics(source, row, there[published]):
            values = [scores[name] for scores in others if name in scores]
            new_score = here.get(run, {}).get(name, math.nan)
            judgement = judged(metrics[name], there[published][name], new_score, values, not differences)
            if math.isnan(new_score):
                judgement["verdict"] = "diverged" if statuses[run] == "diverged" else "failed"
            runs = {"published_run": published, "run": run, "differences": "; ".join(differences)}
            rows.append({**{key: row[key] for key in (*PLACE, "seed")}, **judgement, **runs})
    return pd.DataFrame(rows)


def judged(metric: Metric, published: float, new: float, others: Sequence[float], alike: bool) -> dict[str, Any]:
    """One score: ``others`` are those of the other published seeds, ``alike`` that nothing is known to differ.

    ``most`` is the largest difference from the published score that agrees with it: ``NEARLY`` where all is alike, else
    what two seeds differ by in 95% of cases, by the standard deviation of the others.
    """
    interval = prediction_interval(np.array(others)) if others else Interval(math.nan)
    most = interval.half_width * math.sqrt(2 * len(others) / (len(others) + 1)) if interval.known else math.nan
    if alike:
        most = NEARLY * (metric.extent if math.isfinite(metric.extent) else abs(published))
    interval = within(interval, metric)
    expected = alike or interval.lower <= new <= interval.upper
    word = "within" if expected and abs(new - published) <= most else "no interval" if math.isnan(most) else "outside"
    facts = {"metric": metric.name, "decimals": metric.decimals}
    figures = {"published": published, "new": new, "difference": new - published, "most": most}
    seen = {"seeds": len(others), **interval.columns()}
    return {**facts, **figures, "alike": alike, **seen, "verdict": "same" if new == published else word}


def _scores(tables: Tables) -> dict[str, dict[str, float]]:
    """The scores on the test split of each run, by metric."""
    test = tables["scores"][(tables["scores"]["split"] == "test").fillna(False)].dropna(subset=["value"])
    return {str(run): dict(zip(rows["metric"], rows["value"], strict=True)) for run, rows in test.groupby("run")}


def _metrics(source: Published, row: Mapping[str, Any], scores: Mapping[str, float]) -> list[str]:
    """The primary measures of a run's data set, then its likelihood, as far as they are published."""
    stated = source.cards.get(row["dataset"], {}).get("primary") or primary(row["task"], list(scores))
    return [name for name in dict.fromkeys((*str(stated).split(BETWEEN_MEASURES), LIKELIHOOD)) if name in scores]


def disagrees(rows: pd.DataFrame) -> bool:
    """True if a score does not agree, or a run has none."""
    return bool(rows["verdict"].isin(DISAGREE).any())


def table(rows: pd.DataFrame) -> list[list[str]]:
    """The verdicts as rows of text, the head first."""
    head = ["data set", "setting", "architecture", "seed", "metric", "published", "new", "difference"]
    lines = [[*head, "at most", "other seeds", "95% interval", "verdict"]]
    for row in rows.to_dict("records"):
        figures = ("published", "new", "difference", "most", "mean")
        numbers = [formatting.value(row[key], row["decimals"]) for key in figures]
        interval = Interval(row["mean"], row["lower"], row["upper"])
        limits = formatting.limits(interval, row["decimals"]) if interval.known else formatting.MISSING
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
    """Sentences that sum up the verdicts, and say how to read them."""
    words = rows.groupby("published_run", sort=False)["verdict"].agg(set)
    agree, same = sum(word <= set(AGREE) for word in words), sum(word == {"same"} for word in words)
    many = "1 has the same scores" if same == 1 else f"{same} have the same scores"
    lines = [f"{agree} of {len(words)} runs agree with the published scores; {many} to the last digit."]
    if rows["alike"].any():
        lines.append(f"Of equal settings on equal machines, scores may differ by {NEARLY:.0%} of the metric's range.")
    if (~rows["alike"]).any():
        lines.append(
            "Others may differ from the published score, and from the other seeds, as a further seed would (95%)."
        )
    if (rows["verdict"] == "no interval").any():
        lines.append("Fewer than two other seeds give no interval: only an equal score would agree.")
    outside = rows[(rows["verdict"] == "outside") & ~rows["alike"]]
    if len(outside):
        lines.append("With 95% intervals, one score in 20 or more lies outside by chance.")
    if (outside["lower"] == outside["upper"]).any():
        lines.append("An interval without width comes from other seeds that all have the same score.")
    return lines
