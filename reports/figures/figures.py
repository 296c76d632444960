"""The report's figures: what is drawn, what the caption says, and the numbers behind it."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.ticker import EngFormatter

from archbench.reports.analysis import horizontal, shares, sweeps, waterfall
from archbench.reports.analysis.comparison import Comparison, Comparisons
from archbench.reports.analysis.conditions import condition
from archbench.reports.analysis.contrasts import Contrast
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.sweeps import SweepScore
from archbench.reports.analysis.trials import Trial, TunedSetting, settings, trials
from archbench.reports.analysis.trials import numbers as trial_numbers
from archbench.reports.analysis.verdicts import breaking, reference_label
from archbench.reports.base.declared import contrasts_and_margins
from archbench.reports.base.formatting import listing, value
from archbench.reports.base.tables import Tables, write_csv
from archbench.reports.figures import capacity, causes, distances, drawing, forest, panels
from archbench.reports.figures.curves import learning_curves, numbers
from archbench.reports.figures.drawing import Panel
from archbench.reports.figures.palette import label, looks
from archbench.reports.figures.panels import CostPoint, Looks
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS
from archbench.tasks.base.files import write_bytes

COSTS: Final = {
    "inference_flops": "inference FLOPs per example (less is better)",
    "generate_tokens_per_second": "generated tokens per second (more is better)",
    "train_flops": "training FLOPs (less is better)",
}
MORE_IS_BETTER: Final = ("generate_tokens_per_second",)
_HEADLINE: Final = (
    "Large marks: means over seeds on the test split; bars: 95% intervals over {covers}; faint marks: single seeds. "
    "Grey: baselines (arrow: outside the panel). Bold: better in every primary contrast, and the 95% intervals of its "
    "differences from all other architectures exclude 0."
)
_CURVES: Final = (
    "Validation loss during training. Thin lines: seeds; thick lines: means.{bounds}{broken} The steep start is cut "
    "off. Earlier points do not show what a shorter training reaches, because the learning rate has not fully "
    "decayed."
)
_BOUNDS: Final = " Dashed: an any-order bound, not comparable with the exact loss (solid)."
_SAMPLED: Final = (
    " Where an exact likelihood takes one pass for each token, the validation loss is that of a few sampled tokens of "
    "each target, the same ones at every evaluation."
)
_MASKED: Final = (
    " Dotted: a loss over masked ends of targets; it bounds no likelihood and is not comparable with other lines."
)
_BROKEN: Final = " {names}: the loss is not comparable (see the verdicts)."
_COST: Final = (
    "Test score (means over seeds; bars: 95% intervals) against inference FLOPs per example, generation speed on the "
    "training device, and training FLOPs. Logarithmic cost axes. Speeds are rough: runs may have shared the machine. "
    "Dashed: the Pareto frontier."
)
_SHARES: Final = (
    "Test score against the share of the budget (means over seeds; bars: 95% intervals). Each point is a separate "
    "training with a full learning rate schedule. The last point is the whole budget."
)
_SCALING: Final = (
    "Test score against non-embedding parameters (logarithmic axis): means over seeds; bars: 95% intervals. Each point "
    "is a separate training, on the number of tokens below the title."
)
_DEPTH: Final = (
    "Test score against layers per stack at equal parameters: means over seeds; bars: 95% intervals. The width is "
    "below each depth. An encoder-decoder has two stacks and narrower feed-forward networks."
)
_TRIALS: Final = (
    "Validation loss of the trials against the learning rate. Large marks: the chosen rate, drawn on the fitted curve "
    "if it lies between two tried rates.{dropout}{exact}"
)
_DROPOUT: Final = " Dashed: trials with dropout."
_FEWER_EXAMPLES: Final = (
    " Masked models: exact losses of fewer examples, so compare points within an architecture only."
)


@dataclass(frozen=True)
class Figure:
    """A figure of several panels, its caption and its numbers; with a key unless its rows are named."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    architectures: tuple[str, ...]
    numbers: pd.DataFrame
    keyed: bool = True


def figures(judged: Judged) -> list[Figure]:
    """The figures of a report that have something to show."""
    comparisons, first, further = judged.comparisons, judged.first, judged.further
    tables = comparisons.tables
    by_architecture = looks([str(name) for name in tables["runs"]["architecture"].dropna()])
    scored = [comparison for comparison in first if comparison.scored]
    declared = judged.tested.primary if contrasts_and_margins(tables)[0] != DEFAULT_CONTRASTS else ()
    brief = [_short(comparison, judged.tested.of(comparison.group.dataset)) for comparison in scored]
    shorter = any(len(comparison.cells) > len(short.cells) for comparison, short in zip(scored, brief, strict=True))
    drawn = [
        _headline(
            "in_short",
            "The architectures of the primary contrasts",
            [comparison for comparison in brief if comparison.scored and shorter],
            by_architecture,
        ),
        _headline("headline", "Scores on the test split", scored, by_architecture),
        _forest("differences", "Differences from the default", forest.CAPTION, declared),
        _causes(waterfall.waterfalls(judged)),
        _forest("effects", "What a change does", forest.EFFECTS, judged.tested.effects),
        _curves(tables, first, by_architecture, "tokens"),
        _curves(tables, first, by_architecture, "flops"),
        _shares(comparisons, scored, by_architecture),
        _distances(horizontal.distances(judged)),
        _capacity(capacity.stored(judged), by_architecture),
        _sweep("scaling", "Score against size", _SCALING, panels.scaling, judged, by_architecture),
        _sweep("depth", "Depth against width", _DEPTH, panels.depth, judged, by_architecture),
        _inference(scored, by_architecture),
        _trials(trials(tables), settings(tables), by_architecture),
        _headline(
            "headline_further", "Scores under the other conditions", [c for c in further if c.scored], by_architecture
        ),
    ]
    return [figure for figure in drawn if figure.panels]


def write(figure: Figure, folder: Path) -> list[Path]:
    """Write `<name>.svg`, `.png` and `.csv` into `folder`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    files = drawing.together(figure.panels, _columns(figure.panels), figure.architectures if figure.keyed else ())
    paths = [folder / f"{figure.name}.{kind}" for kind in files]
    for path, content in zip(paths, files.values(), strict=True):
        write_bytes(path, content)
    table = folder / f"{figure.name}.csv"
    write_csv(figure.numbers, table)
    return [*paths, table]


def _columns(drawn: Sequence[Panel]) -> int:
    """A row of two or three panels for each data set, where all have as many; else two columns."""
    counts = set(Counter(panel.title for panel in drawn).values())
    return counts.pop() if counts in ({2}, {3}) else min(2, len(drawn))


def _short(comparison: Comparison, primary: Sequence[Contrast]) -> Comparison:
    """What the primary contrasts name, and the best classical reference."""
    named = {name for contrast in primary for name in (contrast.first, contrast.second)}
    cells = tuple(cell for cell in comparison.cells if cell.architecture in named)
    return replace(comparison, cells=cells, references=dict([comparison.classical]) if comparison.classical else {})


def _headline(name: str, title: str, scored: Sequence[Comparison], looks: Looks) -> Figure:
    drawn = tuple(
        Panel(
            *_title(comparison),
            panels.rows_height(panels.headline_rows(comparison)),
            partial(panels.headline, comparison=comparison, looks=looks),
            f"{comparison.metric.label} on {comparison.group.dataset}, by architecture",
        )
        for comparison in scored
    )
    partly = any(not comparison.examples for comparison in scored)
    covers = "seeds, and over test examples where single answers are recorded" if partly else "seeds and test examples"
    table = pd.DataFrame([row for comparison in scored for row in _headline_rows(comparison)])
    return Figure(name, title, _HEADLINE.format(covers=covers), drawn, _named(scored), table, keyed=False)


def _forest(name: str, title: str, caption: str, contrasts: Sequence[Contrast]) -> Figure:
    """The contrasts with each default in a panel of their own."""
    parts = forest.forests(contrasts)
    table = pd.DataFrame([row for part in parts for row in part.numbers()])
    named = tuple(dict.fromkeys(contrast.first for contrast in contrasts))
    return Figure(name, title, caption, tuple(part.panel for part in parts), named, table, keyed=False)


def _causes(waterfalls: Sequence[waterfall.Waterfall]) -> Figure:
    table = pd.DataFrame(waterfall.numbers(waterfalls))
    named = tuple(dict.fromkeys(name for entry in waterfalls for name in (entry.first, entry.last)))
    panels_drawn = tuple(causes.panel(entry) for entry in waterfalls)
    return Figure("causes", "Causes of the differences", causes.CAPTION, panels_drawn, named, table, keyed=False)


def _distances(horizontal_distances: Sequence[horizontal.Distance]) -> Figure:
    parts = distances.by_panel(horizontal_distances)
    table = pd.DataFrame([row for part in parts for row in part.numbers()])
    named = tuple(dict.fromkeys(name for entry in horizontal_distances for name in (entry.slow, entry.fast)))
    title = "How many times the budget"
    return Figure("distances", title, distances.CAPTION, tuple(part.panel for part in parts), named, table, keyed=False)


def _headline_rows(comparison: Comparison) -> list[dict[str, object]]:
    group = _of(comparison)
    architectures: list[dict[str, object]] = [
        {
            **group,
            "name": cell.architecture,
            "kind": "architecture",
            "mean": cell.interval.mean,
            "lower": cell.interval.lower,
            "upper": cell.interval.upper,
            "seeds": len(cell.values),
            "best": cell.best,
        }
        for cell in comparison.cells
    ]
    references = [
        {**group, "name": name, "kind": "reference", "mean": mean} for name, mean in comparison.references.items()
    ]
    return [*architectures, *references]


def _curves(tables: Tables, headlines: Sequence[Comparison], looks: Looks, axis: str) -> Figure:
    drawn, frames, named = [], [], []
    bounds, masked, sampled, broken = False, False, False, list[str]()
    for comparison in headlines:
        lines = learning_curves(tables["curves"], comparison.group, axis)
        if not lines:
            continue
        draw = partial(panels.curves, curves=lines, looks=looks, axis=axis)
        about = f"Validation loss against training {axis}, {comparison.group.dataset}"
        drawn.append(Panel(*_title(comparison), 2.7, draw, about))
        frames.append(numbers(lines, comparison.group.dataset, axis).assign(condition=condition(comparison.group)))
        named += [line.architecture for line in lines]
        bounds = bounds or any(line.bound for line in lines)
        masked = masked or any(line.masked for line in lines)
        sampled = sampled or any(line.sampled for line in lines)
        broken += breaking(comparison)
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    title = {"tokens": "Learning curves against tokens", "flops": "Learning curves against FLOPs"}[axis]
    broken_note = _BROKEN.format(names=listing(dict.fromkeys(broken))) if broken else ""
    notes = (_SAMPLED if sampled else "") + (_BOUNDS if bounds else "") + (_MASKED if masked else "")
    caption = _CURVES.format(bounds=notes, broken=broken_note)
    return Figure(f"curves_{axis}", title, caption, tuple(drawn), tuple(dict.fromkeys(named)), table)


def _inference(scored: Sequence[Comparison], looks: Looks) -> Figure:
    drawn, rows = [], []
    for comparison in scored:
        for column, x_label in COSTS.items():
            points = _points(comparison, column)
            if not points:
                continue
            y_label = f"{comparison.metric.label} {comparison.metric.arrow}".strip()
            best = frontier(points, column not in MORE_IS_BETTER, comparison.metric.better == "higher")
            draw = partial(panels.cost, points=points, looks=looks, x_label=x_label, y_label=y_label, frontier=best)
            about = f"{comparison.metric.label} against {x_label}, {comparison.group.dataset}"
            drawn.append(Panel(*_title(comparison), 2.7, draw, about))
            rows += [
                {**_of(comparison), "axis": column, **vars(point), "on_frontier": point in best} for point in points
            ]
    title = "Quality against cost"
    return Figure("cost", title, _COST, tuple(drawn), _named(scored), pd.DataFrame(rows))


def frontier(points: Sequence[CostPoint], less: bool, higher: bool) -> list[CostPoint]:
    """The points that no other is both better and cheaper than; ``less``: a small cost is good."""

    def worth(point: CostPoint) -> tuple[float, float]:
        return point.mean if higher else -point.mean, -point.cost if less else point.cost

    return [
        point
        for point in points
        if not any(
            all(a >= b for a, b in zip(worth(other), worth(point), strict=True)) and worth(other) != worth(point)
            for other in points
        )
    ]


def _shares(comparisons: Comparisons, scored: Sequence[Comparison], looks: Looks) -> Figure:
    drawn, rows, named = [], [], []
    for comparison in scored:
        points = shares.shares(comparisons, comparison)
        if points:
            y_label = f"{comparison.metric.label} {comparison.metric.arrow}".strip()
            draw = partial(panels.shares, points=points, looks=looks, y_label=y_label)
            about = f"{comparison.metric.label} against training tokens, {comparison.group.dataset}"
            drawn.append(Panel(label(comparison.group.dataset, 80), "", 2.7, draw, about))
            rows += shares.numbers(comparison, points)
            named += [point.architecture for point in points]
    return Figure(
        "shares", "Score against budget", _SHARES, tuple(drawn), tuple(dict.fromkeys(named)), pd.DataFrame(rows)
    )


def _capacity(points: Sequence[capacity.Stored], looks: Looks) -> Figure:
    named = tuple(dict.fromkeys(point.architecture for point in points))
    rows = pd.DataFrame(capacity.numbers(points))
    return Figure("capacity", "Stored bits against size", capacity.CAPTION, capacity.panels(points, looks), named, rows)


def _sweep(name: str, title: str, caption: str, draw: Callable[..., None], judged: Judged, looks: Looks) -> Figure:
    """A panel for each data set whose conditions are points on the axis of this name."""
    drawn, rows, named = [], [], []
    for sweep in (trend.sweep for trend in judged.trends if trend.sweep.axis.name == name):
        scores, measure = sweeps.scores(judged.comparisons, sweep), sweep.base.metric
        best = sweeps.reference(sweep, scores)
        y_label = f"{measure.label} {measure.arrow}"
        draws = partial(draw, scores=scores, looks=looks, y_label=y_label, reference=best[1] if best else None)
        below = _given(scores)
        below += [f"dashed: {reference_label(best[0])}, {value(best[1], measure.decimals)}"] if best else []
        about = f"{measure.label} against {sweep.axis.plural}, {sweep.title}"
        drawn.append(Panel(label(sweep.title, 80), _below("; ".join(below)), 2.7, draws, about))
        rows += sweeps.numbers(sweep, scores)
        named += sweep.architectures
    return Figure(name, title, caption, tuple(drawn), tuple(dict.fromkeys(named)), pd.DataFrame(rows))


def _given(scores: Sequence[SweepScore]) -> list[str]:
    """The training tokens of all scores, least and most, in words; nothing where they are not known."""
    given = sorted({float(f"{score.tokens:.3g}") for score in scores if math.isfinite(score.tokens)})
    texts = [EngFormatter(sep=" ")(count) for count in given]
    return [f"{' to '.join(dict.fromkeys((texts[0], texts[-1])))} tokens"] if texts else []


def _trials(tried: Sequence[Trial], chosen: Sequence[TunedSetting], looks: Looks) -> Figure:
    drawn = []
    for dataset, condition_text in dict.fromkeys((trial.dataset, trial.condition) for trial in tried):
        own_trials = [trial for trial in tried if (trial.dataset, trial.condition) == (dataset, condition_text)]
        own_chosen = [one for one in chosen if (one.dataset, one.condition) == (dataset, condition_text)]
        draw = partial(panels.tuning, trials=own_trials, chosen=own_chosen, looks=looks)
        what = f"Validation loss against learning rate, {', '.join(filter(None, (dataset, condition_text)))}"
        drawn.append(Panel(label(dataset, 80), _below(condition_text), 2.7, draw, what))
    caption = _TRIALS.format(
        dropout=_DROPOUT if len({trial.dropout for trial in tried}) > 1 else "",
        exact=_FEWER_EXAMPLES if any(setting.examples for setting in chosen) else "",
    )
    named = tuple(dict.fromkeys(trial.architecture for trial in tried))
    return Figure("tuning", "Loss against learning rate", caption, tuple(drawn), named, trial_numbers(tried, chosen))


def _points(comparison: Comparison, column: str) -> list[CostPoint]:
    runs = comparison.group.runs
    if column not in runs or not pd.api.types.is_numeric_dtype(runs[column]):
        return []
    costs = runs.groupby("architecture", sort=False)[column].mean().astype("float64")
    return [
        CostPoint(cell.architecture, float(costs[cell.architecture]), interval.mean, interval.lower, interval.upper)
        for cell in comparison.scored
        if (interval := cell.interval) and costs[cell.architecture] > 0
    ]


def _of(comparison: Comparison) -> dict[str, object]:
    """Which comparison a row of numbers belongs to."""
    what = condition(comparison.group)
    return {"dataset": comparison.group.dataset, "condition": what, "metric": comparison.metric.name}


def _named(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.architecture for comparison in comparisons for cell in comparison.scored))


def _title(comparison: Comparison) -> tuple[str, str]:
    """The data set, and the condition to stand below it."""
    return label(comparison.group.dataset, 80), _below(condition(comparison.group))


def _below(text: str) -> str:
    """Text to stand below a title, in full but where it is absurdly long."""
    return label(text, 200) if text else ""
