"""The scoring loop: exact likelihoods and answers of a model on a task's test examples, in float32."""

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
from archbench.runs.base.messages import Interrupted, Progress
from archbench.runs.scoring import shuffled
from archbench.runs.scoring.kept_outputs import outputs_of
from archbench.runs.training import grad_accumulation
from archbench.runs.training.batches import EncodedExamples, collate_sources, fixed
from archbench.runs.training.ranks import ALONE, Ranks
from archbench.runs.training.step import seed_from
from archbench.runs.training.train import SCORING_TOKENS
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
class Decoded:
    """The scores of answers that are written in one way, and what an answer takes: model FLOPs, seconds."""

    decoding: str
    scores: tuple[Score, ...]
    flops: float
    seconds: float


@dataclass(frozen=True)
class Scored:
    """The model's predictions on the test examples, their metrics and their cost.

    ``decoded`` are the same model's answers written in rounds, where it can do that. ``shuffled_nats`` are
    -log p(target | source of another example) of the first examples, where that was computed.
    """

    outputs: Outputs
    scores: tuple[Score, ...]
    score_seconds: float
    generate_seconds: float
    generated_tokens: int
    inference_flops: float
    decoded: tuple[Decoded, ...] = ()
    shuffled_nats: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class Scorer:
    """Scores one model; ``allowed`` (v,) are the tokens that an answer may use.

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
    def score(self, examples: Examples, answering: bool = True) -> Scored:
        """Answers to the first examples, likelihoods of all; raises ``Interrupted`` on a request to stop.

        Answers come first, so that a model that stores targets has seen none.
        """
        begun = time.perf_counter()
        answers = self._answers(examples) if answering else []
        middle = time.perf_counter()
        nats, second = self._likelihoods(examples, self._second)
        end = time.perf_counter()
        is_pseudo, is_bound = self._compares_texts, self.model.objective.estimate_is_bound
        bound, pseudo = second if is_bound and not is_pseudo else None, second if is_pseudo else None
        outputs = outputs_of(self.prepared, examples, nats, bound, answers, pseudo)
        masked = None if is_bound or is_pseudo else second
        return Scored(
            outputs,
            (*task.measure(self.prepared, outputs), *_masked_loss(outputs, masked)),
            score_seconds=end - middle,
            generate_seconds=middle - begun,
            generated_tokens=sum(len(answer) + self.prepared.ends for answer in answers),
            inference_flops=self._answer_flops(examples, answers),
        )

    @torch.no_grad()
    def with_decodings(self, scored: Scored) -> Scored:
        """The scores, with those of answers that fill the canvas in rounds, where greedy ones take a pass per token.

        It comes after all other scores and changes none. Raises ``Interrupted`` when asked to stop.
        """
        usual, test, outputs = task.decoding(self.prepared), self.prepared.test, scored.outputs
        compared = [score.metric for score in scored.scores if score.metric in TEXTS]
        rounds_flops = getattr(self.model.objective, "rounds_flops", None)
        if usual.strategy != "greedy" or not compared or not self._estimated or rounds_flops is None:
            return scored
        count, decoded = max(1, len(outputs.answers)), list[Decoded]()
        for rounds, name in ROUNDS.items():
            begun, decoding = time.perf_counter(), replace(usual, strategy="confident", rounds=rounds)
            answers = self._answers(test, decoding)
            seconds = time.perf_counter() - begun
            texts, references = [self.prepared.tokenizer.decode(ids) for ids in answers], outputs.references
            scores = tuple(text_score(metric, references[: len(texts)], texts) for metric in compared)
            decoded.append(
                Decoded(
                    name,
                    scores,
                    self._answer_flops(test, answers, partial(rounds_flops, rounds=rounds)),
                    seconds / count,
                )
            )
        return replace(scored, decoded=tuple(decoded))

    @torch.no_grad()
    def with_shuffled(self, scored: Scored) -> Scored:
        """The scores of the test split with ``bits_per_byte_shuffled``, where it has several sources and bits per byte.

        It comes after all other scores and changes none. Raises ``Interrupted`` when asked to stop.
        """
        test = self.prepared.test
        count = min(shuffled.EXAMPLES, len(test))
        likely = any(score.metric == "bits_per_byte" for score in scored.scores)
        if not likely or count < 2 or not self.prepared.config.source_length:
            return scored
        assert isinstance(test, Subset)
        examples = shuffled.ExchangedSources(test, count)
        if not examples.any_differ:
            return scored
        nats, _ = self._likelihoods(examples, None)
        score = BUILTIN[shuffled.METRIC].score(nats, examples.target_bytes)
        return replace(scored, scores=(*scored.scores, score), shuffled_nats=nats)

    def validation(self) -> Examples:
        """The validation examples that are scored: the same for all, few where a likelihood takes a pass per token."""
        examples = self.prepared.validation
        assert isinstance(examples, PairExamples | Windows)
        wanted = VALIDATION_EXAMPLES if self._estimated else self.prepared.config.test_examples
        order = seeded_order(len(examples), 0)
        return Subset(examples, np.sort(order[:wanted]))

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
        """What is computed beside a likelihood that takes a pass per token."""
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
        """What the model writes for the first examples, from their sources alone; None: at the task's decoding."""
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
