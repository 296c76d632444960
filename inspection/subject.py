"""A finished run and the examples that it is looked at with: test examples, as the run recorded them, and one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from archbench.architectures import probes
from archbench.architectures.objectives.objective import Batch, is_exact
from archbench.architectures.probes import Axis, Layer
from archbench.runs.experiment.sections import FINETUNE
from archbench.runs.experiment.validation import nearest, printable
from archbench.runs.scoring import finished
from archbench.runs.scoring.finished import FinishedRun
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, PAD, SPECIALS
from archbench.tasks.text.tokenizers import Tokenizer

MOST_EXAMPLES = 200
Pair = tuple[list[int], list[int]]  # token ids of a source and a target


@dataclass(frozen=True)
class InspectedRun:
    """``examples`` are (source, target) token ids of test examples, ``text`` the one that is shown in full.

    ``from_user`` says whether the user gave its source, ``right`` whether its target is the right one: that of the data
    or of the user, not what the model itself wrote. ``cut`` counts the tokens of what was given that were beyond the
    model's lengths.
    """

    run: FinishedRun
    examples: tuple[Pair, ...]
    text: Pair
    from_user: bool = False
    right: bool = True
    cut: int = 0

    @property
    def exact(self) -> bool:
        """True if losses are exact likelihoods, else the objective's estimates: as in training."""
        return is_exact(self.run.model.objective, self.run.plan.limits.target_length)

    @property
    def loss_name(self) -> str:
        """Words for a loss of this run, in nats."""
        estimate = "any-order bound" if self.run.model.objective.estimate_is_bound else "masked loss"
        return "nats per target token" + ("" if self.exact else f", {estimate}")


def read(folder: Path, text: str | None = None, right: str | None = None) -> InspectedRun:
    """The run in ``folder`` with its recorded test examples; ``text`` in place of the first one, ``right`` its answer.

    Raises ``InputError`` where the run is unfinished, damaged, or kept no test examples, and where a text is of no use.
    """
    for option, given, what in (("--text", text, "the text to look at"), ("--answer", right, "the right answer")):
        if given is not None and not given.strip():
            raise InputError(f"{option}: is empty; give {what}")
    if text is None and right is not None:
        raise InputError("--answer: requires --text, the text to which it is the correct answer")
    run = finished.read(folder)
    if run.plan.adapt != FINETUNE or run.variant.checkpoint is not None:
        what = "a head on mean states" if run.plan.adapt != FINETUNE else "a checkpoint of transformers"
        raise InputError(f"{folder}: this run has {what}, which cannot be inspected; name another run")
    pairs = _recorded(run, folder)
    return (
        InspectedRun(run, pairs, pairs[0]) if text is None else _of_user(run, pairs, run.tokenizer.encode(text), right)
    )


def batch(pairs: Sequence[Pair]) -> Batch:
    """Examples as one batch, padded at the right."""
    (source, source_mask), (target, target_mask) = (_padded([pair[side] for pair in pairs]) for side in (0, 1))
    return Batch(source, target, source_mask, target_mask)


@dataclass(frozen=True)
class ExampleReading:
    """The passes through the blocks, and the token ids along the axes; ``source`` is what cross-attention reads."""

    layers: tuple[Layer, ...]
    axes: dict[Axis, list[int]]
    width: int  # tokens of the source, where both stand in one sequence

    def keys(self, part: str, layer: Layer) -> list[int]:
        """The tokens that an attention of the layer looks at."""
        return self.axes["source"] if part == "cross" else self.axes[layer.axis]


@torch.no_grad()
def read_example(subject: InspectedRun, pair: tuple[list[int], list[int]]) -> ExampleReading:
    """Reads one example as its objective shows it to the model."""
    model = subject.run.model
    inputs = model.objective.example_inputs(model, batch([pair]))
    with probes.watched(model) as layers:
        model.hidden(*inputs)
    source, target = inputs.source[0].tolist(), inputs.target[0].tolist()
    axes: dict[Axis, list[int]] = {"both": source + target, "source": source or [BOS], "target": target}
    return ExampleReading(tuple(layers), axes, len(source))


def spelled(tokenizer: Tokenizer, token: int) -> str:
    """A token as it is shown: blanks and line ends visible, special ones by name, what cannot be shown by its id."""
    if token < len(SPECIALS):
        return SPECIALS[token]
    text = tokenizer.decode([token])
    text = text.replace(" ", "·").replace("\n", "⏎").replace("\t", "⇥")
    if not text.isprintable() or not text or "\N{REPLACEMENT CHARACTER}" in text:
        return f"#{token}"
    return text


def _recorded(run: FinishedRun, folder: Path) -> tuple[Pair, ...]:
    file = folder / "predictions.parquet"
    if not file.is_file():
        raise InputError(f"{folder}: this run recorded no test examples (tuning trials record none); name another run")
    table = pd.read_parquet(file, columns=["source", "reference"]).head(MOST_EXAMPLES)
    encoded = run.tokenizer.encode_batch(list(table["source"]))
    sources = [list(map(int, ids))[: run.plan.limits.source_length] for ids in encoded]
    targets = _targets(run, list(table["reference"]))[0]
    pairs = tuple(zip(sources, targets, strict=True))
    kept = tuple(pair for pair in pairs if pair[1] and run.allowed_tokens[pair[1]].all())
    if not kept:
        raise InputError(f"{folder}: no recorded test example can be read by this run's tokenizer")
    return kept


def _targets(run: FinishedRun, texts: Sequence[str]) -> tuple[list[list[int]], int]:
    """Target ids of texts as training makes them, and how many tokens were beyond the model's target length."""
    if run.form == "labels":
        return [[run.tokenizer.label_id(text)] for text in texts], 0
    encoded = [list(map(int, ids)) for ids in run.tokenizer.encode_batch(texts)]
    room = run.plan.limits.target_length - run.ends
    return [ids[:room] + [END] * run.ends for ids in encoded], sum(max(0, len(ids) - room) for ids in encoded)


def _of_user(run: FinishedRun, examples: tuple[Pair, ...], ids: list[int], right: str | None) -> InspectedRun:
    """The text as a source, its target the right answer or what the model writes; of whole windows it is the target."""
    limits = run.plan.limits
    if not limits.source_length:
        if right is not None:
            raise InputError("--answer: this run was trained on windows of running text; give only --text")
        window = ids[: limits.target_length]
        return InspectedRun(run, examples, ([], window), True, True, len(ids) - len(window))
    source = ids[-limits.source_length :] if run.form == "running text" else ids[: limits.source_length]
    target, cut = (answer(run, source), 0) if right is None else _right(run, right)
    return InspectedRun(run, examples, (source, target), True, right is not None, len(ids) - len(source) + cut)


def _right(run: FinishedRun, text: str) -> tuple[list[int], int]:
    """The right answer as a target, and how many of its tokens are left out; ``InputError`` where it cannot be one."""
    ((target,), cut) = _targets(run, [text])
    generated = run.form == "running text"  # running text ends where its window does, and nowhere else
    if len(target) < run.plan.limits.target_length if generated else cut:
        target = target[: len(target) - run.ends]
    if target and run.allowed_tokens[target].all():
        return target, cut
    if run.form == "labels":
        raise InputError(f"--answer: {printable(text)} is no label of this run{nearest(text, run.tokenizer.labels)}")
    raise InputError(f"--answer: {printable(text)} cannot be generated by this run's model; give another answer")


def answer(run: FinishedRun, source: list[int]) -> list[int]:
    """Tokens that the model writes for a source, greedily, with END where it came to one."""
    limits = run.plan.limits
    given = torch.tensor([source], dtype=torch.long)
    with torch.no_grad():
        (written,) = run.model.objective.generate(
            run.model, given, None, run.allowed_tokens, Decoding(limits.target_length)
        )
    tokens = [int(token) for token in written]
    return tokens + [END] * (run.ends and len(tokens) < limits.target_length)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
    lengths = torch.tensor([len(row) for row in rows])
    width = int(lengths.max())
    tokens = torch.full((len(rows), width), PAD)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row, dtype=torch.long)
    mask = torch.arange(width) < lengths[:, None]
    return tokens, None if bool(mask.all()) else mask
