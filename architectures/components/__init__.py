"""Attention, positions, norms, feed-forward networks, embeddings and stacks, shared by all families."""
