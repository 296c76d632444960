"""JSON files and hashes: a file that has its name is complete, and a sealed one has the SHA-256 of what it says."""

import hashlib
import json
from pathlib import Path
from typing import Any

from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError

SEAL = {"sha256", "sealed"}  # the keys of a sealed file


def write_json(path: Path, value: object) -> None:
    """Writes JSON as ``files.write_bytes`` does; NaN and infinities as Python's ``NaN`` and ``Infinity``."""
    files.write_text(path, json_text(value))


def read_json(path: Path) -> Any:
    """The value in a JSON file; raises ``InputError`` where it is missing or broken."""
    try:
        return loaded(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}; delete it and run compare again") from None


def read_record(path: Path, schema: int, command: str) -> dict[str, Any]:
    """The record that ``command`` wrote to a file; raises ``ValueError`` where it has another ``schema``."""
    record = read_json(path)
    if not isinstance(record, dict) or record.get("schema") != schema:
        raise ValueError(f"{path}: written by another version of archbench; run {command} again")
    return record


def loaded(path: Path) -> Any:
    """The value in a JSON file; raises ``OSError``, ``ValueError`` or ``RecursionError`` where it cannot be read."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_sealed(path: Path, value: object) -> None:
    """Writes JSON with its SHA-256, for ``read_sealed``."""
    files.write_text(path, sealed_text(value))


def sealed_text(value: object) -> str:
    """A value as JSON with its SHA-256, for ``opened``."""
    value = json.loads(json_text(value))
    return json_text({"sha256": digest(value), "sealed": value})


def opened(text: bytes) -> Any:
    """The value in ``sealed_text``; raises ``ValueError`` or ``RecursionError`` where it is not as it was written."""
    contents = json.loads(text)
    if not is_whole(contents):
        raise ValueError("has changed since it was written")
    return contents["sealed"]


def read_sealed(path: Path) -> Any:
    """The value in a JSON file; raises ``InputError`` where it is missing, broken or not as it was written."""
    contents = read_json(path)
    if not isinstance(contents, dict) or not SEAL & contents.keys():  # of an older archbench
        return contents
    if not is_whole(contents):
        raise InputError(f"{path}: has changed since it was written; delete it and run compare again")
    return contents["sealed"]


def is_whole(contents: Any) -> bool:
    """True if a value is as ``write_sealed`` writes it, unchanged."""
    return isinstance(contents, dict) and contents.keys() == SEAL and contents["sha256"] == digest(contents["sealed"])


def is_sealed(path: Path) -> bool:
    """True if ``write_sealed`` wrote a file that has not been changed since."""
    try:
        return is_whole(read_json(path))
    except InputError:
        return False


def json_text(value: object) -> str:
    """A value as JSON, as files have it."""
    return json.dumps(value, indent=1, default=_plain, ensure_ascii=False) + "\n"


def digest(value: object) -> str:
    """The SHA-256 of a plain JSON value, whatever the order of its keys."""
    return sha256(json.dumps(value, sort_keys=True).encode())


def sha256(content: bytes | Path) -> str:
    """The SHA-256 of bytes or of a file."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays and paths as plain JSON values."""
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
