"""A recording without a GPU: like CUDA's it reads the memory that it was made with, and writes to its own results."""

from collections.abc import Callable

from architectures import recording


def stand_in(step: Callable[[], recording.Results], before: Callable[[], None]) -> recording.Recorded:
    before()
    results = [None if result is None else result.clone() for result in step()]

    def replay() -> None:
        for place, result in zip(results, step(), strict=True):
            if place is not None and result is not None:
                place.copy_(result)

    return replay, results
