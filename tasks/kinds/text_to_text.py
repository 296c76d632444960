"""Shared by task kinds whose answers are texts: decoding, scores and reference rows."""

from collections.abc import Callable, Sequence
from functools import partial

from archbench.tasks.base.values import DecodingConfig, Outputs, Prepared, Reference, Score
from archbench.tasks.metrics.builtin import text_score
from archbench.tasks.metrics.intervals import likelihood_scores
from archbench.tasks.references.references import TextRows, likelihood_rows

Measure = Callable[[Prepared, Outputs], list[Score]]
References = Callable[[Prepared], list[Reference]]


def decoding(prepared: Prepared) -> DecodingConfig:
    """Greedy for every example: one rule that all families can follow exactly."""
    return DecodingConfig("greedy", max_tokens=prepared.config.target_length, count=len(prepared.test))


def measured_by(metrics: Sequence[str]) -> Measure:
    """Scores answers by these metrics of texts, and references by their likelihood."""
    return partial(_measure, tuple(metrics))


def read_against(metrics: Sequence[str], *rows: TextRows) -> References:
    """Reference rows: methods that answer without a model, by these metrics; an n-gram model and lzma."""
    return partial(_references, tuple(metrics), rows)


def _measure(metrics: tuple[str, ...], prepared: Prepared, outputs: Outputs) -> list[Score]:
    kept = prepared.tokenizer.keeps(outputs.references)
    likelihoods = likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, kept)
    answers = outputs.answers
    wanted = outputs.references[: len(answers)]
    if not len(answers):
        return likelihoods
    return [*(text_score(name, wanted, answers) for name in metrics), *likelihoods]


def _references(metrics: tuple[str, ...], rows: tuple[TextRows, ...], prepared: Prepared) -> list[Reference]:
    answered = [row for make in rows for row in make(prepared, metrics)]
    return [*answered, *likelihood_rows(prepared)]
