"""How much of the disk a comparison will take, and how much there is."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from runs.messages import Plan

BYTES_PER_PARAMETER = 4
# While a run trains: two checkpoints and one that is being written, each with the weights, the best weights and the
# optimizer's state, of which AdamW has two numbers for each weight.
TRAINING_COPIES = 3 * 4
RECORDS = 500_000  # bytes of a run's curves, scores and predictions, once beside it and once in the tables
REPORT = 5_000_000  # bytes of figures and page


def needed(plans: Sequence[Plan], jobs: int) -> int:
    """Bytes that ``plans``, ``jobs`` at a time, will take at most, the report included; snapshots come on top."""
    kept = sorted((_weights(plan) for plan in plans), reverse=True)
    return sum(kept) + len(kept) * RECORDS + TRAINING_COPIES * sum(kept[:jobs]) + REPORT * bool(kept)


def free(root: Path) -> int:
    """Bytes that the disk of ``root``, which need not be there yet, has left."""
    return shutil.disk_usage(next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())).free


def _weights(plan: Plan) -> int:
    row = plan.row()
    return BYTES_PER_PARAMETER * int(row["parameters"] + row["embedding_parameters"])
