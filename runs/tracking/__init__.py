"""Sends a comparison's curves, scores and figures to experiment trackers."""
