"""Where the runs stand in a comparison."""

from dataclasses import dataclass
from typing import NamedTuple

from archbench.runs.plans.plan import Plan


@dataclass(frozen=True)
class Placement:
    """A run's place in the comparison; one run may stand in several.

    ``role``: ``compared``, ``share`` (a part of the budget by itself), ``control`` (under an ``architecture`` name of
    its own), ``trial`` (of the tuning) or ``pretraining``. ``condition`` is empty if only the axis (``match``)
    may differ from the default. ``form`` is the name of the form that its settings are of, empty where they are those
    of the task.
    """

    run: str
    dataset: str
    condition: str
    match: str
    role: str
    architecture: str
    share: float = 1.0
    form: str = ""


class PlacedPlan(NamedTuple):
    """A run as it is planned, one of its places in the comparison, and the runs that have to end before it begins.

    ``needs`` are the pretraining run that it starts from and the trials that choose its recipe.
    """

    plan: Plan
    placement: Placement
    needs: "tuple[PlacedPlan, ...]" = ()
