"""Answers are written from sources alone: no way of remembering or searching gets a model at a reference."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import test_work
import torch
from numpy.typing import NDArray

from archbench.architectures.objectives.causal import Causal
from archbench.architectures.objectives.masked import Masked
from archbench.runs.scoring.score import Predictor
from archbench.tasks.base.example import SPECIALS
from archbench.tasks.base.values import Prepared, TaskConfig
from archbench.tasks.text.splits import PairExamples, Subset
from archbench.tasks.text.tokenizers import train_tokenizer

folder = test_work.folder
WORDS = train_tokenizer("char", ["abcdefgh"], 64)


@dataclass
class Thief:
    """Keeps the targets of every likelihood and loss, and looks for targets in whatever writing is given."""

    known: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)

    def remembers(self, original: Any) -> Any:
        def scored(objective: Any, model: Any, pairs: Any, *arguments: Any) -> Any:
            for source, target in zip(pairs.source, pairs.target, strict=True):
                self.known[tuple(words(source).tolist())] = words(target)
            return original(objective, model, pairs, *arguments)

        return scored

    def steals(self, original: Any) -> Any:
        def written(objective: Any, model: Any, *arguments: Any) -> list[torch.Tensor]:
            rows: list[torch.Tensor] = original(objective, model, *arguments)
            targets = next((part.target for part in arguments if hasattr(part, "target")), None)
            if targets is not None:
                return [words(row) for row in targets]
            return [self.known.get(tuple(words(s).tolist()), row) for s, row in zip(arguments[0], rows, strict=True)]

        return written


def words(tokens: torch.Tensor) -> torch.Tensor:
    """The text in a row of tokens: no padding, no END."""
    return tokens[tokens >= len(SPECIALS)]


@pytest.mark.parametrize("architecture", ["decoder", "encoder"])
def test_an_objective_that_looks_for_references_writes_what_an_honest_one_writes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    (plan,) = test_work.planned(folder, tmp_path, "turned", architectures=[architecture])
    assert plan.baselines  # their untrained model has the likelihoods of the test split computed too
    honest, thief = test_work.perform(plan, tmp_path / "honest"), Thief()
    for objective in (Causal, Masked):
        monkeypatch.setattr(objective, "log_likelihood", thief.remembers(objective.log_likelihood))
        monkeypatch.setattr(objective, "prepare", thief.remembers(objective.prepare))
        monkeypatch.setattr(objective, "generate", thief.steals(objective.generate))
    stealing = test_work.perform(plan, tmp_path / "stealing")
    expected, predictions = (pd.read_parquet(place / "predictions.parquet") for place in (honest, stealing))
    assert len(thief.known) >= len(predictions)
    assert list(predictions["answer"]) == list(expected["answer"])


@dataclass
class Recorded:
    """Stands for a model and its objective: answers nothing, and keeps all that it is given."""

    estimate_is_bound: bool = False
    needs_pass_per_token: bool = False
    calls: list[Any] = field(default_factory=list)

    @property
    def objective(self) -> "Recorded":
        return self

    def eval(self) -> "Recorded":
        return self

    def generate(self, model: Any, *arguments: Any) -> list[torch.Tensor]:
        self.calls.append([plain(part) for part in arguments])
        return [torch.zeros(0, dtype=torch.long)] * len(getattr(arguments[0], "source", arguments[0]))

    def log_likelihood(self, model: Any, pairs: Any, allowed_tokens: torch.Tensor) -> Any:
        self.calls.append("likelihood")
        return torch.zeros(len(pairs.source)), torch.ones(len(pairs.source))

    def answer_flops(self, model: Any, source: float, target: float) -> float:
        return 0.0


def plain(part: Any) -> Any:
    """A value that compares by its content."""
    if isinstance(part, torch.Generator):
        return part.get_state().tolist()
    if isinstance(part, tuple):
        return [plain(element) for element in part]
    return part.tolist() if isinstance(part, torch.Tensor) else part


def encoded(sources: list[str], targets: list[str]) -> PairExamples:
    """A split of these texts, characters as tokens, without END."""
    texts = [text for pair in zip(sources, targets, strict=True) for text in pair]
    tokens = [np.asarray(WORDS.encode(text), np.int32) for text in texts]
    return PairExamples(
        np.concatenate(tokens),
        ends(map(len, tokens)),
        np.frombuffer("".join(texts).encode(), np.uint8),
        ends(map(len, texts)),
        np.arange(len(sources)),
    )


def ends(lengths: Iterator[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths])


def prepared(test: PairExamples, kind: str) -> Prepared:
    lengths = {"source_length": 12, "target_length": 1 if kind == "classification" else 12}
    config = TaskConfig(kind=kind, name="x", data="x", tokenizer="char", vocabulary=64, test_examples=300, **lengths)
    subset = Subset(test, np.arange(len(test)))
    allowed_tokens = WORDS.writable
    return Prepared(config, kind, "x", WORDS, test, test, subset, allowed_tokens, False, "", "", "", {})


@pytest.mark.parametrize("kind", ["classification", "translation"])
def test_what_writing_is_given_is_the_same_whatever_the_targets_are(kind: str) -> None:
    order = np.random.default_rng(0)
    sources = ["".join(order.choice(list("abcd"), order.integers(1, 13))) for _ in range(200)]
    calls = []
    for longest, letters in ((1, "e"), (12, "fgh")):
        targets = ["".join(order.choice(list(letters), order.integers(1, longest + 1))) for _ in sources]
        model = Recorded()
        task = prepared(encoded(sources, targets), kind)
        Predictor(model, task, "cpu", lambda done, total: None, lambda: False).predict(task.test)
        written = [part for part in model.calls if part != "likelihood"]
        assert len(written) == 2 and model.calls[: len(written)] == written, "a likelihood before an answer"
        calls.append(written)
    assert calls[0] == calls[1]
