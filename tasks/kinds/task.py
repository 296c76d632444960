"""A task from end to end: prepared examples, decoding settings, metrics and baselines, whatever its kind.

The path of the data:

    raw_data    TaskConfig -> Dataset    texts of three splits: built-in data, the hub or files (data/sources.py)
    encode      Dataset -> arrays        a tokenizer and token ids, kept in the cache (data/prepare.py, text/encode.py)
    prepare     TaskConfig -> Prepared   opens the arrays in the cache; both steps run only where it lacks them
"""

from dataclasses import replace
from pathlib import Path

from archbench.tasks.base.dataset import Dataset
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import Baseline, Outputs, Prepared, Score, TaskConfig
from archbench.tasks.baselines.baselines import (
    copy_rows,
    majority_on_validation,
    nearest_rows,
    ngram_on_validation,
)
from archbench.tasks.data import sources
from archbench.tasks.data.prepare import encode
from archbench.tasks.kinds import classification, generation, own, pairs, registry, text_to_text
from archbench.tasks.metrics.builtin import TEXTS, text_score


def prepare(config: TaskConfig, cache: Path, say: Say = lambda line: None) -> Prepared:
    """The encoded task, made under ``cache`` the first time and reused while data and settings stay the same.

    ``say`` is called with a line before slow steps. Raises InputError where the data cannot be had or cannot serve the
    task.
    """
    kind = registry.of(config)
    read_as = registry.read_as(config)
    return encode(config, kind, cache, say, lambda: raw_data(config, cache, say), read_as)


def raw_data(config: TaskConfig, cache: Path, say: Say) -> Dataset:
    """The texts of a task, before any tokenizer. Raises InputError where they cannot be had."""
    if config.texts_of:
        kind = registry.find(config.texts_of, config.folder, f"tasks.{config.name}.kind")
        if kind.compares_texts:
            raise InputError(f"tasks.{config.name}.data: {kind.name} are tested on only; name a text to pretrain on")
        file = config.texts_of if registry.is_file(config.texts_of) else ""
        data = raw_data(replace(config, kind=kind.name, kind_file=file, texts_of=""), cache, say)
        return data if kind.form == "running text" else sources.rows_as_text(data, kind.form == "labels")
    kind = registry.of(config)
    return sources.load(
        kind,
        config.data,
        cache,
        say,
        columns=config.columns,
        encoding=config.encoding,
        folder=config.folder,
        where=f"tasks.{config.name}",
        builtin_kind=registry.builtin_kind(kind, config.data),
    )


def decoding(prepared: Prepared) -> Decoding:
    """How every model answers this task, and how many examples."""
    kind = registry.of(prepared.config)
    if kind.origin and kind.decoding is not None:
        return own.decoding(kind, prepared)
    usual = _like(kind)
    return (kind.decoding or (usual and usual.decoding) or text_to_text.decoding)(prepared)


def measure(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """The metrics of the task's kind, each with its 95% bootstrap interval over examples.

    Of a kind that is not archbench's own only the likelihoods, which no edit of it changes; the rest is
    ``scores_by_kind``.
    """
    kind = registry.of(prepared.config)
    if kind.measure is not None and not kind.origin:
        return kind.measure(prepared, outputs)
    return _usual(kind, prepared, replace(outputs, answers=(), answer_ids=()) if kind.origin else outputs)


def has_bits_per_byte(prepared: Prepared) -> bool:
    """True if ``measure`` scores the test examples in bits per byte, whatever the model."""
    kind, test = registry.of(prepared.config), prepared.test
    is_scored = kind.form != "labels" and not kind.compares_texts
    return is_scored and prepared.tokenizer.is_lossless(test.target_text(i) for i in range(len(test)))


def scores_by_kind(prepared: Prepared, outputs: Outputs) -> list[Score]:
    """The scores of the test examples by a kind that is not archbench's own: those of its ``measure`` or its form.

    Raises ``InputError`` where ``measure`` fails or returns something else.
    """
    kind = registry.of(prepared.config)
    return _usual(kind, prepared, outputs) if kind.measure is None else own.measure(kind, prepared, outputs)


def _usual(kind: TaskKind, prepared: Prepared, outputs: Outputs) -> list[Score]:
    """The scores that a kind of this form has by default."""
    usual = _like(kind)
    scores = ((usual and usual.measure) or text_to_text.measured_by(kind.metrics))(prepared, outputs)
    return _with_missing_metrics(kind, prepared, outputs, scores)


def _with_missing_metrics(kind: TaskKind, prepared: Prepared, outputs: Outputs, scores: list[Score]) -> list[Score]:
    """Scores the answers by the metrics of the kind that ``scores`` lacks, and puts these first."""
    answers, names = outputs.answers, {score.metric for score in scores}
    if not len(answers) or not prepared.config.source_length:
        return scores
    wanted = outputs.references[: len(answers)]
    return [*(text_score(name, wanted, answers) for name in kind.metrics if name not in names), *scores]


def baselines(prepared: Prepared) -> list[Baseline]:
    """Scores of classical methods on the same test examples."""
    kind = registry.of(prepared.config)
    if kind.origin and kind.baselines is not None:
        return own.baselines(kind, prepared)
    of_texts = [name for name in kind.metrics if name in TEXTS]  # others only ``measure`` can compute
    usual, from_source = _like(kind), text_to_text.baselines_by(of_texts, copy_rows, nearest_rows)
    return (kind.baselines or (usual and usual.baselines) or from_source)(prepared)


def _like(kind: TaskKind) -> TaskKind | None:
    """The built-in kind whose functions a kind of this form has by default; None of texts with a source."""
    if kind.form == "running text":
        return pairs.KIND if kind.compares_texts else generation.KIND
    return classification.KIND if kind.form == "labels" else None


def bar(prepared: Prepared) -> Baseline:
    """The classical method, in nats per token of validation targets, that a model which learned is better than."""
    labels = registry.of(prepared.config).form == "labels"
    return majority_on_validation(prepared) if labels else ngram_on_validation(prepared)
