"""Tokenizers, and texts as encoded examples."""
