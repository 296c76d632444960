"""Readings of the results beside contrasts: ratios of budget, causes of a difference, stored bits."""
