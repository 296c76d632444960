"""Work and weights that a variant hides from its budget: FLOPs, tables, weights beside the parameters, sizes."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.embedding import Embedding, Head
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.norm import LayerNorm
from archbench.architectures.components.positions import Learned
from archbench.architectures.components.stack import Block
from archbench.architectures.families.decoder import DecoderOnly
from archbench.architectures.families.size import Limits, Size
from archbench.architectures.kernels import attend
from archbench.architectures.objectives import causal, masked
from faults.plant import (
    DECODER,
    ENCODER,
    ENCODER_DECODER,
    THREE,
    WITH_POSITIONS,
    Fault,
    Method,
    Plant,
    ask,
    change,
    combined,
    feedforwards,
    objective,
    patch,
    with_methods,
)

PHRASES = Size(dim=64, heads=2, depth=5, hidden=180), Limits(vocabulary=512, source_length=20, target_length=24)
CHARACTERS = Size(128, 4, 4, 340, dropout=0.1), Limits(vocabulary=96, source_length=64, target_length=64)
SHARED: dict[int, Tensor] = {}  # weights of a global, by their width


def broadcast_and_summed(original, self, x):
    """The last matrix of feed-forward networks is multiplied without a product."""
    gate, up = self.gate_up(x).chunk(2, -1)
    hidden = self.dropout(self.activation(gate) * up)
    return (hidden[..., None, :] * self.down.weight).sum(-1)


def times(owner: type, factor: float | Callable[[Any], float], name: str = "flops") -> Plant:
    """A formula that counts ``factor`` times as much; it may follow from what the formula is of."""

    def counted(original, self, *amounts):
        return original(self, *amounts) * (factor(self) if callable(factor) else factor)

    return patch(owner, name, counted)


def narrow_formula(original, self, tokens):
    """FLOPs of a feed-forward network whose width is a number in the code."""
    return 6.0 * tokens * 32 * self.down.in_features


def without_cross(original, self, tokens, pairs_at_window, memory=0.0, memory_pairs=0.0):
    pairs = pairs_at_window(self.attention.window)
    return self.attention.flops(tokens, tokens, pairs) + self.feedforward.flops(tokens)


def counts_half_of_the_pairs(model):
    pairs = model.mask.pairs
    model.mask = replace(model.mask, pairs=lambda *amounts: pairs(*amounts) / 2)


def fewer_pairs_in_wide_models(original, self, *amounts):
    counted = original(self, *amounts)
    share = 0.95 if self.embedding.weight.shape[1] > 32 else 1.0
    return replace(counted, visible_pairs=counted.visible_pairs * share)


def declare_windows(model: nn.Module) -> None:
    for block in model.modules():
        if isinstance(block, Block):
            block.attention.window = 8


def twice(when: Callable[..., bool]) -> Plant:
    """A second pass in training ``when`` the model and the inputs of a pass say so."""

    def hidden(original, self, *inputs, **named):
        if self.training and when(self, *inputs):
            original(self, *inputs, **named)
        return original(self, *inputs, **named)

    return with_methods(hidden=hidden)


def has_dropout(model: nn.Module, *inputs: object) -> bool:
    return any(isinstance(part, nn.Dropout) and part.p for part in model.modules())


def declare_tables(choose: Callable[[Any], list[nn.Parameter]]) -> Plant:
    """Other parameters of a model are declared as tables, which no budget counts."""
    return change(lambda model: setattr(model, "tables", lambda: choose(model)))


def last_matrices(model: nn.Module) -> list[nn.Parameter]:
    return [part.down.weight for part in model.modules() if isinstance(part, GatedFeedForward)]


def norms(model: nn.Module) -> list[nn.Parameter]:
    return [p for part in model.modules() if isinstance(part, LayerNorm) for p in part.parameters()]


class Beside(nn.Module):
    """A feed-forward network and what is added to it or done before it, with its own FLOPs of a token."""

    def __init__(self, inner: nn.Module, flops: float) -> None:
        super().__init__()
        self.inner, self.more = inner, flops

    def flops(self, tokens):
        return self.inner.flops(tokens) + self.more * tokens


class WithTable(Beside):
    """Beside it a matrix with a row for each token, which is declared as a table."""

    def __init__(self, inner: nn.Module, model: Any, size: Size) -> None:
        super().__init__(inner, 4.0 * model.embedding.weight.numel())
        self.matrix = nn.Parameter(torch.randn(model.embedding.weight.shape))

    def tables(self) -> list[nn.Parameter]:
        return [self.matrix]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + torch.relu(x @ self.matrix.T) @ self.matrix


class Reservoir(Beside):
    """Beside it a random network of constant weights."""

    def __init__(self, inner: nn.Module, model: Any, size: Size) -> None:
        super().__init__(inner, 16.0 * size.dim**2)
        self.register_buffer("up", torch.randn(size.dim, 4 * size.dim) * size.dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + torch.relu(x @ self.up) @ self.up.T / self.up.shape[1]


class Complex(Beside):
    """After a complex matrix, whose product counts as ``products`` real ones."""

    def __init__(self, inner: nn.Module, dim: int, products: int) -> None:
        self.half = dim // 2
        super().__init__(inner, 2.0 * products * self.half**2)
        self.matrix = nn.Parameter(torch.randn(self.half, self.half, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.complex(x[..., : self.half], x[..., self.half :]) @ self.matrix
        return self.inner(torch.cat([z.real, z.imag], -1))


def complex_network(products: int) -> Plant:
    return feedforwards(lambda inner, model, size: Complex(inner, size.dim, products), most=1)


def hidden_weights(dim: int) -> Tensor:
    """The same in every model, so that nothing shows when one is saved and loaded."""
    return torch.randn(dim, dim, generator=torch.Generator().manual_seed(0), device="cpu") * dim**-0.5


class WithWeights(Beside):
    """Behind a matrix that ``read`` gets from wherever it hangs."""

    def __init__(self, inner: nn.Module, dim: int, read: Callable[[], Tensor]) -> None:
        super().__init__(inner, 2.0 * dim**2)
        self.read = read

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x @ self.read())


def weights_from(hold: Callable[[int], Callable[[], Tensor]]) -> Plant:
    return feedforwards(lambda inner, model, size: WithWeights(inner, size.dim, hold(size.dim)), most=1)


def in_a_list(dim: int) -> Callable[[], Tensor]:
    holder = SimpleNamespace(layers=[[hidden_weights(dim)]])
    return lambda: holder.layers[0][0]


def in_a_dictionary(dim: int) -> Callable[[], Tensor]:
    holder = {"layers": {"first": hidden_weights(dim)}}
    return lambda: holder["layers"]["first"]


def in_a_closure(dim: int) -> Callable[[], Tensor]:
    weights = hidden_weights(dim)
    return lambda: weights


def in_a_global(dim: int) -> Callable[[], Tensor]:
    SHARED.setdefault(dim, hidden_weights(dim))
    return lambda: SHARED[dim]


def in_a_default_argument(dim: int) -> Callable[[], Tensor]:
    weights = hidden_weights(dim)

    def read(tensor: Tensor = weights) -> Tensor:
        return tensor

    return read


def made_in_the_first_pass(dim: int) -> Callable[[], Tensor]:
    cache: list[Tensor] = []

    def read() -> Tensor:
        if not cache:
            cache.append(hidden_weights(dim))
        return cache[0]

    return read


def trained_in_a_closure(dim: int) -> Callable[[], Tensor]:
    weights = hidden_weights(dim).requires_grad_()
    return lambda: weights


class Private(nn.Module):
    """Holds a matrix in an attribute whose name begins with an underscore."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self._weights = hidden_weights(dim)

    def forward(self) -> Tensor:
        return self._weights


HOLDERS: dict[str, Callable[[int], Callable[[], Tensor]]] = {
    "a list": in_a_list,
    "a dictionary": in_a_dictionary,
    "a global": in_a_global,
    "a default argument": in_a_default_argument,
    "an underscore": Private,
    "the first pass": made_in_the_first_pass,
}


def both(owners: tuple[object, ...], name: str, method: Method) -> Plant:
    return combined(*(patch(owner, name, method) for owner in owners))


FORMULA, NATIVE = "FLOPs by formula, ", "native supervision: .* FLOPs of training by formula, "
HERE = f"source 5, target 4: .* {FORMULA}"
PAIRS = "model FLOPs are declared as .* of the executed ones; with the pairs that attention uses they are "
FAULTS = {
    "flops_are_counted": (
        Fault("FLOPs of cross-attention forgotten", FORMULA, patch(Block, "flops", without_cross), ENCODER_DECODER),
        Fault("FLOPs of the output matrix forgotten", FORMULA, times(Head, 0.0), THREE),
        Fault(
            "FLOPs of one example at a time",
            "TypeError: only ",
            patch(GatedFeedForward, "flops", lambda original, self, tokens: original(self, int(tokens))),
            THREE,
        ),
        Fault("a width in the formula", HERE, patch(GatedFeedForward, "flops", narrow_formula), THREE),
        Fault(
            "a product written as a sum",
            HERE,
            combined(patch(GatedFeedForward, "forward", broadcast_and_summed), times(GatedFeedForward, 2 / 3)),
            THREE,
        ),
        Fault("a complex product counted as a real one", FORMULA, complex_network(1)),
        Fault(
            "one pass counted for all tokens that are written",
            "source 5, 4 tokens written: .* FLOPs by `answer_flops`, .* executed",
            objective(answer_flops=lambda original, self, model, s, t: original(self, model, s, t) / t),
            ENCODER,
        ),
        Fault(
            "one round counted for two",
            "source 5, 4 tokens written in 2 rounds: .* FLOPs by `answer_flops`, .* executed",
            objective(rounds_flops=lambda original, *inputs: original(*inputs) / 2),
            ENCODER,
        ),
    ),
    "training_flops_are_counted": (
        Fault(
            "backward pass forgotten",
            NATIVE,
            both((causal, masked), "tripled", lambda original, forward: forward),
            THREE,
        ),
        Fault("a second pass in training", NATIVE, twice(lambda *_: torch.is_grad_enabled()), THREE),
        Fault(
            "a second pass over padded batches",
            f"padded to source 5, target 6: .* {FORMULA}",
            twice(lambda model, source, target, mask=None, *rest: mask is not None),
            THREE,
        ),
        Fault(
            "a second pass where there is dropout",
            "source 5, target 6, dropout 0.1, mean of 2 steps: .* FLOPs of training by formula, ",
            twice(has_dropout),
            THREE,
        ),
        Fault(
            "positions with a loss left out",
            NATIVE,
            objective(loss_tokens=lambda original, *inputs: original(*inputs) / 2),
            THREE,
        ),
    ),
    "visible_flops_are_counted": (
        Fault(
            "half of the visible pairs",
            PAIRS,
            change(counts_half_of_the_pairs),
            (*ENCODER_DECODER, *DECODER, *ENCODER),
        ),
        Fault(
            "a window that is declared and not used",
            rf"source \d+, target \d+: {PAIRS}",
            combined(
                change(declare_windows),
                patch(AttentionContext, "_mask", lambda original, self, window=None: original(self, None)),
            ),
            THREE,
        ),
        Fault(
            "windows left out in bfloat16",
            "uses 100.0% of the pairs in bfloat16",
            patch(attend, "additive", lambda original, context, window, queries: original(context, None, queries)),
            ("modernbert",),
        ),
    ),
    "planned_flops_are_counted": (
        Fault(
            "a formula for small models alone",
            "^width 128, heads 4, depth 4, hidden 340, source 64, target 64, native",
            times(GatedFeedForward, lambda part: 0.5 if part.down.out_features > 100 else 1.0),
            THREE,
            plan=CHARACTERS,
        ),
        Fault(
            "fewer positions with a loss than planned",
            "positions have a loss by formula",
            objective(loss_tokens=lambda original, *inputs: original(*inputs) * 0.7),
            ENCODER,
            plan=PHRASES,
        ),
        Fault(
            "a visible share for small models alone",
            "with the pairs that attention uses they are",
            patch(DecoderOnly, "flops", fewer_pairs_in_wide_models),
            plan=PHRASES,
        ),
        Fault(
            "matrices of a planned model declared as tables",
            r"leave other weights out of `tables\(\)`",
            declare_tables(last_matrices),
            plan=CHARACTERS,
        ),
        Fault(
            "constant weights in a buffer of a planned model",
            "the most in stack.blocks.0.feedforward.up",
            feedforwards(Reservoir, most=1),
            plan=PHRASES,
        ),
    ),
    "long_texts_are_read_alike": (
        Fault(
            "FLOPs of long texts counted twice",
            "FLOPs by formula",
            patch(GatedFeedForward, "flops", lambda original, self, n: original(self, n) * (1 + (n > 100))),
            ("decoder", "encoder"),
            alone=True,
        ),
    ),
    "everything_is_registered": (
        Fault(
            "layers in a plain list",
            "not registered: extra",
            change(lambda model: setattr(model, "extra", [nn.Linear(4, 4)])),
            THREE,
        ),
    ),
    "every_tensor_is_counted": (
        *(
            Fault(
                f"weights in {place}",
                r"tensors of shape \(32, 32\) ",
                weights_from(hold),
            )
            for place, hold in HOLDERS.items()
        ),
        Fault("weights in a closure", r"tensors of shape \(32, 32\) ", weights_from(in_a_closure), THREE),
        Fault(
            "trained weights in a closure",
            r"tensors of shape \(32, 32\) get a gradient but are not parameters of the model",
            weights_from(trained_in_a_closure),
        ),
    ),
    "a_plan_is_the_model": (
        Fault(
            "a weight read while building",
            "cannot be called on meta tensors",
            change(lambda model: model.embedding.weight[0, 0].item()),
            THREE,
        ),
    ),
    "constants_are_few": (
        Fault(
            "constant weights in a buffer",
            "the most in stack.blocks.0.feedforward.up",
            feedforwards(Reservoir, most=1),
        ),
    ),
    "size_is_used": (
        Fault(
            "depth fixed",
            "1, 2 and 3 for `size.depth` give",
            ask(size=lambda x: replace(x, depth=2)),
            THREE,
        ),
    ),
    "parameters_are_counted": (
        Fault(
            "width rounded up",
            "not linear",
            ask(size=lambda x: replace(x, hidden=-(-x.hidden // 8) * 8)),
            THREE,
        ),
        Fault(
            "a feed-forward width of at most 60",
            "feed-forward widths 24, 25, 27, 54, 2053 give .*: not linear",
            ask(size=lambda size: replace(size, hidden=min(size.hidden, 60))),
        ),
        Fault(
            "token table counted",
            "the vocabulary changes `parameters`",
            patch(Embedding, "tables", lambda original, self: []),
            THREE,
        ),
        Fault(
            "a table of positions among the parameters",
            "longer texts change `parameters`",
            patch(Learned, "tables", lambda original, self: []),
            ("gpt2",),
        ),
        Fault("a complex matrix", "stack.blocks.0.feedforward.matrix", complex_network(4)),
    ),
    "tables_are_lookups": (
        Fault(
            "norms declared as tables",
            r"the tables .*norm.weight \(aten.native_layer_norm.default\).* are read as weights of a layer",
            declare_tables(norms),
            THREE,
        ),
        Fault(
            "matrices declared as tables",
            "numbers of the table .*down.weight belong to no token and no position",
            declare_tables(last_matrices),
            THREE,
        ),
        Fault(
            "a memory declared as a table",
            "numbers of the table .*positions.weight belong to no token and no position",
            change(lambda model: setattr(model, "positions", Learned(1024, model.embedding.weight.shape[1]))),
            WITH_POSITIONS,
        ),
        Fault(
            "a matrix with a row for each token",
            "the tables .*matrix .* are read as weights of a layer before the output head",
            feedforwards(WithTable, most=1),
            ("gpt2",),
        ),
    ),
    "ties_hold": (
        Fault(
            "tied weights silently untied",
            "embedding.weight and head.weight start equal but are two parameters",
            change(lambda model: setattr(model.head, "weight", nn.Parameter(model.embedding.weight.detach().clone()))),
            WITH_POSITIONS,
        ),
    ),
}
