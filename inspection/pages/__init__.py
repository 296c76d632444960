"""The page of an inspected model."""
