"""Tuning: the rates and variants that trials chose, and what the trials cost."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from archbench.reports.base import formatting
from archbench.reports.base.declared import entered
from archbench.reports.base.once import once_per_report
from archbench.reports.base.tables import Tables
from archbench.reports.page.elements.grids import Column, GridCell
from archbench.reports.page.elements.parts import Figure, Note, Section, Table, of_tables
from archbench.reports.report import Report
from archbench.reports.results import trials
from archbench.reports.results.trials import FLAT, ChosenVariant, NoTuning, TriedForm, TunedSetting

SHORT: Final = 0.5 - 1e-3  # of a reported run's tokens, which are rounded


@once_per_report
def _chosen(report: Report) -> list[TunedSetting]:
    return trials.settings(report.tables)


def _loss(setting: TunedSetting) -> GridCell:
    lowest = f"of the parabola; lowest trial {formatting.value(setting.lowest, 3)}" if setting.fitted else ""
    return GridCell(formatting.value(setting.loss, 3), lowest)


def _regret(setting: TunedSetting) -> GridCell:
    """An expected regret; below it its 95% range."""
    regret = setting.regret
    if regret is None or setting.flat or not setting.learned:
        return GridCell(formatting.MISSING)
    expected, lower, upper = (formatting.value(nats, 4) for nats in (regret.expected, regret.lower, regret.upper))
    return GridCell(expected, f"{lower} to {upper}")


def _remarks(setting: TunedSetting) -> GridCell:
    """Cell for a rate: no trial learned, it is at the edge of the grid, or these trials choose another."""
    if not setting.learned:
        return GridCell("no tuning", "no trial learned", "text")
    edge = "at the edge of the grid" if setting.edge else "trials do not distinguish the rates" if setting.flat else ""
    if math.isnan(setting.now):
        return GridCell(edge, kind="text")
    reason = "rate of the first condition" if setting.kept else "chosen by another rule"
    return GridCell(edge or reason, f"{f'{reason}; ' if edge else ''}these trials give {setting.now:.3g}", "text")


TUNING: Final = Table[TunedSetting](
    "tuning",
    "Settings selected by tuning",
    _chosen,
    (
        Column("data set", lambda setting: setting.dataset, text=True),
        Column("condition", lambda setting: setting.condition, text=True, optional=True),
        Column("architecture", lambda setting: setting.architecture, text=True),
        Column("trials", lambda setting: f"{setting.trials}"),
        Column(
            "learning rate",
            lambda setting: GridCell(f"{setting.learning_rate:.3g}", "from the parabola" if setting.fitted else ""),
        ),
        Column(
            "in the reported runs",
            lambda setting: f"{setting.learning_rate * setting.factor:.3g}",
            optional=lambda setting: setting.factor != 1,
        ),
        Column("dropout", lambda setting: f"{setting.dropout:g}"),
        Column("validation loss", _loss),
        Column("expected regret", _regret),
        Column("", _remarks, text=True),
    ),
    folded="Selected settings",
    holds="hyperparameters selected by tuning",
    lacks="trials",
)


def regrets(chosen: Sequence[TunedSetting]) -> str:
    """The greatest expected regret in a sentence, beside the spread of seeds there; empty where none is known."""
    known = [
        (setting.regret, setting)
        for setting in chosen
        if setting.regret is not None and not setting.flat and setting.learned
    ]
    if not known:
        return ""
    greatest, setting = max(known, key=lambda pair: pair[0].expected)
    where = ", ".join(filter(None, (setting.architecture, setting.dataset, setting.condition)))
    times = f", {greatest.expected / greatest.seed_sd:.2f} times" if greatest.seed_sd else ", beside"
    return (
        "Expected regret: how much worse the selected setting is than the best one, on average, if the trials are "
        "repeated with other seeds (nats per token of validation loss). Below it, the range of the middle 95% of "
        "repetitions; the mean can lie outside this range. "
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
    return f"Trials: {'; '.join(parts)}." if parts else "Trials are at the reported size and budget."


def repetitions(tables: Tables) -> str:
    """Where trials were repeated on more tokens, in a sentence; empty if nowhere."""
    parts = [
        f"{', '.join(filter(None, where))} on {formatting.listing([f'{share:g}' for share in shares])} of the tokens"
        for where, shares in trials.repeated(tables).items()
    ]
    if not parts:
        return ""
    return (
        "Since no trial of an architecture learned, the trials of all architectures were repeated: "
        f"{'; '.join(parts)}. The last ones count, and only they are shown."
    )


def without_tuning(tables: Tables) -> str:
    """The architectures none of whose trials learned, with their lowest losses, in sentences; empty if none."""
    untuned = trials.without_tuning(tables)
    if not untuned:
        return ""
    return (
        f"No tuning: no trial learned for {'; '.join(map(_untuned, untuned))}. The reported runs use the rate that "
        "these trials prefer; where no trial improved on the untrained model, that of the recipe. Train longer, or try "
        "other rates."
    )


def _untuned(one: NoTuning) -> str:
    where = ", ".join(filter(None, (one.architecture, one.dataset, one.condition)))
    if not math.isfinite(one.lowest):
        return f"{where} (no loss below the untrained model's)"
    baseline = "5-gram" if one.name == "ngram" else "label frequencies"
    return f"{where} (best {one.lowest:.2f} nats per token, {baseline} {one.bar:.2f})"


def selection(chosen: Sequence[TunedSetting]) -> Iterator[str]:
    """How rates were chosen, in a few sentences; none without trials."""
    if any(setting.fitted for setting in chosen):
        yield (
            "With at least four learning rates, the minimum of a parabola fitted to the validation losses over the "
            "logarithm of the rate is selected; with fewer, or without a minimum, the setting with the lowest loss."
        )
    elif chosen:
        yield "The setting with the lowest validation loss is selected."
    counts = {setting.examples for setting in chosen} - {0}
    if counts:
        count = formatting.listing(map(str, sorted(counts)))
        yield (
            f"For masked models, whose exact likelihood takes one pass for each token, this loss is that of {count} "
            "validation examples."
        )
    others = sum(math.isfinite(setting.now) and not setting.kept for setting in chosen)
    if others:
        yield (
            f"These runs were planned with an earlier rule, which chose another rate in {others} of {len(chosen)} "
            "settings. The table marks them and shows the rate that this rule gives."
        )


@once_per_report
def _forms(report: Report) -> list[TriedForm]:
    return trials.forms(report.tables)


def rows(report: Report) -> Iterator[dict[str, object]]:
    """The forms of every architecture in full precision, a row each."""
    return (vars(form) for form in _forms(report))


def _form_loss(form: TriedForm) -> GridCell:
    return GridCell(formatting.value(form.loss, 4), f"of {form.examples} examples" if form.examples else "")


FORMS: Final = Table[TriedForm](
    "forms",
    "Forms of each architecture",
    _forms,
    (
        Column("data set", lambda form: form.dataset, text=True),
        Column("condition", lambda form: form.condition, text=True, optional=True),
        Column("architecture", lambda form: form.architecture, text=True),
        Column("form", lambda form: form.form.removeprefix(f"{form.architecture}, "), text=True),
        Column("trials", lambda form: f"{form.trials}"),
        Column("tokens of a trial", lambda form: f"{form.share:.0%}"),
        Column("validation loss", _form_loss),
        Column("", lambda form: GridCell("compared", kind="strong") if form.chosen else GridCell("", kind="text")),
    ),
    titled=True,
    about=(
        "Trials choose the form with the lowest exact negative log-likelihood of validation targets at its best "
        "setting (the parabola's minimum where there is one), in nats per target token. It does not depend on what "
        "training minimises. All forms of an architecture have the same validation examples; ties go to the first one. "
        "Tokens of a trial are relative to a reported run.",
    ),
    holds="forms among which trials choose",
    lacks="alternatives",
)


def _counted(forms: Sequence[TriedForm]) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """By data set and condition: each architecture with its numbers of forms and of trials."""
    for where in dict.fromkeys((form.dataset, form.condition) for form in forms):
        here = [form for form in forms if (form.dataset, form.condition) == where]
        names = dict.fromkeys(form.architecture for form in here)
        own = [[form for form in here if form.architecture == name] for name in names]
        counts = [(name, len(each), sum(form.trials for form in each)) for name, each in zip(names, own, strict=True)]
        yield ", ".join(filter(None, where)), counts


def equal_forms(forms: Sequence[TriedForm]) -> Iterator[str]:
    """Where all architectures had equally many forms and trials, a sentence each."""
    for where, counts in _counted(forms):
        if len({count[1:] for count in counts}) == 1:
            _, number, tried = counts[0]
            yield f"On {where}, each architecture had {number} forms and {tried} trials."


def unequal_forms(forms: Sequence[TriedForm]) -> Iterator[str]:
    """Where an architecture had more forms or trials than another, a sentence each."""
    for where, counts in _counted(forms):
        if len({count[1:] for count in counts}) > 1:
            listed = formatting.listing([f"{name} {number} ({tried})" for name, number, tried in counts])
            yield f"Architectures had unequal numbers of forms (trials) on {where}: {listed}."


def short_trials(forms: Sequence[TriedForm]) -> str:
    """Where trials among forms read less than half of a reported run's tokens, in a sentence; empty if nowhere."""
    shares = {form.dataset: form.share for form in forms if form.share < SHORT}
    listed = formatting.listing([f"{dataset} ({share:.0%})" for dataset, share in shares.items()])
    return f"Trials read less than half of a reported run's tokens on {listed}." if shares else ""


def variants_in_use(tables: Tables) -> str:
    """Which architectures are represented by an alternative that trials chose, and where, in a sentence; else empty."""
    in_use = [
        (f"{architecture} is {words}", dataset)
        for dataset in dict.fromkeys(choice.dataset for choice in trials.chosen_variants(tables))
        for architecture, words in trials.forms_in_use(tables, dataset).items()
    ]
    return f"Chosen by trials: {formatting.grouped(in_use)}." if in_use else ""


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


def cost(tables: Tables) -> str:
    """The cost of tuning in a sentence; empty without trials."""
    by_dataset = trials.costs(tables)
    if not by_dataset:
        return ""
    flops, seconds = sum(cost.flops for cost in by_dataset), sum(cost.seconds for cost in by_dataset)
    reported = sum(cost.reported_flops for cost in by_dataset)
    ratio = f" ({flops / reported:.2g} times those of all other runs together)" if reported else ""
    count = sum(cost.trials for cost in by_dataset)
    return (
        f"{count} trials took {formatting.number(flops)} training FLOPs{ratio} and {formatting.seconds(seconds)} "
        "on one worker."
    )


SECTION: Final = Section(
    "Tuning",
    needs=lambda report: _chosen(report) or trials.without_tuning(report.tables),
    show=(
        Note(
            (
                "On each data set, every form of every architecture had the same tuning trials, with seeds that no "
                "reported run has.",
                lambda report: equal_forms(_forms(report)),
                of_tables(setup),
                of_tables(repetitions),
                lambda report: selection(_chosen(report)),
                "Conditions without trials of their own, and architectures that a condition leaves unchanged, keep the "
                "settings of the first condition.",
                of_tables(cost),
            ),
            look="",
        ),
        Note(of_tables(without_tuning), "warning"),
        Note(lambda report: undetermined(_chosen(report)), "warning"),
        Note(
            (lambda report: unequal_forms(_forms(report)), lambda report: short_trials(_forms(report))),
            "warning",
        ),
        FORMS,
        Note(lambda report: regrets(_chosen(report)), ""),
        TUNING,
        Figure("tuning"),
    ),
)
