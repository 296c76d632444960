"""What a finished run says to a text: it continues, classifies, translates or summarizes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from architectures.generate import Decoding
from architectures.objectives import Pairs
from runs import finished
from runs.finished import FinishedRun
from tasks.errors import InputError
from tasks.example import PAD
from tasks.tokenizers import Tokenizer


@dataclass(frozen=True)
class Answer:
    """``text`` is the continuation, label, translation or summary.

    Labels come with their ``probabilities``, likeliest first. ``cut`` counts the tokens of the text that were beyond
    the model's source length and not read.
    """

    kind: str
    text: str
    probabilities: tuple[tuple[str, float], ...] = ()
    cut: int = 0


def predict(folder: Path, text: str) -> Answer:
    """Answer ``text`` with the run in ``folder``.

    Raises ``InputError`` where the run is unfinished or damaged, or the text empty.
    """
    if not text:
        raise InputError("TEXT: is empty; give the text to continue, classify, translate or summarize")
    run = finished.read(folder)
    made, answers, tokenizer = run.plan, run.answers, run.tokenizer
    ids = tokenizer.encode(text)
    if run.kind == "generation":
        return _continued(run, ids)
    pairs, cut = _pairs(ids[: made.limits.source_length]), max(0, len(ids) - made.limits.source_length)
    if run.kind == "classification":
        return _classified(run.model, tokenizer, pairs, answers, cut)
    return Answer(run.kind, tokenizer.decode(_written(run.model, pairs, answers, run.decoding)), cut=cut)


def _pairs(source: list[int]) -> Pairs:
    return Pairs(torch.tensor([source], dtype=torch.long), torch.full((1, 1), PAD))


@torch.no_grad()
def _written(
    model: Any, pairs: Pairs, answers: torch.Tensor, decoding: dict[str, Any], start: torch.Tensor | None = None
) -> list[int]:
    chosen = {key: value for key, value in decoding.items() if key != "count"}
    generator = torch.Generator().manual_seed(0)
    found = model.objective.generate(model, pairs, answers, Decoding(**chosen), generator, start)
    return list(map(int, found[0]))


def _continued(run: FinishedRun, ids: list[int]) -> Answer:
    """The end of the text is the source; a model of whole windows has none and begins its window with the text."""
    limits, model, answers = run.plan.limits, run.model, run.answers
    if limits.source_length:
        source = _pairs(ids[-limits.source_length :])
        return Answer("generation", run.tokenizer.decode(_written(model, source, answers, run.decoding)))
    start = torch.tensor([ids[-max(1, limits.target_length // 2) :]])
    decoding = {**run.decoding, "max_tokens": limits.target_length - start.shape[1]}
    return Answer("generation", run.tokenizer.decode(_written(model, _pairs([]), answers, decoding, start)))


@torch.no_grad()
def _classified(model: Any, tokenizer: Tokenizer, pairs: Pairs, answers: torch.Tensor, cut: int) -> Answer:
    ids = answers.nonzero().squeeze(1)
    many = Pairs(pairs.source.expand(len(ids), -1), ids[:, None])
    nats, _ = model.objective.log_likelihood(model, many, answers)
    ranked = sorted(zip(nats.exp().tolist(), ids.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    probabilities = tuple((tokenizer.decode([label]), probability) for probability, label in ranked)
    return Answer("classification", probabilities[0][0], probabilities, cut)
