"""Baselines: scores of classical methods on the same test examples."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base.values import Baseline, Prepared
from archbench.tasks.baselines import token_ngrams
from archbench.tasks.baselines.ngram import LIMIT, lzma_bits, ngram_bits, train_ngram
from archbench.tasks.metrics import rouge
from archbench.tasks.metrics.builtin import BUILTIN
from archbench.tasks.text.splits import PairExamples, Subset, Windows

VERSION = 4  # raise when a row would be computed otherwise, or another is added: finished comparisons make theirs again
ROWS = 100_000  # training examples that are read, spread evenly
MEMORY = 1 << 24  # characters of training sources among which the nearest is searched
SAMPLE = 10_000  # training examples whose lengths are measured
LZMA_LIMIT = 1_000_000  # bytes of training text that lzma reads, its last ones
STRENGTHS = (1.0, 10.0)  # inverse regularisation; the better on validation is taken
WORD = r"(?u)\w+|[^\w\s]"
TextRows = Callable[[Prepared, Sequence[str]], list[Baseline]]  # answers to the test sources, by metrics of texts
_END = b"\xff"  # stands for END: never part of UTF-8
_BLOCK = 256


def likelihood_rows(prepared: Prepared) -> list[Baseline]:
    """``ngram``, ``lzma``, ``unigram`` and ``bigram``: bits per byte of the test targets.

    The first two are over bytes and read at most 4 MB and 1 MB of training text. For running text the n-gram model
    predicts each target after its source; for pairs it reads the training targets and never sees a source. Where
    targets vary in length, their end costs bits too, as it does for models. ``lzma`` compresses all test targets
    together after the training text: later ones profit from earlier ones. ``unigram`` and ``bigram`` are over the
    task's tokens and never see a source. They are omitted where decoding does not give back the texts, as are bits per
    byte of models.
    """
    test = prepared.test
    assert isinstance(test, Subset)
    size = int(test.target_bytes.sum())
    text = _training_text(prepared.train)
    targets, contexts = _targets_and_contexts(test)
    values = {
        "ngram": float(ngram_bits(train_ngram(text), targets, contexts).sum()),
        "lzma": lzma_bits(text[-LZMA_LIMIT:], b"".join(targets)),
    }
    if prepared.tokenizer.is_lossless(_targets(test)):
        values |= token_ngrams.bits(prepared)
    return [Baseline(name, "test", "bits_per_byte", bits / size) for name, bits in values.items()]


def validation_bits(prepared: Prepared, texts: Sequence[bytes], contexts: Sequence[bytes]) -> NDArray[np.float64]:
    """Bits of each text after its context, (n,), under an n-gram model of the validation text's last 4 MB."""
    validation = prepared.validation
    assert isinstance(validation, PairExamples | Windows)
    return ngram_bits(train_ngram(validation.text[-LIMIT:].tobytes()), texts, contexts)


def training_bits(prepared: Prepared) -> NDArray[np.float64]:
    """Bits of each test text after its source, (n,), under an n-gram model of the training text."""
    test = prepared.test
    assert isinstance(test, Subset)
    targets, contexts = zip(*((test.target_raw(i), test.source_raw(i)) for i in range(len(test))), strict=True)
    return ngram_bits(train_ngram(_training_text(prepared.train)), targets, contexts)


def ngram_on_validation(prepared: Prepared) -> Baseline:
    """``ngram``: nats per token of validation targets; its bits are over bytes, and so the same for every tokenizer."""
    examples = prepared.validation
    assert isinstance(examples, PairExamples | Windows)
    chosen = Subset(examples, _spread(len(examples), SAMPLE))
    model = train_ngram(_training_text(prepared.train))
    nats = float(ngram_bits(model, *_targets_and_contexts(chosen)).sum()) * math.log(2)
    return Baseline("ngram", "validation", "nll_per_token", nats / int(chosen.target_lengths.sum()))


def majority_on_validation(prepared: Prepared) -> Baseline:
    """``majority``: nats of validation labels under the frequencies of the training labels."""
    names, counts = np.unique(_targets(prepared.train, _spread(len(prepared.train))), return_counts=True)
    nats = dict(zip(names.tolist(), (-np.log(counts / counts.sum())).tolist(), strict=True))
    wanted = [nats[label] for label in _targets(prepared.validation) if label in nats]
    return Baseline("majority", "validation", "nll_per_token", float(np.mean(wanted)) if wanted else math.inf)


def majority_rows(prepared: Prepared) -> list[Baseline]:
    """``majority``: always the most frequent label; its likelihood is that of the labels' frequencies."""
    wanted, labels = _targets(prepared.test), _targets(prepared.train, _spread(len(prepared.train)))
    names, counts = np.unique(labels, return_counts=True)
    chances = np.broadcast_to(counts / counts.sum(), (len(wanted), len(names)))
    return _label_rows("majority", wanted, names, chances)


def tfidf_logistic_rows(prepared: Prepared) -> list[Baseline]:
    """``tfidf_logistic``: TF-IDF of words and pairs of words with logistic regression (scikit-learn).

    The strength of the regularisation is chosen on validation.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    chosen = _spread(len(prepared.train))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD)
    features = vectorizer.fit_transform(_sources(prepared.train, chosen))
    labels = _targets(prepared.train, chosen)
    validation = vectorizer.transform(_sources(prepared.validation))
    models = [LogisticRegression(C=strength, max_iter=1000).fit(features, labels) for strength in STRENGTHS]
    correct = [float(np.mean(model.predict(validation) == _targets(prepared.validation))) for model in models]
    best = models[int(np.argmax(correct))]
    chances = best.predict_proba(vectorizer.transform(_sources(prepared.test)))
    return _label_rows("tfidf_logistic", _targets(prepared.test), best.classes_, chances)


def copy_rows(prepared: Prepared, names: Sequence[str]) -> list[Baseline]:
    """``copy``: the source itself."""
    return _text_rows("copy", names, _targets(prepared.test), _sources(prepared.test))


def lead_rows(prepared: Prepared, names: Sequence[str]) -> list[Baseline]:
    """``lead``: the source's first words, as many as training targets have in the median.

    The length is in words, not sentences: it fits the targets and needs no sentence splitter.
    """
    lengths = [len(rouge.words(text)) for text in _targets(prepared.train, _spread(len(prepared.train), SAMPLE))]
    count = max(1, round(float(np.median(lengths))))
    answers = [rouge.lead(text, count) for text in _sources(prepared.test)]
    return _text_rows("lead", names, _targets(prepared.test), answers)


def nearest_rows(prepared: Prepared, names: Sequence[str]) -> list[Baseline]:
    """``nearest``: the target of the training source that is most similar by TF-IDF (a translation memory).

    Searches evenly spread sources of about `MEMORY` characters in all: fewer documents than sentences.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    size = len(prepared.train)
    length = float(np.mean([len(text) for text in _sources(prepared.train, _spread(size, SAMPLE))]))
    chosen = _spread(size, max(1, min(ROWS, int(MEMORY / length))))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=WORD)
    memory = vectorizer.fit_transform(_sources(prepared.train, chosen)).T.tocsr()
    queries = vectorizer.transform(_sources(prepared.test))
    blocks = [queries[start : start + _BLOCK] @ memory for start in range(0, queries.shape[0], _BLOCK)]
    nearest = np.concatenate([np.asarray(block.argmax(axis=1)).ravel() for block in blocks])
    answers = _targets(prepared.train, chosen[nearest])
    return _text_rows("nearest", names, _targets(prepared.test), answers)


def _label_rows(
    name: str, wanted: Sequence[str], classes: NDArray[Any], chances: NDArray[np.float64]
) -> list[Baseline]:
    """Accuracy and macro F1 of the likeliest classes, nats of the right one where training knew it."""
    answers = [str(label) for label in classes[chances.argmax(axis=1)]]
    columns = {str(label): index for index, label in enumerate(classes)}
    nats = [
        -math.log(max(row[columns[label]], 1e-300))
        for row, label in zip(chances, wanted, strict=True)
        if label in columns
    ]
    rows = _text_rows(name, ("accuracy", "macro_f1"), wanted, answers)
    return rows + ([Baseline(name, "test", "nll_per_token", float(np.mean(nats)))] if nats else [])


def _text_rows(name: str, names: Sequence[str], wanted: Sequence[str], answers: Sequence[str]) -> list[Baseline]:
    return _rows(name, {metric: BUILTIN[metric].value(wanted, answers) for metric in names})


def _rows(name: str, values: Mapping[str, float]) -> list[Baseline]:
    return [Baseline(name, "test", metric, value) for metric, value in values.items()]


def _training_text(train: Any) -> bytes:
    """The last running text, or the last targets, that models over bytes read."""
    return train.text[-LIMIT:].tobytes() if isinstance(train, Windows) else _target_stream(train)


def _targets_and_contexts(subset: Subset) -> tuple[list[bytes], list[bytes]]:
    """Targets for models over bytes, and contexts: for running text its source; for pairs none, and an end is added."""
    indices = range(len(subset))
    targets = [subset.target_raw(index) for index in indices]
    if isinstance(subset.examples, Windows):
        return targets, [subset.source_raw(index) for index in indices]
    return [target + _END for target in targets], [_END] * len(subset)


def _target_stream(train: PairExamples) -> bytes:
    """The last training targets in order, each between two ends."""
    count = int(np.searchsorted(np.cumsum(train.target_bytes[::-1] + 1), LIMIT, side="right"))
    targets = [train.target_raw(index) for index in range(len(train) - max(1, count), len(train))]
    return _END + b"".join(target + _END for target in targets)


def _spread(size: int, rows: int = ROWS) -> NDArray[np.int64]:
    """At most ``rows`` of ``size`` indices, evenly spread."""
    return np.unique(np.linspace(0, size - 1, min(size, rows)).astype(np.int64))


def _sources(examples: Any, indices: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
    return [examples.source_text(int(index)) for index in (range(len(examples)) if indices is None else indices)]


def _targets(examples: Any, indices: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
    return [examples.target_text(int(index)) for index in (range(len(examples)) if indices is None else indices)]
