"""The disk: how much of it a comparison will take, how much there is, and whether a folder can be written."""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archbench.runs.plans.messages import PlannedRun
from archbench.tasks.base.errors import InputError

if TYPE_CHECKING:
    from archbench.tasks.base.values import Prepared

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, no quota, a limit on the size of files
BYTES_PER_PARAMETER = 4
# While a run trains: two checkpoints and one that is being written, each with the weights, the best weights and the
# optimizer's state, of which AdamW has two numbers for each weight.
TRAINING_COPIES = 3 * 4
RECORDS = 500_000  # bytes of a run's curves, scores and facts, beside it and in the tables
TOKEN = 200  # bytes that a token of the vocabulary takes in the files of a tokenizer
COPIES = 4  # of predictions: beside the run, in a table as Parquet and as CSV, and where a table is made again
NUMBERS = 400  # bytes of a row of predictions beside its texts
REPORT = 5_000_000  # bytes of figures and page


def check_writable(folder: Path) -> None:
    """Raises ``InputError`` where nothing can be written into ``folder``, new or not; leaves nothing there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(f"{folder}: cannot be written: {error.strerror}; give another folder") from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def needed(plans: Sequence[PlannedRun], jobs: int) -> int:
    """Bytes that ``plans``, ``jobs`` at a time, will take at most, the report included.

    What was encoded of the data is on the disk before runs are planned.
    """
    sizes = sorted((_weights(plan) for plan in plans), reverse=True)
    snapshots = sum(plan.snapshots * _weights(plan) for plan in plans)
    records = sum(RECORDS + TOKEN * plan.vocabulary + COPIES * plan.predictions for plan in plans)
    return sum(sizes) + snapshots + records + TRAINING_COPIES * sum(sizes[:jobs]) + REPORT * bool(sizes)


def predictions(prepared: "Prepared") -> int:
    """Bytes of the predictions of a run, at most: texts, their quotes doubled, and answers as long as can be."""
    from archbench.tasks.kinds import task  # with all metrics, which the other functions do without

    test, decoding = prepared.test, task.decoding(prepared)
    texts = [text for i in range(len(test)) for text in (test.source_text(i), test.target_text(i))]
    spelled = (prepared.tokenizer.decode([token]) for token, allowed in enumerate(prepared.allowed_tokens) if allowed)
    longest = max((_size(text) for text in spelled), default=0) + 1  # some tokenizers put a space between
    answers = min(decoding.count, len(test)) * decoding.max_tokens * longest
    return sum(map(_size, texts)) + answers + NUMBERS * len(test)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace")) + text.count('"')


def free(root: Path) -> int:
    """Bytes that the disk of ``root``, which need not be there yet, has left."""
    return shutil.disk_usage(next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())).free


def _weights(plan: PlannedRun) -> int:
    row = plan.row()
    return BYTES_PER_PARAMETER * int(row["parameters"] + row["embedding_parameters"])
