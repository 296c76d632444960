"""What `archbench new` writes, one file for each family: the built-in variant of that name, with comments."""
