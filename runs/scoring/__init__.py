"""Trained models scored and asked."""
