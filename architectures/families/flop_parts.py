"""Training FLOPs by part of the model: attention, feed-forward networks, the output matrix."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from archbench.architectures.components.embedding import Head
from archbench.architectures.components.stack import Block


def flop_parts(model: nn.Module, count: Callable[[], float]) -> dict[str, float]:
    """The share of ``count()``, the FLOPs of ``model``, in attention, feedforward and output.

    A part's share is the drop of the count when the FLOPs of that part are set to 0. Other modules are in no share.
    """
    whole = count()
    shares = {}
    for part, modules in _modules(model).items():
        with ExitStack() as without:
            for module in modules:
                without.enter_context(_uncounted(module))
            shares[part] = 1 - count() / whole if whole else 0.0
    return shares


def _modules(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules of each part, each once."""
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    attention: Iterable[Any] = (part for block in blocks for part in (block.attention, block.cross))
    return {
        "attention": _once(attention),
        "feedforward": _once(block.feedforward for block in blocks),
        "output": _once(module for module in model.modules() if isinstance(module, Head)),
    }


def _once(modules: Iterable[Any]) -> list[nn.Module]:
    return list({id(module): module for module in modules if module is not None}.values())


@contextmanager
def _uncounted(module: Any) -> Iterator[None]:
    """Within, the module counts no FLOPs."""
    module.flops = lambda *amounts: 0.0 * amounts[0]
    try:
        yield
    finally:
        del module.flops
