"""Moves a comparison that is not finished to another machine, without the weights of its runs.

    python -P docs/unfinished/records.py pack DIR FILE.tar.xz [NAME...]    the records of the finished runs in DIR
    python -P docs/unfinished/records.py unpack FILE.tar.xz DIR            the same runs, sealed again without weights

`archbench compare ... --out DIR` then trains only the other runs. Reports are the same; `predict`, `inspect`, `export`
of an unpacked run say that its weights are missing. Runs that begin with a NAME are left out: pretrainings that other
runs have yet to start from.
"""

import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from archbench.runs.store import store

WEIGHTS = ".safetensors"


def pack(root: Path, file: Path, left_out: Sequence[str] = ()) -> int:
    """Write the records of the finished runs in `root` to `file`, except those whose names begin with one of
    `left_out`; returns their number."""
    folders = [path.parent for path in sorted(root.glob(f"runs/*/{store.MANIFEST}"))]
    finished = [path for path in folders if store.is_finished(path) and not path.name.startswith(tuple(left_out))]
    with tarfile.open(file, "w:xz", preset=9) as archive:
        for folder in finished:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix != WEIGHTS and not path.name.startswith("."):
                    archive.add(path, path.relative_to(root), filter=_anonymous)
    return len(finished)


def unpack(file: Path, root: Path) -> int:
    """Put the runs in `file` into `root`, except those that are finished there; returns their number."""
    count = 0
    with tarfile.open(file) as archive:
        names = dict.fromkeys(Path(member.name).parts[1] for member in archive.getmembers())
        new = {name for name in names if not store.is_finished(store.run_folder(root, name))}
        archive.extractall(root, [member for member in archive if Path(member.name).parts[1] in new], filter="data")
    for name in new:
        folder = store.run_folder(root, name)
        row = store.peek_record(folder)
        if row.get("status") in store.FINISHED:
            (folder / store.MANIFEST).unlink(missing_ok=True)
            store.write_record(folder, row)
            count += 1
    return count


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without the owner and time that the machine gave it, so that equal records make equal archives."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


if __name__ == "__main__":
    command, source, target, *names = sys.argv[1:]
    count = pack(Path(source), Path(target), names) if command == "pack" else unpack(Path(source), Path(target))
    print(count, "runs")
