"""The report in a few sentences: who wins, which pairs are not decided, and what limits both."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from typing import Final

from archbench.reports.base.formatting import capitalized, grouped, listing, number
from archbench.reports.claims.evidence import ClaimVerdict
from archbench.reports.claims.ledger import OPPOSITE_DIRECTION, SAME_DIRECTION
from archbench.reports.contrasts import words
from archbench.reports.contrasts.agreement import by_measure
from archbench.reports.contrasts.contrast import Contrast, architectures_of, below_gate, every_pair, winner
from archbench.reports.contrasts.phrase import elsewhere, first_sides
from archbench.reports.contrasts.verdicts import LOSS_TOKENS_RATIO_REPORTED, changed, early_training, under_conditions
from archbench.reports.page.elements.task_lines import TWO_STACKS
from archbench.reports.questions.controls import is_as_expected
from archbench.reports.questions.gains import started_from
from archbench.reports.questions.scaling import sentences
from archbench.reports.questions.shares import converged
from archbench.reports.questions.sweeps import SIZE
from archbench.reports.report import Report
from archbench.reports.results import draws
from archbench.reports.results.comparison import Comparison
from archbench.reports.results.gates import BELOW_GATE, failing
from archbench.reports.results.place import MATCHES
from archbench.reports.results.pretraining import is_first_from_scratch
from archbench.reports.results.trials import form_counts, settings
from archbench.runs.experiment.spec import DEFAULT_CONTRASTS

UNEQUAL: Final = {  # what may differ between architectures in words, and the ratio up to which that is not reported
    "train_flops": ("training FLOPs", 1.25),
    "depth": ("layers", 1.0),
    "train_loss_tokens": ("tokens with a loss", LOSS_TOKENS_RATIO_REPORTED),
}
MOST: Final = 3  # sentences about size or depth, and data sets with a name in a sentence
ACCOUNTING: Final = "another outcome if budgets are matched differently, or if other tokens have a loss"
FAMILIES: Final = frozenset(name for pair in DEFAULT_CONTRASTS for name in pair)


def bottom_line(report: Report, claims: Sequence[ClaimVerdict] = ()) -> list[str]:
    """A few sentences about the primary contrasts, else about what changes, or size and depth, do.

    Then one about the claims that are decided in miniature. Empty where nothing was tested.
    """
    primary, effects = report.tested.primary, report.tested["effect"]
    miniature = list(_in_miniature(claims))
    if any(contrast.outcome != "unknown" for contrast in primary):
        wins = _wins_and_losses(primary, _undetermined(report)) if _complete(primary) else words.ahead(primary)
        decided = _sentence(_held(report), wins, primary)
        pairs = [*_open(primary), *by_measure(primary)]
        return [decided, *pairs, *pretrained(report), *_changed(report), *_grown(report), *miniature]
    if primary and not effects and max(contrast.seeds for contrast in primary) < 2:
        return ["Nothing is tested: a test needs two seeds of an architecture.", *miniature]
    if any(contrast.outcome != "unknown" for contrast in effects):
        rest = words.undecided(effects, "changes")
        found = [_sentence("", words.ahead(effects), effects), *([f"{capitalized(rest)}."] if rest else [])]
        return [*found, *pretrained(report), *miniature]
    sizes = [f"{trend.sweep.title}: {sentence}" for trend in report.trends for sentence in sentences(trend)]
    return [*sizes[:MOST], *miniature] if sizes else []


def _in_miniature(claims: Sequence[ClaimVerdict]) -> Iterator[str]:
    """The decided claims about larger models."""
    texts, scales = [], dict[str, None]()
    for verdict, direction in ((SAME_DIRECTION, "Same direction"), (OPPOSITE_DIRECTION, "Opposite direction")):
        decided = [entry for entry in claims if entry.verdict == verdict]
        scales |= dict.fromkeys(entry.scale for entry in decided if entry.scale)
        statements = [entry.claim.statement for entry in decided]
        more = [f"{len(statements) - MOST} more"] if len(statements) > MOST else []
        if statements:
            texts.append(f"{direction}: {'; '.join([*statements[:MOST], *more])}")
    if texts:
        size = f" ({' or '.join(scales)})" if scales else ""
        yield f"Claims about larger models, tested in miniature{size}. {'. '.join(texts)}."


def _held(report: Report) -> str:
    """Words for what was held equal; empty where that differs between data sets."""
    axes = {axis for comparison in report.first for axis in comparison.group.runs["match"].dropna().unique()}
    held = [MATCHES[axis] for axis in axes if axis in MATCHES]
    if not len(axes) == len(held) == 1:
        return ""
    return f"From scratch, at {held[0]}" if is_first_from_scratch(report) else f"At {held[0]}"


def pretrained(report: Report) -> Iterator[str]:
    """Who is better after pretraining, what pretraining buys, and whose pretraining buys more."""
    after, tested, pairs = (report.tested[family] for family in ("after pretraining", "gain", "gain difference"))
    if after:
        yield _found("After the same pretraining, finetuned", words.ahead, after, "tests")
    if (after or tested) and (drawn := draws.over(report.tables)):
        yield f"Few training examples: {drawn}."
    if tested:
        yield _found("Pretraining, finetuned, compared with training from scratch", first_sides, tested, "effects")
    if pairs:
        yield _found("Gains by pretraining compared", words.ahead, pairs, "differences")


def _level(tests: int) -> str:
    """The level of the tests, and for how many it is corrected."""
    return f"p < 0.05, corrected for {tests} tests" if tests > 1 else "p < 0.05"


def _found(title: str, say: Callable[[Sequence[Contrast]], str], tested: Sequence[Contrast], what: str) -> str:
    """Words for what is decided after pretraining, by data set and start, and how many of ``what`` are undecided."""
    decided = [replace(entry, dataset=_after(entry)) for entry in tested if entry.decided]
    found = [say(decided) if decided else "", words.undecided(tested, what)]
    return f"{title} ({_level(tested[0].corrected_for)}): {'; '.join(filter(None, found))}."


def _after(contrast: Contrast) -> str:
    examples = f" ({int(contrast.about):,} examples)" if contrast.about else ""
    return f"{contrast.dataset}{examples} after {started_from(contrast)}"


def _sentence(held: str, outcomes: str, contrasts: Sequence[Contrast]) -> str:
    """The outcomes after what was held equal and the level of the tests."""
    return f"{held or 'Results'} ({_level(contrasts[0].corrected_for)}): {outcomes}."


def _complete(primary: Sequence[Contrast]) -> bool:
    """True if every pair of the named architectures is tested on each data set, so that each of them can win."""
    return all(map(every_pair, words.by_title(primary).values()))


def _undetermined(report: Report) -> list[str]:
    """The data sets whose tuning trials do not determine the learning rates."""
    tuned = [setting for setting in settings(report.tables) if not setting.condition]
    return list(dict.fromkeys(setting.dataset for setting in tuned if setting.flat or not setting.learned))


def _wins_and_losses(primary: Sequence[Contrast], undetermined: Container[str]) -> str:
    """Who wins where; then who is better than whom where no architecture wins.

    Of the latter, results on ``undetermined`` data sets say so.
    """
    no_winner = "no family wins" if set(architectures_of(primary)) <= FAMILIES else "no architecture wins"
    won, better = [], []
    for title, contrasts in words.by_title(primary).items():
        best = winner(contrasts)
        below = listing(f"{name} {BELOW_GATE}" for name in below_gate(contrasts)) if best else ""
        won.append((f"{best} wins" if best else no_winner, f"{title} ({below})" if below else title))
        for worse in dict.fromkeys(contrast.worse for contrast in contrasts if contrast.worse and not best):
            ahead = [contrast.better for contrast in contrasts if contrast.worse == worse]
            rates = " (learning rates not determined)" if contrasts[0].dataset in undetermined else ""
            are = "are" if len(ahead) > 1 else "is"
            better.append((f"{listing(ahead)} {are} better than {worse}", f"{title}{rates}"))
    return "; ".join(filter(None, [grouped(won), grouped(better)]))


def _open(primary: Sequence[Contrast]) -> Iterator[str]:
    """The pairs that are equal within the margin, are not decided, or depend on the accounting."""
    more = {"equal": "", "open": "", "accounting": f" ({ACCOUNTING})"}
    for outcome in more if _complete(primary) else ("open", "accounting"):
        if pairs := words.with_outcome(primary, outcome):
            yield f"{capitalized(words.OUTCOMES[outcome])}{more[outcome]}: {pairs}."


def _grown(report: Report) -> Iterator[str]:
    """Which architectures are better at the greatest size than at the least, in which sweeps, and how many are not."""
    gained, asked = list[tuple[str, str]](), 0
    for trend in (trend for trend in report.trends if trend.sweep.axis is SIZE):
        points = {name: list(trend.sweep.means(name)) for name in trend.sweep.architectures}
        ends = {name: trend.between(name, at[-1], at[0]) for name, at in points.items() if len(at) > 1}
        gained += [(name, trend.sweep.title) for name, contrast in ends.items() if contrast.outcome == "ahead"]
        asked += len(ends)
    if asked:
        rest = f"not shown in {asked - len(gained)} of {asked} cases" if len(gained) < asked else ""
        yield f"Better at the largest size than at the smallest: {'; '.join(filter(None, [grouped(gained), rest]))}."


def limits(report: Report) -> str:
    """The limitations of the verdicts, in one sentence; empty where there is none to name."""
    first, tested = report.first, report.tested
    parts = []
    controls = [
        f"{control.dataset} ({control.second}: {'a' if control.about == 'same' else 'no'} difference found)"
        for control in tested["control"]
        if is_as_expected(control) is False
    ]
    if controls:
        parts.append(f"controls fail on {listing(controls)}")
    if failed := failing((contrast.dataset, gate) for contrast in tested.primary for gate in contrast.failed_gates):
        parts.append(f"{BELOW_GATE}: {failed}")
    if below := [comparison.title for comparison in report.judged if comparison.none_beats_baseline]:
        parts.append(f"{words.NONE_ABOVE_BASELINE} on {listing(below)}")
    if undetermined := _undetermined(report):
        parts.append(f"tuning trials do not determine the learning rates on {listing(undetermined)}")
    parts += _converged(report)
    if unequal := list(_unequal(first, architectures_of(tested.primary))):
        parts.append(f"not equal between architectures: {listing(unequal)}")
    parts += _unequal_forms(report)
    if full := [comparison.title for comparison in report.judged if comparison.at_the_ceiling]:
        parts.append(f"every architecture is at the maximum of the scale on {listing(full)}")
    early = early_training({comparison.group.dataset: comparison for comparison in first})
    return " ".join(filter(None, [f"Limits: {'; '.join(parts)}." if parts else "", early]))


def _unequal_forms(report: Report) -> Iterator[str]:
    """Where trials chose among more forms of one architecture than of another."""
    primary = report.tested.primary
    for dataset in dict.fromkeys(contrast.dataset for contrast in primary):
        named = architectures_of([contrast for contrast in primary if contrast.dataset == dataset])
        counts = form_counts(report.tables, dataset, named)
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            yield f"trials chose among unequal numbers of forms on {dataset} ({listed})"


def _changed(report: Report) -> Iterator[str]:
    """Which primary pairs have another outcome under a further condition, decided in one of the two or in both."""
    compared = [pair for comparison in report.judged for pair in under_conditions(comparison, report.tested)]
    changes = [contrast for comparison in report.judged for contrast in changed(comparison, report.tested)]
    if len(changes) > MOST:
        yield f"Under other conditions {len(changes)} of {len(compared)} outcomes change."
    else:
        yield from elsewhere(changes, with_dataset=True)


def _converged(report: Report) -> Iterator[str]:
    """How many scores are known to have converged."""
    doubled = report.tested["doubling"]
    if doubled:
        count = sum(map(converged, doubled))
        shown = "is shown" if count < 2 else "are shown"
        yield f"{count or 'none'} of {len(doubled)} scores {shown} to have converged"


def _unequal(first: Sequence[Comparison], named: Sequence[str]) -> Iterator[str]:
    """How far the named architectures differ on one data set, at most, in what training took and in depth."""
    for column, (what, reported) in UNEQUAL.items():
        ratios = []
        for comparison in first:
            runs = comparison.group.runs.reindex(columns=["architecture", "family", column]).dropna()
            stacks = 1 + (runs["family"] == TWO_STACKS).astype(int) * int(column == "depth")
            means = (runs[column].astype(float) * stacks).groupby(runs["architecture"]).mean()
            means = means[means.index.isin(named) & (means > 0)]
            ratios += [float(means.max() / means.min())] if len(means) else []
        if max(ratios, default=1.0) > reported:
            yield f"up to {number(max(ratios))} times as many {what}"
