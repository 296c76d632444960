"""The example in plain PyTorch has the models of archbench: with the same weights it gives the same numbers."""

import importlib.util
import random
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.objectives import masked
from archbench.architectures.objectives.objective import Batch, exact_log_likelihood, mean_loss
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, END, MASK, PAD

FILE = Path(__file__).parents[1] / "examples" / "three_families.py"
FAMILIES = ("decoder", "encoder", "encoder-decoder")
LIMITS = Limits(512, 20, 24, mask_weights="equal", canvas="length")
JOINED = {"query_key_value": ("query", "key", "value"), "gate_up": ("gate", "up")}
NAMES = {  # theirs of archbench's
    "embedding.weight": "table.weight",
    "head.weight": "output.weight",
    "lengths.weight": "length.weight",
}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("three_families", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["three_families"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def pairs(example: ModuleType, count: int = 6) -> list[Any]:
    """Random pairs of different lengths."""
    rng = random.Random(7)
    rows = [(rng.randint(2, 9), rng.randint(1, 8)) for _ in range(count)]
    return [
        example.Pair([rng.randint(5, 511) for _ in range(n)], [*(rng.randint(5, 511) for _ in range(m)), END])
        for n, m in rows
    ]


def batch_of(some: list[Any]) -> Batch:
    def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = torch.tensor([len(row) for row in rows])[:, None]
        width = int(lengths.max())
        return torch.tensor([row + [PAD] * (width - len(row)) for row in rows]), torch.arange(width) < lengths

    (source, source_mask), (target, target_mask) = padded([p.source for p in some]), padded([p.target for p in some])
    return Batch(source, target, source_mask, target_mask)


def allowed() -> torch.Tensor:
    tokens = torch.arange(512) >= 5
    tokens[END] = True
    return tokens


def both(example: ModuleType, family: str) -> tuple[Any, Any]:
    """The model of archbench with random weights, and the example's with the same."""
    torch.manual_seed(3)
    size = example.SIZES[family]
    ours = catalogue.find(family).build(Size(size.width, size.heads, size.depth, size.hidden), LIMITS).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15 + (parameter.ndim == 1))
    theirs = example.build(family, size)
    theirs.load_state_dict(dict(renamed(family, ours.state_dict())))
    return ours, theirs


def renamed(family: str, weights: dict[str, torch.Tensor]) -> Any:
    """Weights under the example's names; matrices that archbench joins, apart."""
    for name, value in weights.items():
        if name in NAMES:
            yield NAMES[name], value
            continue
        stack, *path = name.split(".")
        path = re.sub(r"around_(\w+)\.norm", r"\1_norm", ".".join(path)).split(".")
        start = ["stack"] if family != "encoder-decoder" or stack == "decoder" else ["encoder"]
        place = [*start, *path]
        for joined, parts in JOINED.items():
            if joined in place:
                for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
                    yield ".".join(part if word == joined else word for word in place), piece
                break
        else:
            yield ".".join(place), value


def test_the_example_is_short_and_imports_nothing_of_archbench(example: ModuleType) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400 and not re.search(r"^\s*(import|from) archbench", text, re.MULTILINE)


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_that_archbench_fits(example: ModuleType, family: str) -> None:
    ours, theirs = both(example, family)
    stacked = sum(p.numel() for group in example.groups(theirs)[:2] for p in group)
    assert stacked == 250_160
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_logits_are_equal(example: ModuleType, family: str) -> None:
    """Up to a constant for each token: of archbench the logits, of the example the log probabilities."""
    ours, theirs = both(example, family)
    for pair in pairs(example):
        source, target = pair.source, pair.target[:-1]
        if family == "encoder":
            cells = [token if i % 2 else MASK for i, token in enumerate(target)]
            states = ours.hidden(torch.tensor([[*source, BOS]]), torch.tensor([cells])).target
            log_p = theirs.fill([source], [cells])
        else:
            states = ours.hidden(torch.tensor([source]), torch.tensor([[BOS, *target]])).target
            log_p = theirs.predict([source], [[BOS, *target]])
        logits, written = ours.logits(states), log_p.isfinite()
        assert written.any(-1).all() and logits.shape == log_p.shape
        difference = (logits - log_p).masked_fill(~written, torch.nan)
        assert (difference - difference.nanmean(-1, keepdim=True)).nan_to_num().abs().max() < 1e-5 * logits.abs().max()


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_are_equal(example: ModuleType, family: str) -> None:
    ours, theirs = both(example, family)
    some = pairs(example)
    with torch.no_grad():
        log_p = exact_log_likelihood(ours, batch_of(some), allowed())
        assert torch.allclose(-log_p.float(), theirs.nll(some), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_equal(example: ModuleType, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = both(example, family)
    some = pairs(example)

    def drawn(count: torch.Tensor, candidates: torch.Tensor, generator: object) -> torch.Tensor:
        """The cells that the example masks."""
        rng, cells = random.Random(5), torch.zeros_like(candidates)
        for row, pair in enumerate(some):
            n = len(pair.target) - 1
            cells[row, rng.sample(range(n), rng.randint(1, n))] = True
        return cells

    monkeypatch.setattr(masked, "random_cells", drawn)
    loss = mean_loss(ours, batch_of(some), allowed())
    other = theirs.loss(some, random.Random(5)) / sum(len(pair.target) for pair in some)
    assert loss.item() == pytest.approx(other.item(), rel=1e-5)
    loss.backward()
    other.backward()
    gradients = dict(renamed(family, {name: p.grad for name, p in ours.named_parameters()}))
    for name, parameter in theirs.named_parameters():
        assert torch.allclose(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_equal(example: ModuleType, family: str) -> None:
    ours, theirs = both(example, family)
    some = pairs(example)
    batch = batch_of(some)
    with torch.no_grad():
        answers = ours.objective.generate(
            ours, batch.source, batch.source_mask, allowed(), Decoding(max_tokens=example.LONGEST)
        )
        other = [row[: row.index(END)] if END in row else row for row in theirs.greedy([pair.source for pair in some])]
    assert [answer.tolist() for answer in answers] == other
