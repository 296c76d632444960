"""The primer's claims about how a model works inside, each tested on the measurements of one run.

A comparison cannot test these claims, because they are about one model. Another seed may give another verdict.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from archbench.inspection.facts import AFTER, BEFORE, CLASS, EMBEDDING, NO_ROLE, THIS, Row, is_behind, together
from archbench.inspection.pages import words
from archbench.reports.base import formatting
from archbench.reports.claims.ledger import OPPOSITE, REPRODUCED, UNDECIDED, UNMET

Judgement = tuple[str, str]  # the verdict, and the evidence in words
CLOSE: Final = 0.05  # of a one-sided test
COMPLEX: Final = (BEFORE, AFTER, CLASS)
EARLY_MIDDLE_LATE: Final = 3  # layers
INSIDE: Final = "Models of archbench compare --preset inside have"


@dataclass(frozen=True)
class Saying:
    """A sentence of the primer, how it is tested, and the function that judges the content of `inspection.json`.

    ``family`` is the family that it is about; empty: all. ``learned`` is whether it is about what a trained model has
    learned, which a model that is below its gate cannot show.
    """

    name: str
    statement: str
    reading: str
    judge: Callable[[Row], Judgement]
    family: str = ""
    learned: bool = False


@dataclass(frozen=True)
class Finding:
    """The verdict on a sentence in one run."""

    saying: Saying
    verdict: str
    evidence: str


def findings(inspection: Row) -> list[Finding]:
    """The verdicts on all sentences about this family."""
    sayings = [saying for saying in SAYINGS if saying.family in ("", inspection["family"])]
    return [Finding(saying, *_judged(saying, inspection)) for saying in sayings]


def _judged(saying: Saying, inspection: Row) -> Judgement:
    if saying.learned and (reason := inspection.get("gate", "")):
        return UNMET, f"The model is below its gate: it is {reason}."
    return saying.judge(inspection)


def _similar(inspection: Row) -> Judgement:
    test = inspection["similarity"]
    if test is None:
        return UNMET, "This vocabulary has too few tokens with known similar use."
    evidence = f"Mean cosine {formatting.value(test['within'])}, permuted {formatting.value(test['matched'])}; "
    evidence += (
        f"{formatting.p_text(test['p'])}; {test['above']} of {test['groups']} groups are above the permutation mean."
    )
    most = 2 * test["above"] > test["groups"]
    return REPRODUCED if test["p"] < CLOSE and most else OPPOSITE if test["p"] > 1 - CLOSE else UNDECIDED, evidence


def _different(inspection: Row) -> Judgement:
    layers = together(inspection["heads"], "layer", "part")
    parts = {layer: {head["role"] for head in heads} for layer, heads in layers.items() if len(heads) > 1}
    if not parts:
        return UNMET, f"No layer of this model has several heads. {INSIDE} two per layer."
    differ = [layer for layer, roles in parts.items() if len(roles - {NO_ROLE}) > 1]
    alike = [layer for layer, roles in parts.items() if len(roles) == 1 and roles != {NO_ROLE}]
    verdict = REPRODUCED if len(differ) == len(parts) else OPPOSITE if len(alike) == len(parts) else UNDECIDED
    return verdict, (
        f"Of {len(parts)} layers with several heads, {len(differ)} have heads with different roles and {len(alike)} "
        "have heads with the same role; in the others at most one head has a role."
    )


def _neighbours_later(inspection: Row) -> Judgement:
    """Per axis and question: is the embedding worse than a layer, or every layer worse, by two standard errors?

    The next token is excluded where a causal layer is trained to predict it, an axis where it has no middle layer.
    """
    gained: dict[bool, list[bool]] = {True: [], False: []}
    lost: list[bool] = []
    most = 0
    for (axis, question), rows in together(inspection["probes"], "axis", "question").items():
        first = [row for row in rows if row["layer"] == EMBEDDING]
        later = [row for row in rows if row["layer"] != EMBEDDING]
        trained = question == AFTER and (axis == "target" or inspection["family"] == "decoder")
        most = max(most, len(later))
        if not first or len(later) < EARLY_MIDDLE_LATE or trained or question not in (THIS, *COMPLEX):
            continue
        gained[question == THIS].append(is_behind(first[0]))
        if question != THIS:
            lost.append(all(is_behind(row) for row in later))
    if 0 < most < EARLY_MIDDLE_LATE:
        return UNMET, f"The claim needs at least {EARLY_MIDDLE_LATE} layers. {INSIDE} them."
    if not (gained[True] and gained[False]):
        return UNMET, "Too few examples for both kinds of probes."
    built, moved = sum(gained[False]), sum(gained[True])
    evidence = (
        f"A later layer is better than the embeddings for {built} of {len(gained[False])} questions about neighbours "
        f"and class, and for {moved} of {len(gained[True])} about the token itself."
    )
    if built == len(gained[False]) and not moved:
        return REPRODUCED, evidence
    return OPPOSITE if all(lost) else UNDECIDED, evidence


def _likelier(inspection: Row) -> Judgement:
    step = inspection["step"]
    if not inspection["text"]["right"]:
        return UNMET, "No correct answer was given (--answer)."
    better = words.likelier(step)
    evidence = (
        f"Loss {formatting.value(step['loss'])} before the step, {formatting.value(step['loss_after'])} after it; "
        f"the correct token is more likely at {better} of {len(step['positions'])} positions."
    )
    if not step["loss_after"] < step["loss"]:
        return OPPOSITE, evidence
    return REPRODUCED if 2 * better > len(step["positions"]) else UNDECIDED, evidence


def _gradually(inspection: Row) -> Judgement:
    losses = [row["mean_loss"] for row in inspection["snapshots"]]
    if len(losses) < 3:
        return UNMET, f"No earlier weights were kept (snapshots = 8 under [training]). {INSIDE} them."
    falls = sum(later < earlier for earlier, later in pairwise(losses))
    evidence = (
        f"Mean loss of test examples: {formatting.value(losses[0])} at the first snapshot, "
        f"{formatting.value(losses[-1])} at the last; it fell in {falls} of {len(losses) - 1} intervals between "
        "snapshots."
    )
    fell = losses[-1] < losses[0]
    return REPRODUCED if fell and 2 * falls > len(losses) - 1 else UNDECIDED if fell else OPPOSITE, evidence


def _parts(inspection: Row) -> Judgement:
    """Source layers attend in both directions; target layers attend to earlier tokens only, and to the source."""
    crossing = [attention for attention in inspection["maps"] if attention["part"] == "cross"]
    crossed = {attention["layer"] for attention in crossing}
    writing = [attention for attention in inspection["maps"] if attention["layer"] in crossed]
    reading = [attention for attention in inspection["maps"] if attention["layer"] not in crossed]
    (first, understands), (second, generates) = _looks(reading, ahead=True), _looks(writing, ahead=False)
    evidence = (
        f"Layers for the source: {understands[:1].lower()}{understands[1:]} Layers for the target: "
        f"{generates[:1].lower()}{generates[1:]} {len(crossing)} of these attend to the source."
    )
    if UNMET in (first, second):
        return UNMET, evidence
    return REPRODUCED if (first, second) == (REPRODUCED, REPRODUCED) else OPPOSITE, evidence


def _looks(maps: Sequence[Row], ahead: bool) -> Judgement:
    """Verdict on the claim that no layer (or, if ``ahead``, every layer) attends to later tokens of the shown text."""
    most = [max(_later(attention), default=0.0) for attention in maps if attention["part"] == "self"]
    if not most:
        return UNMET, "This model has no attention maps."
    seeing = sum(weight > 0 for weight in most)
    evidence = f"{seeing or 'None'} of {len(most)} layers attend{'s' if seeing == 1 else ''} to later tokens."
    wanted = seeing == len(most) if ahead else not seeing
    return REPRODUCED if wanted else OPPOSITE, evidence


def _later(attention: Row) -> Iterator[float]:
    """The weights of a map on keys after their query."""
    rows, columns = attention["first"]
    for head in attention["weights"]:
        for query, row in enumerate(head, rows):
            yield from row[max(0, query + 1 - columns) :]


SAYINGS: Final = (
    Saying(
        "similar-embeddings",
        "Words like “king” and “queen” will have similar embedding vectors",
        "tokens with similar use have a higher mean cosine than tokens of similar frequency (one-sided test at 5%), "
        "over all groups together and in most groups",
        _similar,
        learned=True,
    ),
    Saying(
        "heads-differ",
        "Several times in parallel, each time focusing on a different aspect",
        "every layer with several heads has two heads with different roles; “mixed” is not a role",
        _different,
        learned=True,
    ),
    Saying(
        "layers-build-up",
        "Early layers learn simple patterns, middle layers learn complex relationships",
        "probes for neighbours and class are better at a later layer than at the embeddings, by two standard errors; "
        "the probe for the token itself is not (the next token is excluded where a causal layer is trained to predict "
        "it); at least three layers",
        _neighbours_later,
        learned=True,
    ),
    Saying(
        "step-makes-likelier",
        "Adjust all the parameters slightly: try to make the right word more likely next time",
        "one step of gradient descent on the shown text lowers its loss and makes the correct token more likely at "
        "most positions",
        _likelier,
    ),
    Saying(
        "gradually-better",
        "Gradually gets better at predictions",
        "the mean loss of test examples is lower at the last snapshot than at the first, and fell in most intervals "
        "between snapshots",
        _gradually,
    ),
    Saying(
        "looks-back-only",
        "Decoder-only: can't look at future words",
        "no layer attends to a later token of the shown text",
        lambda inspection: _looks(inspection["maps"], ahead=False),
        "decoder",
    ),
    Saying(
        "looks-everywhere",
        "Encoder-only: can look at the entire sentence at once",
        "every layer attends to a later token of the shown text",
        lambda inspection: _looks(inspection["maps"], ahead=True),
        "encoder",
    ),
    Saying(
        "two-parts",
        "Encoder-decoder: has two parts, one for understanding, one for generating",
        "every source layer attends in both directions; no target layer attends to later tokens; target layers attend "
        "to the source",
        _parts,
        "encoder-decoder",
    ),
)
