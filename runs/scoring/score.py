"""Scoring in two steps: a model's exact likelihoods and answers for examples, in float32, and the metrics of these.

Metrics are computed from numbers that the model gave, so that they need not run where a user's code runs.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from archbench.architectures.objectives import objective
from archbench.architectures.objectives.objective import Batch
from archbench.runs.plans.messages import Interrupted, Progress
from archbench.runs.scoring import shuffled
from archbench.runs.scoring.kept_outputs import outputs_of
from archbench.runs.training.batches import EncodedExamples, collate_sources, fixed
from archbench.runs.training.step import seed_from
from archbench.runs.training.train import SCORING_TOKENS
from archbench.runs.updates import grad_accumulation
from archbench.runs.updates.ranks import ALONE, Ranks
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.base.values import Examples, Outputs, Prepared, Score
from archbench.tasks.kinds import registry, task
from archbench.tasks.metrics.builtin import BUILTIN, TEXTS, text_score
from archbench.tasks.text.splits import PairExamples, Subset, Windows

DRAWS = 16
ANSWER_ROWS = 128
VALIDATION_EXAMPLES = 32
SEED = 0  # of what scoring draws
ROUNDS = {10: "10 rounds", 4: "4 rounds", 1: "one pass"}  # in which a canvas is filled, most confident cells first


@dataclass(frozen=True)
class InRounds:
    """Answers that fill the canvas in rounds, and what one takes: model FLOPs, seconds. ``name`` is the table's."""

    name: str
    answers: list[NDArray[np.int32]]
    flops: float
    seconds: float


@dataclass(frozen=True)
class Predictions:
    """Results of a model for examples: likelihoods and the tokens of answers, as numbers, and their cost.

    ``nats`` (n,) is -log p(target | source); ``bound``, ``pseudo`` and ``masked`` (n,) as ``Outputs.bound_nats``,
    ``Outputs.pseudo_nats`` and the metric ``masked_loss`` have them. ``shuffled`` are the nats of the first examples,
    each after the source of another one.
    """

    nats: NDArray[np.float64]
    answers: list[NDArray[np.int32]]
    bound: NDArray[np.float64] | None = None
    pseudo: NDArray[np.float64] | None = None
    masked: NDArray[np.float64] | None = None
    shuffled: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    in_rounds: tuple[InRounds, ...] = ()
    score_seconds: float = 0.0
    generate_seconds: float = 0.0
    inference_flops: float = 0.0  # of an answer


@dataclass(frozen=True)
class Decoded:
    """The scores of answers that are written in one way, and what an answer takes: model FLOPs, seconds."""

    decoding: str
    scores: tuple[Score, ...]
    flops: float
    seconds: float


@dataclass(frozen=True)
class Scored:
    """The metrics of ``predictions``, and the texts that they stand for."""

    predictions: Predictions
    outputs: Outputs
    scores: tuple[Score, ...]
    decoded: tuple[Decoded, ...] = ()


def scored(prepared: Prepared, examples: Examples, predictions: Predictions) -> Scored:
    """The scores of a model's predictions for ``examples``; needs no model, and so none of a user's code."""
    made = predictions
    outputs = outputs_of(prepared, examples, made.nats, made.bound, made.answers, made.pseudo)
    scores = [*task.measure(prepared, outputs), *_masked_loss(outputs, made.masked)]
    if count := len(made.shuffled):
        scores.append(BUILTIN[shuffled.METRIC].score(made.shuffled, examples.target_bytes[:count]))
    compared = [score.metric for score in scores if score.metric in TEXTS]
    decoded = tuple(_decoded(prepared, outputs.references, compared, way) for way in made.in_rounds)
    return Scored(made, outputs, tuple(scores), decoded)


def _decoded(prepared: Prepared, references: Sequence[str], metrics: Sequence[str], way: InRounds) -> Decoded:
    texts = [prepared.tokenizer.decode(ids) for ids in way.answers]
    scores = tuple(text_score(metric, references[: len(texts)], texts) for metric in metrics)
    return Decoded(way.name, scores, way.flops, way.seconds)


def validation(prepared: Prepared, count: int) -> Examples:
    """The validation examples that are scored: the same ``count`` for all models, at most all there are."""
    examples = prepared.validation
    assert isinstance(examples, PairExamples | Windows)
    return Subset(examples, np.sort(seeded_order(len(examples), 0)[:count]))


class Predictor:
    """Asks one model for likelihoods and answers; ``allowed`` (v,) are the tokens that an answer may use.

    Batches are dealt to ``ranks``, each of which has all results in the end.
    """

    def __init__(
        self,
        model: Any,
        prepared: Prepared,
        device: str,
        notify: Callable[[float, float], None],
        stop: Callable[[], bool],
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
        self.model, self.prepared, self.device = model.eval(), prepared, device
        self.notify, self.stop = notify, stop
        self.allowed = torch.from_numpy(np.asarray(prepared.allowed_tokens)).to(device)

    @torch.no_grad()
    def predict(self, examples: Examples, answering: bool = True) -> Predictions:
        """Answers to the first examples, likelihoods of all; raises ``Interrupted`` on a request to stop.

        Answers come first, so that a model that stores targets has seen none.
        """
        begun = time.perf_counter()
        answers = self._answers(examples) if answering else []
        middle = time.perf_counter()
        nats, second = self._likelihoods(examples, self._second)
        end = time.perf_counter()
        is_pseudo, is_bound = self._compares_texts, self.model.objective.estimate_is_bound
        return Predictions(
            nats,
            answers,
            bound=second if is_bound and not is_pseudo else None,
            pseudo=second if is_pseudo else None,
            masked=None if is_bound or is_pseudo else second,
            score_seconds=end - middle,
            generate_seconds=middle - begun,
            inference_flops=self._answer_flops(examples, answers),
        )

    @torch.no_grad()
    def with_rounds(self, predictions: Predictions) -> Predictions:
        """The predictions with answers that fill the canvas in rounds, where greedy ones take a pass per token.

        They come after all others and change none. Raises ``Interrupted`` when asked to stop.
        """
        usual, test = task.decoding(self.prepared), self.prepared.test
        rounds_flops = getattr(self.model.objective, "rounds_flops", None)
        is_own, count = bool(registry.of(self.prepared.config).origin), len(predictions.answers)
        if usual.strategy != "greedy" or is_own or not count or not self._estimated or rounds_flops is None:
            return predictions
        written = []
        for rounds, name in ROUNDS.items():
            begun, decoding = time.perf_counter(), replace(usual, strategy="confident", rounds=rounds)
            answers = self._answers(test, decoding)
            seconds = time.perf_counter() - begun
            flops = self._answer_flops(test, answers, partial(rounds_flops, rounds=rounds))
            written.append(InRounds(name, answers, flops, seconds / count))
        return replace(predictions, in_rounds=tuple(written))

    @torch.no_grad()
    def with_shuffled(self, predictions: Predictions) -> Predictions:
        """The predictions for the test split with ``shuffled``, where it has several sources and bits per byte.

        They come after all others and change none. Raises ``Interrupted`` when asked to stop.
        """
        test = self.prepared.test
        count = min(shuffled.EXAMPLES, len(test))
        if count < 2 or not self.prepared.config.source_length or not task.has_bits_per_byte(self.prepared):
            return predictions
        assert isinstance(test, Subset)
        examples = shuffled.ExchangedSources(test, count)
        if not examples.any_differ:
            return predictions
        nats, _ = self._likelihoods(examples, None)
        return replace(predictions, shuffled=nats)

    def validation(self) -> Examples:
        """The validation examples that are scored: few where a likelihood takes a pass per token."""
        wanted = VALIDATION_EXAMPLES if self._estimated else self.prepared.config.test_examples
        return validation(self.prepared, wanted)

    def _answer_flops(
        self, examples: Examples, answers: Sequence[NDArray[np.int32]], cost: Callable[..., Any] | None = None
    ) -> float:
        """Model FLOPs of an answer, the mean of these; ``cost`` as ``Objective.answer_flops``, the default."""
        if not answers:
            return 0.0
        cost = cost or self.model.objective.answer_flops
        flops = [
            float(cost(self.model, float(source), float(len(ids) + self.prepared.ends)))
            for source, ids in zip(examples.source_lengths, answers, strict=False)
        ]
        return float(np.mean(flops))

    @property
    def _estimated(self) -> bool:
        return not objective.is_exact(self.model.objective, self.prepared.config.target_length)

    @property
    def _compares_texts(self) -> bool:
        return registry.of(self.prepared.config).compares_texts

    @property
    def _second(self) -> Callable[..., Tensor] | None:
        """Function computed beside a likelihood that takes a pass per token; None where there is none."""
        if not self._estimated:
            return None
        if self._compares_texts:
            return self._pseudo if hasattr(self.model.objective, "pseudo_log_likelihood") else None
        return self._estimate

    def _likelihoods(
        self, examples: EncodedExamples, second: Callable[..., Tensor] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """-log p of every target in nats (n,), and what ``second`` computes of it (n,), if anything."""
        batches = fixed(examples, np.arange(len(examples)), SCORING_TOKENS[self.device])

        def scored(number: int, dealt: tuple[NDArray[np.int64], Batch]) -> tuple[Any, ...]:
            index, moved = dealt[0], dealt[1].to(self.device)
            nats = -grad_accumulation.retry_in_parts(partial(self._likelihood, moved)).cpu().numpy()
            if second is None:
                return index, nats, None
            return index, nats, grad_accumulation.retry_in_parts(partial(second, moved, number)).cpu().numpy()

        nats = np.zeros(len(examples))
        estimate = None if second is None else np.zeros(len(examples))
        for index, batch_nats, batch_estimate in self._dealt(
            batches, scored, len(examples), lambda dealt: len(dealt[0])
        ):
            nats[index] = batch_nats
            if estimate is not None:
                estimate[index] = batch_estimate
        return nats, estimate

    def _dealt(
        self, batches: Iterable[Any], call: Callable[[int, Any], Any], total: int, size: Callable[[Any], int]
    ) -> Iterator[Any]:
        """The results of ``call`` for numbered ``batches``, which are dealt to the ranks.

        Between batches it reports how many of ``total`` examples are done, by the ``size`` of a batch. Raises
        ``Interrupted`` on all ranks if one is asked to stop.
        """
        rank_results, done, stopped = list[Any](), 0, False
        for number, batch in enumerate(batches):
            if number % self.ranks.world_size == self.ranks.rank and not stopped:
                self.notify(float(done), float(total))
                stopped = self.stop()
                if not stopped:
                    rank_results.append(call(number, batch))
            done += size(batch)
        if any(self.ranks.any(stopped)):
            raise Interrupted
        yield from self.ranks.in_order(rank_results)

    def _answers(self, examples: Examples, decoding: Decoding | None = None) -> list[NDArray[np.int32]]:
        """Answers of the model to the first examples, from their sources alone; None: at the task's decoding."""
        decoding = decoding or task.decoding(self.prepared)
        count = min(decoding.count, len(examples))

        def answered(number: int, rows: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int32]]]:
            source, mask = collate_sources(examples, rows)
            source, mask = source.to(self.device), None if mask is None else mask.to(self.device)
            written = grad_accumulation.retry_halving_rows(partial(self._written, number, decoding), source, mask)
            tokens = [ids.cpu().numpy().astype(np.int32) for ids in written]
            return list(zip(rows.tolist(), tokens, strict=True))

        answers: list[NDArray[np.int32]] = [np.zeros(0, dtype=np.int32)] * count
        for answered_rows in self._dealt(_answer_batches(examples, count), answered, count, len):
            for row, tokens in answered_rows:
                answers[row] = tokens
        return answers

    def _likelihood(self, batch: Batch, parts: int) -> Tensor:
        return objective.exact_log_likelihood(self.model, batch, self.allowed, parts)

    def _estimate(self, batch: Batch, number: int, parts: int) -> Tensor:
        drawn = torch.Generator().manual_seed(seed_from(SEED, number))
        estimator = self.model.objective.bound_estimator
        return objective.estimate(self.model, batch, self.allowed, drawn, DRAWS, parts, estimator)

    def _pseudo(self, batch: Batch, number: int, parts: int) -> Tensor:
        log_p: Tensor = self.model.objective.pseudo_log_likelihood(self.model, batch, self.allowed, parts)
        return -log_p

    def _written(self, number: int, decoding: Decoding, source: Tensor, source_mask: Tensor | None) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed_from(SEED, number, 1))
        written: list[Tensor] = self.model.objective.generate(
            self.model, source, source_mask, self.allowed, decoding, generator
        )
        return written


def _answer_batches(examples: Examples, count: int) -> list[NDArray[np.int64]]:
    """Which of the first ``count`` examples are answered together: those of similar source length.

    Targets have no say in it: the shape and the order of a batch must not give away what is in them. A whole-window
    task has no source, and then any batch will do.
    """
    order = np.argsort(examples.source_lengths[:count], kind="stable")
    return [order[start : start + ANSWER_ROWS] for start in range(0, count, ANSWER_ROWS)]


def _masked_loss(outputs: Outputs, estimate: NDArray[np.float64] | None) -> list[Score]:
    """The mean loss over masked tokens in nats per target token, where the objective bounds no likelihood."""
    if estimate is None:
        return []
    return [BUILTIN["masked_loss"].score(estimate, outputs.tokens)]


def progress(run: str, notify: Callable[[Progress], None]) -> Callable[[float, float], None]:
    """Reports scoring as progress of ``run``."""
    return lambda done, total: notify(Progress(run, "score", done, total))
