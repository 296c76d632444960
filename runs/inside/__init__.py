"""Measurements of a trained model for `archbench inspect`, as plain numbers and texts; figures are drawn elsewhere."""
