"""Batches, steps, checkpoints: how a model is trained."""
