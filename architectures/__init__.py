"""Shared components assembled into decoder-only, encoder-only and encoder-decoder transformers."""
