"""Next steps for an open claim: the command that adds seeds, or a description of what is needed."""

from collections.abc import Sequence
from typing import Any, Final

from archbench.reports.base.declared import baselines, entered, specification
from archbench.reports.base.formatting import grouped, listing
from archbench.reports.base.statistics import MOST_SEEDS
from archbench.reports.base.tables import Tables
from archbench.reports.claims.evidence import bears_out, outcome
from archbench.reports.claims.ledger import Claim
from archbench.reports.contrasts.contrast import Contrast
from archbench.reports.contrasts.phrase import phrase
from archbench.reports.results.gates import BELOW_GATE, failing

HOPELESS: Final = "more seeds cannot decide it"


def as_clause(step: str, how: str = "") -> str:
    """A next step as a clause: "to decide it, by a difference: 9 seeds each", or why more seeds cannot."""
    return step if step.startswith(HOPELESS) else f"to decide it{how}: {step}"


def remedy(tables: Tables, claim: Claim, evidence: Sequence[Contrast]) -> str:
    """Words for what would decide the contrasts that neither bear the claim out nor are decided against it."""
    failed = dict.fromkeys((contrast.dataset, gate) for contrast in evidence for gate in contrast.failed_gates)
    still = [contrast for contrast in evidence if not contrast.failed_gates and not bears_out(claim, contrast)]
    decided = [contrast for contrast in still if outcome(contrast) not in ("open", "unknown", "accounting")]
    if decided:
        return f"{HOPELESS}: {grouped((phrase(contrast, 'cell'), contrast.dataset) for contrast in decided)}"
    untested = [contrast for contrast in still if contrast.outcome == "unknown"]
    if untested:
        lost = dict.fromkeys(contrast.diverged for contrast in untested if contrast.diverged)
        why = f"{listing(lost)} diverged" if lost else "some have no interval"
        return f"two seeds or more with scores that vary ({why})"
    if len(failed) == 1:
        [(_, gate)] = failed
        return f"a larger budget; {gate.architecture} is {gate.reason}"
    if failed:
        return f"a larger budget; {BELOW_GATE}: {failing(failed)}"
    dependent = dict.fromkeys(contrast.dataset for contrast in still if contrast.outcome == "accounting")
    if dependent:
        return f"{HOPELESS}: the outcome depends on the accounting on {listing(dependent)}"
    endless = [contrast for contrast in still if contrast.seeds_needed is None]
    if endless:
        sets = listing(dict.fromkeys(contrast.dataset for contrast in endless))
        return f"more test examples or another budget; {MOST_SEEDS} seeds are not enough on {sets}"
    even = [contrast for contrast in still if contrast.needed_to_show == "equality"]
    if even and not claim.enough:
        pairs = listing(map(_equality, even))
        return f"{HOPELESS}: if the true differences are those observed, they show equality ({pairs})"
    return _seeds(tables, claim, still, max(max(contrast.seeds_needed or 0, contrast.seeds + 1) for contrast in still))


def _equality(contrast: Contrast) -> str:
    return f"{contrast.first} and {contrast.second} on {contrast.dataset}: {contrast.seeds_needed} seeds"


def _seeds(tables: Tables, claim: Claim, still: Sequence[Contrast], seeds: int) -> str:
    """The command that trains so many; words where it would not: a condition that states its seeds keeps to them."""
    sets = {contrast.dataset for contrast in still}
    conditions = [task for task in entered(tables, "conditions") if task.get("name") in sets]
    if any("seeds" in (task.get("own") or ()) and _needed(claim, task) for task in conditions):
        return f"{seeds} seeds for each architecture, set under [[conditions]] in the experiment file"
    experiment = dict(zip(tables["experiment"]["key"], tables["experiment"]["value"], strict=True))
    command = str(experiment.get("command") or "")
    if not command.startswith("archbench compare"):
        return f"{seeds} seeds each"
    if specification(tables).get("pretraining"):  # fewer tasks would share another tokenizer: pretrained again
        return f"{command} --seeds {seeds}"
    return f"{command} --tasks {','.join(_tasks(tables, still))} --seeds {seeds}"


def _needed(claim: Claim, task: dict[str, Any]) -> bool:
    """True if a claim needs a condition: one that a side names, or for an effect any that is compared."""
    condition, share = str(task.get("condition") or ""), task.get("share", 1.0)
    if claim.effect:
        return bool(condition) and share == 1
    sides = [side for pair in claim.ahead for side in pair]
    return any((bool(condition) and side.endswith(f"|{condition}")) or side.endswith(f"@{share}") for side in sides)


def _tasks(tables: Tables, still: Sequence[Contrast]) -> list[str]:
    """The tasks that hold the contrasts: their data sets, and those that are held against one as their baseline."""
    held = [
        name
        for contrast in still
        for name, base in baselines(tables).items()
        if base == contrast.dataset and contrast.first.endswith(f" on {name}")
    ]
    return list(dict.fromkeys([*(contrast.dataset for contrast in still), *held]))
