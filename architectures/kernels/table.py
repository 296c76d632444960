"""All kernels in one table: operation -> when a kernel applies, what runs then, and the plain version."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch.nn import functional as F

from archbench.architectures.kernels import (
    attend,
    blockwise,
    cross_entropy,
    direct,
    fused,
    gated,
    gelu,
    product,
    rms,
    rotate,
    single,
    weight_prepack,
)


class Kernel(NamedTuple):
    """A fast way for an ``operation``, which asks ``applies`` and then calls ``runs``.

    ``applies`` is None where there is nothing to choose. ``test`` is the file in ``tests/`` that holds values and
    gradients to those of ``plain``.
    """

    operation: Callable[..., Any]
    when: str
    applies: Callable[..., bool] | None
    runs: Callable[..., Any]
    plain: Callable[..., Any]
    test: str


TABLE = (
    Kernel(
        product.product,
        "bfloat16 autocast on a CPU, a number of rows that is no multiple of 64",
        product.bf16_applies,
        product.product_bf16,
        F.linear,
        "test_product.py",
    ),
    Kernel(
        product.product,
        "no gradients, float32 on a CPU for which oneDNN is faster",
        product.onednn_applies,
        product.product_onednn,
        F.linear,
        "test_product.py",
    ),
    Kernel(
        product.product_onednn,
        "many products with one weight, as in writing",
        weight_prepack.is_packing,
        weight_prepack.packed,
        F.linear,
        "test_weight_prepack.py",
    ),
    Kernel(
        gated.Halves.forward,
        "no gradients, float32 on a CPU, at least 256 rows",
        gated.applies,
        gated.halves_apart,
        gated.halves,
        "test_components.py",
    ),
    Kernel(
        attend.attend,
        "bfloat16 autocast on a CPU, no dropout, at most 1024 keys",
        blockwise.applies,
        blockwise.attention,
        fused.attention,
        "test_blockwise.py",
    ),
    Kernel(
        attend.attend,
        "no gradients, float32 on a CPU, one query a row, keys and values in a buffer",
        single.applies,
        single.attention,
        fused.attention,
        "test_key_values.py",
    ),
    Kernel(
        attend.attend_states,
        "bfloat16 autocast on a CPU, few queries",
        direct.applies,
        direct.attention,
        attend.attend,
        "test_cross_attention_without_keys.py",
    ),
    Kernel(
        rotate.rotated,
        "outside of torch.compile, more than one position or gradients",
        rotate.applies,
        rotate.written_out,
        rotate.plain,
        "test_rotate.py",
    ),
    Kernel(
        rms.rms_norm,
        "outside of torch.compile, training in float32 on a CPU",
        rms.applies,
        rms.written_out,
        rms.plain,
        "test_rms.py",
    ),
    Kernel(
        gelu.gelu_tanh,
        "outside of torch.compile, float32 or bfloat16 on a CPU",
        gelu.applies,
        gelu.by_exponential,
        gelu.plain,
        "test_gelu.py",
    ),
    Kernel(
        cross_entropy.total,
        "always in training: output matrix and loss together",
        None,
        cross_entropy.total,
        cross_entropy.plain,
        "test_cross_entropy.py",
    ),
)
