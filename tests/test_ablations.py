"""Ablations differ from the default three in what they say, and break no more of the contract than they say."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from archbench import command_line
from archbench.architectures import FeedForward, GatedFeedForward, contract
from archbench.architectures.ablations import ABLATIONS, SUBJECTS, Ablation, always
from archbench.architectures.catalogue import catalogue, digests
from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.initial import filled
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures.components.mask import BIDIRECTIONAL, CAUSAL, PREFIX
from archbench.architectures.components.norm import NoResidual, PreNorm
from archbench.architectures.components.stack import Block
from archbench.architectures.contract.subject import fresh
from archbench.architectures.families import size
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.kernels.table import plain_class
from archbench.architectures.parts.averaging import Average
from archbench.architectures.variants import decoder
from archbench.runs.budgets import budget, compliance
from archbench.runs.experiment import spec
from archbench.tasks.base.errors import InputError

NAMES = catalogue.ablated()
PRESETS = [name for name in spec.presets() if name.startswith("ablation-") or name == "parts"]
SIZE, LIMITS = Size(dim=64, heads=2, depth=3, hidden=96), Limits(vocabulary=60, source_length=12, target_length=12)


@pytest.mark.parametrize("name", NAMES)
def test_an_ablation_holds_the_contract_but_where_it_says_that_it_breaks_it(name: str) -> None:
    variant = catalogue.find(name)
    problems = {result.name: result.problem for result in contract.results(variant.build) if result.problem is not None}
    assert set(problems) == set(variant.breaks), problems


def test_the_decoder_without_a_mask_is_the_one_that_cheats() -> None:
    assert [name for name in NAMES if catalogue.find(name).breaks] == ["decoder-no-mask"]
    assert catalogue.find("decoder-no-mask").breaks[0] == contract.check("no_look_ahead").__name__


def test_a_cheat_is_told_as_one_and_a_copy_of_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARCHBENCH_CACHE", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["check", "decoder-no-mask"])
    lines = capsys.readouterr().out.splitlines()
    assert stopped.value.code == 0 and not any(line.startswith("FAIL") for line in lines)
    assert any(line.startswith("x     no_look_ahead ") and "broken, as this ablation has to" in line for line in lines)
    assert f"{len(catalogue.find('decoder-no-mask').breaks)} are broken as they have to be" in lines[-1]
    (tmp_path / "mine.py").write_text(catalogue.find("decoder-no-mask").text)
    variant = catalogue.find("mine.py", tmp_path)
    assert variant.breaks == ()
    with pytest.raises(InputError, match="breaks the contract: no_look_ahead"):
        compliance.require_contract(variant, tmp_path, lambda line: None)


def test_an_ablation_that_does_not_break_what_it_says_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "CHECKS", (contract.check("no_look_ahead"),))
    monkeypatch.setattr(contract, "results", lambda *_: iter([contract.Result(contract.check("no_look_ahead"))]))
    kinds = [line.kind for line in compliance.report_lines(catalogue.find("decoder-no-mask"))]
    assert "fail" in kinds


def test_ablations_stand_apart_from_the_variants() -> None:
    assert not set(NAMES) & set(catalogue.names())
    assert all(catalogue.is_code(name) and catalogue.find(name).is_builtin for name in NAMES)
    with pytest.raises(InputError, match='did you mean "decoder-alibi"'):
        catalogue.find("decoder-alibbi")


def test_an_ablation_is_named_and_described_after_its_default() -> None:
    for name, ablation in ABLATIONS.items():
        default = ablation.default.__name__.rpartition(".")[2].replace("_", "-")
        assert name.startswith(f"{default}-") and catalogue.find(name).family == default
        assert catalogue.find(name).document == f"{SUBJECTS[ablation.default]} {ablation.difference}."


@pytest.mark.parametrize("default", SUBJECTS, ids=SUBJECTS.values())
def test_nothing_replaced_is_the_built_in_variant(default: ModuleType) -> None:
    ours, theirs = (fresh(build) for build in (default.build, Ablation(default, "", always()).build))
    assert is_same(ours, theirs)
    tokens = contract.sequences(2, 5)
    assert torch.equal(*(contract.Subject(None, model).model(tokens, tokens) for model in (ours, theirs)))


def test_a_part_is_replaced_in_the_ablation_alone() -> None:
    size, limits = contract.SIZE, contract.LIMITS
    relu = catalogue.find("decoder-relu").build(size, limits)
    assert {plain_class(block.feedforward) for block in relu.stack.blocks} == {FeedForward}
    default = catalogue.find("decoder").build(size, limits)
    assert {plain_class(block.feedforward) for block in default.stack.blocks} == {GatedFeedForward}
    with pytest.raises(AssertionError):
        Ablation(decoder, "", always(GatedFedForward=FeedForward)).build(size, limits)


@pytest.mark.parametrize("name", ["decoder-no-norm", "encoder-tied", "encoder-decoder-relative-bias"])
def test_the_text_of_an_ablation_is_a_variant_file(tmp_path: Path, name: str) -> None:
    ablation = catalogue.find(name)
    (tmp_path / "copy.py").write_text(ablation.text)
    copied = catalogue.find("copy.py", tmp_path)
    assert copied.document == ablation.document and copied.text == ablation.text
    assert is_same(fresh(copied.build), fresh(ablation.build))


def test_an_ablation_whose_digest_is_not_kept_is_named_by_the_whole_table() -> None:
    ablation = catalogue.find("decoder-alibi")
    assert digests.of(ablation) == digests.KEPT["decoder-alibi"] != digests.of_text(ablation.text)
    new, mine = replace(ablation, name="decoder-new"), replace(ablation, is_builtin=False)
    assert digests.of(new) == digests.of(mine) == digests.of_text(ablation.text)
    edited = ablation.text.replace("Alibi(size.heads)", "Alibi(2 * size.heads)")
    assert digests.of(replace(new, text=edited)) != digests.of(new)


def is_same(one: nn.Module, other: nn.Module) -> bool:
    """Whether two models have the same weights, by the same names in the same order."""
    ours, theirs = one.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fits_every_architecture_to_its_budget(name: str) -> None:
    experiment = spec.preset(name)
    assert experiment.name == name
    setups = {(task.budget, task.model, place) for task in experiment.tasks for place in task.architectures}
    for held, model, place in setups:
        build, start = catalogue.find(place).build, Size(model.width, model.heads or model.width // 32, 1, 1)
        measure = budget.COUNTED[spec.HELD[held.match[0]][0]]
        fitted = budget.fit(build, start, LIMITS, measure, held.parameters, False, place, model.depth)
        assert measure(budget.blank(build, fitted, LIMITS)) == pytest.approx(held.parameters, rel=0.01), place


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_seeds_and_something_to_decide(name: str) -> None:
    experiment = spec.preset(name)
    assert all(len(task.seeds) >= 3 for task in (*experiment.tasks, *experiment.conditions))
    for pair in experiment.contrasts:
        assert any(set(pair) <= set(task.architectures) for task in experiment.tasks), pair
    changes = [*experiment.conditions, *(task for task in experiment.tasks if task.baseline)]
    assert experiment.contrasts or changes


def test_every_ablation_stands_in_a_preset() -> None:
    tasks = [task for name in PRESETS for task in spec.preset(name).tasks]
    assert set(NAMES) <= {place for task in tasks for place in task.architectures}


@pytest.mark.parametrize("depth", [2, 8, 24])
def test_a_depth_that_is_given_is_kept(depth: int) -> None:
    build = catalogue.find("decoder-no-residual").build
    fitted = budget.fit(build, Size(48, 3, 1, 1), LIMITS, budget.parameters, 296_000, False, "decoder", depth)
    assert fitted.depth == depth and len(build(fitted, LIMITS).stack.blocks) == depth
    assert budget.counts(build, fitted, LIMITS).parameters == pytest.approx(296_000, rel=0.01)
    with pytest.raises(InputError, match=r"96 layers are already larger.*model\.depth"):
        budget.fit(build, Size(48, 3, 1, 1), LIMITS, budget.parameters, 296_000, False, "decoder", 96)


@pytest.mark.parametrize(("name", "heads"), [("one-head", 1), ("four-heads", 4), ("eight-heads", 8), ("average", 1)])
def test_heads_are_those_of_the_model_and_cost_no_parameters(name: str, heads: int) -> None:
    model, default = (
        catalogue.find(architecture).build(SIZE, LIMITS) for architecture in (f"decoder-{name}", "decoder")
    )
    assert size.heads(model) == heads and size.heads(default) == SIZE.heads
    assert name == "average" or size.count(model) == size.count(default)
    assert size.heads(nn.Linear(2, 2)) is None


# Averaging.


def views(n: int) -> dict[str, AttentionContext]:
    """Every way to see and be seen among ``n`` positions of two rows."""
    places = torch.arange(n)[None]
    present = torch.tensor([[True] * n, [False] + [True] * (n - 2) + [False]])
    bias = torch.randn(1, 2, n, n)
    return {
        "both ways": AttentionContext(places, places),
        "causal": AttentionContext(places, places, CAUSAL),
        "padded": AttentionContext(places, places, present=present),
        "causal and padded": AttentionContext(places, places, CAUSAL, present=present),
        "prefix": AttentionContext(places, places, PREFIX, torch.tensor([[3], [0]])),
        "biased": AttentionContext(places, places, CAUSAL, bias=bias),
    }


def is_visible(context: AttentionContext, row: int, query: int, key: int) -> bool:
    if context.present is not None and not context.present[row, key]:
        return False
    early = context.rule is PREFIX and context.source is not None and key < context.source[row, 0]
    return context.rule is BIDIRECTIONAL or key <= query or bool(early)


@pytest.mark.parametrize("name", list(views(6)))
def test_an_average_is_the_mean_over_what_is_seen(name: str) -> None:
    torch.manual_seed(0)
    average, x, context = filled(Average(8)), torch.randn(2, 6, 8), views(6)[name]
    output, _ = average(x, context)
    for row in range(2):
        values = average.value(x[row])
        for query in range(6):
            keys = [key for key in range(6) if is_visible(context, row, query, key)]
            if keys:  # padding that sees nothing may have anything
                expected = average.output(torch.stack([values[key] for key in keys]).mean(0))
                assert torch.allclose(output[row, query], expected, atol=1e-6), (row, query)


@pytest.mark.parametrize("lengths", [(1, 1, 1, 1, 1, 1), (3, 1, 2), (6,)])
def test_a_cached_average_is_that_of_one_pass(lengths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    average, x = filled(Average(8)), torch.randn(2, 6, 8)
    places = torch.arange(6)[None]
    with torch.no_grad():
        whole, _ = average(x, AttentionContext(places, places, CAUSAL))
        past: KeyValues | None = None
        parts: list[Tensor] = []
        for part in torch.split(torch.arange(6), lengths):
            context = AttentionContext(part[None], places[:, : part[-1] + 1], CAUSAL)
            y, past = average(x[:, part], context, past)
            parts.append(y)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)


# Residuals and the mask.


def test_without_residuals_a_sublayer_replaces_the_stream() -> None:
    x, y = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    norm = nn.LayerNorm(8)
    assert torch.equal(NoResidual(norm).before(x), PreNorm(norm).before(x))
    assert torch.equal(NoResidual(norm).after(x, y), y)


def test_without_residuals_nothing_starts_at_zero() -> None:
    model = catalogue.find("decoder-no-residual").build(SIZE, LIMITS)
    zeros = [name for name, parameter in model.named_parameters() if not parameter.any()]
    assert zeros == ["head.weight"]
    assert all(isinstance(block, Block) for block in model.stack.blocks)


def test_without_a_mask_every_token_sees_every_other_but_no_padding() -> None:
    case = contract.subject(catalogue.find("decoder-no-mask").build)
    assert isinstance(case.model, DecoderOnly)
    source, target = contract.sequences(1, 4), contract.sequences(1, 5, seed=1)
    with torch.no_grad():
        before = case.model(source, target)
        for place in range(5):
            changed = target.clone()
            changed[:, place] = 5 + (changed[:, place] - 4) % 15
            assert ((case.model(source, changed) - before).abs().amax(-1) > 1e-6).all()
        noise, mask = contract.sequences(1, 3, seed=2), torch.tensor([[True] * 5 + [False] * 3])
        padded = case.model(source, torch.cat([target, noise], 1), None, mask)[:, :5]
    assert torch.allclose(padded, before, atol=1e-5)
    flops = case.model.flops(4.0, 5.0, 5.0)
    assert flops.model == flops.executed
