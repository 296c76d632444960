"""Sizes that meet the budget, measured and checked before anything is trained."""
