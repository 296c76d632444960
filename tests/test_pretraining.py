"""Pretraining: what is learnt, that it resumes exactly, and what starts from it."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_plans
import tiny_runs
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.contract.counts import compute
from archbench.architectures.objectives import masked as masked_module
from archbench.architectures.objectives.causal_and_masked import CausalAndMasked
from archbench.architectures.objectives.objective import Batch, mean_loss
from archbench.inspection import subject
from archbench.runs.execution import compare, dry_run, work
from archbench.runs.execution.compare import RunOptions
from archbench.runs.execution.execute import Outcome
from archbench.runs.experiment import spec
from archbench.runs.experiment.sections import Pretraining
from archbench.runs.export import export
from archbench.runs.planning import matrix as planning
from archbench.runs.planning.matrix import Matrix
from archbench.runs.plans.messages import Interrupted
from archbench.runs.plans.plan import Plan, from_json
from archbench.runs.scoring import predict
from archbench.runs.store import store
from archbench.runs.training import from_plan, weight_transfer
from archbench.runs.training.step import Trainer
from archbench.runs.training.weight_transfer import PretrainedWeights
from archbench.tasks.base import sealed
from archbench.tasks.base.errors import InputError
from archbench.tasks.base.example import BOS, END, MASK, PAD
from archbench.tasks.kinds import task as task_data
from archbench.tasks.text.tokenizers import load_tokenizer

FAMILIES = ("decoder", "encoder", "encoder-decoder", "prefix-decoder")
OWN = dict(zip(FAMILIES, ("causal", "masked", "span-corruption", "prefix"), strict=True))
COLOURS = {"kind": "classification", "name": "colours", "data": "things.tsv", "source_length": 8, "test_examples": 20}
TURNED = {
    "kind": "translation",
    "name": "turned",
    "data": "things.tsv",
    "columns": {"source": "text", "target": "turned"},
}
BUDGET = {"parameters": 20_000, "tokens": 3_000}
TEXT = {"name": "own", "data": "things.txt", "vocabulary": 300, "context": 24, "test_examples": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_runs.write_data(tmp_path_factory.mktemp("data"))


def values(**changes: Any) -> dict[str, Any]:
    settings = {
        "name": "tiny",
        "architectures": list(FAMILIES),
        "budget": BUDGET,
        "model": {"width": 32},
        "training": {"batch_tokens": 300, "learning_rate": 0.01, "precision": "float32"},
        "pretraining": [TEXT],
        "tasks": [{**COLOURS, "start": ["scratch", "own"]}],
    }
    return {**settings, **changes}


def planned(folder: Path, root: Path, **changes: Any) -> Matrix:
    return small_plans.plan(values(**changes), folder, root)


def perform(plan: Plan, root: Path, steps: int | None = None) -> Path:
    place, calls = root / "runs" / plan.run, iter(range(10**9))
    work.perform(plan, place, lambda progress: None, lambda: steps is not None and next(calls) >= steps)
    return place


def of_role(matrix: Matrix, role: str) -> list[Plan]:
    names = {entry.run for entry in matrix.entries if entry.role == role}
    return [plan for plan in matrix.plans if plan.run in names]


def trainer(plan: Plan, start: PretrainedWeights | None = None) -> Trainer:
    return from_plan.new_trainer(plan, from_plan.prepared_data(plan), start)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_usual_objective(folder: Path, tmp_path: Path, family: str) -> None:
    (plan,) = of_role(planned(folder, tmp_path, architectures=[family]), "pretraining")
    assert plan.objective == {OWN[family]: 1.0} and plan.row()["task"] == "pretraining"
    training = trainer(plan)
    batch, _ = next(training.stream(plan.tokens).start())
    inputs = training.training_step.objective.prepare(
        training.model, batch, torch.Generator().manual_seed(0), plan.native
    )
    sentinels = load_tokenizer(from_plan.prepared_data(plan).tokenizer.to_json()).label_ids
    marked = [bool(torch.isin(part, torch.tensor(list(sentinels))).any()) for part in (batch.source, batch.target)]
    assert marked == [family == "encoder-decoder"] * 2
    assert (inputs.source_labels is not None) == (family in ("decoder", "encoder"))
    if family != "encoder":
        assert len(set(batch.source_lengths.tolist())) > 1 or family == "encoder-decoder"


WAYS = (
    {"causal": 1.0},
    {"prefix": 1.0},
    {"span-corruption": 1.0},
    {"causal": 0.4, "prefix": 0.3, "span-corruption": 0.3},
)


def _randomized(family: str, objective: dict[str, float], folder: Path, root: Path) -> tuple[Plan, Trainer, Batch]:
    """The trainer of a pretraining with noise on every parameter (the output matrix starts at zero), and a batch."""
    matrix = planned(folder, root, architectures=[family], pretraining=[{**TEXT, "objective": objective}])
    (plan,) = of_role(matrix, "pretraining")
    training = trainer(plan)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    training.model.eval().requires_grad_(False)
    return plan, training, next(training.stream(plan.tokens).start())[0]


@pytest.mark.parametrize("objective", WAYS, ids=[", ".join(way) for way in WAYS])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "encoder"])
def test_a_loss_is_that_of_every_token_after_the_tokens_before_it(
    folder: Path, tmp_path: Path, family: str, objective: dict[str, float]
) -> None:
    """Without padding; each token by a forward pass that is given nothing but what comes before it."""
    plan, training, batch = _randomized(family, objective, folder, tmp_path)
    allowed, model, rows = training.training_step.allowed_tokens, training.model, range(min(4, len(batch.target)))
    begin = torch.tensor([[BOS]])
    of_targets, of_sources = list[float](), list[float]()
    for row in rows:
        source = batch.source[row : row + 1, : int(batch.source_lengths[row])]
        target = batch.target[row : row + 1, : int(batch.target_lengths[row])]
        for at, token in enumerate(target[0]):
            logits = model(source, torch.cat([begin, target[:, :at]], 1))[0, -1]
            of_targets.append(-float(logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)[token]))
        for at in range(1, source.shape[1] if plan.native and model.source_predicts else 0):
            state = model.hidden(source[:, :at], begin).source[0, -1]
            of_sources.append(-float(model.logits(state[None])[0].log_softmax(-1)[source[0, at]]))
    few = Batch(*(None if part is None else part[: len(rows)] for part in batch))
    inputs = training.training_step.objective.prepare(model, few, None, plan.native)
    mean_of_sources = sum(of_sources) / len(of_sources) if of_sources else 0.0
    expected = sum(of_targets) + mean_of_sources * len(of_targets)  # source and target weigh the same
    assert float(training.training_step(inputs)[0]) == pytest.approx(expected, rel=1e-4)
    assert (len(of_sources) > 0) == (family == "decoder" and objective == {"causal": 1.0})
    chance = (len(of_targets) + (len(of_targets) if of_sources else 0)) * math.log(int(allowed.sum()))
    assert abs(expected / chance - 1) > 0.01  # else any tokens would have this loss


@pytest.mark.parametrize("way", ["span-corruption", "prefix"])
def test_the_encoder_fills_in_targets(folder: Path, tmp_path: Path, way: str) -> None:
    """Its loss is the mean over all subsets of the target's tokens that may be hidden, each k from 1 to n alike."""
    plan, training, batch = _randomized("encoder", {way: 1.0}, folder, tmp_path)
    row = int(batch.target_lengths.argmin())
    source = batch.source[row : row + 1, : int(batch.source_lengths[row])]
    target = batch.target[row : row + 1, : int(batch.target_lengths[row])]
    allowed, model, count = training.training_step.allowed_tokens, training.model, target.shape[1]
    assert 1 < count < 8 and not plan.native

    def nats(hidden: tuple[int, ...]) -> float:
        canvas = torch.full((1, model.canvas), MASK)
        canvas[:, :count] = target
        canvas[0, list(hidden)] = MASK
        logits = model.logits(model.hidden(F.pad(source, (0, 1), value=BOS), canvas).target)[0, :count]
        scores = logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)
        return -sum(float(scores[at, target[0, at]]) for at in hidden)

    by_size = [
        [nats(hidden) * count / size for hidden in itertools.combinations(range(count), size)]
        for size in range(1, count + 1)
    ]
    expected = sum(sum(part) / len(part) for part in by_size) / count
    many = Batch(source.expand(4000, -1), target.expand(4000, -1))
    loss = mean_loss(model, many, allowed, torch.Generator().manual_seed(0), plan.native)
    assert float(loss) * count == pytest.approx(expected, rel=0.03)


@torch.no_grad()
@pytest.mark.parametrize("rate", [None, 0.4])
def test_masking_a_window_is_the_mean_over_all_that_may_be_hidden(rate: float | None) -> None:
    """Five tokens, two of the source and three of the target: every subset, weighted as the objective declares."""
    model = contract.subject(catalogue.find("encoder").build).model.eval()
    allowed = torch.ones(contract.LIMITS.vocabulary, dtype=torch.bool)
    source, target = contract.sequences(1, 2), contract.sequences(1, 3, seed=2)
    objective = replace(model.objective, joint=True, rate=rate)
    tokens = torch.cat([source, target], 1)[0]

    def nats(hidden: tuple[int, ...]) -> float:
        cells = [torch.tensor([i in hidden for i in part])[None] for part in (range(2), range(2, 5))]
        ended_source, _ = masked_module._ended(source.masked_fill(cells[0], MASK), None)
        canvas, _ = masked_module._canvas(model, Batch(source, target.masked_fill(cells[1], MASK)))
        states = model.hidden(ended_source, canvas)
        logits = torch.cat([model.logits(states.source)[0, :2], model.logits(states.target)[0, :3]])
        return -sum(float(logits[i].log_softmax(-1)[tokens[i]]) for i in hidden)

    sizes = range(1, 6) if rate is None else [2]
    by_size = [[nats(hidden) * 5 / k for hidden in itertools.combinations(range(5), k)] for k in sizes]
    expected = sum(sum(part) / len(part) for part in by_size) / len(by_size)
    batch = Batch(source.expand(3000, -1), target.expand(3000, -1))
    loss = mean_loss(model, batch, allowed, torch.Generator().manual_seed(0), True, objective=objective)
    assert float(loss) * 3 == pytest.approx(expected, rel=0.02)
    counted = objective.loss_tokens(model, 2.0, 3.0, True)
    assert counted == (3.0 if rate is None else 2.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_resumed_pretraining_and_what_starts_from_it_are_bit_equal(folder: Path, tmp_path: Path, family: str) -> None:
    finished = []
    for root, parts in ((tmp_path / "whole", ()), (tmp_path / "parts", (2, 4))):
        (before,) = of_role(planned(folder, root, architectures=[family]), "pretraining")
        for steps in parts:
            with pytest.raises(Interrupted):
                perform(before, root, steps)
        perform(before, root)
        (after,) = [plan for plan in planned(folder, root, architectures=[family]).plans if plan.start]
        assert after.start == before.run and after.pretraining_tokens == before.tokens
        for steps in parts:
            with pytest.raises(Interrupted):
                perform(after, root, steps)
        finished.append([(perform(plan, root) / "model.safetensors").read_bytes() for plan in (before, after)])
    assert finished[0] == finished[1]
    record = store.read_record(tmp_path / "whole" / "runs" / after.run)
    assert record is not None and (record["start"], record["adapt"]) == ("own", "finetune")
    assert store.read_record(tmp_path / "whole" / "runs" / before.run)["objective"] == OWN[family]  # type: ignore[index]


def test_runs_wait_for_their_start_and_others_do_not(folder: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"architectures": ["decoder"], "seeds": [0, 1]}
    changes["tasks"] = [{**COLOURS, "start": ["scratch", "own"], "examples": [20, "all"]}]
    first = planned(folder, tmp_path, **changes)
    starts = of_role(first, "pretraining")
    assert len(starts) == 2 and len(of_role(first, "compared")) == 4
    assert {plan.start for plan in first.later} == {plan.run for plan in starts} and len(first.later) == 4
    for plan in starts:
        perform(plan, tmp_path)
    then = planned(folder, tmp_path, **changes)
    assert not then.later and len(then.plans) == 10
    words = [entry.condition for entry in then.entries if entry.role == "compared"]
    assert list(dict.fromkeys(words)) == [
        *("", "pretraining own, 20 examples", "no pretraining, all examples", "pretraining own, all examples"),
    ]
    for plan in then.plans:
        assert replace(plan.size, dropout=0.0) == starts[0].size and (not plan.start or f"-s{plan.seed}-" in plan.start)
        assert from_json(plan.to_json()) == plan
    rows = [plan.row() for plan in of_role(then, "compared")]
    assert {row["examples"] for row in rows} == {20, max(row["examples"] for row in rows)}
    assert {row["start"] for row in rows} == {"scratch", "own"} and "start" not in starts[0].row()


def test_a_run_begins_once_what_it_needs_has_ended_and_none_before(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round by round, only what the first waiting run needs ends."""
    changes = {"architectures": ["decoder"], "tuning": {"learning_rate": [0.01, 0.02, 0.04], "dropout": [0.0]}}
    divided, listed = planning._divided, list[Any]()
    monkeypatch.setattr(planning, "_divided", lambda runs, root: divided(listed.append(runs) or runs, root))
    ended, waiting = set[str](), [1]
    while waiting:
        matrix = planned(folder, tmp_path, **changes)
        needs = {run.placement.run: {need.placement.run: need.plan for need in run.needs} for run in listed[-1]}
        waiting = [run for run in needs if set(needs[run]) - ended]
        assert [plan.run for plan in matrix.later] == waiting
        assert {plan.run for plan in matrix.plans} == set(needs) - set(waiting)
        for run in listed[-1]:
            of_trials = [need for need in run.needs if need.plan.trial]
            assert bool(of_trials) == (run.placement.role == "compared")
            assert [need.placement.run for need in run.needs if not need.plan.trial] == [run.plan.start] * bool(
                run.plan.start
            )
        for name, plan in needs[waiting[0]].items() if waiting else ():
            place = store.run_folder(tmp_path, name)
            store.write_record(place, {**plan.row(), "status": "done", "validation_loss": 1.0})
            (place / "model.safetensors").touch()
            ended.add(name)
    assert len(listed) > 3 and any(len(kinds) > 1 for kinds in needs.values())


def test_a_start_puts_rows_token_by_token(folder: Path, tmp_path: Path) -> None:
    """Labels shift ids: the finetuned model reads and writes each token of text with the pretrained row."""
    matrix = planned(folder, tmp_path, architectures=["decoder"])
    (before,) = of_role(matrix, "pretraining")
    place = perform(before, tmp_path)
    loaded = weight_transfer.load(place, before.run)
    (after,) = matrix.later
    finetuned = trainer(after, loaded)
    old, new = loaded.tokenizer, from_plan.prepared_data(after).tokenizer
    assert old.same_text(new) and old.labels != new.labels and old.encode("red house") != new.encode("red house")
    original = trainer(before)
    original.model.load_state_dict(dict(loaded.weights))
    shift = new.text_ids.start - old.text_ids.start
    texts = [torch.tensor([tokenizer.encode("red house 12")]) for tokenizer in (old, new)]
    logits = [
        training.model.eval()(None, torch.cat([torch.tensor([[1]]), text], 1))
        for training, text in zip((original, finetuned), texts, strict=True)
    ]
    at = [slice(tokenizer.text_ids.start, tokenizer.text_ids.stop) for tokenizer in (old, new)]
    assert torch.equal(logits[0][..., at[0]], logits[1][..., at[1]]) and shift != 0
    fresh = trainer(replace(after, start="")).model.state_dict()
    labels = list(new.label_ids)
    name = next(name for name, value in fresh.items() if len(value) == new.vocabulary)
    assert torch.equal(finetuned.model.state_dict()[name][labels], fresh[name][labels])
    halved = after.training.patched({"pretrained_share": 0.5})
    half = trainer(replace(after, training=halved), loaded).model.state_dict()
    for name, value in finetuned.model.state_dict().items():
        torch.testing.assert_close(half[name], (value + fresh[name]) / 2)


def test_a_pretraining_of_another_size_than_scratch_is_named(folder: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    larger = {**TEXT, "budget": {"parameters": 30_000}}
    small_plans.plan(values(architectures=["decoder"], pretraining=[larger]), folder, tmp_path, lines.append)
    (line,) = [line for line in lines if "they also differ in size" in line]
    assert line.startswith("colours: models that start from own have 30,000 parameters, models from scratch 20,000")
    lines.clear()
    small_plans.plan(values(architectures=["decoder"]), folder, tmp_path, lines.append)
    assert not any("differ in size" in line for line in lines)


def test_weights_of_another_size_are_refused(folder: Path, tmp_path: Path) -> None:
    matrix = planned(folder, tmp_path, architectures=["decoder"])
    (before,) = of_role(matrix, "pretraining")
    loaded = weight_transfer.load(perform(before, tmp_path), before.run)
    name = next(name for name, weight in loaded.weights.items() if weight.dim() == 1)
    longer = {**loaded.weights, name: torch.cat([loaded.weights[name]] * 2)}
    with pytest.raises(RuntimeError, match=f"of another size: {name}"):
        trainer(matrix.later[0], replace(loaded, weights=longer))


def test_a_pretraining_whose_loss_ends_far_above_where_it_began_has_diverged(folder: Path, tmp_path: Path) -> None:
    wild = {"batch_tokens": 400, "learning_rate": 10, "clip": 0, "optimizer": "adamw", "precision": "float32"}
    (before,) = of_role(
        planned(folder, tmp_path, architectures=["decoder"], pretraining=[{**TEXT, "training": wild}]), "pretraining"
    )
    record = store.read_record(perform(before, tmp_path))
    assert record is not None and record["status"] == "diverged" and record["error"].startswith("loss ")


def test_scratch_runs_have_the_shared_tokenizer_and_fewer_examples_are_nested(folder: Path, tmp_path: Path) -> None:
    tasks = [{**COLOURS, "start": ["scratch", "own"], "examples": [10, 20, "all"]}]
    matrix = planned(folder, tmp_path, architectures=["decoder"], tasks=tasks)
    prepared = {plan.task.examples: from_plan.prepared_data(plan) for plan in matrix.plans if not plan.objective}
    tokenizer = from_plan.prepared_data(of_role(matrix, "pretraining")[0]).tokenizer
    assert all(data.tokenizer.same_text(tokenizer) for data in prepared.values())
    texts = {count: [data.train.source_text(i) for i in range(len(data.train))] for count, data in prepared.items()}
    assert texts[20][:10] == texts[10] and set(texts[20]) < set(texts[0]) and len(texts[20]) == 20
    for count, data in prepared.items():
        for index in range(min(count, 5)):
            row = data.train[index]
            assert data.tokenizer.decode(row.source) == data.train.source_text(index)
            assert data.tokenizer.decode(row.target) == data.train.target_text(index)
    assert len({data.digest for data in prepared.values()}) == 3


def test_a_start_has_the_rates_of_its_own_trials(folder: Path, tmp_path: Path) -> None:
    tasks = [
        {
            **COLOURS,
            "start": ["scratch", "own"],
            "adapt": ["finetune", "frozen"],
            "tuned": {"decoder": {"learning_rate": 0.002}},
            "tuned_starts": {"own": {"decoder": {"learning_rate": 0.03}, "encoder": {"learning_rate": 0.04}}},
        }
    ]
    matrix = planned(folder, tmp_path, architectures=["decoder", "encoder"], tasks=tasks)
    plans = [*matrix.plans, *matrix.later]
    rates = {(plan.architecture, plan.start_name, plan.adapt): plan.training.learning_rate for plan in plans}
    assert rates["decoder", "", "finetune"] == 0.002 and rates["encoder", "", "finetune"] == 0.01
    assert rates["decoder", "own", "finetune"] == 0.03 and rates["encoder", "own", "finetune"] == 0.04
    assert rates["decoder", "own", "frozen"] == rates["encoder", "own", "frozen"] == 0.1


def test_tuned_sets_the_rate_of_a_head_alone_where_nothing_else_is_trained(folder: Path, tmp_path: Path) -> None:
    tasks = [{**COLOURS, "start": "own", "adapt": "frozen", "tuned": {"decoder": {"learning_rate": 0.03}}}]
    matrix = planned(folder, tmp_path, architectures=["decoder"], tasks=tasks)
    heads = [plan for plan in [*matrix.plans, *matrix.later] if plan.adapt == "frozen"]
    assert {plan.training.learning_rate for plan in heads} == {0.03}


def test_a_pretraining_has_a_recipe_of_its_own_where_a_file_leaves_it_open() -> None:
    def made(general: dict[str, Any], **own: Any) -> Pretraining:
        budget = {"budget": {"tokens": 4_000_000}}
        return spec.from_dict(values(training=general, pretraining=[{**TEXT, **budget, **own}])).pretraining[0]

    def recipe(stage: Pretraining) -> tuple[float, int, float | None]:
        return stage.task.training.learning_rate, stage.task.training.batch_tokens, stage.mask_rate

    assert recipe(made({})) == (0.01, 2048, 0.3)
    assert recipe(made({"learning_rate": 0.002, "batch_tokens": 512})) == (0.002, 512, 0.3)
    assert recipe(made({}, training={"learning_rate": 0.004}, mask_rate="uniform")) == (0.004, 2048, None)
    assert recipe(made({}, objective="causal")) == (0.01, 2048, None)
    assert made({}).task.training.warmup == spec.from_dict(values()).tasks[0].training.warmup


def test_only_masked_pretrainings_are_named_by_the_mask_rate(folder: Path, tmp_path: Path) -> None:
    def names(rate: float) -> dict[str, str]:
        stage = {**TEXT, "mask_rate": rate}
        plans = of_role(planned(folder, tmp_path, pretraining=[stage]), "pretraining")
        return {plan.architecture: plan.run for plan in plans}

    first, second = names(0.2), names(0.4)
    assert {name for name in first if first[name] != second[name]} == {"encoder"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretraining": []}, r'tasks\[0\].start: no pretraining "own"'),
        ({"pretraining": [{**TEXT, "name": "scratch"}]}, "rename it"),
        ({"pretraining": [{**TEXT, "objective": "denoising"}]}, 'unknown objective "denoising"'),
        ({"pretraining": [{**TEXT, "objective": {"prefix": 0}}]}, "prefix: 0: expected a share above 0"),
        (
            {"pretraining": [{**TEXT, "objective": "causal", "mask_rate": 0.3}]},
            "applies to the objectives masked and own",
        ),
        ({"pretraining": [{**TEXT, "budget": {"flops": 1e9}}]}, "set the number of tokens to pretrain on"),
        ({"pretraining": [{**TEXT, "architectures": ["gpt2"]}]}, "pretrains no architecture of colours"),
        (
            {
                "pretraining": [{**TEXT, "budget": {"parameters": 30_000}}],
                "tasks": [{**COLOURS, "start": "own", "budget": {"parameters": 20_000}}],
            },
            "has parameters = 30000, here 20000",
        ),
        ({"tasks": [{**COLOURS, "adapt": "probe"}]}, "adapt"),
        ({"tasks": [{**COLOURS, "tuned_starts": {"owm": {}}}]}, '"owm" is not a start of this task'),
        (
            {"tasks": [{**COLOURS, "start": "own", "tuned_starts": {"own": {"decodr": {"learning_rate": 0.1}}}}]},
            r"tasks\[0\].tuned_starts.own.decodr: no architecture of that name",
        ),
        (
            {
                "tasks": [{**COLOURS, "adapt": "head"}],
                "budget": {**BUDGET, "match": "flops"},
                "pretraining": [{**TEXT, "budget": {"match": "parameters"}}],
            },
            "at equal size and tokens",
        ),
        ({"tasks": [{**TURNED, "adapt": ["finetune", "frozen"]}]}, "needs labels, but translation writes texts"),
        ({"tasks": [{**COLOURS, "start": "./gpt2", "adapt": "frozen"}]}, "checkpoint ./gpt2 can only be finetuned"),
        ({"tasks": [{**COLOURS, "examples": [0]}]}, 'expected a number of examples or "all"'),
        ({"tasks": [{**COLOURS, "examples": 9_999}]}, "expected at most the"),
        ({"pretraining": [{**TEXT, "objective": "causal"}]}, "encoder predicts masked tokens"),
        ({"pretraining": [{**TEXT, "objective": "masked"}]}, "decoder predicts from left to right"),
        ({"pretraining": [{**TEXT, "budget": {"tokens": 300_000, "epochs": 2}}]}, "allow more epochs"),
        ({"pretraining": [{**TEXT, "data": "no-such-data"}]}, r"^pretraining\.own\.data: no built-in data set"),
        (
            {"pretraining": [{**TEXT, "data": "sentiment"}]},
            r'pretraining\[0\]\.data: the built-in "sentiment" is for classification, not for generation',
        ),
    ],
)
def test_wrong_input_is_one_line(folder: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        planned(folder, tmp_path, **changes)
    assert "\n" not in str(raised.value)


def test_runs_on_a_further_axis_start_from_the_same_pretraining_and_planning_says_so(
    folder: Path, tmp_path: Path
) -> None:
    lines = list[str]()
    budget = {**BUDGET, "match": ["parameters", "flops-by-tokens"]}
    changed = values(budget=budget, tasks=[{**COLOURS, "start": "own"}])
    matrix = small_plans.plan(changed, folder, tmp_path, lines.append)
    later = [plan for plan in matrix.later if plan.architecture == "encoder"]
    assert len({plan.start for plan in later}) == 1 and len({plan.match for plan in later}) == 2
    starts = "start from the pretraining own, which is matched by parameters"
    assert f"colours: runs matched by flops-by-tokens {starts}" in lines


def test_an_experiment_without_pretraining_is_recorded_as_before() -> None:
    plain = values(tasks=[COLOURS])
    del plain["pretraining"]
    recorded = spec.from_dict(plain).digestable()
    assert "pretraining" not in recorded and not {"start", "examples"} & set(recorded["tasks"][0])
    full = spec.from_dict(values())
    assert spec.recorded(full.digestable(), origin="here").pretraining == full.pretraining


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_sees_the_mean_state_of_the_source(folder: Path, tmp_path: Path, family: str) -> None:
    """Padding changes nothing, a frozen model stays as it was, and its run can be read and asked again."""
    tasks = [{**COLOURS, "adapt": ["frozen", "head"]}]
    frozen, whole = planned(folder, tmp_path, architectures=[family], tasks=tasks, pretraining=[]).plans
    trainings = {plan.adapt: trainer(plan) for plan in (frozen, whole)}
    model = trainings["head"].model
    torch.nn.init.normal_(model.head.weight)
    batch = Batch(torch.tensor([[9, 10, 11, 0], [12, 13, 14, 15]]), torch.tensor([[5], [6]]))
    padded = batch._replace(source_mask=torch.tensor([[True, True, True, False], [True] * 4]))
    model.eval()
    with torch.no_grad():
        alone = model(torch.tensor([[9, 10, 11]]), torch.tensor([[1]]))
        together = model(padded.source, torch.ones_like(padded.target), padded.source_mask)
        assert torch.allclose(alone[0], together[0], atol=1e-5)
        written, _ = model.decode(torch.tensor([[1], [1]]), model.prefill(padded.source, padded.source_mask))
        assert torch.allclose(written, together, atol=1e-6)
    for way, training in trainings.items():
        before = {name: value.clone() for name, value in training.model.state_dict().items()}
        for number, (part, _) in enumerate(training.stream(600).start()):
            training.step(part, number, 0.5)
        changed = {name for name, value in training.model.state_dict().items() if not torch.equal(value, before[name])}
        assert "head.weight" in changed
        assert (changed == {"head.weight"}) == (way == "frozen") and not any("base.head" in name for name in changed)
        if family == "encoder-decoder":
            assert not any(name.startswith("base.decoder.") for name in changed)
    place = perform(frozen, tmp_path)
    record = store.read_record(place)
    assert record is not None and record["adapt"] == "frozen" and record["train_flops"] < frozen.flops / 2
    answer = predict.predict(place, "red house 7")
    assert answer.text in ("redish", "blueish")
    with pytest.raises(InputError, match="a head on mean states, which cannot be inspected"):
        subject.read(place)
    with pytest.raises(InputError, match="reads this model with its head on mean states"):
        export.export(place, tmp_path / "exported")


def test_flops_of_a_head_are_those_that_run(folder: Path, tmp_path: Path) -> None:
    """Counted by PyTorch on one row without padding, forward and backward, against what the objective declares."""
    for family, adapt in itertools.product(FAMILIES, ("frozen", "head")):
        tasks = [{**COLOURS, "adapt": adapt}]
        (plan,) = planned(folder, tmp_path, architectures=[family], tasks=tasks, pretraining=[]).plans
        training = trainer(plan)
        batch = Batch(torch.randint(7, 20, (1, 8)), torch.tensor([[5]]))
        inputs = training.training_step.objective.prepare(training.model, batch, None, False)
        training.training_step.train()
        with FlopCounterMode(display=False) as counted:
            training.training_step(inputs)[0].backward()
        declared = training.model.objective.training_flops(training.model, 8.0, 1.0, False).executed
        assert counted.get_total_flops() == pytest.approx(declared, rel=0.12), (family, adapt)


@pytest.mark.parametrize("rate", [None, 0.4])
@pytest.mark.parametrize("architecture", ["encoder", "prefix-decoder"])
def test_flops_of_objectives_that_hide_tokens_are_those_that_run(architecture: str, rate: float | None) -> None:
    """Counted by PyTorch over many drawn masks, forward and backward, against what the objective declares."""
    model = contract.subject(catalogue.find(architecture).build).model
    fills = architecture == "encoder"
    objective: Any = replace(model.objective, joint=True, rate=rate) if fills else CausalAndMasked(rate)
    model.objective = objective
    source, target = contract.sequences(4, 9), contract.sequences(4, 6 if fills else 1)
    batch, steps = Batch(source, target), 40
    ran = [compute.measured(model, batch, True, seed=seed).total for seed in range(steps)]
    declared = objective.training_flops(model, float(source.shape[1]), float(target.shape[1]), True).executed
    assert sum(ran) / steps == pytest.approx(4 * declared, rel=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pretrained_model_is_scored_by_its_exact_likelihood(folder: Path, tmp_path: Path, family: str) -> None:
    """On held-out windows, the second half given the first: the sum over tokens, each after those before it."""
    (plan,) = of_role(planned(folder, tmp_path, architectures=[family]), "pretraining")
    place = perform(plan, tmp_path)
    scores = {row["metric"]: row for row in sealed.read_json(place / "scores.json") if row["split"] == "test"}
    prepared = from_plan.prepared_data(plan)
    training = from_plan.new_trainer(plan, prepared, None)
    training.model.load_state_dict(weight_transfer.load(place, plan.run).weights)
    training.model.eval()
    allowed, nats, count = torch.from_numpy(prepared.allowed_tokens), 0.0, 0
    with torch.no_grad():
        for example in prepared.test:
            source, target = (torch.tensor(part)[None].long() for part in (example.source, example.target))
            for at in range(target.shape[1]):
                logits = _next_token(training.model, source, target[:, :at])
                nats -= float(logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)[target[0, at]])
            count += target.shape[1]
    assert scores["nll_per_token"]["value"] == pytest.approx(nats / count, rel=1e-4)


def _next_token(model: Any, source: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Logits (V,) of the next target token, after those before it; an encoder sees all later ones hidden."""
    if model.causal:
        logits: torch.Tensor = model(source, torch.cat([torch.tensor([[BOS]]), before], 1))[0, -1]
        return logits
    canvas = torch.full((1, model.canvas), MASK)
    canvas[:, : before.shape[1]] = before
    states = model.hidden(F.pad(source, (0, 1), value=BOS), canvas).target[0, before.shape[1]]
    filled: torch.Tensor = model.logits(states[None])[0]
    return filled


FURTHER = {**TEXT, "name": "further", "objective": "own", "from": "own", "from_architecture": "decoder", "share": 0.25}


def test_a_pretraining_goes_on_from_another_within_the_same_total(folder: Path, tmp_path: Path) -> None:
    families = ["encoder", "prefix-decoder", "encoder-decoder"]
    first = {**TEXT, "architectures": ["decoder"], "budget": {"tokens": 4_000}}
    second = {**FURTHER, "architectures": families, "budget": {"tokens": 4_000}}
    changes: dict[str, Any] = {"pretraining": [first, second], "architectures": families}
    changes["tasks"] = [{**COLOURS, "start": ["scratch", "further"]}]
    matrix = planned(folder, tmp_path, **changes)
    first_runs = of_role(matrix, "pretraining")
    assert sorted(plan.tokens for plan in first_runs) == [3_000, 4_000] and {p.architecture for p in first_runs} == {
        "decoder"
    }
    for plan in first_runs:
        perform(plan, tmp_path)
    matrix = planned(folder, tmp_path, **changes)
    second_runs = [plan for plan in of_role(matrix, "pretraining") if plan.start]
    assert [plan.architecture for plan in second_runs] == families
    (before,) = [plan for plan in first_runs if plan.tokens == 3_000]
    loaded = weight_transfer.load(tmp_path / "runs" / before.run, before.run)
    for plan in second_runs:
        assert (plan.start, plan.tokens, plan.pretraining_tokens) == (before.run, 1_000, 3_000)
        assert plan.size == before.size
        state = trainer(plan, loaded).model.state_dict()
        if plan.family != "encoder-decoder":
            assert set(state) == set(loaded.weights)
            assert all(torch.equal(state[name], loaded.weights[name]) for name in state)
            continue
        for name, value in state.items():
            start_name = (
                name.replace("encoder.", "stack.").replace("decoder.", "stack.").replace("cross.", "attention.")
            )
            assert torch.equal(value, loaded.weights[start_name]), name
        perform(plan, tmp_path)
        (after,) = [p for p in planned(folder, tmp_path, **changes).plans if p.start == plan.run]
        assert after.size == before.size and after.pretraining_tokens == 4_000
        record = store.read_record(perform(after, tmp_path))
        assert record is not None and record["status"] == "done" and record["pretraining_tokens"] == 4_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"from": "other"}, 'no earlier pretraining "other"'),
        ({"from_architecture": "encoder"}, "needs from"),
        ({"share": 0.5}, "needs from"),
        ({"from": "own", "share": 1.5}, "share"),
        ({"from": "own", "from_architecture": "llama"}, "does not pretrain llama"),
        ({"from": "own", "budget": {"parameters": 30_000}}, "has parameters = "),
        (
            {"from": "own", "from_architecture": "encoder-decoder", "architectures": ["decoder"]},
            "weights of encoder-decoder do not fit decoder",
        ),
    ],
)
def test_wrong_input_about_what_goes_on_is_one_line(
    folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        planned(folder, tmp_path, pretraining=[TEXT, {**TEXT, "name": "second", **changes}], tasks=[COLOURS])


@pytest.mark.parametrize("task", [COLOURS, TURNED])
def test_the_texts_of_a_task_may_be_pretrained_on_without_its_labels(
    folder: Path, tmp_path: Path, task: dict[str, Any]
) -> None:
    pretraining = {**TEXT, "data": "task"}
    matrix = planned(
        folder,
        tmp_path,
        architectures=["decoder"],
        pretraining=[pretraining],
        tasks=[{**task, "start": ["own", "scratch"]}],
    )
    (before,) = of_role(matrix, "pretraining")
    prepared = from_plan.prepared_data(before)
    whole = prepared.tokenizer.decode(prepared.train.tokens)  # type: ignore[attr-defined]
    table = task_data.raw_data(replace(before.task, kind=task["kind"], texts_of="", kind_file=""), tmp_path, print)
    columns = [table.train.sources, table.train.targets]  # type: ignore[union-attr]
    expected = columns[0] if task is COLOURS else [text for row in zip(*columns, strict=True) for text in row]
    assert whole.splitlines() == expected
    record = store.read_record(perform(before, tmp_path))
    assert record is not None and record["status"] == "done"


def test_the_text_of_two_tasks_is_not_one(folder: Path, tmp_path: Path) -> None:
    tasks = [{**COLOURS, "start": "own"}, {**TURNED, "name": "turned", "start": "own"}]
    with pytest.raises(InputError, match="colours and turned do; give each task a pretraining of its own"):
        planned(folder, tmp_path, pretraining=[{**TEXT, "data": "task"}], tasks=tasks)
    with pytest.raises(InputError, match="but no task does; name it as the start"):
        planned(folder, tmp_path, pretraining=[{**TEXT, "data": "task"}], tasks=[COLOURS])


def test_the_tasks_of_the_command_line_keep_only_their_pretrainings(folder: Path) -> None:
    """And what these go on from, and any that no task starts from."""
    stages = [
        TEXT,
        {**TEXT, "name": "after", "from": TEXT["name"], "objective": "masked"},
        {**TEXT, "name": "texts", "data": "task"},
        {**TEXT, "name": "alone"},
    ]
    tasks = [{**COLOURS, "start": "after"}, {**TURNED, "name": "turned", "start": ["scratch", "texts"]}]
    experiment = spec.from_dict(values(pretraining=stages, tasks=tasks), folder=folder)
    pretrainings = {name: spec.override(experiment, tasks=[name]).pretraining for name in ("colours", "turned")}
    assert [stage.name for stage in pretrainings["colours"]] == [TEXT["name"], "after", "alone"]
    assert [stage.name for stage in pretrainings["turned"]] == ["texts", "alone"]


def test_the_command_line_s_seeds_and_architectures_are_those_of_pretrainings(folder: Path) -> None:
    """Lists of a pretraining's own stay, as far as what is left needs them."""
    stages = [
        {**TEXT, "name": "all"},
        {**TEXT, "name": "causal", "architectures": ["decoder"], "seeds": [7]},
        {**TEXT, "name": "after", "architectures": ["encoder"], "from": "causal", "from_architecture": "decoder"},
        {**TEXT, "name": "prefix", "architectures": ["prefix-decoder"]},
    ]
    tasks = [{**COLOURS, "start": ["scratch", "all", "after", "prefix"]}]
    experiment = spec.from_dict(values(pretraining=stages, tasks=tasks), folder=folder)

    def lists(**settings: Any) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
        changed = spec.override(experiment, **settings)
        return [(stage.name, stage.task.architectures, stage.task.seeds) for stage in changed.pretraining]

    assert lists(architectures=["encoder", "llama"], seeds=2) == [
        ("all", ("encoder", "llama"), (0, 1)),
        ("causal", ("decoder",), (7,)),
        ("after", ("encoder",), (0, 1)),
    ]
    assert [stage[0] for stage in lists(architectures=["encoder-decoder"])] == ["all"]
    only = spec.from_dict(
        values(pretraining=[{**TEXT, "architectures": ["decoder"]}], architectures=["decoder"]), folder=folder
    )
    with pytest.raises(InputError, match="does not pretrain encoder; leave it out, or add it"):
        spec.override(only, architectures=["decoder", "encoder"])


def test_the_command_line_s_axis_is_that_of_pretrainings_and_conditions(folder: Path) -> None:
    experiment = spec.from_dict(values(), folder=folder)
    changed = spec.override(experiment, match="flops-by-tokens")
    budgets = [part.budget for part in (*changed.tasks, *changed.conditions, changed.pretraining[0].task)]
    assert [budget.match for budget in budgets] == [("flops-by-tokens",)] * 3
    with pytest.raises(InputError, match='match: "flops": a pretraining is matched by parameters or flops-by-tokens'):
        spec.override(experiment, match="flops")
    heads = spec.from_dict(values(tasks=[{**COLOURS, "start": "own", "adapt": "head"}]), folder=folder)
    with pytest.raises(InputError, match="is compared at equal size and tokens"):
        spec.override(heads, match="flops-by-tokens")


@torch.no_grad()
@pytest.mark.parametrize("rate", [None, 0.5])
def test_a_prefix_decoder_fills_in_from_the_state_before(rate: float | None) -> None:
    """Five tokens of which all but the first may be hidden: every subset, each token by the state one before it."""
    model = contract.subject(catalogue.find("prefix-decoder").build).model.eval()
    allowed = torch.ones(contract.LIMITS.vocabulary, dtype=torch.bool)
    source, target = contract.sequences(1, 5), torch.tensor([[END]])

    def nats(hidden: tuple[int, ...]) -> float:
        visible = source.clone()
        visible[0, list(hidden)] = MASK
        states = model.hidden(visible, torch.tensor([[BOS]]))
        logits, last = (model.logits(part)[0].log_softmax(-1) for part in states)
        filled = -sum(float(logits[i - 1, source[0, i]]) for i in hidden)
        return filled * 4 / len(hidden) - float(last[0, END])

    sizes = range(1, 5) if rate is None else [2]
    by_size = [[nats(hidden) for hidden in itertools.combinations(range(1, 5), k)] for k in sizes]
    expected = sum(sum(part) / len(part) for part in by_size) / len(by_size)
    objective = CausalAndMasked(rate)
    batch = Batch(source.expand(3000, -1), target.expand(3000, -1))
    inputs = objective.prepare(model, batch, torch.Generator().manual_seed(0), True)
    assert set(inputs.row_tokens.tolist()) == {5} and inputs.source_labels is not None
    assert len(inputs.source_labels) / 3000 == pytest.approx(2.5 if rate is None else 2, rel=0.03)
    estimate = float(objective.loss(model, inputs, allowed)) / 3000
    assert estimate == pytest.approx(expected, rel=0.02)
    assert objective.loss_tokens(model, 5.0, 1.0, True) == (3.5 if rate is None else 3.0)
    plain = Batch(contract.sequences(2, 4), contract.sequences(2, 3, seed=1))
    usual, same = (
        training_objective.prepare(model, plain, None, True) for training_objective in (model.objective, objective)
    )
    assert all(a is b or torch.equal(a, b) for a, b in zip(usual, same, strict=True))


@torch.no_grad()
def test_rows_of_masks_and_of_next_tokens_add_their_losses() -> None:
    """A window to fill in and one to predict from the left, padded in one batch, against each alone."""
    model = contract.subject(catalogue.find("prefix-decoder").build).model.eval()
    allowed = torch.ones(contract.LIMITS.vocabulary, dtype=torch.bool)
    window, text, objective = contract.sequences(1, 5), contract.sequences(1, 4, seed=1), CausalAndMasked(0.5)
    masked = Batch(window, torch.tensor([[END]]))
    both = Batch(
        torch.cat([window, torch.full((1, 5), PAD)]),
        torch.cat([F.pad(masked.target, (0, 3), value=PAD), text]),
        torch.tensor([[True] * 5, [False] * 5]),
        torch.tensor([[True, False, False, False], [True] * 4]),
    )
    states = [model.hidden(window[:, :0], torch.cat([torch.tensor([[BOS]]), text[:, :at]], 1)) for at in range(4)]
    next_tokens = -sum(
        float(model.logits(state.target)[0, -1].log_softmax(-1)[text[0, at]]) for at, state in enumerate(states)
    )
    for seed in range(5):
        alone, together = (
            float(
                objective.loss(
                    model, objective.prepare(model, batch, torch.Generator().manual_seed(seed), True), allowed
                )
            )
            for batch in (masked, both)
        )
        assert together == pytest.approx(alone + next_tokens, rel=1e-4)


def test_causal_and_masked_are_mixed_on_the_same_weights(folder: Path, tmp_path: Path) -> None:
    mixed = {**TEXT, "objective": {"causal": 0.5, "masked": 0.5}}
    changes: dict[str, Any] = {"architectures": ["prefix-decoder"], "pretraining": [mixed], "tasks": [COLOURS]}
    (plan,) = of_role(planned(folder, tmp_path, **changes), "pretraining")
    training = trainer(plan)
    lengths = zip(training.data.source_lengths, training.data.target_lengths, strict=True)
    kinds = {(source > 0, target > 1) for source, target in lengths}
    assert kinds == {(True, False), (False, True)}
    record = store.read_record(perform(plan, tmp_path))
    assert record is not None and record["objective"] == "causal 0.5, masked 0.5"
    assert record["train_loss_tokens"] == pytest.approx(plan.loss_tokens, rel=0.1)
    with pytest.raises(InputError, match="decoder predicts from left to right"):
        planned(folder, tmp_path, **{**changes, "architectures": ["decoder"]})


def test_a_dry_run_says_what_waits_for_pretrained_weights(folder: Path, tmp_path: Path) -> None:
    experiment = spec.from_dict(values(architectures=["decoder"]), folder=folder)
    text = dry_run.preview(experiment, tmp_path / "out", RunOptions(jobs=1), lambda line: None)
    assert "then 1 run from pretrained weights (colours), about" in text and "trials" not in text
    (row,) = [line.split() for line in text.splitlines() if " own " in line and "finetune" in line]
    assert row[:5] == ["colours", "decoder", "own", "finetune", "108"] and row[10] == "1"
    assert not (tmp_path / "out").exists()


def test_what_starts_from_a_pretraining_has_its_size(folder: Path, tmp_path: Path) -> None:
    large = {**TEXT, "name": "large", "budget": {"parameters": 40_000}, "model": {"width": 32, "depth": 3}}
    changes: dict[str, Any] = {"architectures": ["decoder"], "pretraining": [TEXT, large]}
    changes["tasks"] = [{**COLOURS, "start": ["scratch", "own", "large"]}]
    starts = of_role(planned(folder, tmp_path, **changes), "pretraining")
    for plan in starts:
        perform(plan, tmp_path)
    pretrained = {plan.run: plan.size for plan in starts}
    assert {size.depth for size in pretrained.values()} == {2, 3}
    compared = of_role(planned(folder, tmp_path, **changes), "compared")
    assert len(compared) == 3
    assert all(plan.size == pretrained[plan.start] for plan in compared if plan.start)
    deep = next(plan for plan in compared if plan.size.depth == 3)
    assert store.is_finished(perform(deep, tmp_path))


def test_scratch_can_have_the_tokens_of_a_pretraining_as_well(folder: Path, tmp_path: Path) -> None:
    text = {**TEXT, "budget": {"tokens": 5_000}}
    matrix = planned(
        folder,
        tmp_path,
        architectures=["decoder"],
        pretraining=[text],
        tasks=[{**COLOURS, "start": ["scratch", "scratch+own", "own"]}],
    )
    plain, longer = sorted(of_role(matrix, "compared"), key=lambda plan: plan.tokens)
    assert (plain.row()["start"], longer.row()["start"]) == ("scratch", "scratch+own")
    assert longer.tokens - plain.tokens == pytest.approx(5_000, rel=0.05) and not longer.start
    words = {entry.condition for entry in matrix.entries if entry.run == longer.run}
    assert words == {"no pretraining, plus the tokens of own"}


@pytest.mark.parametrize(("match", "column"), [("flops-by-tokens", "flops"), ("loss-tokens", "loss_tokens")])
def test_pretraining_is_matched_on_the_axis_of_the_experiment(
    folder: Path, tmp_path: Path, match: str, column: str
) -> None:
    changes = {"budget": {**BUDGET, "match": match}, "supervision": "target"}
    plans = of_role(planned(folder, tmp_path, **changes), "pretraining")
    assert {plan.match for plan in plans} == {match} and len({plan.tokens for plan in plans}) == len(FAMILIES)
    first, *others = (float(getattr(plan, column)) for plan in plans)
    assert others == pytest.approx([first] * len(others), rel=1e-3)


def test_pretraining_on_an_axis_that_it_does_not_have_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'pretraining\[0\].budget.match: "flops": a pretraining is matched by'):
        planned(folder, tmp_path, budget={**BUDGET, "match": "flops"})


def test_a_pretraining_that_fails_ends_the_comparison(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def failing(plans: list[Plan], *_: object) -> Outcome:
        passes.append([plan.run for plan in plans])
        assert len(passes) < 3
        return Outcome(failed=tuple(passes[-1]), causes=dict.fromkeys(passes[-1], "it fails"))

    monkeypatch.setattr(compare, "performed", failing)
    experiment = spec.from_dict(
        values(architectures=["decoder"], tasks=[{**COLOURS, "start": "own"}], seeds=[0]), folder=folder
    )
    options = RunOptions(device="cpu", jobs=1)
    outcome = compare.run(experiment, tmp_path / "out", options, "compare", lambda line: None)
    assert len(passes) == 1 and list(outcome.failed) == passes[0] and outcome.waiting == 1


def test_a_head_alone_trains_at_ten_times_the_rate(folder: Path, tmp_path: Path) -> None:
    tasks = [{**COLOURS, "adapt": ["finetune", "head", "frozen"]}]
    plans = planned(folder, tmp_path, architectures=["decoder"], tasks=tasks, pretraining=[]).plans
    rates = {plan.adapt: plan.training.learning_rate for plan in plans}
    assert rates == {"finetune": 0.01, "head": 0.01, "frozen": pytest.approx(0.1)}


def test_a_setting_of_the_command_line_reaches_a_pretraining_by_its_name() -> None:
    experiment = spec.from_dict(values(), settings={"pretraining.own.budget.tokens": 7_000})
    assert [pretraining.task.budget.tokens for pretraining in experiment.pretraining] == [7_000]
    with pytest.raises(InputError, match=r'--set pretraining.onw.context: no pretraining "onw"; did you mean "own"'):
        spec.from_dict(values(), settings={"pretraining.onw.context": 8})
