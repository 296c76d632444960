"""Fits the size of every architecture to one budget.

Width and heads are the same for all; depth and feed-forward width are fitted, since for a fixed depth parameters and
FLOPs are linear in the feed-forward width. Models are built on the meta device, so that nothing is allocated.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from archbench.architectures.families.size import Counts, Limits, Size, count, layers
from archbench.runs.training.batches import EncodedExamples
from archbench.tasks.base.errors import InputError, is_signalled, one_line

Build = Callable[[Size, Limits], Any]
Measure = Callable[[Any], float]
Lengths = tuple[NDArray[np.float64], NDArray[np.float64]]

TOLERANCE = 0.01
COARSE_FROM = 300_000  # parameters from which the feed-forward width goes in steps of COARSE
COARSE = 8
DEEPEST = 96
SAMPLE = 4096  # examples whose lengths stand for the data set's
OVERHEAD_SECONDS = 2.5  # of a run for reading data, metrics and records; for expected times only


def check_epochs(key: str, epochs: float | None, architecture: str, tokens: int, examples: EncodedExamples) -> None:
    """Raises ``InputError`` if ``tokens`` are more than ``epochs`` passes over the examples; None: no limit."""
    once = data_tokens(examples)
    if epochs is not None and tokens > epochs * once:
        raise InputError(
            f"{key}.budget.epochs: {epochs:g}: {architecture} would read its {once:,.0f} training tokens "
            f"{tokens / once:.1f} times; give more data or fewer tokens, or allow more epochs"
        )


def reference_width(parameters: int) -> int:
    """Width for a model of this size: that of about five layers of 12 width² parameters."""
    step = 16 if parameters < COARSE_FROM else 32
    return max(32, round(math.sqrt(parameters / 60) / step) * step)


def usual_heads(width: int) -> int:
    """Heads of about 32 channels, two at least, that divide the width into an even number of channels; else one."""
    return next((heads for heads in range(max(2, width // 32), 0, -1) if width % (2 * heads) == 0), 1)


def at_width(size: Size, width: int) -> Size:
    """A size of another width: equally deep, with a feed-forward width in proportion and heads of a similar size.

    The number of heads divides the width into an even number of channels, or is one.
    """
    wanted = size.heads * width / size.dim
    possible = [heads for heads in range(1, width // 2 + 1) if width % (2 * heads) == 0] or [1]
    heads = min(possible, key=lambda number: (abs(math.log(number / wanted)), number))
    return replace(size, dim=width, heads=heads, hidden=max(1, round(size.hidden * width / size.dim)))


def blank(build: Build, size: Size, limits: Limits, name: str = "the architecture") -> Any:
    """The model on the meta device, for counting; raises ``InputError`` if it cannot be built."""
    try:
        with torch.device("meta"):
            return build(size, limits)
    except BaseException as error:
        if is_signalled(error):
            raise
        shape = f"width {size.dim}, heads {size.heads}, depth {size.depth}, feed-forward width {size.hidden}"
        raise InputError(
            f"model.width: {name} cannot be built with {shape}: {one_line(error)}; change model.width or model.heads"
        ) from error


def counts(build: Build, size: Size, limits: Limits) -> Counts:
    return count(blank(build, size, limits))


def parameters(model: Any) -> float:
    return float(count(model).parameters)


def active_parameters(model: Any) -> float:
    return float(count(model).active_parameters)


COUNTED: Mapping[str, Measure] = {"parameters": parameters, "active_parameters": active_parameters}  # by axis


def flops_per_token(lengths: Lengths, native: bool) -> Measure:
    """Measures the model FLOPs of training on a data token, for examples of these source and target lengths."""
    source, target = lengths

    def measure(model: Any) -> float:
        flops = model.objective.training_flops(model, source, target, native).model
        return float(np.sum(flops) / (source.sum() + target.sum()))

    return measure


def data_tokens(examples: EncodedExamples) -> float:
    """Tokens of all sources and targets of a split."""
    return float(examples.source_lengths.sum() + examples.target_lengths.sum())


def sample_lengths(examples: EncodedExamples) -> Lengths:
    """Source and target lengths of up to ``SAMPLE`` evenly spaced examples."""
    index = np.linspace(0, len(examples) - 1, min(len(examples), SAMPLE)).astype(np.int64)
    return examples.source_lengths[index].astype(np.float64), examples.target_lengths[index].astype(np.float64)


def fit(
    build: Build,
    start: Size,
    limits: Limits,
    measure: Measure,
    target: float,
    coarse: bool,
    name: str,
    depth: int | None = None,
    active: bool = False,
) -> Size:
    """The size of width ``start.dim`` whose ``measure`` is within 1% of ``target``.

    Without ``depth``, takes the depth at which feed-forward networks are nearest to 8 width² parameters a layer, as in
    the first transformer. ``active``: only the parameters that a token uses count there, so that a mixture of
    experts is as deep as a dense model. Raises ``InputError`` if no depth meets the target.
    """
    step = COARSE if coarse else 1
    best: tuple[float, Size] | None = None
    nearest = math.inf
    for tried in range(1, DEEPEST + 1) if depth is None else (depth,):
        fitting = _fit_depth(build, replace(start, depth=tried), limits, measure, target, step, name, active)
        if fitting is None:
            break
        size, reached, stretch = fitting
        error = abs(reached / target - 1)
        nearest = min(nearest, error)
        if best is not None and stretch > best[0]:
            break  # from here on the feed-forward network only gets narrower
        if error <= TOLERANCE:
            best = stretch, size
    if best is None:
        least = "a single layer is" if depth in (None, 1) else f"{depth} layers are"
        how = f"the nearest is off by {nearest:.1%}" if nearest < math.inf else f"{least} already larger"
        raise InputError(
            f"budget: {name} of width {start.dim} cannot be fitted to {target:,.0f} within 1% ({how}); "
            f"change budget.parameters{', model.depth' if depth else ''} or model.width"
        )
    return best[1]


def _fit_depth(
    build: Build,
    size: Size,
    limits: Limits,
    measure: Measure,
    target: float,
    step: int,
    name: str,
    active: bool,
) -> tuple[Size, float, float] | None:
    """Size, its measure, distance from the usual feed-forward width; None if the layers alone exceed ``target``."""
    low, high = replace(size, hidden=step), replace(size, hidden=2 * step)
    model, wider = (blank(build, candidate, limits, name) for candidate in (low, high))
    first, second = measure(model), measure(wider)
    if first > target * (1 + TOLERANCE):
        return None
    slope = second - first
    if slope <= 0:  # no feed-forward network: depth is all there is
        return low, first, 0.0
    hidden = max(1, 1 + round((target - first) / slope)) * step
    reached = first + slope * (hidden / step - 1)
    counted = active_parameters if active else parameters
    per_unit = (counted(wider) - counted(model)) / (step * max(1, layers(model)) * size.dim)
    return replace(size, hidden=hidden), reached, abs(math.log(hidden * per_unit / (8.0 * size.dim)))
