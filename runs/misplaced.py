"""Run folders that hold another run than their name says: exchanged, renamed or copied by hand."""

from itertools import count
from pathlib import Path

from runs import store

PLACE = "set-aside"


def set_aside(root: Path, run: str) -> str:
    """Clears the folder of ``run`` where it holds another run; a line that says so, empty where it does not.

    Nothing is deleted: what was there moves to ``DIR/set-aside/``, so that a run that no command plans any more is not
    lost. Of a link only the link goes. Raises ``OSError`` where the folder cannot be moved.
    """
    folder = store.run_folder(root, run)
    other = store.other_run(folder)
    if not other:
        return ""
    if folder.is_symlink():
        place = folder.resolve()
        folder.unlink()
    else:
        place = _free(root / PLACE, run)
        place.parent.mkdir(exist_ok=True)
        folder.rename(place)
    return f"its folder held the run {other}, which now lies in {place}; {run} is done again"


def _free(place: Path, run: str) -> Path:
    """A path below ``place`` where nothing lies."""
    return next(path for number in count(1) if not (path := place / f"{run}.{number}").exists())
