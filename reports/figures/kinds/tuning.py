"""Trials: how much worse each learning rate is than an architecture's best."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from archbench.reports.base.formatting import listing
from archbench.reports.figures.canvas.drawing import Panel
from archbench.reports.figures.canvas.marks import Looks, both_grids, mean
from archbench.reports.figures.canvas.palette import label
from archbench.reports.figures.figure import Figure, View, below
from archbench.reports.results.trials import Trial, TunedSetting, forms, numbers, settings, trials

CAPTION: Final = (
    "Validation loss of the tuning trials above each architecture's lowest, against the learning rate: means over "
    "seeds, single seeds faint; linear up to {linear}, logarithmic beyond. Large marks: the selected rate, "
    "from a fitted parabola, an earlier rule or the first condition.{scaled}{dropout}{exact}"
)
_SCALED: Final = " The reported runs, which read more tokens, train at {factors} times that rate."
_DROPOUT: Final = " Dashed: a higher dropout than solid."
_FEWER_EXAMPLES: Final = (
    " Masked models: exact losses of fewer examples, so compare points within an architecture only."
)
_FORMS: Final = " For each architecture, the form that is compared is shown; the numbers have all forms."
LINEAR: Final = 0.05  # nats per token
TICKS: Final = (0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


def tuning(view: View) -> Figure:
    """A panel for each data set and condition with its own trials; each architecture in its compared form."""
    tables = view.report.tables
    known = settings(tables)
    tried = [trial for trial in trials(tables, known) if view.shows(trial.dataset, trial.architecture)]
    chosen = [setting for setting in known if view.shows(setting.dataset, setting.architecture)]
    rejected = {(form.dataset, form.condition, form.form) for form in forms(tables) if not form.chosen}
    shown = [trial for trial in tried if (trial.dataset, trial.condition, trial.architecture) not in rejected]
    panels = []
    for dataset, condition in dict.fromkeys((trial.dataset, trial.condition) for trial in shown):
        own_trials = [trial for trial in shown if (trial.dataset, trial.condition) == (dataset, condition)]
        names = {trial.architecture for trial in own_trials}
        own_chosen = [
            setting
            for setting in chosen
            if (setting.dataset, setting.condition) == (dataset, condition) and setting.architecture in names
        ]
        drawing = partial(draw, trials=own_trials, chosen=own_chosen, looks=view.looks)
        about = f"Excess validation loss against learning rate, {', '.join(filter(None, (dataset, condition)))}"
        panels.append(
            Panel(title=label(dataset, 80), below=below(condition), height=2.4, draw=drawing, description=about)
        )
    factors = sorted({setting.factor for setting in chosen} - {1.0})
    caption = CAPTION.format(
        linear=LINEAR,
        scaled=_SCALED.format(factors=" or ".join(f"{factor:.2g}" for factor in factors)) if factors else "",
        dropout=_DROPOUT if len({trial.dropout for trial in tried}) > 1 else "",
        exact=(_FEWER_EXAMPLES if any(setting.examples for setting in chosen) else "") + (_FORMS if rejected else ""),
    )
    named = tuple(dict.fromkeys(trial.architecture for trial in shown))
    table = numbers(tried, chosen)
    takeaway = " ".join(filter(None, (_says(chosen), _excess(tried, chosen))))
    return Figure(
        name="tuning",
        title="Loss against learning rate",
        caption=caption,
        panels=tuple(panels),
        architectures=named,
        numbers=table,
        takeaway=takeaway,
    )


def draw(axes: Axes, trials: Sequence[Trial], chosen: Sequence[TunedSetting], looks: Looks) -> None:
    """Excess loss against the rate; the chosen settings are large; dashed with the greater dropouts."""
    dropouts = sorted({trial.dropout for trial in trials})
    best = {name: _lowest(trials, chosen, name) for name in dict.fromkeys(trial.architecture for trial in trials)}
    for name, dropout in dict.fromkeys((trial.architecture, trial.dropout) for trial in trials):
        line_trials, look = [t for t in trials if (t.architecture, t.dropout) == (name, dropout)], looks[name]
        dashes = "-" if dropout == dropouts[0] else (0, (4, 1.6))
        excess = [trial.loss - best[name] for trial in line_trials]
        axes.plot([trial.learning_rate for trial in line_trials], excess, color=look.colour, linewidth=1.4, ls=dashes)
        for trial, above in zip(line_trials, excess, strict=True):
            mean(axes, trial.learning_rate, above, look, 4)
            for loss in trial.losses if len(trial.losses) > 1 else ():
                mean(axes, trial.learning_rate, loss - best[name], look, 3, alpha=0.35, markeredgewidth=0)
    for setting in chosen:
        mean(axes, setting.learning_rate, setting.loss - best[setting.architecture], looks[setting.architecture], 9)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=LINEAR)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -LINEAR / 4), max(high, LINEAR))
    ticks = [tick for tick in TICKS if tick <= axes.get_ylim()[1]]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    rates = sorted({trial.learning_rate for trial in trials})
    axes.set_xticks(rates, [f"{rate:.3g}" for rate in rates])
    axes.minorticks_off()
    axes.set_xlabel("learning rate")
    axes.set_ylabel("excess loss (nats per token)")
    both_grids(axes)


def _lowest(trials: Sequence[Trial], chosen: Sequence[TunedSetting], name: str) -> float:
    """The lowest mean loss of an architecture, the fitted one of its choice included; 0 where none is finite."""
    losses = [trial.loss for trial in trials if trial.architecture == name]
    losses += [setting.loss for setting in chosen if setting.architecture == name]
    return min((loss for loss in losses if math.isfinite(loss)), default=0.0)


def _excess(trials: Sequence[Trial], chosen: Sequence[TunedSetting]) -> str:
    """The chosen setting that lies farthest above the lowest loss of its architecture, where that is far."""
    above = []
    for setting in chosen:
        setting_trials = [t for t in trials if (t.dataset, t.condition) == (setting.dataset, setting.condition)]
        above.append((setting.loss - _lowest(setting_trials, [setting], setting.architecture), setting))
    far = [entry for entry in above if entry[0] > LINEAR]
    if not far:
        return ""
    excess, setting = max(far, key=lambda entry: entry[0])
    where = f"{setting.dataset}{f' ({setting.condition})' if setting.condition else ''}"
    return f"Farthest above its lowest loss: {setting.architecture} on {where}, by {excess:.2g} nats per token."


def _says(chosen: Sequence[TunedSetting]) -> str:
    """How many choices lie inside their grid, and which do not."""
    if not chosen:
        return ""
    edges = [
        f"{setting.architecture} on {setting.dataset}{f' ({setting.condition})' if setting.condition else ''}"
        for setting in chosen
        if setting.edge
    ]
    inside = f"{len(chosen) - len(edges)} of {len(chosen)} selected settings lie inside the grid"
    return f"{inside}; at the edge: {listing(edges)}." if 0 < len(edges) <= 4 else f"{inside}."
