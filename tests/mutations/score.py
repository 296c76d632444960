"""The mutation score: edits that the contract refuses, of those that change what a variant computes."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from source_edits import Edit

from mutations.operator import Operator
from mutations.operators import OPERATORS
from mutations.patterns import Module
from mutations.trials import ROOT, VariantVerdict

FILES = {
    "components": "attention cache embedding feedforward initial key_values mask norm numbers positions stack states",
    "families": "decoder encoder encoder_decoder family layout size",
    "kernels": "attend cross_entropy fused rms selection single",
    "objectives": "causal generate masked objective",
    "parts": "averaging",
}
VARIANTS = (
    *("decoder", "encoder", "encoder-decoder", "gpt2", "bert", "t5", "llama", "modernbert", "t5-gated"),
    *("prefix-decoder", "suffix-encoder", "pooled-encoder", "shared-encoder-decoder"),
    *("decoder-alibi", "decoder-sinusoidal", "decoder-average"),
)


@dataclass(frozen=True)
class Mutant:
    """An edit, and the operator that made it."""

    operator: Operator
    edit: Edit

    def __str__(self) -> str:
        return f"{self.edit.path}:{self.edit.line} ({self.edit.function}): {self.edit.change}"


@dataclass(frozen=True)
class MutantOutcome:
    """The verdicts on a mutant: refused where every variant that it changes is refused."""

    mutant: Mutant
    verdicts: tuple[VariantVerdict, ...]

    @property
    def changed(self) -> list[VariantVerdict]:
        return [verdict for verdict in self.verdicts if verdict.changed is not None]

    @property
    def survivors(self) -> list[VariantVerdict]:
        return [verdict for verdict in self.changed if verdict.check is None]

    @property
    def refused(self) -> bool:
        return bool(self.changed) and not self.survivors

    @property
    def by_error(self) -> bool:
        """Whether nothing but raised errors refused it."""
        return self.refused and all(verdict.by_error for verdict in self.changed)

    @property
    def by_check(self) -> bool:
        """Whether it took the trials of ``check`` to refuse it: the quick ones refuse not every variant."""
        return self.refused and any(verdict.trials == "usual" for verdict in self.changed)


def modules() -> list[Module]:
    """The components, families, objectives and variants whose faults the contract has to find."""
    folder = ROOT / "architectures"
    variants = sorted(path for path in (folder / "variants").glob("*.py") if path.stem != "__init__")
    paths: list[Path] = [
        *(folder / buffer / f"{name}.py" for buffer, names in FILES.items() for name in names.split()),
        *variants,
    ]
    return [Module(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


def mutants(most: int | None = None, seed: int = 0, operators: Sequence[Operator] = OPERATORS) -> list[Mutant]:
    """The edits of every operator, at most so many of each, drawn by ``seed``."""
    parsed = modules()
    rng = random.Random(seed)
    result = []
    for operator in operators:
        edits = list(operator.edits(parsed))
        if most is not None and len(edits) > most:
            edits = sorted(rng.sample(edits, most), key=lambda edit: (edit.path, edit.start, edit.after))
        result += [Mutant(operator, edit) for edit in edits]
    return result


def sample(size: int, seed: int, runs: Callable[[Edit], bool]) -> list[Mutant]:
    """One mutant each of so many operators, drawn by ``seed`` among the edits of code that ``runs``."""
    rng, parsed = random.Random(seed), modules()
    every = [(operator, [edit for edit in operator.edits(parsed) if runs(edit)]) for operator in OPERATORS]
    usable = [(operator, edits) for operator, edits in every if edits]
    return [Mutant(operator, rng.choice(edits)) for operator, edits in rng.sample(usable, min(size, len(usable)))]


def table(outcomes: Iterable[MutantOutcome]) -> Iterator[str]:
    """A row in Markdown for each operator, and one for all."""
    outcomes = list(outcomes)
    counts = "mutants | equivalent | rejected | by an error | by `check` | survived | score"
    yield f"| operator | property that it breaks | {counts} |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for operator in OPERATORS:
        selected = [outcome for outcome in outcomes if outcome.mutant.operator is operator]
        if selected:
            yield _row(operator.name, operator.breaks, selected)
    yield _row("**all**", "", outcomes)


def score(outcomes: Iterable[MutantOutcome]) -> float:
    """Share of refused mutants among those that change a variant."""
    changing = [outcome for outcome in outcomes if outcome.changed]
    return sum(outcome.refused for outcome in changing) / max(len(changing), 1)


def _row(name: str, breaks: str, outcomes: list[MutantOutcome]) -> str:
    changing = [outcome for outcome in outcomes if outcome.changed]
    refused = sum(outcome.refused for outcome in changing)
    errors = sum(outcome.by_error for outcome in changing)
    share = f"{score(outcomes):.0%}" if changing else ""
    longer = sum(outcome.by_check for outcome in changing)
    survived = len(changing) - refused
    counts = f"{len(outcomes)} | {len(outcomes) - len(changing)} | {refused} | {errors} | {longer} | {survived}"
    return f"| {name} | {breaks} | {counts} | {share} |"
