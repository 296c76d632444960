"""Classical methods on the same examples."""
