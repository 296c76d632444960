"""The hub's files as its client keeps them, compared with the hashes that the hub gave for them.

The client names what it keeps by the hub's ETag: the SHA-256 of a large file, git's SHA-1 of a small one. It compares
only lengths.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
CHUNK = 2**20  # bytes


def altered(cache: Path, repository: str, commit: str | None) -> list[Path]:
    """The files of a data set that differ from the hub's; of all its revisions where ``commit`` is None.

    ``cache`` is the client's. Files that it does not name by a hash, as on systems without links, are not looked at.
    """
    snapshots = cache / "--".join(["datasets", *repository.split("/")]) / "snapshots"
    return [path for path in _links(snapshots / commit if commit else snapshots) if not _is_whole(path.resolve())]


def remove(path: Path) -> None:
    """Removes a file that the client keeps, so that the client fetches it again."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _links(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and path.is_file() and HASH.fullmatch(path.resolve().name):
            yield path


def _is_whole(blob: Path) -> bool:
    if len(blob.name) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    with blob.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == blob.name
