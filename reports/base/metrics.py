"""What each metric is called, in which direction it is better, and what it says in a sentence."""

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from archbench.reports.base.statistics import Interval


@dataclass(frozen=True)
class ReportedMetric:
    """A metric as the report speaks of it; `better` is empty for a figure that only describes."""

    name: str
    label: str
    better: Literal["higher", "lower", ""]
    meaning: str
    decimals: int = 3

    def within(self, interval: Interval) -> Interval:
        """The interval, cut where the metric ends: no accuracy is below 0, no perplexity below 1."""
        least, most = _RANGES.get(self.name, (-math.inf, math.inf))
        return replace(interval, lower=max(interval.lower, least), upper=min(interval.upper, most))

    @property
    def best(self) -> float:
        """The end of the scale on the better side, infinite where there is none."""
        least, most = _RANGES.get(self.name, (-math.inf, math.inf))
        return {"higher": most, "lower": least, "": math.nan}[self.better]

    @property
    def worst(self) -> float:
        """The end of the scale on the worse side, infinite where there is none."""
        least, most = _RANGES.get(self.name, (-math.inf, math.inf))
        return {"higher": least, "lower": most, "": math.nan}[self.better]

    @property
    def extent(self) -> float:
        """How far apart two scores can be, infinite where there is no limit."""
        return abs(self.best - self.worst)

    @property
    def direction(self) -> str:
        """In words, for a table's head or an axis."""
        return {"higher": "higher is better", "lower": "lower is better", "": "describes only"}[self.better]

    @property
    def across_tokenizers(self) -> bool:
        """Whether models that cut text into other tokens compare: what is counted by token does not."""
        return self.name in _ACROSS

    @property
    def arrow(self) -> str:
        return {"higher": "↑", "lower": "↓", "": ""}[self.better]

    def gain(self, difference: float) -> float:
        """`difference` with the sign that makes better positive."""
        return -difference if self.better == "lower" else difference


ROUGE: Final = ("rouge_1", "rouge_2", "rouge_l")
RECORDED: Final = (*ROUGE, "stored_bits")  # what each example gives stands in the table of predictions
_RANGES: Final = {
    **dict.fromkeys(("bits_per_byte", "bits_per_byte_bound", "nll_per_token", "nll_per_token_bound"), (0.0, math.inf)),
    "masked_loss": (0.0, math.inf),
    **dict.fromkeys(("accuracy", "macro_f1", "exact_match", *ROUGE), (0.0, 1.0)),
    **dict.fromkeys(("repetition", "distinct_2", "copied"), (0.0, 1.0)),
    **dict.fromkeys(("bleu", "chrf"), (0.0, 100.0)),
    "perplexity": (1.0, math.inf),
}
_ACROSS: Final = frozenset(
    {"bits_per_byte", "bits_per_byte_bound", "accuracy", "macro_f1", "exact_match", "bleu", "chrf", *RECORDED}
)
_ANY_ORDER: Final = (
    "training objective of a masked model: the loss averaged over orders of writing. It bounds the loss of a random "
    "order, not of left to right"
)
_NO_EXACT: Final = "not comparable with an exact likelihood"
_METRICS: Final = (
    ReportedMetric(
        "bits_per_byte",
        "bits per byte",
        "lower",
        "exact negative log-likelihood of the test text, in bits for each UTF-8 byte; comparable across tokenizers",
    ),
    ReportedMetric("bits_per_byte_bound", "bits per byte, any-order bound", "lower", f"{_ANY_ORDER}; {_NO_EXACT}"),
    ReportedMetric(
        "nll_per_token",
        "nats per token",
        "lower",
        "exact negative log-likelihood of a scored token; comparable under one tokenizer only",
    ),
    ReportedMetric("nll_per_token_bound", "nats per token, any-order bound", "lower", f"{_ANY_ORDER}; {_NO_EXACT}"),
    ReportedMetric(
        "masked_loss",
        "nats per token, masked loss",
        "",
        "loss over hidden ends of the targets, each cell "
        "predicted from the same beginning; it bounds no likelihood and compares with none",
    ),
    ReportedMetric("perplexity", "perplexity", "lower", "the exponential of nats per token"),
    ReportedMetric("accuracy", "accuracy", "higher", "share of examples with the right label"),
    ReportedMetric("macro_f1", "macro F1", "higher", "F1 averaged over labels, each counting the same"),
    ReportedMetric("exact_match", "exact match", "higher", "share of answers equal to the reference"),
    ReportedMetric("bleu", "BLEU", "higher", "overlap of word sequences with the reference, 0 to 100 (sacreBLEU)", 1),
    ReportedMetric(
        "chrf", "chrF", "higher", "overlap of character sequences with the reference, 0 to 100 (sacreBLEU)", 1
    ),
    ReportedMetric("rouge_1", "ROUGE-1", "higher", "words shared with the reference, F1"),
    ReportedMetric("rouge_2", "ROUGE-2", "higher", "pairs of neighbouring words shared with the reference, F1"),
    ReportedMetric("rouge_l", "ROUGE-L", "higher", "longest common subsequence of words with the reference, F1"),
    ReportedMetric(
        "stored_bits",
        "stored bits",
        "higher",
        "entropy of all strings minus their exact negative "
        "log-likelihood; below 0 for a model that is worse than knowing how strings are drawn",
        0,
    ),
    ReportedMetric(
        "repetition",
        "repetition",
        "",
        "share of an answer's sequences of four tokens (characters "
        "under a character tokenizer) that occurred in it before",
    ),
    ReportedMetric(
        "distinct_2",
        "distinct-2",
        "",
        "share of distinct pairs of neighbouring tokens (characters under a "
        "character tokenizer) among all pairs in the answers",
    ),
    ReportedMetric(
        "copied",
        "copied",
        "",
        "share of the answers' windows of at least 8 tokens (at least 20 bytes) that "
        "occur verbatim in the training text",
    ),
)
_KNOWN: Final = {metric.name: metric for metric in _METRICS}

_PRIMARY_ORDER: Final = {
    "generation": ("bits_per_byte", "nll_per_token"),
    "classification": ("accuracy", "macro_f1"),
    "translation": ("exact_match", "bits_per_byte", "chrf", "bleu"),
    "summarization": ("rouge_l", "bits_per_byte"),
    "memorization": ("stored_bits", "exact_match", "bits_per_byte"),
}


def metric(name: str) -> ReportedMetric:
    """The metric `name`; one that is unknown here has its own name and no direction."""
    return _KNOWN.get(name) or ReportedMetric(name, name.replace("_", " "), "", "a metric of this task")


def primary(kind: str, available: list[str]) -> str:
    """The metric that heads a task of this kind when its data set does not say; empty without scores."""
    usual = [name for name in _PRIMARY_ORDER.get(kind, ()) if name in available]
    return next(iter(usual + available), "")
