"""Translation: a sentence in another language. Primary metric: exact match where one translation is right."""

from tasks import metrics
from tasks.intervals import bleu_score, chrf_score, likelihood_scores, mean_score
from tasks.references import copy_rows, likelihood_rows, nearest_rows
from tasks.values import Decoding, Outputs, Prepared, Reference, Score, TaskConfig


def primary(config: TaskConfig) -> str:
    """``exact_match`` for generated phrases, ``bits_per_byte`` for the Bible (models of this size do not translate it
    well enough for the others to tell them apart), ``chrf`` elsewhere.
    """
    data = config.data if isinstance(config.data, str) else ""
    if data.startswith("phrases-"):
        return "exact_match"
    return "bits_per_byte" if data.startswith("bible-") else "chrf"


def decoding(prepared: Prepared) -> Decoding:
    """Greedy for every example: one rule that all families can follow exactly."""
    return Decoding("greedy", max_tokens=prepared.config.target_length, count=len(prepared.test))


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """Exact match, BLEU and chrF of the answers, likelihoods of the references."""
    kept = prepared.tokenizer.keeps(outputs.references)
    likelihoods = likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, kept)
    answers = outputs.answers
    wanted = outputs.references[: len(answers)]
    if not len(answers):
        return likelihoods
    return [
        mean_score("exact_match", [a == b for a, b in zip(wanted, answers, strict=True)]),
        bleu_score(metrics.bleu(wanted, answers), wanted, answers),
        chrf_score(metrics.chrf(wanted, answers), wanted, answers),
        *likelihoods,
    ]


def references(prepared: Prepared) -> list[Reference]:
    """Copying the source, the translation of the nearest training sentence, an n-gram model and lzma."""
    return [*copy_rows(prepared), *nearest_rows(prepared), *likelihood_rows(prepared)]
