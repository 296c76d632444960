"""Decoder-only, encoder-only and encoder-decoder models, assembled from components."""
