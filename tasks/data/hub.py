"""Data sets of the Hugging Face hub: ``hub:owner/name``, ``hub:owner/name/config``, ``hub:owner/name@revision``.

No code of a data set is ever run. The commit of the revision is requested from the hub once, with a short timeout, so
that working offline fails at once instead of after many retries.
"""

import math
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from archbench.tasks.base.dataset import Table, Text
from archbench.tasks.base.errors import InputError
from archbench.tasks.data import hub_files
from archbench.tasks.data.files import missing_column

PART = r"\w[\w.-]*"
NAME = re.compile(rf"hub:(?!.*\.\.)({PART}(?:/{PART})?)(?:/({PART}))?(?:@([\w./-]+))?")
SPLITS = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "val", "validation_matched"),
    "test": ("test", "test_matched"),
}
ATTEMPTS = 2  # downloads before files with wrong hashes are an error
LIMIT = 8.0  # seconds for the hub to answer
ELSE = "set HF_HUB_OFFLINE=1 to use an earlier download, or name a built-in data set or a file"


@dataclass(frozen=True)
class Name:
    """The parts of ``hub:owner/name/config@revision``."""

    repository: str
    config: str | None
    revision: str | None

    def __str__(self) -> str:
        config, revision = self.config and f"/{self.config}", self.revision and f"@{self.revision}"
        return f"hub:{self.repository}{config or ''}{revision or ''}"


@dataclass(frozen=True)
class Source:
    """An opened data set: a ``datasets`` table for each of its splits, and its origin."""

    splits: Mapping[str, Any]
    origin: str


@dataclass(frozen=True)
class Rows:
    """Rows ``start`` to ``stop`` of a text column, read lazily, with a line end after each row."""

    table: Any
    column: str
    start: int
    stop: int

    def __iter__(self) -> Iterator[str]:
        for batch in self.table.select(range(self.start, self.stop)).with_format("arrow").iter(1000):
            for value in batch.column(self.column).to_pylist():
                if value:
                    yield value if value.endswith("\n") else value + "\n"


Open = Callable[[Name], Source]


def parse(data: str) -> Name:
    """The parts of a hub name. Raises ``InputError``."""
    match = NAME.fullmatch(data)
    if match is None:
        raise InputError(
            f'data: "{data}" is not a hub name; write it like "hub:owner/name", "hub:owner/name/config" '
            'or "hub:owner/name@revision"'
        )
    return Name(match[1], match[2], match[3])


def read_tables(source: Source, columns: tuple[str, str]) -> dict[str, Table]:
    """A table for each split that has rows with a target; class numbers become their names."""
    splits = {}
    for split, table in _present(source).items():
        flat = _flat(table, columns)
        name = _labels(flat.features[columns[1]])
        cells = flat.with_format("arrow")[:]
        first, second = (cells.column(column).to_pylist() for column in columns)
        _check_finite(first, columns[0], split)
        _check_finite(second, columns[1], split)
        pairs = [(_text(a), name(b)) for a, b in zip(first, second, strict=True)]
        if any(target for _, target in pairs):
            splits[split] = Table([a for a, _ in pairs], [b for _, b in pairs])
    return splits


def read_texts(source: Source, column: str) -> dict[str, Rows]:
    """The rows of a text column for each split that has any."""
    tables = {split: _flat(table, (column,)) for split, table in _present(source).items()}
    return {split: Rows(table, column, 0, len(table)) for split, table in tables.items() if len(table)}


def measured(rows: Rows) -> Text:
    """Running text over the rows, with its number of bytes."""
    return Text(rows, sum(len(piece.encode()) for piece in rows))


def open_hub(name: Name) -> Source:
    """Downloads the data set or reuses its copy; files with wrong hashes are downloaded once more.

    Raises a one-line ``InputError`` if that fails.
    """
    commit = _commit(name)
    from datasets import disable_progress_bars
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.utils.tqdm import disable_progress_bars as disable_download_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
        disable_download_bars()
    removed = ""
    for _ in range(ATTEMPTS):
        splits, error = _loaded(name, commit)
        wrong = hub_files.altered(Path(HF_HUB_CACHE), name.repository, commit)
        if not wrong:
            break
        _forget(splits)  # before the files: without its file, a wrong table could not be detected
        for path in wrong:
            hub_files.remove(path)
        removed = wrong[0].name
    if removed and (wrong or error is not None):
        again = f" and cannot be downloaded again ({_line(error)})" if error is not None else ""
        raise InputError(
            f"data: {name}: {removed} did not have the hash that the hub states; it was changed in transit or on this "
            f"disk and has been removed{again}; try again, or download the file by other means and name that file"
        )
    if error is not None:
        raise InputError(f"data: {name} cannot be loaded ({_line(error)}); try again, or {ELSE}") from error
    return Source(splits, f"hub:{name.repository}@{commit or name.revision or 'cached copy'}")


def _loaded(name: Name, commit: str | None) -> tuple[Mapping[str, Any], Exception | None]:
    """The splits, or the client's error."""
    from datasets import DatasetDict, load_dataset

    try:
        splits = load_dataset(name.repository, name.config, revision=commit or name.revision)
    except Exception as error:  # the hub's client raises anything from OSError to its own and its transport's errors
        return {}, error
    return cast(Mapping[str, Any], splits if isinstance(splits, DatasetDict) else {"train": splits}), None


def _forget(splits: Mapping[str, Any]) -> None:
    """Removes the tables that the client made from the data set's files, for all its configurations."""
    from datasets.config import HF_DATASETS_CACHE

    cache = Path(HF_DATASETS_CACHE)
    for table in splits.values():
        for path in (Path(file["filename"]) for file in table.cache_files):
            subfolder = path.relative_to(cache).parts[0] if path.is_relative_to(cache) else ""
            shutil.rmtree(cache / subfolder if subfolder else path.parent, ignore_errors=True)


def _commit(name: Name) -> str | None:
    """The commit of the revision; None in the hub client's own offline mode, which uses its cached copy."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return cast(str, HfApi().dataset_info(name.repository, revision=name.revision, timeout=LIMIT).sha)
    except OfflineModeIsEnabled:
        return None
    except HfHubHTTPError as error:
        if error.response.status_code >= 500:
            raise _unreached(name, error) from error
        revision = f' at revision "{name.revision}"' if name.revision else ""
        raise InputError(
            f'data: the hub does not provide data set "{name.repository}"{revision}: {_line(error)}'
        ) from error
    except Exception as error:  # the transport's errors differ from version to version of the client
        raise _unreached(name, error) from error


def _unreached(name: Name, error: Exception) -> InputError:
    return InputError(f"data: {name} cannot be reached ({_line(error)}); connect to the network, or {ELSE}")


def _present(source: Source) -> dict[str, Any]:
    """The splits by archbench's names. Raises ``InputError`` if there is no training split."""
    present = {
        split: source.splits[alias]
        for split, aliases in SPLITS.items()
        if (alias := next((alias for alias in aliases if alias in source.splits), None))
    }
    if "train" not in present:
        raise InputError(f"data: {source.origin} has no train split (it has: {', '.join(source.splits)})")
    return present


def _flat(table: Any, columns: tuple[str, ...]) -> Any:
    """The table with nested columns under dotted names such as ``translation.de``."""
    flat = table.flatten()
    for column in columns:
        if column not in flat.column_names:
            raise missing_column(column, flat.column_names)
    return flat.select_columns(list(dict.fromkeys(columns)))


def _labels(feature: Any) -> Callable[[Any], str]:
    """Class numbers as their names if the column has names, -1 (unknown) as empty; otherwise the value as text."""
    if hasattr(feature, "int2str"):
        return lambda value: "" if value is None or value < 0 else str(feature.int2str(value))
    return _text


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _check_finite(values: list[Any], column: str, split: str) -> None:
    """Raises ``InputError`` for a value that is NaN or infinite, since as text it would be a word."""
    for row, value in enumerate(values):
        if isinstance(value, float) and not math.isfinite(value):
            what = f'column "{column}" of {split} is {value} in row {row}'
            raise InputError(f"columns: {what}, which is not text; choose another column")


def _line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
