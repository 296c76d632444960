"""Model families of `transformers`: their shapes, and where each weight stands."""
