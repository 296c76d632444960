"""The built-in variants, one small file each; the catalogue finds them by name."""
