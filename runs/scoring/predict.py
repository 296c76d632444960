"""Predictions of a finished run: it continues, classifies, translates or summarizes a text."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from archbench.architectures.objectives.objective import Batch
from archbench.runs.scoring import finished
from archbench.runs.scoring.finished import FinishedRun
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError


@dataclass(frozen=True)
class Answer:
    """``text`` is the continuation, label, translation or summary.

    Labels come with their ``probabilities``, likeliest first. ``cut`` counts the tokens of the text that were beyond
    the model's source length and not read.
    """

    text: str
    probabilities: tuple[tuple[str, float], ...] = ()
    cut: int = 0


MIN_TEMPERATURE = 0.01  # a temperature by which logits can be divided


@dataclass(frozen=True)
class Choice:
    """Overrides of the decoding used for scoring: beam search, or sampling with ``seed``."""

    beams: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def over(self, decoding: dict[str, Any]) -> dict[str, Any]:
        """The settings of a task with these overrides; raises ``InputError`` if options contradict each other."""
        drawn = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        settings = {key: value for key, value in drawn.items() if value is not None}
        flags = [f"--{key.replace('_', '-')}" for key in settings] + ["--seed"] * (self.seed is not None)
        if self.beams is not None:
            if flags:
                raise InputError(f"{flags[0]}: beam search does not sample; omit this option or --beams")
            return {**decoding, "strategy": "beam", "beams": self.beams}
        if flags and self.temperature is None and decoding["strategy"] != "sample":
            raise InputError(f"{flags[0]}: add --temperature (1 samples from the model's distribution)")
        if self.temperature is not None and not MIN_TEMPERATURE <= self.temperature < math.inf:
            raise InputError(f"--temperature: {self.temperature:g}: expected {MIN_TEMPERATURE:g} or more")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"--top-p: {self.top_p:g}: expected a number above 0 and at most 1")
        return {**decoding, **({"strategy": "sample"} if flags else {}), **settings}


AS_SCORED = Choice()


def predict(folder: Path, text: str, choice: Choice = AS_SCORED) -> Answer:
    """Answer ``text`` with the run in ``folder``, as it was scored unless ``choice`` says otherwise.

    Raises ``InputError`` where the run is unfinished or damaged, the text empty, or nothing can be chosen.
    """
    if not text:
        raise InputError("TEXT: is empty; give the text to continue, classify, translate or summarize")
    run = finished.read(folder)
    if choice != AS_SCORED and run.form == "labels":
        raise InputError(f"{folder}: this run classifies; beams and sampling are for runs that generate text")
    run = replace(run, decoding=choice.over(run.decoding))
    made, allowed_tokens, tokenizer, seed = run.plan, run.allowed_tokens, run.tokenizer, choice.seed or 0
    ids = tokenizer.encode(text)
    if run.form == "running text":
        return _continued(run, ids, seed)
    source, cut = _source(ids[: made.limits.source_length]), max(0, len(ids) - made.limits.source_length)
    if run.form == "labels":
        return _classified(run, source, cut)
    return Answer(tokenizer.decode(_written(run.model, source, allowed_tokens, run.decoding, seed)), cut=cut)


def _source(ids: list[int]) -> torch.Tensor:
    """A batch (1, s) of one text."""
    return torch.tensor([ids], dtype=torch.long)


@torch.no_grad()
def _written(
    model: Any,
    source: torch.Tensor,
    allowed_tokens: torch.Tensor,
    decoding: dict[str, Any],
    seed: int,
    start: torch.Tensor | None = None,
) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    (written,) = model.objective.generate(model, source, None, allowed_tokens, Decoding(**decoding), generator, start)
    return list(map(int, written))


def _continued(run: FinishedRun, ids: list[int], seed: int) -> Answer:
    """The end of the text is the source; a model of whole windows has none and begins its window with the text."""
    limits, model, allowed_tokens = run.plan.limits, run.model, run.allowed_tokens
    if limits.source_length:
        source = _source(ids[-limits.source_length :])
        return Answer(run.tokenizer.decode(_written(model, source, allowed_tokens, run.decoding, seed)))
    start = _source(ids[-max(1, limits.target_length // 2) :])
    decoding = {**run.decoding, "max_tokens": limits.target_length - start.shape[1]}
    return Answer(run.tokenizer.decode(_written(model, _source([]), allowed_tokens, decoding, seed, start)))


@torch.no_grad()
def _classified(run: FinishedRun, source: torch.Tensor, cut: int) -> Answer:
    model, allowed_tokens, tokenizer = run.model, run.allowed_tokens, run.tokenizer
    ids = allowed_tokens.nonzero().squeeze(1)
    many = Batch(source.expand(len(ids), -1), ids[:, None])
    log_p, _ = model.objective.log_likelihood(model, many, allowed_tokens)
    ranked = sorted(zip(log_p.exp().tolist(), ids.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    probabilities = tuple((tokenizer.decode([label]), probability) for probability, label in ranked)
    return Answer(probabilities[0][0], probabilities, cut)
