"""Pairs of texts: is the better one the likelier? Primary metric: accuracy.

    better                 worse
    The cats sleep.        The cats sleeps.        BLiMP (1912.00582)

Nothing is trained on pairs: a pretrained model is scored as it is, or one that is trained on another text. A text is an
example without source and END; a long one goes on in further pieces (``encode.text_pieces``). Each worse text of a row
makes a pair with the better one, and the row counts as the share of its pairs that are won.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score
from archbench.tasks.baselines.baselines import training_bits
from archbench.tasks.kinds import generation
from archbench.tasks.metrics.builtin import likelihood_scores
from archbench.tasks.metrics.intervals import Floats, mean_score

TIE = 1e-6  # of a log-likelihood: float32 tells texts apart no better


def decoding(prepared: Prepared) -> Decoding:
    """No example is answered; a run that was trained on text continues one as after ``generation``."""
    return replace(generation.decoding(prepared), count=0)


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """Accuracy by the exact likelihood, whole and per token, and by the pseudo-likelihood where there is one.

    Of windows of running text, which the validation split has, the likelihoods.
    """
    texts = Texts(outputs.sources, outputs.rows)
    if not texts.are_compared:
        lossless = prepared.tokenizer.is_lossless(outputs.references)
        return likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, lossless)
    nats = texts.sums(outputs.nats)
    by_metric = {"accuracy": nats, "accuracy_per_token": nats / np.maximum(texts.sums(outputs.tokens), 1)}
    if outputs.pseudo_nats is not None:
        by_metric["accuracy_pll"] = texts.sums(outputs.pseudo_nats)
    return [texts.score(metric, values) for metric, values in by_metric.items()]


def baselines(prepared: Prepared) -> list[Baseline]:
    """``chance``; ``shorter``: the text of fewer bytes; ``ngram`` of the bytes of a training text, if there is one."""
    test = prepared.test
    texts = Texts([test.source_text(index) for index in range(len(test))], test.rows)
    costs = {"chance": np.zeros(len(test)), "shorter": test.target_bytes.astype(np.float64)}
    if len(prepared.train):
        costs["ngram"] = training_bits(prepared)
    won = {name: float(np.mean(texts.won(texts.sums(cost)))) for name, cost in costs.items()}
    return [Baseline(name, "test", "accuracy", share) for name, share in won.items()]


class Texts:
    """Which pieces (n,) are of one text (m,), and which texts are of one row (r,): the first is the better one.

    A piece without a source begins a text.
    """

    def __init__(self, sources: Sequence[str], rows: NDArray[np.int64]) -> None:
        begins = np.flatnonzero([not source for source in sources])
        self._text = np.searchsorted(begins, np.arange(len(sources)), side="right") - 1
        self._begins, (_, self._better, self._count) = begins, np.unique(rows[begins], True, False, True)

    @property
    def are_compared(self) -> bool:
        """True if each row has several texts."""
        return bool(len(self._count)) and int(self._count.min()) > 1

    def sums(self, values: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
        """Values of pieces (n,), added up for each text (m,)."""
        return np.bincount(self._text, values.astype(np.float64), len(self._begins)).astype(np.float64)

    def won(self, costs: Floats) -> Floats:
        """The share of each row's pairs (r,) whose better text costs less, by costs of texts (m,); ties count half."""
        better = np.repeat(costs[self._better], self._count)
        won = np.where(np.isclose(better, costs, TIE, 0.0), 0.5, better < costs)  # of the better text itself: half
        return (np.add.reduceat(won, self._better) - 0.5) / (self._count - 1)

    def score(self, metric: str, costs: Floats) -> Score:
        """The mean over rows; in the table of predictions it stands beside the beginning of the better text."""
        won, per_example = self.won(costs), np.full(len(self._text), np.nan)
        per_example[self._begins[self._better]] = won
        return replace(mean_score(metric, won.tolist()), per_example=tuple(per_example.tolist()))


KIND = TaskKind(
    name="pairs",
    does="continue a text, and tested on which of two texts is likelier",
    form="running text",
    columns=("better", "worse"),
    metrics=("accuracy",),
    primary=("accuracy",),
    judged=("accuracy", "accuracy_per_token"),
    test_examples=1000,
    decoding=decoding,
    measure=measure,
    baselines=baselines,
    numerics=12,
)
