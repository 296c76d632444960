"""What makes components fast and nothing else. Each kernel has a plain version, which it equals but for its last bits.

    operation             kernel                    when it runs                                plain version
    --------------------  ------------------------  ------------------------------------------  ---------------------------
    x @ weight.T          product.product           on a CPU, outside torch.compile             F.linear
    ... of a few rows     weight_prepack.packed     many products with the same weight          F.linear
    attention             blockwise.attention       CPU, bfloat16, no dropout, <= 1024 keys     F.scaled_dot_product_attention
    rotary positions      rotate.rotated            outside torch.compile                       its own first branch
    RMSNorm               rms.rms_norm              training in float32 on a CPU                F.rms_norm
    GELU (tanh)           gelu.gelu_tanh            on a CPU, outside torch.compile             F.gelu(approximate="tanh")
    output matrix, loss   cross_entropy.total       always in training                          cross_entropy.plain

Tests hold values and gradients of each to those of its plain version: ``tests/test_product.py``, ``test_packing.py``,
``test_blockwise.py``, ``test_rms.py``, ``test_gelu.py``, ``test_cross_entropy.py`` and ``test_components.py``.
"""
