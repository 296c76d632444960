"""Measurements of what happens inside a trained run, shown on a page: ``archbench inspect``."""
