"""The result of a test in words. Cells, figures, sentences and claims all take theirs from ``phrase``."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from archbench.reports.base.formatting import capitalized, decimals, grouped, limits, listing, p_text, signed, value
from archbench.reports.contrasts.contrast import Contrast, turned
from archbench.reports.contrasts.words import OUTCOMES, SHOWN, SMALL

Form = Literal["mark", "cell", "clause", "sentence", "change"]


def phrase(contrast: Contrast, form: Form) -> str:
    """A contrast in words.

    mark      the outcome for the first side, for a figure: "better", "equal", "worse (small)"
    cell      who is better: "decoder better", "not decided"
    clause    both sides and the size: "decoder better than encoder by 0.12", "decoder vs. encoder not decided"
    sentence  the decision with interval, p value and what would decide it; which runs diverged; who is below
              its gate
    change    of one architecture, from the second side to the first: "improved exact match by 0.12 (...)"
    """
    return _FORMS[form](contrast)


def elsewhere(changed: Sequence[Contrast], with_dataset: bool = False) -> list[str]:
    """A sentence for each further condition: the outcomes that it changes."""
    by_condition: dict[str, list[Contrast]] = {}
    for contrast in changed:
        by_condition.setdefault(contrast.condition, []).append(contrast)
    return [
        f"{capitalized(under(condition))} the outcome changes (not corrected): {_outcomes(contrasts, with_dataset)}."
        for condition, contrasts in by_condition.items()
    ]


def _outcomes(contrasts: Iterable[Contrast], with_dataset: bool) -> str:
    """Each outcome; the pairs that are not decided are named together."""
    decided, open_pairs = [], []
    for contrast in contrasts:
        where = f" on {contrast.title}" if with_dataset else ""
        if contrast.outcome == "open" and not contrast.diverged:
            open_pairs.append(f"{contrast.first} vs. {contrast.second}{where}")
        else:
            decided.append(f"{phrase(contrast, 'clause')}{where}")
    return "; ".join([*decided, *([f"{listing(open_pairs)} {OUTCOMES['open']}"] if open_pairs else [])])


def first_sides(contrasts: Iterable[Contrast]) -> str:
    """The outcome of each first side, by data set: "decoder and encoder better on trec"."""
    sides: dict[tuple[str, str], list[str]] = {}
    for entry in contrasts:
        sides.setdefault((phrase(entry, "mark"), entry.dataset), []).append(entry.first)
    return grouped((f"{listing(names)} {mark}", dataset) for (mark, dataset), names in sides.items())


def counted(contrasts: Sequence[Contrast], what: str) -> str:
    """How many first sides have each outcome: "better in 3 and not decided in 1 of 4 sweeps"; of one, the outcome."""
    counts = Counter(phrase(entry, "mark") for entry in contrasts)
    if len(contrasts) == 1:
        return next(iter(counts))
    return f"{listing(f'{mark} in {count}' for mark, count in counts.most_common())} of {len(contrasts)} {what}"


def under(condition: str) -> str:
    """ "at equal training FLOPs", "under the condition “native supervision”"."""
    return f"at {condition}" if condition.startswith("equal ") else f"under the condition “{condition}”"


def corrected_p(contrast: Contrast) -> str:
    """The p value, and for how many tests it is corrected."""
    text = p_text(contrast.p)
    return f"{text}, corrected for {contrast.corrected_for} tests" if contrast.corrected_for > 1 else text


def size(contrast: Contrast) -> str:
    """The difference without its sign."""
    return value(abs(contrast.difference.mean), _places(contrast))


def interval(contrast: Contrast) -> str:
    """The 95% interval of the difference."""
    return limits(contrast.difference, contrast.metric.decimals)


def uncorrected(contrast: Contrast) -> str:
    """Why a contrast whose interval excludes 0 is not decided; empty elsewhere."""
    if contrast.outcome != "open" or contrast.corrected_for < 2 or not contrast.difference.excludes_zero:
        return ""
    return "interval excludes 0 only before correction for multiple tests"


def decided_after(contrast: Contrast) -> str:
    """After how many seeds an experiment that adds seeds decided the contrast; empty elsewhere."""
    return "" if contrast.decided_after is None else f"Decided after {contrast.decided_after} seeds"


def minimum_detectable(contrast: Contrast) -> str:
    """The smallest difference that the test detects with a power of 80%, at the level of its family."""
    measure = contrast.metric
    return (
        f"> {measure.extent:g}"
        if contrast.detectable > measure.extent
        else value(contrast.detectable, _places(contrast))
    )


def _mark(contrast: Contrast) -> str:
    if contrast.lost_to_divergence:
        return "diverged"
    words = "equal" if contrast.outcome == "equal" else OUTCOMES[contrast.outcome]
    return f"{words} (small)" if contrast.small else words


def _cell(contrast: Contrast) -> str:
    if contrast.lost_to_divergence:
        return "diverged"
    return f"{contrast.better} better{_small(contrast)}" if contrast.better else OUTCOMES[contrast.outcome]


def _clause(contrast: Contrast) -> str:
    pair, outcome = f"{contrast.first} vs. {contrast.second}", contrast.outcome
    if contrast.survivor:
        lost = contrast.second if contrast.survivor == contrast.first else contrast.first
        return f"{contrast.survivor} better than {lost}, because {contrast.diverged} diverged"
    diverged = f" ({contrast.diverged} diverged)" if contrast.diverged else ""
    if contrast.better:
        return f"{contrast.better} better than {contrast.worse} by {size(contrast)}{_small(contrast)}{diverged}"
    if outcome == "accounting":
        return f"{pair} depends on the accounting ({contrast.accounting}){diverged}"
    if outcome == "equal":
        return f"{contrast.first} and {contrast.second} {OUTCOMES[outcome]}{diverged}"
    return f"{pair} {OUTCOMES[outcome]}{diverged}"


def _small(contrast: Contrast) -> str:
    return f", {SMALL}" if contrast.small else ""


def _sentence(contrast: Contrast) -> str:
    diverged = f" {contrast.diverged} diverged." if contrast.diverged and contrast.outcome != "unknown" else ""
    after = decided_after(contrast)
    gate = f" {capitalized(contrast.gate)}." if contrast.gate else ""
    return _decision(contrast) + diverged + (f" {after}." if after else "") + gate


def _decision(contrast: Contrast) -> str:
    pair, label = f"{contrast.first} vs. {contrast.second}", contrast.metric.label
    if contrast.outcome == "accounting":
        return f"{pair}: depends on the accounting. {capitalized(contrast.accounting)}."
    if contrast.better:
        small = f"{_small(contrast)} of {contrast.margin:g}" if contrast.small else ""
        by = f"{size(contrast)} {label} (95% interval {interval(_toward(contrast))}; {corrected_p(contrast)})"
        return f"{contrast.better} is better than {contrast.worse} by {by}{small}."
    if contrast.outcome == "equal":
        equal = f"{contrast.first} and {contrast.second} are {OUTCOMES['equal']}"
        return f"{equal} of {contrast.margin:g} {label} ({interval(_toward(contrast))})."
    if contrast.lost_to_divergence:
        return f"{pair}: not tested because {contrast.diverged} diverged."
    if contrast.outcome == "unknown":
        return f"{pair}: not tested; a test needs scores of both and two seeds of one."
    if contrast.flat:
        return f"{pair}: not decided, because no score varies."
    chance = f"{_favour(contrast)}, 95% interval {interval(_toward(contrast))}; {_chance(contrast)}"
    return f"{pair}: not decided ({chance}). {_power(contrast)}"


def _change(contrast: Contrast) -> str:
    label, toward = contrast.metric.label, _toward(contrast)
    if contrast.outcome == "unknown":
        return "was not tested: a test needs two seeds of one side"
    if contrast.outcome == "equal" or contrast.small:
        return f"changed {label} {SMALL} of {contrast.margin:g} (95% interval {interval(toward)})"
    if contrast.better:
        way = "improved" if contrast.outcome == "ahead" else "worsened"
        return f"{way} {label} by {size(contrast)} (95% interval {interval(toward)}; {corrected_p(contrast)})"
    if contrast.outcome != "open":
        return OUTCOMES[contrast.outcome]
    gap = signed(contrast.difference, contrast.metric.decimals)
    return f"has no decided effect on {label} ({gap}, better positive; {_chance(contrast)})"


_FORMS: Final[Mapping[Form, Callable[[Contrast], str]]] = {
    "mark": _mark,
    "cell": _cell,
    "clause": _clause,
    "sentence": _sentence,
    "change": _change,
}


def _chance(contrast: Contrast) -> str:
    why = uncorrected(contrast)
    return f"{corrected_p(contrast)}; the {why}" if why else corrected_p(contrast)


def _toward(contrast: Contrast) -> Contrast:
    """The contrast, turned so that the better mean comes first."""
    return contrast if contrast.difference.mean >= 0 else turned(contrast)


def _favour(contrast: Contrast) -> str:
    if contrast.difference.mean == 0:
        return "equal means"
    return f"{size(contrast)} in favour of {_toward(contrast).first}"


def _power(contrast: Contrast) -> str:
    """The minimum detectable difference, and how many seeds would show what."""
    detectable = f"Minimum detectable difference: {minimum_detectable(contrast)} (80% power)"
    if contrast.seeds_needed is None:
        return f"{detectable}; more test examples, not only more seeds, are needed to decide it."
    goal = SHOWN.get(contrast.needed_to_show, SHOWN["difference"])
    if contrast.seeds_needed <= contrast.seeds:
        return f"{detectable}; {contrast.seeds_needed} new seeds of each would probably show {goal}."
    return f"{detectable}; about {contrast.seeds_needed} seeds each to show {goal}."


def _places(contrast: Contrast) -> int:
    return decimals(contrast.difference, contrast.metric.decimals)
