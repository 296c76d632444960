"""Analysis of the tables: comparisons, contrasts, verdicts."""
