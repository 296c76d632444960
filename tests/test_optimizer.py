"""The optimizer: Muon as torch has it, fused or not, decayed where it should be, resumed exactly, FLOPs counted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import small_plans
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_plans import write_things
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from archbench.architectures.components.attention import Attention
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.positions import RelativeBias
from archbench.runs.experiment import optimizers
from archbench.runs.experiment.optimizers import OptimizerEntry
from archbench.runs.plans.plan import Plan
from archbench.runs.training import from_plan
from archbench.runs.updates import muon as muon_module
from archbench.runs.updates import optimizer as state_of
from archbench.runs.updates.muon import Muon, hidden_matrices, orthogonalised
from archbench.runs.updates.optimizer import BETAS, build, flops, schedule, set_rate


@dataclass(frozen=True)
class OptimizerRecipe:
    optimizer: str = "muon"
    learning_rate: float = 0.01
    weight_decay: float = 0.1


class SmallModel(nn.Module):
    """One of each kind of parameter."""

    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.embedding = Embedding(11, dim)
        self.bias = RelativeBias(2, bidirectional=True)
        self.attention = Attention(dim, 2, bias=True)
        self.norm = nn.LayerNorm(dim)
        self.feedforward = GatedFeedForward(dim, 3 * dim)
        self.head = Head(11, dim)


def model() -> SmallModel:
    torch.manual_seed(0)
    return SmallModel()


def set_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_muon_trains_the_matrices_of_blocks_only() -> None:
    assert set(hidden_matrices(model())) == {
        "attention.query_key_value.weight",
        "attention.output.weight",
        "feedforward.gate_up.weight",
        "feedforward.down.weight",
    }


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16)])
def test_updates_are_those_of_torch_muon(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(shape, generator=generator)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    muon = Muon([ours], lr=0.02, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        before = theirs.detach().clone()
        ours.data.copy_(theirs.data)
        muon.step()
        reference.step()  # type: ignore[no-untyped-call]
        update = (theirs - before).norm()
        assert (ours - theirs).norm() < 0.05 * update  # bfloat16, rounded at other places


def test_the_update_has_the_size_of_an_adamw_update() -> None:
    matrix = nn.Parameter(torch.zeros(64, 128))
    matrix.grad = torch.randn(64, 128, generator=torch.Generator().manual_seed(2))
    Muon([matrix], lr=1.0).step()
    assert 0.15 < float(matrix.detach().square().mean().sqrt()) < 0.25


def test_singular_values_come_near_one() -> None:
    matrices = torch.randn(3, 20, 50, generator=torch.Generator().manual_seed(3))
    values = torch.linalg.svdvals(orthogonalised(matrices).float())
    assert values.min() > 0.5
    assert values.max() < 1.3
    assert not orthogonalised(torch.zeros(1, 4, 4)).any()


@pytest.mark.parametrize("kind", ["drawn", "of low rank", "of all sizes"])
def test_wide_matrices_are_orthogonalised_alike_by_their_products(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    matrices = torch.randn(3, 40, 100, generator=generator)
    if kind == "of low rank":
        matrices = 1e-3 * matrices + matrices[:, :, :4] @ matrices[:, :4]
    if kind == "of all sizes":
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        matrices = left * torch.logspace(0, -6, 40) @ right

    def orthogonal(wide: float, dtype: torch.dtype) -> torch.Tensor:
        monkeypatch.setattr(muon_module, "WIDE", wide)
        monkeypatch.setattr(muon_module, "_product_dtype", lambda device: dtype)
        return orthogonalised(matrices).double()

    exact = orthogonal(1e9, torch.float64)
    size = exact.norm()
    assert (orthogonal(1.5, torch.float64) - exact).norm() < 1e-9 * size
    assert (orthogonal(1.5, torch.float32) - exact).norm() < 1e-3 * size
    rounded, plain = (float((orthogonal(wide, torch.bfloat16) - exact).norm()) for wide in (1.5, 1e9))
    assert rounded < max(2 * plain, 0.05 * float(size))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_in_float32_orthogonalises_in_float32_on_any_hardware(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(muon_module, "_product_dtype", lambda device: torch.bfloat16)
    matrices = torch.randn(3, 40, 50, generator=torch.Generator().manual_seed(5))
    exact = orthogonalised(matrices.double(), bf16=False).float()
    module = nn.Linear(50, 40, bias=False)
    (group,) = build(module, OptimizerRecipe(), bf16=precision == "bf16").param_groups
    update = group["bf16"]
    difference = float((orthogonalised(matrices, update).float() - exact).norm() / exact.norm())
    assert (difference < 1e-5) == (precision == "float32")


def test_fused_matrices_are_updated_as_if_stored_apart() -> None:
    generator = torch.Generator().manual_seed(4)
    start, gradient = torch.randn(40, 16, generator=generator), torch.randn(40, 16, generator=generator)
    fused = nn.Parameter(start.clone())
    fused.row_splits = (16, 16, 8)  # type: ignore[attr-defined]
    apart = [nn.Parameter(part.clone()) for part in torch.split(start, [16, 16, 8])]
    fused.grad = gradient
    for parameter, part in zip(apart, torch.split(gradient, [16, 16, 8]), strict=True):
        parameter.grad = part
    for parameters in ([fused], apart):
        Muon(parameters, lr=0.1, weight_decay=0.1).step()
    torch.testing.assert_close(fused.detach(), torch.cat([p.detach() for p in apart]))


@pytest.mark.parametrize("splits", [(16, 16, 16), (16, 16, 8), (24, 4), (40,)])
def test_a_transposed_matrix_gets_exactly_the_transposed_update(splits: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(5)
    shape = sum(splits), 16
    start = torch.randn(shape, generator=generator)
    usual, transposed = nn.Parameter(start.clone()), nn.Parameter(start.T.clone())
    usual.row_splits, transposed.column_splits = splits, splits  # type: ignore[attr-defined]
    trained = [Muon([matrix], lr=0.1, weight_decay=0.1) for matrix in (usual, transposed)]
    for _ in range(3):
        gradient = torch.randn(shape, generator=generator)
        usual.grad, transposed.grad = gradient.clone(), gradient.T.clone()
        for optimizer in trained:
            optimizer.step()
    assert torch.equal(transposed.detach().T, usual.detach())
    assert (usual.detach() - start).abs().min() > 0


def test_a_column_split_matrix_is_trained_by_muon_and_costs_what_its_transpose_does() -> None:
    usual, transposed = nn.Module(), nn.Module()
    usual.weight, transposed.weight = nn.Parameter(torch.zeros(40, 16)), nn.Parameter(torch.zeros(16, 40))
    usual.weight.row_splits, transposed.weight.column_splits = (24, 16), (24, 16)
    assert list(hidden_matrices(transposed)) == ["weight"]
    assert flops(transposed) == flops(usual) > 0


def test_a_matrix_without_gradient_stays_and_keeps_its_momentum() -> None:
    first, second = (nn.Parameter(torch.ones(4, 4)) for _ in range(2))
    muon = Muon([first, second], lr=0.1, weight_decay=0.1)
    first.grad = torch.eye(4)
    muon.step()
    assert torch.equal(second.detach(), torch.ones(4, 4))
    assert not torch.equal(first.detach(), torch.ones(4, 4))
    assert muon.state[first]["momentum"].any() and not muon.state[second]["momentum"].any()


def test_vectors_are_not_decayed_and_tables_are() -> None:
    module = model()
    optimizer = build(module, OptimizerRecipe(learning_rate=0.5, weight_decay=0.5))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = {name for name, p in module.named_parameters() if not torch.equal(p, torch.ones_like(p))}
    assert decayed == {name for name, p in module.named_parameters() if p.ndim == 2}


def test_adamw_alone_is_torch_adamw() -> None:
    ours, theirs = model(), model()
    optimizer = build(ours, OptimizerRecipe("adamw"))
    reference = torch.optim.AdamW(
        [
            {"params": [p for p in theirs.parameters() if p.ndim == 2], "weight_decay": 0.1},
            {"params": [p for p in theirs.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=0.01,
        betas=BETAS,
    )
    for seed in range(3):
        set_gradients(ours, seed)
        set_gradients(theirs, seed)
        optimizer.step()
        reference.step()
    for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, other)


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more optimizers, as one adds them."""
    monkeypatch.setitem(optimizers.OPTIMIZERS, "sgd", OptimizerEntry("SGD", "torch.optim:SGD", {"momentum": 0.9}))
    monkeypatch.setitem(optimizers.OPTIMIZERS, "radam", OptimizerEntry("RAdam", "torch.optim:RAdam"))


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize("recipe", [OptimizerRecipe(name) for name in ("muon", "adamw", "sgd", "radam")], ids=str)
@pytest.mark.parametrize("stop", [0, 2])
def test_resuming_is_exact(recipe: OptimizerRecipe, stop: int) -> None:
    def train(steps: range, module: SmallModel, state: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        optimizer = build(module, recipe)
        if state is not None:
            state_of.load(optimizer, state)
        for step in steps:
            set_rate(optimizer, schedule(step / 5, 0.2))
            set_gradients(module, step)
            optimizer.step()
        return {name: tensor.clone() for name, tensor in state_of.state(optimizer).items()}

    whole, parts = model(), model()
    final = train(range(5), whole)
    resumed = model()
    state = train(range(stop), parts)
    resumed.load_state_dict(parts.state_dict())
    again = train(range(stop, 5), resumed, state)
    assert all(torch.equal(final[name], again[name]) for name in final)
    for parameter, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(parameter, other)


def _without(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(list(state.items())[1:])


def _reshaped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor[None] for name, tensor in state.items()}


@pytest.mark.parametrize("change", [_without, _reshaped])
def test_a_foreign_state_is_refused(change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    module = model()
    optimizer = build(module, OptimizerRecipe())
    set_gradients(module, 0)
    optimizer.step()
    with pytest.raises(ValueError, match="another model or recipe"):
        state_of.load(optimizer, change(state_of.state(optimizer)))


def test_zero_grad_and_learning_rate() -> None:
    module = model()
    optimizer = build(module, OptimizerRecipe())
    before = [p.detach().clone() for p in module.parameters()]
    set_gradients(module, 0)
    set_rate(optimizer, 0.0)
    optimizer.step()
    for old, new in zip(before, module.parameters(), strict=True):
        assert torch.equal(old, new)
    optimizer.zero_grad()
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("wide", [0.5, 1.5, 1e9])
def test_flops_are_those_counted(wide: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon_module, "WIDE", wide)
    module = model()
    set_gradients(module, 0)
    muon = build(module, OptimizerRecipe())
    with FlopCounterMode(display=False) as counter:
        muon.step()
    assert flops(module) == counter.get_total_flops()
    assert flops(module, "adamw") == 0


@given(st.floats(0, 1), st.just(0.0) | st.floats(1e-6, 0.9))
def test_schedule_rises_then_falls_to_zero(progress: float, warmup: float) -> None:
    assert 0 <= schedule(progress, warmup) <= 1
    assert schedule(warmup, warmup) == pytest.approx(1)
    assert schedule(1.0, warmup) == 0
    assert schedule(1.5, warmup) == 0
    assert schedule(warmup / 2, warmup) == pytest.approx(0.5 if warmup else 1)


@pytest.mark.usefixtures("added")
def test_an_entry_of_the_dictionary_is_all_that_an_optimizer_needs(tmp_path: Path) -> None:
    """An experiment may name it, a training step uses it, and it names the run."""
    write_things(tmp_path)

    def planned(name: str) -> Plan:
        task = {"name": "things", "kind": "classification", "data": "things.tsv", "tokenizer": "word", "vocabulary": 60}
        task |= {"source_length": 12}
        training = {"optimizer": name, "learning_rate": 0.05, "batch_tokens": 400}
        budget = {"parameters": 20_000, "tokens": 4_000}
        values = {"name": "tiny", "architectures": ["decoder"], "budget": budget, "training": training, "tasks": [task]}
        return small_plans.plan({**values, "seeds": [0]}, tmp_path, tmp_path).plans[0]

    changed = planned("sgd")
    assert changed.training.optimizer == "sgd" and changed.run != planned("adamw").run
    trainer = from_plan.new_trainer(changed, from_plan.prepared_data(changed))
    assert type(trainer.optimizer) is torch.optim.SGD
    losses = [
        float(trainer.step(batch, number, 0.5).loss) for number, (batch, _) in enumerate(trainer.stream(9000).start())
    ]
    assert losses[-1] < losses[0]
