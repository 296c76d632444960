"""Turns an experiment's ``data`` into three splits: built-in names, the hub and the user's files.

A missing validation or test split is taken from train, 5% each: text from its end, tables by a fixed seed. Rows with
identical sources stay in the same split; so do rows with identical targets if targets are texts.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from archbench.tasks.base.dataset import SPLITS, Dataset, Table, Text, make_dataset, seen_in_train, text_in_memory
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.groups import components, sides
from archbench.tasks.base.kind import TaskKind
from archbench.tasks.base.progress import Say
from archbench.tasks.base.values import every_column
from archbench.tasks.builtin_data import builtin
from archbench.tasks.data import files, hub

Data = str | Mapping[str, str | Sequence[str]]
SHARE = 0.05
LONG_LINE = 40  # characters; a test line at least this long counts as seen if train contains it
UNKNOWN = "as given by its owner; not checked"


def load(
    kind: TaskKind,
    data: Data,
    cache: Path,
    say: Say,
    *,
    columns: Mapping[str, str | list[str]] | None = None,
    encoding: str = "utf-8",
    folder: str | Path = ".",
    where: str = "tasks",
    builtin_kind: str | None = None,
    open_hub: hub.Open = hub.open_hub,
) -> Dataset:
    """The three splits of ``data`` for a kind of task.

    ``data`` is a built-in name, ``hub:owner/name``, a file, or files by split (parallel text as a list of two).
    Relative paths start at the experiment's ``folder``. ``where`` names the task in messages (``tasks.trec``).
    ``builtin_kind`` is the kind that built-in data are made for, by default ``kind``. Raises a one-line ``InputError``.
    """
    try:
        named = _columns(kind, columns or {})
        if not is_accepted(kind, data):
            raise InputError(f'data: {kind.name} accepts only "{kind.only_data}"; set data to that')
        if kind.compares_texts:
            return _compared(kind, data, Path(folder), encoding, named)
        if isinstance(data, str) and data.startswith("hub:"):
            return _from_hub(kind, open_hub(hub.parse(data)), named)
        if isinstance(data, str) and not is_file(data, Path(folder)):
            return builtin.load(data, builtin_kind or kind.name, cache, say)
        return _from_files(kind, data, Path(folder), encoding, named)
    except InputError as error:
        raise InputError(f"{where}.{error}") from error


def rows_as_text(data: Dataset, labels: bool) -> Dataset:
    """The texts of a table's rows as running text, a line each: sources, and targets where they are not ``labels``."""
    splits = []
    for name in SPLITS:
        table = getattr(data, name)
        assert isinstance(table, Table)
        rows = zip(table.sources, table.targets, strict=True)
        lines = [" ".join(part.split()) for row in rows for part in (row[:1] if labels else row)]
        splits.append(text_in_memory("".join(f"{line}\n" for line in lines)))
    return make_dataset("generation", *splits, licence=data.licence, origin=data.origin)


def name_version(name: str) -> str | None:
    """A text that changes whenever the data of a built-in or hub name do, found without reading them.

    None for a hub name without a full commit: only reading the data could tell.
    """
    if name.startswith("hub:"):
        revision = hub.parse(name).revision or ""
        return f"{name} []" if len(revision) == 40 else None  # "[]" is in the keys of data that are encoded already
    return f"{name} {builtin.find(name).version}"


def is_accepted(kind: TaskKind, data: Data) -> bool:
    """False where the kind takes only built-in data and these are not; which of those serve it, ``builtin`` knows."""
    return not kind.only_data or (isinstance(data, str) and builtin.is_builtin(data))


def is_file(data: str, folder: Path) -> bool:
    """True if ``data`` is a file: not a built-in name, and with a suffix or folder in its name, or existing."""
    if builtin.is_builtin(data):
        return False
    return bool(Path(data).suffix) or "/" in data or os.path.exists(folder / data)


def _columns(kind: TaskKind, columns: Mapping[str, str | list[str]]) -> tuple[str, ...]:
    """The names of a kind's columns, source before target; the last one may be several."""
    wanted = kind.columns
    for key in columns:
        if key not in wanted:
            raise InputError(f'columns: {kind.name} has no "{key}"; it takes {" and ".join(wanted)}')
    return tuple(every_column({key: columns.get(key, key) for key in wanted}))


def _from_hub(kind: TaskKind, source: hub.Source, columns: tuple[str, ...]) -> Dataset:
    if kind.form == "running text":
        return _finished_text(kind, _hub_text(hub.read_texts(source, columns[0])), source.origin)
    splits: dict[str, Table] = hub.read_tables(source, (columns[0], columns[1]))
    if "train" not in splits:
        raise InputError(f'data: no row of train in {source.origin} has a "{columns[1]}"; name another column')
    return _finished_table(kind, splits, source.origin, dict.fromkeys(splits, source.origin))


def _hub_text(splits: dict[str, hub.Rows]) -> dict[str, Text]:
    """Missing splits are the last rows of train."""
    if "train" not in splits:
        raise InputError("data: the train split has no rows")
    missing = [split for split in SPLITS[1:] if split not in splits]
    train = splits["train"]
    size = max(1, round(SHARE * train.stop)) if missing else 0
    if train.stop <= size * len(missing):
        raise InputError("data: train is too short to split off validation and test")
    stop = train.stop - size * len(missing)
    parts = {**splits, "train": hub.Rows(train.table, train.column, 0, stop)}
    for split in missing:
        parts[split] = hub.Rows(train.table, train.column, stop, stop + size)
        stop += size
    return {split: hub.measured(rows) for split, rows in parts.items()}


def _from_files(kind: TaskKind, data: Data, folder: Path, encoding: str, columns: tuple[str, ...]) -> Dataset:
    by_split = _by_split(data)
    paths = {split: [files.existing(name, folder) for name in names] for split, names in by_split.items()}
    names = {split: ", ".join(path.name for path in files_of_split) for split, files_of_split in paths.items()}
    origin = ", ".join(names.values())
    for files_of_split in paths.values():
        wanted = (".txt",) if kind.form == "running text" else files.TABLES
        _check_form(kind.name, files_of_split, wanted, parallel=kind.form == "pairs")
    if kind.form == "running text":
        return _finished_text(
            kind, _file_text({split: files_of_split[0] for split, files_of_split in paths.items()}, encoding), origin
        )
    splits = {split: _read_table(files_of_split, encoding, columns) for split, files_of_split in paths.items()}
    return _finished_table(kind, splits, origin, names)


def _compared(kind: TaskKind, data: Data, folder: Path, encoding: str, columns: tuple[str, ...]) -> Dataset:
    """Rows of texts, the better one first, to test on; a text to train on where one is given, else an empty one."""
    given = _named({"test": data} if isinstance(data, str) else data)
    for split, needed in (("validation", "train"), ("test", "test")):
        if needed not in given and (split in given or split == needed):
            raise InputError(f"data: {needed} is missing; name its file")
    paths = {split: [files.existing(name, folder) for name in names] for split, names in given.items()}
    for split, of_split in paths.items():
        _check_form(kind.name, of_split, files.TABLES if split == "test" else (".txt",), parallel=split == "test")
    rows = _read_rows(paths.pop("test"), encoding, columns)
    kept = {number: row for number, row in enumerate(rows) if all(row)}
    if not kept:
        raise InputError(f"data: test ({', '.join(given['test'])}) has no row in which all texts are filled in")
    texts = {split: text_in_memory() for split in SPLITS[:2]}
    if paths:
        texts = _file_text({split: of_split[0] for split, of_split in paths.items()}, encoding, SPLITS[:2])
    flat = [(text, number) for number, row in kept.items() for text in row]
    test = Table([""] * len(flat), [text for text, _ in flat], [number for _, number in flat])
    notes = {
        "empty_rows_dropped": len(rows) - len(kept),
        "test_rows_of_equal_texts": sum(len(set(row)) == 1 for row in kept.values()),
    }
    origin = ", ".join(Path(name).name for names in given.values() for name in names)
    return make_dataset(
        kind.name, texts["train"], texts["validation"], test, licence=UNKNOWN, origin=origin, notes=notes
    )


def _by_split(data: Data) -> dict[str, list[str]]:
    given = _named({"train": data} if isinstance(data, str) else data)
    if "train" not in given:
        raise InputError("data: train is missing; name at least the training file")
    return given


def _named(data: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """The names of the files of each split."""
    for split in data:
        if split not in SPLITS:
            near = get_close_matches(split, SPLITS, 1)
            raise InputError(f'data: unknown split "{split}"' + (f'; did you mean "{near[0]}"?' if near else ""))
    return {split: [value] if isinstance(value, str) else list(value) for split, value in data.items()}


def _check_form(kind: str, paths: list[Path], wanted: tuple[str, ...], parallel: bool) -> None:
    """Raises ``InputError`` for files of a split that a kind of task cannot read; ``parallel``: or two texts."""
    suffix = paths[0].suffix.lower() if paths else ""
    if len(paths) == 2 and parallel:
        return
    if len(paths) != 1:
        raise InputError(f"data: {kind} reads one file for each split{' or two parallel texts' * parallel}")
    if suffix not in wanted:
        also = ', or two parallel texts as ["a.de", "a.en"]' if parallel else ""
        raise InputError(f'data: {kind} cannot read "{paths[0].name}"; it reads {", ".join(wanted)}{also}')


def _file_text(paths: dict[str, Path], encoding: str, splits: Sequence[str] = SPLITS) -> dict[str, Text]:
    """Missing ones of ``splits`` are taken from the end of train."""
    missing = [split for split in splits[1:] if split not in paths]
    if not missing:
        return {split: files.read_text(path, encoding) for split, path in paths.items()}
    shares = (1 - SHARE * len(missing), *(SHARE for _ in missing))
    parts = dict(zip(["train", *missing], files.cut(paths["train"], encoding, shares), strict=True))
    return parts | {split: files.read_text(paths[split], encoding) for split in splits[1:] if split in paths}


def _read_table(paths: list[Path], encoding: str, columns: tuple[str, ...]) -> Table:
    if len(paths) == 2:
        return files.read_parallel(paths[0], paths[1], encoding)
    return files.read_table(paths[0], encoding, (columns[0], columns[1]))


def _read_rows(paths: list[Path], encoding: str, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    if len(paths) == 1:
        return files.read_rows(paths[0], encoding, columns)
    table = files.read_parallel(paths[0], paths[1], encoding)
    return list(zip(table.sources, table.targets, strict=True))


def _finished_text(kind: TaskKind, splits: dict[str, Text], origin: str) -> Dataset:
    notes = {"test_lines_seen_in_train": _seen_lines(splits["train"], splits["test"])}
    return make_dataset(kind.name, *(splits[split] for split in SPLITS), licence=UNKNOWN, origin=origin, notes=notes)


def _finished_table(kind: TaskKind, splits: dict[str, Table], origin: str, names: Mapping[str, str]) -> Dataset:
    """Drops empty rows, makes missing splits and counts overlap; ``names`` are the files of each split."""
    notes: Counter[str] = Counter()
    full = {}
    for split, table in splits.items():
        full[split] = _filled(table)
        notes["empty_rows_dropped"] += len(table) - len(full[split])
        if not len(full[split]):
            raise InputError(f"data: {split} ({names[split]}) has no row with both a source and a target")
    full = _completed(full, kind, names)
    notes["test_sources_seen_in_train"] = seen_in_train(full["train"], full["test"])
    if kind.form == "labels":
        labels = {label for table in full.values() for label in table.targets}
        folded = Counter(label.casefold() for label in labels)
        notes["labels_that_differ_in_case_alone"] = sum(folded[label.casefold()] > 1 for label in labels)
    return make_dataset(
        kind.name, *(full[split] for split in SPLITS), licence=UNKNOWN, origin=origin, notes=dict(notes)
    )


def _filled(table: Table) -> Table:
    pairs = zip(table.sources, table.targets, strict=True)
    return table.take([index for index, (source, target) in enumerate(pairs) if source and target])


def _completed(splits: dict[str, Table], kind: TaskKind, names: Mapping[str, str]) -> dict[str, Table]:
    """Draws missing splits from train by a fixed seed; groups of identical rows stay together."""
    missing = [split for split in SPLITS[1:] if split not in splits]
    if not missing:
        return splits
    train = splits["train"]
    both = kind.form == "pairs"
    pairs = list(zip(train.sources, train.targets, strict=True))
    groups = components([[("source", a), *([("target", b)] if both else [])] for a, b in pairs])
    shares = {split: max(SHARE, 1 / len(pairs)) for split in missing}
    placed = sides([train.sources[group] for group in groups], shares)
    parts = {}
    for split in ("train", *missing):
        chosen = [index for index, side in enumerate(placed) if side == split]
        if not chosen:
            raise InputError(
                f"data: train ({names['train']}) has too few different rows to split off {' and '.join(missing)} "
                f"(rows with equal sources{' or equal targets' * both} stay together); give a file for each split"
            )
        parts[split] = train.take(chosen)
    return {**splits, **parts}


def _seen_lines(train: Text, test: Text) -> int:
    """The number of long lines of the test text that the training text also contains."""
    wanted: Counter[str] = Counter()
    _each_line(test, lambda line: wanted.update((line,)))
    seen: set[str] = set()
    _each_line(train, lambda line: seen.add(line) if line in wanted else None)
    return sum(wanted[line] for line in seen)


def _each_line(text: Text, use: Callable[[str], None]) -> None:
    rest = ""
    for chunk in text.chunks():
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            if len(line) >= LONG_LINE:
                use(line)
    if len(rest) >= LONG_LINE:
        use(rest)
