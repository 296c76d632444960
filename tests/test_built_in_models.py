"""Built-in models are what they were: the same weights for a seed, and the same loss with them."""

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue, digests
from archbench.architectures.contract.subject import Build, allowed, fresh
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.families.variant import STOCK
from archbench.architectures.objectives.objective import Batch, mean_loss

NAMES = [name for name in (*catalogue.names(), *catalogue.ablated()) if name not in STOCK]
SIZE, LIMITS = Size(dim=64, heads=2, depth=3, hidden=96), Limits(vocabulary=60, source_length=12, target_length=12)
KNOWN = tomllib.loads(Path(__file__).with_name("built_in_models.toml").read_text(encoding="utf-8"))
DIGESTS = tomllib.loads(Path(__file__).with_name("ablation_digests.toml").read_text(encoding="utf-8"))
CHANGED = """{0} is another model than its runs so far were trained with. If that is intended:
- an ablation: give it another digest (any text) in architectures/catalogue/digests.py and in
  tests/ablation_digests.toml, which renames its runs
- code that more models share: raise `numerics` of the task kinds
- then replace its line in tests/built_in_models.toml by
{0} = {{ shapes = "{shapes}", weights = {weights:.9g}, loss = {loss:.9g}, label = {label:.9g} }}"""


def measured(name: str) -> dict[str, str | float]:
    """A hash of names and shapes, a weighted sum of the initial weights, and losses with random weights."""
    build = catalogue.find(name).build
    state = fresh(build, size=SIZE, limits=LIMITS).state_dict()
    shapes = hashlib.sha256(repr([(key, tuple(value.shape)) for key, value in state.items()]).encode()).hexdigest()
    weighted = (value.double().flatten() @ torch.linspace(1, 2, value.numel()).double() for value in state.values())
    losses = {"loss": loss(build, LIMITS), "label": loss(build, replace(LIMITS, target_length=1))}
    return {"shapes": shapes[:12], "weights": float(sum(weighted)), **losses}


@torch.no_grad()
def loss(build: Build, limits: Limits) -> float:
    """In nats per target token of four padded pairs of the longest lengths."""
    source = contract.sequences(4, limits.source_length, 1, limits)
    target = contract.sequences(4, limits.target_length, 2, limits)
    lengths = torch.tensor([12, 7, 12, 3])[:, None]
    present = torch.arange(limits.source_length) < lengths
    batch = Batch(source, target, present, torch.arange(limits.target_length) < lengths.flip(0))
    model = contract.subject(build, SIZE, limits).model
    return float(mean_loss(model, batch, allowed(limits=limits), torch.Generator().manual_seed(0), native=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_model_is_the_one_that_its_runs_are_named_by(name: str) -> None:
    found = measured(name)
    known = KNOWN.get(name, dict.fromkeys(found, 0.0))
    same = [found[key] == pytest.approx(known[key], rel=1e-5) for key in ("weights", "loss", "label")]
    assert found["shapes"] == known["shapes"] and all(same), CHANGED.format(name, **found)


def test_no_known_model_is_missing() -> None:
    assert set(KNOWN) == set(NAMES)


def test_an_ablation_has_the_digest_of_its_former_file() -> None:
    assert {name: digests.of(catalogue.find(name)) for name in catalogue.ablated()} == DIGESTS
    assert set(digests.KEPT) == set(DIGESTS)
