"""The contract of a pass: what is read in one pass, in parts and from a cache."""
