"""Runs carried out by worker processes."""
