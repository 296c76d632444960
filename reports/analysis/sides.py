"""What a test compares, in the notation of claims and of the paths between two designs.

X                            an architecture, under the first condition of the data set
X|condition                  under this condition
X@0.5                        trained on this part or multiple of the budget
X{start, adapt, examples}    adapted in this way after this pretraining; ``examples`` is a number, "fewest" or "most"
"""

from dataclasses import dataclass
from typing import NamedTuple

from archbench.runs.experiment.spec import ADAPTED, PROMPT, SCRATCH, SCRATCH_WITH

COUNTS = {"most": "the largest number of examples", "fewest": "the fewest examples"}


def start_words(start: str) -> str:
    """ "from scratch", "after own", or "from scratch, for as many more tokens as own"."""
    if start.startswith(SCRATCH_WITH):
        return f"from scratch, for as many more tokens as {start.removeprefix(SCRATCH_WITH)}"
    return "from scratch" if start == SCRATCH else f"after {start}"


class SideSetup(NamedTuple):
    """Start, adaptation and number of training examples (of a prompt: in it), as they are written."""

    start: str
    adapt: str
    examples: str

    @property
    def words(self) -> str:
        """ "after own, finetuned on all examples"."""
        count = COUNTS.get(self.examples, f"{self.examples} examples")
        link = "with" if self.adapt == PROMPT else "on"
        return f"{start_words(self.start)}, {ADAPTED.get(self.adapt, self.adapt)} {link} {count}"


@dataclass(frozen=True)
class Side:
    """An architecture as it was trained: under a condition, on a share of the budget, or after a pretraining."""

    architecture: str
    condition: str = ""
    share: float | None = None
    setup: SideSetup | None = None

    @classmethod
    def parse(cls, text: str) -> "Side":
        name, _, condition = text.partition("|")
        name, _, setup = name.partition("{")
        name, _, share = name.partition("@")
        return cls(
            name,
            condition,
            float(share) if share else None,
            SideSetup(*setup.rstrip("}").split(", ")) if setup else None,
        )

    @property
    def words(self) -> str:
        """ "decoder with target supervision", "decoder (0.5 of the budget)"."""
        if self.condition:
            return f"{self.architecture} with {self.condition}"
        if self.setup is not None:
            what = self.setup.words
        elif self.share is None or self.share == 1:
            return self.architecture
        else:
            what = f"{self.share:g} {'times' if self.share > 1 else 'of'} the budget"
        return f"{self.architecture} ({what})"
