"""Checks of building a model: how its parameters are created, shared, counted, saved and moved."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor, nn

from archbench.architectures.components.stack import FeedForwards
from archbench.architectures.contract.inputs.batches import Compared, ShapedBatch
from archbench.architectures.contract.modes import Mode
from archbench.architectures.contract.subject import (
    LIMITS,
    SIZE,
    Subject,
    equal,
    fresh,
    logits_of,
    require,
    sequences,
    subject,
)
from archbench.architectures.families.size import Size, count, embedding_parameters
from archbench.architectures.objectives.objective import Batch

WIDTHS = (24, 25, 27, 54, 2053)  # of feed-forward networks


def building_is_repeatable(case: Subject) -> None:
    """The same seed gives the same model, whatever was built before; another seed gives others; models share nothing.

    A run is repeatable only if its initial weights are. Draw initial weights only with torch, create every module
    inside `build`, and count layers there, never at the top level of the file: models of other sizes are built first,
    to fit a budget.
    """
    first, again, other = (fresh(case.build, seed) for seed in (0, 0, 1))
    weights, repeated, drawn = (dict(model.named_parameters()) for model in (first, again, other))
    differing = [name for name in weights if not torch.equal(weights[name], repeated[name])]
    require(not differing, f"built twice under one seed, these differ: {', '.join(differing)}")
    shared = [name for name in weights if weights[name].data_ptr() == drawn[name].data_ptr()]
    require(not shared, f"two models share {', '.join(shared)}")
    moved = any(not torch.equal(weights[name], drawn[name]) for name in weights)
    require(moved, "another seed builds the same weights")
    case.build(replace(SIZE, depth=SIZE.depth + 1), LIMITS)
    batch = Batch(sequences(2, 4), sequences(2, 5, seed=1))
    what = "logits of a model that is built after one of another depth, compared with those of one built before"
    equal(logits_of(subject(case.build), batch), logits_of(case, batch), what)


def a_plan_is_the_model(case: Subject) -> None:
    """Built without memory (`torch.device("meta")`), a model has the same parameters and FLOPs.

    Budgets are fitted with such models, because hundreds of sizes are tried. While building, do not read values of
    weights (`.item()`, `.tolist()`, NumPy), and do not set a device.
    """
    with torch.device("meta"):
        plan = case.build(SIZE, LIMITS)
    shapes, planned = ({name: p.shape for name, p in m.named_parameters()} for m in (case.model, plan))
    require(shapes == planned, "the parameters of the plan differ from those of the model")
    real = [name for name, p in plan.named_parameters() if not p.is_meta]
    require(not real, f"these parameters take memory in the plan: {', '.join(real)}")
    require(count(plan) == count(case.model), f"the plan counts {count(plan)}, the model {count(case.model)}")
    require(plan.flops(5, 4, 4) == case.model.flops(5, 4, 4), "the plan's FLOPs are not the model's")


def parameters_are_counted(case: Subject) -> None:
    """`parameters` grows linearly with the feed-forward width (else depth), never with vocabulary or text lengths.

    The feed-forward width is chosen to meet the budget, assuming linear growth: use `size.hidden` as it is, without
    rounding. Tables whose size follows from the vocabulary or a length are left out of `parameters`, by `tables()` of
    their module. A complex number is two real ones but would count as one: store its two parts as real parameters.
    """
    double = [name for name, parameter in case.model.named_parameters() if parameter.is_complex()]
    require(not double, f"these parameters are complex: {', '.join(double)}; store their real and imaginary parts")
    counts = count(case.model)
    total = sum(p.numel() for p in case.model.parameters())
    require(counts.parameters + counts.embedding_parameters == total, "some parameter is frozen, and in neither count")
    hidden = [count(fresh(case.build, size=replace(SIZE, hidden=h))).parameters for h in WIDTHS]
    steps = [(more - hidden[0]) / (width - WIDTHS[0]) for width, more in zip(WIDTHS[1:], hidden[1:], strict=True)]
    even = len(set(steps)) == 1 and steps[0] >= 0
    require(even, f"feed-forward widths {', '.join(map(str, WIDTHS))} give {hidden} parameters: not linear")
    if not steps[0]:
        deeper = count(fresh(case.build, size=replace(SIZE, depth=2 * SIZE.depth))).parameters
        require(deeper > counts.parameters, "neither width of the feed-forward network nor depth adds parameters")
    larger = count(fresh(case.build, limits=replace(LIMITS, vocabulary=2 * LIMITS.vocabulary)))
    require(larger.parameters == counts.parameters, "the vocabulary changes `parameters`")
    longer = replace(LIMITS, source_length=3 * LIMITS.source_length, target_length=2 * LIMITS.target_length)
    more = count(fresh(case.build, limits=longer)).parameters
    require(more == counts.parameters, f"longer texts change `parameters` from {counts.parameters} to {more}")
    require(bool(embedding_parameters(case.model)), "the model has no embedding")


def after_saving(case: Subject, shaped: ShapedBatch, mode: Mode) -> Compared:
    """Logits of a model that was saved and loaded, of a copy, and of the model itself."""
    expected = logits_of(case, shaped.batch, mode)
    loaded = fresh(case.build, seed=1).eval()
    loaded.load_state_dict({name: tensor.clone() for name, tensor in case.model.state_dict().items()})
    for what, model in (("after saving and loading", loaded), ("of a copy", copy.deepcopy(case.model))):
        yield f"logits {what}", logits_of(replace(case, model=model), shaped.batch, mode), expected


def ties_hold(case: Subject) -> None:
    """No two matrices start as copies of each other, and a shared one stays shared when copied, moved and loaded.

    Equal copies are a broken tie: they drift apart in training, and the model has more parameters than it should. Pass
    the same `Parameter` to both (`Head(..., tied=embedding)`), never `.clone()` or `.data`.
    """
    first, other = (dict(fresh(case.build, seed).named_parameters()) for seed in (0, 1))
    drawn = [name for name, weight in first.items() if not torch.equal(weight, other[name])]
    for a, b in combinations(drawn, 2):
        same = first[a].shape == first[b].shape and torch.equal(first[a], first[b])
        require(not same, f"{a} and {b} start equal but are two parameters")
    ties = _ties(case.model)
    loaded = fresh(case.build, seed=1)
    loaded.load_state_dict(case.model.state_dict())
    moved = fresh(case.build).to(torch.float64).float()
    for what, model in (("copying", copy.deepcopy(case.model)), ("moving", moved), ("loading", loaded)):
        require(_ties(model) == ties, f"after {what}, the shared parameters differ: {_ties(model)}, before {ties}")


def everything_is_registered(case: Subject) -> None:
    """Every tensor and module of a model is registered: trained, counted, saved and moved to a GPU with it.

    PyTorch does not look into plain lists and dictionaries, and ignores plain tensors. Use `nn.ModuleList`,
    `nn.ModuleDict`, `nn.Parameter` for what is trained and `register_buffer` for what is not.
    """
    known = {id(module) for module in case.model.modules()}
    known |= {tensor.data_ptr() for tensor in (*case.model.parameters(), *case.model.buffers())}
    lost = []
    for path, module in case.model.named_modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and any(_lost(part, known) for part in _parts(value)):
                lost.append(f"{path}.{name}".lstrip("."))
    require(not lost, f"not registered: {', '.join(lost)}")


def _parts(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple | set) else [value]


def _lost(part: object, known: set[int]) -> bool:
    if isinstance(part, nn.Module):
        return id(part) not in known
    return isinstance(part, Tensor) and part.data_ptr() not in known


def _ties(model: nn.Module) -> list[list[str]]:
    """Groups of names that share one parameter."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def size_is_used(case: Subject) -> None:
    """A deeper model computes more, and so does one with a wider feed-forward network, if it has one.

    A budget fits `size.depth` and `size.hidden`. A model with another number of layers, or other widths, does not
    have the given size.
    """
    flops = {depth: _flops(case, replace(SIZE, depth=depth)) for depth in (1, 2, 3)}
    message = f"1, 2 and 3 for `size.depth` give {flops[1]:.0f}, {flops[2]:.0f} and {flops[3]:.0f} FLOPs"
    require(flops[1] < flops[2] < flops[3], message)
    stacks = (module for module in case.model.modules() if isinstance(module, FeedForwards))
    if any(list(network.parameters()) for stack in stacks for network in stack.feedforwards()):
        wider = _flops(case, replace(SIZE, hidden=2 * SIZE.hidden))
        require(wider > flops[SIZE.depth], f"twice `size.hidden` gives {wider:.0f} FLOPs, no more than before")


def _flops(case: Subject, size: Size) -> float:
    return float(fresh(case.build, size=size).flops(5, 4, 4).executed)
