"""Work and weights that a variant hides from its budget: what the checks of FLOPs and capacity have to catch."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from faults import Plant, change, combined, patch
from torch import Tensor, nn

from archbench.architectures.components.attention import AttentionContext
from archbench.architectures.components.feedforward import GatedFeedForward
from archbench.architectures.components.positions import Learned
from archbench.architectures.components.stack import Block

Product = Callable[[Tensor, Tensor], Tensor]  # of rows (n, k) and a matrix (m, k): (n, m)
SHARED: dict[int, Tensor] = {}  # weights of a global, by their width


def _added_up(x: Tensor, matrix: Tensor) -> Tensor:
    y = torch.zeros(len(x), len(matrix))
    for column in range(x.shape[1]):
        y = y + x[:, column, None] * matrix[:, column]
    return y


def _added_in_place(x: Tensor, matrix: Tensor) -> Tensor:
    y = torch.zeros(len(x), len(matrix))
    for column in range(x.shape[1]):
        y = torch.addcmul(y, x[:, column, None], matrix[:, column])
    return y


PRODUCTS: dict[str, Product] = {
    "broadcast and summed": lambda x, matrix: (x[:, None] * matrix).sum(-1),
    "summed over another axis": lambda x, matrix: (x[..., None] * matrix.T).sum(-2),
    "repeated, then summed": lambda x, matrix: (x[:, None].repeat(1, len(matrix), 1) * matrix).sum(-1),
    "averaged": lambda x, matrix: (x[:, None] * matrix).mean(-1) * x.shape[1],
    "cumulated": lambda x, matrix: (x[:, None] * matrix).cumsum(-1)[..., -1],
    "divided and summed": lambda x, matrix: (x[:, None] / (1 / matrix)).sum(-1),
    "row by row": lambda x, matrix: torch.stack([(matrix * row).sum(-1) for row in x]),
    "columns added up": _added_up,
    "columns added up in place": _added_in_place,
    "mv": lambda x, matrix: torch.stack([torch.mv(matrix, row) for row in x]),
    "addmv": lambda x, matrix: torch.stack([torch.addmv(torch.zeros(len(matrix)), matrix, row) for row in x]),
    "dot": lambda x, matrix: torch.stack([torch.stack([torch.dot(row, other) for other in matrix]) for row in x]),
    "outer": lambda x, matrix: sum(torch.outer(a, b) for a, b in zip(x.T, matrix.T, strict=True)),  # type: ignore[misc]
    "convolution": lambda x, matrix: nn.functional.conv1d(x[..., None], matrix[..., None])[..., 0],
    "addr": lambda x, matrix: torch.addr(torch.zeros(len(x), len(matrix)), x[:, 0], matrix[:, 0]),
    "cdist": torch.cdist,
}


def down_by(multiply: Product) -> Plant:
    """The last matrix of feed-forward networks is multiplied in another way, and left out of their FLOPs."""

    def make(original):
        def forward(self, x):
            gate, up = self.gate_up(x)
            hidden = self.dropout(self.activation(gate) * up)
            return multiply(hidden.flatten(0, -2), self.down.weight).view(x.shape)

        return forward

    fewer = patch(GatedFeedForward, "flops", lambda original: lambda self, tokens: original(self, tokens) * (2 / 3))
    return combined(patch(GatedFeedForward, "forward", make), fewer)


def narrow_formula(original):
    """FLOPs of a feed-forward network whose width is a number in the code."""
    return lambda self, tokens: 6.0 * tokens * 32 * self.down.in_features


def small_formula(original):
    """FLOPs that are right for small models alone."""
    return lambda self, tokens: original(self, tokens) * (0.5 if self.down.out_features > 100 else 1.0)


def half_of_pairs(original):
    def pairs(*amounts, **named):
        declared = original(*amounts, **named)
        return lambda window: declared(window) / 2

    return pairs


def declare_windows(model: nn.Module) -> None:
    for block in model.modules():
        if isinstance(block, Block):
            block.attention.window = 8


def sees_past_windows(original):
    return lambda self, window=None: original(self, None)


UNUSED_WINDOW = combined(change(declare_windows), patch(AttentionContext, "_mask", sees_past_windows))


def twice_in_training(original):
    def hidden(self, *inputs, **named):
        if self.training and torch.is_grad_enabled():
            original(self, *inputs, **named)
        return original(self, *inputs, **named)

    return hidden


def twice_with_dropout(original):
    def hidden(self, *inputs, **named):
        if self.training and any(isinstance(part, nn.Dropout) and part.p for part in self.modules()):
            original(self, *inputs, **named)
        return original(self, *inputs, **named)

    return hidden


def twice_where_padded(original):
    def hidden(self, source, target, source_mask=None, *rest):
        if self.training and source_mask is not None:
            original(self, source, target, source_mask, *rest)
        return original(self, source, target, source_mask, *rest)

    return hidden


def declare_tables(choose: Callable[[nn.Module], list[nn.Parameter]]) -> Plant:
    """Other parameters of a model are declared as tables, which no budget counts."""
    return change(lambda model: setattr(model, "tables", lambda: choose(model)))


def last_matrices(model: nn.Module) -> list[nn.Parameter]:
    return [part.down.weight for part in model.modules() if isinstance(part, GatedFeedForward)]


def long_memory(model: nn.Module) -> None:
    model.positions = Learned(1024, model.embedding.weight.shape[1])


class WithTable(nn.Module):
    """A feed-forward network beside a matrix with a row for each token, which is declared as a table."""

    def __init__(self, inner: nn.Module, rows: int, dim: int) -> None:
        super().__init__()
        self.inner, self.matrix = inner, nn.Parameter(torch.randn(rows, dim))
        self.down = inner.down

    def tables(self) -> list[nn.Parameter]:
        return [self.matrix]

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + torch.relu(x @ self.matrix.T) @ self.matrix

    def flops(self, tokens):
        return self.inner.flops(tokens) + 4.0 * tokens * self.matrix.numel()


def matrix_for_tokens(model: nn.Module) -> None:
    block = model.stack.blocks[0]
    block.feedforward = WithTable(block.feedforward, *model.embedding.weight.shape)


def hidden_weights(dim: int) -> Tensor:
    """The same in every model, so that nothing shows when one is saved and loaded."""
    return torch.randn(dim, dim, generator=torch.Generator().manual_seed(0), device="cpu") * dim**-0.5


class WithWeights(nn.Module):
    """A feed-forward network behind a matrix that ``read`` gets from wherever it hangs."""

    def __init__(self, inner: nn.Module, dim: int, read: Callable[[], Tensor]) -> None:
        super().__init__()
        self.inner, self.dim, self.read = inner, dim, read

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x @ self.read())

    def flops(self, tokens):
        return self.inner.flops(tokens) + 2.0 * tokens * self.dim**2


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
    "a closure": in_a_closure,
    "a global": in_a_global,
    "a default argument": in_a_default_argument,
    "an underscore": Private,
    "the first pass": made_in_the_first_pass,
}


def weights_from(hold: Callable[[int], Callable[[], Tensor]]) -> Plant:
    def edit(model: nn.Module) -> None:
        dim = model.embedding.weight.shape[1]
        block = next(part for part in model.modules() if isinstance(part, Block))
        block.feedforward = WithWeights(block.feedforward, dim, hold(dim))

    return change(edit)


class Statistics(nn.Module):
    """Keeps a running mean of what passes in training, in a buffer."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(x.detach().flatten(0, -2).mean(0), 0.1)
        return x


def statistics_by(kind: type[nn.Module]) -> Plant:
    return change(lambda model: setattr(model.embedding, "norm", kind(model.embedding.weight.shape[1])))


class Reservoir(nn.Module):
    """A feed-forward network beside a random one of constant weights."""

    def __init__(self, inner: nn.Module, dim: int) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("up", torch.randn(dim, 4 * dim) * dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + torch.relu(x @ self.up) @ self.up.T / self.up.shape[1]

    def flops(self, tokens):
        return self.inner.flops(tokens) + 4.0 * tokens * self.up.numel()


def reservoir(model: nn.Module) -> None:
    block = model.stack.blocks[0]
    block.feedforward = Reservoir(block.feedforward, model.embedding.weight.shape[1])


class Complex(nn.Module):
    """A feed-forward network after a complex matrix, whose product counts as ``products`` real ones."""

    def __init__(self, inner: nn.Module, dim: int, products: int) -> None:
        super().__init__()
        self.inner, self.half, self.products = inner, dim // 2, products
        self.matrix = nn.Parameter(torch.randn(self.half, self.half, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        z = torch.complex(x[..., : self.half], x[..., self.half :]) @ self.matrix
        return self.inner(torch.cat([z.real, z.imag], -1))

    def flops(self, tokens):
        return self.inner.flops(tokens) + 2.0 * self.products * tokens * self.half**2


def complex_network(products: int) -> Callable[[nn.Module], None]:
    def edit(model: nn.Module) -> None:
        block = model.stack.blocks[0]
        block.feedforward = Complex(block.feedforward, model.embedding.weight.shape[1], products)

    return edit
