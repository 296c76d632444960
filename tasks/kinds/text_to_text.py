"""Text to text: translation and summarization, which differ in what answers are scored by and read against."""

from collections.abc import Callable
from dataclasses import dataclass

from archbench.tasks.base.values import Decoding, Outputs, Prepared, Reference, Score, TaskConfig
from archbench.tasks.builtin_data import builtin, plain_text
from archbench.tasks.metrics.intervals import likelihood_scores, text_score
from archbench.tasks.references.references import TextRows, copy_rows, lead_rows, likelihood_rows, nearest_rows


@dataclass(frozen=True)
class TextToText:
    """A kind of task whose examples are pairs of texts.

    ``metrics`` are those of its answers, ``rows`` the reference rows that answer too, ``primary`` names what it is
    judged by.
    """

    metrics: tuple[str, ...]
    rows: tuple[TextRows, ...]
    primary: Callable[[TaskConfig], str]

    def decoding(self, prepared: Prepared) -> Decoding:
        """Greedy for every example: one rule that all families can follow exactly."""
        return Decoding("greedy", max_tokens=prepared.config.target_length, count=len(prepared.test))

    def measure(self, prepared: Prepared, outputs: Outputs) -> list[Score]:
        """The metrics of the answers, likelihoods of the references."""
        kept = prepared.tokenizer.keeps(outputs.references)
        likelihoods = likelihood_scores(outputs.nats, outputs.tokens, outputs.bytes, outputs.bound_nats, kept)
        answers = outputs.answers
        wanted = outputs.references[: len(answers)]
        if not len(answers):
            return likelihoods
        return [*(text_score(name, wanted, answers) for name in self.metrics), *likelihoods]

    def references(self, prepared: Prepared) -> list[Reference]:
        """What answers without a model, an n-gram model and lzma."""
        answered = [row for rows in self.rows for row in rows(prepared, self.metrics)]
        return [*answered, *likelihood_rows(prepared)]


def _translated(config: TaskConfig) -> str:
    """``exact_match`` for generated phrases, ``bits_per_byte`` for the Bible (models of this size do not translate it
    well enough for the others to tell them apart), ``chrf`` elsewhere.

    Of data as plain text ``exact_match`` where there is one right answer, else ``bits_per_byte``.
    """
    data = config.data if isinstance(config.data, str) else ""
    if data.startswith(plain_text.PREFIX):
        kinds = builtin.find(plain_text.parse(data)[0]).kinds
        return "exact_match" if "classification" in kinds else "bits_per_byte"
    if data.startswith("phrases-"):
        return "exact_match"
    return "bits_per_byte" if data.startswith("bible-") else "chrf"


def _summarized(config: TaskConfig) -> str:
    """``rouge_l``: the field's, and the row that summaries must beat, the source's beginning, has no likelihood."""
    return "rouge_l"


TRANSLATION = TextToText(("exact_match", "bleu", "chrf"), (copy_rows, nearest_rows), _translated)
SUMMARIZATION = TextToText(("rouge_1", "rouge_2", "rouge_l"), (lead_rows, copy_rows, nearest_rows), _summarized)
