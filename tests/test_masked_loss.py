"""The loss over hidden ends of a target bounds no likelihood, and nothing says that it does."""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import synthetic
import tiny_runs
import torch

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.objectives.masked import Masked, _ended
from archbench.architectures.objectives.objective import Batch, estimate
from archbench.reports.base import tables
from archbench.reports.base.tables import Tables
from archbench.reports.contrasts.verdicts import cautions
from archbench.reports.figures import figures
from archbench.reports.report import Report
from archbench.runs.execution import work
from archbench.runs.experiment import spec
from archbench.tasks.base.example import MASK
from archbench.tasks.metrics.builtin import BUILTIN

EXPERIMENT = {
    "name": "tiny",
    "architectures": ["suffix-encoder", "encoder"],
    "budget": {"parameters": 20_000, "tokens": 3_000},
    "model": {"width": 32},
    "training": {"batch_tokens": 400, "precision": "float32"},
    "tasks": [{"kind": "generation", "name": "running", "data": "things.txt", "context": 32, "test_examples": 4}],
}


@torch.no_grad()
def test_the_loss_over_hidden_ends_is_below_every_likelihood_of_some_targets() -> None:
    """Over all targets of two tokens: a bound would be at or above -log p of the mixture over orders."""
    encoder = contract.subject(catalogue.find("suffix-encoder").build).model
    vocabulary = contract.LIMITS.vocabulary
    allowed = torch.ones(vocabulary, dtype=torch.bool)
    tokens = range(8, 16)
    source, _ = _ended(contract.sequences(1, 5), None)

    def nats(target: Sequence[int], cell: int, revealed: Sequence[int]) -> float:
        canvas = torch.full((1, encoder.canvas), MASK)
        canvas[0, list(revealed)] = torch.tensor([target[place] for place in revealed], dtype=torch.long)
        return -float(encoder(source, canvas)[0, cell].log_softmax(-1)[target[cell]])

    below_left_to_right = below_mixture = 0
    for target in itertools.product(tokens, tokens):
        forward = nats(target, 0, ()) + nats(target, 1, (0,))
        backward = nats(target, 1, ()) + nats(target, 0, (1,))
        mixture = -math.log((math.exp(-forward) + math.exp(-backward)) / 2)
        any_order = (forward + backward) / 2
        masked_loss = nats(target, 1, (0,)) + (nats(target, 0, ()) + nats(target, 1, ())) / 2
        assert any_order >= mixture - 1e-5
        below_left_to_right += masked_loss < forward - 1e-4
        below_mixture += masked_loss < mixture - 1e-4
        if target == (8, 9):
            pairs = Batch(contract.sequences(1, 5).expand(400, -1), torch.tensor([target]).expand(400, -1))
            generator = torch.Generator().manual_seed(0)
            estimated = estimate(encoder, pairs, allowed, generator, draws=10, objective=Masked(suffix=True))
            assert estimated is not None and estimated.mean().item() == pytest.approx(masked_loss, rel=0.02)
    assert below_left_to_right and below_mixture
    assert Masked().estimate_is_bound and not Masked(suffix=True).estimate_is_bound
    assert Masked(suffix=True).needs_pass_per_token
    assert not Masked(rate=0.15).estimate_is_bound  # few hidden tokens are easier to predict than the first of many


@torch.no_grad()
@pytest.mark.parametrize("name", ["encoder", "suffix-encoder", "next-cell-encoder", "stratified-encoder"])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_what_validation_samples_is_the_likelihood_in_expectation(length: int, name: str) -> None:
    encoder = contract.subject(catalogue.find(name).build).model
    sampled = encoder.objective.left_to_right_estimator
    allowed = torch.ones(contract.LIMITS.vocabulary, dtype=torch.bool)
    batch = Batch(contract.sequences(1, 5).expand(400, -1), contract.sequences(1, length, seed=2).expand(400, -1))
    exact = -encoder.objective.log_likelihood(encoder, batch, allowed)[0]
    estimates = estimate(encoder, batch, allowed, torch.Generator().manual_seed(0), draws=10, objective=sampled)
    error = 4 * float(estimates.std()) / len(estimates) ** 0.5 + 1e-4
    assert float(estimates.mean()) == pytest.approx(float(exact.mean()), abs=error)
    inputs = sampled.prepare(encoder, batch, torch.Generator().manual_seed(0), False)
    assert len(inputs.at) == len(batch.target) and set(inputs.weights.tolist()) == {float(length)}


def test_a_run_records_it_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "things.txt").write_text("\n".join(f"house {n} and car {n * n}" for n in range(200)))
    plans = tiny_runs.planned(spec.from_dict(EXPERIMENT, folder=tmp_path), tmp_path, tmp_path).plans
    recorded = {}
    for plan in plans:
        place = tmp_path / "runs" / plan.run
        work.perform(plan, place, lambda progress: None, lambda: False)
        curves = pd.read_csv(place / "curves.csv")
        scores = {row["metric"] for row in json.loads((place / "scores.json").read_text())}
        record = json.loads((place / "record.json").read_text())
        losses = set(curves.loc[curves["split"] == "validation", "metric"])
        recorded[plan.architecture] = (losses, record["objective"], scores & {"bits_per_byte_bound", "masked_loss"})
    assert recorded == {
        "encoder": ({"nll_per_token_sampled"}, "masked", {"bits_per_byte_bound"}),
        "suffix-encoder": ({"nll_per_token_sampled"}, "suffix", {"masked_loss"}),
    }


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Tables of a comparison whose encoder hides ends of the target."""
    root = tmp_path_factory.mktemp("store")
    synthetic.write_store(root, [synthetic.SHAKESPEARE])
    frames = tables.collect(root)
    encoders = frames["runs"]["architecture"] == "encoder"
    frames["runs"].loc[encoders, "objective"] = "suffix"
    for name in ("curves", "scores"):
        bound = frames[name]["metric"].isin(["nll_per_token_bound", "bits_per_byte_bound"])
        frames[name].loc[bound, "metric"] = "masked_loss"
    return frames


def test_a_report_draws_and_describes_it_apart(reported: Tables) -> None:
    (curves,) = (figure for figure in figures.figures(Report(reported)) if figure.name == "curves_tokens")
    assert "Dotted: a loss over masked ends" in curves.caption and "any-order" not in curves.caption
    assert set(curves.numbers["metric"]) == {"nll_per_token", "masked_loss"}
    (primary,) = Report(reported).first
    notes = " ".join(cautions(primary))
    assert "encoder: checkpoints were selected on the masked loss, which does not bound" in notes
    assert "chosen by a bound" not in notes
    assert BUILTIN["masked_loss"].better == "" and "bounds no likelihood" in BUILTIN["masked_loss"].meaning
