"""What a group of runs held equal and what it changed, in words."""

from typing import Final

from archbench.reports.analysis.comparison import Group
from archbench.runs.experiment.spec import AS_IS

MATCHES: Final = {
    "parameters": "equal size and equal training tokens",
    "flops": "equal training tokens and equal training FLOPs",
    "flops-by-tokens": "equal size and equal training FLOPs",
    "seconds": "equal training time",
    AS_IS: "checkpoints as they are, nothing held equal",
}
SUPERVISION: Final = {
    "native": "as each family is trained: a decoder has a loss on its source too, an encoder on a part of it, one "
    "that reads its source in both directions on its target alone",
    "target": "a loss on the target alone",
}


def condition(group: Group) -> str:
    """What sets this group apart from the others on its data set; empty if it is the only one."""
    parts = (MATCHES.get(found, found) if key == "match" else found for key, found in group.condition.items())
    return "; ".join(filter(None, parts))


def beside(first: Group, said: str) -> str:
    """A further condition in words, without what it has in common with the first one's."""
    return said.removeprefix(f"{condition(first)}; ")
