"""How many inputs the checks try: few in the project's own tests, many in `check` and `compare`, which try the same."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trials:
    """The number of inputs on which each property is tried.

    ``rows``: numbers of rows of batches, each in every one of ``layouts`` (see ``batches``). ``lengths``: tokens of a
    source or a target, around powers of two, where kernels, tables and length-dependent rules change. ``calls``: rounds
    of cheap calls. ``steps``: training steps that are repeated. ``decoded``: tokens decoded one by one from a cache
    whose rows are reordered. ``samples``: answers drawn to compare frequencies with likelihoods. ``sizes``: whether
    other widths, heads, depths, vocabularies and longer texts are tried.
    """

    name: str
    rows: tuple[int, ...]
    layouts: tuple[str, ...]
    lengths: tuple[int, ...]
    calls: int
    steps: int
    decoded: int
    samples: int
    sizes: bool


LAYOUTS = ("plain", "masked", "even", "right", "left", "around")
QUICK = Trials("quick", (3,), ("right", "left"), (7,), calls=3, steps=2, decoded=6, samples=400, sizes=False)
USUAL = Trials(
    "usual",
    (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 65),
    LAYOUTS,
    (7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257),
    calls=250,
    steps=40,
    decoded=72,
    samples=4000,
    sizes=True,
)
