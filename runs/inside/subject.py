"""A finished run and the examples that it is looked at with: test examples, as the run recorded them, and one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from architectures.objectives import Pairs
from runs import finished
from runs.finished import FinishedRun
from tasks.errors import InputError
from tasks.example import END, PAD, SPECIALS
from tasks.tokenizers import Tokenizer

MOST_EXAMPLES = 200


@dataclass(frozen=True)
class Subject:
    """``examples`` are (source, target) token ids of test examples, ``text`` the one that is shown in full.

    ``given`` says whether the user gave its source; its target is then what the model wrote. ``cut`` counts the tokens
    of a given text that were beyond the model's lengths.
    """

    run: FinishedRun
    examples: tuple[tuple[list[int], list[int]], ...]
    text: tuple[list[int], list[int]]
    given: bool
    cut: int

    @property
    def exact(self) -> bool:
        """Whether losses are exact likelihoods, else any-order bounds: as in training."""
        return not self.run.model.objective.bounded or self.run.plan.limits.target_length == 1

    @property
    def loss_name(self) -> str:
        """What a loss of this run is, in nats."""
        return "nats per target token" + ("" if self.exact else ", any-order bound")


def read(folder: Path, text: str | None = None) -> Subject:
    """The run in ``folder`` with its recorded test examples; ``text`` in place of the first one.

    Raises ``InputError`` where the run is unfinished, damaged, or kept no test examples.
    """
    run = finished.read(folder)
    pairs = _recorded(run, folder)
    if text is None:
        return Subject(run, pairs, pairs[0], False, 0)
    if not text:
        raise InputError("--text: is empty; give the text to look at")
    shown, cut = _given(run, run.tokenizer.encode(text))
    return Subject(run, pairs, shown, True, cut)


def batch(pairs: Sequence[tuple[list[int], list[int]]]) -> Pairs:
    """Examples as one batch, padded at the right."""
    (source, source_mask), (target, target_mask) = (_padded([pair[side] for pair in pairs]) for side in (0, 1))
    return Pairs(source, target, source_mask, target_mask)


def spelled(tokenizer: Tokenizer, token: int) -> str:
    """A token as it is shown: blanks and line ends visible, special ones by name."""
    if token < len(SPECIALS):
        return SPECIALS[token]
    text = tokenizer.decode([token])
    return text.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥") or f"#{token}"


def _recorded(run: FinishedRun, folder: Path) -> tuple[tuple[list[int], list[int]], ...]:
    file = folder / "predictions.parquet"
    if not file.is_file():
        raise InputError(f"{folder}: this run kept no test examples (a trial of tuning keeps none); name another run")
    table = pd.read_parquet(file, columns=["source", "reference"]).head(MOST_EXAMPLES)
    limits, tokenizer = run.plan.limits, run.tokenizer
    sources = [list(map(int, ids))[: limits.source_length] for ids in tokenizer.encode_batch(list(table["source"]))]
    if run.kind == "classification":
        targets = [[tokenizer.label_id(label)] for label in table["reference"]]
    else:
        encoded = tokenizer.encode_batch(list(table["reference"]))
        targets = [[*map(int, ids)][: limits.target_length - run.ends] + [END] * run.ends for ids in encoded]
    pairs = tuple(zip(sources, targets, strict=True))
    kept = tuple(pair for pair in pairs if pair[1] and run.answers[pair[1]].all())
    if not kept:
        raise InputError(f"{folder}: no recorded test example can be read with this run's tokenizer")
    return kept


def _given(run: FinishedRun, ids: list[int]) -> tuple[tuple[list[int], list[int]], int]:
    """The text as a source and the model's answer as its target; of whole windows, the text is the target."""
    limits = run.plan.limits
    if not limits.source_length:
        return ([], ids[: limits.target_length]), max(0, len(ids) - limits.target_length)
    source = ids[-limits.source_length :] if run.kind == "generation" else ids[: limits.source_length]
    return (source, answer(run, source)), len(ids) - len(source)


def answer(run: FinishedRun, source: list[int]) -> list[int]:
    """What the model writes for a source, greedily, with END where it came to one."""
    from architectures.generate import Decoding

    limits = run.plan.limits
    pairs = Pairs(torch.tensor([source], dtype=torch.long), torch.full((1, 1), PAD))
    with torch.no_grad():
        (found,) = run.model.objective.generate(run.model, pairs, run.answers, Decoding(limits.target_length))
    tokens = [int(token) for token in found]
    return tokens + [END] * (run.ends and len(tokens) < limits.target_length)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
    lengths = torch.tensor([len(row) for row in rows])
    width = int(lengths.max())
    tokens = torch.full((len(rows), width), PAD)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = torch.tensor(row, dtype=torch.long)
    mask = torch.arange(width) < lengths[:, None]
    return tokens, None if bool(mask.all()) else mask
