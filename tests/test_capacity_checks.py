"""What no budget counts is counted apart, declared, and shown: buffers."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Counts, count
from archbench.reports.page.elements.grids import grid
from archbench.reports.page.sections import budget
from archbench.reports.results.groups import Group
from archbench.runs.execution import dry_run
from archbench.runs.plans.placement import Placement


def test_buffers_are_counted_saved_or_not() -> None:
    model = nn.Linear(3, 2)
    model.register_buffer("saved", torch.zeros(4, 5))
    model.register_buffer("unsaved", torch.zeros(7), persistent=False)
    assert count(model) == Counts(parameters=8, embedding_parameters=0, buffers=27)


def test_built_in_families_have_no_buffers() -> None:
    for name in ("decoder", "encoder", "encoder-decoder"):
        assert count(catalogue.find(name).build(contract.SIZE, contract.LIMITS)).buffers == 0


def group(buffers: list[int]) -> Group:
    runs = {"run": ["a", "b"], "architecture": "x", "match": "parameters", "parameters": [5, 5], "buffers": buffers}
    return Group("set", "generation", "", pd.DataFrame(runs))


@pytest.mark.parametrize(("buffers", "is_shown"), [([0, 0], False), ([0, 128], True)])
def test_the_page_shows_buffers_where_there_are_any(buffers: list[int], is_shown: bool) -> None:
    head = [cell.text for cell in grid([], budget.columns([group(buffers)])).head]
    assert ("buffers" in head) == is_shown


@pytest.mark.parametrize("buffers", [0, 1280])
def test_a_dry_run_shows_buffers_where_there_are_any(buffers: int) -> None:
    row = dict.fromkeys(("run", "dataset", "architecture", "match"), "x")
    row |= dict.fromkeys(("parameters", "embedding_parameters", "width", "heads", "depth", "hidden"), 8)
    row |= dict.fromkeys(("learning_rate", "dropout", "planned_tokens", "expected_flops", "expected_seconds"), 1)
    row["expected_loss_tokens"] = 1
    plan = SimpleNamespace(run="x", labelled="", row=lambda: {**row, "buffers": buffers})
    entry = Placement("x", "x", "", "parameters", "compared", "decoder", 1)
    table = dry_run._table(SimpleNamespace(plans=[plan], entries=[entry]))
    columns = dict(zip(*table, strict=True))
    assert columns.get("buffers") == (f"{buffers:,}" if buffers else None)


def test_few_numbers_may_be_constants() -> None:
    def built(count: int):
        constant = torch.ones(count, device="cpu")

        class Scales(nn.Module):
            def forward(self, x):
                return x * constant.mean()

        def build(size, limits):
            model = catalogue.find("decoder").build(size, replace(limits))
            model.embedding.norm = Scales()
            return model

        return build

    problems = [
        next(contract.results(built(count), checks=[contract.check("every_tensor_is_counted")])).problem
        for count in (1, 16, 17)
    ]
    assert problems[:2] == [None, None] and problems[2] is not None and "(17,)" in problems[2]


def with_buffer(shape):
    """Builds decoders with a buffer of zeros whose shape follows from size and limits."""

    def build(size, limits):
        model = catalogue.find("decoder").build(size, limits)
        model.register_buffer("held", torch.zeros(shape(size, limits)))
        return model

    return build


@pytest.mark.parametrize(
    ("shape", "holds"),
    [
        (lambda size, limits: (limits.vocabulary, size.dim), True),
        (lambda size, limits: (limits.length, limits.length), True),
        (lambda size, limits: (-(-limits.source_length // 64) * 64, size.dim), True),
        (lambda size, limits: (256,), True),
        (lambda size, limits: (257,), False),
        (lambda size, limits: (limits.vocabulary + 20, size.dim), False),
        (lambda size, limits: (1 if size.dim < 100 else 100_000,), False),
    ],
)
def test_buffers_grow_with_tokens_or_are_small(shape: Callable[..., tuple[int, ...]], holds: bool) -> None:
    (result,) = contract.results(with_buffer(shape), checks=[contract.check("constants_are_few")])
    assert (result.problem is None) == holds, result.problem
