"""How answers are scored, with intervals over examples."""
