"""Models and checkpoints of `transformers` as ours, weight by weight, and back."""
