"""Which tokens a loss depends on, by the gradient that reaches each token's embedding."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from archbench.architectures.objectives.objective import Batch
from archbench.tasks.base.example import SPECIALS


def unique_tokens(rows: int, source: int, target: int, padding: bool) -> Batch:
    """A batch in which no token occurs twice; with ``padding`` every row but the first ends with a token of padding."""
    count = rows * (source + target)
    ids = torch.randperm(count, generator=torch.Generator().manual_seed(0)) + len(SPECIALS)
    parts = ids[: rows * source].view(rows, source), ids[rows * source :].view(rows, target)
    if not padding:
        return Batch(*parts)
    masks = []
    for tokens in parts:
        mask = torch.ones_like(tokens, dtype=torch.bool)
        mask[1:, -1:] = False
        masks.append(mask)
    return Batch(*parts, *masks)


@contextmanager
def token_gradients(model: nn.Module, vocabulary: int) -> Iterator[Callable[[], dict[int, float] | None]]:
    """Watches tables with ``vocabulary`` rows in the block; the function returns each token's largest gradient.

    It returns None if no such table was used. Special tokens are left out.
    """
    read: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and output.shape[:-1] == inputs[0].shape:
            output.retain_grad()
            read.append((inputs[0], output))

    def reached() -> dict[int, float] | None:
        gradients: dict[int, float] = {}
        for tokens, output in read:
            size = torch.zeros(tokens.shape) if output.grad is None else output.grad.abs().amax(-1)
            for token, gradient in zip(tokens.flatten().tolist(), size.flatten().tolist(), strict=True):
                gradients[token] = max(gradients.get(token, 0.0), gradient)
        return {token: size for token, size in gradients.items() if token >= len(SPECIALS)} if read else None

    with ExitStack() as hooks:
        for module in model.modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim == 2 and len(weight) == vocabulary and _looks_up(module):
                hooks.callback(module.register_forward_hook(keep).remove)
        yield reached


def _looks_up(module: nn.Module) -> bool:
    """True if a module is a token table, and not an output matrix of the same shape."""
    return not isinstance(module, nn.Linear) and not hasattr(module, "product")
