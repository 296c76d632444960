"""What the primer says of the inside of a model, each sentence judged by what was measured in one run.

A comparison cannot decide these: they are about one model, and so is what is found. Another seed may differ.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from archbench.reports.base import formatting
from archbench.reports.claims.ledger import OPPOSITE, REPRODUCED, UNDECIDED, UNMET
from archbench.runs.base.store import Row

Judgement = tuple[str, str]  # the verdict, and the evidence in words
CLOSE: Final = 0.05  # of a one-sided test
SIMPLE, NEXT = "this token", "token after"
COMPLEX: Final = ("token before", NEXT, "class")
_NO_ROLE: Final = "mixed"
INSIDE: Final = "Models of archbench compare --preset inside have"


@dataclass(frozen=True)
class Saying:
    """A sentence of the primer, what is tested of it, and the judge of what `inspection.json` holds.

    ``family`` is the one it speaks of; empty: all.
    """

    name: str
    statement: str
    reading: str
    judge: Callable[[Row], Judgement]
    family: str = ""


@dataclass(frozen=True)
class Finding:
    """What became of a sentence in one run."""

    saying: Saying
    verdict: str
    evidence: str


def findings(inspection: Row) -> list[Finding]:
    """Every sentence about this family, judged."""
    sayings = [saying for saying in SAYINGS if saying.family in ("", inspection["family"])]
    return [Finding(saying, *saying.judge(inspection)) for saying in sayings]


def _similar(inspection: Row) -> Judgement:
    test = inspection["similarity"]
    if test is None:
        return UNMET, "Too few tokens of this vocabulary have a known similar use."
    evidence = f"Mean cosine {formatting.value(test['within'])}, permuted {formatting.value(test['matched'])}; p "
    evidence += "< 0.001" if test["p"] < 0.001 else f"= {test['p']:.3f}"
    evidence += f"; {test['above']} of {test['groups']} groups are above the permutation mean."
    most = 2 * test["above"] > test["groups"]
    return REPRODUCED if test["p"] < CLOSE and most else OPPOSITE if test["p"] > 1 - CLOSE else UNDECIDED, evidence


def _different(inspection: Row) -> Judgement:
    parts: dict[str, set[str]] = {}
    several = {
        place for place in map(_layer, inspection["heads"]) if sum(_layer(h) == place for h in inspection["heads"]) > 1
    }
    for head in inspection["heads"]:
        if _layer(head) in several:
            parts.setdefault(_layer(head), set()).add(head["role"])
    if not parts:
        return UNMET, f"No layer here has several heads. {INSIDE} two in each."
    differ = [place for place, roles in parts.items() if len(roles - {_NO_ROLE}) > 1]
    alike = [place for place, roles in parts.items() if len(roles) == 1 and roles != {_NO_ROLE}]
    verdict = REPRODUCED if len(differ) == len(parts) else OPPOSITE if len(alike) == len(parts) else UNDECIDED
    return verdict, (
        f"Heads have different roles within {len(differ)} of {len(parts)} layers of several heads, and the same one "
        f"within {len(alike)}; elsewhere at most one head has one."
    )


def _layer(head: Row) -> str:
    return f"{head['layer']} {head['part']}"


def _neighbours_later(inspection: Row) -> Judgement:
    """Per axis and question: is the embedding behind a layer by more than two standard errors, or are all behind it?

    What follows a token is what a causal layer is trained to tell, and says nothing of layers that build up.
    """
    gained: dict[bool, list[bool]] = {True: [], False: []}
    lost: list[bool] = []
    for axis, question in dict.fromkeys((row["axis"], row["question"]) for row in inspection["probes"]):
        rows = [row for row in inspection["probes"] if (row["axis"], row["question"]) == (axis, question)]
        first = [row for row in rows if row["layer"] == "embedding"]
        later = [row for row in rows if row["layer"] != "embedding"]
        trained = question == NEXT and (axis == "target" or inspection["family"] == "decoder")
        if not (first and later) or trained or question not in (SIMPLE, *COMPLEX):
            continue
        gained[question == SIMPLE].append(_is_behind(first[0]))
        if question != SIMPLE:
            lost.append(all(_is_behind(row) for row in later))
    if not (gained[True] and gained[False]):
        return UNMET, "Too few examples for probes of both kinds."
    built, moved = sum(gained[False]), sum(gained[True])
    evidence = (
        f"Read better from a later layer than from the embeddings: {built} of {len(gained[False])} questions about "
        f"neighbours and class, {moved} of {len(gained[True])} about the token itself."
    )
    if built == len(gained[False]) and not moved:
        return REPRODUCED, evidence
    return OPPOSITE if all(lost) else UNDECIDED, evidence


def _is_behind(row: Row) -> bool:
    """Whether a layer is behind the best one by more than two standard errors."""
    return bool(row["behind"] > 2 * row["behind_error"])


def _likelier(inspection: Row) -> Judgement:
    step = inspection["step"]
    if not inspection["text"]["right"]:
        return UNMET, "No right answer was given (--answer)."
    better = sum(row["after"] > row["before"] for row in step["positions"])
    evidence = (
        f"Loss {formatting.value(step['loss'])} before the step, {formatting.value(step['loss_after'])} after it; "
        f"likelier at {better} of {len(step['positions'])} positions."
    )
    if not step["loss_after"] < step["loss"]:
        return OPPOSITE, evidence
    return REPRODUCED if 2 * better > len(step["positions"]) else UNDECIDED, evidence


def _gradually(inspection: Row) -> Judgement:
    losses = [row["mean_loss"] for row in inspection["snapshots"]]
    if len(losses) < 3:
        return UNMET, f"No weights of earlier steps were kept (snapshots = 8 under [training]). {INSIDE} them."
    falls = sum(later < earlier for earlier, later in pairwise(losses))
    evidence = (
        f"Mean loss of test examples {formatting.value(losses[0])} at the first kept weights, "
        f"{formatting.value(losses[-1])} at the last; it fell in {falls} of {len(losses) - 1} steps between them."
    )
    fell = losses[-1] < losses[0]
    return REPRODUCED if fell and 2 * falls > len(losses) - 1 else UNDECIDED if fell else OPPOSITE, evidence


def _blind(inspection: Row) -> Judgement:
    """Nothing of what comes later is looked at, in any layer."""
    return _looks(inspection["maps"], ahead=False)


def _whole(inspection: Row) -> Judgement:
    """Every layer looks at something that comes later."""
    return _looks(inspection["maps"], ahead=True)


def _parts(inspection: Row) -> Judgement:
    """The source is read in both directions, the target is written blind to what comes, and crosses to the source."""
    crossing = [attention for attention in inspection["maps"] if attention["part"] == "cross"]
    crossed = {attention["layer"] for attention in crossing}
    writing = [
        attention for attention in inspection["maps"] if attention["part"] == "self" and attention["layer"] in crossed
    ]
    reading = [
        attention
        for attention in inspection["maps"]
        if attention["part"] == "self" and attention["layer"] not in crossed
    ]
    (first, understands), (second, generates) = _looks(reading, ahead=True), _looks(writing, ahead=False)
    evidence = (
        f"Layers for the source: {understands[:1].lower()}{understands[1:]} Layers for the target: "
        f"{generates[:1].lower()}{generates[1:]} {len(crossing)} of these look at the source."
    )
    if UNMET in (first, second):
        return UNMET, evidence
    return REPRODUCED if (first, second) == (REPRODUCED, REPRODUCED) else OPPOSITE, evidence


def _looks(maps: Sequence[Row], ahead: bool) -> Judgement:
    """Whether attention to the shown text reaches what comes later: in no layer, or in every one."""
    most = [max(_later(attention), default=0.0) for attention in maps if attention["part"] == "self"]
    if not most:
        return UNMET, "No attention to be seen."
    seeing = sum(weight > 0 for weight in most)
    evidence = f"{seeing or 'None'} of {len(most)} layers put{'s' if seeing == 1 else ''} weight on a later token."
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
        "tokens with similar use have a greater mean cosine than tokens of similar frequency (one-sided, 5%), over all "
        "groups together and in most of them",
        _similar,
    ),
    Saying(
        "heads-differ",
        "Several times in parallel, each time focusing on a different aspect",
        "in every layer of several heads two of them have different roles, “mixed” being none",
        _different,
    ),
    Saying(
        "layers-build-up",
        "Early layers learn simple patterns, middle layers learn complex relationships",
        "neighbours and class are read better from a later layer than from the embeddings, by two standard errors; the "
        "token itself is not (what follows a token is left out where a causal layer is trained to tell it)",
        _neighbours_later,
    ),
    Saying(
        "step-makes-likelier",
        "Adjust all the parameters slightly: try to make the right word more likely next time",
        "one step of gradient descent on the shown text lowers its loss, and makes what is right likelier at most of "
        "its positions",
        _likelier,
    ),
    Saying(
        "gradually-better",
        "Gradually gets better at predictions",
        "the mean loss of test examples is lower at the last of the kept weights than at the first, and fell in most "
        "steps",
        _gradually,
    ),
    Saying(
        "looks-back-only",
        "Decoder-only: can't look at future words",
        "no layer puts weight on a later token of the shown text",
        _blind,
        "decoder",
    ),
    Saying(
        "looks-everywhere",
        "Encoder-only: can look at the entire sentence at once",
        "every layer puts weight on a later token of the shown text",
        _whole,
        "encoder",
    ),
    Saying(
        "two-parts",
        "Encoder-decoder: has two parts, one for understanding, one for generating",
        "every layer for the source looks both ways, none for the target looks ahead, and these look at the source",
        _parts,
        "encoder-decoder",
    ),
)
