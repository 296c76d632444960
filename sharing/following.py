"""A comparison in a tracker: ``archbench track``, and ``compare --track``."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from archbench.tasks.base.progress import Say

if TYPE_CHECKING:
    from archbench.sharing.trackers import Picture

FIGURES = ("verdicts", "headline", "differences", "cost", "compute", "effects", "curves_tokens")


def replay(root: Path, name: str, sent_before: int = 0) -> str:
    """Send what the tracker lacks: points of all runs, and figures if the comparison has tables; what was sent.

    ``sent_before`` are points that the same command has sent already.
    Raises ``InputError`` where the tracker is unknown, not installed or cannot be reached.
    """
    from archbench.sharing import trackers
    from archbench.tasks.base.errors import InputError, one_line

    chosen = trackers.named(name)
    tracker = trackers.opened(chosen, root)
    try:
        sent = sent_before + trackers.sync(root, tracker)
        shown = pictures(root)
        tracker.show_pictures(shown)
    except InputError:
        raise
    except Exception as error:  # whatever a client of a service raises
        raise InputError(f"{name}: {one_line(error)}; run the same command again to send the rest") from error
    return f"{name}: {sent} new points, {len(shown)} figures up to date; {tracker.where}"


@contextlib.contextmanager
def background_sync(root: Path, name: str | None, say: Say) -> Iterator[Callable[[], int]]:
    """Keeps the tracker called ``name`` up to date until the block ends; does nothing without a name.

    Yields a function that returns the number of points sent so far.
    """
    from archbench.sharing import trackers

    if name is None:
        yield lambda: 0
        return
    with trackers.BackgroundSync(root, trackers.named(name), say) as background:
        yield lambda: background.sent


def pictures(root: Path) -> "list[Picture]":
    """The figures of a comparison that has tables and at least a finished run."""
    import io

    from archbench import plotting
    from archbench.reports.figures import plot
    from archbench.sharing.trackers import Picture

    if not (root / "tables" / "runs.parquet").is_file():
        return []
    drawn = []
    shown = plotting.view(plotting.judged(root), None, None)
    for name in FIGURES:
        with contextlib.suppress(ValueError):  # nothing to show
            caption = plot.figure(shown, name).caption
            file = io.BytesIO()
            plot.drawn(shown, name).savefig(file, format="png", dpi=120, metadata={"Software": None})
            drawn.append(Picture(name, caption, file.getvalue()))
    return drawn
