"""The parts of the contract that are tried and remembered by themselves: a file's, and those of its planned runs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from archbench.architectures import contract
from archbench.architectures.families.size import Limits, Size
from archbench.runs.plans.plan import Plan

FILE_SECONDS = 34.0  # the median of the built-in variants on one core of an AMD EPYC (docs/contract.md)
LAYER_SECONDS = 0.9  # CPU seconds for each layer of a model, as the next two measured on built-in variants
TEXT_SECONDS = 0.0004  # for each layer and token of texts
FLOPS_SECONDS = 2.0  # for each size and length
FORM_SECONDS = 1.0  # for each way to learn to fill a canvas
FILLS = "encoder"  # the family that fills a canvas
AT_RUNS = " at the size of its runs"

Key = tuple[int | str | bool, ...]


class Shape(NamedTuple):
    """The model of a planned run, and whether it has native supervision."""

    size: Size
    limits: Limits
    native: bool


class Part(NamedTuple):
    """Checks that are remembered together, how much they try, about how long that takes, and where they look."""

    checks: Sequence[contract.Check]
    trials: contract.Trials
    seconds: float
    where: str = ""


def shapes(plans: Iterable[Plan]) -> tuple[Shape, ...]:
    """The different models of these runs, without dropout. How they fill a canvas matters for encoders alone."""
    limited = ((plan, plan.limits if plan.family == FILLS else plan.limits.of_data) for plan in plans)
    return tuple(dict.fromkeys(Shape(replace(plan.size, dropout=0.0), limits, plan.native) for plan, limits in limited))


def parts(planned: Sequence[Shape] = (), trials: contract.Trials | None = None) -> dict[Key, Part]:
    """The contract of a file, and of the models of its planned runs: their heads and layers, texts, and FLOPs."""
    trials = trials or contract.USUAL
    found: dict[Key, Part] = {(trials.name,): Part(contract.CHECKS, trials, FILE_SECONDS)}
    deepest: dict[tuple[int, int], Size] = {}
    for size, learned, native in sorted(planned, key=lambda shape: shape.size.depth):
        limits = learned.of_data
        layers = "layers", size.heads, size.depth
        found.setdefault(layers, _at_runs(contract.layers_of(size), LAYER_SECONDS * size.depth))
        deepest[limits.source_length, limits.target_length] = size
        flops = "flops", size.dim, size.heads, size.depth, size.hidden, *vars(limits).values(), native
        found[flops] = _at_runs(contract.planned(size, limits, native), FLOPS_SECONDS)
        if learned != limits:
            form = "form", learned.mask_order, learned.mask_weights, learned.canvas
            found[form] = _at_runs(contract.of_form(learned), FORM_SECONDS)
    for (source, target), size in deepest.items():
        seconds = TEXT_SECONDS * size.depth * (source + target)
        texts = contract.texts_of(source, target, contract.narrow(size))
        found["texts", source, target, size.heads, size.depth] = _at_runs(texts, seconds)
    return found


def seconds(due: Iterable[Part]) -> float:
    """About how long these parts take."""
    return sum(part.seconds for part in due)


def time_of(due: Iterable[Part]) -> str:
    """The ``seconds`` in words, with what they were measured on."""
    return f"about {seconds(due):.0f} s on an idle core"


def in_words(due: Iterable[Part]) -> str:
    """The parts in words: ``64 properties and 3 checks at the size of its runs``."""
    counts = {where: sum(len(part.checks) for part in due if part.where == where) for where in ("", AT_RUNS)}
    words = [f"{counts['']} properties"] if counts[""] else []
    words += [f"{count} check{'s' * (count > 1)}{AT_RUNS}"] if (count := counts[AT_RUNS]) else []
    return " and ".join(words)


def _at_runs(check: contract.Check, seconds: float) -> Part:
    return Part([check], contract.QUICK, seconds, AT_RUNS)
