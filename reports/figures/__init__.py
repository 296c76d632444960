"""Figures, from the analysis to SVG and PNG."""
