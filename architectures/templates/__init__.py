"""Templates of `archbench new`, one per family: the built-in variant of that name, with comments."""
