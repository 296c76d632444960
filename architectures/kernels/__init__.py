"""What makes components fast and nothing else. Each kernel has a plain version, which it equals but for its last bits.

    kernel                  what it computes       when it runs                              plain version
    ----------------------  ---------------------  ----------------------------------------  -------------------------
    product.product         x @ weight.T           on a CPU, outside torch.compile           F.linear
    weight_prepack.packed   the same, few rows     many products with one weight             F.linear
    blockwise.attention     attention              CPU, bfloat16, no dropout, <= 1024 keys   F.scaled_dot_product_...
    rotate.rotated          rotary positions       outside torch.compile                     its own first branch
    rms.rms_norm            RMSNorm                training in float32 on a CPU              F.rms_norm
    gelu.gelu_tanh          GELU by tanh           on a CPU, outside torch.compile           F.gelu(approximate="tanh")
    cross_entropy.total     output matrix and loss always in training                        cross_entropy.plain

Tests hold values and gradients of each to those of its plain version: ``tests/test_product.py``, ``test_blockwise.py``,
``test_weight_prepack.py``, ``test_rms.py``, ``test_gelu.py``, ``test_cross_entropy.py`` and ``test_components.py``.
"""
