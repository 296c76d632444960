"""Grids of what was tested: contrasts, controls, conditions, tuning, claims."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from archbench.reports.analysis.contrasts import Alternative, Contrast, Contrasts, Control, turned
from archbench.reports.analysis.judgement import Judged
from archbench.reports.analysis.sequential import Rule
from archbench.reports.analysis.trials import FLAT, ChosenVariant, Cost, TunedSetting
from archbench.reports.analysis.verdicts import decided_after, minimum_detectable, same_outcome, uncorrected
from archbench.reports.base import formatting
from archbench.reports.base.declared import entered
from archbench.reports.base.metrics import metric
from archbench.reports.base.tables import Tables
from archbench.reports.claims.claims import ClaimVerdict
from archbench.reports.claims.ledger import Claim, successors
from archbench.reports.claims.next_steps import as_clause
from archbench.reports.page.grids import Grid, GridCell, text_cell

WORDS: Final = {
    "equal": "equal within the margin",
    "open": "not decided",
    "unknown": "not tested",
    "untrained": "not trained enough",
    "accounting": "depends on the accounting",
}
ALTERNATIVES: Final[Mapping[Alternative, str]] = {
    "welch": "by Welch's test",
    "pooled": "with the variance pooled over all architectures",
}
SAVED: Final = "saved by the right sources"
GATE_COLUMNS: Final = ("bits per byte", "bigram", SAVED, "accuracy", "majority class")
DETECTABLE: Final = GridCell("detectable", "minimum difference")
CONTRASTS_HEAD: Final = (
    text_cell("data set"),
    text_cell("contrast"),
    GridCell("difference"),
    GridCell("p"),
    GridCell("margin"),
    text_cell("outcome"),
    DETECTABLE,
    GridCell("seeds"),
    GridCell("to decide", "seeds each"),
)


def contrasts(tested: Sequence[Contrast]) -> Grid:
    """A row for each contrast: what was seen, what is decided, what could have been detected."""
    several = any(contrast.condition for contrast in tested)
    rows = [
        (
            text_cell(contrast.dataset),
            *([text_cell(contrast.condition)] if several else []),
            _pair(contrast.first, contrast.second),
            GridCell(difference(contrast), metric(contrast.metric).label),
            _p(contrast),
            GridCell(f"{contrast.margin:g}" if math.isfinite(contrast.margin) else formatting.MISSING),
            _outcome(contrast),
            GridCell(minimum_detectable(contrast)),
            GridCell(str(contrast.seeds)),
            _seeds(contrast),
        )
        for contrast in tested
    ]
    return Grid((*CONTRASTS_HEAD[:1], *([text_cell("condition")] if several else []), *CONTRASTS_HEAD[1:]), tuple(rows))


def _p(contrast: Contrast) -> GridCell:
    """The p value; below it those by other rules for the variance between seeds, as far as they are known."""
    others = {"Welch": contrast.p_welch, "pooled": contrast.p_pooled, "paired": contrast.p_paired}
    known = [f"{rule} {formatting.p(value)}" for rule, value in others.items() if not math.isnan(value)]
    return GridCell(formatting.p(contrast.p), "\n".join(known), "lines")


def gates(judged: Judged) -> Grid:
    """A row for each data set and architecture whose gates were measured; none where that holds for no architecture."""
    measured = [
        (comparison.group.dataset, gate)
        for comparison in judged.first
        for cell in comparison.scored
        if (gate := judged.comparisons.gate(comparison.group, cell.architecture)).measured
    ]
    numbers = [
        (
            formatting.value(gate.bits),
            formatting.value(gate.bigram),
            formatting.interval(gate.source),
            formatting.value(gate.accuracy),
            formatting.value(gate.majority),
        )
        for _, gate in measured
    ]
    known = [column for column, cells in enumerate(zip(*numbers, strict=True)) if set(cells) != {formatting.MISSING}]
    head = (
        text_cell("data set"),
        text_cell("architecture"),
        *(GridCell(GATE_COLUMNS[column]) for column in known),
        text_cell("trained enough"),
    )
    rows = [
        (
            text_cell(dataset),
            text_cell(gate.architecture),
            *(GridCell(cells[column]) for column in known),
            GridCell("yes", kind="text") if gate.passed else GridCell("no", kind="text loses"),
        )
        for (dataset, gate), cells in zip(measured, numbers, strict=True)
    ]
    return Grid(head, tuple(rows))


def unchecked(judged: Judged) -> str:
    """The data sets on which no gate was measured, listed."""
    return formatting.listing(
        comparison.group.dataset
        for comparison in judged.first
        if comparison.scored
        and not any(judged.comparisons.gate(comparison.group, cell.architecture).measured for cell in comparison.scored)
    )


def outcome(contrast: Contrast) -> str:
    """An outcome in a few words."""
    if contrast.outcome == "unknown" and contrast.diverged:
        return "diverged"
    words = f"{contrast.better} better" if contrast.better else WORDS[contrast.outcome]
    return f"{words}, by less than the margin" if contrast.small else words


def _outcome(contrast: Contrast) -> GridCell:
    """An outcome; below it why an interval that excludes 0 decides nothing, or after how many seeds it was decided."""
    if contrast.outcome == "accounting":
        return GridCell(outcome(contrast), contrast.accounting, "text")
    below = uncorrected(contrast).removeprefix("; the ") or decided_after(contrast).lower()
    return GridCell(outcome(contrast), below, "text")


def alternatives(primary: Sequence[Contrast]) -> str:
    """Which primary contrasts come out differently under other rules for the variance; empty if none was tested."""
    tested = [contrast for contrast in primary if contrast.outcome not in ("unknown", "untrained")]
    changed = []
    for contrast in tested:
        others = {words: contrast.under(rule) for rule, words in ALTERNATIVES.items()}
        named = [f"{outcome(other)} {words}" for words, other in others.items() if other.outcome != contrast.outcome]
        if named:
            changed.append(f"{contrast.first} vs. {contrast.second} on {contrast.dataset} ({'; '.join(named)})")
    if changed:
        return (
            f"With other estimates of the variance between seeds, these outcomes differ: {formatting.listing(changed)}."
        )
    return (
        "The outcome is the same by Welch's test and with the variance pooled over all architectures." if tested else ""
    )


def added_seeds(rule: Rule | None) -> list[str]:
    """When an experiment that adds seeds was tested, and what that costs; none for other experiments."""
    if rule is None:
        return []
    first = [str(count) for count in sorted(set(rule.seeds.values()))]
    sentences = [
        f"Seeds were added while contrasts were open: tests after {' or '.join(first)} seeds and after each further "
        f"one up to {rule.max_seeds}; half of the 5% error is spent at the last test, the other half equally at the "
        "earlier ones. p values include this; differences and intervals are those at the decision."
    ]
    if rule.earlier:
        counts = formatting.listing(map(str, rule.earlier))
        sentences.append(
            f"The maximum number of seeds was {counts} before. It was changed after results were seen, so the error "
            "rate of 5% is not guaranteed."
        )
    return sentences


def controls(tested: Sequence[Control]) -> Grid:
    """The expected outcome of each control, and the outcome."""
    before = ("data set", "control", "expected", "difference", "p")
    head = (*map(text_cell, before), DETECTABLE, text_cell("outcome"), text_cell(""))
    expected = {"same": "no difference", "ahead": "a difference"}
    rows = [
        (
            text_cell(control.contrast.dataset),
            _pair(control.contrast.first, control.contrast.second),
            text_cell(expected[control.expected]),
            GridCell(difference(control.contrast)),
            GridCell(formatting.p(control.contrast.p)),
            GridCell(minimum_detectable(control.contrast)),
            _outcome(control.contrast),
            text_cell({True: "✓ as expected", False: "✗ not as expected", None: ""}[control.right]),
        )
        for control in tested
    ]
    return Grid(head, tuple(rows))


def factors(tested: Contrasts) -> Grid:
    """Pairs of designs and the factors in which they differ."""
    head = ("what changes", "data set", "contrast", "difference", "outcome")
    rows = [
        (
            text_cell(factor.changes),
            text_cell(factor.contrast.dataset),
            _pair(factor.contrast.first, factor.contrast.second),
            GridCell(difference(factor.contrast), metric(factor.contrast.metric).label),
            text_cell(outcome(factor.contrast)),
        )
        for factor in tested.factors
    ]
    return Grid(tuple(map(text_cell, head)), tuple(rows))


def sensitivity(tested: Contrasts) -> Grid:
    """The primary pairs under every condition, side by side, each by that condition; a changed outcome is marked."""
    pairs = list(dict.fromkeys((contrast.first, contrast.second) for contrast in tested.primary))
    contrasts = [*tested.primary, *(contrast for contrast in tested.exploratory if contrast.condition)]
    settings = list(dict.fromkeys((contrast.dataset, contrast.condition) for contrast in contrasts))
    several = [dataset for dataset, condition in settings if condition]
    order = [dataset for dataset, _ in settings]
    head = (text_cell("data set"), text_cell("condition"), *(_pair(*pair) for pair in pairs))
    rows = []
    for dataset, condition in sorted(settings, key=lambda setting: order.index(setting[0])):
        if dataset not in several:
            continue
        by_pair = {
            frozenset((contrast.first, contrast.second)): contrast
            for contrast in contrasts
            if (contrast.dataset, contrast.condition) == (dataset, condition)
        }
        first = {frozenset((contrast.first, contrast.second)): contrast for contrast in tested.of(dataset)}
        cells = [_under(by_pair.get(frozenset(pair)), first.get(frozenset(pair)), pair) for pair in pairs]
        if any(cell.text for cell in cells):
            rows.append((text_cell(dataset), text_cell(condition or "first condition"), *cells))
    return Grid(head, tuple(rows))


def _under(contrast: Contrast | None, first: Contrast | None, pair: tuple[str, str]) -> GridCell:
    if contrast is None or contrast.outcome == "unknown":
        return GridCell("", kind="quiet")
    toward = contrast if (contrast.first, contrast.second) == pair else turned(contrast)
    changed = first is not None and first.outcome != "unknown" and not same_outcome(first, toward)
    return GridCell(difference(toward), f"{outcome(contrast.ignoring_accounting)}{' (changed)' if changed else ''}")


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


def claims(verdicts: Sequence[ClaimVerdict]) -> Grid:
    """The claims that were tested, with their verdicts."""
    rows = [
        (
            GridCell(f"“{verdict.claim.statement}”", kind="text"),
            GridCell(verdict.verdict, _reading(verdict.claim), "text"),
            GridCell(verdict.evidence, _to_decide(verdict), "text"),
            GridCell(verdict.claim.reading, verdict.claim.source, "text"),
        )
        for verdict in verdicts
    ]
    return Grid(tuple(map(text_cell, ("claim", "verdict", "evidence", "tested as"))), tuple(rows))


def _reading(claim: Claim) -> str:
    """Whether a claim is one of two readings of the same statement."""
    if claim.name in successors():
        return "by a superseded reading, fixed before the first run"
    return "by a stricter reading, which supersedes an earlier one" if claim.supersedes else ""


def _to_decide(verdict: ClaimVerdict) -> str:
    """What would decide a claim; for a number of seeds also what they would show."""
    if not verdict.command:
        return ""
    shows = {contrast.needed_to_show for contrast in verdict.contrasts if contrast.outcome == "open"} - {""}
    words = {"difference": "a difference", "equality": "equality within the margin"}
    kinds = " or ".join(words[shown] for shown in words if shown in shows)
    by_seeds = "--seeds" in verdict.command or "seeds each" in verdict.command
    return as_clause(verdict.command, f", by {kinds}" if kinds and by_seeds else "")


def untested_claims(verdicts: Sequence[ClaimVerdict]) -> Grid:
    """The claims that were not tested, and why."""
    rows = [
        (
            GridCell(f"“{verdict.claim.statement}”", kind="text"),
            text_cell(verdict.verdict),
            GridCell(verdict.evidence, verdict.command, "text"),
        )
        for verdict in verdicts
    ]
    return Grid(tuple(map(text_cell, ("claim", "verdict", "reason"))), tuple(rows))


def claim_rows(verdicts: Sequence[ClaimVerdict]) -> list[dict[str, object]]:
    """Every claim with its verdict as a row of a table."""
    return [
        {
            "claim": verdict.claim.name,
            "statement": verdict.claim.statement,
            "source": verdict.claim.source,
            "tested_as": verdict.claim.reading,
            "verdict": verdict.verdict,
            "evidence": verdict.evidence,
            "to_decide": verdict.command,
            "supersedes": verdict.claim.supersedes,
        }
        for verdict in verdicts
    ]


def _pair(first: str, second: str) -> GridCell:
    return GridCell(first, f"vs. {second}", "text")


def difference(contrast: Contrast) -> str:
    return formatting.interval(contrast.difference, metric(contrast.metric).decimals)


def _seeds(contrast: Contrast) -> GridCell:
    """How many seeds each would decide it, and what they would show."""
    if contrast.ignoring_accounting.decided or contrast.outcome == "unknown":
        return GridCell(formatting.MISSING)
    if contrast.seeds_needed is None:
        return GridCell("more examples")
    return GridCell(
        f"{contrast.seeds_needed}", f"for {'equality' if contrast.needed_to_show == 'equality' else 'a difference'}"
    )
