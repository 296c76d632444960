"""Ablations of the default three, one small file each; `architectures.catalogue` finds them by name."""
