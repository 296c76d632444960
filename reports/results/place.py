"""Where runs stand in a comparison: read from a row of the tables or from text, and in words.

Claims, and the paths between two designs, write the place of an architecture as

X                            under the first condition of the data set
X|condition                  under this condition
X@0.5                        trained on this part or multiple of the budget
X{start, adapt, examples}    adapted in this way after this pretraining; ``examples`` is a number, "fewest" or "most"
"""

from dataclasses import dataclass, fields
from typing import Any, Final

import pandas as pd

from archbench.runs.experiment.spec import ADAPTED, FINETUNE, PROMPT, SCRATCH, SCRATCH_WITH, UNMATCHED

MATCHES: Final = {
    "parameters": "equal size and equal training tokens",
    "active-parameters": "equal numbers of parameters that a token uses, and equal training tokens",
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
_COUNTS: Final = {"most": "the largest number of examples", "fewest": "the fewest examples"}


@dataclass(frozen=True)
class Place:
    """Where runs stand; a field that is not given has the value of the data set's first condition.

    ``share`` is the part or multiple of the budget. ``start`` is what they start from and ``adapt`` how they were
    adapted to ``examples`` training examples: a number (0: not recorded, or none in a prompt), "fewest" or "most".
    """

    architecture: str = ""
    dataset: str = ""
    match: str = ""
    condition: str = ""
    share: float = 1.0
    start: str = ""
    adapt: str = FINETUNE
    examples: int | str = 0

    @classmethod
    def of(cls, row: "pd.Series[Any]") -> "Place":
        """The place that a row of the tables states; a run without a start began from scratch."""
        names = (field.name for field in fields(cls))
        known = {name: row[name] for name in names if name in row.index and pd.notna(row[name])}
        texts = {name: str(known.get(name, "")) for name in ("architecture", "dataset", "match", "condition")}
        start, adapt = str(known.get("start", SCRATCH)), str(known.get("adapt", FINETUNE))
        share, examples = float(known.get("share", 1.0)), int(float(known.get("examples", 0)))
        return cls(**texts, share=share, start=start, adapt=adapt, examples=examples)

    @classmethod
    def parse(cls, text: str) -> "Place":
        name, _, condition = text.partition("|")
        name, _, setup = name.partition("{")
        name, _, share = name.partition("@")
        start, adapt, examples = setup.rstrip("}").split(", ") if setup else ("", FINETUNE, "0")
        count = int(examples) if examples.isdigit() else examples
        return cls(name, condition=condition, share=float(share or 1), start=start, adapt=adapt, examples=count)

    @property
    def setup(self) -> "Place":
        """Start, adaptation and number of training examples alone."""
        return Place(start=self.start, adapt=self.adapt, examples=self.examples)

    @property
    def words(self) -> str:
        """ "decoder with target supervision", "decoder (0.5 of the budget)", "decoder (after own, ...)"."""
        if self.condition:
            return f"{self.architecture} with {self.condition}"
        if self.start:
            return f"{self.architecture} ({self.way_words})"
        if self.share == 1:
            return self.architecture
        return f"{self.architecture} ({self.share:g} {'times' if self.share > 1 else 'of'} the budget)"

    @property
    def start_words(self) -> str:
        """ "from scratch", "after own", or "from scratch, for as many more tokens as own"."""
        if self.start.startswith(SCRATCH_WITH):
            return f"from scratch, for as many more tokens as {self.start.removeprefix(SCRATCH_WITH)}"
        return "from scratch" if self.start == SCRATCH else f"after {self.start}"

    @property
    def way(self) -> str:
        """ "after own, finetuned"."""
        return f"{self.start_words}, {ADAPTED.get(self.adapt, self.adapt)}"

    @property
    def way_words(self) -> str:
        """ "after own, finetuned on 20 examples"."""
        count = _COUNTS.get(str(self.examples), f"{self.examples} examples")
        if self.adapt == PROMPT:
            return f"{self.way} with {count}"
        return f"{self.way} on {count}" if self.examples else self.way
