"""The conditions of a group of runs in words: what is held equal, and what differs from the other groups."""

from typing import Final

from archbench.reports.analysis.groups import Group
from archbench.runs.experiment.spec import UNMATCHED

MATCHES: Final = {
    "parameters": "equal size and equal training tokens",
    "flops": "equal training tokens and equal training FLOPs",
    "flops-by-tokens": "equal size and equal training FLOPs",
    "loss-tokens": "equal size and equal tokens with a loss",
    "seconds": "equal training time",
    UNMATCHED: "pretrained checkpoints, nothing held equal",
}
SUPERVISION: Final = {
    "native": "the usual loss of each family: on source and target for a causal decoder, on masked positions of "
    "both for an encoder, on the target alone for other models",
    "target": "a loss on the target alone",
}


def condition(group: Group) -> str:
    """What sets this group apart from the others on its data set; empty if it is the only one."""
    parts = (MATCHES.get(value, value) if key == "match" else value for key, value in group.condition.items())
    return "; ".join(filter(None, parts))


def beside(first: Group, condition_text: str) -> str:
    """A further condition in words, without what it has in common with the first one's."""
    return condition_text.removeprefix(f"{condition(first)}; ")
