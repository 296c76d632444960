"""Variant files whose faults lie deep: a layer that only some depths have, and what layers hand on to others."""

from pathlib import Path

import pytest

from archbench.architectures import contract
from archbench.architectures.catalogue import catalogue
from archbench.architectures.families.size import Limits, Size
from archbench.runs.budgets import compliance
from archbench.runs.budgets.contract_parts import Shape
from archbench.runs.execution import compare
from archbench.runs.experiment.spec import from_dict
from archbench.tasks.base.errors import InputError

OPEN = '''"""A decoder of which some layers see the future."""
from archbench.architectures import (
    BIDIRECTIONAL, Attention, Block, DecoderOnly, Embedding, GatedFeedForward, Head, LayerNorm, Rotary, Stack,
)


class Open(Block):
    def forward(self, x, context, *rest, **named):
        return super().forward(x, context.fresh(rule=BIDIRECTIONAL), *rest, **named)


def build(size, limits):
    blocks = iter(range(1, size.depth + 1))

    def block():
        number = next(blocks)
        kind = Open if {where} else Block
        return kind(
            Attention(size.dim, size.heads),
            GatedFeedForward(size.dim, size.hidden),
            LayerNorm,
            dropout=size.dropout,
        )

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
'''
VALUES = '''"""A decoder whose layers add the first layer's values to their own (2410.17897)."""
from archbench.architectures import (
    Attention, Block, DecoderOnly, Embedding, GatedFeedForward, Head, LayerNorm, Rotary, Stack,
)
from archbench.architectures.components.key_values import KeyValues
from archbench.architectures import attend


class ValueResidual(Attention):
    def forward(self, x, context, past=None, memory=None):
        q, k, v = self._project(x, context.rotation)
        v = 0.5 * (v + {kept}.setdefault("values", v))
        key_values = KeyValues(k, v) if past is None else past.then(KeyValues(k, v))
        y = attend(q, key_values, context, self.window, self.active_dropout, self.scaling)
        return self.output(y), key_values


def build(size, limits):
    def block():
        attention = ValueResidual(size.dim, size.heads)
        return Block(attention, GatedFeedForward(size.dim, size.hidden), LayerNorm, dropout=size.dropout)

    return DecoderOnly(
        Embedding(limits.vocabulary, size.dim, dropout=size.dropout),
        Stack(size.depth, block, LayerNorm(size.dim)),
        Head(limits.vocabulary, size.dim),
        positions=Rotary(size.head_dim),
    )
'''
LIMITS = Limits(vocabulary=40, source_length=9, target_length=7)
RUNS = {
    "name": "deep",
    "budget": {"parameters": 300_000, "tokens": 2_000},  # so wide that FLOPs do not show which pairs are seen
    "model": {"width": 64, "heads": 2, "depth": 6},
    "tasks": [{"kind": "generation", "data": "phrases-en-de:200", "context": 24}],
}


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def test_compare_refuses_a_look_ahead_in_each_sixth_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHBENCH_CACHE", str(tmp_path / "cache"))
    path = written(tmp_path, OPEN.replace("{where}", "number % 6 == 0"))
    experiment = from_dict({**RUNS, "architectures": [str(path)]})
    with pytest.raises(InputError, match=r"at the size of its runs: \w+: no_look_ahead: .* 2 heads, depth 6"):
        compare.run(experiment, tmp_path / "out", compare.RunOptions(device="cpu", jobs=1), "", lambda line: None)
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize(
    ("where", "size"),
    [
        ("number == 15", Size(64, 2, 15, 24)),
        ("size.depth == 5", Size(64, 2, 5, 24)),
        ("size.heads == 3", Size(48, 3, 2, 24)),
        ("size.heads == 7 and number == 2", Size(56, 7, 2, 24)),
    ],
)
def test_the_heads_and_the_depth_of_runs_are_tried(
    where: str, size: Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a narrow head cannot be built."""
    monkeypatch.setattr(contract, "CHECKS", ())
    text = OPEN.replace("{where}", where)
    if size.heads == 7:
        text = text.replace("    blocks = iter", "    assert size.head_dim % 8 == 0\n    blocks = iter")
    variant = catalogue.find(str(written(tmp_path, text)))
    shapes = [Shape(each, LIMITS, native=True) for each in (Size(56, 2, 4, 24), size)]
    with pytest.raises(InputError, match=f"no_look_ahead: .* {size.heads} heads, depth {size.depth}"):
        compliance.require_contract(variant, tmp_path, lambda line: None, shapes)


@pytest.mark.parametrize("kept", ["context.kept", "vars(context)"])
def test_what_layers_keep_in_their_context_is_recomputed_alike(kept: str, tmp_path: Path) -> None:
    build = catalogue.find(str(written(tmp_path, VALUES.replace("{kept}", kept)))).build
    assert contract.check("recomputing_changes_nothing")(contract.subject(build)) is None
    assert contract.check("forward_is_prefill_and_decode")(contract.subject(build)) is None
