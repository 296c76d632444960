"""Batches, texts and weights on which the contract is tried."""
