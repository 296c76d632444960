"""Files of public data sets, pinned by commit, size and SHA-256: fetched once from their publisher, or found on disk.

cache            what was fetched or found before
ARCHBENCH_DATA   a folder below which files with these hashes lie, under any name; copied to the cache
publisher        raw.githubusercontent.com, at the pinned commit; kept in the cache

Every file is verified each time it is read: the same bytes wherever they come from.
"""

import hashlib
import http.client
import os
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from archbench.tasks.base.errors import InputError, shortened
from archbench.tasks.base.files import write_bytes
from archbench.tasks.base.progress import Say
from archbench.tasks.builtin_data.packages import ATTEMPTS, PATIENCE

FOLDER = "ARCHBENCH_DATA"
HOST = "https://raw.githubusercontent.com"
TIMEOUT = 900.0  # seconds for one file
_CHUNK = 1 << 20


@dataclass(frozen=True)
class PinnedFile:
    """A file of a repository: its path there, its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Publisher:
    """A GitHub repository at a commit, and the files that make a data set."""

    repository: str
    commit: str
    files: tuple[PinnedFile, ...]

    @property
    def version(self) -> str:
        """Changes whenever a file does."""
        return hashlib.sha256(" ".join(file.sha256 for file in self.files).encode()).hexdigest()

    @property
    def origin(self) -> str:
        return f"github:{self.repository} at commit {self.commit[:12]}"

    def address(self, file: PinnedFile) -> str:
        return f"{HOST}/{self.repository}/{self.commit}/{file.path}"

    def part(self, *paths: str) -> "Publisher":
        """The same publisher with only the files at these paths, in their order. Raises KeyError for other paths."""
        files = {file.path: file for file in self.files}
        return replace(self, files=tuple(files[path] for path in paths))


def listed(table: str) -> tuple[PinnedFile, ...]:
    """The files of a table with a line for each: its path, size in bytes and SHA-256."""
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(PinnedFile(path, int(size), sha256) for path, size, sha256 in rows)


Fetch = Callable[[str, PinnedFile], bytes]


def contents(name: str, publisher: Publisher, cache: Path, say: Say, fetch: Fetch | None = None) -> list[bytes]:
    """The content of the publisher's files for the data set ``name``, in their order.

    Raises ``InputError`` where a file is neither on disk nor can be fetched.
    """
    cached = {file: raw for file in publisher.files if (raw := _cached(file, cache)) is not None}
    lacking = [file for file in publisher.files if file not in cached]
    local = _local(lacking)
    lacking = [file for file in lacking if file not in local]
    for file, raw in local.items():
        _keep(file, raw, cache)
    if local:
        say(f"{name}: {len(local)} of {len(publisher.files)} files found in {FOLDER} and verified")
    fetched = _fetched(name, publisher, lacking, cache, say, fetch or download) if lacking else {}
    raw_files = {**cached, **local, **fetched}
    return [raw_files[file] for file in publisher.files]


def find(folder: Path, files: Sequence[PinnedFile]) -> dict[PinnedFile, bytes]:
    """Those of the files that lie below ``folder`` under any name: only files of the right size are read."""
    by_size: dict[int, list[PinnedFile]] = {}
    for file in files:
        by_size.setdefault(file.size, []).append(file)
    matched: dict[PinnedFile, bytes] = {}
    for path, size in _walk(folder):
        if size not in by_size:
            continue
        try:
            raw = path.read_bytes()
        except OSError:
            continue
        digest = hashlib.sha256(raw).hexdigest()
        matched |= {file: raw for file in by_size[size] if file.sha256 == digest}
        if len(matched) == len(set(files)):
            break
    return matched


def download(address: str, file: PinnedFile) -> bytes:
    """The file from its publisher, anew where it arrives damaged. Raises ``InputError`` with the reason."""
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            raw = _received(address, file.size)
        except urllib.error.HTTPError as error:
            reason = f"the publisher answers {error.code}"
            if error.code < 500:
                break
            continue
        except (OSError, http.client.HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            reason = f"the publisher cannot be reached: {shortened(str(cause) or type(cause).__name__)}"
            continue
        if hashlib.sha256(raw).hexdigest() == file.sha256:
            return raw
        reason = "what arrived has another SHA-256: cut off or changed on the way"
    raise InputError(f"{address} ({reason})")


def _cached(file: PinnedFile, cache: Path) -> bytes | None:
    path = _place(file, cache)
    raw = path.read_bytes() if path.is_file() else b""
    return raw if hashlib.sha256(raw).hexdigest() == file.sha256 else None


def _place(file: PinnedFile, cache: Path) -> Path:
    return cache / "public" / f"{file.sha256[:12]}-{file.name}"


def _keep(file: PinnedFile, raw: bytes, cache: Path) -> None:
    try:
        write_bytes(_place(file, cache), raw)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"data: the cache {cache} cannot be written; set ARCHBENCH_CACHE to a folder that can"
        ) from error


def _local(files: Sequence[PinnedFile]) -> Mapping[PinnedFile, bytes]:
    """Those of the files that lie in ``ARCHBENCH_DATA``, if that is set."""
    folder = _folder()
    if not files or folder is None:
        return {}
    if not folder.is_dir():
        raise InputError(f'data: {FOLDER}: "{folder}" is not a folder')
    return find(folder, files)


def _folder() -> Path | None:
    named = os.environ.get(FOLDER)
    return Path(os.path.expanduser(named)) if named else None


def _walk(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every regular file below ``folder`` with its size; links are followed, each folder is read once."""
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            try:
                facts = entry.stat()
            except OSError:
                continue
            if stat.S_ISREG(facts.st_mode):
                yield Path(entry.path), facts.st_size
            elif stat.S_ISDIR(facts.st_mode) and (facts.st_dev, facts.st_ino) not in seen:
                seen.add((facts.st_dev, facts.st_ino))
                waiting.append(Path(entry.path))


def _fetched(
    name: str, publisher: Publisher, files: Sequence[PinnedFile], cache: Path, say: Say, fetch: Fetch
) -> dict[PinnedFile, bytes]:
    size = sum(file.size for file in files) / 1e6
    say(f"{name}: fetching {len(files)} files of {publisher.origin} ({size:.1f} MB, once)")
    fetched = {}
    for file in files:
        try:
            fetched[file] = fetch(publisher.address(file), file)
        except InputError as error:
            raise InputError(_advice(name, publisher, files, str(error))) from error
        _keep(file, fetched[file], cache)
    say(f"{name}: {len(files)} files verified")
    return fetched


def _advice(name: str, publisher: Publisher, files: Sequence[PinnedFile], reason: str) -> str:
    listed = ", ".join(file.name for file in files)
    folder = _folder()
    local = (
        "" if folder is None else f" and {FOLDER} ({folder}) does not have all of its files{_changed(folder, files)}"
    )
    return (
        f'data: "{name}" cannot be fetched: {reason}{local}; run once where GitHub can be reached, or set {FOLDER} '
        f"to a folder that has {listed} of {publisher.origin}, under any name"
    )


def _changed(folder: Path, files: Sequence[PinnedFile]) -> str:
    """In words, the first file of the folder that is named like one of ``files`` and differs from it; empty if none."""
    for path, size in _walk(folder):
        for file in files:
            if path.name == file.name:
                apart = f"has {size:,} bytes, not {file.size:,}" if size != file.size else "has another SHA-256"
                return f" ({path.relative_to(folder)} {apart})"
    return ""


def _received(address: str, size: int) -> bytes:
    """Bytes that the address sends, at most one more than ``size``; raises ``TimeoutError``."""
    begun, raw = time.monotonic(), b""
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        while len(raw) <= size and (chunk := answer.read(min(_CHUNK, size + 1 - len(raw)))):
            raw += chunk
            if time.monotonic() - begun > TIMEOUT:
                raise TimeoutError(f"more than {TIMEOUT:.0f} s")
    return raw
