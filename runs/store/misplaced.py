"""Run folders that hold a run other than their name says: swapped, renamed or copied by hand."""

from itertools import count
from pathlib import Path

from archbench.runs.store import store

PLACE = "set-aside"


def set_aside(root: Path, run: str) -> str:
    """Clears the folder of ``run`` if it holds another run, and returns a line that says so, else an empty one.

    Nothing is deleted: the contents move to ``DIR/set-aside/``, so that a run that no command plans any more is not
    lost. If the folder is a link, only the link is removed. Raises ``OSError`` if the folder cannot be moved.
    """
    folder = store.run_folder(root, run)
    other = store.other_run(folder)
    if not other:
        return ""
    if folder.is_symlink():
        kept_in = folder.resolve()
        folder.unlink()
    else:
        kept_in = _free(root / PLACE, run)
        kept_in.parent.mkdir(exist_ok=True)
        folder.rename(kept_in)
    return f"its folder held the run {other}, which now lies in {kept_in}; {run} is done again"


def _free(parent: Path, run: str) -> Path:
    """An unused path below ``parent``."""
    return next(path for number in count(1) if not (path := parent / f"{run}.{number}").exists())
