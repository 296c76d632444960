"""Contrasts of two sides: how they are tested, corrected, judged and put into words."""
