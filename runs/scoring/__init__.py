"""Scoring of trained models, and prediction with them."""
