"""Shared by task kinds whose answers are texts: decoding, scores and baselines."""

from collections.abc import Callable, Sequence
from functools import partial

from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score
from archbench.tasks.baselines.baselines import TextRows, likelihood_rows
from archbench.tasks.metrics.builtin import likelihood_scores, text_score

Measure = Callable[[Prepared, Outputs], list[Score]]
Baselines = Callable[[Prepared], list[Baseline]]


def decoding(prepared: Prepared) -> Decoding:
    """Greedy for every example: one rule that all families can follow exactly."""
    return Decoding(max_tokens=prepared.config.target_length, count=len(prepared.test))


def measured_by(metrics: Sequence[str]) -> Measure:
    """Scores answers by these metrics of texts, and references by their likelihood."""
    return partial(_measure, tuple(metrics))


def baselines_by(metrics: Sequence[str], *rows: TextRows) -> Baselines:
    """Baselines: ``rows``, which answer without a model, by these metrics; likelihoods of classical methods."""
    return partial(_baselines, tuple(metrics), rows)


def _measure(metrics: tuple[str, ...], prepared: Prepared, outputs: Outputs) -> list[Score]:
    lossless = prepared.tokenizer.is_lossless(outputs.references)
    likelihoods = likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, lossless)
    answers = outputs.answers
    wanted = outputs.references[: len(answers)]
    if not len(answers):
        return likelihoods
    return [*(text_score(name, wanted, answers) for name in metrics), *likelihoods]


def _baselines(metrics: tuple[str, ...], rows: tuple[TextRows, ...], prepared: Prepared) -> list[Baseline]:
    answered = [row for make in rows for row in make(prepared, metrics)]
    return [*answered, *likelihood_rows(prepared)]
