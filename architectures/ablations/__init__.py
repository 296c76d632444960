"""Ablations of the default three, one small file each; the catalogue finds them by name."""
