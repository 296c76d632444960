"""The built-in variants, one small file each; `architectures.catalogue` finds them by name."""
