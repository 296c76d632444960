"""Grids and sentences about tuning: the rates and variants that trials chose, and what the trials cost."""

import math
from collections.abc import Sequence

from archbench.reports.analysis.trials import FLAT, ChosenVariant, Cost, TunedSetting
from archbench.reports.base import formatting
from archbench.reports.base.declared import entered
from archbench.reports.base.tables import Tables
from archbench.reports.page.grids import Grid, GridCell, text_cell


def tuning(chosen: Sequence[TunedSetting]) -> Grid:
    """What was chosen for each architecture, from how many trials, and the expected regret of the choice.

    Where the reported runs train at a multiple of the chosen rate, theirs is shown, too.
    """
    conditions, scaled = any(setting.condition for setting in chosen), any(setting.factor != 1 for setting in chosen)
    columns = ["architecture", "trials", "learning rate", "dropout", "validation loss", "expected regret", ""]
    columns[3:3] = ["in the reported runs"] if scaled else []
    head = (text_cell("data set"), *([text_cell("condition")] if conditions else []), *map(text_cell, columns))
    rows = (
        (
            text_cell(setting.dataset),
            *([text_cell(setting.condition)] if conditions else []),
            text_cell(setting.architecture),
            GridCell(f"{setting.trials}"),
            GridCell(f"{setting.learning_rate:.3g}", "from the parabola" if setting.fitted else ""),
            *([GridCell(f"{setting.learning_rate * setting.factor:.3g}")] if scaled else []),
            GridCell(f"{setting.dropout:g}"),
            GridCell(
                formatting.value(setting.loss, 3),
                f"of the parabola; lowest trial {formatting.value(setting.lowest, 3)}" if setting.fitted else "",
            ),
            _regret(setting),
            GridCell(*_remarks(setting), "text"),
        )
        for setting in chosen
    )
    return Grid(head, tuple(rows))


def _regret(setting: TunedSetting) -> GridCell:
    """An expected regret; below it its 95% range."""
    regret = setting.regret
    if regret is None or setting.flat:
        return GridCell(formatting.MISSING)
    return GridCell(
        formatting.value(regret.expected, 4),
        f"{formatting.value(regret.lower, 4)} to {formatting.value(regret.upper, 4)}",
    )


def _remarks(setting: TunedSetting) -> tuple[str, str]:
    """Whether the rate is at the edge of the grid, and whether these trials choose another."""
    edge = "at the edge of the grid" if setting.edge else "trials do not distinguish the rates" if setting.flat else ""
    if math.isnan(setting.now):
        return edge, ""
    reason = "rate of the first condition" if setting.kept else "chosen by another rule"
    return (edge or reason), f"{f'{reason}; ' if edge else ''}these trials give {setting.now:.3g}"


def regrets(chosen: Sequence[TunedSetting]) -> str:
    """The greatest expected regret in a sentence, beside the spread of seeds there; empty where none is known."""
    known = [(setting.regret, setting) for setting in chosen if setting.regret is not None and not setting.flat]
    if not known:
        return ""
    greatest, setting = max(known, key=lambda pair: pair[0].expected)
    where = ", ".join(filter(None, (setting.architecture, setting.dataset, setting.condition)))
    times = f", {greatest.expected / greatest.seed_sd:.2f} times" if greatest.seed_sd else ", beside"
    return (
        f"The largest expected regret is {formatting.value(greatest.expected, 4)} nats per token ({where}){times} the "
        f"standard deviation between seeds there ({formatting.value(greatest.seed_sd, 4)})."
    )


def undetermined(chosen: Sequence[TunedSetting]) -> str:
    """Where the trials do not distinguish the rates, in a sentence; empty where they always do."""
    names_by_setting: dict[str, list[str]] = {}
    for setting in chosen:
        if setting.flat:
            where = ", ".join(filter(None, (setting.dataset, setting.condition)))
            names_by_setting.setdefault(where, []).append(setting.architecture)
    if not names_by_setting:
        return ""
    named = "; ".join(f"{where} ({formatting.listing(names)})" for where, names in names_by_setting.items())
    return (
        f"The losses of all trials differ by less than {FLAT:.0%} on {named}: these trials do not determine the rate, "
        "and a better one may exist."
    )


def setup(tables: Tables) -> str:
    """How the trials differ from the reported runs: in width, and in the tokens that they read."""
    tuned = [task["tuning"] for key in ("tasks", "conditions") for task in entered(tables, key) if task.get("tuning")]
    widths = sorted({tuning["width"] for tuning in tuned if tuning.get("width")})
    shares = sorted({tuning["share"] for tuning in tuned if tuning.get("share", 1.0) != 1.0})
    parts = []
    if widths:
        parts.append(f"models of width {formatting.listing(map(str, widths))}; rates scaled to the width of each run")
    if shares:
        parts.append(f"{formatting.listing([f'{share:.0%}' for share in shares])} of the training tokens")
        parts.append("rates scaled by the square root of the tokens")
    return f" ({'; '.join(parts)})" if parts else ", at the reported size and budget"


def without_improvement(names: Sequence[tuple[str, str, str]]) -> str:
    """The architectures whose trials never improved on the untrained model, in a sentence; empty if there are none."""
    if not names:
        return ""
    settings = [
        ", ".join(filter(None, (architecture, dataset, condition))) for dataset, condition, architecture in names
    ]
    return (
        f"No trial improved on the untrained model: {'; '.join(settings)}. No rate was chosen there, and the reported "
        "runs use that of the recipe. Train longer, or try other rates."
    )


def selection(chosen: Sequence[TunedSetting]) -> str:
    """How rates were chosen, in a few sentences; empty without trials."""
    if not chosen:
        return ""
    sentences = []
    if any(setting.fitted for setting in chosen):
        sentences.append(
            "With at least four learning rates, the minimum of a parabola fitted to the validation losses over the "
            "logarithm of the rate is selected; with fewer, or without a minimum, the setting with the lowest loss."
        )
    else:
        sentences.append("The setting with the lowest validation loss is selected.")
    counts = {setting.examples for setting in chosen} - {0}
    if counts:
        count = formatting.listing(map(str, sorted(counts)))
        sentences.append(
            f"For masked models, whose exact likelihood takes one pass for each token, this loss is that of {count} "
            "validation examples."
        )
    others = sum(math.isfinite(setting.now) and not setting.kept for setting in chosen)
    if others:
        sentences.append(
            f"These runs were planned with an earlier rule, which chose another rate in {others} of {len(chosen)} "
            "settings. The table marks them and shows the rate that this rule gives."
        )
    return " ".join(sentences)


def variants(chosen: Sequence[ChosenVariant]) -> str:
    """What trials chose among alternatives, a sentence for each architecture, data set and condition."""
    sentences = []
    for choice in chosen:
        values = list(choice.losses.values())
        decimals = next((n for n in (3, 4, 6) if len({f"{loss:.{n}f}" for loss in values}) == len(set(values))), 8)
        losses = [f"{name} ({formatting.value(loss, decimals)})" for name, loss in choice.losses.items()]
        where = ", ".join(filter(None, (choice.dataset, choice.condition)))
        tied = "; equal losses leave the architecture as it is" if values.count(min(values)) > 1 else ""
        sentences.append(
            f"On {where}, {choice.architecture} is the variant {choice.variant}. Losses of the variants' best settings "
            f"(the parabola's minimum where there is one): {formatting.listing(losses)} nats per target token{tied}."
        )
    return " ".join(sentences)


def variants_in_use(chosen: Sequence[ChosenVariant]) -> str:
    """Which architectures are represented by an alternative that trials chose, and where, in a sentence; else empty."""
    in_use: dict[str, dict[str, list[str]]] = {}
    for choice in chosen:
        if choice.variant != choice.architecture and not choice.condition:
            in_use.setdefault(choice.architecture, {}).setdefault(choice.variant, []).append(choice.dataset)
    parts = []
    for architecture, variants in in_use.items():
        where = [f"{variant} on {formatting.listing(datasets)}" for variant, datasets in variants.items()]
        parts.append(f"{architecture} is {' and '.join(where)}")
    return f"Chosen by tuning: {'; '.join(parts)}." if parts else ""


def changed_variants(chosen: Sequence[ChosenVariant]) -> str:
    """Where the trials of a condition chose another variant than the first condition's, in a sentence; else empty."""
    first = {(choice.dataset, choice.architecture): choice.variant for choice in chosen if not choice.condition}
    parts = [
        f"for {choice.architecture} on {choice.dataset}, the variant {choice.variant} under “{choice.condition}” but "
        f"the variant {usual} under the first condition"
        for choice in chosen
        if choice.condition
        and (usual := first.get((choice.dataset, choice.architecture))) not in (None, choice.variant)
    ]
    if not parts:
        return ""
    chosen_text = "; ".join(parts)
    return f"Trials of a condition may choose another variant: {chosen_text}. The differences include both changes."


def costs(by_dataset: Sequence[Cost]) -> str:
    """The cost of tuning in a sentence; empty without trials."""
    if not by_dataset:
        return ""
    flops, seconds = sum(cost.flops for cost in by_dataset), sum(cost.seconds for cost in by_dataset)
    reported = sum(cost.reported_flops for cost in by_dataset)
    ratio = f" ({flops / reported:.2g} times those of all other runs together)" if reported else ""
    trials = sum(cost.trials for cost in by_dataset)
    return (
        f"{trials} trials took {formatting.number(flops)} training FLOPs{ratio} and {formatting.seconds(seconds)} "
        "on one worker."
    )
