"""Fast implementations of components. Each kernel equals a plain version except for rounding.

``table.TABLE`` lists them: for which operation, when each applies, and the tests that hold its values and gradients to
those of its plain version. ``tests/test_kernel_layouts.py`` does so for all, in every memory layout.
"""
