"""From a task's raw data to its encoded examples, made once and reused while data and settings stay the same.

Encoded data are found by a key that can be computed before the raw data are loaded: the settings, and the version of
built-in data or the SHA-256 of the user's files. The digest of a prepared task is that of its content.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archbench.tasks.base import sealed
from archbench.tasks.base.dataset import SPLITS, Dataset, Table, Text
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import END, UNK
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.progress import Say
from archbench.tasks.base.random_order import seeded_order
from archbench.tasks.base.values import Examples, Prepared, TaskConfig
from archbench.tasks.data import files, sources
from archbench.tasks.text.arrays import ArrayWriter, open_arrays, writing
from archbench.tasks.text.encode import (
    PARTS,
    PairEncoding,
    read_pairs,
    read_windows,
    text_pieces,
    token_type,
    write_pairs,
    write_text,
)
from archbench.tasks.text.splits import PairExamples, Subset, Windows
from archbench.tasks.text.tokenizers import (
    Tokenizer,
    from_library_json,
    load_tokenizer,
    train_tokenizer,
    training_sample,
)

SCHEMA = 1  # raised whenever the same settings would be encoded otherwise
ARRAYS = 3  # raised whenever the same examples are stored otherwise
_SUBSET = 0x74657374  # seeds the choice of test examples and of few training and validation examples
LoadRaw = Callable[[], Dataset]


def encode(
    config: TaskConfig, kind: TaskKind, cache: Path, say: Say, load_raw: LoadRaw, read_as: list[Any]
) -> Prepared:
    """The encoded task. The first time, ``load_raw()`` is called and a tokenizer is trained on the training split.

    ``read_as`` is what a kind that is not archbench's own decides of the raw data. Raises InputError where the data
    cannot be had or cannot serve the task.
    """
    name = key(config, kind, read_as)
    folder = cache / "encoded" / name
    encoded = open_arrays(folder)
    if encoded is None:
        say(f"{config.name}: encoding with a {config.tokenizer} tokenizer")
        with writing(folder) as writer:
            write(writer, load_raw(), config, kind)
            if key(config, kind, read_as) != name:
                raise InputError(f"tasks.{config.name}.data: changed while it was read; run the same command again")
        encoded = open_arrays(folder)
        assert encoded is not None, f"{folder} was damaged while it was written"
    return _prepared(config, kind, *encoded)


def key(config: TaskConfig, kind: TaskKind, read_as: list[Any]) -> str:
    """The name of the encoded data in the cache, found without loading the raw data."""
    settings = (kind.encoded_as, dict(config.columns), config.encoding, config.tokenizer, config.vocabulary)
    known = [SCHEMA, ARRAYS, *read_as, *settings, config.source_length, config.target_length, version(config)]
    for file in filter(None, (config.pretrained, config.shared_tokenizer)):
        known.append(Path(file).read_text(encoding="utf-8"))
    known += [config.sentinels] if config.sentinels else []
    return sealed.digest([*known, {"texts of": config.texts_of}] if config.texts_of else known)


def write(writer: ArrayWriter, raw: Dataset, config: TaskConfig, kind: TaskKind) -> None:
    """Encodes the three splits. Raises InputError where a split is empty or leaves no example."""
    splits = {name: getattr(raw, name) for name in SPLITS}
    _check_filled(config, {"test": raw.test} if kind.compares_texts else splits)
    tokenizer = _tokenizer(config, kind, raw)
    notes = dict(raw.notes)
    for name, split in splits.items():
        counts = _write_split(writer, name, split, tokenizer, config, kind)
        notes |= {f"{name}_{count}": value for count, value in counts.items()}
    for name, table in raw.slices.items():
        _write_split(writer, name, table, tokenizer, config, kind)
    writer.facts |= {
        "tokenizer": tokenizer.to_json(),
        "digest": raw.digest,
        "licence": raw.licence,
        "origin": raw.origin,
        "pairs": isinstance(raw.train, Table),
        "notes": notes,
        **({"slices": list(raw.slices)} if raw.slices else {}),
    }


def answer_tokens(tokenizer: Tokenizer, kind: TaskKind, ends: bool) -> NDArray[np.bool_]:
    """True at the tokens (v,) that an answer may use: labels, or text and END.

    UNK is allowed if texts may have unknown pieces: otherwise such targets would be impossible.
    """
    if kind.form == "labels":
        allowed_tokens = np.zeros(tokenizer.vocabulary, np.bool_)
        allowed_tokens[list(tokenizer.label_ids)] = True
        return allowed_tokens
    allowed_tokens = tokenizer.writable
    allowed_tokens[END] = ends
    return allowed_tokens


def _write_split(
    writer: ArrayWriter, name: str, split: Text | Table, tokenizer: Tokenizer, config: TaskConfig, kind: TaskKind
) -> dict[str, int]:
    if isinstance(split, Text):
        counts = write_text(writer, name, split, tokenizer)
        if split.bytes:
            _check_windows(config, name, counts["tokens"])
        return counts
    if kind.compares_texts:
        return _write_texts(writer, name, split, tokenizer, config)
    encoding = PairEncoding(config.source_length, config.target_length, labels=kind.form == "labels")
    counts = write_pairs(writer, name, split, tokenizer, encoding)
    _check_pairs(config, name, len(split), counts)
    return counts


def _write_texts(
    writer: ArrayWriter, name: str, split: Table, tokenizer: Tokenizer, config: TaskConfig
) -> dict[str, int]:
    """Writes whole texts, and counts rows with one that is longer than a target."""
    pieces = text_pieces(split.targets, split.rows, tokenizer, config.source_length, config.target_length)
    for part in PARTS:
        values = getattr(pieces, part)
        writer.append(f"{name}.{part}", values.astype(token_type(tokenizer)) if part == "tokens" else values)
    unknown = pieces.gather(np.arange(len(pieces)))[1] == UNK
    further = np.unique(pieces.rows[pieces.source_lengths > 0])
    return {"unknown_tokens": int(unknown.sum()), "rows_with_a_text_in_pieces": len(further)}


def _prepared(
    config: TaskConfig, kind: TaskKind, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]
) -> Prepared:
    tokenizer = load_tokenizer(facts["tokenizer"])
    lengths = config.source_length, config.target_length
    tables = SPLITS if facts["pairs"] else SPLITS[2:] if kind.compares_texts else ()
    train, validation, test = (
        read_pairs(arrays, name) if name in tables else read_windows(arrays, name, *lengths) for name in SPLITS
    )
    ends = kind.form != "labels" and (facts["pairs"] or config.source_length > 0)
    content = [SCHEMA, kind.encoded_as, facts["digest"], tokenizer.digest, *lengths, config.test_examples]
    if config.examples and config.draw_seed is None:
        content.append({"examples": config.examples})
        train = _few(config, "examples", train, config.examples)
    prepared = Prepared(
        config=config,
        kind=config.kind,
        name=config.name,
        tokenizer=tokenizer,
        train=train,
        validation=validation,
        test=Subset(test, _tested(kind, test, config.test_examples)),
        allowed_tokens=answer_tokens(tokenizer, kind, ends),
        ends=ends,
        digest=sealed.digest(content),
        licence=facts["licence"],
        origin=facts["origin"],
        notes=facts["notes"],
        slices={name: read_pairs(arrays, name) for name in facts.get("slices", ())},
    )
    return prepared if config.draw_seed is None else drawn(prepared, config)


def drawn(whole: Prepared, config: TaskConfig) -> Prepared:
    """``whole``, which has all examples, with those that ``config`` draws for training and validation.

    As many for validation as for training may be more than there are; then it is all of them. Raises ``InputError``.
    """
    count = config.validation_examples or len(whole.validation)
    if count == config.examples:
        count = min(count, len(whole.validation))
    train = _few(config, "examples", whole.train, config.examples)
    validation = _few(config, "validation_examples", whole.validation, count)
    said = {"examples": len(train), "validation_examples": len(validation), "draw": config.draw_seed}
    digest = sealed.digest([whole.digest, said])
    return replace(whole, config=config, train=train, validation=validation, digest=digest)


def _few(config: TaskConfig, key: str, split: Examples, count: int) -> PairExamples:
    """The first ``count`` pairs of a random order, which only ``draw_seed`` changes; more are a superset of fewer."""
    if not isinstance(split, PairExamples):
        raise InputError(f"tasks.{config.name}.{key}: running text has no examples to count; give tokens or epochs")
    if count > len(split):
        name = "training" if key == "examples" else "validation"
        expected = f"expected at most the {len(split):,} {name} examples"
        raise InputError(f"tasks.{config.name}.{key}: {count:,}: {expected}")
    return split.take(_chosen(len(split), count, *([] if config.draw_seed is None else [config.draw_seed])))


def _tested(kind: TaskKind, test: PairExamples | Windows, count: int) -> NDArray[np.int64]:
    """The test examples: a subset that never changes, for a table of a user's kind in the order of its rows.

    Kinds of archbench keep the random order: their first examples are a sample, and published numbers depend on it.
    Texts that are compared are those of ``count`` rows, in the order of the file.
    """
    if kind.compares_texts:
        rows = np.unique(test.rows)
        return np.flatnonzero(np.isin(test.rows, rows[_chosen(len(rows), count)]))
    chosen = _chosen(len(test), count)
    return np.sort(chosen) if kind.origin and kind.form != "running text" else chosen


def _chosen(size: int, count: int, *seed: int) -> NDArray[np.int64]:
    """The first ``count`` of ``size`` examples in a random order that never changes, or that a seed decides."""
    return seeded_order(size, [_SUBSET, size, *seed])[:count]


def _tokenizer(config: TaskConfig, kind: TaskKind, raw: Dataset) -> Tokenizer:
    train = raw.train
    labels = _labels(config, kind, train) if kind.form == "labels" and isinstance(train, Table) else []
    if config.tokenizer == "pretrained":
        return from_library_json(Path(config.pretrained).read_text(encoding="utf-8"), labels)
    labels = labels or [f"<{number}>" for number in range(config.sentinels)]
    if config.shared_tokenizer:
        return load_tokenizer(Path(config.shared_tokenizer).read_text(encoding="utf-8")).relabelled(labels)
    texts, size = ([raw.vocabulary], len(raw.vocabulary)) if raw.vocabulary else training_texts(kind, train)
    sample = texts if config.tokenizer == "char" else training_sample(texts, size)
    try:
        return train_tokenizer(config.tokenizer, sample, config.vocabulary, labels)
    except InputError as error:
        raise InputError(f"tasks.{config.name}.{error}") from error


def training_texts(kind: TaskKind, train: Text | Table) -> tuple[Iterator[str], int]:
    """The texts that the tokenizer is trained on, and their size: of labelled examples only the sources."""
    if isinstance(train, Text):
        return train.chunks(), train.bytes
    columns = [train.sources] if kind.form == "labels" else [train.sources, train.targets]
    return chain.from_iterable(zip(*columns, strict=True)), sum(len(text) for column in columns for text in column)


def _labels(config: TaskConfig, kind: TaskKind, train: Table) -> list[str]:
    labels = sorted(set(train.targets))
    if len(labels) < 2:
        raise InputError(
            f'tasks.{config.name}.columns: every training example has the label "{labels[0]}"; '
            f"{kind.name} needs at least two, name another label column"
        )
    return labels


def _check_filled(config: TaskConfig, splits: Mapping[str, Text | Table]) -> None:
    for name, split in splits.items():
        if not (split.bytes if isinstance(split, Text) else len(split)):
            raise InputError(f"tasks.{config.name}.data: the {name} split is empty; give one with text in it")


def _check_windows(config: TaskConfig, split: str, tokens: int) -> None:
    context = config.source_length + config.target_length
    needed = (2 if split == "train" else 1) * (context - (config.source_length > 0))
    if tokens < needed:
        raise InputError(
            f"tasks.{config.name}.context: {context} is too long: the {split} split has {tokens:,} tokens and needs "
            f"{needed:,}; lower context or give more text"
        )


def _check_pairs(config: TaskConfig, split: str, rows: int, counts: Mapping[str, int]) -> None:
    if counts["excluded_targets"] == rows:
        raise InputError(
            f"tasks.{config.name}.target_length: {config.target_length} excludes all {rows:,} examples of the {split} "
            f"split; the longest target has {counts['longest_target']} tokens with END, set target_length to that"
        )
    if counts["unseen_labels"] == rows:
        raise InputError(
            f"tasks.{config.name}.columns: no label of the {split} split is one of the training split's; "
            "name the column with the same labels, or write them alike"
        )


def raw_data_identity(config: TaskConfig) -> list[Any]:
    """Plain values that are equal for tasks with the same raw data, found without loading them."""
    return [config.kind, config.texts_of, dict(config.columns), config.encoding, version(config)]


def version(config: TaskConfig) -> Any:
    """Changes whenever the data do: SHA-256 of the user's files, the version of built-in data, the hub's name.

    A hub name without a commit stands for the version that was read first.
    """
    data = config.data
    try:
        if isinstance(data, str):
            is_file = not data.startswith("hub:") and sources.is_file(data, Path(config.folder))
            return _content(config, data) if is_file else [data, sources.name_version(data)]
        named = {split: [names] if isinstance(names, str) else names for split, names in data.items()}
        return {split: [_content(config, name) for name in names] for split, names in named.items()}
    except InputError as error:
        raise InputError(f"tasks.{config.name}.{error}") from error


def _content(config: TaskConfig, name: str) -> list[str]:
    path = files.existing(name, Path(config.folder))
    digest = sealed.sha256(path)
    revision = files.REVISIONS.get(path.suffix.lower())
    return [path.suffix, digest] if revision is None else [f"{path.suffix} {revision}", digest]
