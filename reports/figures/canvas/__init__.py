"""Panels on a canvas: styles, colours, layout, files."""
