"""What makes components fast and nothing else. Each kernel has a plain version, which it equals but for its last bits.

``table.TABLE`` lists them: for which operation, when each applies, and the tests that hold its values and gradients to
those of its plain version.
"""
