"""How encoders learn to fill in a canvas: order, weights and canvas are settings, and likelihoods stay exact."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny_runs
import torch

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract.counts.compute import measured
from archbench.architectures.contract.subject import BrokenError
from archbench.architectures.contract.trials import USUAL
from archbench.architectures.families.masking import CANVASES, ORDERS, WEIGHTS
from archbench.architectures.objectives.masked import Masked
from archbench.architectures.objectives.objective import Batch, LossInputs, estimate, exact_log_likelihood
from archbench.runs.budgets import measurements
from archbench.runs.budgets.contract_parts import Shape, parts
from archbench.runs.experiment.sections import Training
from archbench.runs.export import export
from archbench.runs.machine import machine
from archbench.runs.scoring import finished
from archbench.tasks.base.decoding import Decoding
from archbench.tasks.base.example import BOS, END, MASK, SPECIALS
from archbench.tasks.base.sealed import read_json
from archbench.tasks.kinds import task

SETTINGS = list(itertools.product(ORDERS, WEIGHTS, CANVASES))
LIMITS = replace(contract.LIMITS, target_length=8)


def encoder(order: str = "any", weights: str = "bound", canvas: str = "mask", limits: Any = LIMITS) -> Any:
    """An encoder with random weights, so that what it predicts is not uniform."""
    torch.manual_seed(0)
    told = replace(limits, mask_order=order, mask_weights=weights, canvas=canvas)
    model = catalogue.find("encoder").build(contract.SIZE, told)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def ended(*lengths: int) -> Batch:
    """Targets of so many tokens, END the last, after sources of five."""
    width = max(lengths)
    target = contract.sequences(len(lengths), width, seed=1, limits=LIMITS)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    for row, length in enumerate(lengths):
        target[row, length - 1] = END
    return Batch(contract.sequences(len(lengths), 5, limits=LIMITS), target, None, None if mask.all() else mask)


def every_token(limits: Any = LIMITS) -> torch.Tensor:
    allowed = torch.ones(limits.vocabulary, dtype=torch.bool)
    allowed[: len(SPECIALS)] = False
    allowed[END] = True
    return allowed


@torch.no_grad()
@pytest.mark.parametrize("canvas", CANVASES)
def test_the_mass_of_all_targets_is_one(canvas: str) -> None:
    """Targets of up to three cells of three words: ended ones, and those that fill the canvas."""
    limits = replace(LIMITS, vocabulary=len(SPECIALS) + 3, target_length=3)
    model, words = encoder(canvas=canvas, limits=limits), range(len(SPECIALS), len(SPECIALS) + 3)
    targets = [[*text, END] for n in range(3) for text in itertools.product(words, repeat=n)]
    targets += [list(text) for text in itertools.product(words, repeat=3)]
    mass = 0.0
    for target in targets:
        log_p = exact_log_likelihood(
            model, Batch(contract.sequences(1, 5, limits=limits), torch.tensor([target])), every_token(limits)
        )
        mass += float(log_p.exp())
    assert mass == pytest.approx(1.0, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("canvas", CANVASES)
def test_sampled_likelihoods_average_to_the_exact_one(canvas: str) -> None:
    model, one = encoder("mixed", "equal", canvas), ended(4)
    many = Batch(one.source.expand(2000, -1), one.target.expand(2000, -1))
    sampled = estimate(
        model,
        many,
        every_token(),
        torch.Generator().manual_seed(0),
        1,
        objective=model.objective.left_to_right_estimator,
    )
    error = 5 * float(sampled.std()) / len(sampled) ** 0.5
    assert abs(float(sampled.mean() + exact_log_likelihood(model, one, every_token()))) < error


@torch.no_grad()
@pytest.mark.parametrize(("order", "weights", "canvas"), SETTINGS)
def test_every_token_of_a_target_weighs_one_on_average(order: str, weights: str, canvas: str) -> None:
    model, batch = encoder(order, weights, canvas), ended(3, 6)
    cells = (2, 5) if canvas == "length" else (3, 6)  # the length stands for END
    total, draws = torch.zeros(2, 8), 1500
    for seed in range(draws):
        inputs = model.objective.prepare(model, batch, torch.Generator().manual_seed(seed), False)
        width = inputs.target.shape[1]
        total.index_put_((inputs.at // width, inputs.at % width), inputs.weights / draws, accumulate=True)
        assert bool((inputs.target.flatten()[inputs.at] == MASK).all())
    for row, count in enumerate(cells):
        assert total[row, :count].sum() == pytest.approx(count, rel=0.1)
        if order in ("any", "next-cell"):
            assert torch.allclose(total[row, :count], torch.ones(count), atol=0.25)
        fillers = canvas == "end" and order in ("any", "mixed")
        assert bool(total[row, count:].any()) == fillers
    assert (inputs.lengths is None) == (canvas != "length")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("canvas", CANVASES)
def test_equal_weights_do_not_depend_on_how_many_are_masked(order: str, canvas: str) -> None:
    model, batch = encoder(order, "equal", canvas), ended(6)
    drawn = [model.objective.prepare(model, batch, torch.Generator().manual_seed(seed), False) for seed in range(30)]
    weights = {round(float(weight), 5) for inputs in drawn for weight in inputs.weights}
    assert len(weights) == (2 if order == "mixed" and canvas == "end" else 1)
    assert len({len(inputs.at) for inputs in drawn}) > 1 or order == "next-cell"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("native", [True, False])
def test_training_executes_the_flops_that_are_counted(order: str, canvas: str, native: bool) -> None:
    limits = replace(LIMITS, target_length=24)
    model, rows = encoder(order, "equal", canvas, limits), 64
    target = contract.sequences(rows, 16, seed=1, limits=limits)
    target[:, -1] = END
    batch = Batch(contract.sequences(rows, 7, limits=limits), target)
    executed = sum(measured(model, batch, native, limits, seed=seed).total for seed in range(4)) / 4
    declared = rows * float(model.objective.training_flops(model, 7.0, 16.0, native).executed)
    assert executed == pytest.approx(declared, rel=0.01)


@torch.no_grad()
@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample", "confident"])
def test_an_answer_is_as_long_as_predicted(strategy: str) -> None:
    model, source = encoder(canvas="length"), contract.sequences(6, 5, limits=LIMITS)
    read = torch.cat([source, torch.full((6, 1), BOS)], 1)
    expected = model.prefill(read).lengths.tolist()
    decoding = Decoding(max_tokens=9, strategy=strategy, beams=2, rounds=3)
    answers = model.objective.generate(
        model, read[:, :-1], None, every_token(), decoding, torch.Generator().manual_seed(0)
    )
    assert len(set(expected)) > 1 and [len(answer) for answer in answers] == expected


@torch.no_grad()
@pytest.mark.parametrize("canvas", CANVASES)
def test_greedy_writing_follows_the_likelihood(canvas: str) -> None:
    """The likelihood of a greedy answer is that of its tokens as they are written, and of its length."""
    model, source = encoder(canvas=canvas), contract.sequences(1, 5, limits=LIMITS)
    (answer,) = model.objective.generate(model, source, None, every_token(), Decoding(max_tokens=8))
    text = torch.cat([answer, torch.tensor([END])]) if len(answer) < 8 else answer
    read = torch.cat([source, torch.full((1, 1), BOS)], 1)
    logits, _ = model.decode(torch.cat([torch.tensor([BOS]), text[:-1]])[None], model.prefill(read))
    steps = logits[0].masked_fill(~every_token(), float("-inf")).log_softmax(-1)
    expected = steps.gather(1, text[:, None]).sum()
    if canvas == "length":
        expected = expected + model.length_logits(read).log_softmax(-1)[0, len(answer)]
    log_p = exact_log_likelihood(model, Batch(source, text[None]), every_token())
    assert steps.argmax(1).tolist() == text.tolist() and float(log_p) == pytest.approx(float(expected), abs=1e-4)


def test_what_fills_a_canvas_is_masked_and_predicted_like_the_text() -> None:
    model, batch = encoder(canvas="end"), ended(3)
    inputs = model.objective.prepare(model, batch, torch.Generator().manual_seed(1), False)
    filled = torch.nn.functional.pad(batch.target, (0, 5), value=END)
    assert torch.equal(inputs.labels, filled.flatten()[inputs.at]) and bool((inputs.at >= 3).any())
    assert torch.equal(torch.where(inputs.target == MASK, filled, inputs.target), filled)


@torch.no_grad()
def test_a_target_that_is_its_end_alone_has_no_cells() -> None:
    model, batch = encoder(canvas="length"), ended(1, 1)
    inputs = model.objective.prepare(model, batch, torch.Generator().manual_seed(0), False)
    loss = model.objective.loss(model, inputs, every_token())
    log_p = exact_log_likelihood(model, batch, every_token())
    assert inputs.target.shape == (2, 0) and float(loss) == pytest.approx(-float(log_p.sum()), abs=1e-5)


@pytest.mark.parametrize("canvas", CANVASES)
def test_a_run_with_these_settings_trains_scores_and_is_read_again(canvas: str, tmp_path: Path) -> None:
    place = tiny_runs.write_data(tmp_path)
    usual = tiny_runs.trained(place, tmp_path / "a", "encoder", "turned")
    run = tiny_runs.trained(
        place, tmp_path / "b", "encoder", "turned", mask_order="mixed", mask_weights="equal", canvas=canvas
    )
    again = finished.read(run)
    assert run.name != usual.name and again.model.objective.equal and again.model.objective.suffix == 0.5
    assert (again.model.lengths is not None) == (canvas == "length")
    assert read_json(run / "record.json")["mask_weights"] == "equal"
    ways = pd.DataFrame(read_json(run / "decodings.json"))
    assert list(dict.fromkeys(ways["decoding"])) == ["10 rounds", "4 rounds", "one pass"]
    flops = ways.groupby("decoding")["flops"].first()
    assert flops["one pass"] <= flops["4 rounds"] <= flops["10 rounds"]
    if canvas != "length":  # a round costs the same for answers of any length
        test = task.prepare(again.plan.task, place / "cache").test
        lengths = test.source_lengths.astype(float), test.target_lengths.astype(float)
        expected = measurements.answer(again.variant, "rounds_flops", again.plan.size, again.plan.limits, lengths)
        assert sum(flops) * len(test) == pytest.approx(expected)
    scores = {row["metric"] for row in read_json(run / "scores.json") if row["split"] == "test"}
    assert set(ways["metric"]) <= scores and ways["value"].notna().all()


@pytest.mark.parametrize(
    ("architecture", "data", "adds"),
    [
        ("encoder", "turned", True),
        ("encoder", "colours", False),
        ("encoder", "running", False),
        ("decoder", "turned", False),
    ],
)
def test_answers_in_rounds_add_to_the_expected_time(
    architecture: str, data: str, adds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "training_rate", lambda on, bf16: 1e9)
    experiment = tiny_runs.experiment(tiny_runs.write_data(tmp_path), architecture, data)
    (plan,) = tiny_runs.planned(experiment, tmp_path, tmp_path).plans
    monkeypatch.setattr(measurements, "ROUNDS", {})
    (without,) = tiny_runs.planned(experiment, tmp_path, tmp_path).plans
    assert (plan.scoring_seconds > without.scoring_seconds) == adds
    assert plan.expected_seconds - plan.scoring_seconds == pytest.approx(
        without.expected_seconds - without.scoring_seconds
    )


def test_what_encoders_are_told_names_no_run_of_another_family(tmp_path: Path) -> None:
    place = tiny_runs.write_data(tmp_path)
    runs = [tiny_runs.trained(place, tmp_path / name, "decoder", "turned", canvas=name).name for name in CANVASES]
    assert len(set(runs)) == 1


def test_an_exported_model_predicts_lengths_too(tmp_path: Path) -> None:
    place = tiny_runs.write_data(tmp_path)
    run = finished.read(tiny_runs.trained(place, tmp_path / "runs", "encoder", "turned", canvas="length"))
    theirs, is_stock = export.model(run)
    theirs.save_pretrained(tmp_path / "saved")
    again = type(theirs).from_pretrained(tmp_path / "saved")
    assert not is_stock and torch.equal(again.model.lengths.weight, run.model.lengths.weight)
    assert bool(run.model.lengths.weight.detach().any())


def test_a_length_that_is_always_the_same_is_not_predicted(tmp_path: Path) -> None:
    place = tiny_runs.write_data(tmp_path)
    run = finished.read(tiny_runs.trained(place, tmp_path / "runs", "encoder", "windows", canvas="length"))
    assert run.plan.training.canvas == "mask" and run.model.lengths is None


def test_files_take_the_usual_form_where_targets_end_and_records_the_former_one(tmp_path: Path) -> None:
    place = tiny_runs.write_data(tmp_path)
    forms = {
        name: tiny_runs.experiment(place, "encoder", name).tasks[0].training.masking for name in ("turned", "windows")
    }
    assert forms["turned"] == {"mask_order": "any", "mask_weights": "equal", "canvas": "length"}
    assert forms["windows"] == Training().masking == {"mask_order": "any", "mask_weights": "bound", "canvas": "mask"}
    stated = tiny_runs.experiment(place, "encoder", "turned", mask_weights="bound").tasks[0].training
    assert stated.masking == {"mask_order": "any", "mask_weights": "bound", "canvas": "length"}


class AsBert(Masked):
    """Of the predicted tokens a tenth shows another token and a tenth itself, as BERT learns (1810.04805)."""

    shown = 0.1

    @property
    def left_to_right_estimator(self) -> Masked:
        return Masked(next_cell=True)

    def prepare(self, model: Any, batch: Batch, generator: torch.Generator | None, native: bool) -> LossInputs:
        inputs = super().prepare(model, batch, generator, native)
        draw = torch.rand(len(inputs.labels), generator=generator)
        cells = inputs.target.flatten()
        others = inputs.labels[torch.randperm(len(inputs.labels), generator=generator)]
        cells[inputs.at] = torch.where(draw < 0.1, others, torch.where(draw < 0.2, inputs.labels, MASK))
        return inputs._replace(target=cells.view_as(inputs.target))


@pytest.mark.parametrize(("shown", "refused"), [(0.1, False), (0.0, True)])
def test_the_contract_takes_an_objective_that_shows_as_many_tokens_as_it_says(
    shown: float, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(size: Any, limits: Any) -> Any:
        model = catalogue.find("encoder").build(size, limits)
        model.objective = AsBert(rate=0.15, equal=True)
        return model

    monkeypatch.setattr(AsBert, "shown", shown)
    check = next(check for check in contract.CHECKS if check.__name__ == "estimates_average_to_the_likelihood")
    (result,) = contract.results(build, Path(__file__), [check], USUAL)
    assert ("show the token to be predicted" in (result.problem or "")) is refused
    assert bool(result.problem) is refused


@pytest.mark.parametrize(("order", "weights", "canvas"), SETTINGS)
def test_the_contract_knows_the_loss_of_every_form(order: str, weights: str, canvas: str) -> None:
    contract.check("the_training_loss_is_the_likelihood")(subject(order, weights, canvas))


@pytest.mark.parametrize(
    ("canvas", "changed", "words"),
    [
        ("length", lambda loss: loss._replace(lengths=loss.lengths + 1), "lengths are not those of the targets"),
        ("length", lambda loss: loss._replace(weights=loss.weights * 2), "a target of 2 tokens weighs"),
        ("end", lambda loss: loss._replace(labels=loss.labels * 0 + END), "hidden cells have other labels"),
    ],
)
def test_the_contract_refuses_another_loss_in_every_canvas(
    canvas: str, changed: Callable[[Any], Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = subject("any", "equal", canvas)
    prepare = Masked.prepare
    monkeypatch.setattr(Masked, "prepare", lambda *given: changed(prepare(*given)))
    with pytest.raises(BrokenError, match=words):
        contract.check("the_training_loss_is_the_likelihood")(case)


def test_the_contract_refuses_cells_shown_after_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    case, draw = subject("next-cell", "equal", "length"), Masked._draw_mask

    def shown(objective: Masked, *given: Any) -> Any:
        drawn = draw(objective, *given)
        first = drawn.masked & (drawn.masked.cumsum(1) == 1)
        return drawn._replace(masked=first, predicted=first)

    monkeypatch.setattr(Masked, "_draw_mask", shown)
    with pytest.raises(BrokenError, match="cells that are not hidden differ from the target"):
        contract.check("the_training_loss_is_the_likelihood")(case)


def test_a_file_is_checked_in_the_form_of_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told, prepare = replace(LIMITS, mask_weights="equal", canvas="length"), Masked.prepare
    part = parts([Shape(contract.SIZE, told, native=False)])["form", "any", "equal", "length"]
    usual = subject("any", "bound", "mask")
    part.checks[0](usual)
    monkeypatch.setattr(Masked, "prepare", lambda *given: prepare(*given)._replace(lengths=None))
    contract.check("the_training_loss_is_the_likelihood")(usual)  # it predicts no length
    with pytest.raises(BrokenError):
        part.checks[0](usual)
    assert not [key for key in parts([Shape(contract.SIZE, LIMITS, native=False)]) if key[0] == "form"]


def subject(order: str, weights: str, canvas: str) -> contract.Subject:
    told = replace(contract.LIMITS, mask_order=order, mask_weights=weights, canvas=canvas)
    return contract.subject(catalogue.find("encoder").build, limits=told)
