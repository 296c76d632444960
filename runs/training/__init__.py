"""Batches, steps, optimizer, checkpoints: how a model is trained."""
