"""A comparison of two small runs that saves a checkpoint after every step; run as a program, to be killed.

usage: python tests/eager_work.py EXPERIMENT.toml DIR CACHE JOBS
"""

import sys
from collections.abc import Callable
from pathlib import Path

from archbench.runs.execution.execute import execute
from archbench.runs.experiment import spec
from archbench.runs.planning import matrix
from archbench.runs.plans.messages import Progress
from archbench.runs.plans.plan import Plan
from archbench.runs.training import train


def perform(plan: Plan, folder: Path, notify: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
    """The work of a worker, with a checkpoint after every step."""
    from archbench.runs.execution import work

    train.CHECKPOINT_SECONDS = 0.0
    work.perform(plan, folder, notify, stop)


def main(file: str, root: str, cache: str, jobs: str) -> int:
    planned = matrix.plan(
        spec.load(file),
        device="cpu",
        deterministic=False,
        cache=Path(cache),
        root=Path(root),
        say=lambda line: None,
    )
    Path(root).mkdir(parents=True, exist_ok=True)
    print("started", flush=True)
    return execute(planned.plans, Path(root), int(jobs), lambda event: None, work="tests.eager_work:perform").status


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main(*sys.argv[1:]))
