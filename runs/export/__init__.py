"""A trained run as a model of `transformers`, with its card."""
